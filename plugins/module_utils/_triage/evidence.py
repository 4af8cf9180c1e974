# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the looks of triage saw, in the shape that its rules ask for.

A sick host returns little, and what it returns may be anything: whatever does not have the expected type counts as not seen.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

Data = t.Dict[str, t.Any]
Located = t.List[t.Tuple[str, Data]]
HEALTHS = ("well", "sick", "unknown")


class Metrics(t.NamedTuple):
    """The metrics of one endpoint of one host."""

    host: str
    endpoint: str
    data: Data


class Log(t.NamedTuple):
    """The last lines of one component of one host; the class of the component is "" where none of that name is known."""

    host: str
    component: str
    kind: str
    data: Data


class Evidence(t.NamedTuple):
    """Everything that a condition may ask for; `alternatives` are those of each type and pattern, which rules may ask for by id."""

    components: list[Data]
    checks: Located
    by_host: t.Mapping[str, list[Data]]
    answering: t.Collection[str]
    metrics: list[Metrics]
    logs: list[Log]
    hosts: Data
    changes: list[Data]
    baseline: Data
    unseen: list[tuple[str, str, str]]
    at: float
    onset_at: t.Optional[float]
    alternatives: t.Mapping[str, t.Mapping[str, t.Sequence[t.Mapping[str, t.Any]]]]


def evidence_of(
    looked: t.Any, components: t.Any, changes: t.Any = None, baseline: t.Any = None, at: t.Any = 0.0, onset_at: t.Any = None
) -> Evidence:
    """Return the evidence of *looked* (by host), *components* and *changes* of the report, and the *baseline*. Never raises."""
    found = [_component(one) for one in mappings(components)]
    hosts = {text(host): mapping(one) for host, one in mapping(looked).items()}
    by_host = {host: mappings(one.get("checks")) for host, one in hosts.items()}
    results = {host: mapping(one.get("host")) for host, one in hosts.items()}
    classes = {(one["host"], name): one["class"] for one in reversed(found) for name in (*one["checks"], one["name"])}
    return Evidence(
        components=found,
        checks=[(host, check) for host, some in by_host.items() for check in some],
        by_host=by_host,
        answering=_answering(found),
        metrics=[Metrics(host, text(name), mapping(data)) for host, name, data in _named(results, "metrics")],
        logs=[Log(host, text(name), classes.get((host, text(name)), ""), mapping(data)) for host, name, data in _named(results, "logs")],
        hosts=results,
        changes=mappings(changes),
        baseline=mapping(baseline),
        unseen=[(host, text(one.get("what")), text(one.get("why"))) for host, one in _unseen(results)],
        at=number(at) or 0.0,
        onset_at=number(onset_at),
        alternatives={},
    )


def _answering(components: t.Iterable[Data]) -> set[str]:
    """Return the hosts of which an endpoint of the API is well."""
    return {one["host"] for one in components if one["class"] == "endpoint" and one["health"] == "well"}


def _unseen(results: t.Mapping[str, Data]) -> t.Iterator[tuple[str, Data]]:
    for host, result in results.items():
        for one in mappings(result.get("unseen")):
            yield host, one


def _named(results: t.Mapping[str, Data], key: str) -> t.Iterator[tuple[str, t.Any, t.Any]]:
    for host, result in results.items():
        for name, data in mapping(result.get(key)).items():
            yield host, name, data


def with_rules(evidence: Evidence, rules: t.Mapping[str, t.Any]) -> Evidence:
    """Return *evidence* with the types and patterns of *rules*."""
    known = {section: {str(one["id"]): one["any_of"] for one in rules[section]} for section in ("types", "patterns")}
    return evidence._replace(alternatives=known)


def _component(one: Data) -> Data:
    health = one.get("health")
    return {
        **{key: text(one.get(key)) for key in ("name", "class", "kind", "host", "state")},
        "text": one_line(one.get("text") or "", 200),
        "checks": [text(name) for name in items(one.get("checks"))],
        "health": health if health in HEALTHS else "unknown",
    }


def checks_of(evidence: Evidence, component: Data) -> list[Data]:
    """Return the checks that *component* is made of, those of its name where it does not say."""
    names = component["checks"] or [component["name"]]
    return [check for check in evidence.by_host.get(component["host"], ()) if text(check.get("name")) in names]


def answers(evidence: Evidence, component: Data) -> bool:
    """Return whether *component* answered one of its checks with a status that is no error of its own; an API also by an endpoint."""
    seen = [number(mapping(check.get("facts")).get("status")) for check in checks_of(evidence, component)]
    if any(status is not None and 0 < status < 500 for status in seen):
        return True
    return component["class"] == "api" and component["host"] in evidence.answering


def mapping(value: t.Any) -> Data:
    return value if isinstance(value, dict) else {}


def items(value: t.Any) -> list[t.Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def mappings(value: t.Any) -> list[Data]:
    return [one for one in items(value) if isinstance(one, dict)]


def text(value: t.Any) -> str:
    """Return a name or a word as one short line; "" for what is none."""
    return one_line(value, 100) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def number(value: t.Any) -> t.Optional[float]:
    """Return a finite number that is not negative, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and found >= 0 else None
