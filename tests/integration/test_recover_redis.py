# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recover-redis on real servers: each fault made for real, then the outcome, the acts, and the keys that were acknowledged."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from farms.redis import NOBODY, SERVER, SUPERVISORD, Farm, Redis, decoy_of, farmed, refusal, snapshot, untouched
from farms.waiting import until

pytestmark = [
    pytest.mark.skipif(SERVER is None, reason="redis-server is not installed"),
    pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed"),
]
AOF = 'appendonly yes\nsave ""\n'
RDB = "appendonly no\nsave 3600 1\nenable-debug-command yes\n"
# A script then keeps Redis from answering at all, and from ending when it is asked to.
BLOCKS = "busy-reply-threshold 3600000\n"

# A script that has written cannot be killed. This one ends two seconds after somebody tried, however late that is.
WRITES_UNTIL_KILLED = (
    "redis.call('SET','w','1') while not string.find(redis.call('INFO','commandstats'),'cmdstat_script',1,true) do end "
    "local t=redis.call('TIME')[1] while redis.call('TIME')[1]-t<2 do end"
)


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-farm-") as made:
        yield made


@pytest.fixture(scope="module")
def decoy(farm: Farm) -> Redis:
    return decoy_of(farm)


@pytest.fixture(autouse=True)
def neighbour(decoy: Redis) -> t.Iterator[None]:
    """No story may touch the healthy neighbour."""
    with untouched(decoy):
        yield


@pytest.fixture
def small_disk() -> t.Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sb-small-", dir="/tmp"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip()[:100])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def refuses_and_touches_nothing(redis: Redis, code: str, **variables: t.Any) -> None:
    """Run twice: the same refusal, no act, and neither the data nor the process is another one."""
    before = (snapshot(redis.data), redis.pid)
    for _turn in range(2):
        run = redis.recover(**variables)
        assert (run.rc, run.word, run.code, run.acts) == (2, "refused", code, []), run.text
        assert run.outcome["reasons"][0]["unblock"]
        assert (snapshot(redis.data), redis.pid) == before


@pytest.mark.smoke
def test_a_killed_redis_is_rehearsed_then_started_and_then_left_alone(farm: Farm) -> None:
    redis = farm.make("killed").start()
    keys = redis.write(200)
    redis.kill()
    before = snapshot(redis.data, redis.folder)
    rehearsed = redis.recover("--check")
    assert (rehearsed.rc, rehearsed.word, rehearsed.acts) == (0, "rehearsed", []), rehearsed.text
    assert snapshot(redis.data, redis.folder) == before
    run = redis.recover()
    assert (run.rc, run.word, run.acts, run.states) == (0, "recovered", ["start"], ("down_clean", "up")), run.text
    assert redis.has(keys)
    pid = redis.pid
    again = redis.recover()
    assert (again.rc, again.word, again.acts, redis.pid) == (0, "nothing_to_do", [], pid), again.text


def test_a_stopped_process_goes_on_as_the_same_process(farm: Farm) -> None:
    redis = farm.make("stopped").start()
    keys, pid = redis.write(50), redis.pid
    redis.signal(signal.SIGSTOP)
    assert redis.recover("--check").word == "rehearsed"
    run = redis.recover()
    assert (run.word, run.acts, run.states) == ("recovered", ["continue"], ("hung", "up")), run.text
    assert redis.has(keys)
    assert redis.pid == pid


def test_a_hung_append_only_redis_is_restarted_by_force_and_keeps_every_key(farm: Farm) -> None:
    redis = farm.make("hung-aof", AOF + "enable-debug-command yes\n").start()
    keys, pid = redis.write(50), redis.pid
    redis.send("DEBUG", "SLEEP", 60)
    run = redis.recover()
    assert (run.word, run.acts, run.states) == ("recovered", ["continue", "restart"], ("hung", "up")), run.text
    assert redis.has(keys)
    assert redis.pid != pid


