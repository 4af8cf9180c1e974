# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pool's state means for what is wanted of it; which weights give which share; when a share of the traffic may stay."""

from __future__ import annotations

import itertools
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import balancer
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refusal
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import traffic_shift
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import gates as traffic_gates
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import counts as traffic_counts
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.judge import Verdict, judge_traffic
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.weights import weights_for

ROLE = Path(__file__).resolve().parents[3] / "roles/traffic_scaling"
OFF = {"prepared": True, "on": False, "retry_after": None, "detail": ""}
ON = dict(OFF, on=True, retry_after=120)


def server(name: str, weight: int = 100, **given: t.Any) -> dict[str, t.Any]:
    return traffic_pool.server(name, **{"weight": weight, "initial": 0 if name in ("spare", "overflow") else 100, "up": True, **given})


def state(*servers: dict[str, t.Any], **given: t.Any) -> dict[str, t.Any]:
    usual = servers or (server("api1"), server("api2"), server("spare", 0), server("overflow", 0, up=None))
    return traffic_pool.blank("haproxy", "brain", **{
        "reachable": True, "pools": ["brain"], "pool": "brain", "servers": list(usual), "maintenance": OFF,
        "identity": {"pid": 7, "started_at": 1.0}, **given,
    })  # fmt: skip


def options(goal: str, **given: t.Any) -> dict[str, t.Any]:
    usual = {name: rule.get("default") for name, rule in balancer.OPTIONS.items()}
    return dict(usual, goal=goal, spare=["spare"], overflow="overflow", reason="why", **given)


def judged(goal: str, seen: dict[str, t.Any] | None = None, **given: t.Any) -> Verdict:
    return judge_traffic(seen or state(), {**options(goal), **given}, 256)


LOW = (server("api1", 1), server("api2", 1), server("spare", 18), server("overflow", 0, up=None))
DOWN = (server("api1", up=False), server("api2", up=False), server("spare", 0), server("overflow", 0, up=None))
ALONE = (server("api1"), server("api2", up=False))
MOVED = (server("api1", address="10.0.0.9:80", passed=False, fall=2),)
KEPT_OFF: dict[str, t.Any] = {"identity": {"pid": 7, "started_at": 1.0}, "servers": {}, "maintenance": {"on": False}}
ONE: dict[str, t.Any] = {"spare": [], "overflow": ""}
# What a run set for a time, or was about to when it died; and what the pool is by then.
SET = {"servers": {"api2": {"weight": 100, "admin": "drain", "usual": 100}}, "maintenance": {"on": True, "retry_after": 120}}
KEPT = dict(KEPT_OFF, **SET)
DRAINED = (server("api1"), server("api2", admin="drain"), server("spare", 0), server("overflow", 0, up=None))
THEIRS = (server("api1"), server("api2", admin="maint"), server("spare", 0), server("overflow", 0, up=None))
NOBODY = (server("api1", admin="drain"), server("api2", 0), server("spare", 0), server("overflow", 5, up=None))
BACK: dict[str, t.Any] = {"wanted": {"api2": {"weight": 100, "admin": "ready"}}, "by_itself": True}
MEANT = {"expected": {"api2": {"admin": "drain"}}}
RELOADED = {"identity": {"pid": 8, "started_at": 2.0}}
UNPREPARED = dict(OFF, prepared=False, detail="no map")


def test_a_look_may_ask_for_the_usual_share_too_and_acts_on_nothing() -> None:
    short = state(server("api1", 0), server("api2", 0), server("spare", 100), server("overflow", 0, up=None))
    assert (judged("look", short, usual=True).word, judged("look", short, usual=True).actions) == ("short", ())
    assert judged("look", short).word == "open"
    assert judged("look", state(), usual=True).word == "open"
    assert judged("look", state(*short["servers"], maintenance=ON), usual=True).word == "maintenance"
    assert judged("look", state(*NOBODY), usual=True).word == "clients_kept_out"


