# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of a workload in a cluster: the digest of its container's image, as its pods run it. A pin is the image by its digest."""

from __future__ import annotations

import re
import shlex
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import identity
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.rollout import rollout_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.kubernetes.client import Forbidden, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import kubernetes as manager_kubernetes

ANNOTATION = "somabrain.org/migrations"
DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})\Z")


def load_release(options: t.Mapping[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the facts of ``_release.blank``; *options* has ``container``, ``ids`` and ``words`` beside the workload.

    Whether a node can have an image shows only when it tries, so ``there`` is never known.
    """
    named, read = dict(options, name=options["service"]), {}
    try:
        if options.get("read_project"):
            read = manager_kubernetes.read_rollout(named, deadline)
            workload, pods = read["workload"], read["pods"]
        else:
            workload, pods = manager_kubernetes.read_workload(named, deadline)
    except Forbidden as error:
        return identity.blank(reachable=False, detail="this user is not allowed to read %s" % error)
    except Unreachable as error:
        return identity.blank(reachable=False, detail="Kubernetes does not answer: %s" % one_line(error, 160))
    except LookupError as error:
        return identity.blank(reachable=False, detail=one_line(error, 160))
    if not workload:
        return identity.blank(reachable=False, detail="%s is not in this namespace" % one_line(options["service"], 60))
    template = workload["spec"]["template"]
    index, why = index_of(template["spec"]["containers"], str(options.get("container") or ""))
    if why:
        return identity.blank(reachable=False, detail=why)
    facts = facts_of(template, index, pods, options)
    facts["rollout"] = rollout_of(read, facts["container"]["name"]) if read else {}
    return facts


def facts_of(template: t.Mapping[str, t.Any], index: int, pods: t.Sequence[t.Any], options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the facts of a pod template, of the container at *index*, and of its pods."""
    reference = str(template["spec"]["containers"][index].get("image") or "")
    name = template["spec"]["containers"][index]["name"]
    digests = sorted({found for found in (_digest_in(pod, name, reference) for pod in pods) if found})
    pinned = DIGEST.search(reference)
    # An image that no pod runs yet has no digest; its name replaces it, and is never a verified one.
    running = pinned[1] if pinned else digests[0] if len(digests) == 1 else reference if not digests else ""
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    ids = list(options.get("ids", []))
    return identity.blank(
        reachable=bool(running), detail="" if running else "its pods run %d different images under one name" % len(digests),
        running=running, selected=running, names=[one_line(reference, 200)], migrations=str(annotations.get(ANNOTATION) or ""),
        pinned=bool(pinned), reference=one_line(reference, 200),
        known={one: {"there": None, "intact": None, "names": [], "detail": ""} for one in ids},
        named={word: _meant(word, ids) for word in options.get("words", [])},
        container={"index": index, "name": name, "image": reference, "repository": identity.repository_of(reference)},
    )  # fmt: skip


def _meant(word: str, ids: t.Sequence[str]) -> str:
    found = DIGEST.search(word)
    return found[1] if found else identity.meant_by(word, ids)


def index_of(containers: t.Sequence[t.Mapping[str, t.Any]], wanted: str) -> tuple[int, str]:
    """Return (the place of the container that is meant, "") or (0, why there is none)."""
    names = [str(one["name"]) for one in containers]
    if wanted in names:
        return names.index(wanted), ""
    if len(names) == 1 and not wanted:
        return 0, ""
    return 0, "set container to one of %s" % one_line(", ".join(names), 120)


def _digest_in(pod: t.Mapping[str, t.Any], name: str, reference: str) -> str:
    """Return the digest that a pod of this very template runs, "" for another template or none yet."""
    if pod["metadata"].get("deletionTimestamp") or not any(
        one["name"] == name and one.get("image") == reference for one in pod["spec"]["containers"]
    ):
        return ""
    told = [str(one.get("imageID") or "") for one in (pod.get("status") or {}).get("containerStatuses") or [] if one["name"] == name]
    found = DIGEST.search(told[0]) if told else None
    return found[1] if found else ""


def by_hand(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    """Return the command that takes the workload back to the revision from before the plan, in its own cluster and namespace."""
    words = ["kubectl", *_where(named), "rollout", "undo", "%s/%s" % (str(named["workload_kind"]).lower(), named["name"])]
    revision = str(plan.get("revision_before") or "")
    return shlex.join(words + (["--to-revision=" + revision] if revision else []))


def _where(named: t.Mapping[str, t.Any]) -> list[str]:
    given = (("--kubeconfig", named.get("kubeconfig")), ("--context", named.get("context")), ("--namespace", named.get("namespace")))
    return [word for option, value in given if value for word in (option, str(value))]


def select_by_hand(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    """Return how its template is put back: that alone selects a release here."""
    return by_hand(plan, named)
