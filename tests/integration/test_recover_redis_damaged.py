# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recover-redis on data that are damaged, gone or emptied: what was acknowledged, what is there afterwards, what was declared as lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from farms.redis import BIN, NOBODY, ROOT, SERVER, SUPERVISORD, Farm, Redis, Run, decoy_of, farmed, snapshot, untouched
from farms.waiting import until

pytestmark = [
    pytest.mark.skipif(SERVER is None, reason="redis-server is not installed"),
    pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed"),
]
AOF = 'appendonly yes\nsave ""\n'
RDB = "appendonly no\nsave 3600 1\n"
MEND = ["hold", "mend", "start"]
EMPTY = ["isolate", "mend", "start"]
# A known answer that Redis never gives, so that what was begun is put back.
HOPELESS = {
    "redis_recovery_known_keys": [{"key": "nobody:wrote:this", "exists": True}],
    "redis_recovery_patience": {"passes": 1, "window": 0, "timeout": 0.5, "interval": 0.05},
}


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-dmg-") as made:
        yield made


@pytest.fixture(scope="module")
def decoy(farm: Farm) -> Redis:
    return decoy_of(farm)


@pytest.fixture(autouse=True)
def neighbour(decoy: Redis) -> t.Iterator[None]:
    """No story may touch the healthy neighbour."""
    with untouched(decoy):
        yield


def fall(redis: Redis) -> None:
    """Kill it when all that it acknowledged is in its file: while the disk is busy Redis may keep up to two seconds of writes back."""
    until(lambda: "aof_buffer_length:0\r" in str(redis.ask("INFO", "persistence")))
    redis.kill()


def incr(redis: Redis) -> Path:
    return max((redis.data / "appendonlydir").glob("*.incr.aof"))


def cut_tail(redis: Redis, size: int = 7) -> None:
    with incr(redis).open("rb+") as file:
        file.truncate(incr(redis).stat().st_size - size)


def spoil(path: Path, at: float = 0.5, size: int = 40) -> None:
    content = bytearray(path.read_bytes())
    start = int(len(content) * at)
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)


def plans(run: Run) -> dict[str, dict[str, t.Any]]:
    """Return the plans that a refused run offers, by name."""
    assert (run.rc, run.word, run.code) == (2, "refused", "approval_needed"), run.text
    return {plan["name"]: plan for plan in run.outcome["reasons"][0]["plans"]}


def refuses_first(redis: Redis, **variables: t.Any) -> dict[str, dict[str, t.Any]]:
    """Run without a token: refused, the data untouched, every plan with its token on the screen."""
    before = snapshot(redis.data)
    run = redis.recover(**variables)
    offered = plans(run)
    assert snapshot(redis.data) == before
    assert all(plan["token"] in run.text.replace("\n", "") for plan in offered.values())
    return offered


def lost_as_declared(redis: Redis, run: Run, keys: list[str]) -> int:
    """Return how many of the acknowledged keys are gone; the outcome has to have told exactly that."""
    lost = len(redis.missing(keys))
    loss = run.outcome["loss"]
    assert (run.word, loss["approved"]) == (("recovered_with_loss", True) if lost else ("recovered", loss["approved"])), run.text
    assert (loss["count"] if run.word == "recovered_with_loss" else 0) == lost, loss
    return lost


def old_files(redis: Redis) -> Path:
    return next(redis.data.glob("before-*"))


# Append-only files -------------------------------------------------------------------------------


def test_a_cut_tail_within_the_limit_is_cut_off_without_a_person(farm: Farm) -> None:
    redis = farm.make("tail").start()
    keys = redis.write(500)
    fall(redis)
    cut_tail(redis)
    run = redis.recover(redis_recovery_accept_loss={"tail_bytes": 100, "share": 0.0})
    assert (run.rc, run.acts, run.states) == (0, MEND, ("down_bad_file", "up")), run.text
    assert lost_as_declared(redis, run, keys) == 1
    pid = redis.pid
    assert (redis.recover().word, redis.pid) == ("nothing_to_do", pid)