def test_a_hung_redis_without_append_only_file_is_killed_only_with_an_approval(farm: Farm) -> None:
    redis = farm.make("hung-rdb", RDB + BLOCKS).start()
    saved = redis.write(50)
    assert redis.ask("SAVE") == "OK"
    redis.write(5, prefix="unsaved")
    pid = redis.pid
    redis.send("EVAL", "while true do end", 0)
    run = redis.recover()
    assert (run.word, run.code, run.acts, redis.pid) == ("refused", "approval_needed", ["wait"], pid), run.text
    token = run.outcome["reasons"][0]["token"]
    approved = redis.recover(remediation_approval=token)
    assert (approved.rc, approved.word, approved.acts) == (0, "recovered_with_loss", ["wait", "restart"]), approved.text
    assert approved.outcome["loss"]["present_after"] == 50
    assert redis.has(saved)


def test_an_approval_is_needed_where_the_append_only_file_was_switched_off_at_run_time(farm: Farm) -> None:
    redis = farm.make("hung-off", AOF + "enable-debug-command yes\n").start()
    redis.write(50)
    assert redis.ask("CONFIG", "SET", "appendonly", "no") == "OK"
    redis.write(5, prefix="nowhere")
    redis.send("DEBUG", "SLEEP", 60)
    assert redis.recover().code == "approval_needed"


def test_a_crash_loop_is_started_once_its_cause_is_gone(farm: Farm) -> None:
    # However slow this machine is, it ends before supervisord calls that a start.
    redis = farm.make("loop", AOF + "no-such-directive 1\n", startsecs=4).start(wait=False)
    until(lambda: redis.farm.call.getProcessInfo("loop")["statename"] == "FATAL")
    failed = redis.recover()
    assert (failed.rc, failed.word, failed.acts) == (2, "failed", ["reset_failed", "start"]), failed.text
    redis.configure(AOF)
    run = redis.recover()
    # It never had a data file, which nobody can tell from one that is gone.
    assert (run.word, run.acts, run.states[1]) == ("recovered_with_loss", ["reset_failed", "start"], "up"), run.text
    assert run.outcome["loss"]["count"] is None


def test_a_redis_whose_port_was_taken_is_started_when_the_port_is_free_again(farm: Farm) -> None:
    redis = farm.make("port")
    redis.start()
    keys = redis.write(50)
    assert redis.recover().word == "nothing_to_do"
    redis.kill()
    with socket.create_server(("127.0.0.1", redis.port)):
        redis.start(wait=False)
        until(lambda: not redis.running)
        # What listens there is mute and no Redis: nothing is started beside it.
        taken = redis.recover()
        assert (taken.word, taken.code, taken.acts) == ("refused", "health_unknown", []), taken.text
    run = redis.recover()
    assert (run.word, run.states[0], run.acts) == ("recovered", "down_crash_loop", ["start"]), run.text
    assert redis.has(keys)


def test_a_loading_redis_is_waited_for_and_not_restarted(farm: Farm) -> None:
    redis = farm.make("loading", RDB).start()
    keys = redis.write(8000)
    assert redis.ask("SAVE") == "OK"
    redis.kill()
    # It would take 40 s, and is let go on once the run waits.
    redis.configure(RDB + "key-load-delay 5000\nloading-process-events-interval-bytes 1024\n")
    redis.start(wait=False)
    until(lambda: refusal(redis.try_ask("PING")) == "LOADING")
    pid = redis.pid
    threading.Thread(target=load_faster_once_waited_for, args=(redis,), daemon=True).start()
    run = redis.recover(redis_recovery_stop_timeout=1)
    assert (run.word, run.acts, run.states) == ("recovered", ["wait"], ("loading", "up")), run.text
    assert redis.pid == pid
    assert redis.has(keys)


def load_faster_once_waited_for(redis: Redis) -> None:
    until(lambda: "wait" in redis.begun)
    redis.ask("CONFIG", "SET", "key-load-delay", 0, seconds=30)


def test_a_started_redis_is_given_the_time_it_loads(farm: Farm) -> None:
    redis = farm.make("slow", RDB).start()
    keys = redis.write(6000)
    assert redis.ask("SAVE") == "OK"
    redis.kill()
    redis.configure(RDB + "key-load-delay 500\nloading-process-events-interval-bytes 1024\n")
    run = redis.recover(redis_recovery_patience={"passes": 3, "window": 0.2, "timeout": 1, "interval": 0.05})
    assert (run.word, run.acts) == ("recovered", ["start"]), run.text
    assert redis.has(keys)


