# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role traffic_scaling checks, owes, waits for, remembers and undoes, by tables."""

from __future__ import annotations

import json
import shlex
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.filter.traffic_scaling import FilterModule
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import balancer, replicas, slots
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.look import COMMON
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import remedy

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/traffic_scaling"
TARGET = {"balancer": "haproxy", "pool": "brain", "haproxy_address": "/run/haproxy.sock"}
PLACE: dict[str, t.Any] = {
    "project": "", "project_src": "", "project_files": [], "env_files": [], "docker_socket": "", "namespace": "", "context": "",
    "kubeconfig": "", "workload_kind": "",
}  # fmt: skip
DEFAULTS = {name[len("traffic_scaling_") :]: value for name, value in yaml.safe_load((ROLE / "defaults/main.yml").read_text()).items()}
GIVEN: dict[str, t.Any] = {**DEFAULTS, "pool": "brain", "target": TARGET, "place": PLACE, "reason": "why", "state_dir": "/state"}
REPLICAS: dict[str, t.Any] = {"goal": "set", "replicas": 3}
SLOTS = {**REPLICAS, "slots": ["api*"], "manager": "compose"}
NO_WAY = remedy.way_of({}, "", 0)
BACK = {"share": 10, "servers": {"api1": {"weight": 1, "admin": "ready"}}, "maintenance": None}
TENTH, QUARTER = {"share": 10, "servers": {"api1": {"weight": 1}}}, {"share": 25, "servers": {"api1": {"weight": 3}}}
WELL, SICK = {"verdict": "well", "why": "", "rates": {"p95": 0.1}}, {"verdict": "sick", "why": "slow", "rates": {"p95": 9}}
HELD = {"verdict": "unknown", "why": "too few requests", "rates": {"p95": None}}


def asked(**given: t.Any) -> dict[str, t.Any]:
    return {**GIVEN, **given}


def way(**known: t.Any) -> dict[str, t.Any]:
    return remedy.way_of({"run_id": "r1", **known}, "r1", 1000.0)


def looks(stage: str = "assess", run: t.Optional[dict[str, t.Any]] = None, **given: t.Any) -> list[dict[str, t.Any]]:
    return remedy.looks(asked(**given), run or {}, NO_WAY, stage, 1000.0)


def test_the_filters_take_what_the_role_gives_them() -> None:
    given = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__traffic_scaling_asked"]
    unused = {name for name in GIVEN if name not in given} - {"control", "cold_seconds"}
    # Not a variable of the role: set where nobody asks.
    assert set(given) - {"by_itself", "expected"} <= set(GIVEN)
    assert unused <= {"endpoint", "endpoint_token_file", "patience", "evidence", "budget"}


def test_every_filter_is_described() -> None:
    named = {path.stem for path in (ROOT / "plugins/filter").glob("traffic_scaling_*.yml")}
    assert set(FilterModule().filters()) == named


@pytest.mark.parametrize(
    ("given", "kind", "options"),
    [
        ({}, "balancer", balancer.OPTIONS),
        ({"goal": "set", "servers": {"api1": {"weight": 1}}}, "balancer", balancer.OPTIONS),
        (REPLICAS, "replicas", replicas.OPTIONS),
        ({**REPLICAS, "replicas": "as_is"}, "replicas", replicas.OPTIONS),
        (SLOTS, "slots", slots.OPTIONS),
        ({"goal": "restore", "replicas": 3, "slots": ["api*"]}, "balancer", balancer.OPTIONS),
        ({"goal": "set", "slots": ["api*"]}, "balancer", balancer.OPTIONS),
    ],
)
def test_the_first_check_is_what_the_goal_is_about(given: dict[str, t.Any], kind: str, options: dict[str, t.Any]) -> None:
    first = looks(**given)[0]
    assert first["kind"] == kind
    haproxy = {"haproxy_address"} if kind != "replicas" else set()
    assert set(first) - {"kind"} <= set(options) | set(COMMON)
    assert haproxy <= set(first)


