# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run on a database reports of itself counts only its own acts: no result of an earlier run in the same play is believed."""

from __future__ import annotations

import json
import shlex
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import outcome

OURS: dict[str, t.Any] = {"run_id": "r2"}
EARLIER: dict[str, t.Any] = {"run_id": "r1"}
NOTHING = "nothing to put back"


@pytest.mark.parametrize("stale", [EARLIER, {}, {"run_id": ""}, None, "", {"skipped": True, "changed": False}])
@pytest.mark.parametrize("run_id", ["r2", ""])
def test_only_what_this_run_registered_counts(stale: t.Any, run_id: str) -> None:
    assert outcome.of_run(stale, run_id) == {}
    assert outcome.of_run(OURS, "r2") == OURS


# Recovery ----------------------------------------------------------------------------------------

CONFIG = {"changed": True, "file": "/etc/pg/a b.conf", "broken": "/etc/pg/a b.conf.broken-r2"}
ASIDE = {"changed": True, "aside": "/data/postmaster.pid.aside-r2"}
TOP, BASE = {"path": "/data", "mode": "0755", "owner": 0, "group": 0}, {"path": "/data/base", "mode": "0000", "owner": 5, "group": 6}
ACCESS = {"files": [TOP, BASE]}
COMMAND = """{ansible} -m ansible.builtin.command -a '{"argv": ["%s"]}'"""
STOP = """{ansible} -m somabrain.incident_response.service_control -a '{"name": "pg", "action": "stop"}'"""


def on_target(*commands: str) -> str:
    return " && ".join(COMMAND % '", "'.join(command.split("|")) for command in commands)


CONFIG_BACK = on_target("mv|/etc/pg/a b.conf.broken-r2|/etc/pg/a b.conf")
ASIDE_BACK = STOP + " && " + on_target("mv|/data/postmaster.pid.aside-r2|/data/postmaster.pid")
RECORD_BACK = (
    "{ansible} -m somabrain.incident_response.postgresql_admin"
    """ -a '{"action": "put_access_back", "data_dir": "/data", "record": "/rescue/r2/access.json"}'"""
)
ACCESS_BACK = on_target("chown|0:0|/data", "chmod|0755|/data", "chown|5:6|/data/base", "chmod|0000|/data/base")


@pytest.mark.parametrize(
    ("acts", "put_back", "undo"),
    [
        ({}, [], NOTHING),
        ({"restore_config": {}, "move_pid_aside": {}, "fix_permission": {}}, [], NOTHING),
        ({"restore_config": dict(CONFIG, **OURS)}, ["restore_config"], CONFIG_BACK),
        ({"restore_config": dict(CONFIG, **EARLIER)}, [], NOTHING),
        ({"restore_config": {"failed": True, "msg": "no proven copy"}}, [], NOTHING),
        ({"move_pid_aside": dict(ASIDE, **OURS)}, ["move_pid_aside"], ASIDE_BACK),
        ({"move_pid_aside": dict(ASIDE, changed=False, aside="", **OURS)}, [], NOTHING),
        ({"move_pid_aside": dict(ASIDE, **EARLIER)}, [], NOTHING),
        ({"fix_permission": dict(ACCESS, **OURS)}, ["fix_permission"], ACCESS_BACK),
        ({"fix_permission": dict(OURS, files=[])}, [], NOTHING),
        (
            {"fix_permission": dict(ACCESS, record="/rescue/r2/access.json", **OURS)},
            ["fix_permission"],
            RECORD_BACK,
        ),
        ({"fix_permission": dict(ACCESS, **EARLIER)}, [], NOTHING),
        (
            {"restore_config": dict(CONFIG, **OURS), "move_pid_aside": dict(ASIDE, **OURS), "fix_permission": dict(ACCESS, **OURS)},
            ["restore_config", "move_pid_aside", "fix_permission"],
            " && ".join((CONFIG_BACK, ASIDE_BACK, ACCESS_BACK)),
        ),
    ],
)
def test_a_recovery_puts_back_what_it_moved_itself(acts: dict[str, t.Any], put_back: list[str], undo: str) -> None:
    assert outcome.recovery_outcome(acts, "r2", "/data", {"name": "pg"}) == {"put_back": put_back, "undo": undo, "left": []}


def test_files_that_were_given_up_are_left_to_be_made_again() -> None:
    acts = {"make_room": dict(OURS, files=["/reserve"], bytes=20971520)}
    [left] = outcome.recovery_outcome(acts, "r2", "/data", {})["left"]
    assert (left["what"], "/reserve" in left["text"], '"fallocate", "-l", "20971520"' in left["command"]) == ("reserve_gone", True, True)
    assert outcome.recovery_outcome(acts, "r3", "/data", {})["left"] == []


