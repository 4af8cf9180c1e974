# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a service may get another number of pods or containers. Plain data in and out; a word that refuses is the code of its reason.

What is judged is the state of a service (``_service.blank``) with its ``workload``, as the check kind ``service`` with
``wanted_replicas`` gives it: of a cluster, or of a Compose project.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.quantity import number_of

Facts = t.Mapping[str, t.Any]
# Sums of quantities such as 0.1 are no exact numbers.
NEAR = 1e-9
SHARED = ("ReadWriteMany", "ReadOnlyMany")
# An ordinal at the end of the name of a StatefulSet's pod.
ORDINAL = re.compile(r"-(\d+)\Z")


class Verdict(t.NamedTuple):
    """well: nothing to do; sick: may be scaled, or refused by ``code``; unknown: nobody can tell. ``warnings`` are sentences."""

    word: str
    health: str
    text: str
    code: str = ""
    warnings: tuple[str, ...] = ()


def judge_replicas(service: Facts, wanted: int, *, minimum: int, maximum: int) -> Verdict:
    """Judge the service for *wanted* pods or containers, of which *minimum* to *maximum* are allowed."""
    workload = service.get("workload") or {}
    if not service.get("reachable") or not service.get("exists") or not workload:
        return Verdict("unreachable", "unknown", one_line(service.get("detail") or "the service cannot be seen", 200))
    for rule in (_range, _there, _manager, _rollout, _budget, _quota, _volume, _fresh):
        verdict = rule(service, workload, wanted, (minimum, maximum))
        if verdict:
            return verdict
    word = "scale_out" if wanted > workload["desired"] else "scale_in"
    text = "%s wants %d, has %d; %d are asked for" % (service["name"], workload["desired"], workload["ready"], wanted)
    return Verdict(word, "sick", text, "", tuple(_warnings(workload, wanted)))


def _refuse(code: str, text: str) -> Verdict:
    return Verdict(code, "sick", text, code)


def _unknown(text: str) -> Verdict:
    return Verdict("unknown", "unknown", text)


