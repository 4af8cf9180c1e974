# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would run is not what the file says: real servers under supervisor, settings changed at run time, data where nobody looks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from farms.redis import NOBODY, SERVER, SUPERVISORD, Farm, Redis, end_process, farmed
from farms.waiting import until
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import redis as kind_redis

pytestmark = [
    pytest.mark.skipif(SERVER is None, reason="redis-server is not installed"),
    pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed"),
]
DUMP = "appendonly no\nsave 3600 1000\nenable-protected-configs yes\n"
AOF = "appendonly yes\nsave 3600 1000\n"


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-truth-") as made:
        yield made


def look(redis: Redis, **options: t.Any) -> dict[str, t.Any]:
    """Look at it as the role does."""
    service = {"manager": "supervisor", "name": redis.name, "supervisor_url": redis.farm.url}
    given = {
        "port": redis.port, "config_file": str(redis.config), "log_file": str(redis.log), "service": service, "data_dir": str(redis.data),
        "answer_timeout": 3.0, **options,
    }  # fmt: skip
    filled = {name: given.get(name, rule.get("default")) for name, rule in kind_redis.OPTIONS.items()}
    return dict(kind_redis.judge(kind_redis.load(filled, 60.0), filled).as_dict())


def said(seen: dict[str, t.Any]) -> str:
    return "; ".join(one["text"] for one in seen["findings"] if one["state"] != "well")


def test_an_append_only_file_switched_on_at_run_time_is_not_forgotten_after_a_kill(farm: Farm) -> None:
    redis = farm.make("run-time-aof", DUMP).start()
    redis.write(180, prefix="old")
    assert redis.ask("SAVE") == "OK"
    assert redis.ask("CONFIG", "SET", "appendonly", "yes") == "OK"
    until(lambda: "aof_rewrite_in_progress:0" in redis.ask("INFO", "persistence"))
    seen = look(redis)
    assert "a start would not load its append-only file" in str(seen["findings"])
    assert seen["facts"]["persistence"]["loss_if_killed"] == "none"
    redis.write(270, prefix="new")
    assert look(redis)["facts"]["persistence"]["loss_count"] == 270
    redis.kill()
    refused = redis.recover()
    assert (refused.word, refused.code, refused.states[0]) == ("refused", "approval_needed", "down_bad_file"), refused.text
    plans = {plan["name"]: plan for plan in refused.outcome["reasons"][0]["plans"]}
    assert plans["append_only"]["loss"]["count"] == 0, plans
    assert plans["as_is"]["loss"]["count"] == 270, plans
    run = redis.recover(remediation_approval=plans["append_only"]["token"])
    assert (run.rc, redis.ask("DBSIZE")) == (0, 450), run.text


def test_every_set_of_data_that_a_start_would_ignore_is_seen(farm: Farm) -> None:
    """One server after the other in one place: each time the newest data is where its next start does not look."""
    redis = farm.make("ignored", DUMP).start()
    redis.write(60, prefix="old")
    redis.ask("SAVE")
    # Another name of the dump, set at run time.
    redis.ask("CONFIG", "SET", "dbfilename", "other.rdb")
    redis.write(20, prefix="new")
    redis.ask("SAVE")
    assert "dbfilename is other.rdb since a change at run time" in said(look(redis))
    redis.kill()
    seen = look(redis)
    assert (seen["state"], seen["facts"]["files"]["verdict"]) == ("down_bad_file", "outdated"), said(seen)
    assert "ignore other.rdb" in said(seen)
    # Nothing where the settings look, but data beside it.
    (redis.data / "dump.rdb").unlink()
    seen = look(redis)
    assert seen["facts"]["files"]["verdict"] == "missing", said(seen)
    assert "a start would load nothing and ignore other.rdb" in said(seen)
    (redis.data / "other.rdb").rename(redis.data / "dump.rdb")
    assert look(redis)["facts"]["files"]["verdict"] == "valid"
    # An include that switches the append-only file on: the dump would be ignored.
    (redis.folder / "local.conf").write_text("appendonly yes\n")
    redis.configure(DUMP + f"include {redis.folder}/local.conf\n")
    seen = look(redis)
    assert (seen["state"], seen["facts"]["files"]["verdict"]) == ("down_bad_file", "missing"), said(seen)
    assert "ignore dump.rdb" in said(seen)
    assert seen["facts"]["origins"]["appendonly"].endswith("local.conf:1")
    (redis.folder / "local.conf").unlink()
    seen = look(redis)
    assert (seen["state"], seen["actions"]) == ("down_start_fails", []), said(seen)
    assert "local.conf, which does not exist" in said(seen)