def own(health: str, text: str = "it is") -> dict[str, t.Any]:
    return {"name": "postgresql", "health": health, "findings": [{"text": text}, {"text": "more"}]}


@pytest.mark.parametrize(
    ("probe", "is_well", "text"),
    [
        ({}, False, "the state of PostgreSQL is unknown"),
        ({"checks": []}, False, "the state of PostgreSQL is unknown"),
        ({"checks": [{"name": "api", "health": "well", "findings": [{"text": "api"}]}]}, False, "the state of PostgreSQL is unknown"),
        ({"checks": [own("well"), {"name": "api", "health": "sick"}]}, True, "it is"),
        ({"checks": [own("sick", "it is down")]}, False, "it is down"),
        ({"checks": [dict(own("unknown"), findings=[])]}, False, "the state of PostgreSQL is unknown"),
    ],
)
def test_what_uses_the_database_does_not_decide_whether_postgresql_is_well(probe: dict[str, t.Any], is_well: bool, text: str) -> None:
    found = outcome.seen(probe, {}, {})
    assert (found["is_well"], found["text"]) == (is_well, text)


@pytest.mark.parametrize(
    ("health", "state", "actions", "blocked"),
    [
        ("sick", "down_clean", ["start"], False),
        ("sick", "down_crashed", ["reset_failed", "start"], False),
        ("sick", "down_disk_full", ["make_room", "start"], True),
        ("sick", "down_no_wal", ["keep_copy"], True),
        ("sick", "down_restoring", [], True),
        ("sick", "pid_in_doubt", [], True),
        ("sick", "pid_stale", ["move_pid_aside", "start"], True),
        ("sick", "hung", ["continue", "restart"], False),
        ("sick", None, [], False),
        ("unknown", "down_no_wal", ["keep_copy"], False),
        ("well", "accepting", [], False),
        ("well", "", None, False),
    ],
)
def test_nothing_is_started_while_its_cause_is_still_there(health: str, state: t.Any, actions: t.Any, blocked: bool) -> None:
    assert outcome.seen({"health": health, "state": state, "actions": actions}, {}, {})["start_is_blocked"] is blocked


@pytest.mark.parametrize(
    ("probe", "verified"),
    [
        ({}, {}),
        ({"health": "well"}, {}),
        ({"health": "sick", "facts": {"timeline": 1}}, {}),
        (
            {"health": "well", "facts": {"timeline": 3}, "identity": {"system_identifier": "71"}},
            {"postgresql": {"system_identifier": "71", "timeline": 3}},
        ),
    ],
)
def test_only_a_cluster_that_is_well_is_remembered(probe: dict[str, t.Any], verified: dict[str, t.Any]) -> None:
    assert outcome.seen(probe, {}, {})["verified"] == verified


def stat(path: str, exists: bool = True, isreg: bool = True) -> dict[str, t.Any]:
    return {"item": path, "stat": {"exists": exists, "isreg": isreg} if exists else {"exists": False}}


@pytest.mark.parametrize(
    ("path", "may_go"),
    [
        (stat("/spare/room"), True),
        (stat("/spare/gone", exists=False), True),
        (stat("/spare", isreg=False), False),
        (stat("/data/room"), False),
        (stat("/data/gone", exists=False), False),
        (stat("/database/room"), True),
        (stat("/wal/000000010000000000000001"), False),
        (stat("/spare/../data/x"), False),
        (stat("/other/base/1/2"), False),
        (stat("/other/global/pg_control"), False),
        (stat("/other/pg_wal/x"), False),
        ({"item": "/spare/room", "skipped": True}, True),
    ],
)
def test_to_make_room_only_regular_files_outside_of_the_cluster_go(path: dict[str, t.Any], may_go: bool) -> None:
    assert outcome.not_to_remove([stat("/spare/first"), path], ["/data", "/wal"]) == ([] if may_go else [path["item"]])


# Restore -----------------------------------------------------------------------------------------

PLANS = [{"name": "insert_missing", "loss": {"count": 0, "exact": True}}, {"name": "swap", "loss": {"count": 7, "exact": True}}]
RESTORED = {"folder": "/side/restore-1", "plans": PLANS}
APPROVED = {"verdict": {"plan": "swap"}, "run": OURS}
SWAPPED = {"before_dir": "/data.before-r2", "loss": {"count": 9}}
DEAD = {"folder": "/side/restore-0", "about": {"loss": {"count": 4}}}