def test_a_cut_tail_is_a_plan_and_applied_with_its_token_only(farm: Farm) -> None:
    redis = farm.make("approve").start()
    keys = redis.write(500)
    fall(redis)
    cut_tail(redis)
    plan = refuses_first(redis)["cut"]
    assert not redis.running
    before = snapshot(redis.data)
    altered = redis.recover(remediation_approval=plan["token"][:-1] + ("0" if plan["token"][-1] != "0" else "1"))
    assert (altered.word, altered.code) == ("refused", "approval_other_target"), altered.text
    assert snapshot(redis.data) == before
    run = redis.recover(remediation_approval=plan["token"])
    assert (run.rc, run.acts, run.outcome["approved_plan"]) == (0, MEND, "cut"), run.text
    assert lost_as_declared(redis, run, keys) == plan["loss"]["count"] == 1
    assert redis.recover(remediation_approval=plan["token"]).word == "nothing_to_do"


@pytest.mark.smoke
def test_damage_in_the_middle_costs_only_what_was_damaged(farm: Farm) -> None:
    redis = farm.make("middle").start()
    keys = redis.write(10_000)
    fall(redis)
    spoil(incr(redis))
    offered = refuses_first(redis)
    assert next(iter(offered)) == "salvage"
    run = redis.recover(remediation_approval=offered["salvage"]["token"])
    assert (run.rc, run.acts) == (0, MEND), run.text
    assert 0 < lost_as_declared(redis, run, keys) <= 10


def test_a_missing_manifest_is_rebuilt_without_loss_and_without_a_person(farm: Farm) -> None:
    redis = farm.make("manifest").start()
    keys = redis.write(200)
    assert "started" in str(redis.ask("BGREWRITEAOF"))
    until(
        lambda: "aof_rewrite_in_progress:0" in str(redis.ask("INFO", "persistence")) and list(redis.data.glob("appendonlydir/*.2.base.rdb"))
    )
    keys += redis.write(100, prefix="late")
    assert redis.recover().word == "nothing_to_do"
    fall(redis)
    next((redis.data / "appendonlydir").glob("*.manifest")).unlink()
    run = redis.recover()
    assert (run.rc, run.word, run.acts) == (0, "recovered", MEND), run.text
    assert redis.missing(keys) == []


def test_check_mode_changes_no_byte_of_damaged_data(farm: Farm) -> None:
    redis = farm.make("rehearse").start()
    redis.write(200)
    fall(redis)
    cut_tail(redis)
    before = snapshot(redis.folder)
    run = redis.recover("--check")
    assert (run.rc, run.word, run.acts) == (0, "rehearsed", []), run.text
    assert snapshot(redis.folder) == before


def test_a_restart_storm_on_damaged_data_is_ended_first(farm: Farm) -> None:
    redis = farm.make("storm", again=True, startsecs=1).start()
    keys = redis.write(500)
    assert redis.recover().word == "nothing_to_do"
    pid = redis.pid
    spoil(incr(redis))
    os.kill(pid, 9)
    until(lambda: redis.log.read_text().count("Redis is starting") >= 4)
    refused = redis.recover()
    assert refused.acts == ["hold", "mend"], refused.text
    starts = redis.log.read_text().count("Redis is starting")
    time.sleep(2.5)
    assert (redis.running, redis.log.read_text().count("Redis is starting")) == (False, starts)
    run = redis.recover(remediation_approval=plans(refused)["salvage"]["token"])
    assert (run.rc, run.acts) == (0, MEND), run.text
    lost_as_declared(redis, run, keys)


