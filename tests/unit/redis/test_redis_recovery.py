# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery of Redis did, and what follows from it: tables, dict in, dict out."""

from __future__ import annotations

import json
import shlex
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.filter.redis_recovery import FilterModule
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis import recovery
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import cause_of

OPENED = {"run_id": "R1", "owed": [], "last_verified": {"redis": {"key_count": 100}}}
CANDIDATE = {"name": "backup_1", "keys": 90, "expires": 5, "bytes": 35_000_000, "loss": {"count": 10, "unit": "keys", "exact": True}}
TARGET = recovery.Target({"host": "127.0.0.1", "port": 6379}, {"manager": "systemd", "name": "redis"})
BEFORE = {"disk": {"path": "/data", "mode": "0750", "owner": 100}, "settings": {"appendonly": "yes"}}


def done(**acts: t.Any) -> dict[str, t.Any]:
    return recovery.so_far(dict(acts, run_id="R1"), OPENED, "hung", 0.5, -1, 0.0)


def owed(kind: str, path: str = "") -> dict[str, t.Any]:
    return {"kind": kind, "body": {"path": path}}


# What was done -----------------------------------------------------------------------------------


def test_nothing_is_believed_of_another_run() -> None:
    stale = {"run_id": "R0", "installed": CANDIDATE, "raised": {"changed": True}, "approved": "token", "kept": "/old"}
    assert recovery.so_far(stale, OPENED, "hung", 0.5, -1, 0.0) == recovery.so_far({}, OPENED, "hung", 0.5, -1, 0.0)
    assert recovery.so_far(stale, {}, "", 0.5, -1, 0.0)["replaced"] is False


def test_before_a_run_is_opened_nothing_is_known() -> None:
    assert recovery.so_far({}, {}, "", 0.5, -1, 0.0) == {
        "run_id": None, "replaced": False, "may_be_held": False, "to_reload": [], "known_keys": -1, "last_known_keys": -1,
        "known_at": 0.0, "last_file": {}, "empty_below_share": 0.5, "excused_keys": [], "reload_from": [],
        "last_known": {"mount": "", "bytes": 0, "at": 0.0},
    }  # fmt: skip


def test_what_an_approved_plan_named_as_missing_is_excused_until_the_old_files_are_back() -> None:
    lacks = {"run_id": "R1", "installed": dict(CANDIDATE, wrong_keys=[1])}
    assert recovery.so_far(lacks, OPENED, "", 0.5, -1, 0.0)["excused_keys"] == [1]
    assert recovery.so_far(dict(lacks, put_back=True), OPENED, "", 0.5, -1, 0.0)["excused_keys"] == []


@pytest.mark.parametrize(
    ("acts", "state", "keys", "share"),
    [
        ({}, "hung", 100, 0.5),
        ({}, "up_but_empty", 100, 1.0),
        ({"installed": CANDIDATE}, "down_bad_file", 85, 1.0),
        ({"installed": CANDIDATE, "put_back": False}, "down_bad_file", 85, 1.0),
        ({"installed": CANDIDATE, "put_back": True}, "down_bad_file", 100, 0.5),
    ],
)
def test_the_next_look_expects_what_was_installed_or_what_was_known(acts: dict[str, t.Any], state: str, keys: int, share: float) -> None:
    found = recovery.so_far(dict(acts, run_id="R1"), OPENED, state, 0.5, -1, 0.0)
    assert (found["last_known_keys"], found["empty_below_share"], found["known_keys"]) == (keys, share, 100)


def test_a_person_may_say_that_fewer_keys_are_meant_to_be_there() -> None:
    known = [recovery.so_far({}, OPENED, "hung", 0.5, accepted, 0.0)["last_known_keys"] for accepted in (-1, 0, 60, 100, 200)]
    assert known == [100, 0, 60, 100, 100]


@pytest.mark.parametrize("verified", [None, {}, {"redis": None}, {"redis": {}}, {"redis": {"key_count": None}}])
def test_keys_that_were_never_counted_are_not_known(verified: t.Any) -> None:
    assert recovery.known_keys({"last_verified": verified}, 0.0) == -1


def test_copies_are_loaded_newest_first_and_only_once() -> None:
    run = dict(OPENED, owed=[owed("redis_reload", "/a"), owed("service_manager"), owed("redis_reload", "/b")])
    found = recovery.so_far({"run_id": "R1", "kept": "/now"}, run, "", 0.5, -1, 0.0)
    assert found["to_reload"] == found["reload_from"] == ["/now", "/b", "/a"]
    loaded = recovery.so_far({"run_id": "R1", "kept": "/now", "reloaded": True}, run, "", 0.5, -1, 0.0)
    assert (loaded["to_reload"], loaded["reload_from"]) == (["/now", "/b", "/a"], [])


