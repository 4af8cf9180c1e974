# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the numbers and conditions of a workload and its pods are read, and what health follows."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import service
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.kubernetes.state import parse
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import kubernetes as manager_kubernetes
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.sentence import sentence

BEGAN = "2026-10-16T14:00:00Z"
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-10-16T14:00:03Z"}
WAITS = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-10-16T14:00:01Z"}
WAS_READY = {**WAITS, "lastTransitionTime": "2026-10-16T15:00:00Z"}
LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
FULL = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}


def pod(name: str, condition: dict[str, t.Any], waiting: str = "", leaves: bool = False, **container: t.Any) -> dict[str, t.Any]:
    state: dict[str, t.Any] = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    given = {"name": "main", "restartCount": 0, "state": state, "imageID": "shop/api@sha256:00", **container}
    metadata: dict[str, t.Any] = {"name": name, "uid": f"uid-{name}"}
    if leaves:
        metadata["deletionTimestamp"] = BEGAN
    status = {"phase": "Running", "startTime": BEGAN, "conditions": [condition], "containerStatuses": [given]}
    return {"metadata": metadata, "status": status}


def raw(
    pods: t.Sequence[dict[str, t.Any]] = (),
    desired: int | None = 2,
    conditions: t.Sequence[dict[str, t.Any]] = (),
    kind: str = "Deployment",
    annotations: dict[str, str] | None = None,
    **status: t.Any,
) -> dict[str, t.Any]:
    counted = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, "observedGeneration": 3, **status}
    template = {"metadata": {"labels": {"app": "api"}}, "spec": {"containers": [{"name": "main", "image": "shop/api:1"}]}}
    metadata = {"name": "api", "namespace": "shop", "uid": "u", "generation": 3, "resourceVersion": "9", "annotations": annotations}
    workload = {"kind": kind, "metadata": metadata, "spec": {"replicas": desired, "template": template}}
    workload["status"] = {**counted, "conditions": list(conditions)}
    return {"workload": workload, "pods": list(pods), "autoscalers": [], "budgets": None, "quotas": None}


WELL = (pod("a", READY), pod("b", READY))
NONE_READY: dict[str, t.Any] = {"readyReplicas": 0, "availableReplicas": 0}


@pytest.mark.parametrize(
    ("seen", "word", "health"),
    [
        (raw(WELL), "running", "well"),
        (raw(WELL, desired=None, replicas=1, updatedReplicas=1, readyReplicas=1, availableReplicas=1), "running", "well"),
        (raw(WELL, observedGeneration=2), "starting", "unknown"),
        (raw(WELL, replicas=3, updatedReplicas=1), "starting", "unknown"),
        (raw(WELL, availableReplicas=1), "starting", "unknown"),
        (raw([pod("a", WAITS)], replicas=1, updatedReplicas=1, **NONE_READY), "starting", "unknown"),
        (raw(WELL, replicas=3, updatedReplicas=1, conditions=[LATE]), "unhealthy", "sick"),
        (raw([pod("a", READY), pod("b", WAS_READY)], readyReplicas=1, availableReplicas=1), "unhealthy", "sick"),
        (raw([pod("a", WAS_READY)], desired=1, replicas=1, updatedReplicas=1, **NONE_READY), "unhealthy", "sick"),
        (raw([pod("a", WAITS, "CrashLoopBackOff")], **NONE_READY), "backoff", "sick"),
        (raw([pod("a", WAITS, "ImagePullBackOff")], **NONE_READY), "failed", "sick"),
        (raw([pod("a", WAITS, "ContainerCreating")], **NONE_READY), "starting", "unknown"),
        (raw([], replicas=0, updatedReplicas=0, conditions=[FULL], **NONE_READY), "failed", "sick"),
        (raw([], desired=0, replicas=0, updatedReplicas=0, **NONE_READY), "stopped", "sick"),
        (raw([pod("a", READY, leaves=True)], desired=0, replicas=0, updatedReplicas=0, **NONE_READY), "stopping", "unknown"),
        (raw([*WELL, pod("old", WAITS, "CrashLoopBackOff", leaves=True)]), "running", "well"),
        (raw(WELL, kind="StatefulSet", updatedReplicas=0, currentRevision="r1", updateRevision="r1"), "running", "well"),
        (raw(WELL, kind="StatefulSet", updatedReplicas=1, currentRevision="r1", updateRevision="r2"), "starting", "unknown"),
    ],
)
def test_a_workload_is_well_only_when_every_wanted_pod_is_of_the_newest_version(seen: dict[str, t.Any], word: str, health: str) -> None:
    state = parse("api", seen)
    assert (state["state"], service.judge(state, {}).health.value) == (word, health)


