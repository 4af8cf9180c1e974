# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments and StatefulSets of a Kubernetes cluster: looked at from the controller, in one pinned context and namespace.

This manager only looks. Its acts are kubernetes.core's, in roles/service_manager/tasks/kubernetes.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.kubernetes import state as kubernetes_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.kubernetes.client import Cluster, Forbidden, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Options, ServiceState
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import LOG_BYTES

MANAGER = "kubernetes"
ANYWHERE = True
ACTS_ELSEWHERE = "service_control does not act on a cluster; use the task files kubernetes/*.yml of the role service_manager"
BORROWS: t.Mapping[str, t.Tuple[str, int, int]] = dict.fromkeys(("restart", "recreate", "scale"), ("kubernetes.core", 5, 0))
RELEASED_AS = "pods"
# A cluster starts by itself whatever it can start.
ALLOWED: t.Mapping[str, tuple[str, ...]] = {"stopped": ("start",), "starting": ("wait",), "stopping": ("wait",)}
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\Z")
LOGGED_PODS = 5


def check_name(name: str) -> None:
    """Raise StepError unless *name* can only mean one object."""
    if not NAME.match(name):
        raise StepError("'%s' is not the name of one Deployment or StatefulSet" % one_line(name, 60))


def _place(options: Options) -> tuple[str, str, str]:
    """Return namespace, context and kind; raises StepError if one is not named."""
    check_name(options["name"])
    namespace, context = str(options.get("namespace") or ""), str(options.get("context") or "")
    if not NAME.match(namespace):
        raise StepError("manager=kubernetes needs namespace (service_manager_namespace), not %s" % (one_line(namespace, 60) or "nothing"))
    if not context:
        raise StepError("manager=kubernetes needs context, the cluster's name in the kubeconfig; the current context is never used")
    return namespace, context, str(options.get("workload_kind") or "Deployment")


def load_state(options: Options, deadline: float) -> ServiceState:
    """Ask the API server for everything it knows; one that does not answer gives state unknown."""
    namespace, context, kind = _place(options)
    try:
        cluster = Cluster(str(options.get("kubeconfig") or ""), context, deadline)
        raw = _load(cluster, namespace, kind, options["name"])
        if not raw["workload"]:
            return service_state.blank(MANAGER, options["name"], exists=False, detail=_who_is_there(namespace, kind, raw["others"]))
        return kubernetes_state.parse(options["name"], raw)
    except Forbidden as error:
        return _unreachable(options, "this user is not allowed to read %s" % error)
    except Unreachable as error:
        return _unreachable(options, str(error))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return _unreachable(options, "got no API server answer (%s)" % type(error).__name__)


def _unreachable(options: Options, why: str) -> ServiceState:
    return service_state.blank(MANAGER, options["name"], reachable=False, detail="Kubernetes does not answer: " + one_line(why, 200))


def _load(cluster: Cluster, namespace: str, kind: str, name: str) -> dict[str, t.Any]:
    apps = "/apis/apps/v1/namespaces/" + namespace
    place = "%s/%s" % (apps, service_state.WORKLOADS[kind])
    workload = cluster.read("%s/%s" % (place, name))
    if not workload:
        return {"workload": None, "others": [one["metadata"]["name"] for one in cluster.items(place, limit=100)]}
    return {
        "workload": dict(workload, kind=kind),
        "pods": _pods_of(cluster, namespace, workload, kind),
        "autoscalers": _seen(cluster, "/apis/autoscaling/v2/namespaces/%s/horizontalpodautoscalers" % namespace),
        "budgets": _seen(cluster, "/apis/policy/v1/namespaces/%s/poddisruptionbudgets" % namespace),
        "quotas": _seen(cluster, "/api/v1/namespaces/%s/resourcequotas" % namespace),
        "claims": _claims_of(cluster, namespace, workload),
    }


def _claims_of(cluster: Cluster, namespace: str, workload: t.Mapping[str, t.Any]) -> t.Optional[list[dict[str, t.Any]]]:
    """Return name and access modes of the volume claims that every pod shares, None if this user is not allowed to see them."""
    volumes = workload["spec"]["template"]["spec"].get("volumes") or []
    names = [str(one["persistentVolumeClaim"]["claimName"]) for one in volumes if one.get("persistentVolumeClaim")]
    if not names:
        return []
    there = _seen(cluster, "/api/v1/namespaces/%s/persistentvolumeclaims" % namespace)
    if there is None:
        return None
    return [
        {"name": one["metadata"]["name"], "modes": one["spec"].get("accessModes") or []}
        for one in there
        if one["metadata"]["name"] in names
    ]