@pytest.mark.parametrize(
    ("goal", "seen", "given", "word", "health"),
    [
        ("look", state(), {}, "open", "well"),
        ("look", state(maintenance=ON), {}, "maintenance", "well"),
        ("look", state(*DOWN), {}, "no_server_up", "sick"),
        ("look", state(reachable=False, detail="refused"), {}, "unreachable", "unknown"),
        ("restore", state(pool="", pools=["other"]), {}, "unknown_pool", "unknown"),
        ("set", state(), {"wanted": {"api9": {"weight": 1}}}, "unknown_server", "unknown"),
        ("restore", state(), {"spare": ["nobody"]}, "unknown_server", "unknown"),
        ("restore", state(), {"overflow": "nobody"}, "unknown_server", "unknown"),
        ("maintenance_on", state(), {}, "open", "sick"),
        ("maintenance_on", state(), {"reason": ""}, "reason_missing", "sick"),
        ("maintenance_on", state(maintenance=UNPREPARED), {}, "switch_missing", "unknown"),
        ("maintenance_on", state(maintenance=ON), {"reason": ""}, "maintenance", "well"),
        ("maintenance_off", state(), {}, "open", "well"),
        ("maintenance_off", state(maintenance=ON), {}, "maintenance", "sick"),
        ("maintenance_off", state(maintenance=ON), {"cold": "Redis began empty"}, "cold_cache", "sick"),
        ("maintenance_off", state(maintenance=ON), {"cold": "Redis began empty", "skip_warm_up": "small"}, "maintenance", "sick"),
        ("maintenance_off", state(*ALONE[1:], maintenance=ON), {"spare": [], "overflow": ""}, "no_server_up", "sick"),
        ("set", state(), {}, "set", "well"),
        ("set", state(), {"wanted": {"api1": {"weight": 100}}}, "set", "well"),
        ("set", state(), {"wanted": {"api1": {"weight": 50}}}, "other", "sick"),
        ("set", state(), {"wanted": {"api1": {"weight": 257}}}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": {"weight": -1}}}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": {"weight": True}}}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": {"weight": "50"}}}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": {"admin": "away"}}}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": {"wait": 1}}}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": 5}}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": {"admin": "drain"}}}, "other", "sick"),
        ("set", state(), {"wanted": {"api1": {"admin": "drain"}, "api2": {"admin": "maint"}}}, "last_server", "sick"),
        ("set", state(*ALONE), {"wanted": {"api1": {"admin": "drain"}}, "spare": [], "overflow": ""}, "last_server", "sick"),
        ("set", state(*ALONE), {"wanted": {"api1": {"weight": 0}}, "spare": [], "overflow": ""}, "last_server", "sick"),
        ("restore", state(), {}, "restored", "well"),
        ("restore", state(*LOW), {}, "short", "sick"),
        ("restore", state(maintenance=ON), {}, "short", "sick"),
        ("restore", state(*DOWN), {}, "no_server_up", "sick"),
        ("restore", state(*LOW), {"steps": [10, 50, 25]}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": [10, 10]}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": [0, 100]}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": [50, 101]}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": []}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"held": "too few requests"}, "held", "unknown"),
        ("restore", state(*LOW, aborted=True), {}, "aborted", "sick"),
        ("restore", state(aborted=True), {}, "restored", "well"),
        ("restore", state(*ALONE, maintenance=ON), {"spare": [], "overflow": ""}, "no_place_for_the_rest", "sick"),
        ("restore", state(*ALONE, maintenance=ON), {"spare": [], "overflow": "", "steps": [100]}, "short", "sick"),
        ("restore", state(*LOW), {"steps": "10,100"}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": [10, 50.5, 100]}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": [True, 100]}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": ["a"]}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": 10}, "steps_not_rising", "sick"),
        ("restore", state(*LOW), {"steps": ["50", "100"]}, "short", "sick"),
        ("restore", state(*LOW), {"watch": {"gates": {"error_rates": 0.01}}}, "bad_input", "sick"),
        ("restore", state(*LOW), {"warm_up_share": 0}, "bad_input", "sick"),
        ("set", state(), {"wanted": "api1"}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": ["api1"]}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": {"weight": 1.5}}}, "weight_out_of_range", "sick"),
        ("set", state(), {"wanted": {"api1": {"weight": 50}}, "lasts": -1}, "bad_input", "sick"),
        ("maintenance_on", state(), {"lasts": 0}, "bad_input", "sick"),
        ("maintenance_on", state(), {"lasts": -5}, "bad_input", "sick"),
        ("maintenance_on", state(), {"lasts": 1e12}, "bad_input", "sick"),
        ("maintenance_on", state(), {"retry_after": 0}, "bad_input", "sick"),
        ("maintenance_on", state(), {"reason": " \n"}, "reason_missing", "sick"),
        # A socket of a lower level is found before anything is begun.
        ("set", state(rights="maintenance"), {"wanted": {"api1": {"weight": 50}}}, "balancer_refused", "sick"),
        ("restore", state(*LOW, rights="none"), {}, "balancer_refused", "sick"),
        ("maintenance_on", state(rights="maintenance"), {}, "open", "sick"),
        ("maintenance_on", state(rights="none"), {}, "balancer_refused", "sick"),
        # A backup gets nothing while another is up: it is no place for the rest, takes no share, and takes over from the last.
        ("restore", state(*ALONE[:1], server("spare", 1, backup=True), maintenance=ON), {"overflow": ""}, "no_place_for_the_rest", "sick"),
        ("restore", state(*ALONE[:1], server("spare", 1, backup=True)), {"overflow": ""}, "restored", "well"),
        (
            "set",
            state(*ALONE[:1], server("spare", 1, backup=True)),
            {"wanted": {"api1": {"admin": "drain"}}, "overflow": ""},
            "other",
            "sick",
        ),
        ("restore", state(), {"main": [], "spare": ["api1", "api2", "spare"]}, "no_server_up", "sick"),
        # What does not share by weight, or would bring maintenance back, is refused before anything is done.
        ("restore", state(algorithm="leastconn", maintenance=ON), {}, "not_by_weight", "sick"),
        ("restore", state(algorithm="first", maintenance=ON), {}, "not_by_weight", "sick"),
        ("restore", state(algorithm="static-rr", maintenance=ON), {}, "not_by_weight", "sick"),
        ("restore", state(algorithm="leastconn", maintenance=ON), {"steps": [100]}, "short", "sick"),
        ("restore", state(algorithm="random", maintenance=ON), {}, "short", "sick"),
        ("restore", state(maintenance=dict(ON, fixed="read-only")), {}, "map_unwritable", "sick"),
        ("maintenance_off", state(maintenance=dict(ON, fixed="read-only")), {}, "map_unwritable", "sick"),
        ("maintenance_on", state(maintenance=dict(OFF, fixed="read-only")), {}, "open", "sick"),
        ("look", state(maintenance=dict(ON, prepared=False, detail="a block lacks it")), {}, "switch_missing", "unknown"),
        ("maintenance_on", dict(state(detail="empty"), balancer=""), {}, "bad_input", "sick"),
        # What nobody asks for ends no maintenance that a person turned on.
        ("restore", state(maintenance=ON, kept=KEPT_OFF), {"by_itself": True}, "changed_by_another", "sick"),
        ("maintenance_off", state(maintenance=ON, kept=KEPT_OFF), {"by_itself": True}, "changed_by_another", "sick"),
        ("maintenance_off", state(maintenance=ON, kept=dict(KEPT_OFF, maintenance={})), {"by_itself": True}, "maintenance", "sick"),
        ("maintenance_off", state(maintenance=ON, kept=KEPT_OFF), {}, "maintenance", "sick"),
        ("maintenance_off", state(maintenance=dict(ON, retry_after=600), kept=KEPT), {"by_itself": True}, "changed_by_another", "sick"),
        ("maintenance_off", state(maintenance=ON, kept=KEPT), {"by_itself": True}, "maintenance", "sick"),
        # A run that died before it noted what it did had noted what it would do.
        (
            "maintenance_off",
            state(maintenance=ON, kept=dict(KEPT_OFF, intends={"servers": {}, "maintenance": {"on": True, "retry_after": 120}})),
            {"by_itself": True},
            "maintenance",
            "sick",
        ),
        # Nor what a person did to a server that a run set for a time; what is back already needs nothing.
        ("set", state(*DRAINED, kept=KEPT), {**BACK, **MEANT}, "other", "sick"),
        ("set", state(*THEIRS, kept=KEPT), BACK, "changed_by_another", "sick"),
        ("set", state(*THEIRS), {**BACK, **MEANT}, "changed_by_another", "sick"),
        ("set", state(*THEIRS), dict(BACK, by_itself=False), "other", "sick"),
        ("set", state(kept=KEPT), {**BACK, **MEANT}, "set", "well"),
        ("set", state(*THEIRS, kept=dict(KEPT_OFF, intends={"servers": {"api2": {"admin": "maint"}}})), BACK, "other", "sick"),
        ("restore", state(*LOW, kept=dict(KEPT_OFF, servers={"api1": {"weight": 1}})), {"by_itself": True}, "short", "sick"),
        ("restore", state(*LOW, kept=dict(KEPT_OFF, servers={"api1": {"weight": 9}})), {"by_itself": True}, "changed_by_another", "sick"),
        ("restore", state(*LOW, kept=dict(KEPT_OFF, servers={"api1": {"weight": 9}})), {}, "short", "sick"),
        # After a reload: what the configuration has, and what a person did since, is not lost.
        ("look", state(kept=KEPT, **RELOADED), {}, "reverted", "sick"),
        ("look", state(*THEIRS, kept=KEPT, **RELOADED), {}, "open", "well"),
        (
            "look",
            state(server("api1", 50, initial=50), kept=dict(KEPT, servers={"api1": {"weight": 100, "usual": 100}}), **RELOADED),
            {"spare": [], "overflow": ""},
            "open",
            "well",
        ),
        ("set", state(*THEIRS, kept=KEPT, **RELOADED), {}, "set", "well"),
        # An open pool that nobody serves, or a part of whose clients gets 503, is not well, and maintenance does not end into it.
        ("look", state(*NOBODY), {}, "clients_kept_out", "sick"),
        ("look", state(server("api1", admin="maint"), server("overflow", 0, up=None)), {"spare": []}, "clients_kept_out", "sick"),
        ("look", state(*NOBODY, maintenance=ON), {}, "maintenance", "well"),
        ("look", state(*ALONE[:1], server("overflow", 100, up=None)), {"spare": []}, "clients_kept_out", "sick"),
        ("look", state(*LOW), {}, "open", "well"),
        ("maintenance_off", state(*NOBODY, maintenance=ON), {}, "clients_kept_out", "sick"),
        ("maintenance_off", state(*LOW, maintenance=ON), {}, "maintenance", "sick"),
        # A spare server or overflow that a person took out is no place for the rest.
        ("restore", state(server("api1", 1), server("spare", 9, admin="maint", up=None)), {"overflow": ""}, "restored", "well"),
        (
            "restore",
            state(server("api1", 0), server("spare", 0, admin="maint", up=None)),
            {"overflow": ""},
            "no_place_for_the_rest",
            "sick",
        ),
        ("restore", state(server("api1", 0), server("spare", 0, admin="drain")), {"overflow": ""}, "no_place_for_the_rest", "sick"),
        # Whether a pool can be changed from here, whatever its servers do.
        ("ready", state(*DOWN), {}, "ready", "well"),
        ("ready", state(rights="maintenance"), {}, "balancer_refused", "sick"),
        ("ready", state(maintenance=UNPREPARED), {}, "switch_missing", "unknown"),
        ("ready", state(), {"overflow": "nobody"}, "unknown_server", "unknown"),
        ("ready", state(algorithm="leastconn"), {}, "not_by_weight", "sick"),
        # A server that was set has to pass its check.
        ("set", state(*ALONE), {"wanted": {"api2": {"weight": 100}}, **ONE}, "server_down", "sick"),
        ("set", state(*ALONE), {"wanted": {"api1": {"weight": 100}}, **ONE}, "set", "well"),
        ("set", state(server("api1"), server("api2", 0, up=False)), {"wanted": {"api2": {"weight": 0}}, **ONE}, "set", "well"),
        ("set", state(*MOVED, addresses=True), {"wanted": {"api1": {"address": "10.0.0.9:80"}}, **ONE}, "server_down", "sick"),
        ("set", state(dict(MOVED[0], passed=True), addresses=True), {"wanted": {"api1": {"address": "10.0.0.9:80"}}, **ONE}, "set", "well"),
        ("set", state(dict(MOVED[0], fall=1), addresses=True), {"wanted": {"api1": {"address": "10.0.0.9:80"}}, **ONE}, "set", "well"),
        ("set", state(*MOVED, addresses=True), {"wanted": {"api1": {"address": "169.254.169.254:80"}}, **ONE}, "bad_input", "sick"),
        ("set", state(*MOVED, addresses=True), {"wanted": {"api1": {"address": "127.0.0.1:80"}}, **ONE}, "bad_input", "sick"),
        ("set", state(*MOVED, addresses=True), {"wanted": {"api1": {"address": "10.0.0.8:80"}}, **ONE}, "other", "sick"),
    ],
)
def test_a_pool_is_judged_by_what_is_wanted_of_it(goal: str, seen: t.Any, given: t.Any, word: str, health: str) -> None:
    verdict = judged(goal, seen, **given)
    assert (verdict.word, verdict.health) == (word, health), verdict.text
    # Only what is sick and has a plan is acted on.
    assert (
        bool(verdict.actions)
        == bool(verdict.plan)
        == (word in ("short", "other") or (word, health) in (("open", "sick"), ("maintenance", "sick")))
    )