@pytest.mark.parametrize(
    ("word", "wanted", "health"),
    [
        ("running", "stopped", "sick"),
        ("stopped", "stopped", "well"),
        ("stopping", "stopped", "unknown"),
        ("stopped", "running", "sick"),
        ("failed", "stopped", "unknown"),
    ],
)
def test_a_stop_that_is_wanted_is_well_when_it_is_complete(word: str, wanted: str, health: str) -> None:
    state = service_state.blank("kubernetes", "api", exists=True, state=word)
    assert service.judge(state, {"wanted": wanted}).health.value == health


@pytest.mark.parametrize(("word", "actions"), [("stopped", ("start",)), ("failed", ()), ("backoff", ()), ("starting", ("wait",))])
def test_a_cluster_starts_by_itself_what_it_can_start(word: str, actions: tuple[str, ...]) -> None:
    assert service.judge(service_state.blank("kubernetes", "api", exists=True, state=word), {}).actions == actions


def test_the_identity_of_a_workload_is_its_ready_pods_and_their_restarts() -> None:
    again = pod("b", READY, restartCount=1)
    first, second = parse("api", raw(WELL)), parse("api", raw([pod("a", READY), again]))
    assert service_state.identity_of(first) == {"workload": "u", "pods": {"a": ["uid-a", 0], "b": ["uid-b", 0]}}
    assert service_state.identity_of(first) != service_state.identity_of(second)
    assert second["restarts"] == 1
    leaving = pod("a", READY)
    leaving["metadata"]["deletionTimestamp"] = "2026-10-16T14:00:00Z"
    assert service_state.identity_of(parse("api", raw([leaving, again])))["pods"] == {"b": ["uid-b", 1]}


@pytest.mark.parametrize(("noted", "expected"), [("3", 3), ("", None), ("-1", None), ("x", None), ("99999", None), ("٣", None)])
def test_a_note_of_how_many_pods_there_were_is_believed_only_as_a_number(noted: str, expected: int | None) -> None:
    seen = parse("api", raw(WELL, annotations={"incident-response.somabrain/replicas": noted}))
    assert seen["workload"]["remembered"] == expected


@pytest.mark.parametrize(("selector", "guards"), [({"app": "api"}, True), ({"app": "web"}, False), ({}, True), (None, False)])
def test_a_budget_guards_the_pods_whose_labels_it_names(selector: dict[str, str] | None, guards: bool) -> None:
    spec = {"selector": None if selector is None else {"matchLabels": selector}}
    budget = {"metadata": {"name": "keep"}, "spec": spec, "status": {"disruptionsAllowed": 1}}
    told = parse("api", {**raw(WELL), "budgets": [budget]})["workload"]["budgets"]
    assert told == ([{"name": "keep", "may_go": 1}] if guards else [])


def test_an_autoscaler_of_another_kind_or_name_is_not_this_workloads() -> None:
    aims = [("Deployment", "api"), ("StatefulSet", "api"), ("Deployment", "web")]
    autoscalers = [
        {"metadata": {"name": f"{kind}-{name}"}, "spec": {"scaleTargetRef": {"kind": kind, "name": name}}} for kind, name in aims
    ]
    assert parse("api", {**raw(WELL), "autoscalers": autoscalers})["workload"]["autoscalers"] == ["Deployment-api"]
    assert parse("api", {**raw(WELL), "autoscalers": None})["workload"]["autoscalers"] is None


