# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server's facts about a Deployment or StatefulSet and its pods as the state of a service."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.quantity import number_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import ServiceState

Told = t.Mapping[str, t.Any]
# Written by the task file `stop`, read by `start`.
REMEMBERED = "incident-response.somabrain/replicas"
# Waiting alone does not make such a pod ready.
BROKEN = (
    "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
)  # fmt: skip
# A pod is marked "not ready" when it begins; a mark that comes this much later replaced a "ready".
FIRST_WORD_SECONDS = 10.0
NOT_ANY_MORE = "is no longer ready"
# Quota resources that every new pod takes some of.
PER_POD = ("pods", "count/pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def parse(name: str, raw: Told) -> ServiceState:
    """Turn ``workload``, its ``pods``, and what else was read (None for what this user is not allowed to see) into a state."""
    workload, pods = raw["workload"], [facts_of(pod) for pod in raw["pods"]]
    counts = counts_of(workload)
    stuck = stalled(workload) + [pod["trouble"] for pod in pods if pod["trouble"] and not pod["leaves"]]
    ends = [pod["ended"] for pod in pods if pod["ended"]]
    word = state_word(counts, pods, stuck)
    return service_state.blank(
        "kubernetes", name, exists=True, state=word, restarts=sum(pod["restarts"] for pod in pods), autorestart="Always",
        # All restarts happened before the youngest process began.
        started_at=max((pod["started_at"] for pod in pods if pod["started_at"] and pod["ready"]), default=None),
        oom_killed=any(end.get("reason") == "OOMKilled" for end in ends), exit_code=ends[-1].get("exitCode") if ends else None,
        detail=one_line("; ".join([_counted(counts), *dict.fromkeys(stuck)]), 240), image=_images(workload, pods),
        result=stuck[0] if stuck else "", barred=barred(workload, counts),
        workload=dict(_workload(workload, counts, pods, raw), **_rollout(workload, counts, stuck, raw)),
    )  # fmt: skip


def counts_of(workload: Told) -> dict[str, t.Any]:
    """Return how many pods are wanted, present, updated, ready and available, and whether the newest change was seen."""
    spec, status, metadata = workload["spec"], workload.get("status") or {}, workload["metadata"]
    there, ready = int(status.get("replicas") or 0), int(status.get("readyReplicas") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    if workload["kind"] == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision"):
        updated = there
    return {
        "desired": int(spec["replicas"] if spec.get("replicas") is not None else 1), "replicas": there, "updated": updated, "ready": ready,
        "available": int(status.get("availableReplicas") or 0),
        "observed": int(status.get("observedGeneration") or 0) >= int(metadata["generation"]),
    }  # fmt: skip


def stalled(workload: Told) -> list[str]:
    """Return why a rollout is stuck, by its controller's conditions."""
    told = []
    for condition in (workload.get("status") or {}).get("conditions") or []:
        kind, status, reason = condition.get("type"), condition.get("status"), str(condition.get("reason") or "")
        if kind == "Progressing" and status == "False":
            told.append("its rollout is stuck (%s)" % one_line(reason, 60))
        if kind == "ReplicaFailure" and status == "True":
            told.append("no pod can be created (%s: %s)" % (one_line(reason, 60), one_line(condition.get("message") or "", 120)))
    return told


def barred(workload: Told, counts: Told) -> str:
    """Return why a changed template would not give it new pods, "" if it would."""
    spec = workload["spec"]
    update = spec.get("updateStrategy") or {}
    if not counts["desired"]:
        return ""
    if spec.get("paused"):
        return "its rollouts are paused: kubectl rollout resume %s/%s" % (workload["kind"].lower(), workload["metadata"]["name"])
    if update.get("type") == "OnDelete":
        return "its update strategy is OnDelete: a new pod comes only after someone deletes an old one"
    if int((update.get("rollingUpdate") or {}).get("partition") or 0) > 0:
        return "its rollouts stop at partition %s: pods below it stay as they are" % update["rollingUpdate"]["partition"]
    return ""


def facts_of(pod: Told) -> dict[str, t.Any]:
    """Return the plain facts of one pod; ``trouble`` is "" if waiting may help."""
    status, metadata = pod.get("status") or {}, pod["metadata"]
    containers = status.get("containerStatuses") or []
    ready: Told = next((one for one in status.get("conditions") or [] if one.get("type") == "Ready"), {})
    return {
        "name": metadata["name"], "uid": metadata["uid"], "leaves": bool(metadata.get("deletionTimestamp")),
        "ready": ready.get("status") == "True", "restarts": sum(int(one.get("restartCount") or 0) for one in containers),
        "started_at": max(filter(None, map(_began, containers)), default=None),
        "ended": next(filter(None, map(_end_of, containers)), None),
        "images": [str(one["imageID"]) for one in containers if one.get("imageID")],
        "trouble": _trouble(str(metadata["name"]), status, ready),
    }  # fmt: skip


def _in_state(container: Told, word: str, key: str = "state") -> Told:
    """Return the details of a container in the state *word* (running, waiting, terminated), {} if it is in another one."""
    return (container.get(key) or {}).get(word) or {}


def _began(container: Told) -> t.Optional[float]:
    return service_state.epoch_of(str(_in_state(container, "running").get("startedAt") or ""))


def _end_of(container: Told) -> Told:
    return _in_state(container, "terminated", "lastState") or _in_state(container, "terminated")


def _trouble(name: str, status: Told, ready: Told) -> str:
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    reasons = [str(_in_state(one, "waiting").get("reason")) for one in containers]
    broken = [reason for reason in reasons if reason in BROKEN]
    if broken:
        return "pod %s: %s" % (name, broken[0])
    if status.get("phase") == "Failed":
        return "pod %s has failed (%s)" % (name, one_line(status.get("reason") or "no reason given", 60))
    return "pod %s %s" % (name, NOT_ANY_MORE) if _was_ready(status, ready) else ""


def _was_ready(status: Told, ready: Told) -> bool:
    """Return whether a pod that is not ready was ready before."""
    began = service_state.epoch_of(str(status.get("startTime") or ""))
    changed = service_state.epoch_of(str(ready.get("lastTransitionTime") or ""))
    return ready.get("status") == "False" and bool(began and changed and changed - began > FIRST_WORD_SECONDS)


def state_word(counts: Told, pods: t.Sequence[Told], stuck: t.Sequence[str]) -> str:
    """Return our word: running only when every wanted pod is updated and available, and no old one is left."""
    desired = counts["desired"]
    if not counts["observed"]:
        return "starting"
    if desired == 0:
        return "stopping" if pods or counts["replicas"] else "stopped"
    if counts["replicas"] == desired and min(counts[key] for key in ("updated", "ready", "available")) >= desired and not stuck:
        return "running"
    if not stuck:
        return "starting"
    if counts["ready"] or any(reason.endswith(NOT_ANY_MORE) for reason in stuck):
        return "unhealthy"
    return "backoff" if any(reason.endswith("CrashLoopBackOff") for reason in stuck) else "failed"


def _counted(counts: Told) -> str:
    if not counts["observed"]:
        return "its controller has not seen the latest change yet"
    text = "%d of %d pods ready" % (counts["ready"], counts["desired"])
    old = counts["replicas"] - counts["updated"]
    return text + (", %d of an older version" % old if old > 0 else "")


def _images(workload: Told, pods: t.Sequence[Told]) -> dict[str, t.Any]:
    containers = workload["spec"]["template"]["spec"]["containers"]
    digests = sorted({image for pod in pods if not pod["leaves"] for image in pod["images"]})
    return {"name": one_line(containers[0].get("image"), 200), "id": "", "digests": digests}


def _workload(workload: Told, counts: Told, pods: t.Sequence[Told], raw: Told) -> dict[str, t.Any]:
    metadata = workload["metadata"]
    noted = str((metadata.get("annotations") or {}).get(REMEMBERED) or "")
    return {
        **counts, "kind": workload["kind"], "namespace": metadata["namespace"], "uid": metadata["uid"],
        "resource_version": metadata["resourceVersion"], "generation": metadata["generation"],
        "paused": bool(workload["spec"].get("paused")), "annotated": bool(metadata.get("annotations")),
        "template_annotated": bool((workload["spec"]["template"].get("metadata") or {}).get("annotations")),
        "remembered": int(noted) if noted.isascii() and noted.isdigit() and len(noted) < 5 else None,
        "pods": [{key: pod[key] for key in ("name", "uid", "ready", "leaves", "restarts")} for pod in pods],
        "autoscalers": _aiming_at(workload, raw["autoscalers"]), "budgets": _guarding(workload, raw["budgets"]),
        "quotas": None if raw["quotas"] is None else [_room(one) for one in raw["quotas"]],
        "takes": _takes(workload, raw["pods"]), "claims": raw.get("claims", []), "priority_class": _priority_class(workload, raw["pods"]),
    }  # fmt: skip


def _newest(pods: t.Sequence[Told]) -> Told:
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""), default={})