def read_workload(options: Options, deadline: float) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    """Return (workload, pods) as the API server has them, ({}, []) for none; raises Forbidden, or Unreachable."""
    namespace, context, kind = _place(options)
    cluster = Cluster(str(options.get("kubeconfig") or ""), context, deadline)
    return _with_pods(cluster, namespace, kind, options["name"])


def read_rollout(options: Options, deadline: float) -> dict[str, t.Any]:
    """Return {service, workload, pods, sets}: a workload with the state of its service, and the ReplicaSets of a Deployment.

    ``sets`` is None where this user is not allowed to see them. Raises Forbidden, Unreachable, or LookupError where it does not exist.
    """
    namespace, context, kind = _place(options)
    cluster = Cluster(str(options.get("kubeconfig") or ""), context, deadline)
    raw = _load(cluster, namespace, kind, options["name"])
    if not raw["workload"]:
        raise LookupError(_who_is_there(namespace, kind, raw["others"]))
    own, sets = {raw["workload"]["metadata"]["uid"]}, None
    if kind == "Deployment":
        found = _seen(cluster, "/apis/apps/v1/namespaces/%s/replicasets" % namespace)
        sets = None if found is None else [one for one in found if _owned_by(one, own)]
    return {"service": kubernetes_state.parse(options["name"], raw), "workload": raw["workload"], "pods": raw["pods"], "sets": sets}


def _with_pods(cluster: Cluster, namespace: str, kind: str, name: str) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    workload = cluster.read("/apis/apps/v1/namespaces/%s/%s/%s" % (namespace, service_state.WORKLOADS[kind], name))
    return (workload, _pods_of(cluster, namespace, workload, kind)) if workload else ({}, [])


def _seen(cluster: Cluster, path: str) -> t.Optional[list[dict[str, t.Any]]]:
    try:
        return cluster.items(path)
    except Forbidden:
        return None


def _pods_of(cluster: Cluster, namespace: str, workload: t.Mapping[str, t.Any], kind: str) -> list[dict[str, t.Any]]:
    """Return the pods that the workload owns; a pod that only has the same labels is not its own."""
    labels = (workload["spec"].get("selector") or {}).get("matchLabels") or {}
    selector = {"labelSelector": ",".join("%s=%s" % pair for pair in sorted(labels.items()))} if labels else {}
    owners = {workload["metadata"]["uid"]}
    if kind == "Deployment":
        sets = cluster.items("/apis/apps/v1/namespaces/%s/replicasets" % namespace, **selector)
        owners = {one["metadata"]["uid"] for one in sets if _owned_by(one, owners)}
    pods = cluster.items("/api/v1/namespaces/%s/pods" % namespace, **selector)
    return sorted((pod for pod in pods if _owned_by(pod, owners)), key=lambda pod: str(pod["metadata"]["name"]))


def _owned_by(one: t.Mapping[str, t.Any], owners: t.Container[str]) -> bool:
    return any(owner.get("controller") and owner.get("uid") in owners for owner in one["metadata"].get("ownerReferences") or [])


def _who_is_there(namespace: str, kind: str, others: t.Sequence[str]) -> str:
    names = one_line(", ".join(sorted(others)), 120)
    return "namespace %s has no %s of this name; it has %s" % (namespace, kind, names or "none, or does not exist")


def logs_tail(options: Options, lines: int, deadline: float) -> bytes:
    """Return the last lines of each pod under its name, unready pods first; b"" if nothing can be read."""
    namespace, context, kind = _place(options)
    try:
        cluster = Cluster(str(options.get("kubeconfig") or ""), context, deadline)
        pods = _with_pods(cluster, namespace, kind, options["name"])[1]
        worst = sorted(pods, key=lambda pod: bool(kubernetes_state.facts_of(pod)["ready"]))[:LOGGED_PODS]
        return b"".join(_log_of(cluster, namespace, pod, max(1, lines // max(1, len(worst)))) for pod in worst)
    except (Forbidden, Unreachable, KeyError, TypeError, ValueError, AttributeError):
        return b""


def _log_of(cluster: Cluster, namespace: str, pod: t.Mapping[str, t.Any], lines: int) -> bytes:
    """Return the end of a pod's log; that of its previous container if the current one has written nothing yet."""
    name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
    path = "/api/v1/namespaces/%s/pods/%s/log" % (namespace, name)
    for more in ({}, {"previous": "true"}):
        status, body = cluster.ask(path, tailLines=lines, limitBytes=LOG_BYTES, container=container, **more)
        if status == 200 and body:
            break
    else:
        return b""
    text = body if body.endswith(b"\n") else body + b"\n"
    return b"".join(b"[%s] %s" % (str(name).encode(), line) for line in text.splitlines(keepends=True))
