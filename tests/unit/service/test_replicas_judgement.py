# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a service may get another number of pods: by what a cluster, or Docker, tells of it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import replicas as kind_replicas
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import service
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.new import ports_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.replicas import parse_all, word_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.kubernetes.state import parse
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.replicas import Verdict, judge_replicas, taken
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import catalogue

BEGAN = "2026-10-16T14:00:00Z"
LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
FULL = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}
RESOURCES = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "memory": "64Mi"}}


def pod(number: int, ready: bool = True, resources: t.Any = None, was_ready: bool = False) -> dict[str, t.Any]:
    changed = "2026-10-16T15:00:00Z" if was_ready else "2026-10-16T14:00:03Z"
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": changed}
    status = {"startTime": BEGAN, "phase": "Running", "conditions": [condition], "containerStatuses": [{"restartCount": 0, "imageID": "x"}]}
    spec = {"containers": [{"name": "main", "resources": resources or {}}]}
    metadata = {"name": f"api-{number}", "uid": f"uid-{number}", "creationTimestamp": f"2026-10-16T14:00:{number:02d}Z"}
    return {"metadata": metadata, "status": status, "spec": spec}


def world(desired: int = 2, ready: int | None = None, kind: str = "Deployment", pods: t.Any = None, **more: t.Any) -> dict[str, t.Any]:
    """Return the state of a workload of *desired* pods; *more* are its conditions, spec (``paused``, volumes) and neighbours."""
    ready = desired if ready is None else ready
    there = [pod(number, number < ready) for number in range(desired)] if pods is None else pods
    containers = [{"name": "main", "image": "shop/api:1", "resources": more.get("resources", RESOURCES)}]
    template = {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": containers}}
    counts = {
        "replicas": len(there),
        "updatedReplicas": len(there),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "observedGeneration": 3,
    }
    metadata = {"name": "api", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": "9"}
    spec = {"replicas": desired, "template": template, "paused": more.get("paused", False)}
    workload = {"kind": kind, "metadata": metadata, "spec": spec, "status": {**counts, "conditions": more.get("conditions", [])}}
    beside = {"autoscalers": more.get("autoscalers", []), "budgets": more.get("budgets", []), "quotas": more.get("quotas", [])}
    return parse("api", {"workload": workload, "pods": there, "claims": more.get("claims", []), **beside})


def quota(hard: dict[str, str], used: dict[str, str], **spec: t.Any) -> dict[str, t.Any]:
    return {"metadata": {"name": "small"}, "spec": spec, "status": {"hard": hard, "used": used}}


def budget(may_go: int) -> dict[str, t.Any]:
    return {"metadata": {"name": "keep"}, "spec": {"selector": {}}, "status": {"disruptionsAllowed": may_go}}


def scaler(name: str = "api") -> dict[str, t.Any]:
    return {"metadata": {"name": "busy"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": name}}}


def judged(state: dict[str, t.Any], wanted: int, minimum: int = 1, maximum: int = 10) -> Verdict:
    verdict = judge_replicas(state, wanted, minimum=minimum, maximum=maximum)
    assert (not verdict.code) or (verdict.code in catalogue.REASONS and verdict.word == verdict.code)
    return verdict


@pytest.mark.parametrize(
    ("state", "wanted", "word", "health"),
    [
        (world(2), 2, "scaled", "well"),
        (world(2), 3, "scale_out", "sick"),
        (world(3), 2, "scale_in", "sick"),
        (world(2, ready=1, pods=[pod(0), pod(1, False, was_ready=True)]), 3, "scale_out", "sick"),
        (world(2, ready=1), 2, "starting", "unknown"),
        (world(2, ready=1), 3, "starting", "unknown"),
        (world(2, ready=1, pods=[pod(0), pod(1, False, was_ready=True)]), 2, "state_not_handled", "sick"),
        (world(0), 2, "state_not_handled", "sick"),
        (world(2), 0, "last_server", "sick"),
        (world(2), -1, "last_server", "sick"),
        (world(2), 11, "replicas_out_of_range", "sick"),
        (world(2, paused=True), 3, "rollout_stuck", "sick"),
        (world(2, conditions=[LATE]), 3, "rollout_stuck", "sick"),
        (world(2, conditions=[LATE]), 1, "rollout_stuck", "sick"),
        (world(2, conditions=[LATE]), 2, "rollout_stuck", "sick"),
        (world(2, autoscalers=[scaler()]), 3, "autoscaled", "sick"),
        (world(2, autoscalers=[scaler()]), 1, "autoscaled", "sick"),
        (world(2, autoscalers=[scaler("other")]), 3, "scale_out", "sick"),
        (world(2, autoscalers=[scaler()]), 2, "scaled", "well"),
        (world(2, autoscalers=None), 3, "unknown", "unknown"),
        (world(2, quotas=None), 3, "unknown", "unknown"),
        (world(2, quotas=None), 1, "scale_in", "sick"),
        (world(2, budgets=None), 1, "unknown", "unknown"),
        (world(2, budgets=None), 3, "scale_out", "sick"),
    ],
)
def test_another_number_is_right_only_where_nothing_speaks_against_it(state: dict[str, t.Any], wanted: int, word: str, health: str) -> None:
    verdict = judged(state, wanted)
    assert (verdict.word, verdict.health) == (word, health), verdict


def test_a_number_below_the_minimum_is_refused_and_one_at_it_is_not() -> None:
    assert judged(world(4), 1, minimum=2).code == "replicas_out_of_range"
    assert judged(world(4), 2, minimum=2).word == "scale_in"


def test_pods_that_never_came_up_may_go_whatever_holds_them_up() -> None:
    stuck = world(4, ready=2, conditions=[FULL], budgets=[budget(0)])
    assert judged(stuck, 2).word == "scale_in"
    assert judged(stuck, 1).code == "rollout_stuck"
    assert judged(stuck, 5).code == "rollout_stuck"


@pytest.mark.parametrize(("may_go", "wanted", "word"), [(2, 2, "scale_in"), (1, 2, "budget_guards"), (0, 3, "budget_guards")])
def test_no_more_pods_go_than_a_budget_lets_go(may_go: int, wanted: int, word: str) -> None:
    assert judged(world(4, budgets=[budget(may_go), budget(9)]), wanted).word == word


def test_of_a_stateful_set_the_first_ones_stay_ready_or_not() -> None:
    pods = [pod(0, False, was_ready=True), pod(1, False, was_ready=True), pod(2), pod(10)]
    state = world(4, ready=2, kind="StatefulSet", pods=pods)
    assert judged(state, 2).code == "last_server"
    assert judged(state, 3).word == "scale_in"
    # A Deployment lets the pods go first that are not ready.
    assert judged(world(4, ready=2, pods=pods), 2).word == "scale_in"


@pytest.mark.parametrize(
    ("hard", "used", "wanted", "told"),
    [
        ({"pods": "3"}, {"pods": "2"}, 3, ""),
        ({"pods": "3"}, {"pods": "2"}, 4, "2 of 3 pods are used, and 2 more need 2"),
        ({"count/pods": "2"}, {"count/pods": "2"}, 3, "count/pods"),
        ({"requests.cpu": "300m"}, {"requests.cpu": "200m"}, 3, ""),
        ({"requests.cpu": "300m"}, {"requests.cpu": "200m"}, 4, "200m of 300m requests.cpu"),
        ({"cpu": "0.25"}, {"cpu": "200m"}, 3, "200m of 0.25 cpu"),
        ({"limits.cpu": "1"}, {"limits.cpu": "0.9"}, 3, "limits.cpu are used, and 1 more need 0.2"),
        # A limit without a request is the request too.
        ({"requests.memory": "128Mi"}, {"requests.memory": "128Mi"}, 3, "requests.memory"),
        ({"limits.memory": "192Mi"}, {"limits.memory": "128Mi"}, 3, ""),
        ({"requests.nvidia.com/gpu": "0"}, {}, 3, ""),
        ({"services": "0"}, {"services": "0"}, 3, ""),
    ],
)
def test_a_quota_needs_room_for_all_additional_pods(hard: dict[str, str], used: dict[str, str], wanted: int, told: str) -> None:
    verdict = judged(world(2, quotas=[quota(hard, used)]), wanted)
    assert verdict.code == ("beyond_quota" if told else "")
    assert told in verdict.text


@pytest.mark.parametrize(
    ("spec", "code", "warned"),
    [
        ({}, "beyond_quota", False),
        ({"scopes": ["NotTerminating"]}, "beyond_quota", False),
        ({"scopes": ["NotBestEffort"]}, "beyond_quota", False),
        ({"scopes": ["Terminating"]}, "", False),
        ({"scopes": ["BestEffort"]}, "", False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, "", True),
        ({"scopes": ["PriorityClass"]}, "", False),
    ],
)
def test_a_quota_of_other_pods_is_none_for_these(spec: dict[str, t.Any], code: str, warned: bool) -> None:
    verdict = judged(world(2, quotas=[quota({"pods": "2"}, {"pods": "2"}, **spec)]), 3)
    assert (verdict.code, any("if it counts these pods" in text for text in verdict.warnings)) == (code, warned)


@pytest.mark.parametrize(
    ("operator", "values", "classes"),
    [
        ("In", ["high", "low"], {"high": True, "other": False, "": False, None: None}),
        ("NotIn", ["high"], {"high": False, "other": True, "": True, None: None}),
        ("Exists", [], {"high": True, "": False, None: None}),
        ("DoesNotExist", [], {"high": False, "": True, None: None}),
        ("Near", [], {"high": None}),
    ],
)
def test_a_quota_of_a_priority_class_counts_the_pods_of_it(operator: str, values: list[str], classes: dict[t.Any, t.Any]) -> None:
    scope = {"scopeName": "PriorityClass", "operator": operator, "values": values}
    for name, counted in classes.items():
        small = quota({"pods": "2"}, {"pods": "2"}, scopeSelector={"matchExpressions": [scope]})
        state = world(2, quotas=[small])
        state["workload"]["priority_class"] = name
        verdict = judged(state, 3)
        assert (verdict.code, bool(verdict.warnings)) == ("beyond_quota" if counted else "", counted is None), name


def test_the_priority_class_is_that_of_the_newest_pod_which_may_have_it_from_the_cluster() -> None:
    given = pod(2)
    given["spec"]["priorityClassName"] = "usual"
    assert world(1, pods=[pod(1), given])["workload"]["priority_class"] == "usual"
    assert world(1, pods=[pod(1)])["workload"]["priority_class"] == ""
    assert world(1, pods=[])["workload"]["priority_class"] is None


def test_a_pod_takes_what_the_defaults_of_its_namespace_gave_it_and_what_runs_alone_before_it() -> None:
    by_default = world(1, resources={}, pods=[pod(1), pod(2, resources=RESOURCES)])
    assert by_default["workload"]["takes"]["requests"] == {"cpu": 0.1, "memory": 64.0 * 2**20}
    # The newest pod counts, not an older one.
    assert world(1, resources={}, pods=[pod(2), pod(1, resources=RESOURCES)])["workload"]["takes"]["requests"] == {}
    several = pod(3)
    several["spec"]["containers"] = [{"resources": RESOURCES}, {"resources": RESOURCES}]
    several["spec"]["initContainers"] = [
        {"resources": {"requests": {"cpu": "1"}}},
        {"resources": {"limits": {"cpu": "50m"}}, "restartPolicy": "Always"},
    ]
    takes = world(1, resources={}, pods=[several])["workload"]["takes"]
    assert (takes["requests"]["cpu"], round(takes["limits"]["cpu"], 6)) == (1.0, 0.45)
    assert [taken(takes, name) for name in ("pods", "cpu", "requests.cpu", "services")] == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("claims", "kind", "wanted", "warned"),
    [
        ([{"name": "data", "modes": ["ReadWriteOnce"]}], "Deployment", 3, "volume data is tied to one node"),
        ([{"name": "data", "modes": ["ReadWriteOnce"]}], "Deployment", 1, ""),
        ([{"name": "data", "modes": ["ReadWriteMany"]}], "Deployment", 3, ""),
        ([], "Deployment", 3, ""),
        (None, "Deployment", 3, "not allowed to read volumes"),
        (None, "StatefulSet", 3, ""),
    ],
)
def test_a_volume_of_one_node_is_a_warning_for_more_pods(claims: t.Any, kind: str, wanted: int, warned: str) -> None:
    verdict = judged(world(2, claims=claims, kind=kind), wanted)
    assert verdict.code == ""
    assert warned in " ".join(verdict.warnings)
    assert bool(verdict.warnings) == bool(warned)


@pytest.mark.parametrize(
    ("modes", "kind", "wanted", "code"),
    [
        (["ReadWriteOncePod"], "Deployment", 2, "replicas_out_of_range"),
        (["ReadWriteOncePod", "ReadWriteMany"], "Deployment", 2, ""),
        (["ReadWriteOncePod"], "StatefulSet", 2, ""),
    ],
)
def test_a_volume_of_one_pod_allows_no_more_pods(modes: list[str], kind: str, wanted: int, code: str) -> None:
    verdict = judged(world(1, claims=[{"name": "data", "modes": modes}], kind=kind), wanted)
    assert (verdict.code, "volume data" in verdict.text) == (code, bool(code))


def test_what_cannot_be_seen_is_unknown() -> None:
    for state in (
        service_state.blank("kubernetes", "api", reachable=False, detail="no answer"),
        service_state.blank("supervisor", "api", exists=True),
    ):
        assert judged(state, 2).health == "unknown"


def container(number: int, status: str = "running", health: str = "", code: int = 0, image: str = "sha256:aa") -> dict[str, t.Any]:
    state: dict[str, t.Any] = {"Status": status, "ExitCode": code, "OOMKilled": False, "Health": {"Status": health}}
    labels = {"com.docker.compose.container-number": str(number), "com.docker.compose.config-hash": "a1b2"}
    config = {"Image": "shop/api:1", "Labels": labels}
    return {"Id": f"{number:064d}", "Name": f"/shop-api-{number}", "RestartCount": 0, "State": state, "Config": config, "Image": image}


@pytest.mark.parametrize(
    ("seen", "wanted", "word"),
    [
        ([container(1), container(2)], 2, "scaled"),
        ([container(1), container(2)], 3, "scale_out"),
        ([container(2), container(1)], 1, "scale_in"),
        ([container(1), container(2, "restarting")], 3, "rollout_stuck"),
        ([container(1), container(2, "restarting")], 1, "scale_in"),
        ([container(1), container(2, "exited", code=1)], 2, "rollout_stuck"),
        ([container(1), container(2, health="starting")], 2, "starting"),
        ([container(1), container(2, health="unhealthy")], 2, "state_not_handled"),
        ([container(1, health="unhealthy"), container(2)], 1, "last_server"),
        ([container(1), container(2, "exited")], 2, "state_not_handled"),
    ],
)
def test_containers_of_a_compose_service_are_judged_alike(seen: list[dict[str, t.Any]], wanted: int, word: str) -> None:
    assert judged(parse_all("api", "shop", seen), wanted).word == word


FRESH = {"unreadable": "", "image": "shop/api:1", "image_id": "sha256:aa", "hash": "a1b2", "name": "", "ports": {}}


@pytest.mark.parametrize(
    ("fresh", "wanted", "code", "text"),
    [
        ({}, 3, "", "3 were requested"),
        ({"image_id": ""}, 3, "not_alike", "image shop/api:1 is not on this host"),
        ({"image_id": "sha256:bb"}, 3, "not_alike", "would run image"),
        ({"hash": "ffff"}, 3, "not_alike", "another configuration (ffff) than the present ones (a1b2)"),
        ({"name": "api"}, 3, "replicas_out_of_range", "container_name (api)"),
        ({"ports": {"9696/tcp": 1}}, 3, "replicas_out_of_range", "9696/tcp (1)"),
        ({"ports": {"9696-9698/tcp": 3}}, 3, "", "3 were requested"),
        ({"ports": {"9696-9698/tcp": 3}}, 4, "replicas_out_of_range", "9696-9698/tcp (3)"),
        ({"unreadable": "no such file"}, 3, "bad_input", "no such file"),
        # To have fewer, nothing is made; the files are needed all the same.
        ({"image_id": "", "hash": "ffff", "name": "api"}, 1, "", "1 were requested"),
        ({"unreadable": "no such file"}, 1, "bad_input", "no such file"),
        ({"unreadable": "no such file"}, 2, "", "2 of 2 ready"),
    ],
)
def test_a_container_that_would_not_be_like_the_others_is_refused_before_it_is_made(
    fresh: dict[str, t.Any], wanted: int, code: str, text: str
) -> None:
    state = dict(parse_all("api", "shop", [container(1), container(2)]), fresh={**FRESH, **fresh})
    verdict = judged(state, wanted)
    assert (verdict.code, text in verdict.text) == (code, True), verdict.text


def test_which_ports_of_the_host_how_many_containers_can_have() -> None:
    ports: list[dict[str, t.Any]] = [
        {"target": 80, "published": "8080", "protocol": "tcp"},
        {"target": 81, "published": "8081-8083", "protocol": "udp"},
        {"target": 82, "published": ""},
        {"target": 83},
        {"target": 84, "published": "0"},
    ]
    assert ports_of(ports) == {"8080/tcp": 1, "8081-8083/udp": 3}


@pytest.mark.parametrize("wanted", ["abc", "1.5", 1.5, True, None, [3], "3 pods"])
def test_what_is_no_number_of_replicas_is_refused_by_name(wanted: t.Any) -> None:
    seen = kind_replicas.judge(world(2), {"wanted_replicas": wanted, "minimum": 1, "maximum": 10})
    assert (seen.health.value, seen.state, tuple(seen.actions)) == ("sick", "replicas_out_of_range", ())


def test_as_many_as_there_are_is_a_number_too() -> None:
    seen = kind_replicas.judge(world(2), {"wanted_replicas": "as_is", "minimum": 1, "maximum": 10})
    assert (seen.state, seen.facts["plan"]) == ("scaled", {"replicas": 2, "now": 2})


def test_servers_and_replicas_are_not_asked_for_in_one_run() -> None:
    given = {"wanted_replicas": 3, "minimum": 1, "maximum": 10, "given_servers": {"api1": {"weight": 1}}}
    assert kind_replicas.judge(world(2), given).state == "bad_input"


def test_containers_of_one_service_are_one_state_with_an_identity_of_all() -> None:
    state = parse_all("api", "shop", [container(10), container(2), container(1, "exited", code=1, image="sha256:bb")])
    assert [one["number"] for one in state["workload"]["pods"]] == [1, 2, 10]
    assert (state["state"], state["image"]["id"], state["detail"]) == (
        "unhealthy",
        "",
        "2 of 3 containers ready; container shop-api-1 is failed",
    )
    assert sorted(service_state.identity_of(state)["pods"]) == ["shop-api-10", "shop-api-2"]


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["running", "running"], "running"),
        (["running", "starting"], "starting"),
        (["running", "stopped"], "unhealthy"),
        (["stopped", "stopped"], "stopped"),
        (["stopped", "failed"], "failed"),
        (["failed", "backoff"], "backoff"),
        (["stopped", "created"], "unknown"),
    ],
)
def test_one_word_for_several_containers(words: list[str], word: str) -> None:
    assert word_of(words) == word


