# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cause before symptom: what was found, each with what suffers from it. Plain data in and out, never raises.

A cause is claimed only where it was seen: the cause itself is not well, and either the symptom's own look names it, or *depends* (data,
from the rules file) says that the one class needs the other and the symptom's state is one that such a cause explains.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.traits import is_of_service
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import Fields, fields, listed, number, word
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.remedy import remedy_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.seen import class_of

Given = t.Mapping[str, t.Any]
BY_ITSELF = ("dependency_down", "dependency_slow", "dependency_unknown")
# What is seen of these is seen through what they need, whatever that says of itself.
BY_OUTSIDE = ("endpoint", "balancer", "monitoring")
# States of a store that say, or may say, that there is no space.
WITHOUT_SPACE = ("misconf_rdb", "misconf_aof", "up", "down_crash_loop", "down_disk_full", "wal_filling")
# States of a server that follows another one.
FOLLOWS = ("readonly_replica", "standby_lagging")
FIRST = ("host", "database", "working_memory", "long_term_memory", "queue", "service", "api", "balancer", "endpoint", "monitoring")
MOST_ALIKE = 3


class Edge(t.NamedTuple):
    """One entry of the data: what a class needs, in which states that explains it (any, where none is named), and what it means."""

    on: str
    symptoms: t.Tuple[str, ...] = ()
    kinds: t.Tuple[str, ...] = ()
    is_near: bool = False
    suffers: str = ""
    works: str = ""


def edges_of(depends: t.Any) -> dict[str, list[Edge]]:
    """Return the edges of each class by the section ``depends`` of the rules: {class: [entries]}, or a list of entries with their class.

    An entry is {stands_on, symptoms, kinds, where, suffers, still_works}, or the name of a class alone.
    """
    found: dict[str, list[Edge]] = {}
    for one in listed(depends):
        found.setdefault(word(one.get("class"), 40), []).extend(_edge(one))
    for name, entries in fields(depends).items():
        given = entries if isinstance(entries, (list, tuple)) else [entries]
        found.setdefault(name, []).extend(edge for one in given for edge in _edge(one))
    return found


def _edge(one: t.Any) -> list[Edge]:
    if isinstance(one, str):
        return [Edge(one)]
    given = fields(one)
    below = word(given.get("stands_on") or given.get("on"), 40)
    symptoms, kinds = (tuple(str(name) for name in given.get(key) or ()) for key in ("symptoms", "kinds"))
    said = [word(given.get(key), 300) for key in ("suffers", "still_works")]
    return [Edge(below, symptoms, kinds, given.get("where") == "same_host", *said)] if below else []


def findings_of(components: t.Sequence[Given], depends: t.Any) -> list[Fields]:
    """Return the findings, causes first: {component, class, kind, host, state, health, text, since, checks, symptoms, remedy, none}.

    What suffers from a finding is among its symptoms and in no finding of its own.
    """
    bad = [one for one in components if one.get("health") != "well"]
    world = _world_of(components, depends)
    parents = _without_circles({id(one): _parents(one, world) for one in bad}, bad)
    roots = {id(one): _roots(one, parents) for one in bad}
    causes = [one for one in bad if not parents[id(one)]]
    found = [_finding(cause, [one for one in bad if one is not cause and id(cause) in roots[id(one)]]) for cause in causes]
    return sorted(found, key=_order)


class World(t.NamedTuple):
    """All components by class, those that are not well by host, and what needs what."""

    by_class: t.Mapping[str, t.Sequence[Given]]
    bad_on: t.Mapping[str, t.Sequence[Given]]
    edges: t.Mapping[str, t.Sequence[Edge]]


def _world_of(components: t.Sequence[Given], depends: t.Any) -> World:
    by_class: dict[str, list[Given]] = {}
    bad_on: dict[str, list[Given]] = {}
    for one in components:
        by_class.setdefault(str(one.get("class")), []).append(one)
        if one.get("health") != "well":
            # Whatever is many is no cause of anything else on its host.
            bad_on.setdefault(str(one.get("host")), []).extend([one] if one.get("class") != "endpoint" else [])
    return World(by_class, bad_on, edges_of(depends))


