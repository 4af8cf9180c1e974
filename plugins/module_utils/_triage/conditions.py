# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the conditions of a rule hold: yes, no, or not known, each with what was seen or what was not.

Pure, and total: evidence that is wrong or absent is not known, and never a yes or a no.
"""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import readings
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import (
    Data,
    Evidence,
    answers,
    checks_of,
    items,
    mapping,
    text,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.readings import Answer, Missing, between
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.rules import CLASS_NAMES

Options = t.Mapping[str, t.Any]
# States of unknown health that say enough to rule another state out.
TELLING = ("auth", "rate_limited", "loading", "starting", "stopping", "rejecting", "crash_recovery", "failing_over", "held")
IGNORABLE = ("component", "metric", "finding", "log", "baseline")
Judged = t.Tuple[Data, t.Optional[bool]]
One = t.TypeVar("One")


def judge(conditions: t.Iterable[Options], evidence: Evidence) -> Answer:
    """Return whether all of *conditions* hold. One that does not decides, whatever is not known of the others."""
    found = [_one(condition, evidence) for condition in conditions]
    against = [answer for answer in found if answer.holds is False]
    return _open(against)._replace(holds=False) if against else _together(found)


def judge_any(alternatives: t.Sequence[Options], evidence: Evidence) -> tuple[Answer, t.Optional[Options]]:
    """Return whether one of *alternatives* holds, and the first one that does."""
    found = [(judge(one["when"], evidence), one) for one in alternatives]
    holding = [(answer, one) for answer, one in found if answer.holds]
    if holding:
        return _together([answer for answer, _alternative in holding]), holding[0][1]
    # What was seen against it is evidence as well, also where another alternative is open.
    return _together([answer for answer, _alternative in found]), None


def _together(found: t.Sequence[Answer]) -> Answer:
    """Return what several answers come to of which all or none are against: open where one is, or where there is none."""
    if not found or any(answer.holds is None for answer in found):
        return _open(found)
    return Answer(all(answer.holds for answer in found), _all_of(answer.seen for answer in found))


def _open(found: t.Sequence[Answer]) -> Answer:
    still = [answer for answer in found if answer.holds is None]
    missing, unlooked = _all_of(answer.missing for answer in still), _all_of(answer.unlooked for answer in still)
    return Answer(None, _all_of(answer.seen for answer in found), missing, unlooked)


def _all_of(texts: t.Iterable[t.Iterable[One]]) -> tuple[One, ...]:
    """Return each of several once, in order."""
    return tuple(dict.fromkeys(itertools.chain.from_iterable(texts)))


def _one(condition: Options, evidence: Evidence) -> Answer:
    kind, options = next(iter(condition.items()))
    ask = ASK.get(kind)
    if not ask:
        return Answer(None, (), (Missing("the condition %s" % one_line(kind, 40)),))
    answer = ask(options, evidence)
    # Where nothing has such a thing, it may not exist here; a component that is there and unseen stays open.
    is_ignored = answer.holds is None and kind in IGNORABLE and options["not_looked_at"] == "ignored"
    return Answer(False, answer.seen) if is_ignored and (kind != "component" or answer.unlooked) else answer


def named(component: Data) -> str:
    """Return one component with its state in a few words."""
    state = " (%s)" % component["state"] if component["state"] else ""
    said = ": %s" % component["text"] if component["text"] else ""
    return "%s on %s is %s%s%s" % (component["name"] or "?", component["host"] or "?", component["health"], state, said)


def few(components: t.Sequence[Data]) -> tuple[str, ...]:
    """Return a line for each of the first *components*, and how many more there are."""
    return readings.first([named(one) for one in components[: readings.MOST_NAMED]], len(components))


def _doubts(components: t.Sequence[Data]) -> tuple[Missing, ...]:
    return (Missing("; ".join(few(components))),)


def _of(evidence: Evidence, options: Options) -> list[Data]:
    classes, kinds = options["class"], options.get("kind") or []
    chosen = [one for one in evidence.components if "any" in classes or one["class"] in classes]
    return [one for one in chosen if not kinds or one["kind"] in kinds]


def _classes(options: Options) -> str:
    return " and ".join(CLASS_NAMES.get(one, "any component") for one in options["class"])


def _component(options: Options, evidence: Evidence) -> Answer:
    """Judge by hosts: on how many of those that have such a component is one as the condition wants it?"""
    judged = [(one, _matches(one, options, evidence)) for one in _of(evidence, options)]
    if not judged:
        return Answer(None, unlooked=(_classes(options),))
    by_host: dict[str, list[Judged]] = {}
    for pair in judged:
        by_host.setdefault(pair[0]["host"], []).append(pair)
    on = [_on_host(some, options["state"]) for some in by_host.values()]
    holds = _enough(options["hosts"], on.count(True), on.count(None), len(on))
    if holds is False:
        return Answer(False, few([one for one, match in judged if not match]))
    matching = few([one for one, match in judged if match])
    return Answer(True, matching) if holds else Answer(None, matching, _doubts([one for one, match in judged if match is None]))


def _on_host(judged: t.Sequence[Judged], states: t.Sequence[str]) -> t.Optional[bool]:
    """Return whether a component of one host matches. Where certain states are asked for, one that is well rules them out for its host."""
    matches = [match for _one_of_them, match in judged]
    if True in matches:
        return True
    is_ruled_out = bool(states) and any(one["health"] == "well" for one, _match in judged)
    return None if None in matches and not is_ruled_out else False


def _matches(one: Data, options: Options, evidence: Evidence) -> t.Optional[bool]:
    state, states = one["state"], options["state"]
    if state and state in options["not_state"]:
        return False
    if options["answers"] is not None and options["answers"] is not answers(evidence, one):
        return False
    if state and state in options["unclear_state"]:
        return _clear(one, states, evidence)
    if one["health"] in options["health"]:
        return not states or state in states
    if one["health"] != "unknown" or (states and state in TELLING):
        return False
    return None


def _clear(one: Data, states: t.Sequence[str], evidence: Evidence) -> t.Optional[bool]:
    """Return whether a component matches whose own word is about another: by its other checks, and by whether it answered."""
    if answers(evidence, one):
        return False
    return any(check.get("health") == "sick" and check.get("state") in states for check in checks_of(evidence, one)) or None


def _enough(wanted: t.Any, yes: int, maybe: int, total: int) -> t.Optional[bool]:
    """Return whether *yes* of *total* hosts (and perhaps *maybe* more) are as many as wanted; None where that is open."""
    if wanted == "some":
        if total < 2 or yes == total or yes + maybe == 0:
            return False
        return True if yes and yes + maybe < total else None
    return between(yes, yes + maybe, {"any": 1, "all": total}.get(wanted, wanted))


def _count(options: Options, evidence: Evidence) -> Answer:
    chosen = _of(evidence, options)
    if not chosen:
        return Answer(None, unlooked=(_classes(options),))
    yes = [one for one in chosen if one["health"] in options["health"]]
    doubtful = [one for one in chosen if one["health"] == "unknown" and one not in yes]
    holds = between(len(yes), len(yes) + len(doubtful), options["at_least"])
    texts = ("%d of %s are %s" % (len(yes), counted(len(chosen), "components"), " or ".join(options["health"])),)
    return Answer(holds, texts, _doubts(doubtful) if holds is None else ())


def _endpoints(options: Options, evidence: Evidence) -> Answer:
    """Judge the share of endpoints that fail; the API's own health endpoint is one of them."""
    chosen = [one for one in evidence.components if one["class"] == "endpoint" or (one["class"], one["kind"]) == ("api", "http")]
    if not any(one["class"] == "endpoint" for one in chosen):
        return Answer(None, unlooked=(CLASS_NAMES["endpoint"],))
    sick, doubtful = ([one for one in chosen if one["health"] == health] for health in ("sick", "unknown"))
    holds = _share(options, len(sick), len(sick) + len(doubtful), len(chosen))
    names = ", ".join(readings.first(["%s on %s" % (one["name"], one["host"]) for one in sick]))
    told = "%d of %s fail%s" % (len(sick), counted(len(chosen), "endpoints"), ": %s" % names if sick else "")
    return Answer(holds, (told,), _doubts(doubtful) if holds is None else ())