def test_a_dump_that_is_newer_than_the_append_only_file_is_told_by_what_that_never_had(farm: Farm) -> None:
    redis = farm.make("newer-dump", AOF).start()
    redis.write(60, prefix="old")
    redis.ask("SAVE")
    redis.kill()
    assert look(redis)["facts"]["files"]["verdict"] == "valid"
    redis.start()
    until(lambda: redis.ask("PING") == "PONG")
    redis.ask("CONFIG", "SET", "appendonly", "no")
    seen = look(redis)
    assert (seen["state"], seen["health"], seen["actions"]) == ("up", "sick", ["persist"]), said(seen)
    redis.write(30, prefix="new")
    redis.ask("SAVE")
    redis.kill()
    seen = look(redis)
    assert (seen["state"], seen["facts"]["files"]["verdict"]) == ("down_bad_file", "outdated"), said(seen)
    assert "at least 30 keys are only there" in said(seen)
    refused = redis.recover()
    assert refused.code == "approval_needed", refused.text
    plans = {plan["name"]: plan for plan in refused.outcome["reasons"][0]["plans"]}
    assert (plans["other_1"]["loss"]["count"], plans["as_is"]["loss"]["count"]) == (0, 30), plans
    run = redis.recover(remediation_approval=plans["other_1"]["token"])
    assert (run.rc, redis.ask("DBSIZE")) == (0, 90), run.text


def test_saving_that_was_switched_off_at_run_time_is_sick_and_switched_on_again(farm: Farm) -> None:
    redis = farm.make("off", DUMP).start()
    redis.write(10)
    redis.ask("CONFIG", "SET", "save", "")
    assert "what is written now is not kept" in said(look(redis))
    run = redis.recover()
    assert (run.rc, run.acts) == (0, ["persist"]), run.text
    assert redis.ask("CONFIG", "GET", "save")[1] == "3600 1000"


def test_a_wrapper_is_stopped_with_the_redis_that_it_started_and_no_writer_stays_paused(farm: Farm) -> None:
    redis = farm.make("wrapped", DUMP)
    farm.recommand(redis, f"sh -c 'rm -f {redis.data}/gone.rdb && {SERVER} {redis.config}'")
    redis.start()
    redis.write(60)
    redis.ask("SAVE")
    assert redis.recover().word == "nothing_to_do"
    redis.ask("FLUSHALL", "ASYNC")
    redis.write(3, prefix="after")
    refused = redis.recover()
    assert (refused.code, refused.states[0]) == ("approval_needed", "up_but_empty"), refused.text
    assert [one["what"] for one in refused.outcome["left"]] == ["isolated"], refused.outcome["left"]
    assert redis.ask("SET", "more", "1") == "OK"
    again = redis.recover()
    assert [one["what"] for one in again.outcome["left"]] == ["isolated"], again.outcome["left"]
    assert "nothing to put back" not in again.text
    plans = {plan["name"]: plan for plan in again.outcome["reasons"][0]["plans"]}
    old = redis.ask("INFO", "server")
    run = redis.recover(remediation_approval=plans["live"]["token"])
    assert (run.rc, run.outcome["left"], redis.ask("DBSIZE")) == (0, [], 4), run.text
    assert redis.ask("INFO", "server") != old
    assert redis.ask("CONFIG", "GET", "save")[1] == "3600 1000"


def test_why_it_does_not_start_is_said_before_a_second_start(farm: Farm) -> None:
    redis = farm.make("why", DUMP + "bogus-directive yes\n", startsecs=1)
    redis.start(wait=False)
    until(lambda: redis.farm.call.getProcessInfo(redis.name)["statename"] in ("FATAL", "EXITED"))
    seen = look(redis)
    assert (seen["state"], seen["actions"]) == ("down_start_fails", []), said(seen)
    assert "bogus-directive" in said(seen)
    refused = redis.recover()
    assert (refused.word, refused.code, refused.acts) == ("refused", "state_not_handled", []), refused.text
    # Its cause is mended: the old line does not count any more. Now a module is missing, which only a start shows.
    redis.configure(DUMP + "loadmodule /nowhere/gone.so\n")
    failed = redis.recover()
    assert (failed.word, failed.acts[-1]) == ("refused", "start"), failed.text
    assert "/nowhere/gone.so" in str(failed.outcome["reasons"]), failed.text
    refused = redis.recover()
    assert (refused.word, refused.acts) == ("refused", []), refused.text
    assert "/nowhere/gone.so" in refused.text
    redis.configure(DUMP)
    # It never ran, so nobody knows whether it had data elsewhere.
    assert redis.recover().word == "recovered_with_loss"


