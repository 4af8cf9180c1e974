# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A triage report as the parts that every output shows, in the one order that all of them keep. Plain data in, parts out.

Any key of a report may be missing, None or wrong: what is not known is left out or named as not known, never made up. Every text leaves
here as one line without hidden characters; what a medium needs beyond that (HTML, Markdown) is its own work.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.moments import moment, number, seconds_of, short, span

Plain = t.Mapping[str, t.Any]

SENTENCE, NAME, COMMAND = 400, 60, 4000
# A look that was made on the host itself, whatever its name.
OWN = "target"
# More packages than these, changed on one host, are one line.
CROWD = 3
HEALTHS = ("sick", "unknown", "well")


class Item(t.NamedTuple):
    """One entry of a part: its text, the health that it speaks of; for a next step also the command, and what that never does."""

    text: str
    tone: str = ""
    command: str = ""
    wont: str = ""


class Row(t.NamedTuple):
    """One component, or the same one on many hosts, that is not well."""

    health: str
    name: str
    where: str
    state: str
    text: str
    seen: str
    odd: str  # where it was seen, when that is not the host itself; that it was not seen
    hosts: t.Tuple[str, ...]  # all that it is about, for more than one
    total: int  # the hosts that have such a component


class Part(t.NamedTuple):
    """One question and what there is to say; *rows* for the components alone."""

    key: str
    title: str
    items: t.Sequence[Item]
    rows: t.Sequence[Row] = ()


def parts_of(report: Plain) -> t.List[Part]:
    """Return the parts of the first screen in their order; a part with nothing to say is left out."""
    parts = [
        Part("impact", "For whom", [Item(text) for text in texts(report.get("impact"))]),
        Part("since", "Since", _since(report)),
        Part("alert", "Alert", _alert(report)),
        Part("why", _why_title(report), _why(report)),
        Part("looks", "Type", _looks(report)),
        Part("components", "Not well", _others(report), rows_of(report)),
        Part("changes", "Changed", _changes(report)),
        Part("at_work", "On it", _at_work(report)),
        Part("before", "Before", _before(report)),
        Part("next", "Next", _next(report)),
        Part("unseen", "Not seen", _unseen(report)),
        Part("looked", "Looked", _looked(report)),
        Part("clock", "Clock", _clock(report)),
    ]
    return [part for part in parts if part.items or part.rows]


# --- What the parts have in common ---------------------------------------------------------------------------------


def dicts(value: t.Any) -> t.List[Plain]:
    """Return the mappings of a list; what is none is not there."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, (list, tuple)) else []


def known(value: t.Any) -> Plain:
    """Return a mapping, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def said(value: t.Any, limit: int = SENTENCE) -> str:
    """Return a text on one line, "" for what is no text and no number."""
    return one_line(value, limit).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def some_of(row: Row, most: int = 4) -> str:
    """Return which hosts a row is about, "" where its place says it: one host, or all that there are."""
    return "on %s" % named(row.hosts, most) if len(row.hosts) < row.total and row.hosts else ""


def texts(value: t.Any) -> t.List[str]:
    """Return the texts of a list, or of one text, without empty ones."""
    many = value if isinstance(value, (list, tuple)) else [value]
    return [text for text in map(said, many) if text]


def verdict_of(report: Plain) -> str:
    """Return well, sick or unknown: whatever is none of them is unknown."""
    word = report.get("verdict")
    return word if isinstance(word, str) and word in HEALTHS else "unknown"


def level_of(report: Plain) -> str:
    """Return the level of the severity with its name, "" when there is none."""
    severity = known(report.get("severity"))
    return " ".join(part for part in (said(severity.get("level"), 20), said(severity.get("name"), 20)) if part)


def headline_of(report: Plain) -> str:
    """Return what is broken, in one sentence."""
    other = {"well": "nothing is wrong", "sick": "something is wrong", "unknown": "it is not known whether anything is wrong"}
    return said(report.get("headline")) or other[verdict_of(report)]


def joined(*parts: str) -> str:
    """Return the parts that say something, as one sentence."""
    return "; ".join(part for part in parts if part)


def named(hosts: t.Sequence[str], most: int = 4) -> str:
    """Return some of the hosts by name, and how many more there are."""
    more = len(hosts) - most
    return ", ".join(hosts) if more <= 1 else "%s and %d more" % (", ".join(hosts[:most]), more)


def _with_source(text: str, source: t.Any) -> str:
    """Return a text with where it was seen, once."""
    place = said(source, NAME * 2)
    return "%s (%s)" % (text, place) if text and place and place not in text else text or place