@pytest.mark.parametrize(
    ("acts", "interrupted", "expected"),
    [
        ({}, {}, {}),
        ({"restored": dict(RESTORED, **OURS)}, {}, {"folder": "/side/restore-1"}),
        ({"restored": dict(RESTORED, **EARLIER)}, {}, {}),
        ({"restored": dict(RESTORED, **EARLIER)}, DEAD, {"folder": "/side/restore-0"}),
        ({"restored": dict(RESTORED, **OURS), "approved": APPROVED}, {}, {"folder": "/side/restore-1", "plan": PLANS[1]}),
        ({"restored": dict(RESTORED, **OURS), "approved": dict(APPROVED, run=EARLIER)}, {}, {"folder": "/side/restore-1"}),
        ({"restored": dict(RESTORED, **OURS), "approved": {"skipped": True}}, {}, {"folder": "/side/restore-1"}),
        ({"inserted": dict(OURS, inserted=3)}, {}, {"put_back": "insert_missing"}),
        ({"inserted": dict(OURS, inserted=0)}, {}, {}),
        ({"inserted": dict(EARLIER, inserted=3)}, {}, {}),
        ({"inserted": dict(OURS, inserted=3), "back": dict(OURS, changed=True)}, {}, {}),
        ({"inserted": dict(OURS, inserted=3), "back": dict(EARLIER, changed=True)}, {}, {"put_back": "insert_missing"}),
        ({"swapped": dict(SWAPPED, **OURS)}, {}, {"put_back": "swap", "loss": {"count": 9}}),
        ({"swapped": dict(SWAPPED, **OURS)}, DEAD, {"put_back": "swap", "loss": {"count": 4}, "folder": "/side/restore-0"}),
        ({"swapped": dict(SWAPPED, **OURS)}, {"folder": "/f"}, {"put_back": "swap", "loss": {"count": 9}, "folder": "/f"}),
        ({"swapped": dict(SWAPPED, **EARLIER)}, {}, {}),
        ({"swapped": {"failed": True, "reasons": []}}, {}, {}),
        ({"swapped": dict(SWAPPED, **OURS), "back": dict(OURS, moved=0)}, {}, {"put_back": "swap", "loss": {"count": 9}}),
        ({"swapped": dict(SWAPPED, **OURS), "back": dict(OURS, moved=2, changed=True)}, {}, {}),
        ({"done": dict(OURS, mode="swap", since=1.0)}, {}, {"done": dict(OURS, mode="swap", since=1.0)}),
        ({"done": dict(EARLIER, mode="swap", since=1.0)}, {}, {}),
    ],
)
def test_a_restore_reports_its_own_acts(acts: dict[str, t.Any], interrupted: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    nothing = {"done": {}, "plan": {}, "folder": "", "put_back": "", "loss": {}}
    found = outcome.restore_outcome(acts, "r2", interrupted)
    swap_is_harmless = "swap" in found.pop("harmless")
    assert swap_is_harmless is bool((acts.get("back") or {}).get("moved") and acts["back"].get("run_id") == "r2")
    assert found == dict(nothing, **expected)


@pytest.mark.parametrize(
    ("plan", "compared", "count", "exact"),
    [
        ({}, {}, None, False),
        ({}, {"extra": 1, "differing": 1, "exact": True}, None, False),
        (PLANS[1], {}, 7, False),
        (PLANS[1], {"skipped": True}, 7, False),
        (PLANS[1], {"extra": 2, "differing": 3, "exact": True}, 5, True),
        (PLANS[1], {"extra": 0, "differing": 0, "exact": False}, None, False),
        # The plan could not see other databases: nor can a later look at this one.
        ({"name": "swap", "loss": {"count": None, "exact": False}}, {"extra": 2, "differing": 3, "exact": True}, None, False),
        ({"name": "swap", "loss": {"count": None, "exact": False}}, {}, None, False),
    ],
)
def test_the_loss_of_a_swap_is_the_newest_count(plan: dict[str, t.Any], compared: dict[str, t.Any], count: t.Any, exact: bool) -> None:
    loss = outcome.restore_about(plan, compared, "2026-01-01 00:00:00+00")["loss"]
    assert (loss["count"], loss["exact"], loss["unit"], loss["approved"], bool(loss["witness"])) == (count, exact, "rows", True, exact)
    assert "2026-01-01 00:00:00+00" in loss["text"]


@pytest.mark.parametrize(
    ("probe", "remembered"),
    [
        ({}, False),
        ({"stage": "assess", "health": "well"}, False),
        ({"stage": "act", "health": "well"}, False),
        ({"stage": "verify", "health": "sick"}, False),
        ({"stage": "verify", "health": "unknown"}, False),
        ({"stage": "verify", "health": "well"}, True),
    ],
)
def test_only_a_restore_that_was_verified_is_remembered(probe: dict[str, t.Any], remembered: bool) -> None:
    expected = {"database_restore": {"target": "t", "stanza": "main", "mode": "swap"}} if remembered else {}
    assert outcome.restore_verified(probe, {"mode": "swap"}, "t", "main") == expected


def test_the_undo_of_a_restore_is_a_command_that_a_shell_takes_as_it_is_meant() -> None:
    found = {"put_back": "insert_missing", "folder": "/side/it's"}
    words = shlex.split(outcome.restore_undo(found, "r2", {"port": 5432}, "/side/kept", {}))
    assert words[:3] == ["{ansible}", "-m", "somabrain.incident_response.postgresql_cutover"]
    assert words[-1] == (
        '{"port": 5432, "mode": "insert_missing", "state": "put_back", "folder": "/side/it\'s", "kept_file": "/side/kept", "run_id": "r2"}'
    )
    swap = outcome.restore_undo({"put_back": "swap", "folder": "/side/f"}, "r2", {"port": 5432}, "/side/kept", {"name": "pg"}).split(" && ")
    assert [json.loads(shlex.split(command)[-1]) for command in swap] == [
        {"name": "pg", "action": "stop"},
        {"mode": "swap", "state": "put_back", "folder": "/side/f", "run_id": "r2"},
        {"name": "pg", "action": "start"},
    ]
    assert outcome.restore_undo({"put_back": "", "folder": "/side/f"}, "r2", {}, "", {}) == NOTHING


# Unblock -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("done", "ended"),
    [
        ({}, 0),
        (None, 0),
        (dict(OURS, sessions=[]), 0),
        (dict(OURS, sessions=[{"done": "moved_on"}, {"done": "left"}, {"done": "refused"}, {"done": "would_cancel"}]), 0),
        (dict(OURS, sessions=[{"done": "cancelled"}, {"done": "terminated"}, {"done": "still_blocking"}, {"done": "left"}]), 3),
        (dict(OURS, failed=True, sessions=[{"done": "cancelled"}]), 1),
        (dict(EARLIER, sessions=[{"done": "cancelled"}]), 0),
    ],
)
def test_sessions_that_were_ended_cost_no_committed_work_and_cannot_be_put_back(done: t.Any, ended: int) -> None:
    found = outcome.unblock_outcome(done, "r2")
    assert found["ended"] == ended
    if not ended:
        assert (found["loss"], found["undo"], "unblock" in found["harmless"]) == ({}, NOTHING, outcome.of_run(done, "r2") != {})
        return
    assert (found["loss"]["count"], found["loss"]["exact"]) == (0, True)
    assert "%d blocking transactions" % ended in found["loss"]["witness"]
    assert found["harmless"] == {}
    assert "cannot be put back" in found["undo"]