@pytest.mark.parametrize(
    ("goal", "lasts", "needs", "watched"),
    [
        ("maintenance_on", 3600, [], False),
        ("maintenance_off", 3600, ["api"], False),
        ("set", 60, [], False),
        ("restore", 3600, ["api"], True),
    ],
)
def test_a_goal_that_admits_clients_needs_the_checks_of_the_role(goal: str, lasts: float, needs: list[str], watched: bool) -> None:
    checks = looks(goal=goal, checks=[{"name": "api", "kind": "http"}], set_seconds=60, baseline={"p95": 0.2})
    first = checks[0]
    assert (first["lasts"], first["needs"], [one["name"] for one in checks[1:]]) == (lasts, needs, needs)
    watch = {key: DEFAULTS[key] for key in ("gates", "minimum", "sample_window", "hold_timeout")}
    assert first["watch"] == ({**watch, "baseline": {"p95": 0.2}} if watched else {})


def test_a_check_without_a_name_is_needed_by_no_name_that_a_check_has() -> None:
    assert looks(goal="restore", checks=[{"kind": "http"}])[0]["needs"] == [""]


@pytest.mark.parametrize(("state_dir", "file"), [("/state", "/state/traffic.abort"), ("", "")])
def test_a_person_stops_a_restoration_by_a_file_of_the_keeper(state_dir: str, file: str) -> None:
    assert looks(state_dir=state_dir)[0]["abort_file"] == file


@pytest.mark.parametrize(
    ("goal", "url", "stage", "expected"),
    [
        ("maintenance_on", "http://x", "verify", [503]),
        ("restore", "http://x", "verify", [200]),
        ("restore", "http://x", "assess", None),
        ("restore", "", "verify", None),
    ],
)
def test_what_a_client_gets_is_checked_after_the_act_only(goal: str, url: str, stage: str, expected: t.Optional[list[int]]) -> None:
    found = [one["expect_status"] for one in looks(stage, goal=goal, client_url=url) if one["name"] == "client"]
    assert found == ([expected] if expected else [])


def test_only_what_is_set_of_the_manager_reaches_the_check() -> None:
    first = looks(**REPLICAS, place={**PLACE, "namespace": "shop"})[0]
    assert first["namespace"] == "shop"
    assert "project" not in first


LOST = {"at": 900.0, "component": "redis", "host": "db1", "run_id": "r0", "text": "all keys"}
OLD = {**LOST, "at": 100.0, "run_id": "old"}
TOLD = "redis of db1 (run r0): all keys"


@pytest.mark.parametrize(
    ("cold", "lost", "restored", "because"),
    [
        ("auto", [LOST, OLD], None, TOLD),
        ("auto", [OLD], None, ""),
        ("auto", [LOST], 950.0, ""),
        ("auto", [LOST], 800.0, TOLD),
        ("auto", None, None, ""),
        ("we flushed it", [LOST], None, "we flushed it"),
        ("", [LOST], None, ""),
        (False, [LOST], None, ""),
        ("False", [LOST], None, ""),
        ("AUTO", [LOST], None, ""),
        (None, [LOST], None, ""),
    ],
)
def test_caches_are_cold_by_a_sentence_or_by_a_late_loss(cold: t.Any, lost: t.Any, restored: t.Optional[float], because: str) -> None:
    run: dict[str, t.Any] = {} if lost is None else {"lost": lost, "last_verified": {"traffic": {"at": restored}} if restored else {}}
    assert remedy.cold_because(asked(cold=cold, cold_seconds="500"), run, 1000.0) == because


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"step": 620.0, "step_back": 55.0, "watch_back": 45.0, "slots": 90.0, "number": 130.0}),
        (
            {"shift_timeout": "20", "hold_timeout": "100"},
            {"step": 240.0, "step_back": 75.0, "watch_back": 55.0, "slots": 150.0, "number": 140.0},
        ),
        (SLOTS, {"step": 620.0, "step_back": 55.0, "watch_back": 45.0, "slots": 90.0, "number": 400.0}),
        ({"shift_timeout": "soon"}, {"step": 600.0, "step_back": 35.0, "watch_back": 35.0, "slots": 30.0, "number": 120.0}),
    ],
)
def test_a_deadline_holds_every_look_wait_and_change(given: dict[str, t.Any], expected: dict[str, float]) -> None:
    assert remedy.seconds(asked(**given)) == expected


SET = {"goal": "set", "servers": {"api1": {"weight": 1}}}
PLAN = {"plan": {"back": {"servers": {"api1": {"weight": 100, "admin": "ready"}}}}}
SHOP = {**REPLICAS, "manager": "compose", "place": {**PLACE, "project": "shop"}}