def test_every_word_that_refuses_has_a_refusal_in_the_role_with_a_code_that_is_known() -> None:
    source = (ROLE.parents[1] / "plugins/module_utils/_traffic/judge.py").read_text()
    no_refusals = {"open", "maintenance", "other", "short", "reverted", "unreachable", "held"}
    words = set(re.findall(r'Verdict\(\s*"([a-z_]+)", "(?:sick|unknown)"', source)) - no_refusals
    replicas = (ROLE.parents[1] / "plugins/module_utils/_service/replicas.py").read_text()
    # Without an act, a state is not handled: the guard knows that by itself.
    words |= set(re.findall(r'_refuse\("([a-z_]+)"', replicas)) - {"state_not_handled"}
    refusals = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__traffic_scaling_refusals"]
    slots = (ROLE.parents[1] / "plugins/module_utils/_traffic/slots.py").read_text()
    words |= set(re.findall(r'Slots\("([a-z_]+)", "sick"', slots))
    assert words == set(refusals)
    assert {refusal(one)["code"] for one in refusals.values()} <= set(REASONS)


def plan_of(*servers: dict[str, t.Any], **given: t.Any) -> t.Any:
    return judged("restore", state(*servers, maintenance=ON), **given).plan


def test_what_a_person_took_out_is_in_no_step_of_a_restoration() -> None:
    out = (server("spare", 0, admin="maint", up=None), server("spare2", 0, initial=0), server("overflow", 0, up=None, admin="maint"))
    plan = plan_of(server("api1"), server("api2", admin="drain"), server("api3", 0, closed=True), *out, spare=["spare", "spare2"])
    touched = {name for step in (*plan["steps"], plan["back"]) for name in step["servers"]}
    assert touched == {"api1", "spare2"}
    # Where nothing else takes requests, a weight of 0 is where a restoration begins.
    plan = plan_of(server("api1", 0, closed=True), server("spare", 1), server("overflow", 0, up=None))
    assert shares(plan, "api1")[-1] == 100


