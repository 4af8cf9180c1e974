# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a service may be scaled to another number of pods or containers. Plain data in and out; a refusal's word is its reason code.

The input is the state of a service (``_service.blank``) with its ``workload``, as the check kind ``service`` with
``wanted_replicas`` gives it, from a cluster or a Compose project.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.quantity import number_of

Facts = t.Mapping[str, t.Any]
# Sums of quantities such as 0.1 are not exact.
NEAR = 1e-9
SHARED = ("ReadWriteMany", "ReadOnlyMany")
# The ordinal at the end of a StatefulSet pod's name.
ORDINAL = re.compile(r"-(\d+)\Z")


class Verdict(t.NamedTuple):
    """well: nothing to do; sick: scale, or refuse with ``code``; unknown: not enough was seen. ``warnings`` are sentences."""

    word: str
    health: str
    text: str
    code: str = ""
    warnings: tuple[str, ...] = ()


def judge_replicas(service: Facts, wanted: int, *, minimum: int, maximum: int) -> Verdict:
    """Judge the service for *wanted* pods or containers; *minimum* to *maximum* are allowed."""
    workload = service.get("workload") or {}
    if not service.get("reachable") or not service.get("exists") or not workload:
        return Verdict("unreachable", "unknown", one_line(service.get("detail") or "the service is not visible", 200))
    for rule in (_range, _there, _manager, _rollout, _budget, _quota, _volume, _fresh):
        verdict = rule(service, workload, wanted, (minimum, maximum))
        if verdict:
            return verdict
    word = "scale_out" if wanted > workload["desired"] else "scale_in"
    text = "%s is set to %d and has %d ready; %d were requested" % (service["name"], workload["desired"], workload["ready"], wanted)
    return Verdict(word, "sick", text, "", tuple(_warnings(workload, wanted)))


def _refuse(code: str, text: str) -> Verdict:
    return Verdict(code, "sick", text, code)


def _unknown(text: str) -> Verdict:
    return Verdict("unknown", "unknown", text)