@pytest.mark.parametrize(
    ("given", "known", "kind", "kinds"),
    [
        ({}, {}, "traffic_scaling/maintenance/brain", ["traffic_scaling/maintenance/brain"]),
        ({"goal": "maintenance_on"}, {}, "traffic_scaling/maintenance/brain", ["traffic_scaling/maintenance/brain"]),
        (SET, PLAN, "traffic_scaling/set/brain", ["traffic_scaling/set/brain/api1"]),
        (SET, {}, "traffic_scaling/set/brain", []),
        (REPLICAS, {}, "traffic_scaling/replicas/kubernetes/", ["traffic_scaling/replicas/kubernetes//somabrain"]),
        (
            {**REPLICAS, "place": {**PLACE, "namespace": "prod", "project": "x"}},
            {},
            "traffic_scaling/replicas/kubernetes/prod",
            ["traffic_scaling/replicas/kubernetes/prod/somabrain"],
        ),
        (SHOP, {}, "traffic_scaling/replicas/compose/shop", ["traffic_scaling/replicas/compose/shop/somabrain"]),
    ],
)
def test_each_thing_with_an_end_has_a_kind_of_its_own(
    given: dict[str, t.Any], known: dict[str, t.Any], kind: str, kinds: list[str]
) -> None:
    found = remedy.owed(asked(**given), way(**known))
    assert (found["kind"], found["kinds"], found["slots_kind"]) == (kind, kinds, f"{kind}/slots/somabrain")


@pytest.mark.parametrize(
    ("act", "given", "known", "parts", "seconds", "told", "goal"),
    [
        ("enter_maintenance", {"goal": "maintenance_on"}, {}, {}, 3600, "maintenance ends", "maintenance_off"),
        ("restore", {}, {}, {}, 1200.0, "", "restore"),
        ("restore", {"steps": "10"}, {}, {}, 0.0, "", "restore"),
        (
            "shift",
            {**SET, "set_seconds": "60"},
            PLAN,
            {"api1": {"weight": 100, "admin": "ready"}},
            "60",
            "the setting is rolled back",
            "set",
        ),
        ("scale", {**REPLICAS, "set_seconds": 60}, {"plan": {"now": 2}}, {"somabrain": 2}, 60, "the setting is rolled back", "set"),
        ("scale", SLOTS, {"plan": {"now": 2}}, {"somabrain": "as_is"}, 400.0, "", "set"),
        ("slots", SLOTS, {"plan": {"now": 2}}, {"somabrain": "as_is"}, 400.0, "", "set"),
        ("scale", {**SLOTS, "set_seconds": 60}, {}, {"somabrain": 0}, 60, "the setting is rolled back", "set"),
    ],
)
def test_an_act_owes_its_end(
    act: str, given: dict[str, t.Any], known: dict[str, t.Any], parts: t.Any, seconds: t.Any, told: str, goal: str
) -> None:
    found = remedy.owed(asked(**given), way(**known))["acts"][act]
    assert (found["parts"], found["seconds"], found["notice"], found["body"]["goal"]) == (parts, seconds, told, goal)


@pytest.mark.parametrize(("act", "given"), [("shift", SET), ("scale", REPLICAS), ("shift", {**SET, "set_seconds": "0"})])
def test_what_is_to_stay_owes_nothing(act: str, given: dict[str, t.Any]) -> None:
    assert remedy.owed(asked(**given), way(**PLAN))["acts"][act] == {}


def test_an_undo_that_closes_the_pool_again_owes_the_end_of_maintenance() -> None:
    found = remedy.owed(asked(), NO_WAY)["maintenance"]
    assert (found["seconds"], found["notice"], found["body"]["goal"]) == (3600, "maintenance ends", "maintenance_off")


@pytest.mark.parametrize("given", [{"goal": "maintenance_on"}, {}, SET, REPLICAS, SHOP, {**SLOTS, "slots_port": 80}])
def test_what_is_owed_has_all_that_the_role_needs_to_end_it(given: dict[str, t.Any]) -> None:
    found = remedy.owed(asked(**given), way(**PLAN))
    body = (found["acts"]["slots"] if "slots" in given else found["acts"]["restore"])["body"]
    task = yaml.safe_load((ROLE / "tasks/end.yml").read_text())[0]
    read = {text.split("body.")[1].split(" ")[0].split(".")[0] for text in map(str, task["vars"].values()) if "body." in text}
    assert read <= set(body)
    counting = "replicas" in given
    again = remedy.due(json.loads(json.dumps({**body, **({"part": "p", "was": 2} if given.get("goal") == "set" else {})})))
    assert again["replicas"] == (2 if counting else "")
    assert again["servers"] == ({"p": 2} if given.get("goal") == "set" and not counting else {})
    assert again["manager"] == (given.get("manager", "kubernetes") if counting else "")
    assert again["slots"]["port"] == given.get("slots_port", 9696)
    assert again["place"]["project"] == given.get("place", {}).get("project", "")
    assert (again["place"]["docker_socket"], again["place"]["workload_kind"]) == ("unix:///var/run/docker.sock", "Deployment")