def test_what_was_put_in_place_and_did_not_help_is_taken_out_again(farm: Farm) -> None:
    redis = farm.make("undo").start()
    redis.write(500)
    fall(redis)
    cut_tail(redis)
    before = {path: facts[3] for path, facts in snapshot(redis.data).items()}
    accept = {"redis_recovery_accept_loss": {"tail_bytes": 100, "share": 0.0}}
    run = redis.recover(**accept, **HOPELESS)
    if run.code == "approval_needed":
        run = redis.recover(**accept, **HOPELESS, remediation_approval=next(iter(plans(run).values()))["token"])
    assert (run.rc, run.word, run.acts) == (2, "undone", [*MEND, "put_data_back"]), run.text
    after = {path: facts[3] for path, facts in snapshot(redis.data).items() if "/before-" not in path}
    assert (after, redis.running) == (before, False)


def test_the_printed_undo_brings_back_the_same_bytes(farm: Farm) -> None:
    redis = farm.make("printed").start()
    redis.write(500)
    fall(redis)
    cut_tail(redis)
    before = {path: facts[3] for path, facts in snapshot(redis.data).items()}
    run = redis.recover(redis_recovery_accept_loss={"tail_bytes": 100, "share": 0.0})
    assert run.word == "recovered_with_loss", run.text
    undo = run.outcome["undo"].splitlines()[-1]
    assert [part.split()[:2] for part in undo.split(" && ")] == [["ansible", "printed"]] * 2, undo
    done = subprocess.run(
        ["bash", "-c", undo], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks/collections")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: facts[3] for path, facts in snapshot(redis.data).items() if "/before-" not in path} == before


# Dumps -------------------------------------------------------------------------------------------


def saved(redis: Redis, count: int, prefix: str = "key") -> list[str]:
    keys = redis.write(count, prefix=prefix)
    assert redis.ask("SAVE") == "OK"
    return keys


def test_a_damaged_dump_is_told_beside_its_backup_and_a_person_chooses(farm: Farm) -> None:
    redis = farm.make("bad-rdb", RDB).start()
    keys = saved(redis, 200)
    backup = redis.folder / "backup.rdb"
    shutil.copy(redis.data / "dump.rdb", backup)
    keys += saved(redis, 10, "late")
    assert redis.recover().word == "nothing_to_do"
    redis.kill()
    spoil(redis.data / "dump.rdb", size=4)
    offered = refuses_first(redis, redis_recovery_backups=[str(redis.folder / "backup*.rdb")])
    assert "backup_1" in offered
    run = redis.recover(redis_recovery_backups=[str(redis.folder / "backup*.rdb")], remediation_approval=offered["backup_1"]["token"])
    assert (run.rc, run.acts) == (0, MEND), run.text
    loss = run.outcome["loss"]
    # What the damaged dump had to drop may be in the backup or not: then the number is no certain one, and never too small.
    assert (run.word, len(redis.missing(keys))) == ("recovered_with_loss", 10), run.text
    assert loss["count"] == 10 or (loss["count"] in (11, 12) and not loss["exact"]), loss


def test_a_deleted_dump_comes_from_a_backup_or_is_refused_by_the_name_of_its_variable(farm: Farm) -> None:
    redis = farm.make("no-rdb", RDB).start()
    keys = saved(redis, 200)
    backup = redis.folder / "backup.rdb"
    shutil.copy(redis.data / "dump.rdb", backup)
    assert redis.recover().word == "nothing_to_do"
    redis.kill()
    (redis.data / "dump.rdb").unlink()
    refused = redis.recover()
    assert refused.rc == 2
    assert refused.word in ("refused", "failed")
    assert "redis_recovery_backups" in refused.text, refused.text
    assert not redis.running
    offered = refuses_first(redis, redis_recovery_backups=[str(backup)])
    run = redis.recover(redis_recovery_backups=[str(backup)], remediation_approval=offered["backup_1"]["token"])
    assert (run.rc, run.acts) == (0, MEND), run.text
    assert redis.missing(keys) == []


# An emptied master -------------------------------------------------------------------------------


def test_an_empty_master_gets_the_data_of_its_full_replica_which_keeps_them(farm: Farm) -> None:
    # The delay gives the run the time to isolate it before the replica is served.
    master = farm.make("m-empty", AOF + "repl-diskless-sync yes\nrepl-diskless-sync-delay 30\n").start()
    keys = master.write(300)
    assert master.recover().word == "nothing_to_do"
    replica = farm.make("m-replica", AOF + f"replicaof 127.0.0.1 {master.port}\n").start()
    until(lambda: replica.ask("DBSIZE") == 300 and replica.ask("ROLE")[3] == "connected")
    master.kill()
    shutil.rmtree(master.data / "appendonlydir")
    master.start()
    assert master.ask("DBSIZE") == 0
    given = {"redis_recovery_replicas": [{"host": "127.0.0.1", "port": replica.port}]}
    run = master.recover(**given)
    assert replica.missing(keys) == []
    if run.code == "approval_needed":
        assert run.acts == ["isolate", "mend"], run.text
        assert master.ask("CONFIG", "GET", "save")[1] == ""
        assert master.ask("SET", "not:paused", "1") == "OK"
        assert master.ask("DEL", "not:paused") == 1
        run = master.recover(**given, remediation_approval=next(iter(plans(run).values()))["token"])
    assert (run.rc, run.acts) == (0, EMPTY), run.text
    assert master.missing(keys) == []
    end = time.monotonic() + 60
    while replica.ask("ROLE")[3] != "connected":
        assert replica.missing(keys) == []
        assert time.monotonic() < end
        time.sleep(0.2)
    assert replica.missing(keys) == []


def test_a_replica_keeps_what_its_killed_master_never_saved(farm: Farm) -> None:
    master = farm.make("m-snapshot", 'appendonly no\nsave ""\n').start()
    replica = farm.make("r-snapshot", f'appendonly no\nsave ""\nreplicaof 127.0.0.1 {master.port}\n').start()
    until(lambda: replica.ask("ROLE")[3] == "connected")
    master.write(20)
    until(lambda: master.ask("SAVE") == "OK")
    keys = master.write(100)
    until(lambda: replica.ask("DBSIZE") == 100)
    master.kill()
    # Its log knows of a replica that the inventory does not name.
    run = master.recover()
    assert (run.code, run.acts, run.states[0]) == ("state_not_handled", [], "replicas_unseen"), run.text
    assert f"127.0.0.1:{replica.port}" in run.text
    named = {"redis_recovery_replicas": [{"host": "127.0.0.1", "port": replica.port}]}
    offered = plans(master.recover(**named))
    assert (list(offered)[0], offered["as_is"]["loss"]["count"]) == ("replica_1", 80), offered
    run = master.recover(**named, remediation_approval=offered["replica_1"]["token"])
    assert (run.rc, master.missing(keys)) == (0, []), run.text
    until(lambda: replica.ask("ROLE")[3] == "connected")
    assert replica.missing(keys) == []


def test_keys_flushed_by_mistake_come_back_when_a_person_says_so(farm: Farm) -> None:
    redis = farm.make("flushed").start()
    keys = redis.write(400)
    assert redis.recover().word == "nothing_to_do"
    assert redis.ask("FLUSHALL") == "OK"
    after = redis.write(3, prefix="after")
    offered = refuses_first_alive(redis)
    run = redis.recover(remediation_approval=offered["before_flush"]["token"])
    assert (run.rc, run.acts, run.outcome["approved_plan"]) == (0, EMPTY, "before_flush"), run.text
    lost_as_declared(redis, run, keys + after)
    assert redis.missing(keys) == []


def test_writers_that_a_dead_run_left_waiting_do_not_hide_that_it_is_empty(farm: Farm) -> None:
    redis = farm.make("paused").start()
    keys = redis.write(400)
    assert redis.recover().word == "nothing_to_do"
    assert redis.ask("FLUSHALL") == "OK"
    assert redis.ask("CLIENT", "PAUSE", 600_000, "WRITE") == "OK"
    run = redis.recover(remediation_approval=refuses_first_alive(redis)["before_flush"]["token"])
    assert (run.rc, run.acts) == (0, EMPTY), run.text
    assert lost_as_declared(redis, run, keys) == 0
    assert redis.ask("SET", "goes", "on") == "OK"


def refuses_first_alive(redis: Redis) -> dict[str, dict[str, t.Any]]:
    keys, pid = redis.ask("DBSIZE"), redis.pid
    run = redis.recover()
    assert run.acts == ["isolate", "mend"], run.text
    assert (redis.ask("DBSIZE"), redis.pid) == (keys, pid)
    return plans(run)


# Bad input ---------------------------------------------------------------------------------------


def name_a_stranger(redis: Redis) -> None:
    manifest = next((redis.data / "appendonlydir").glob("*.manifest"))
    manifest.write_text(manifest.read_text() + "file ../../../../../../etc/passwd seq 9 type i\n")


def name_itself(redis: Redis) -> None:
    manifest = next((redis.data / "appendonlydir").glob("*.manifest"))
    manifest.write_text(f"file {manifest.name} seq 1 type b\n")


def fill_with_garbage(redis: Redis) -> None:
    for file in (redis.data / "appendonlydir").glob("*.aof"):
        file.write_bytes(os.urandom(200_000))
    for file in (redis.data / "appendonlydir").glob("*.rdb"):
        file.write_bytes(os.urandom(2000))


def link_away(redis: Redis) -> None:
    file = incr(redis)
    content = file.read_bytes()
    file.unlink()
    secret = redis.folder / "secret"
    secret.write_bytes(content[:-5])
    file.symlink_to(secret)


HOSTILE = {"stranger": name_a_stranger, "itself": name_itself, "garbage": fill_with_garbage, "link": link_away}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_data_are_refused_and_not_touched(farm: Farm, kind: str) -> None:
    redis = farm.make(f"hostile-{kind}").start()
    redis.write(200)
    fall(redis)
    HOSTILE[kind](redis)
    before = snapshot(redis.data)
    for _turn in range(2):
        run = redis.recover()
        assert (run.rc, run.word) == (2, "refused"), run.text
        assert run.outcome["reasons"]
        assert snapshot(redis.data) == before
    assert not redis.running
    assert "root:x:" not in run.text


@pytest.fixture
def small_disk() -> t.Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sb-small-", dir="/tmp"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip()[:100])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_no_directory_or_no_room_for_the_copies_is_refused_by_name(farm: Farm, small_disk: Path) -> None:
    redis = farm.make("no-room").start()
    redis.write(200)
    fall(redis)
    cut_tail(redis)
    before = snapshot(redis.data)
    run = redis.recover(redis_recovery_rescue_dir="")
    assert (run.rc, run.word, run.code, run.acts) == (2, "refused", "no_room", []), run.text
    assert "redis_recovery_rescue_dir" in run.text
    run = redis.recover(redis_recovery_rescue_dir=str(small_disk / "rescue"))
    assert (run.rc, run.word, run.code) == (2, "refused", "no_room"), run.text
    assert snapshot(redis.data) == before
    assert not redis.running


@pytest.mark.skipif(NOBODY is None, reason="needs root, to mount")
def test_a_read_only_data_directory_is_refused_and_its_bytes_stay(farm: Farm) -> None:
    redis = farm.make("read-only").start()
    redis.write(200)
    fall(redis)
    cut_tail(redis)
    before = {path: facts[3] for path, facts in snapshot(redis.data).items()}
    subprocess.run(["mount", "--bind", str(redis.data), str(redis.data)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(redis.data)], check=True)
        run = redis.recover(redis_recovery_accept_loss={"tail_bytes": 100, "share": 0.0})
    finally:
        subprocess.run(["umount", "-l", str(redis.data)], check=True)
    assert (run.rc, run.word in ("refused", "failed")) == (2, True), run.text
    assert "read-only" in json.dumps(run.outcome).lower(), run.text
    assert {path: facts[3] for path, facts in snapshot(redis.data).items()} == before
    assert not redis.running