def _without_circles(parents: t.Mapping[int, t.Sequence[Given]], bad: t.Sequence[Given]) -> dict[int, list[Given]]:
    """Return the causes of each component without those that are its own symptoms: the data may go round, and nothing may be lost."""
    kept: dict[int, list[Given]] = {id(one): [] for one in bad}
    for one in sorted(bad, key=_place, reverse=True):
        kept[id(one)] = [parent for parent in parents[id(one)] if id(one) not in _above(parent, kept)]
    return kept


def _above(one: Given, parents: t.Mapping[int, t.Sequence[Given]]) -> set[int]:
    """Return the ids of a component and of everything that it suffers from."""
    found, waiting = {id(one)}, [one]
    while waiting:
        more = [parent for parent in parents[id(waiting.pop())] if id(parent) not in found]
        found |= {id(parent) for parent in more}
        waiting += more
    return found


def _place(one: Given) -> int:
    return FIRST.index(str(one.get("class"))) if one.get("class") in FIRST else len(FIRST)


def _order(finding: Given) -> t.Tuple[int, int, int]:
    return (0 if finding.get("health") == "sick" else 1, _place(finding), -len(finding["symptoms"]))


def _roots(one: Given, parents: t.Mapping[int, t.Sequence[Given]]) -> set[int]:
    """Return the ids of what is above a component and suffers from nothing itself."""
    return {root for root in _above(one, parents) if not parents[root]}


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


def _parents(one: Given, world: World) -> list[Given]:
    """Return what a component that is not well suffers from, [] where that was not seen."""
    near = [other for other in world.bad_on.get(str(one.get("host")), ()) if other is not one]
    found = _by_host(one, near) or _by_disk(one, near) or _by_master(one, world) or _by_needs(one, near)
    return found or _by_class(one, world)


def _by_host(one: Given, near: t.Sequence[Given]) -> list[Given]:
    """What should be on a host that could not be looked at is not sick: it was not seen."""
    hosts = [other for other in near if other.get("kind") == "host"]
    return hosts if one.get("health") == "unknown" and one.get("kind") != "host" else []


def _by_disk(one: Given, near: t.Sequence[Given]) -> list[Given]:
    """A store that says it has no space, and a file system that holds its directory and was seen to be full."""
    if one.get("state") not in WITHOUT_SPACE or not _lacks_space(one):
        return []
    disks = [other for other in near if other.get("class") == "host" and other.get("health") == "sick"]
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


def _by_master(one: Given, world: World) -> list[Given]:
    """A replica or standby without its source, and the one other server of its kind that is sick."""
    if one.get("state") not in FOLLOWS:
        return []
    alike = [other for other in world.by_class.get(str(one.get("class")), ()) if other.get("kind") == one.get("kind")]
    masters = [other for other in alike if other.get("health") == "sick" and other.get("state") not in FOLLOWS]
    named = str(fields(one.get("facts")).get("master") or "").rpartition(":")[0]
    exact = [other for other in masters if named and other.get("host") == named]
    return exact or (masters if len(masters) == 1 else [])


def _by_needs(one: Given, near: t.Sequence[Given]) -> list[Given]:
    """A check that was not made because another one is not well."""
    if not fields(one.get("facts")).get("left_out"):
        return []
    text = str(one.get("text"))
    return [other for other in near if any(str(name) in text for name in other.get("checks") or [])][:1]


def _by_class(one: Given, world: World) -> list[Given]:
    """What it needs, by its own look or by the data, as far as that is not well and explains what is seen."""
    known = known_by(one)
    own = [Edge(group, BY_ITSELF) for group, health in known.items() if health != "well"]
    found: list[Given] = []
    for edge in [*world.edges.get(str(one.get("class")), ()), *own]:
        # A full disk needs more evidence than that there is one: see _by_disk.
        if "disk" not in edge.kinds and _may_explain(one, edge, known):
            found += [other for other in _below(one, edge, world, known) if not any(other is same for same in found)]
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


def _may_explain(one: Given, edge: Edge, known: t.Mapping[str, str]) -> bool:
    """Return whether what the edge leads to could be why: not where its own look says that this is well."""
    state = str(one.get("state") or "")
    if known.get(edge.on) == "well" and state != "dependency_slow" and one.get("class") not in BY_OUTSIDE:
        return False
    return not edge.symptoms or state in edge.symptoms


