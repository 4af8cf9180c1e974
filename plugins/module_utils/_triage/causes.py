# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cause before symptom: what was found, each with what suffers from it. Plain data in and out, never raises.

A cause is claimed only where it was seen: the cause itself is not well, and either the symptom's own look names it, or *depends* (data,
from the rules file) says that the one class needs the other and the symptom's state is one that such a cause explains.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import Fields, fields, listed, number, word
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.remedy import remedy_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.seen import class_of

Given = t.Mapping[str, t.Any]
Edge = t.Dict[str, str]
# States that something below may bring about; a process that ended, a wrong answer or a wrong input has a reason of its own.
EXPLAINED = frozenset((
    "dependency_down", "dependency_slow", "dependency_unknown", "degraded", "error", "erroring", "slow", "hung", "unresponsive", "closed",
    "endless", "unhealthy", "not_remembering", "not_recalled", "not_acknowledged", "no_ltm", "unsteady", "round_trip_unknown",
    "pods_not_ready",
))  # fmt: skip
# What is seen from outside of a service that does not run.
OUTSIDE = EXPLAINED | frozenset(("down", "unreachable", "no_server_up", "clients_kept_out", "not_listening", "silent", "unexpected", ""))
BY_OUTSIDE = ("endpoint", "balancer", "monitoring")
BY_ITSELF = ("dependency_down", "dependency_slow", "dependency_unknown")
# States of a store that say, or may say, that there is no space.
WITHOUT_SPACE = ("misconf_rdb", "misconf_aof", "down_crash_loop", "down_disk_full", "wal_filling")
FIRST = ("host", "database", "working_memory", "long_term_memory", "queue", "service", "api", "balancer", "endpoint", "monitoring")
MOST_ALIKE = 3
# Kinds that ask something else than whether the thing is well.
ASIDE = ("round_trip", "configuration")


def edges_of(depends: t.Any) -> dict[str, list[Edge]]:
    """Return {class: [{on, suffers, works}]} of the section ``depends`` of the rules, whichever of its spellings is used."""
    found: dict[str, list[Edge]] = {}
    if isinstance(depends, (list, tuple)):
        for one in listed(depends):
            found.setdefault(word(one.get("class"), 40), []).extend(_edges(one.get("on") or one.get("stands_on"), one))
    for name, given in fields(depends).items():
        more = fields(given)
        below = more.get("on", more.get("stands_on", given if not more else None))
        inner = _edges(below, more) if below is not None else [edge for on, one in more.items() for edge in _edges(on, fields(one))]
        found.setdefault(name, []).extend(inner)
    return found


def _edges(below: t.Any, more: Given) -> list[Edge]:
    if isinstance(below, (list, tuple)):
        return [edge for one in below for edge in _edges(one, more)]
    if isinstance(below, t.Mapping):
        given = fields(below)
        return _edges(given.get("class") or given.get("on"), {**more, **given}) if given.get("class") or given.get("on") else []
    return [{"on": word(below, 40), **{key: word(more.get(key), 300) for key in ("suffers", "works")}}] if below else []


def findings_of(components: t.Sequence[Given], depends: t.Any) -> list[Fields]:
    """Return the findings, causes first: {component, class, kind, host, state, health, text, since, checks, symptoms, remedy, none}.

    What suffers from a finding is among its symptoms and in no finding of its own.
    """
    bad = [dict(one) for one in components if one.get("health") != "well"]
    parents = {id(one): _parents(one, bad, components, edges_of(depends)) for one in bad}
    roots = {id(one): _roots(one, parents) for one in bad}
    causes = [one for one in bad if roots[id(one)] == [id(one)]]
    found = [_finding(cause, [one for one in bad if one is not cause and id(cause) in roots[id(one)]]) for cause in causes]
    return sorted(found, key=_order)


def _order(finding: Given) -> t.Tuple[int, int, int]:
    group = str(finding.get("class"))
    place = FIRST.index(group) if group in FIRST else len(FIRST)
    return (0 if finding.get("health") == "sick" else 1, place, -len(finding["symptoms"]))


def _roots(one: Given, parents: t.Mapping[int, t.Sequence[Given]], way: t.Tuple[int, ...] = ()) -> list[int]:
    """Return the ids of the causes of a component, itself where it has none; a circle in the data ends where it is found."""
    above = [parent for parent in parents[id(one)] if id(parent) not in way and parent is not one]
    found = [root for parent in above for root in _roots(parent, parents, (*way, id(one)))]
    return list(dict.fromkeys(found)) or [id(one)]


