# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restart notes, looks at, keeps and loses: tables of what the role gives its tasks."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.filter import service_restart as filters
from ansible_collections.somabrain.incident_response.plugins.filter.service_manager import compose
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import restart

GIVEN: dict[str, t.Any] = {
    **dict.fromkeys(restart.PASSED, ""), "stage": "assess", "url": "http://api/health", "tenant": "canary", "round_trip": "v1",
    "round_trip_timeout": 5, "answer_timeout": "3", "memory_seconds": 3, "ignore_gates": ["x"], "bad_config": [], "working_memory": True,
    "memory_before": "", "require_ltm": True,
    "ltm_url": "http://ltm/health", "ltm_gates": [{"path": "ok", "equals": True}],
}  # fmt: skip
BLANK = restart.note_of({}, "r1")


def test_the_note_of_another_run_is_not_believed() -> None:
    noted = {"run_id": "r1", "emptied": "well", "baseline": {"restarts": 2}}
    assert restart.note_of(noted, "r1") == {**restart.BLANK, **noted}
    for other in ("r2", ""):
        assert restart.note_of(noted, other) == {**restart.BLANK, "run_id": other}
    # Nothing was noted before a run is open.
    assert restart.note_of({"run_id": "", "emptied": "well"}, "")["emptied"] == ""


EXCUSED: dict[str, tuple[dict[str, t.Any], bool]] = {
    "nothing was approved": ({}, False),
    "approved, and nothing emptied yet": ({"approved": "a plan"}, True),
    "approved without the memory": ({"approved": "a plan", "emptied": "sick"}, True),
    "the memory came back before": ({"approved": "a plan", "emptied": "renewed"}, False),
    "emptied with the memory up": ({"emptied": "well"}, False),
}


@pytest.mark.parametrize(("note", "excused"), EXCUSED.values(), ids=list(EXCUSED))
def test_gates_of_the_memory_are_excused_only_after_an_approval_without_it(note: dict[str, t.Any], excused: bool) -> None:
    check = restart.check_of(GIVEN, {**BLANK, **note}, {})
    assert check["ignore_gates"] == ["x", *(restart.MEMORY_GATES if excused else [])]
    assert (bool(check["long_term_memory"]), check["round_trip"]["require_ltm"]) == (not excused, not excused)