def test_a_script_that_only_reads_is_ended(farm: Farm) -> None:
    redis = farm.make("script", AOF + "busy-reply-threshold 100\n").start()
    keys, pid = redis.write(50), redis.pid
    redis.send("EVAL", "while true do end", 0)
    until(lambda: refusal(redis.try_ask("PING")) == "BUSY")
    run = redis.recover()
    assert (run.word, run.acts, run.states) == ("recovered", ["kill_script"], ("busy_script", "up")), run.text
    assert redis.has(keys)
    assert redis.pid == pid


def test_a_script_that_has_written_is_waited_for_and_then_left_to_a_person(farm: Farm) -> None:
    redis = farm.make("writer", AOF + "busy-reply-threshold 100\n").start()
    pid = redis.pid
    redis.send("EVAL", WRITES_UNTIL_KILLED, 0)
    until(lambda: refusal(redis.try_ask("PING")) == "BUSY")
    run = redis.recover(redis_recovery_stop_timeout=20)
    assert (run.word, run.acts) == ("recovered", ["kill_script"]), run.text
    assert "cmdstat_script|kill" in redis.ask("INFO", "commandstats")
    redis.send("EVAL", "redis.call('SET','w','2') while true do end", 0)
    until(lambda: refusal(redis.try_ask("PING")) == "BUSY")
    left = redis.recover(redis_recovery_stop_timeout=1)
    assert (left.word, left.code, left.acts, redis.pid) == ("refused", "state_not_handled", ["kill_script"], pid), left.text
    assert "written" in left.outcome["reasons"][0]["text"]
    # It would keep a core busy for all tests that follow.
    redis.kill()


def test_a_full_redis_gets_room_within_the_limit_and_is_refused_by_name_without_one(farm: Farm) -> None:
    redis = farm.make("oom", AOF + "maxmemory 3mb\nmaxmemory-policy noeviction\n").start()
    keys = redis.write(3000, size=1000)
    assert 0 < len(keys) < 3000
    refuses_and_touches_nothing(redis, "state_not_handled")
    run = redis.recover(redis_recovery_maxmemory_limit=32 * 2**20)
    assert (run.word, run.acts, run.states) == ("recovered", ["raise_maxmemory"], ("oom", "up")), run.text
    assert redis.has(keys)
    assert redis.ask("SET", "new", "1") == "OK"
    assert 3 * 2**20 < int(redis.ask("CONFIG", "GET", "maxmemory")[1]) <= 32 * 2**20


@pytest.mark.skipif(NOBODY is None, reason="needs root, to run Redis as somebody else")
def test_a_redis_that_may_not_save_is_rescued_mended_and_saved(farm: Farm) -> None:
    redis = farm.make("misconf", RDB).start()
    keys = redis.write(50)
    os.chown(redis.data, 0, 0)
    redis.data.chmod(0o555)
    redis.ask("BGSAVE")
    until(lambda: "rdb_last_bgsave_status:err" in str(redis.ask("INFO", "persistence")))
    assert refusal(redis.ask("SET", "x", "y")) == "MISCONF"
    pid = redis.pid
    refuses_and_touches_nothing(redis, "no_room", redis_recovery_rescue_dir="")
    refuses = redis.recover(redis_recovery_mend_data_dir="no")
    assert (refuses.word, refuses.code) == ("refused", "state_not_handled"), refuses.text
    run = redis.recover()
    assert (run.word, run.acts, run.states) == ("recovered", ["rescue", "fix_cause", "save"], ("misconf_rdb", "up")), run.text
    assert redis.has(keys)
    assert redis.pid == pid
    assert list((redis.folder / "rescue").glob("*.rdb"))
    assert (redis.data / "dump.rdb").exists()
    assert redis.recover().word == "nothing_to_do"


# A known answer that Redis never gives: what was begun for it is put back.
HASTE = {"redis_recovery_patience": {"passes": 1, "window": 0, "timeout": 0.5, "interval": 0.05}}
HOPELESS = {"redis_recovery_known_keys": [{"key": "nobody:wrote:this", "exists": True}], **HASTE}
# Something else is sick: what cured Redis stays.
ELSEWHERE = {"redis_recovery_also_verify": [{"name": "closed", "kind": "tcp", "host": "127.0.0.1", "port": 1}], **HASTE}