def test_a_stranger_on_the_port_is_named_before_any_start(farm: Farm) -> None:
    redis = farm.make("taken", DUMP)
    with socket.create_server(("127.0.0.1", redis.port)):
        seen = look(redis)
        assert (seen["state"], seen["actions"]) == ("port_taken", []), said(seen)
        assert f"port {redis.port} is held by " in said(seen)
        assert f"pid {os.getpid()}" in said(seen)


@pytest.mark.skipif(NOBODY is None, reason="only root can give a file to another user")
def test_a_dump_that_its_user_may_not_read_is_named_before_any_start(farm: Farm) -> None:
    redis = farm.make("rooted", DUMP).start()
    redis.write(20)
    redis.ask("SAVE")
    redis.kill()
    os.chown(redis.data / "dump.rdb", 0, 0)
    (redis.data / "dump.rdb").chmod(0o600)
    seen = look(redis)
    assert (seen["state"], seen["actions"]) == ("down_start_fails", []), said(seen)
    assert "dump.rdb belongs to root (mode 0600), and Redis runs as nobody" in said(seen)


@pytest.mark.skipif(NOBODY is None, reason="only root may be asked to give a directory away")
def test_a_directory_that_only_the_running_server_names_is_never_given_to_it(farm: Farm) -> None:
    redis = farm.make("moved", DUMP).start()
    redis.write(20)
    redis.ask("SAVE")
    cron = Path(tempfile.mkdtemp(prefix="sb-cron-", dir="/tmp"))
    try:
        cron.chmod(0o755)
        assert redis.ask("CONFIG", "SET", "dir", str(cron)) == "OK"
        redis.ask("SET", "more", "1")
        redis.ask("BGSAVE")
        until(lambda: "rdb_last_bgsave_status:err" in str(redis.ask("INFO", "persistence")))
        run = redis.recover(redis_recovery_data_dir="")
        assert (run.word, run.code, run.acts) == ("refused", "state_not_handled", []), run.text
        assert str(cron) in run.text
        assert f"{redis.config}:3 says {redis.data}" in run.text
        assert (cron.stat().st_uid, cron.stat().st_mode & 0o777) == (0, 0o755)
    finally:
        cron.rmdir()


def test_what_was_deleted_under_a_live_redis_is_missed_and_written_again(farm: Farm) -> None:
    appended = farm.make("gone-aof", AOF).start()
    appended.write(30)
    assert look(appended)["health"] == "well"
    # A wrong directory in the inventory is no loss of files.
    assert not look(appended, data_dir="/srv")["facts"]["gone"]
    shutil.rmtree(appended.data / "appendonlydir")
    seen = look(appended)
    assert (seen["health"], seen["actions"]) == ("sick", ["rewrite_aof"]), said(seen)
    assert "a start would not load what it writes" in said(seen)
    run = appended.recover()
    assert (run.word, run.acts, look(appended)["health"]) == ("recovered", ["rewrite_aof"], "well"), run.text
    dumped = farm.make("gone-dump", DUMP).start()
    dumped.write(30)
    assert look(dumped)["health"] == "well"
    dumped.ask("SAVE")
    (dumped.data / "dump.rdb").unlink()
    seen = look(dumped)
    assert (seen["health"], seen["actions"]) == ("sick", ["save"]), said(seen)
    assert (seen["facts"]["persistence"]["loss_if_killed"], seen["facts"]["persistence"]["loss_count"]) == ("count", 30)
    shutil.rmtree(dumped.data)
    for place in ({}, {"data_dir": ""}):
        seen = look(dumped, **place)
        assert (seen["health"], seen["actions"]) == ("sick", []), said(seen)
        assert "its data directory is not there any more" in said(seen)