def _range(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    if wanted <= 0:
        return _refuse("last_server", "with %d of them nobody would answer; a stop is an act of its own" % wanted)
    if not limits[0] <= wanted <= limits[1]:
        return _refuse("replicas_out_of_range", "%d is not between %d and %d" % (wanted, *limits))
    return None


def _there(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Judge what has as many as are wanted: well only when all are ready."""
    if workload["desired"] != wanted:
        return None
    if service["state"] == "running" and workload["ready"] == wanted:
        return Verdict("scaled", "well", "%s has %d of %d ready" % (service["name"], wanted, wanted))
    if workload["blocked"]:
        return _refuse("rollout_stuck", _text_of(service))
    if service["state"] == "starting":
        return Verdict("starting", "unknown", _text_of(service))
    return _refuse("state_not_handled", "it has %d already, and not all serve: %s" % (wanted, _text_of(service)))


def _manager(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Refuse to work against who else sets the number."""
    if workload["autoscalers"] is None:
        return _unknown("autoscalers may not be read: one might set the number")
    if workload["autoscalers"]:
        names = one_line(", ".join(workload["autoscalers"]), 80)
        return _refuse("autoscaled", "an autoscaler (%s) sets the number; it would take the change back" % names)
    if workload["desired"] == 0:
        return _refuse("state_not_handled", "it is stopped; a start gives it as many as it had")
    return None


def _rollout(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Refuse to add to a rollout that is not at its end; one that gives back what never came up may always."""
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
    """Return how many ready pods stay: of a StatefulSet and of Compose the first ones, elsewhere the ready ones."""
    if workload["kind"] == "Deployment":
        return min(int(workload["ready"]), wanted)
    # A pod that leaves gets a successor of the same name.
    pods = sorted(workload["pods"], key=_ordinal)[:wanted]
    return sum(pod["ready"] and not pod["leaves"] for pod in pods)


def _ordinal(pod: Facts) -> int:
    found = ORDINAL.search(pod["name"])
    return int(found[1]) if found else 0


def _going(workload: Facts, wanted: int) -> int:
    """Return how many pods that serve would go."""
    return max(0, int(workload["ready"]) - _staying(workload, wanted))


def _budget(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    if wanted >= workload["desired"]:
        return None
    if workload["ready"] and not _staying(workload, wanted):
        return _refuse("last_server", "none of those that would stay is ready")
    going, budgets = _going(workload, wanted), workload["budgets"]
    if going and budgets is None:
        return _unknown("disruption budgets may not be read: one might guard its pods")
    guards = [one for one in budgets or [] if going > one["may_go"]]
    if guards:
        told = ", ".join("%s lets %d go" % (one_line(one["name"], 60), one["may_go"]) for one in guards)
        return _refuse("budget_guards", "%d that serve would go, and %s" % (going, told))
    return None


def _quota(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    if wanted <= workload["desired"]:
        return None
    if workload["quotas"] is None:
        return _unknown("quotas may not be read: one might have no room")
    full = [text for quota in workload["quotas"] if _counts(quota, workload) for text in _lacking(quota, workload, wanted)]
    return _refuse("beyond_quota", "; ".join(full)) if full else None


def _volume(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Refuse what can never come up: a Deployment's pods share its volumes, and one of these is for one pod alone."""
    if workload["kind"] != "Deployment" or wanted <= max(1, workload["desired"]):
        return None
    alone = [one_line(one["name"], 60) for one in workload["claims"] or [] if set(one["modes"]) == {"ReadWriteOncePod"}]
    return _refuse("replicas_out_of_range", "volume %s can be used by one pod only" % ", ".join(alone)) if alone else None


def _fresh(service: Facts, workload: Facts, wanted: int, limits: tuple[int, int]) -> t.Optional[Verdict]:
    """Refuse containers of a Compose project that would be of another kind than those that run, or could not run beside them."""
    fresh = service.get("fresh")
    if fresh is None:
        return None
    if fresh["unreadable"]:
        return _refuse("bad_input", fresh["unreadable"])
    return _alike(service, workload, fresh) or _beside(wanted, fresh) if wanted > workload["desired"] else None


def _alike(service: Facts, workload: Facts, fresh: Facts) -> t.Optional[Verdict]:
    image, old = one_line(fresh["image"], 80), service["image"]["id"]
    if not fresh["image_id"]:
        return _refuse("not_alike", "no new container can be made of image %s: it is not here" % image)
    if fresh["image_id"] != old:
        text = "a new container would be of image %s (%s), those that run are of %s"
        return _refuse("not_alike", text % (image, fresh["image_id"][7:19], old[7:19] or "several"))
    made_of = sorted({pod["made_of"] for pod in workload["pods"]})
    if made_of != [fresh["hash"]]:
        text = "a new container would have another configuration (%s) than those that run (%s), or another version of Compose made them"
        return _refuse("not_alike", text % (one_line(fresh["hash"], 12), ", ".join(one_line(one, 12) for one in made_of)))
    return None


def _beside(wanted: int, fresh: Facts) -> t.Optional[Verdict]:
    if fresh["name"]:
        return _refuse("replicas_out_of_range", "its container_name (%s) lets it have one container only" % one_line(fresh["name"], 60))
    few = ["%s (%d)" % (one_line(port, 40), enough) for port, enough in fresh["ports"].items() if enough < wanted]
    return _refuse("replicas_out_of_range", "it publishes a port of the host that not all can have: %s" % ", ".join(few)) if few else None


def _counts(quota: Facts, workload: Facts) -> t.Optional[bool]:
    """Return whether a quota counts this workload's pods, None where only the API server could tell."""
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
    """Return whether pods of a PriorityClass ("" for none) fit a scope, as the API server weighs it."""
    if name is None:
        return None
    return {
        "Exists": bool(name), "DoesNotExist": not name, "In": name in scope["values"], "NotIn": name not in scope["values"],
    }.get(scope["operator"])  # fmt: skip


def _lacking(quota: Facts, workload: Facts, wanted: int) -> list[str]:
    """Return what of *quota* the additional pods would be too much for."""
    more, told = max(0, wanted - int(workload["replicas"])), []
    for name, hard in quota["hard"].items():
        one, used = taken(workload["takes"], name), quota["used"].get(name, "0")
        if one and number_of(used) + more * one > number_of(hard) + NEAR:
            given = tuple(one_line(text, 40) for text in (quota["name"], used, hard, name))
            told.append("quota %s: %s of %s %s are used" % given + ", and %d more need %g" % (more, more * one))
    return told


def taken(takes: Facts, name: str) -> float:
    """Return how much one pod takes of what a quota calls *name*, 0 for what is not a pod's."""
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
        yield "volumes may not be read: one that only one node can use would keep new pods from coming up"
    for claim in workload["claims"] or []:
        if not set(claim["modes"]) & set(SHARED):
            yield "volume %s can be used on one node only: a pod on another one does not come up" % one_line(claim["name"], 60)
