# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server tells of a Deployment or StatefulSet and its pods, as the state of a service."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils import _service
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import ServiceState
from ansible_collections.somabrain.incident_response.plugins.module_utils._text import one_line

Told = t.Mapping[str, t.Any]
# Written by the task file `stop`, read by `start`.
REMEMBERED = "incident-response.somabrain/replicas"
# A pod that waits for one of these does not become ready by waiting alone.
BROKEN = (
    "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
)  # fmt: skip
# The first "not ready" of a pod is written when it begins; one that is written so much later took a "ready" back.
FIRST_WORD_SECONDS = 10.0


def parse(name: str, raw: Told) -> ServiceState:
    """Turn ``workload``, its ``pods``, and what else was read (None for what this user may not see) into a state."""
    workload, pods = raw["workload"], [facts_of(pod) for pod in raw["pods"]]
    counts = counts_of(workload)
    stuck = stalled(workload) + [pod["trouble"] for pod in pods if pod["trouble"] and not pod["leaves"]]
    ends = [pod["ended"] for pod in pods if pod["ended"]]
    word = state_word(counts, pods, stuck)
    return _service.blank(
        "kubernetes", name, exists=True, state=word, restarts=sum(pod["restarts"] for pod in pods), autorestart="Always",
        oom_killed=any(end.get("reason") == "OOMKilled" for end in ends), exit_code=ends[-1].get("exitCode") if ends else None,
        detail=one_line("; ".join([_counted(counts), *dict.fromkeys(stuck)]), 240), image=_images(workload, pods),
        result=stuck[0] if stuck else "", workload=_workload(workload, counts, pods, raw),
    )  # fmt: skip


def counts_of(workload: Told) -> dict[str, t.Any]:
    """Return how many pods are wanted, there, of the newest version, ready and available; whether the newest change was seen."""
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
    """Return why a rollout does not go on, as its controller tells it."""
    told = []
    for condition in (workload.get("status") or {}).get("conditions") or []:
        kind, status, reason = condition.get("type"), condition.get("status"), str(condition.get("reason") or "")
        if kind == "Progressing" and status == "False":
            told.append("its rollout is stuck (%s)" % one_line(reason, 60))
        if kind == "ReplicaFailure" and status == "True":
            told.append("no pod can be made (%s: %s)" % (one_line(reason, 60), one_line(condition.get("message") or "", 120)))
    return told


def facts_of(pod: Told) -> dict[str, t.Any]:
    """Return the plain facts of one pod; ``trouble`` is "" where waiting may help."""
    status, metadata = pod.get("status") or {}, pod["metadata"]
    containers = status.get("containerStatuses") or []
    ready: Told = next((one for one in status.get("conditions") or [] if one.get("type") == "Ready"), {})
    last = [(one.get("lastState") or {}).get("terminated") or (one.get("state") or {}).get("terminated") for one in containers]
    return {
        "name": metadata["name"], "uid": metadata["uid"], "leaves": bool(metadata.get("deletionTimestamp")),
        "ready": ready.get("status") == "True", "restarts": sum(int(one.get("restartCount") or 0) for one in containers),
        "ended": next((one for one in last if one), None), "images": [str(one["imageID"]) for one in containers if one.get("imageID")],
        "trouble": _trouble(str(metadata["name"]), status, ready),
    }  # fmt: skip


def _trouble(name: str, status: Told, ready: Told) -> str:
    initial = status.get("initContainerStatuses") or []
    waits = [(one.get("state") or {}).get("waiting") or {} for one in [*initial, *(status.get("containerStatuses") or [])]]
    reasons = [str(one.get("reason")) for one in waits if one.get("reason") in BROKEN]
    if reasons:
        return "pod %s: %s" % (name, reasons[0])
    if status.get("phase") == "Failed":
        return "pod %s has failed (%s)" % (name, one_line(status.get("reason") or "no reason given", 60))
    began, changed = _service.epoch_of(str(status.get("startTime") or "")), _service.epoch_of(str(ready.get("lastTransitionTime") or ""))
    if ready.get("status") == "False" and began and changed and changed - began > FIRST_WORD_SECONDS:
        return "pod %s is not ready any more" % name
    return ""


def state_word(counts: Told, pods: t.Sequence[Told], stuck: t.Sequence[str]) -> str:
    """Return our word: running only when every wanted pod is of the newest version and available, and no other is left."""
    desired = counts["desired"]
    if not counts["observed"]:
        return "starting"
    if desired == 0:
        return "stopping" if pods or counts["replicas"] else "stopped"
    if counts["replicas"] == desired and min(counts[key] for key in ("updated", "ready", "available")) >= desired and not stuck:
        return "running"
    if not stuck:
        return "starting"
    if counts["ready"] or any(reason.endswith("not ready any more") for reason in stuck):
        return "unhealthy"
    return "backoff" if any(reason.endswith("CrashLoopBackOff") for reason in stuck) else "failed"


def _counted(counts: Told) -> str:
    if not counts["observed"]:
        return "its controller has not seen the newest change yet"
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
    }  # fmt: skip


def _aiming_at(workload: Told, autoscalers: t.Optional[t.Sequence[Told]]) -> t.Optional[list[str]]:
    """Return the names of the HorizontalPodAutoscalers of this workload, None where they may not be seen."""
    if autoscalers is None:
        return None
    wanted = (workload["kind"], workload["metadata"]["name"])
    aims = [(one["metadata"]["name"], one["spec"]["scaleTargetRef"]) for one in autoscalers]
    return [str(name) for name, aim in aims if (aim.get("kind"), aim.get("name")) == wanted]


def _guarding(workload: Told, budgets: t.Optional[t.Sequence[Told]]) -> t.Optional[list[dict[str, t.Any]]]:
    """Return the PodDisruptionBudgets that may guard the workload's pods, with how many may go now."""
    if budgets is None:
        return None
    labels = (workload["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return [
        {"name": one["metadata"]["name"], "may_go": int((one.get("status") or {}).get("disruptionsAllowed") or 0)}
        for one in budgets
        if _may_select(one["spec"].get("selector"), labels)
    ]


def _may_select(selector: t.Optional[Told], labels: Told) -> bool:
    """Tell whether a selector may mean pods with these labels: an empty one means all, none at all none; expressions are not weighed."""
    return selector is not None and (selector.get("matchLabels") or {}).items() <= labels.items()


def _room(quota: Told) -> dict[str, t.Any]:
    """Return what a ResourceQuota allows and what of it is used, as the API server writes it."""
    status = quota.get("status") or {}
    return {"name": quota["metadata"]["name"], "hard": status.get("hard") or {}, "used": status.get("used") or {}}