def shares(plan: t.Any, name: str) -> list[float]:
    return [
        round(100 * step["servers"][name]["weight"] / sum(one["weight"] for one in step["servers"].values()), 1) for step in plan["steps"]
    ]


def test_a_restoration_gives_what_main_servers_are_not_given_to_the_spare_server() -> None:
    plan = plan_of()
    assert [step["share"] for step in plan["steps"]] == [10, 25, 50, 100]
    assert (shares(plan, "api1"), shares(plan, "spare"), shares(plan, "overflow")) == ([5, 12.5, 25, 50], [90, 75, 50, 0], [0] * 4)
    assert plan["steps"][-1]["servers"]["api1"] == {"weight": 100, "admin": "ready"}
    assert plan["back"]["maintenance"]["on"] is True


def test_without_a_healthy_spare_server_the_rest_is_answered_by_the_overflow() -> None:
    plan = plan_of(server("api1"), server("spare", 0, up=False), server("overflow", 0, up=None))
    assert (shares(plan, "api1"), shares(plan, "overflow")) == ([10, 25, 50, 100], [90, 75, 50, 0])


def test_a_main_server_that_is_down_gets_nothing_before_the_last_step_and_one_taken_out_by_hand_is_left_alone() -> None:
    plan = plan_of(server("api1"), server("api2", up=False), server("api3", up=None, admin="maint"), server("spare", 0))
    plan = judged(
        "restore",
        state(server("api1"), server("api2", up=False), server("api3", up=None, admin="maint"), server("spare", 0), maintenance=ON),
        overflow="",
    ).plan
    assert [step["servers"]["api2"]["weight"] for step in plan["steps"]] == [0, 0, 0, 100]
    assert all("api3" not in step["servers"] for step in plan["steps"])