def _finding(cause: Given, symptoms: t.Sequence[Given]) -> Fields:
    made = {
        "component": cause.get("name"), "class": cause.get("class"), "kind": cause.get("kind"), "host": cause.get("host"),
        "state": cause.get("state"), "health": cause.get("health"), "text": cause.get("text"), "since": cause.get("since"),
        "checks": cause.get("checks"), "symptoms": _together([_symptom(one) for one in symptoms]),
    }  # fmt: skip
    return dict(made, **remedy_of(cause, symptoms))


def _symptom(one: Given) -> Fields:
    made = {"component": one.get("name"), **{key: one.get(key) for key in ("class", "kind", "host", "state", "health", "text")}}
    return dict(made, runs=fields(one.get("facts")).get("runs"))


def _together(symptoms: t.Sequence[Fields]) -> list[Fields]:
    """Return the symptoms, many endpoints of one host as one: their names say nothing that their number does not."""
    found: list[Fields] = []
    for host in dict.fromkeys(one["host"] for one in symptoms):
        own = [one for one in symptoms if one["host"] == host]
        ends = [one for one in own if one["class"] == "endpoint"]
        if len(ends) <= MOST_ALIKE:
            found += own
            continue
        names = ", ".join(word(one["component"], 60) for one in ends[:MOST_ALIKE])
        text = "%d endpoints are not well: %s and %d more" % (len(ends), names, len(ends) - MOST_ALIKE)
        found += [one for one in own if one["class"] != "endpoint"]
        found.append(dict(ends[0], component="%d endpoints" % len(ends), text=text))
    return found


def _parents(one: Given, bad: t.Sequence[Given], every: t.Sequence[Given], edges: t.Mapping[str, t.Sequence[Edge]]) -> list[Given]:
    """Return what a component that is not well suffers from, [] where that was not seen."""
    others = [other for other in bad if other is not one]
    for rule in (_by_host, _by_disk, _by_master, _by_needs):
        found = rule(one, others)
        if found:
            return found
    return _by_class(one, others, every, edges)


def _by_host(one: Given, others: t.Sequence[Given]) -> list[Given]:
    """What should be on a host that could not be looked at is not sick: it was not seen."""
    hosts = [other for other in others if other.get("kind") == "host" and other.get("host") == one.get("host")]
    return hosts if one.get("health") == "unknown" and one.get("kind") != "host" else []


def _by_disk(one: Given, others: t.Sequence[Given]) -> list[Given]:
    """A store that says it has no space, and a file system that holds its directory and was seen to be full."""
    if one.get("state") not in WITHOUT_SPACE or not _lacks_space(one):
        return []
    disks = [
        other for other in others if other.get("kind") == "disk" and other.get("health") == "sick" and other.get("host") == one.get("host")
    ]
    return [disk for disk in disks if any(_is_below(path, full) for path in _dirs_of(one) for full in _full_paths(disk))][:1]


def _lacks_space(one: Given) -> bool:
    facts = fields(one.get("facts"))
    if one.get("state") in ("down_disk_full", "wal_filling"):
        return True
    lines = fields(fields(facts.get("log")).get("lines"))
    free = number(fields(facts.get("disk")).get("free_bytes"))
    return "no_space" in lines or (free is not None and free < 1 << 20)


def _dirs_of(one: Given) -> list[t.Tuple[str, t.Optional[float]]]:
    """Return (directory, free bytes there or None) of the data of a store."""
    facts = fields(one.get("facts"))
    own = [(str(fields(facts.get("persistence")).get("dir") or ""), number(fields(facts.get("disk")).get("free_bytes")))]
    own.append((str(facts.get("data_dir") or ""), None))
    own += [(str(disk.get("path") or ""), number(disk.get("free_bytes"))) for disk in listed(facts.get("disks"))]
    return [pair for pair in own if pair[0].startswith("/")]


def _full_paths(disk: Given) -> list[t.Tuple[str, t.Optional[float]]]:
    paths = listed(fields(disk.get("facts")).get("paths"))
    full = [path for path in paths if (number(path.get("used_share")) or 0) > 0.8 or (number(path.get("inodes_used_share")) or 0) > 0.8]
    return [(str(path.get("path") or ""), number(path.get("free_bytes"))) for path in full]


def _is_below(store: t.Tuple[str, t.Optional[float]], full: t.Tuple[str, t.Optional[float]]) -> bool:
    """Return whether a directory is on a file system that is full: below its path, with as many bytes free where both say how many."""
    path, at = store[0].rstrip("/") + "/", full[0].rstrip("/") + "/"
    near = store[1] is None or full[1] is None or abs(store[1] - full[1]) <= 0.02 * max(store[1], full[1]) + (16 << 20)
    return (path.startswith(at) or at.startswith(path)) and near