# --- Since when, and how bad ---------------------------------------------------------------------------------------


def _since(report: Plain) -> t.List[Item]:
    """Say when it began; a range where no moment is known; that it is not known, where something is wrong."""
    onset = known(report.get("onset"))
    when = when_of(onset, report)
    if not when and verdict_of(report) == "well":
        return []
    return [Item(_moment_said(onset, when) or "not known")]


def _alert(report: Plain) -> t.List[Item]:
    alert = known(report.get("alert"))
    when = when_of(alert, report)
    text = _moment_said(alert, when)
    return [Item(text)] if text else []


def _moment_said(onset: Plain, when: str) -> str:
    """Return the moment with its source; the words of the report where either is not there."""
    place = said(onset.get("source"), NAME * 2)
    return _with_source(joined(when, "" if when and place else said(onset.get("text"))), place)


def when_of(onset: Plain, report: Plain) -> str:
    """Return the moment of an onset and its range; "" when neither is known."""
    now = seconds_of(report.get("at"))
    at, earliest, latest = (onset.get(key) for key in ("at", "earliest", "latest"))
    limits = [short(one, now) for one in (earliest, latest) if one and one != at]
    between = "between %s and %s" % tuple(limits) if len(limits) == 2 else ""
    if not between and limits:
        between = "%s %s" % ("not before" if earliest and earliest != at else "not after", limits[0])
    return joined(moment(at, now), between) if at else between


def _why_title(report: Plain) -> str:
    level = said(known(report.get("severity")).get("level"), 20)
    return "Why %s" % level if level else "Severity"


def _why(report: Plain) -> t.List[Item]:
    """Say what led to the severity, what was not known, and that a person set another one."""
    severity = known(report.get("severity"))
    items = [Item(text) for text in [_override(severity), *map(_reason, dicts(severity.get("reasons")))] if text]
    unknown = [Item(text, "unknown") for text in _not_known(severity)]
    if not severity.get("level") and verdict_of(report) == "sick":
        items.insert(0, Item("no severity was judged", "unknown"))
    # Where nothing is wrong, it is only named with what could not be seen.
    return items + (unknown if verdict_of(report) != "well" or items else [])


def _not_known(severity: Plain) -> t.List[str]:
    every = texts(severity.get("unknown"))
    return [text if text.startswith(("not known", "nothing ", "no ")) else "not known: %s" % text for text in every]


def _override(severity: Plain) -> str:
    override = known(severity.get("override"))
    if not override:
        return ""
    judged = said(severity.get("judged"), 20)
    reason = said(override.get("reason")) or "no reason was given"
    return "set to %s by hand (%s); the looks say %s" % (said(override.get("level"), 20) or "?", reason, judged or "nothing")


def _reason(one: Plain) -> str:
    return _with_source(said(one.get("text")), "rule %s" % said(one.get("rule"), NAME) if one.get("rule") else "")


def _looks(report: Plain) -> t.List[Item]:
    """Name the incident types and patterns that the looks confirm, each with its first evidence unless that was already said."""
    said_before = " ".join([headline_of(report), *map(_reason, dicts(known(report.get("severity")).get("reasons")))])
    return [
        Item(": ".join([said(one.get("name"), NAME) or said(one.get("id"), NAME), *_evidence(one, said_before)]))
        for key in ("types", "patterns")
        for one in dicts(report.get(key))
        if one.get("verdict") == "confirmed"
    ]


def _evidence(one: Plain, said_before: str) -> t.List[str]:
    return [text for text in texts(one.get("evidence"))[:1] if text not in said_before]


def _clock(report: Plain) -> t.List[Item]:
    """Say until when somebody has to respond, counted from what, and how much of it is left."""
    clock = known(report.get("clock"))
    due, now = clock.get("due_at"), seconds_of(report.get("at"))
    if not due:
        return [Item(said(clock.get("text")))] if said(clock.get("text")) else []
    within, left = number(clock.get("respond_within_seconds")), number(clock.get("left_seconds"))
    begun = ", ".join(part for part in (short(clock.get("from"), now), said(clock.get("from_source"), NAME)) if part)
    rule = " from ".join(part for part in (span(within) if within is not None else "", begun) if part)
    late = left is not None and left < 0
    what = "OVERDUE by %s: it was due by %s" % (span(left or 0), short(due, now)) if late else "respond by %s" % short(due, now)
    what += ", %s left" % span(left) if left is not None and not late else ""
    return [Item("%s%s" % (what, " (%s)" % rule if rule else ""), "sick" if late else "")]