def test_a_server_that_a_person_drained_stays_drained_while_another_is_ready() -> None:
    plan = plan_of(server("api1"), server("api2", admin="drain"), server("spare", 0), overflow="")
    assert all("api2" not in step["servers"] for step in plan["steps"])
    # Where all of them are drained, it is the restoration that lets them in again.
    plan = plan_of(server("api1", admin="drain"), server("api2", admin="drain"), server("spare", 0), overflow="")
    assert plan["steps"][-1]["servers"]["api2"] == {"weight": 100, "admin": "ready"}


def test_a_server_that_usually_takes_nothing_is_no_main_server_by_itself() -> None:
    plan = plan_of(server("api1"), server("idle", 0, initial=0), server("spare", 0), overflow="")
    assert all("idle" not in step["servers"] for step in plan["steps"])


@pytest.mark.parametrize(
    ("now", "given", "expected"),
    [
        (LOW, {}, [25, 50, 100]),
        ((), {"cold": "Redis began empty", "steps": [50, 100]}, [10, 50, 100]),
        ((), {"cold": "Redis began empty", "steps": [50, 100], "skip_warm_up": "a small one"}, [50, 100]),
        ((), {"steps": [50]}, [50]),
    ],
    ids=["it goes on from where it is", "cold caches begin low", "unless somebody said why not", "and it may end before all are in"],
)
def test_the_way_of_a_restoration(now: t.Any, given: t.Any, expected: list[float]) -> None:
    verdict = judged("restore", state(*now, maintenance=OFF if now else ON), **given)
    assert [step["share"] for step in verdict.plan["steps"]] == expected


def test_what_a_reload_lost_is_set_again_and_what_a_person_changed_is_not() -> None:
    kept = {
        "identity": {"pid": 6, "started_at": 0.5},
        "servers": {"api1": {"weight": 10, "admin": "ready"}, "gone": {"weight": 1, "admin": "ready"}},
    }
    verdict = judged("set", state(kept=kept))
    assert (verdict.actions, verdict.plan["servers"]) == (("shift",), {"api1": {"weight": 10}})
    assert judged("look", state(kept=kept)).word == "reverted"
    assert judged("set", state(kept=dict(kept, identity={"pid": 7, "started_at": 1.0}))).word == "set"


@pytest.mark.parametrize("share", [1, 2, 5, 10, 25, 33, 50, 75, 90, 99])
@pytest.mark.parametrize(
    "main", [{"a": 100}, {"a": 100, "b": 100}, {"a": 2, "b": 1}, {"a": 97, "b": 31}, {"a": 0}, {f"s{i}": 1 for i in range(20)}]
)
@pytest.mark.parametrize("rest", [["r"], ["r1", "r2", "r3"]])
def test_weights_hit_a_share_within_half_a_percent_point(share: float, main: dict[str, int], rest: list[str]) -> None:
    weights = weights_for(share, main, rest, 256)
    assert all(0 <= weight <= 256 for weight in weights.values())
    hit = 100 * sum(weights[name] for name in main) / sum(weights.values())
    assert abs(hit - share) <= 0.5