def test_nothing_remembered_is_a_way_of_nothing() -> None:
    nothing = {"plan": {}, "held": "", "passed": [], "settled": False, "rates": {}, "was": {}, "back": [{}], "verified": {}}
    nothing.update(stands={}, taken="")
    assert {key: value for key, value in NO_WAY.items() if key != "run_id"} == nothing


@pytest.mark.parametrize("run_id", ["r2", ""])
def test_what_another_run_remembered_counts_for_nothing(run_id: str) -> None:
    stale = {"run_id": "r1", "plan": {"now": 1}, "held": "too few", "passed": [TENTH], "settled": True, "rates": {"p95": 1}}
    assert remedy.way_of(stale, run_id, 0) == {**NO_WAY, "run_id": run_id}
    assert remedy.way_of({**stale, "run_id": ""}, "", 0) == NO_WAY


def test_steps_that_passed_are_the_way_back_newest_first() -> None:
    now = way(plan={"back": BACK})
    for step in (TENTH, QUARTER):
        now = way(**remedy.walked(now, step, {**WELL, "stage": "act"}))
    now = way(**remedy.walked(now, {"share": 50}, {**SICK, "stage": "act"}))
    assert now["back"] == [QUARTER, TENTH, BACK]
    assert (now["held"], now["was"], now["settled"]) == ("", BACK["servers"], False)
    assert now["verified"] == {"traffic": {"rates": SICK["rates"], "at": 1000.0}}


def test_a_step_of_which_nothing_is_known_holds_the_restoration() -> None:
    now = way(**remedy.walked(way(plan={"back": BACK}), TENTH, {**HELD, "stage": "act"}))
    assert (now["held"], now["passed"]) == ("too few requests", [])


@pytest.mark.parametrize(("watched", "settled"), [(WELL, True), (SICK, False), (HELD, False)])
def test_a_step_back_settles_where_it_is_well(watched: dict[str, t.Any], settled: bool) -> None:
    before = way(plan={"back": BACK}, passed=[TENTH], rates={"p95": 1})
    after = way(**remedy.walked(before, TENTH, {**watched, "stage": "undo"}))
    assert after == {**before, "settled": settled}


CLOSED = {"plan": {"back": {**BACK, "maintenance": {"on": True}}}}


@pytest.mark.parametrize(
    ("given", "known", "undo"),
    [
        ({"goal": "maintenance_on"}, {}, "{disable_maintenance}"),
        ({"goal": "maintenance_off"}, {}, "{enable_maintenance} -e 'remediation_reason=\"WHY\"'"),
        (REPLICAS, {"plan": {"now": 2}}, "{scale_traffic} -e '{\"traffic_scaling_replicas\": 2}'"),
        (REPLICAS, {}, '{scale_traffic} -e \'{"traffic_scaling_replicas": "N"}\''),
    ],
)
def test_the_undo_is_a_command_for_the_same_hosts(given: dict[str, t.Any], known: dict[str, t.Any], undo: str) -> None:
    assert remedy.undo_of(asked(**given), way(**known)) == undo


@pytest.mark.parametrize("given", [SET, {"goal": "restore"}])
def test_the_undo_of_weights_gives_those_from_before(given: dict[str, t.Any]) -> None:
    words = shlex.split(remedy.undo_of(asked(**given), way(plan={"back": BACK})))
    assert words[:2] == ["{scale_traffic}", "-e"]
    assert json.loads(words[2]) == {"traffic_scaling_servers": BACK["servers"]}


def test_the_undo_of_a_restoration_from_maintenance_closes_the_pool_first() -> None:
    found = remedy.undo_of(asked(), way(**CLOSED))
    assert found.startswith("{enable_maintenance} -e 'remediation_reason=\"WHY\"' && ")