def _share(options: Options, least: int, most: int, total: int) -> t.Optional[bool]:
    """Return whether *least* to *most* of *total* that fail are as the condition wants it."""
    found = [between(least, most, options["failing_at_least"])]
    if options["share_at_least"] is not None:
        found.append(between(least / total, most / total, options["share_at_least"]))
    if options["share_below"] is not None:
        below = between(least / total, most / total, options["share_below"])
        found.append(None if below is None else not below)
    return False if False in found else None if None in found else True


def _finding(options: Options, evidence: Evidence) -> Answer:
    """Judge the findings of that name; nothing that has one leaves it open."""
    told = [
        (one.get("state"), "%s on %s: %s" % (text(check.get("name")), host, one_line(one.get("text") or "?", 120)))
        for host, check in evidence.checks
        if not options["kind"] or check.get("kind") in options["kind"]
        for one in map(mapping, items(check.get("findings")))
        if one.get("name") in options["name"]
    ]
    if not told:
        return Answer(None, unlooked=("%s (no check reports it)" % " or ".join(options["name"]).replace("_", " "),))
    yes = [said for state, said in told if state in options["health"]]
    if yes:
        return Answer(True, readings.first(yes))
    doubtful = readings.first([said for state, said in told if state not in ("well", "sick")])
    return Answer(None, (), (Missing("; ".join(doubtful)),)) if doubtful else Answer(False, readings.first([said for _state, said in told]))


def _verdict(section: str) -> t.Callable[[Options, Evidence], Answer]:
    """Return the judge of a condition on a type or pattern, which is judged here again: what was not known of it is named."""

    def ask(options: Options, evidence: Evidence) -> Answer:
        found, _alternative = judge_any(evidence.alternatives.get(section, {}).get(options["id"]) or [], evidence)
        wanted = {"confirmed": True, "denied": False, "unknown": None}[options["verdict"]]
        if wanted is None:
            return Answer(found.holds is None, (*readings.not_known(found.missing), *found.seen))
        return found._replace(holds=None if found.holds is None else found.holds is wanted)

    return ask


def _nothing(what: t.Any, _evidence: Evidence) -> Answer:
    return Answer(None, unlooked=(str(what),))


ASK: t.Mapping[str, t.Callable[[t.Any, Evidence], Answer]] = {
    "component": _component, "count": _count, "endpoints": _endpoints, "finding": _finding, "type": _verdict("types"),
    "pattern": _verdict("patterns"), "nothing_looks_at": _nothing, "metric": readings.metric, "host": readings.host,
    "log": readings.log, "change": readings.change, "baseline": readings.baseline,
}  # fmt: skip