# --- What is not well ----------------------------------------------------------------------------------------------


def rows_of(report: Plain) -> t.List[Row]:
    """Return what is not well, causes first, each with its symptoms; the same on many hosts is one row."""
    found: t.Dict[t.Tuple[str, ...], t.List[t.Dict[str, str]]] = {}
    for one in [*_causes(report), *_beside(report)]:
        found.setdefault((one["health"], one["name"], one["state"], one["because"]), []).append(one)
    rows: t.Dict[t.Tuple[t.Any, ...], t.List[Row]] = {}
    for row in [_row(report, many) for many in found.values()]:
        rows.setdefault((row.health, row.where, row.state, row.text, row.hosts), []).append(row)
    return [_together(alike) for alike in rows.values()]


def _together(alike: t.Sequence[Row]) -> Row:
    """Return one row for components of which the same is to be said, as of all on a host that cannot be reached."""
    if len(alike) == 1:
        return alike[0]
    names = ", ".join(row.name for row in alike)
    return alike[0]._replace(name="%d components" % len(alike), text=joined(alike[0].text, names))


def _causes(report: Plain) -> t.List[t.Dict[str, str]]:
    """Return each finding, and each of its symptoms below it, with its cause unless its own words name that."""
    seen = {_key(one): one for one in dicts(report.get("components"))}
    rows = []
    for finding in dicts(report.get("findings")):
        rows.append(_told(finding, seen.get(_key(finding), {}), ""))
        for symptom in dicts(finding.get("symptoms")):
            rows.append(_told(symptom, seen.get(_key(symptom), {}), _because(finding, symptom)))
    return rows


def _beside(report: Plain) -> t.List[t.Dict[str, str]]:
    """Return what is not well and in no finding; what says nothing of its health is unknown."""
    findings = dicts(report.get("findings"))
    told = {_key(one) for finding in findings for one in [finding, *dicts(finding.get("symptoms"))]}
    return [_told(one, one, "") for one in dicts(report.get("components")) if one.get("health") != "well" and _key(one) not in told]


def _key(one: Plain) -> t.Tuple[str, str]:
    return said(one.get("component") or one.get("name"), NAME), said(one.get("host"), NAME)


def _because(finding: Plain, symptom: Plain) -> str:
    name, host = _key(finding)
    if name and name in said(symptom.get("text")):
        return ""
    return "because of %s%s" % (name, " on %s" % host if host and host != _key(symptom)[1] else "")


def _told(one: Plain, component: Plain, because: str) -> t.Dict[str, str]:
    """Return what there is to say of one component: what the finding says first, then what the look says."""
    name, host = _key(one)
    health = one.get("health") or component.get("health")
    return {
        "name": name or "?", "host": host, "because": because, "health": str(health) if health in HEALTHS else "unknown",
        "state": said(one.get("state") or component.get("state"), 30), "text": said(one.get("text") or component.get("text")),
        "since": _since_of(component), "at": said(component.get("seen_at"), 40), "from": said(component.get("seen_from"), NAME),
    }  # fmt: skip


def _since_of(component: Plain) -> str:
    since = known(component.get("since"))
    when = short(since.get("at"), seconds_of(component.get("seen_at"))) if since.get("at") else ""
    return _with_source("since %s" % when, since.get("source")) if when else ""


def _row(report: Plain, many: t.Sequence[t.Mapping[str, str]]) -> Row:
    """Return one row for one component on one host or on many."""
    first, hosts = many[0], tuple(dict.fromkeys(one["host"] for one in many if one["host"]))
    alone = len(hosts) < 2
    total = max(len(hosts), _hosts_with(report, first["name"])) if not alone else len(hosts)
    where = first["host"] if alone else "%d of %d hosts" % (len(hosts), total)
    told = joined(first["because"], first["text"] if alone else _text_of_many(many), first["since"] if alone else "")
    return Row(first["health"], first["name"], where, first["state"], told, _seen(many, report), _odd(many), () if alone else hosts, total)


def _text_of_many(many: t.Sequence[t.Mapping[str, str]]) -> str:
    """Return what the looks at many hosts say, as one of them where they differ in more than the name of the host."""
    every = list(dict.fromkeys(one["text"].replace(one["host"] or "\0", "the host") for one in many if one["text"]))
    if len(every) < 2:
        return "".join(every)
    one = next(one for one in many if one["text"])
    return "for example %s: %s" % (one["host"] or "one", one["text"])


def _hosts_with(report: Plain, name: str) -> int:
    return len({_key(one)[1] for one in dicts(report.get("components")) if _key(one)[0] == name})