def test_untrusted_words_of_a_cluster_cannot_move_a_cursor() -> None:
    full = {**FULL, "message": "\x1b[2J" + "x" * 500}
    text = sentence(parse("api", raw([], replicas=0, conditions=[full], **NONE_READY)))
    assert "\x1b" not in text
    assert len(text) < 320


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "a b", "../x", "a\n", "*"])
def test_a_name_that_may_mean_others_is_refused(name: str) -> None:
    with pytest.raises(StepError, match="not the name of one"):
        manager_kubernetes.check_name(name)


QUARTER: dict[str, t.Any] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}}


@pytest.mark.parametrize(
    ("hard", "used", "strategy", "kind", "full"),
    [
        (
            {"pods": "2"},
            {"pods": "2"},
            QUARTER,
            "Deployment",
            ["small: 2 of 2 pods"],
        ),
        ({"pods": "3"}, {"pods": "2"}, QUARTER, "Deployment", []),
        ({"limits.cpu": "1"}, {"limits.cpu": "1000m"}, {"type": "RollingUpdate"}, "Deployment", ["small: 1000m of 1 limits.cpu"]),
        ({"requests.memory": "1Gi"}, {"requests.memory": "1023Mi"}, {"type": "RollingUpdate"}, "Deployment", []),
        ({"pods": "2"}, {"pods": "2"}, {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}, "Deployment", []),
        ({"pods": "2"}, {"pods": "2"}, {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}, "Deployment", []),
        ({"pods": "2"}, {"pods": "2"}, {"type": "Recreate"}, "Deployment", []),
        ({"pods": "2"}, {"pods": "2"}, {}, "StatefulSet", []),
        ({"services": "1"}, {"services": "1"}, {"type": "RollingUpdate"}, "Deployment", []),
    ],
)
def test_a_quota_that_is_used_up_matters_where_new_pods_come_first(
    hard: dict[str, str], used: dict[str, str], strategy: dict[str, t.Any], kind: str, full: list[str]
) -> None:
    given = raw(WELL, kind=kind)
    given["workload"]["spec"]["strategy"] = strategy
    given["quotas"] = [{"metadata": {"name": "small"}, "status": {"hard": hard, "used": used}}]
    assert parse("api", given)["workload"]["full"] == full


def test_what_keeps_new_pods_from_coming_up_is_told_apart_from_one_that_only_fell_ill() -> None:
    seen = parse("api", raw([pod("a", WAS_READY), pod("b", WAITS, "ErrImagePull")], conditions=[LATE]))
    assert seen["workload"]["blocked"] == ["its rollout is stuck (ProgressDeadlineExceeded)", "pod b: ErrImagePull"]


@pytest.mark.parametrize(
    ("kind", "spec", "told"),
    [
        ("Deployment", {}, ""),
        ("Deployment", {"paused": True}, "kubectl rollout resume deployment/api"),
        ("Deployment", {"paused": True, "replicas": 0}, ""),
        ("StatefulSet", {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}, ""),
        ("StatefulSet", {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}, "stop at partition 1"),
        ("StatefulSet", {"updateStrategy": {"type": "OnDelete"}}, "OnDelete"),
    ],
)
def test_what_a_rollout_would_not_reach_is_told_before_it_is_begun(kind: str, spec: dict[str, t.Any], told: str) -> None:
    given = raw(WELL, kind=kind)
    given["workload"]["spec"].update(spec)
    barred = parse("api", given)["barred"]
    assert told in barred
    assert bool(told) == bool(barred)


def test_restarts_of_pods_were_before_the_youngest_of_their_processes_began() -> None:
    began = ["2026-10-16T14:00:05Z", "2026-10-16T15:00:00Z"]
    pods = [pod(name, READY, restartCount=3, state={"running": {"startedAt": at}}) for name, at in zip("ab", began, strict=True)]
    told = parse("api", raw(pods))
    assert (told["restarts"], told["started_at"]) == (6, service_state.epoch_of(began[1]))
    assert parse("api", raw(WELL))["started_at"] is None