def test_a_share_that_needs_somebody_else_is_no_share_without_one() -> None:
    for share, main, rest in ((50, {"a": 1}, []), (50, {}, ["r"]), (0, {"a": 1}, [])):
        with pytest.raises(ValueError, match="both sides"):
            weights_for(share, main, rest, 256)


@pytest.mark.parametrize(
    "given", [{"weight": weight} for weight in (257, -1, "x", None, 1.5, True, "50%", float("inf"))] + [{"admin": "away"}, 5, None]
)
def test_a_weight_or_state_that_no_balancer_takes_is_refused(given: t.Any) -> None:
    with pytest.raises(StepError, match="weight_out_of_range"):
        traffic_shift._fit("api1", given, server("api1"), 256)


SIDES = {"main": ["api1"], "spare": ["spare"], "overflow": ["overflow"]}


def counts(requests: int | None, errors: int | None, at: float, **given: t.Any) -> dict[str, t.Any]:
    servers = [
        server("api1", requests=requests, errors=errors),
        server("spare", requests=5 * int(at), errors=0),
        server("overflow", requests=int(at)),
    ]
    return {"at": at, "pool": {"servers": servers}, "scraped": None, "queried": None, "why": "", **given}


def sample(requests: int | None = 100, errors: int | None = 0, probes: t.Sequence[t.Any] = (), **given: t.Any) -> dict[str, t.Any]:
    begin = counts(None if requests is None else 1000, None if errors is None else 10, 0.0, **{key: given[key][0] for key in given})
    end = counts(
        None if requests is None else 1000 + requests,
        None if errors is None else 10 + errors,
        10.0,
        **{key: given[key][1] for key in given},
    )
    return traffic_gates.sample_of(begin, end, SIDES, probes)


def scraped(*buckets: float) -> dict[str, t.Any]:
    latency = dict(zip(("0.1", "0.5", "+Inf"), itertools.accumulate(buckets)))
    return {"api1": {"requests": sum(buckets), "errors": 0.0, "latency": latency, "recall": None}}


@pytest.mark.parametrize(
    ("made", "limits", "health", "text"),
    [
        (sample(), {"error_rate": 0.05}, "well", "within"),
        (sample(errors=6), {"error_rate": 0.05}, "sick", "errors 6 %, at most 5 %"),
        (sample(errors=5), {"error_rate": 0.05}, "well", "within"),
        (sample(49, 49), {"error_rate": 0.05}, "unknown", "49 of at least 50"),
        (sample(0, 0), {"error_rate": 0.05}, "unknown", "0 of at least 50"),
        (sample(None, None), {}, "unknown", "0 of at least 50"),
        (sample(), {"error_rate": 0.05, "p95": 0.5}, "unknown", "no figure for p95"),
        (sample(errors=50), {"error_rate": 0.05, "p95": 0.5}, "sick", "errors"),
        (sample(scraped=(scraped(0, 0, 0), scraped(100, 0, 0))), {"p95": 0.2, "error_rate": 0.1}, "well", "within"),
        (sample(scraped=(scraped(0, 0, 0), scraped(50, 50, 0))), {"p95": 0.2}, "sick", "p95"),
        (sample(scraped=(scraped(50, 50, 0), scraped(150, 50, 0))), {"p95": 0.2}, "well", "within"),
        (sample(scraped=(scraped(900, 0, 0), scraped(0, 60, 0))), {"p95": 0.2}, "sick", "p95"),
        (sample(scraped=({}, scraped(0, 60, 0))), {"p95": 0.2}, "unknown", "no figure for"),
        (sample(None, None, scraped=(scraped(0, 0, 0), scraped(60, 0, 0))), {"p95": 0.2, "error_rate": 0.1}, "well", "within"),
        (sample(None, None, scraped=({}, scraped(60, 0, 0))), {}, "unknown", "0 of at least 50"),
        (sample(queried=({}, {"p95": 0.9})), {"p95": 0.5}, "sick", "p95 900 ms, at most 500 ms"),
        (sample(queried=({}, {"p95": None})), {"p95": 0.5}, "unknown", "no figure for"),
        (sample(20, 0, [{"ok": True, "seconds": 0.01}] * 30), {"error_rate": 0.05, "p95": 0.5}, "well", "within"),
        (sample(20, 0, [{"ok": False, "seconds": 0.01}] * 30), {"error_rate": 0.05}, "sick", "errors 60 %"),
        (sample(0, 0, [{"ok": True, "seconds": 0.9}] * 50), {"p95": 0.5}, "sick", "p95 900 ms"),
        # Who tells of requests and of no errors does not tell that there are none.
        (sample(None, None, queried=({}, {"requests": 80.4, "error_rate": 0.5})), {"error_rate": 0.05}, "sick", "errors 50 %"),
        (sample(None, None, queried=({}, {"requests": 80.4, "error_rate": 0.01})), {"error_rate": 0.05}, "well", "within"),
        (sample(None, None, queried=({}, {"requests": 80.4})), {"error_rate": 0.05}, "unknown", "no figure for errors"),
        # What is slower than the largest bucket may be slower than the limit.
        (sample(scraped=(scraped(0, 0, 0), scraped(50, 0, 50))), {"p95": 0.6}, "unknown", "no figure for p95"),
        (sample(scraped=(scraped(0, 0, 0), scraped(50, 0, 50))), {"p95": 0.4}, "sick", "p95 500 ms"),
        # A probe that the server never took (no such path, no right) proves nothing about it.
        (sample(0, 0, [{"ok": False, "seconds": 0.01, "status": 404, "void": True}] * 60), {}, "unknown", "60 probes got status 404"),
    ],
)
def test_a_sample_is_judged_and_too_few_are_unknown(made: t.Any, limits: t.Any, health: str, text: str) -> None:
    verdict = traffic_gates.judge_sample(made, limits, 50)
    assert verdict.health == health, verdict
    assert text in verdict.text