def test_more_memory_that_helped_stays_although_something_else_is_sick(farm: Farm) -> None:
    redis = farm.make("cured-oom", AOF + "maxmemory 3mb\n").start()
    keys = redis.write(3000, size=1000)
    run = redis.recover(redis_recovery_maxmemory_limit=32 * 2**20, **ELSEWHERE)
    assert (run.rc, run.word, run.acts) == (2, "failed", ["raise_maxmemory"]), run.text
    assert redis.ask("CONFIG", "GET", "maxmemory")[1] == str(32 * 2**20)
    assert redis.has(keys)


def test_more_memory_that_did_not_help_is_taken_back(farm: Farm) -> None:
    redis = farm.make("undo-oom", AOF + "maxmemory 3mb\n").start()
    keys = redis.write(3000, size=1000)
    run = redis.recover(redis_recovery_maxmemory_limit=32 * 2**20, **HOPELESS)
    assert (run.rc, run.word, run.acts) == (2, "undone", ["raise_maxmemory", "put_maxmemory_back"]), run.text
    assert redis.ask("CONFIG", "GET", "maxmemory")[1] == str(3 * 2**20)
    assert redis.has(keys)


@pytest.mark.skipif(NOBODY is None, reason="needs root, to run Redis as somebody else")
def test_mode_and_owner_that_did_not_help_are_put_back(farm: Farm) -> None:
    redis = farm.make("undo-mode", RDB).start()
    keys = redis.write(50)
    os.chown(redis.data, 0, 0)
    redis.data.chmod(0o555)
    redis.ask("BGSAVE")
    until(lambda: "rdb_last_bgsave_status:err" in str(redis.ask("INFO", "persistence")))
    run = redis.recover(**HOPELESS)
    assert (run.word, run.acts) == ("undone", ["rescue", "fix_cause", "save", "put_mode_back"]), run.text
    facts = redis.data.stat()
    assert (facts.st_uid, facts.st_mode & 0o777) == (0, 0o555)
    assert redis.has(keys)


def fill(redis: Redis, disk: Path) -> list[str]:
    """Fill the disk of an append-only Redis until it refuses; return what it acknowledged."""
    keys = redis.write(50)
    with (disk / "ballast").open("wb") as file:
        file.write(b"x" * 1024 * 1024)
    with (disk / "more").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass
    for turn in range(200):
        fresh = redis.write(5, size=2000, prefix=f"late{turn}")
        keys += fresh
        if len(fresh) < 5:
            break
        time.sleep(0.02)
    return keys


def test_a_full_disk_is_refused_by_name_and_cured_by_the_file_that_may_go(farm: Farm, small_disk: Path) -> None:
    redis = farm.make("full", AOF, data=small_disk / "data").start()
    keys, pid = fill(redis, small_disk), redis.pid
    refused = redis.recover()
    assert (refused.word, refused.code) == ("refused", "no_room"), refused.text
    assert "fix_cause" in refused.acts
    assert list((redis.folder / "rescue").glob("*.rdb"))
    assert (small_disk / "ballast").exists()
    assert redis.has(keys)
    for given in (redis.data, redis.data / "appendonlydir/appendonly.aof.1.base.rdb"):
        refused = redis.recover(redis_recovery_make_room=[str(small_disk / "ballast"), str(given)])
        assert (refused.word, refused.code) == ("refused", "bad_input"), refused.text
        assert str(given) in refused.text.replace("\n", "")
        assert (small_disk / "ballast").exists()
        assert given.exists()
    run = redis.recover(redis_recovery_make_room=[str(small_disk / "ballast")])
    assert (run.word, run.acts) == ("recovered", ["rescue", "fix_cause"]), run.text
    assert redis.has(keys)
    assert redis.pid == pid
    assert (small_disk / "more").exists()
    redis.kill()