def _priority_class(workload: Told, pods: t.Sequence[Told]) -> t.Optional[str]:
    """Return the PriorityClass of its pods, "" for none; None if it names none and no pod shows the cluster's default."""
    newest = _newest(pods)
    named = workload["spec"]["template"]["spec"].get("priorityClassName")
    return str(newest["spec"].get("priorityClassName") or "") if newest.get("spec") else named


def _takes(workload: Told, pods: t.Sequence[Told]) -> dict[str, dict[str, float]]:
    """Return {requests, limits} of one pod by resource: from its template, or from the newest pod with its defaults."""
    specs = [one for one in (workload["spec"]["template"]["spec"], _newest(pods).get("spec")) if one]
    return {side: _largest([_of_pod(spec, side) for spec in specs]) for side in ("requests", "limits")}


def _of_pod(spec: Told, side: str) -> dict[str, float]:
    """Return what a pod takes: all its containers together, or one init container, whichever is more."""
    before = [one for one in spec.get("initContainers") or [] if one.get("restartPolicy") != "Always"]
    beside = [one for one in spec.get("initContainers") or [] if one not in before] + list(spec["containers"])
    together: dict[str, float] = {}
    for one in [_of_container(container, side) for container in beside]:
        together.update({name: together.get(name, 0.0) + value for name, value in one.items()})
    return _largest([together, *(_of_container(container, side) for container in before)])