def _below(one: Given, edge: Edge, world: World, known: t.Mapping[str, str]) -> list[Given]:
    """Return the components that this one needs and that are not well: those on its own host, or all that there are."""
    alike = [other for other in world.by_class.get(edge.on, ()) if other is not one and _is_of(other, edge)]
    candidates = [other for other in alike if other.get("health") != "well" and _is_cause_of(other, one)]
    if edge.is_near or _on_host_of(one, alike):
        return _on_host_of(one, candidates)
    # With several of them, of which some are well, nothing says which one it uses.
    all_bad = all(other.get("health") != "well" for other in alike)
    is_named = len(candidates) == 1 and known.get(edge.on) in ("sick", "unknown")
    return candidates if all_bad or is_named else []


def _is_of(other: Given, edge: Edge) -> bool:
    return other.get("kind") in edge.kinds if edge.kinds else edge.on == "host" or is_of_service(other)


def _on_host_of(one: Given, some: t.Sequence[Given]) -> list[Given]:
    return [other for other in some if other.get("host") == one.get("host")]


def _is_cause_of(other: Given, one: Given) -> bool:
    """Only what is sick makes something sick; what is unknown explains what is unknown."""
    return other.get("health") == "sick" or one.get("health") == "unknown"


def impact_of(findings: t.Sequence[Given], components: t.Sequence[Given], depends: t.Any) -> list[str]:
    """Return for whom it matters and what still works: a sentence for each cause, and one for each class above it.

    A class above counts where something of it suffers, or where the data says that it goes on and need not show it.
    """
    edges = edges_of(depends)
    there = {str(one.get("class")) for one in components if one.get("kind") != "expected"}
    found: list[str] = []
    for finding in findings:
        if finding.get("health") == "sick":
            found.append(_own_impact(finding, components))
            shown = {str(one.get("class")) for one in listed(finding.get("symptoms"))}
            counted = [(group, edge) for group in edges for edge in edges[group] if _counts(edge, group, finding, there, shown)]
            found += [_impact(edge, not _is_gone(group, components)) for group, edge in counted]
            # A full disk matters by what it keeps from writing.
            found += [_impact(edge, True) for edge in edges.get(str(finding.get("class")), ()) if _lacks(edge, finding)]
    return [text for text in dict.fromkeys(found) if text]


def _counts(edge: Edge, group: str, finding: Given, there: t.Collection[str], shown: t.Collection[str]) -> bool:
    if edge.on != finding.get("class") or group not in there or (edge.kinds and finding.get("kind") not in edge.kinds):
        return False
    return group in shown or (bool(edge.works) and not edge.kinds)


def _lacks(edge: Edge, finding: Given) -> bool:
    """Return whether a finding itself says that it has no space, which the data has as an edge to the machine."""
    return bool(edge.kinds) and bool(edge.symptoms) and finding.get("state") in edge.symptoms and finding.get("state") in SAYS_NO_SPACE


# States that say so by their name.
SAYS_NO_SPACE = ("down_disk_full", "wal_filling")


def _own_impact(finding: Given, components: t.Sequence[Given]) -> str:
    """Return whom it concerns that the API, the load balancer or a path itself is not well: as many of them as were looked at."""
    group = str(finding.get("class"))
    alike = [one for one in components if one.get("class") == group and one.get("kind") != "expected"]
    bad = sum(one.get("health") != "well" for one in alike)
    if group == "endpoint":
        return "callers of %s" % word(finding.get("component"), 80)
    everyone, some = USERS.get(group, ("", ""))
    return everyone if bad == len(alike) or not some else "%s: %d of %d are not well" % (some, bad, len(alike))


# Class: who uses it, all of them and some of them.
USERS: t.Mapping[str, t.Tuple[str, str]] = {
    "api": ("every user of the API", "users of the API"),
    "balancer": ("everyone who comes through the load balancer", "those who come through the load balancer"),
}


def _is_gone(group: str, components: t.Sequence[Given]) -> bool:
    """Return whether nothing of a class runs any more, so that nothing of it goes on."""
    runs = [fields(one.get("facts")).get("runs") for one in components if one.get("class") == group]
    return bool(runs) and all(one is False for one in runs)


def _impact(edge: Edge, goes_on: bool) -> str:
    return "; ".join(part for part in (edge.suffers, "still works: " + edge.works if edge.works and goes_on else "") if part)