@pytest.mark.parametrize(
    ("watch", "text"),
    [
        ({"gates": {"error_rate": 0.05, "factor": 1.5, "room": {"p95": 0.1}}, "baseline": {"p95": None}, "minimum": 50}, ""),
        ({"gates": {"error_rates": 0.05}}, "traffic_scaling_gates has no error_rates"),
        ({"gates": {"p95": "a lot"}}, "traffic_scaling_gates.p95 is a lot"),
        ({"gates": {"p95": -1}}, "traffic_scaling_gates.p95 is -1"),
        ({"gates": {"p95": True}}, "traffic_scaling_gates.p95 is True"),
        ({"gates": {"room": {"p99": 1}}}, "traffic_scaling_gates.room"),
        ({"baseline": {"p95": "nan"}}, "traffic_scaling_baseline.p95 is nan"),
        ({"baseline": {"p99": 0.1}}, "traffic_scaling_baseline has no p99"),
        ({"sample_window": 60, "hold_timeout": 30}, "no step could ever pass"),
    ],
)
def test_limits_that_would_guard_nothing_are_bad_input(watch: dict[str, t.Any], text: str) -> None:
    found = traffic_gates.unfit_gates(watch)
    assert found == "" if not text else text in found


def test_counters_that_begin_anew_count_from_zero() -> None:
    made = traffic_gates.sample_of(counts(1000, 10, 0.0), counts(30, 1, 5.0), SIDES, [])
    assert (made["requests"], made["errors"]) == (30, 1)


def test_a_limit_is_the_lower_of_the_absolute_one_and_that_of_the_baseline() -> None:
    gates = {"error_rate": 0.05, "p95": 0.5, "recall_p95": None, "factor": 1.5, "room": {"error_rate": 0.01, "p95": 0.05}}
    always = {"unanswered": 0.05, "rejected": 0.5}
    assert traffic_gates.limits_of(gates, {}) == {"error_rate": 0.05, "p95": 0.5, **always}
    assert traffic_gates.limits_of(gates, {"error_rate": 0.0, "p95": 0.1}) == {"error_rate": 0.01, "p95": pytest.approx(0.2), **always}
    assert traffic_gates.limits_of(gates, {"p95": 9.0})["p95"] == 0.5
    assert traffic_gates.limits_of({"p95": 0.5}, {"p95": 0.1}) == {"p95": pytest.approx(0.15), **always}
    # Nobody forgets what nobody named; only null turns it off.
    assert traffic_gates.limits_of({"unanswered": None, "rejected": None}, {}) == {}
    # What is usually rejected says what is too much, also where that is a lot.
    usual = traffic_gates.limits_of({"unanswered": 0.1}, {"rejected": 0.6, "unanswered": 0.0})
    assert usual == {"unanswered": 0.01, "rejected": pytest.approx(1.0)}


METRICS = """# HELP x
somabrain_http_requests_total{method="GET",path="/a",status="200"} 90
somabrain_http_requests_total{method="GET",path="/a",status="503"} 10 1700000000
somabrain_http_requests_total{method="GET",path="/health",status="200"} 5000
somabrain_http_latency_seconds_bucket{path="/health",le="0.1"} 5000
somabrain_http_latency_seconds_bucket{path="/a",le="0.1"} 50
somabrain_http_latency_seconds_bucket{path="/a",le="+Inf"} 100
garbage {{{ not a line
other_total 7
"""
NAMES = {name: rule.get("default") for name, rule in traffic_counts.METRICS_SPEC.items()}
COUNTER, BUCKET = "somabrain_http_requests_total", "somabrain_http_latency_seconds_bucket"