COUNTED = {"checks": [{"name": "postgresql", "findings": [{"name": "state", "state": "sick"}, {"name": "checksums", "state": "sick"}]}]}
CLEAN = {"verdict": "none", "unchecked": 0, "proven": {"soma": 5.0}}


@pytest.mark.parametrize(
    ("probe", "scope", "only"),
    [
        (COUNTED, CLEAN, True),
        (COUNTED, dict(CLEAN, unchecked=1), False),
        (COUNTED, dict(CLEAN, verdict="unknown"), False),
        (COUNTED, dict(CLEAN, proven={}), False),
        ({"checks": [{"name": "postgresql", "findings": [{"name": "known_answers", "state": "sick"}]}]}, CLEAN, False),
        ({}, CLEAN, False),
    ],
)
def test_a_counter_alone_is_no_damage_once_everything_was_checked(probe: t.Any, scope: t.Any, only: bool) -> None:
    assert outcome.only_counted(probe, scope) is only


def test_what_this_run_proved_replaces_what_is_remembered() -> None:
    last = {"pages_proven": {"a": 1.0, "b": 2.0}}
    assert outcome.pages_proven(last, {"run_id": "r", "proven": {"a": 3.0}}, {"run_id": "old", "proven": {"b": 9.0}}, "r") == {
        "a": 3.0,
        "b": 2.0,
    }
    assert outcome.pages_proven({}, {}, None, "") == {}