def test_a_full_disk_under_append_always_ends_redis_and_no_acknowledged_key(farm: Farm, small_disk: Path) -> None:
    redis = farm.make("always", AOF + "appendfsync always\n", data=small_disk / "data").start()
    keys = redis.write(50)
    with (small_disk / "ballast").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass
    index = 0
    while redis.try_ask("SET", f"late:{index}", "x" * 500) == "OK":
        keys.append(f"late:{index}")
        index += 1
    until(lambda: not redis.running)
    before = snapshot(redis.data)
    refused = redis.recover()
    assert (refused.word, refused.code, redis.running) == ("refused", "no_room", False), refused.text
    assert snapshot(redis.data) == before
    run = redis.recover(redis_recovery_make_room=[str(small_disk / "ballast")])
    assert (run.word, run.acts) == ("recovered", ["fix_cause", "start"]), run.text
    assert redis.has(keys)
    redis.kill()


def test_a_wrong_password_is_refused_and_restarts_nothing(farm: Farm) -> None:
    redis = farm.make("locked", AOF + "requirepass right\n").start()
    wrong = redis.folder / "password"
    wrong.write_text("wrong")
    refuses_and_touches_nothing(redis, "bad_input", redis_recovery_password_file=str(wrong))
    wrong.chmod(0o600)
    refuses_and_touches_nothing(redis, "credentials_refused", redis_recovery_password_file=str(wrong))


def test_a_replica_is_well_in_its_place_and_left_alone_without_its_master(farm: Farm) -> None:
    master = farm.make("master").start()
    master.write(20)
    replica = farm.make("replica", AOF + f"replicaof 127.0.0.1 {master.port}\n").start()
    until(lambda: replica.ask("ROLE")[3] == "connected")
    assert replica.recover().word == "nothing_to_do"
    master.kill()
    until(lambda: replica.ask("ROLE")[3] != "connected")
    run = replica.recover()
    assert (run.word, run.code, run.acts) == ("refused", "not_this_component", []), run.text
    assert replica.ask("ROLE")[0] == "slave"
    assert replica.ask("DBSIZE") == 20