def _range(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    if wanted <= 0:
        return _refuse("last_server", "%d would leave nothing to answer requests; use a stop for that" % wanted)
    if not limits[0] <= wanted <= limits[1]:
        return _refuse("replicas_out_of_range", "%d is not between %d and %d" % (wanted, *limits))
    return None


def _there(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Judge a service that already has the wanted number: well only when all are ready."""
    if workload["desired"] != wanted:
        return None
    if service["state"] == "running" and workload["ready"] == wanted:
        return Verdict("scaled", "well", "%s has %d of %d ready" % (service["name"], wanted, wanted))
    if workload["blocked"]:
        return _refuse("rollout_stuck", _text_of(service))
    if service["state"] == "starting":
        return Verdict("starting", "unknown", _text_of(service))
    return _refuse("state_not_handled", "it already has %d, but not all are ready: %s" % (wanted, _text_of(service)))


def _manager(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Refuse to work against an autoscaler."""
    if workload["autoscalers"] is None:
        return _unknown("this user is not allowed to read autoscalers; one might set the number")
    if workload["autoscalers"]:
        names = one_line(", ".join(workload["autoscalers"]), 80)
        return _refuse("autoscaled", "an autoscaler (%s) sets the number and would revert the change" % names)
    if workload["desired"] == 0:
        return _refuse("state_not_handled", "it is stopped; a start restores the number it had")
    return None


def _rollout(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Refuse to add to an unfinished rollout; giving back pods that never came up is always allowed."""
    if workload["paused"]:
        return _refuse("rollout_stuck", "its rollouts are paused")
    if wanted < workload["desired"] and not _going(workload, wanted):
        return None
    if workload["blocked"]:
        return _refuse("rollout_stuck", _text_of(service))
    return Verdict("starting", "unknown", _text_of(service)) if service["state"] in ("starting", "stopping") else None


def _text_of(service: Facts) -> str:
    return "%s: %s" % (service["name"], one_line(service["detail"], 240))


def _staying(workload: Facts, wanted: int) -> int:
    """Return how many ready pods stay: StatefulSet and Compose keep the first ones, a Deployment the ready ones."""
    if workload["kind"] == "Deployment":
        return min(int(workload["ready"]), wanted)
    # A leaving pod gets a successor of the same name.
    pods = sorted(workload["pods"], key=_ordinal)[:wanted]
    return sum(pod["ready"] and not pod["leaves"] for pod in pods)


def _ordinal(pod: Facts) -> int:
    found = ORDINAL.search(pod["name"])
    return int(found[1]) if found else 0


def _going(workload: Facts, wanted: int) -> int:
    """Return how many ready pods would go."""
    return max(0, int(workload["ready"]) - _staying(workload, wanted))


def _budget(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    if wanted >= workload["desired"]:
        return None
    if workload["ready"] and not _staying(workload, wanted):
        return _refuse("last_server", "none of those that would stay are ready")
    going, budgets = _going(workload, wanted), workload["budgets"]
    if going and budgets is None:
        return _unknown("this user is not allowed to read disruption budgets; one might guard its pods")
    guards = [one for one in budgets or [] if going > one["may_go"]]
    if guards:
        told = ", ".join("budget %s allows %d" % (one_line(one["name"], 60), one["may_go"]) for one in guards)
        return _refuse("budget_guards", "%d ready ones would go; %s" % (going, told))
    return None


def _quota(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    if wanted <= workload["desired"]:
        return None
    if workload["quotas"] is None:
        return _unknown("this user is not allowed to read quotas; one might be full")
    full = [text for quota in workload["quotas"] if _counts(quota, workload) for text in _lacking(quota, workload, wanted)]
    return _refuse("beyond_quota", "; ".join(full)) if full else None


def _volume(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Refuse pods that can never come up: a Deployment's pods share its volumes, and one of them allows a single pod."""
    if workload["kind"] != "Deployment" or wanted <= max(1, workload["desired"]):
        return None
    alone = [one_line(one["name"], 60) for one in workload["claims"] or [] if set(one["modes"]) == {"ReadWriteOncePod"}]
    return _refuse("replicas_out_of_range", "only one pod can use volume %s" % ", ".join(alone)) if alone else None


def _fresh(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Refuse new Compose containers that would differ from the running ones or could not run beside them."""
    fresh = service.get("fresh")
    if fresh is None:
        return None
    if fresh["unreadable"]:
        return _refuse("bad_input", fresh["unreadable"])
    return _alike(service, workload, fresh) or _beside(wanted, fresh) if wanted > workload["desired"] else None


def _alike(service: Facts, workload: Facts, fresh: Facts) -> t.Optional[Verdict]:
    image, old = one_line(fresh["image"], 80), service["image"]["id"]
    if not fresh["image_id"]:
        return _refuse("not_alike", "no new container can be made: image %s is not on this host" % image)
    if fresh["image_id"] != old:
        text = "a new container would run image %s (%s), the present ones run %s"
        return _refuse("not_alike", text % (image, fresh["image_id"][7:19], old[7:19] or "several"))
    made_of = sorted({pod["made_of"] for pod in workload["pods"]})
    if made_of != [fresh["hash"]]:
        text = "a new container would have another configuration (%s) than the present ones (%s), or another Compose version made them"
        return _refuse("not_alike", text % (one_line(fresh["hash"], 12), ", ".join(one_line(one, 12) for one in made_of)))
    return None


def _beside(wanted: int, fresh: Facts) -> t.Optional[Verdict]:
    if fresh["name"]:
        return _refuse("replicas_out_of_range", "its fixed container_name (%s) allows only one container" % one_line(fresh["name"], 60))
    few = ["%s (%d)" % (one_line(port, 40), enough) for port, enough in fresh["ports"].items() if enough < wanted]
    return _refuse("replicas_out_of_range", "it publishes host ports that are not enough for all: %s" % ", ".join(few)) if few else None


def _counts(quota: Facts, workload: Facts) -> t.Optional[bool]:
    """Return whether a quota counts this workload's pods, None if only the API server knows."""
    fits = [_fits(scope, workload) for scope in quota.get("scopes") or ()]
    if False in fits:
        return False
    return None if None in fits else True


def _fits(scope: Facts, workload: Facts) -> t.Optional[bool]:
    if scope["name"] == "PriorityClass":
        return _is_of(scope, workload.get("priority_class"))
    takes = bool(workload["takes"]["requests"] or workload["takes"]["limits"])
    return {"Terminating": False, "NotTerminating": True, "BestEffort": not takes, "NotBestEffort": takes}.get(scope["name"])


def _is_of(scope: Facts, name: t.Optional[str]) -> t.Optional[bool]:
    """Return whether pods of a PriorityClass ("" for none) match a scope, as the API server decides it."""
    if name is None:
        return None
    return {
        "Exists": bool(name), "DoesNotExist": not name, "In": name in scope["values"], "NotIn": name not in scope["values"],
    }.get(scope["operator"])  # fmt: skip


def _lacking(quota: Facts, workload: Facts, wanted: int) -> list[str]:
    """Return the limits of *quota* that the additional pods would exceed."""
    more, told = max(0, wanted - int(workload["replicas"])), []
    for name, hard in quota["hard"].items():
        one, used = taken(workload["takes"], name), quota["used"].get(name, "0")
        if one and number_of(used) + more * one > number_of(hard) + NEAR:
            given = tuple(one_line(text, 40) for text in (quota["name"], used, hard, name))
            told.append("quota %s: %s of %s %s are used" % given + ", and %d more need %g" % (more, more * one))
    return told


def lacking(workload: Facts, more: int, freed: int) -> list[str]:
    """Return the limits of quotas that *more* new pods would exceed once *freed* others are gone; a quota that may count them counts."""
    told = []
    for quota in workload.get("quotas") or []:
        for name, hard in quota["hard"].items() if _counts(quota, workload) is not False else ():
            one, used = taken(workload["takes"], name), quota["used"].get(name, "0")
            if one and number_of(used) + (more - freed) * one > number_of(hard) + NEAR:
                told.append("quota %s: %s of %s %s are used" % tuple(one_line(text, 40) for text in (quota["name"], used, hard, name)))
    return told


def taken(takes: Facts, name: str) -> float:
    """Return how much one pod takes of the quota resource *name*, 0 for resources that are not per pod."""
    if name in ("pods", "count/pods"):
        return 1.0
    side, dot, resource = name.partition(".")
    if dot and side in ("requests", "limits"):
        return float(takes[side].get(resource, 0.0))
    return float(takes["requests"].get(name, 0.0))


def _warnings(workload: Facts, wanted: int) -> t.Iterator[str]:
    if wanted <= workload["desired"]:
        return
    for quota in workload["quotas"]:
        if _counts(quota, workload) is None:
            for text in _lacking(quota, workload, wanted):
                yield "%s, if it counts these pods (%s)" % (text, one_line(", ".join(scope["name"] for scope in quota["scopes"]), 80))
    if workload["kind"] != "Deployment":
        return
    if workload["claims"] is None:
        yield "this user is not allowed to read volumes; a volume tied to one node would keep new pods from starting elsewhere"
    for claim in workload["claims"] or []:
        if not set(claim["modes"]) & set(SHARED):
            yield "volume %s is tied to one node: a pod on another node does not start" % one_line(claim["name"], 60)