def _by_master(one: Given, others: t.Sequence[Given]) -> list[Given]:
    """A replica or standby without its source, and the one other server of its kind that is sick."""
    if one.get("state") not in ("readonly_replica", "standby_lagging"):
        return []
    masters = [other for other in others if other.get("kind") == one.get("kind") and other.get("health") == "sick"]
    masters = [other for other in masters if other.get("state") not in ("readonly_replica", "standby_lagging")]
    named = str(fields(one.get("facts")).get("master") or "").rpartition(":")[0]
    exact = [other for other in masters if named and other.get("host") == named]
    return exact or (masters if len(masters) == 1 else [])


def _by_needs(one: Given, others: t.Sequence[Given]) -> list[Given]:
    """A check that was not made because another one is not well."""
    if not fields(one.get("facts")).get("left_out"):
        return []
    text = str(one.get("text"))
    near = [other for other in others if other.get("host") == one.get("host")]
    return [other for other in near if any(str(name) in text for name in other.get("checks") or [])][:1]


def _by_class(one: Given, others: t.Sequence[Given], every: t.Sequence[Given], edges: t.Mapping[str, t.Sequence[Edge]]) -> list[Given]:
    """What it needs, by its own look or by the data, as far as that is not well and explains what is seen."""
    known = known_by(one)
    classes = [edge["on"] for edge in edges.get(str(one.get("class")), ())] + [name for name in known if known[name] != "well"]
    found: list[Given] = []
    for group in dict.fromkeys(classes):
        if not _may_explain(one, group, known):
            continue
        found += _below(one, group, others, every, known)
    return found


def known_by(one: Given) -> dict[str, str]:
    """Return {class: worst health} of what a component itself says of its dependencies, {} where it says nothing."""
    rank = {"well": 0, "unknown": 1, "sick": 2}
    found: dict[str, str] = {}
    for name, health in fields(fields(one.get("facts")).get("dependencies")).items():
        group = class_of("", name)
        if rank.get(str(health), 1) >= rank.get(found.get(group, "well"), 0):
            found[group] = str(health)
    return found


def _may_explain(one: Given, group: str, known: t.Mapping[str, str]) -> bool:
    state = str(one.get("state") or "")
    if state in BY_ITSELF:
        return known.get(group) != "well" or state == "dependency_slow"
    if known.get(group) == "well" and one.get("class") not in BY_OUTSIDE:
        return False
    return state in (OUTSIDE if one.get("class") in BY_OUTSIDE else EXPLAINED)


def _below(one: Given, group: str, others: t.Sequence[Given], every: t.Sequence[Given], known: t.Mapping[str, str]) -> list[Given]:
    """Return the components of a class that this one needs and that are not well: on its own host, or all that there are."""
    alike = [other for other in every if other.get("class") == group and other.get("kind") not in ASIDE]
    candidates = [other for other in others if other.get("class") == group and _is_cause_of(other, one)]
    if _on_host_of(one, alike):
        return _on_host_of(one, candidates)
    # With several of them, of which some are well, nothing says which one it uses.
    all_bad = all(other.get("health") != "well" for other in alike)
    is_named = len(candidates) == 1 and known.get(group) in ("sick", "unknown")
    return candidates if all_bad or is_named else []


def _on_host_of(one: Given, some: t.Sequence[Given]) -> list[Given]:
    return [other for other in some if other.get("host") == one.get("host")]


def _is_cause_of(other: Given, one: Given) -> bool:
    """Only what is sick makes something sick; what is unknown explains what is unknown."""
    return other.get("health") == "sick" or one.get("health") == "unknown"


def impact_of(findings: t.Sequence[Given], components: t.Sequence[Given], depends: t.Any) -> list[str]:
    """Return for whom it matters and what still works, by the data on what needs what: a sentence for each cause and class above it."""
    edges = edges_of(depends)
    there = {str(one.get("class")) for one in components if one.get("kind") != "expected"}
    found: list[str] = []
    for finding in findings:
        if finding.get("health") != "sick":
            continue
        for group, below in edges.items():
            if group in there:
                found += [_impact(edge) for edge in below if edge["on"] == finding.get("class")]
    return [text for text in dict.fromkeys(found) if text]


def _impact(edge: Edge) -> str:
    return "; ".join(part for part in (edge["suffers"], "still works: " + edge["works"] if edge["works"] else "") if part)
