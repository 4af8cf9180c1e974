# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a Deployment gets the pods that going back to a release needs, and whether one of its revisions still serves that release.

A rollout that never goes below the wanted number of pods makes a new one first. Where a quota has no room for it, the rollout is stuck;
going back to the very revision whose pods still serve needs none. Plain data in and out.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import replicas

Facts = t.Mapping[str, t.Any]
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})\Z")


def rollout_of(read: Facts, container: str) -> dict[str, t.Any]:
    """Return what judging a rollout needs of a Deployment; *container* is the one whose image is the release. {} for what is none."""
    workload, sets = read["workload"], read["sets"]
    if sets is None or workload["kind"] != "Deployment":
        return {}
    seen = read["service"]["workload"]
    revision = str((workload["metadata"].get("annotations") or {}).get(REVISION) or "")
    pods = {str(one["metadata"]["uid"]): _pods_of(read["pods"], one) for one in sets}
    current = next((one for one in sets if _revision(one) == revision), None)
    mine = pods[str(current["metadata"]["uid"])] if current else []
    broken = sum(not _is_ready(pod) for pod in mine)
    return {
        "desired": int(seen["desired"]), "new_first": _makes_first(workload, int(seen["desired"])), "revision": revision,
        "set": str(current["metadata"]["name"]) if current else "", "full": replicas.lacking(seen, 1, broken),
        "quotas_hidden": seen.get("quotas") is None,
        "serving": [
            _serving(one, pods[str(one["metadata"]["uid"])], workload, container, (seen, broken)) for one in sets if one is not current
        ],
    }  # fmt: skip


def _revision(one: Facts) -> str:
    return str((one["metadata"].get("annotations") or {}).get(REVISION) or "")


def _pods_of(pods: t.Sequence[Facts], one: Facts) -> list[Facts]:
    uid = one["metadata"]["uid"]
    return [pod for pod in pods if any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or [])]


def _is_ready(pod: Facts) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in (pod.get("status") or {}).get("conditions") or [])


def _makes_first(workload: Facts, desired: int) -> bool:
    """Return whether a rollout makes a new pod before it takes an old one."""
    rule = workload["spec"].get("strategy") or {}
    if rule.get("type") != "RollingUpdate":
        return False
    text = str((rule.get("rollingUpdate") or {}).get("maxUnavailable", "25%"))
    return (desired * int(text[:-1]) // 100 if text.endswith("%") else int(text)) == 0


def _serving(one: Facts, pods: t.Sequence[Facts], workload: Facts, container: str, room: tuple[Facts, int]) -> dict[str, t.Any]:
    """Return what one revision serves, in what its template differs beside the image, and what it lacks to have all its pods."""
    seen, broken = room
    template, now = one["spec"]["template"], workload["spec"]["template"]
    told = {found for found in (_digest_of(pod, container) for pod in pods if _is_ready(pod)) if found}
    more = max(0, int(seen["desired"]) - int(one["spec"].get("replicas") or 0))
    return {
        "set": str(one["metadata"]["name"]), "revision": _revision(one), "ready": sum(_is_ready(pod) for pod in pods),
        "digest": told.pop() if len(told) == 1 else "", "image": _image_of(template, container),
        "differs": differences(now, template, container), "full": replicas.lacking(seen, more, broken) if more else [],
    }  # fmt: skip


def _digest_of(pod: Facts, container: str) -> str:
    told = [str(one.get("imageID") or "") for one in (pod.get("status") or {}).get("containerStatuses") or [] if one["name"] == container]
    found = DIGEST.search(told[0]) if told else None
    return found[1] if found else ""


def _image_of(template: Facts, container: str) -> str:
    return next((one_line(one.get("image"), 200) for one in template["spec"]["containers"] if one["name"] == container), "")


def differences(now: Facts, then: Facts, container: str) -> list[str]:
    """Return the names of what differs between two pod templates, beside the image of *container*: never a value."""
    found = [name for name in ("labels", "annotations") if _marks(now, name) != _marks(then, name)]
    found += [
        "pod %s" % key for key in sorted({*now["spec"], *then["spec"]} - {"containers"}) if now["spec"].get(key) != then["spec"].get(key)
    ]
    both = [{str(one["name"]): one for one in side["spec"]["containers"]} for side in (now, then)]
    for name in sorted({*both[0], *both[1]}):
        one, other = (side.get(name) or {} for side in both)
        keys = sorted({*one, *other} - ({"image"} if name == container else set()))
        found += ["%s of container %s" % (key, one_line(name, 60)) for key in keys if one.get(key) != other.get(key)]
    return [one_line(text, 120) for text in found]


def _marks(template: Facts, name: str) -> dict[str, t.Any]:
    return {key: value for key, value in ((template.get("metadata") or {}).get(name) or {}).items() if key != HASH}


def way_of(rollout: Facts, release: str, image: str) -> dict[str, t.Any]:
    """Return {set, set_before, text, differs, refused}: how the Deployment goes to *release*, by its digest in *image* or by a revision.

    A revision is taken only where the digest would need a pod that no quota has room for, or that a hidden one may refuse.
    """
    way: dict[str, t.Any] = {"set": "", "set_before": "", "text": "", "differs": [], "refused": ""}
    if not rollout or not rollout["new_first"] or not (rollout["full"] or rollout["quotas_hidden"]):
        return way
    serving = [one for one in rollout["serving"] if one["digest"] == release and one["ready"] and one["revision"]]
    good = [one for one in serving if not one["full"]]
    why = "; ".join(rollout["full"])
    if good and rollout["set"]:
        best = max(good, key=lambda one: (one["ready"], one["revision"]))
        text = "by its revision %s, whose %d pods still serve (image %s)" % (best["revision"], best["ready"], best["image"])
        text += ", as no new pod fits (%s)" % why if why else ", as quotas that this user may not read could refuse a new pod"
        return dict(way, set=best["set"], set_before=rollout["set"], text=text, differs=best["differs"])
    if not why:
        return way
    return dict(way, refused="a rollout to %s makes a new pod before it takes an old one, and none fits (%s)" % (one_line(image, 160), why))