def _of_container(container: Told, side: str) -> dict[str, float]:
    resources = container.get("resources") or {}
    # A limit without a request is also the request.
    given = (
        {**(resources.get("limits") or {}), **(resources.get("requests") or {})} if side == "requests" else resources.get("limits") or {}
    )
    return {str(name): number_of(value) for name, value in given.items()}


def _largest(parts: t.Sequence[t.Mapping[str, float]]) -> dict[str, float]:
    return {name: max(part.get(name, 0.0) for part in parts) for name in sorted({name for part in parts for name in part})}


def _aiming_at(workload: Told, autoscalers: t.Optional[t.Sequence[Told]]) -> t.Optional[list[str]]:
    """Return the names of the HorizontalPodAutoscalers of this workload, None if this user is not allowed to see them."""
    if autoscalers is None:
        return None
    wanted = (workload["kind"], workload["metadata"]["name"])
    aims = [(one["metadata"]["name"], one["spec"]["scaleTargetRef"]) for one in autoscalers]
    return [str(name) for name, aim in aims if (aim.get("kind"), aim.get("name")) == wanted]


def _guarding(workload: Told, budgets: t.Optional[t.Sequence[Told]]) -> t.Optional[list[dict[str, t.Any]]]:
    """Return the PodDisruptionBudgets that may guard the workload's pods, with how many pods may go now."""
    if budgets is None:
        return None
    labels = (workload["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return [
        {"name": one["metadata"]["name"], "may_go": int((one.get("status") or {}).get("disruptionsAllowed") or 0)}
        for one in budgets
        if _may_select(one["spec"].get("selector"), labels)
    ]


def _may_select(selector: t.Optional[Told], labels: Told) -> bool:
    """Return whether a selector may select these labels: an empty one selects all, None selects none; expressions are ignored."""
    return selector is not None and (selector.get("matchLabels") or {}).items() <= labels.items()


def _rollout(workload: Told, counts: Told, stuck: t.Sequence[str], raw: Told) -> dict[str, t.Any]:
    """Return {blocked, full}: why no new pod comes up, and the full quotas if a rollout creates new pods first."""
    rule = workload["spec"].get("strategy") or {}
    may_go = (rule.get("rollingUpdate") or {}).get("maxUnavailable", 0) if rule.get("type") == "RollingUpdate" else "100%"
    new_first = workload["kind"] == "Deployment" and _share_of(may_go, counts["desired"]) == 0
    full = [text for quota in raw["quotas"] or [] for text in _used_up(quota)]
    return {"blocked": [one for one in stuck if not one.endswith(NOT_ANY_MORE)], "full": full if new_first else []}


def _share_of(given: t.Any, desired: int) -> int:
    """Return how many pods a number or a percentage (rounded down) means."""
    text = str(given)
    return desired * int(text[:-1]) // 100 if text.endswith("%") else int(text)


def _used_up(quota: Told) -> list[str]:
    room = _room(quota)
    used = {name: room["used"].get(name, "0") for name in room["hard"] if name in PER_POD}
    return [
        "%s: %s of %s %s" % (one_line(room["name"], 60), one_line(used[name], 20), one_line(room["hard"][name], 20), name)
        for name in used
        if number_of(used[name]) >= number_of(room["hard"][name])
    ]


def _room(quota: Told) -> dict[str, t.Any]:
    """Return what a ResourceQuota allows and how much is used, as the API server writes it."""
    status = quota.get("status") or {}
    room = {"name": quota["metadata"]["name"], "hard": status.get("hard") or {}, "used": status.get("used") or {}}
    scopes = _scopes_of(quota.get("spec") or {})
    return dict(room, scopes=scopes) if scopes else room


def _scopes_of(spec: Told) -> list[dict[str, t.Any]]:
    """Return the scopes of a quota, {name, operator, values}: it counts the pods that match all of them."""
    plain = [{"name": str(name), "operator": "Exists", "values": []} for name in spec.get("scopes") or []]
    expressions = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    return plain + [
        {
            "name": str(one.get("scopeName")),
            "operator": str(one.get("operator")),
            "values": [str(value) for value in one.get("values") or []],
        }
        for one in expressions
    ]