def cut_middle(redis: Redis) -> None:
    file = next((redis.data / "appendonlydir").glob("*.incr.aof"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
    file.write_bytes(content)


def remove_manifest(redis: Redis) -> None:
    next((redis.data / "appendonlydir").glob("*.manifest")).unlink()


def spoil_checksum(redis: Redis) -> None:
    file = redis.data / "dump.rdb"
    content = bytearray(file.read_bytes())
    content[-1] ^= 0xFF
    file.write_bytes(content)


DAMAGES = {"aof-middle": (AOF, cut_middle), "no-manifest": (AOF, remove_manifest), "rdb-crc": (RDB, spoil_checksum)}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_without_a_directory_for_copies_are_refused_before_any_start_and_not_touched(farm: Farm, damage: str) -> None:
    settings, spoil = DAMAGES[damage]
    redis = farm.make(damage, settings).start()
    redis.write(200)
    redis.ask("SAVE")
    redis.kill()
    spoil(redis)
    refuses_and_touches_nothing(redis, "no_room", redis_recovery_rescue_dir="")
    assert not redis.running


def test_an_empty_redis_where_keys_were_verified_is_refused_without_a_directory_for_copies(farm: Farm) -> None:
    redis = farm.make("empty", RDB).start()
    redis.write(50)
    redis.ask("SAVE")
    assert redis.recover().word == "nothing_to_do"
    redis.kill()
    (redis.data / "dump.rdb").rename(redis.folder / "dump.rdb")
    refuses_and_touches_nothing(redis, "no_room", redis_recovery_rescue_dir="")
    redis.start()
    refuses_and_touches_nothing(redis, "no_room", redis_recovery_rescue_dir="")


def serve(answer: bytes) -> tuple[socket.socket, int]:
    """Serve *answer* to whoever connects; with b"" never answer."""
    server = socket.create_server(("127.0.0.1", 0))

    def loop() -> None:
        held = []
        while True:
            try:
                connection, _where = server.accept()
            except OSError:
                return
            held.append(connection)
            if answer:
                connection.sendall(answer)

    threading.Thread(target=loop, daemon=True).start()
    return server, int(server.getsockname()[1])


STRANGERS = {"garbage": b"HTTP/1.1 400 Bad Request\x1b[31m\r\n\r\n", "mute": b""}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_is_no_redis_is_refused_as_unknown(farm: Farm, stranger: str) -> None:
    redis = farm.make(stranger)
    server, port = serve(STRANGERS[stranger])
    with server:
        run = redis.recover(redis_recovery_port=port)
    assert (run.word, run.code, run.acts) == ("refused", "health_unknown", []), run.text
    assert "\x1b[31m" not in run.text
    assert not redis.running


def test_what_cannot_be_reached_is_refused_as_unknown(farm: Farm) -> None:
    redis = farm.make("far")
    begun = time.monotonic()
    run = redis.recover(redis_recovery_host="192.0.2.1")
    assert (run.word, run.code, run.acts, redis.running) == ("refused", "health_unknown", [], False), run.text
    # A packet that nobody answers would hold up a look without a deadline for two minutes.
    assert time.monotonic() - begun < 60


def test_another_redis_than_the_pinned_one_is_refused(farm: Farm, decoy: Redis) -> None:
    redis = farm.make("pinned").start()
    run_id = redis.ask("INFO", "server").split("run_id:")[1][:40]
    redis.kill()
    pin = {"run_id": run_id}
    run = redis.recover(redis_recovery_port=decoy.port, redis_recovery_expected_identity=pin)
    assert (run.word, run.code, run.acts, redis.running) == ("refused", "wrong_identity", [], False), run.text


def test_the_port_of_a_neighbour_is_no_proof_that_our_service_is_well(farm: Farm, decoy: Redis) -> None:
    redis = farm.make("impostor")
    run = redis.recover(redis_recovery_port=decoy.port)
    assert (run.word, run.code, run.acts) == ("refused", "wrong_identity", []), run.text


HOSTILE = {
    "jinja": ("{{ lookup('pipe', 'touch %s') }}", "refused"),
    "escape": ("\x1b]0;owned\x07\x1b[2J\r\nforged: outcome recovered", "recovered"),
    "long": ("x" * 10_000, "recovered"),
    "shell": ("$(touch %s); `touch %s` ' \" \\", "recovered"),
}


@pytest.mark.parametrize("kind", ["jinja", "shell", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("escape", "long"))])
def test_hostile_free_text_runs_nothing_and_forges_nothing(farm: Farm, kind: str) -> None:
    redis = farm.make(f"hostile-{kind}").start()
    redis.write(5)
    redis.kill()
    mark = redis.folder / "owned"
    text, word = HOSTILE[kind]
    text = text.replace("%s", str(mark))
    run = redis.recover(remediation_reason=text, remediation_operator=text)
    assert (run.word, run.code) == (word, "template_in_input" if word == "refused" else ""), run.text
    assert not mark.exists()
    assert [forged for forged in ("\x1b]0", "\nforged") if forged in run.text] == []


def test_a_storm_is_not_acted_on_and_a_single_fall_is(farm: Farm) -> None:
    servers = [farm.make(f"storm{index}").start() for index in range(4)]
    hosts = {redis.name: redis.variables for redis in servers}
    # A Redis that writes nothing is known to keep what it has by a look while it is well.
    farm.play(hosts)
    for redis in servers[:3]:
        redis.kill()
    runs = farm.play(hosts)
    assert {(run.rc, run.word, run.code) for run in runs.values()} == {(2, "refused", "storm_brake")}, runs["lab"].text
    assert [redis.running for redis in servers] == [False, False, False, True]
    for redis in servers[1:3]:
        redis.start()
    pids = [redis.pid for redis in servers[1:]]
    runs = farm.play(hosts)
    assert [runs[redis.name].word for redis in servers] == ["recovered"] + ["nothing_to_do"] * 3, runs["lab"].text
    assert [redis.pid for redis in servers[1:]] == pids


def test_a_wrong_type_leaves_no_earlier_outcome_to_be_taken_for_this_one(farm: Farm) -> None:
    redis = farm.make("typed").start()
    keys = redis.write(50)
    file = farm.folder / "typed.json"
    assert redis.recover(remediation_outcome_file=str(file)).rc == 0
    assert json.loads(file.read_text())["outcome"] == "nothing_to_do"
    assert redis.recover(remediation_outcome_file=str(file), redis_recovery_storm_hosts="many").rc == 2
    told = json.loads(file.read_text())
    assert (told["outcome"], told["green"], told["target"]) == ("refused", False, "typed/redis")
    assert redis.has(keys)