def test_data_that_a_live_redis_saves_elsewhere_or_would_give_up_for_a_master_are_told(farm: Farm) -> None:
    redis = farm.make("elsewhere", DUMP).start()
    redis.write(10)
    redis.ask("CONFIG", "SET", "dir", "/tmp")
    assert "a start would load other files" in said(look(redis))
    redis.ask("CONFIG", "SET", "dir", str(redis.data))
    assert look(redis)["health"] == "well"
    redis.kill()
    other = subprocess.Popen([str(SERVER), "--port", str(free_port()), "--dir", str(redis.data), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        until(lambda: "runs in its data directory" in said(look(redis)))
        assert look(redis)["actions"] == []
    finally:
        end_process(other.pid)
        other.wait()
    replica = farm.make("promoted", AOF + f"replicaof 127.0.0.1 {redis.port}\n").start()
    assert look(replica)["state"] == "readonly_replica"
    replica.ask("REPLICAOF", "NO", "ONE")
    replica.write(20)
    assert "makes it a replica of 127.0.0.1" in said(look(replica))
    replica.kill()
    seen = look(replica)
    assert (seen["state"], seen["actions"]) == ("would_follow", []), said(seen)
    # The line by which it was promoted is no longer in its log; the last ones still say that it was a master.
    replica.log.write_text("".join(line for line in replica.log.read_text().splitlines(keepends=True) if "MASTER MODE" not in line))
    assert look(replica)["state"] == "would_follow"
    assert look(replica, expected_role="replica")["actions"] == ["start"]
    replica.configure(AOF)
    assert look(replica)["actions"] == ["start"]


def until_saved_once_more(redis: Redis) -> None:
    saved = redis.log.read_text().count("DB saved on disk")
    until(lambda: redis.log.read_text().count("DB saved on disk") > saved, 10)


def test_appendonly_that_was_turned_off_after_a_look_is_no_proof_and_saves_in_the_log_are(farm: Farm) -> None:
    redis = farm.make("off-later", "appendonly yes\nsave 1 10\n").start()
    redis.write(40)
    assert redis.recover().word == "nothing_to_do"
    redis.ask("CONFIG", "SET", "appendonly", "no")
    time.sleep(1.5)
    redis.kill()
    run = redis.recover()
    loss = run.outcome["loss"]
    assert (run.word, loss["count"], loss["exact"], loss["suspected"]) == ("recovered", None, False, False), run.text
    assert "if appendonly was turned off (CONFIG SET) after that file was seen" in loss["text"]
    redis.ask("CONFIG", "SET", "appendonly", "no")
    for size in (20, 30):
        time.sleep(3)
        redis.write(40, size=size)
        until_saved_once_more(redis)
    redis.kill()
    refused = redis.recover()
    assert (refused.code, refused.states[0]) == ("approval_needed", "down_bad_file"), refused.text
    assert "its append-only file was turned off while it ran" in refused.text
    plans = {plan["name"]: plan for plan in refused.outcome["reasons"][0]["plans"]}
    assert (plans["other_1"]["loss"]["count"], plans["as_is"]["loss"]["count"]) == (0, 40), plans
    run = redis.recover(remediation_approval=plans["other_1"]["token"])
    assert (run.rc, redis.ask("STRLEN", "key:0")) == (0, 30), run.text


def test_what_would_end_a_start_is_named_before_it(farm: Farm) -> None:
    redis = farm.make("misfit", AOF).start()
    redis.kill()
    good = redis.config.read_text()
    closed = redis.folder / "closed"
    closed.mkdir(mode=0o755)
    for wrong, text in {
        good.replace(f"port {redis.port}", "port 63q9"): "redis.conf:2: port 63q9, where Redis wants a number from 0 to 65535",
        good.replace("127.0.0.1", "203.0.113.9"): "redis.conf:1: bind 203.0.113.9, an address that no interface of this machine has",
        good + f"unixsocket {redis.folder}/none/s": "a path in a directory that does not exist",
        good + f"unixsocket {closed}/s": f"may not write to {closed}" if NOBODY else "",
    }.items():
        redis.config.write_text(wrong)
        seen = look(redis)
        assert not text or (seen["state"], text in said(seen)) == ("down_start_fails", True), said(seen)
    redis.config.write_text(good)
    assert look(redis)["state"] == "down_clean"