def _seen(many: t.Sequence[t.Mapping[str, str]], report: Plain) -> str:
    """Say when and from where the looks were made."""
    times = between([one["at"] for one in many], report)
    places = list(dict.fromkeys(one["from"] for one in many if one["from"]))
    place = "each host itself" if len(places) > 1 and not _odd(many) else "the host itself" if places == [OWN] else named(places, 2)
    words = " ".join(part for part in (times, "from %s" % place if place else "") if part)
    return "seen %s" % words if words else "not seen"


def _odd(many: t.Sequence[t.Mapping[str, str]]) -> str:
    places = list(dict.fromkeys(one["from"] for one in many if one["from"] not in (one["host"], OWN)))
    return "" if not places else "not seen" if places == [""] else "seen from %s" % named([place for place in places if place], 2)


def between(moments: t.Iterable[t.Any], report: Plain) -> str:
    """Return the time of day of the first and the last of some moments, "" when there are none."""
    every = sorted((seconds, one) for one in moments for seconds in [seconds_of(one)] if seconds is not None)
    if not every:
        return ""
    first, last = (short(one, seconds_of(report.get("at"))) for _seconds, one in (every[0], every[-1]))
    return first if first == last else "%s to %s" % (first.replace(" UTC", ""), last)


def _others(report: Plain) -> t.List[Item]:
    """Count what is well, beside what is not."""
    components = dicts(report.get("components"))
    well = [one for one in components if one.get("health") == "well"]
    if len(well) == len(components):
        return []
    others = "%s well" % ("1 other is" if len(well) == 1 else "%d others are" % len(well) if well else "none is known to be")
    bad = [one for one in components if one.get("health") != "well"]
    times = between([one.get("seen_at") for one in bad], report)
    own = all(one.get("seen_from") in (one.get("host"), OWN) for one in bad)
    place = "each from its own host" if own else "from its own host if no other place is named"
    return [Item(joined(others, "seen %s, %s" % (times, place) if times else ""))]


# --- What happened around it ---------------------------------------------------------------------------------------


def _changes(report: Plain) -> t.List[Item]:
    """Return each change, newest first; the same one on many hosts once, and so many packages at once."""
    found: t.Dict[t.Tuple[str, ...], t.List[Plain]] = {}
    crowds = _crowds(report)
    for one in dicts(report.get("changes")):
        crowd = crowds.get(_place_of(one), [])
        what = "%d packages: %s" % (len(crowd), named(crowd, 2)) if len(crowd) > CROWD else _changed(one)
        found.setdefault((what, said(one.get("source"), NAME)), []).append(one)
    items = [Item(_change(what, source, many, report)) for (what, source), many in found.items()]
    return items or [Item("no change was seen in the last two hours")]


def _place_of(one: Plain) -> t.Tuple[str, str, str]:
    return said(one.get("kind"), 20), said(one.get("host"), NAME), said(one.get("source"), NAME)


def _crowds(report: Plain) -> t.Dict[t.Tuple[str, str, str], t.List[str]]:
    """Return the names of all packages that changed, by where that was seen: an update of a machine changes dozens of them."""
    found: t.Dict[t.Tuple[str, str, str], t.List[str]] = {}
    for one in dicts(report.get("changes")):
        if one.get("kind") == "package":
            names = found.setdefault(_place_of(one), [])
            names += [said(one.get("what"), NAME)] * (said(one.get("what"), NAME) not in names)
    return found


def _changed(one: Plain) -> str:
    """Return kind, thing and change, each said once."""
    kind, what, text = said(one.get("kind"), 20), said(one.get("what"), NAME * 2), said(one.get("text"))
    words = ["" if text.startswith(kind) else kind, "" if what in text else what, text]
    return " ".join(word for word in words if word)


def _change(what: str, source: str, many: t.Sequence[Plain], report: Plain) -> str:
    hosts = [host for host in dict.fromkeys(said(one.get("host"), NAME) for one in many) if host]
    times = between([one.get("at") for one in many], report) or said(many[0].get("at"), 40) or "time not known"
    return "  ".join(part for part in (times, named(hosts, 2), _with_source(what, source)) if part)


def _at_work(report: Plain) -> t.List[Item]:
    now = seconds_of(report.get("at"))
    items = [Item(_work(one, now)) for one in dicts(report.get("at_work"))]
    return items or [Item("no lease, open run or waiting approval was seen")]