@pytest.mark.parametrize(
    ("acts", "debts", "held"),
    [({}, [], False), ({"held": {"changed": False}}, [], True), ({}, [owed("service_manager")], True), ({}, [owed("redis_reload")], False)],
)
def test_a_manager_may_be_held_by_this_run_or_by_one_that_died(acts: dict[str, t.Any], debts: list[t.Any], held: bool) -> None:
    assert recovery.so_far(dict(acts, run_id="R1"), dict(OPENED, owed=debts), "", 0.5, -1, 0.0)["may_be_held"] is held


# The way of an act -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "watched", "loss", "files"),
    [
        (["start"], False, "none", ["gated"]),
        (["start"], True, "none", ["step"]),
        (["continue", "restart"], False, "none", ["gated", "step"]),
        (["restart"], False, "up_to_1s", ["gated"]),
        (["restart"], False, "count", ["step"]),
        (["restart"], False, None, ["step"]),
        (["rescue_dump", "start"], False, "none", ["step", "step"]),
        (["isolate", "mend"], False, "none", ["gated", "step", "acts/set_back"]),
        ([], False, "none", []),
    ],
)
def test_only_a_first_act_without_risk_goes_straight_to_the_gate(actions: list[str], watched: bool, loss: t.Any, files: list[str]) -> None:
    found = recovery.turns(actions, watched, {"loss_if_killed": loss} if loss else {})
    assert [one["file"] for one in found] == files
    assert [one["first"] for one in found] == [index == 0 for index in range(len(files))]


@pytest.mark.parametrize(
    ("persistence", "text"),
    [
        ({"loss_if_killed": "none"}, ""),
        ({"loss_if_killed": "up_to_1s", "loss_count": 7}, ""),
        ({"loss_if_killed": "count", "loss_count": 7}, "killing Redis loses what is not on disk: 7 changes"),
        ({"loss_if_killed": "unknown", "loss_count": None}, "killing Redis loses what is not on disk: an unknown number of changes"),
        ({}, "killing Redis loses what is not on disk: an unknown number of changes"),
    ],
)
def test_a_kill_says_what_it_loses(persistence: dict[str, t.Any], text: str) -> None:
    assert recovery.kill_loss(persistence) == text


# Candidates and plans ----------------------------------------------------------------------------

OFFER = {"candidates": [dict(CANDIDATE, name="as_is"), CANDIDATE], "choice": {"name": "as_is", "by": "policy"}}


@pytest.mark.parametrize(
    ("offer", "decided", "name"),
    [
        (OFFER, {}, "as_is"),
        (OFFER, {"plan": ""}, "as_is"),
        (OFFER, {"plan": "backup_1"}, "backup_1"),
        (dict(OFFER, choice={"name": "", "by": ""}), {}, None),
        ({}, {}, None),
        ({"skipped": True}, {"plan": "backup_1"}, None),
    ],
)
def test_a_person_comes_before_the_policy(offer: dict[str, t.Any], decided: dict[str, t.Any], name: t.Optional[str]) -> None:
    assert recovery.chosen(offer, decided, 1800).get("name") == name


@pytest.mark.parametrize(("size", "most", "seconds"), [(0, 1800, 20), (9_999_999, 1800, 20), (35_000_000, 1800, 23), (10**12, 1800, 1800)])
def test_putting_a_candidate_in_takes_as_long_as_its_bytes(size: int, most: float, seconds: int) -> None:
    offer = {"candidates": [dict(CANDIDATE, bytes=size)], "choice": {"name": "backup_1"}}
    assert recovery.chosen(offer, {}, most)["install_seconds"] == seconds


DELETING: dict[str, t.Any] = {
    "start_deletion": "rm /data/dump.rdb",
    "persistence": {"loss_if_killed": "count", "loss_count": 4},
    "files": {"files": [{"name": "dump.rdb", "bytes": 12}], "changed_at": 17.5},
}


