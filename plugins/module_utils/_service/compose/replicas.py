# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All containers of one Compose service as one service state, with the counts of a cluster workload."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.state import state_word
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import ServiceState

Told = t.Mapping[str, t.Any]
NUMBER = "com.docker.compose.container-number"
# The hash of the configuration that a container was made from.
MADE_OF = "com.docker.compose.config-hash"
# What waiting alone does not cure.
BROKEN = {"backoff": "in a restart loop", "failed": "failed", "paused": "paused"}


def parse_all(name: str, project: str, seen: t.Sequence[Told]) -> ServiceState:
    """Turn Docker's facts about every container of a service into one state."""
    pods = sorted((_facts_of(one) for one in seen), key=lambda pod: int(pod["number"]))
    words = [pod["word"] for pod in pods]
    blocked = ["container %s is %s" % (pod["name"], BROKEN[pod["word"]]) for pod in pods if pod["word"] in BROKEN]
    ready = sum(pod["ready"] for pod in pods)
    images = {str(one["Image"]) for one in seen}
    detail = "; ".join(["%d of %d containers ready" % (ready, len(pods)), *blocked])
    return service_state.blank(
        "compose", name, exists=True, state=word_of(words), restarts=sum(pod["restarts"] for pod in pods), detail=one_line(detail, 240),
        oom_killed=any(bool(one["State"]["OOMKilled"]) for one in seen),
        image={"name": one_line(seen[0]["Config"].get("Image"), 200), "id": images.pop() if len(images) == 1 else "", "digests": []},
        workload=_workload(name, project, pods, blocked),
    )  # fmt: skip


def _facts_of(seen: Told) -> dict[str, t.Any]:
    word = state_word(seen)
    return {
        "name": one_line(str(seen["Name"]).lstrip("/"), 80), "uid": str(seen["Id"])[:12], "word": word, "ready": word == "running",
        "leaves": word == "stopping", "restarts": int(seen["RestartCount"]), "number": int(seen["Config"]["Labels"][NUMBER]),
        "networks": _networks(seen), "made_of": str(seen["Config"]["Labels"].get(MADE_OF) or ""),
    }  # fmt: skip


def _networks(seen: Told) -> dict[str, str]:
    """Return the addresses of a container by the names of its networks; a stopped one has none."""
    told = (seen.get("NetworkSettings") or {}).get("Networks") or {}
    return {one_line(name, 80): one_line(_address_in(one or {}), 40) for name, one in told.items()}


def _address_in(network: Told) -> str:
    """Return the IPv4 address, or the IPv6 address if there is none."""
    return str(network.get("IPAddress") or network.get("GlobalIPv6Address") or "")


def word_of(words: t.Sequence[str]) -> str:
    """Return one word for all containers: running only when every one runs, unhealthy when only some do."""
    if len(set(words)) == 1:
        return words[0]
    if set(words) <= {"running", "starting", "stopping"}:
        return "starting"
    if "running" in words:
        return "unhealthy"
    return next((word for word in ("backoff", "failed", "unhealthy", "paused", "starting") if word in words), "unknown")


def _workload(name: str, project: str, pods: t.Sequence[Told], blocked: t.Sequence[str]) -> dict[str, t.Any]:
    there, ready = len(pods), sum(pod["ready"] for pod in pods)
    kept = ("name", "uid", "ready", "leaves", "restarts", "number", "networks", "made_of")
    return {
        "kind": "Compose", "namespace": project, "uid": "%s/%s" % (project, name), "desired": there, "replicas": there, "updated": there,
        "ready": ready, "available": ready, "observed": True, "paused": False, "remembered": None,
        "pods": [{key: pod[key] for key in kept} for pod in pods], "blocked": list(blocked), "full": [],
        "autoscalers": [], "budgets": [], "quotas": [], "claims": [], "takes": {"requests": {}, "limits": {}},
    }  # fmt: skip