@pytest.mark.parametrize(("wanted", "health"), [(2, "well"), (3, "sick"), (None, "well")])
def test_another_number_than_is_wanted_is_sick_though_all_run(wanted: int | None, health: str) -> None:
    seen = service.judge(world(2), {"wanted_replicas": wanted})
    assert seen.health.value == health
    assert service.judge(parse_all("api", "shop", [container(1), container(2)]), {"wanted_replicas": wanted}).health.value == health


@pytest.mark.parametrize(
    ("wanted", "health", "state", "actions"),
    [
        (2, "well", "scaled", ()),
        (3, "sick", "scale_out", ("scale",)),
        (0, "sick", "last_server", ()),
        (11, "sick", "replicas_out_of_range", ()),
    ],
)
def test_the_check_allows_the_act_only_where_nothing_is_refused(wanted: int, health: str, state: str, actions: tuple[str, ...]) -> None:
    claims = [{"name": "data", "modes": ["ReadWriteOnce"]}]
    seen = kind_replicas.judge(world(2, claims=claims), {"wanted_replicas": wanted, "minimum": 1, "maximum": 10})
    assert (seen.health.value, seen.state, tuple(seen.actions)) == (health, state, actions)
    assert seen.facts["plan"] == {"replicas": wanted, "now": 2}
    assert [finding.name for finding in seen.findings] == ["replicas"] + (["warning"] if wanted == 3 else [])