def test_a_reload_plan_is_bound_to_the_files_and_says_what_no_copy_brings_back() -> None:
    start = recovery.reload_plan(DELETING, ["rescue_dump", "start", "reload"], done())
    assert start["binds"] == {"start": "rm /data/dump.rdb", "data": {"files": {"dump.rdb": 12}, "changed_at": "17.5"}}
    assert start["loss"] == {"count": None, "unit": "keys", "exact": False}
    assert "killing" not in start["text"]
    whole = dict(DELETING, files={"files": [], "verdict": "valid", "source": "aof"})
    assert recovery.reload_plan(whole, ["rescue_dump", "start", "reload"], done())["loss"]["count"] is None
    file = {"dir": "/d", "name": "a.aof.1.incr.aof", "inode": 7, "bytes": 9, "written_at": 100.0, "changed_at": 100.0}
    whole.update(written={"aof": file}, ended={"last_ended_at": 100.5}, log={"lines": {}})
    assert recovery.reload_plan(whole, ["rescue_dump", "start", "reload"], done())["loss"] == {"count": 0, "unit": "keys", "exact": True}
    restart = recovery.reload_plan(DELETING, ["rescue_dump", "restart", "reload"], done())
    assert restart["loss"] == {"count": None, "unit": "keys", "exact": False}
    assert restart["text"].endswith("; killing Redis loses what is not on disk: 4 changes")


def test_a_reload_plan_for_installed_data_is_bound_to_the_candidate() -> None:
    plan = recovery.reload_plan(DELETING, ["rescue_dump", "start"], done(installed=CANDIDATE))
    assert plan["binds"]["data"] == {"candidate": "backup_1", "keys": 90}


@pytest.mark.parametrize("files", [None, {}, {"verdict": "unjudged"}])
def test_a_reload_plan_without_judged_files_is_bound_to_none(files: t.Any) -> None:
    plan = recovery.reload_plan(dict(DELETING, files=files), ["start"], done())
    assert plan["binds"]["data"] == {"files": {}, "changed_at": "0"}


# Causes ------------------------------------------------------------------------------------------

ROOM = {"free_bytes": 10**9, "read_only": False, "writable_by_redis": True}


@pytest.mark.parametrize(
    ("disk", "lines", "cause"),
    [
        (ROOM, {}, "unknown"),
        (dict(ROOM, writable_by_redis=False), {}, "permission"),
        (dict(ROOM, writable_by_redis=False, free_bytes=0), {"no_space": "x"}, "permission"),
        (dict(ROOM, writable_by_redis=False, read_only=True), {}, "unknown"),
        (dict(ROOM, free_bytes=65535), {}, "no_space"),
        (dict(ROOM, free_bytes=65536), {}, "unknown"),
        (dict(ROOM, free_bytes=0), {"permission": "x"}, "no_space"),
        (ROOM, {"no_space": "x"}, "no_space"),
        (ROOM, {"permission": "x"}, "permission"),
        (ROOM, {"no_space": "x", "permission": "x"}, "permission"),
        (dict(ROOM, read_only=True), {"permission": "x"}, "unknown"),
        (dict(ROOM, read_only=True), {"no_space": "x", "permission": "x"}, "unknown"),
        ({}, {"permission": "x"}, "unknown"),
        ({}, {"no_space": "x"}, "no_space"),
        ({}, {}, "unknown"),
        (ROOM, {"read_only": "x"}, "unknown"),
    ],
)
def test_the_cause_is_what_is_seen_now_then_what_the_log_says(disk: dict[str, t.Any], lines: dict[str, str], cause: str) -> None:
    assert cause_of(disk, lines) == cause


@pytest.mark.parametrize("facts", [{}, {"disk": None, "log": None}, {"log": {}}])
def test_nothing_seen_is_no_cause(facts: dict[str, t.Any]) -> None:
    assert FilterModule().filters()["redis_recovery_cause"](facts) == "unknown"


# The outcome -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probe", "remembered"),
    [
        ({}, {}),
        ({"health": "sick", "facts": {"keys": 5}}, {}),
        ({"health": "well"}, {}),
        (
            {"health": "well", "facts": {"keys": 5, "persistence": {"a": 1}, "expiring": {"keys": 3, "left": [9.0]}, "aof_bytes": 7}},
            {"redis": {"key_count": 5, "expires": 3, "left": [9.0], "aof_bytes": 7, "aof_file": {}, "persistence": {"a": 1}}},
        ),
        (
            {"health": "well", "facts": {"keys": 1, "replicas": [{"ip": "10.0.0.2", "port": "6379", "state": "online"}]}},
            {
                "redis": {
                    "key_count": 1,
                    "expires": None,
                    "left": [],
                    "aof_bytes": None,
                    "aof_file": {},
                    "persistence": {},
                    "replicas": ["10.0.0.2:6379"],
                }
            },
        ),
        (
            {"health": "well", "facts": {"keys": None}},
            {"redis": {"key_count": None, "expires": None, "left": [], "aof_bytes": None, "aof_file": {}, "persistence": {}}},
        ),
    ],
)
def test_only_what_was_well_is_remembered(probe: dict[str, t.Any], remembered: dict[str, t.Any]) -> None:
    assert recovery.verified(probe) == remembered