def _work(one: Plain, now: t.Optional[float]) -> str:
    target = "/".join(part for part in (said(one.get("host"), NAME), said(one.get("component"), NAME)) if part)
    words = "%s%s" % (said(one.get("kind"), 20) or "work", " on %s" % target if target else "")
    times = ["%s %s" % (word, moment(one.get(key), now)) for word, key in (("since", "since"), ("until", "until")) if one.get(key)]
    return "%s: %s" % (words, joined(said(one.get("text")), ", ".join(times))) if one.get("text") or times else words


def _before(report: Plain) -> t.List[Item]:
    found: t.Dict[str, t.List[str]] = {}
    for one in dicts(report.get("before")):
        target = "/".join(part for part in (said(one.get("host"), NAME), said(one.get("component"), NAME)) if part)
        found.setdefault(_once(one, seconds_of(report.get("at"))), []).append(target)
    items = [Item(": ".join(part for part in (named(targets, 2), what) if part)) for what, targets in found.items()]
    wrong = verdict_of(report) != "well"
    return items or ([Item("no earlier run is on record")] if wrong else [])


def _once(one: Plain, now: t.Optional[float]) -> str:
    """Say how often it was seen before, when last, how that ended and what helped."""
    if said(one.get("text")):
        return said(one["text"])
    count, days = number(one.get("count")), number(one.get("days"))
    often = counted(int(count), "times") if count is not None else ""
    often += " in %s" % counted(int(days), "days") if often and days is not None else ""
    last = "last %s" % moment(one.get("last_at"), now) if one.get("last_at") else ""
    helped = "what helped: %s" % said(one.get("helped")) if said(one.get("helped")) else ""
    return joined(", ".join(part for part in (often, last, said(one.get("outcome"), 40).replace("_", " ")) if part), helped)


# --- What to do ----------------------------------------------------------------------------------------------------


def _next(report: Plain) -> t.List[Item]:
    """Return the commands in their order, and why there is none for what has none."""
    items = [
        Item(_sentence(said(one.get("text"))), "", one_line(one.get("command") or "", COMMAND).strip(), _never(said(one.get("wont"))))
        for one in dicts(report.get("next"))
        if one.get("command") or one.get("text")
    ]
    return items + [Item(text, "unknown") for text in _without(report)]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _never(text: str) -> str:
    """Return a sentence on what a command does not do."""
    return _sentence(text) if not text or text.startswith(("it ", "It ", "nothing ")) else "It will not: %s" % text


def _without(report: Plain) -> t.List[str]:
    """Say of which findings no remedy repairs, and why; the same on many hosts once."""
    found: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    for one in dicts(report.get("findings")):
        why = said(one.get("none"))
        if not known(one.get("remedy")).get("command") and why:
            found.setdefault((_key(one)[0], why), []).append(_key(one)[1])
    return ["no remedy for %s%s: %s" % (name, " on %s" % named(hosts) if hosts[0] else "", why) for (name, why), hosts in found.items()]


def _unseen(report: Plain) -> t.List[Item]:
    """Name what could not be seen, and why; the same on many hosts once."""
    found: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    for one in dicts(report.get("unseen")):
        hosts = found.setdefault((said(one.get("what")) or "?", said(one.get("why")) or "why is not known"), [])
        hosts += [host for host in [said(one.get("host"), NAME)] if host and host not in hosts]
    alike: t.Dict[t.Tuple[str, str], t.List[str]] = {}
    for (what, why), hosts in found.items():
        alike.setdefault((" on %s" % named(hosts) if hosts else "", why), []).append(what)
    # The severity of what is well has no part of its own.
    rest = _not_known(known(report.get("severity"))) if verdict_of(report) == "well" and not _why(report) else []
    texts_of = ["%s%s: %s" % (", ".join(whats), place, why) for (place, why), whats in alike.items()]
    return [Item(text, "unknown") for text in [*texts_of, *rest]] or [Item("every look was answered")]


def _looked(report: Plain) -> t.List[Item]:
    """Say what was looked at, when, from which inventory and how long that took."""
    components, took = dicts(report.get("components")), number(report.get("seconds"))
    hosts = {said(one.get("host"), NAME) for one in components} | set(map(str, known(report.get("hosts"))))
    size = "%s on %s" % (counted(len(components), "components"), counted(len(hosts - {""}), "hosts"))
    when = short(report.get("at"), None) or "at an unknown time"
    inventory = said(report.get("inventory"), 200)
    words = ["%s, %s" % (size, when), "in %.1f s" % took if took is not None else "", "inventory %s" % inventory if inventory else ""]
    return [Item(", ".join(word for word in words if word))]