def test_metrics_are_read_and_what_is_no_metric_is_left_out() -> None:
    found = traffic_counts.parse_metrics(METRICS, NAMES)
    assert (found["requests"], found["errors"], found["latency"], found["recall"]) == (100, 10, {"0.1": 50, "+Inf": 100}, None)
    assert traffic_counts.parse_metrics("<html>\x00" * 1000, NAMES) == dict.fromkeys(
        ("requests", "errors", "rejected", "latency", "recall", "since", "at")
    )


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ('%s{path="/a",status="200"} 400 # {trace_id="b2"} 1.0' % COUNTER, "requests", 400),
        ('%s{path="/a",status="500"} 7 1799999990.5 # {trace_id="b2"} 1.0 1799999990.5\n# EOF' % COUNTER, "errors", 7),
        ('%s{path="/a",status_code="503"} 4' % COUNTER, "errors", 4),
        ('%s{handler="/a",code="5xx"} 4' % COUNTER, "errors", 4),
        # Nothing says which of them failed, or which of them were health checks.
        ('%s{path="/a"} 4' % COUNTER, "errors", None),
        ('%s{path="/a",status="ok"} 4' % COUNTER, "errors", None),
        ('%s{path="/a"} 4' % COUNTER, "requests", 4),
        ("%s 4" % COUNTER, "requests", None),
        ('%s{status="200"} 4' % COUNTER, "requests", None),
        # A health check is none, whatever the label of its path is called.
        ('%s{handler="/health",status="200"} 9\n%s{handler="/a",status="200"} 4' % (COUNTER, COUNTER), "requests", 4),
        ('%s{route="/healthz/",status="200"} 9' % COUNTER, "requests", None),
        ('%s{uri="/health?deep=1",status="200"} 9\n%s{uri="/a",status="200"} 4' % (COUNTER, COUNTER), "requests", 4),
        # What is no count, or cannot be read, makes the whole figure unknown.
        ('%s{path="/a",status="200"} 4\n%s{path="/b",status="200"} NaN' % (COUNTER, COUNTER), "requests", None),
        ('%s{path="/a",status="200"} 4\n%s{path="/b",status="200} 5' % (COUNTER, COUNTER), "requests", None),
        ('%s{path="/a",path="/b",status="200"} 4' % COUNTER, "requests", None),
        ('%s{path="/a",le="0.1"} 5\n%s{path="/a",le="garbage"} 5' % (BUCKET, BUCKET), "latency", None),
        ('%s{le="0.1"} 5' % BUCKET, "latency", None),
        # Of another time: milliseconds here, seconds in OpenMetrics.
        ('%s{path="/a",status="200"} 4 1799999990000' % COUNTER, "requests", 4),
        ('%s{path="/a",status="200"} 4 1799990000000' % COUNTER, "requests", None),
        ('%s{path="/a",status="200"} 4 1799990000\n# EOF' % COUNTER, "requests", None),
    ],
)
def test_what_metrics_do_not_say_for_certain_is_unknown(text: str, key: str, value: t.Any) -> None:
    assert traffic_counts.parse_metrics(text, NAMES, 1_800_000_000.0)[key] == value


def test_metrics_without_paths_count_where_nothing_is_to_be_left_out() -> None:
    assert traffic_counts.parse_metrics('%s{status="200"} 4' % COUNTER, dict(NAMES, ignored_paths=[]))["requests"] == 4


def test_errors_that_one_server_does_not_count_are_unknown_of_all() -> None:
    sides = [{"api1": scraped(at)["api1"], "api2": dict(scraped(at)["api1"], errors=None)} for at in (0, 25)]
    made = sample(None, None, scraped=(sides[0], sides[1]))
    assert (made["requests"], made["errors"]) == (50, None)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"data":{"result":[]}}', b'{"data":{"result":[{"value":[1,"NaN"]}]}}', b'{"data":{"result":[{},{}]}}']
)
def test_an_answer_of_prometheus_without_one_number_is_no_figure(body: bytes) -> None:
    assert traffic_counts.value_of(body) is None
    told = b'{"data":{"result":[{"metric":{},"value":[1000,"0.25"]}]}}'
    assert [traffic_counts.value_of(told, now) for now in (None, 1030.0, 5000.0)] == [0.25, 0.25, None]


def test_the_line_of_a_step_has_share_samples_errors_latency_and_where_the_rest_went() -> None:
    made = sample(errors=2, scraped=(scraped(0, 0, 0), scraped(100, 0, 0)))
    line = traffic_gates.line_of(25, made, traffic_gates.Verdict("well", "within all limits"))
    assert line == " 25 %: 100 requests, 2 failed (2 %), p95 95 ms, 50 to spare servers, 10 answered 503: within all limits (10 s)"