OURS = "{ansible} -m somabrain.incident_response."


@pytest.mark.parametrize(
    ("acts", "begins"),
    [
        ({}, "nothing to put back"),
        ({"raised": {"changed": False}, "mended": {"changed": False}, "held": {"changed": False}}, "nothing to put back"),
        ({"mended": {"changed": True}}, OURS + "redis_data_dir -a "),
        ({"held": {"changed": True}, "mended": {"changed": True}}, OURS + "service_control -a "),
        ({"isolated": {"changed": True, "before": {"save": "60 1"}}, "held": {"changed": True}}, OURS + "redis_admin -a "),
        ({"isolated": {"changed": True}, "stopped": True, "held": {"changed": True}}, OURS + "service_control -a "),
        ({"installed": CANDIDATE, "isolated": {"changed": True}}, OURS + "service_control -a "),
        ({"installed": CANDIDATE, "put_back": True, "held": {"changed": True}}, OURS + "service_control -a "),
        ({"raised": {"changed": True, "before": {"maxmemory": 7}}, "installed": CANDIDATE}, OURS + "redis_admin -a "),
        ({"raised": {"changed": True}}, "set maxmemory back to its old value, which is unknown"),
        ({"unloaded": "the keys are in /kept", "installed": CANDIDATE}, "the keys are in /kept"),
    ],
)
def test_the_undo_is_of_what_was_done_last(acts: dict[str, t.Any], begins: str) -> None:
    assert recovery.undo_of(done(**acts), BEFORE, TARGET).startswith(begins)


@pytest.mark.parametrize(
    ("acts", "module", "options"),
    [
        (
            {"installed": CANDIDATE},
            "redis_install",
            {"state": "put_back", "run_id": "R1", "data_dir": "/data", "settings": {"appendonly": "yes"}},
        ),
        (
            {"isolated": {"changed": True, "before": {"save": "it's"}}},
            "redis_admin",
            {"host": "127.0.0.1", "port": 6379, "action": "release", "settings": {"save": "it's"}},
        ),
        ({"held": {"changed": True}}, "service_control", {"manager": "systemd", "name": "redis", "action": "release"}),
        (
            {"raised": {"changed": True, "before": {"maxmemory": 7}}},
            "redis_admin",
            {"host": "127.0.0.1", "port": 6379, "action": "set_maxmemory", "value": 7, "max_bytes": 7},
        ),
    ],
)
def test_a_printed_command_is_one_that_a_shell_reads(acts: dict[str, t.Any], module: str, options: dict[str, t.Any]) -> None:
    words = shlex.split(recovery.undo_of(done(**acts), BEFORE, TARGET))
    assert words[-5:-1] == ["{ansible}", "-m", "somabrain.incident_response." + module, "-a"]
    assert json.loads(words[-1]) == options


def test_a_run_that_never_looked_has_an_outcome() -> None:
    found = FilterModule().filters()["redis_recovery_outcome"](
        recovery.so_far({}, {}, "", 0.5, -1, 0.0), {}, {}, {"reach": {}, "service": {}}
    )
    assert (found.pop("harmless")["hold"], found) == (
        "its data files were only read",
        {"loss": {}, "left": [], "undo": "nothing to put back", "verified": {}},
    )


@pytest.mark.parametrize(
    ("persistence", "file", "remembered"),
    [
        ({"aof_enabled": True, "aof_ok": True}, {"inode": 7}, {"at": 90.0, "file": {"inode": 7}}),
        ({"aof_enabled": True}, {"inode": 7}, {"at": 90.0, "file": {"inode": 7}}),
        ({"aof_enabled": True, "aof_ok": False}, {"inode": 7}, {}),
        ({"aof_enabled": False}, {"inode": 7}, {}),
        ({"aof_enabled": True}, {}, {}),
    ],
)
def test_an_append_only_file_was_seen_written_where_it_was_on(
    persistence: dict[str, t.Any], file: dict[str, t.Any], remembered: dict[str, t.Any]
) -> None:
    last = {"at": 90.0, "key_count": 5, "persistence": persistence, "aof_file": file}
    run = {"run_id": "R1", "last_verified": {"redis": last}}
    assert recovery.so_far({}, run, "", 0.5, -1, 0.0)["last_file"] == remembered
