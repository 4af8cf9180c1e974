# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recover-redis under three real Sentinels that watch a master and its replica."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest
from farms.redis import SERVER, SUPERVISORD, Farm, Redis
from farms.waiting import until
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError, address_of

pytestmark = pytest.mark.skipif(not (SERVER and SUPERVISORD), reason="redis-server, supervisor")
# After so long a Sentinel gives up; where a run has to come before that, it is told to be more patient.
DOWN_AFTER_MS, PATIENT_MS = 1500, 60000


class Watched:
    """A master and its replica under a farm, and three Sentinels that watch them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.farm = folder, Farm(folder)
        self.master = self.farm.make("one", "appendonly yes\n").start()
        self.other = self.farm.make("two", f"appendonly yes\nreplicaof 127.0.0.1 {self.master.port}\n").start()
        self.keys = self.master.write(20)
        until(lambda: "state=online" in str(self.master.ask("INFO", "replication")) and self.other.ask("DBSIZE") == 20)
        self.ports = [free_port() for dummy in range(3)]
        self.sentinels = [self.sentinel(port) for port in self.ports]
        until(lambda: all(self.told(port)["num-other-sentinels"] == "2" and self.told(port)["num-slaves"] == "1" for port in self.ports))

    def sentinel(self, port: int) -> subprocess.Popen[bytes]:
        place = self.folder / f"sentinel-{port}"
        place.mkdir()
        name = "mymaster"
        (place / "s.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {place}\nlogfile {place}/s.log\nsentinel monitor {name} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {name} {DOWN_AFTER_MS}\nsentinel failover-timeout {name} 10000\n"
        )
        return subprocess.Popen([str(SERVER), str(place / "s.conf"), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def told(self, port: int) -> dict[str, str]:
        with contextlib.suppress(RespError), Connection(address_of({"port": port}), 2) as sentinel:
            words = sentinel.ask("SENTINEL", "MASTER", "mymaster")
            return dict(zip(words[::2], words[1::2]))
        return {"num-other-sentinels": "", "num-slaves": "", "port": "", "flags": ""}

    def be_patient(self) -> None:
        for port in self.ports:
            with Connection(address_of({"port": port}), 5) as sentinel:
                assert sentinel.ask("SENTINEL", "SET", "mymaster", "down-after-milliseconds", PATIENT_MS) == "OK"

    def masters(self) -> set[str]:
        return {self.told(port)["port"] for port in self.ports}

    def recover(self, redis: Redis, *flags: str, **given: t.Any) -> t.Any:
        sentinels = [{"host": "127.0.0.1", "port": port} for port in self.ports]
        return redis.recover(*flags, redis_recovery_sentinels=sentinels, **given)

    def stop(self) -> None:
        for process in self.sentinels:
            process.kill()
            process.wait(10)
        self.farm.stop()


@pytest.fixture
def watched() -> t.Iterator[Watched]:
    folder = Path(tempfile.mkdtemp(prefix="sw-"))
    folder.chmod(0o755)
    made = Watched(folder)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_master_that_sentinel_still_trusts_is_started_again(watched: Watched) -> None:
    watched.be_patient()
    watched.master.kill()
    run = watched.recover(watched.master)
    assert run.word == "recovered", run.text
    assert run.acts == ["start"]
    assert run.outcome["before"]["facts"]["sentinel"]["verdict"] == "ours"
    assert watched.master.has(watched.keys)
    again = watched.recover(watched.master)
    assert again.word == "nothing_to_do", again.text


def test_a_failover_during_the_run_is_waited_for_and_then_respected(watched: Watched) -> None:
    watched.master.kill()
    until(lambda: sum("s_down" in watched.told(port)["flags"] for port in watched.ports) >= 2)
    run = watched.recover(watched.master)
    assert (run.word, run.code) == ("refused", "not_this_component"), run.text
    assert run.outcome["before"]["state"] in ("failing_over", "failed_over")
    assert f"127.0.0.1:{watched.other.port}" in run.outcome["reasons"][0]["text"]
    assert "start" not in run.acts
    assert not watched.master.running
    # Long after it: the same answer, at once.
    until(lambda: watched.masters() == {str(watched.other.port)})
    again = watched.recover(watched.master)
    assert (again.word, again.code, again.acts) == ("refused", "not_this_component", []), again.text
    assert again.outcome["before"]["state"] == "failed_over"
    assert watched.other.has(watched.keys)
    assert not watched.master.running
    # As the text says: once it follows the master by its own configuration it may start.
    watched.master.configure(f"appendonly yes\nreplicaof 127.0.0.1 {watched.other.port}\n")
    followed = watched.recover(watched.master)
    assert (followed.word, followed.acts) == ("recovered", ["start"]), followed.text
    assert followed.states[1] == "readonly_replica"


def test_a_failover_by_hand_leaves_a_replica_in_its_place(watched: Watched) -> None:
    watched.be_patient()
    with Connection(address_of({"port": watched.ports[0]}), 5) as sentinel:
        assert sentinel.ask("SENTINEL", "FAILOVER", "mymaster") == "OK"
    run = watched.recover(watched.master)
    # Between Sentinel's word and its deed it is a master that is none any more.
    assert run.word in ("nothing_to_do", "recovered") or run.code == "not_this_component", run.text
    assert set(run.acts) <= {"wait"}
    until(lambda: "master_link_status:up" in str(watched.master.ask("INFO", "replication")))
    settled = watched.recover(watched.master)
    assert (settled.word, settled.states[0]) == ("nothing_to_do", "readonly_replica"), settled.text


def test_too_few_sentinels_are_no_answer(watched: Watched) -> None:
    for process in watched.sentinels[:2]:
        process.kill()
        process.wait(10)
    watched.master.kill()
    run = watched.recover(watched.master)
    assert (run.word, run.code) == ("refused", "health_unknown"), run.text
    assert "1 of 3 Sentinels answer" in run.outcome["reasons"][0]["text"]
    assert run.acts == []
    assert not watched.master.running