CANARY = {"profile": "v1", "tenant": "canary", "require_ltm": True}
CHECKS: dict[str, tuple[dict[str, t.Any], dict[str, t.Any]]] = {
    "as it is by default": (
        {}, {"timeout": 25, "round_trip": CANARY, "memory_seconds": 3, "ask_again": 6, "old_identity": {}},
    ),
    "it has no long-term memory": ({"require_ltm": False}, {"round_trip": {**CANARY, "require_ltm": False}}),
    "no canary wanted": ({"round_trip": ""}, {"round_trip": {}}),
    "no url to write to": ({"url": ""}, {"round_trip": {}}),
    "memory is sampled in the first look only": ({"stage": "verify"}, {"memory_seconds": 0, "timeout": 25, "ask_again": 0}),
    "no memory in its process": ({"working_memory": False}, {"long_term_memory": {}}),
    "no url of the memory": ({"ltm_url": ""}, {"long_term_memory": {}}),
    "seconds as text": ({"round_trip_timeout": "1.5", "memory_seconds": "0"}, {"timeout": 15.5, "memory_seconds": 0}),
    "the memory was down, and nothing has been done yet": ({"memory_before": "sick"}, {"memory_was_down": False}),
    "the memory was down before the act": ({"memory_before": "sick", "stage": "verify"}, {"memory_was_down": True}),
    "the memory was up before the act": ({"memory_before": "well", "stage": "verify"}, {"memory_was_down": False}),
    "patterns of the role's user": ({"bad_config": ["boom"]}, {"bad_config": ["boom"]}),
}  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), CHECKS.values(), ids=list(CHECKS))
def test_the_check_follows_from_the_variables(given: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    check = restart.check_of({**GIVEN, **given}, BLANK, {})
    assert {key: check[key] for key in expected} == expected
    assert ("bad_config" in check) is bool(given.get("bad_config"))


def test_further_options_win_over_the_variables() -> None:
    assert restart.check_of({**GIVEN, "manager": "systemd"}, {**BLANK, "old": {"pid": 7}}, {"manager": "compose", "project": "shop"}) == {
        **restart.check_of(GIVEN, {**BLANK, "old": {"pid": 7}}, {}), "manager": "compose", "project": "shop", "old_identity": {"pid": 7},
    }  # fmt: skip


def test_only_what_is_given_names_the_service() -> None:
    assert restart.place_of({"project": "shop", "replica": "2", "context": ""}) == {"project": "shop", "replica": 2}
    assert restart.place_of({"project": "", "replica": "0"}) == {}


LOSSES: dict[str, tuple[str, str, dict[str, t.Any]]] = {
    "nothing was emptied": ("", "a plan", {}),
    "the memory was up": ("well", "", {"count": 0, "exact": True, "unit": "memories"}),
    "the process went on": ("kept", "", {"count": 0, "exact": True, "unit": "memories"}),
    "there is no working memory": ("none", "", {"count": 0, "exact": True, "unit": "memories"}),
    "the memory was away while it ran": ("renewed", "", {"unit": "memories", "approved": False}),
    "the memory was down, approved": ("sick", "a plan", {"unit": "memories", "approved": True}),
    "the memory is up, and out of our sight": ("unwatched", "", {"unit": "memories", "suspected": False}),
    "not known, not approved": ("unknown", "", {"unit": "memories", "approved": False}),
}


@pytest.mark.parametrize(("emptied", "approved", "expected"), LOSSES.values(), ids=list(LOSSES))
def test_a_loss_has_a_count_only_with_a_witness(emptied: str, approved: str, expected: dict[str, t.Any]) -> None:
    loss = restart.loss_of(emptied, approved)
    assert {key: value for key, value in loss.items() if key not in ("text", "witness")} == expected
    assert bool(loss.get("witness")) is (loss.get("count") == 0 or loss.get("suspected") is False)
    # A cache that began empty is told even where nothing was lost.
    assert ("working memory" in loss.get("text", "")) is (emptied not in ("", "kept", "none"))


@pytest.mark.parametrize("stake", ["", "well", "kept", "none", "renewed", "sick", "unknown", "unwatched"])
def test_a_plan_states_no_loss_only_with_a_witness(stake: str) -> None:
    loss = restart.plan_loss_of(stake)
    assert (loss.get("count") == 0) is bool(loss.get("exact")) is (stake in ("", "well", "kept", "none"))
    assert loss["unit"] == "memories"
    assert bool(loss.get("witness")) is (stake in ("", "well", "kept", "none", "unwatched"))
    # An approval is asked for only where a loss is likely.
    assert bool(restart.risk_of(stake)) is (stake in ("renewed", "sick", "unknown"))


PROBE = {"identity": {"pid": 7}, "facts": {"long_term_memory": "well", "memory_watched": True}}


@pytest.mark.parametrize(
    ("probe", "act", "working_memory", "stake"),
    [
        (PROBE, "restart", True, "well"),
        (dict(PROBE, facts={"long_term_memory": "well", "memory_watched": False}), "restart", True, "unwatched"),
        (PROBE, "restart", False, "none"),
        (PROBE, "start", True, "kept"),
        (dict(PROBE, identity={}), "start", True, "well"),
        (dict(PROBE, identity={}, facts={"long_term_memory": "renewed"}), "start", True, "renewed"),
        ({}, "start", True, "unknown"),
        ({}, "start", False, "none"),
    ],
)
def test_an_act_takes_what_the_process_had_in_memory(probe: dict[str, t.Any], act: str, working_memory: bool, stake: str) -> None:
    assert restart.stake_of(probe, act, working_memory) == stake


RISKS = {"": "", "well": "", "sick": "was down", "unknown": "could not tell", "renewed": "was away", "anything else": "could not tell"}


@pytest.mark.parametrize(("memory", "words"), RISKS.items())
def test_the_risk_says_what_was_seen_of_the_memory(memory: str, words: str) -> None:
    assert words in restart.risk_of(memory)
    assert bool(restart.risk_of(memory)) is bool(words)


def test_only_a_well_look_is_kept() -> None:
    facts = {"restarts": 4, "oom_kills": 1, "last_sample": {"rss": 21}}
    known = {"samples": [{"rss": number} for number in range(20)]}
    kept = restart.verified_of({"health": "well", "facts": facts}, known)["application"]
    assert (kept["restarts"], kept["oom_kills"], len(kept["samples"]), kept["samples"][-1]) == (4, 1, 20, {"rss": 21})
    assert restart.verified_of({"health": "well", "facts": dict(facts, last_sample={})}, {})["application"]["samples"] == []
    assert restart.verified_of({"health": "sick", "facts": facts}, known) == restart.verified_of({}, {}) == {}


def test_one_process_is_named_by_pid_and_start() -> None:
    assert restart.process_of({"pid": 7, "start_time_ticks": 9, "restarts": 1}) == {"pid": 7, "start_time_ticks": 9}
    assert restart.process_of({}) == restart.process_of({"pid": 0, "start_time_ticks": 9}) == {}


NAMED = {"manager": "systemd", "name": "api", "log_file": "", "project": "shop", "docker_socket": "unix:///s"}
EVIDENCE: dict[str, tuple[dict[str, t.Any], list[tuple[str, str]]]] = {
    "a log file wins": ({"log_file": "/var/log/api"}, [("service.log", "/var/log/api")]),
    "a unit": ({}, [("service.log", "--unit=api"), ("service.txt", "api")]),
    "a container": ({"manager": "compose"}, [("service.log", "api")]),
    "a program": ({"manager": "supervisor"}, []),
    "a workload": ({"manager": "kubernetes"}, []),
    "no manager that is known": ({"manager": "none"}, []),
}


@pytest.mark.parametrize(("given", "expected"), EVIDENCE.values(), ids=list(EVIDENCE))
def test_the_log_of_each_manager_is_kept(given: dict[str, t.Any], expected: list[tuple[str, str]]) -> None:
    found = filters.evidence({**NAMED, **given})
    assert [(one["name"], one.get("path") or one["argv"][-1]) for one in found] == expected


def test_compose_is_asked_about_the_very_project() -> None:
    words = compose("shop", ["a.yml", "b.yml"], ["x.env"], "unix:///s")
    assert words[:6] == ["docker", "--host", "unix:///s", "compose", "--project-name", "shop"]
    assert words[6:] == ["--file", "a.yml", "--file", "b.yml", "--env-file", "x.env"]


NEXT: dict[str, tuple[dict[str, str], str]] = {
    "nothing fits better": ({"kind": "", "playbook": "", "service": ""}, ""),
    "no look": ({}, ""),
    "several stores": ({"playbook": "recover-all.yml", "service": ""}, "{recover_all}"),
    "a store": ({"playbook": "recover-redis.yml", "service": "cache"}, "{recover_redis}"),
    "a service": ({"playbook": "restart-service.yml", "service": "ltm"}, "{restart_service} -e service_restart_name=ltm"),
    "an odd name": ({"playbook": "restart-service.yml", "service": "a b"}, "{restart_service} -e 'service_restart_name=a b'"),
}


@pytest.mark.parametrize(("hand_over", "command"), NEXT.values(), ids=list(NEXT))
def test_the_next_command_is_that_of_the_remedy_that_fits(hand_over: dict[str, str], command: str) -> None:
    assert restart.next_of(hand_over) == command


def test_where_it_may_go_back_to_is_told_to_the_look() -> None:
    ledger = {"application": {}, **{f"release:{one}": {"release": one, "at": at} for one, at in (("old", 1), ("new", 2))}}
    given = {**GIVEN, "ledger": ledger, "releases": {"dir": "/r", "link": "/c"}}
    assert restart.check_of(given, BLANK, {})["releases"] == {"dir": "/r", "link": "/c", "verified": ["new", "old"]}
    assert "releases" not in restart.check_of({**given, "ledger": {"application": {}}}, BLANK, {})


ROLLBACKS: dict[str, tuple[dict[str, t.Any], str]] = {
    "none was ever recorded": ({}, ""),
    "the only one that was runs": ({"now": "b" * 64, "verified": True, "other": ""}, ""),
    "it never passed": ({"now": "c" * 64, "verified": False, "other": "b" * 64}, "{rollback}"),
    "which runs is unknown": ({"now": "", "verified": False, "other": "b" * 64}, "{rollback}"),
    "it passed once, and a person has to choose": (
        {"now": "sha256:" + "b" * 64, "verified": True, "other": "sha256:" + "a" * 64}, "{rollback} -e rollback_release=" + "a" * 12),
}  # fmt: skip


@pytest.mark.parametrize(("release", "command"), ROLLBACKS.values(), ids=list(ROLLBACKS))
def test_the_next_command_goes_only_where_a_release_is(release: dict[str, t.Any], command: str) -> None:
    assert restart.rollback_of(release) == command
