# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of triage: from documents with line numbers to one set of checked, plain data.

A document is {file, data, lines}: what a YAML file says, and the line of each of its places ("rules/0/when/1"). Of several documents a
later one replaces what has the same id and adds the rest. The only errors are those of the rules: a StepError that names file and line.
docs/triage-rules.md describes the format.
"""

from __future__ import annotations

import difflib
import math
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line

Rules = t.Dict[str, t.Any]
Document = t.Mapping[str, t.Any]
Place = t.Tuple[t.Any, ...]

LEVELS = ("P0", "P1", "P2", "P3")
# class of a component: what it is called in a sentence.
CLASS_NAMES: t.Mapping[str, str] = {
    "api": "the API", "working_memory": "the working memory (Redis)", "database": "the database (PostgreSQL)",
    "long_term_memory": "the long-term memory", "balancer": "the load balancer", "service": "other services", "host": "the machine",
    "endpoint": "the endpoints of the API", "queue": "the message queue (Kafka)", "monitoring": "the monitoring",
}  # fmt: skip
CLASSES = tuple(CLASS_NAMES)
HEALTHS = ("well", "sick", "unknown")
VERDICTS = ("confirmed", "denied", "unknown")
RESOURCES = ("disk_used_share", "inodes_used_share", "memory_used_share", "load_per_core")
CHANGES = ("package", "unit", "reboot", "configuration", "release")
QUANTITIES = ("any", "all", "some")
# Most entries of one list, most errors of one report.
MOST, MOST_SHOWN = 200, 3
ID = re.compile(r"[a-z][a-z0-9_]{0,59}\Z")
COMMAND = re.compile(r"\{([a-z_]+)\}\Z")
# What each section has as its key: by it an entry of a later document replaces one of an earlier.
SECTIONS: t.Mapping[str, tuple[str, ...]] = {
    "severities": ("level",), "rules": ("id",), "depends": ("class", "stands_on", "where"), "types": ("id",), "patterns": ("id",),
}  # fmt: skip


class Field(t.NamedTuple):
    """What a key may have: its kind, the words that it may be, whether it has to be there, its value without it."""

    kind: str
    choices: tuple[str, ...] = ()
    required: bool = False
    default: t.Any = None


CLASS_LIST = Field("words", (*CLASSES, "any"), True)
NUMBER = Field("number")
NOT_LOOKED_AT = Field("word", ("unknown", "ignored"), default="unknown")
# condition: its keys. One of those in ONE_OF has to be there.
CONDITIONS: t.Mapping[str, t.Mapping[str, Field]] = {
    "component": {
        "class": CLASS_LIST,
        "health": Field("words", HEALTHS, default=["sick"]),
        "state": Field("names", default=[]),
        "not_state": Field("names", default=[]),
        "unclear_state": Field("names", default=[]),
        "answers": Field("bool"),
        "kind": Field("names", default=[]),
        "hosts": Field("hosts", QUANTITIES, default="any"),
        "not_looked_at": NOT_LOOKED_AT,
    },
    "count": {"class": CLASS_LIST, "health": Field("words", HEALTHS, default=["sick"]), "at_least": Field("count", required=True)},
    "endpoints": {"failing_at_least": Field("count", default=1), "share_at_least": Field("share"), "share_below": Field("share")},
    "metric": {
        "name": Field("name", required=True), "above": NUMBER, "below": NUMBER,
        "requests_at_least": Field("count", default=0), "not_looked_at": NOT_LOOKED_AT,
    },
    "baseline": {"metric": Field("name", required=True), "times": Field("number", required=True), "not_looked_at": NOT_LOOKED_AT},
    "host": {"resource": Field("word", RESOURCES, True), "above": Field("number", required=True)},
    "finding": {
        "kind": Field("names", default=[]), "name": Field("names", required=True), "health": Field("words", HEALTHS, default=["sick"]),
        "not_looked_at": NOT_LOOKED_AT,
    },
    "log": {
        "class": CLASS_LIST, "words": Field("texts", required=True), "at_least": Field("count", default=1), "not_looked_at": NOT_LOOKED_AT,
    },
    "change": {"kind": Field("words", CHANGES, True), "within_seconds": Field("count", required=True)},
    "type": {"id": Field("id", required=True), "verdict": Field("word", VERDICTS, default="confirmed")},
    "pattern": {"id": Field("id", required=True), "verdict": Field("word", VERDICTS, default="confirmed")},
    "nothing_looks_at": {},
}  # fmt: skip
ONE_OF: t.Mapping[str, tuple[str, ...]] = {"metric": ("above", "below")}
ALTERNATIVE = {"when": Field("conditions", required=True), "command": Field("command", default=""), "text": Field("text", default="")}
ENABLED = Field("bool", default=True)
SHAPES: t.Mapping[str, t.Mapping[str, Field]] = {
    "severities": {
        "level": Field("word", LEVELS, True), "name": Field("text", required=True), "meaning": Field("text", default=""),
        "respond_within_seconds": Field("count", required=True),
    },
    "rules": {
        "id": Field("id", required=True), "severity": Field("word", LEVELS, True), "text": Field("text", required=True),
        "when": Field("conditions", required=True), "enabled": ENABLED,
    },
    "depends": {
        "class": Field("word", CLASSES, True), "stands_on": Field("word", CLASSES, True),
        "where": Field("word", ("anywhere", "same_host"), default="anywhere"),
        "kinds": Field("names", default=[]), "symptoms": Field("names", default=[]),
        "suffers": Field("text", required=True), "still_works": Field("text", default=""),
    },
    "types": {
        "id": Field("id", required=True), "name": Field("text", required=True),
        "any_of": Field("alternatives", required=True), "enabled": ENABLED,
    },
    "patterns": {
        "id": Field("id", required=True), "name": Field("text", required=True), "any_of": Field("alternatives", required=True),
        "command": Field("command", default=""), "none": Field("text", default=""), "enabled": ENABLED,
    },
}  # fmt: skip


def validated(documents: t.Sequence[Document], playbooks: t.Collection[str] = ()) -> Rules:
    """Return {severities, rules, depends, types, patterns} of *documents*; a command may name one of *playbooks* (any where empty).

    depends is {class: [entries]}, and what is not enabled is left out. Raises StepError for rules that are wrong.
    """
    problems: list[str] = []
    merged: dict[str, dict[tuple[t.Any, ...], tuple[Document, Place, dict[str, t.Any]]]] = {name: {} for name in SECTIONS}
    for document in documents:
        check = _Check(document, playbooks, problems)
        for section, entries in check.sections().items():
            merged[section].update(entries)
    if not problems:
        _judge_references(merged, problems)
    if problems:
        more = "; and %s" % counted(len(problems) - MOST_SHOWN, "more problems") if len(problems) > MOST_SHOWN else ""
        raise StepError("; ".join(problems[:MOST_SHOWN]) + more, problems=problems[:MOST])
    return _plain({section: [entry for _document, _place, entry in entries.values()] for section, entries in merged.items()})


def _plain(sections: t.Mapping[str, t.List[dict[str, t.Any]]]) -> Rules:
    depends: dict[str, list[dict[str, t.Any]]] = {}
    for entry in sections["depends"]:
        depends.setdefault(str(entry["class"]), []).append(entry)
    kept = {name: [one for one in entries if one.get("enabled", True)] for name, entries in sections.items()}
    return {**kept, "depends": depends, "severities": sorted(kept["severities"], key=lambda one: str(one["level"]))}


def _judge_references(merged: t.Mapping[str, t.Mapping[tuple[t.Any, ...], tuple[Document, Place, t.Any]]], problems: list[str]) -> None:
    """Add a problem for each level without a severity, and each condition on a type or a pattern that does not exist."""
    missing = [level for level in LEVELS if (level,) not in merged["severities"]]
    if missing:
        problems.append("severities: %s not described; each of P0 to P3 has to be" % ", ".join(missing))
    for section in ("rules", "types", "patterns"):
        for document, place, entry in merged[section].values():
            for at, kind, options in _conditions_in(entry, place):
                known = {"type": ("types", ("patterns", "rules")), "pattern": ("patterns", ("rules",))}.get(kind)
                if known:
                    problems += _reference_problem(_Check(document, (), []), at, section, options["id"], known, merged)


def _reference_problem(
    check: _Check, at: Place, section: str, wanted: str, known: tuple[str, tuple[str, ...]], merged: t.Mapping[str, t.Mapping[t.Any, t.Any]]
) -> list[str]:
    where, users = known
    if section not in users:
        return [check.problem(at, "%s cannot ask for %s; only %s can" % (section, where, " and ".join(users)))]
    if (wanted,) in merged[where] and merged[where][(wanted,)][2].get("enabled", True):
        return []
    names = [str(key[0]) for key in merged[where]]
    return [check.problem(at, "no %s is called %s%s" % (where[:-1], wanted, _near(wanted, names)))]


def _conditions_in(entry: t.Mapping[str, t.Any], place: Place) -> t.Iterator[tuple[Place, str, t.Any]]:
    for index, condition in enumerate(entry.get("when") or []):
        for kind, options in condition.items():
            yield (*place, "when", index, kind), kind, options
    for index, alternative in enumerate(entry.get("any_of") or []):
        yield from _conditions_in(alternative, (*place, "any_of", index))


class _Check:
    """One document under check; what is wrong in it joins *problems*, and is left out of what is returned."""

    def __init__(self, document: Document, playbooks: t.Collection[str], problems: list[str]) -> None:
        self.document, self.playbooks, self.problems = document, playbooks, problems

    def problem(self, place: Place, text: str) -> str:
        """Return a sentence with the file and the line of *place*, or of what holds it."""
        lines = self.document.get("lines") or {}
        near = next((place[:size] for size in range(len(place), -1, -1) if pointer(place[:size]) in lines), ())
        return "%s:%s: %s" % (one_line(self.document.get("file"), 200), lines.get(pointer(near), 1), text)

    def wrong(self, place: Place, text: str) -> None:
        self.problems.append(self.problem(place, text))

    def sections(self) -> dict[str, dict[tuple[t.Any, ...], tuple[Document, Place, dict[str, t.Any]]]]:
        """Return the entries of each section by their key."""
        data = self.document.get("data")
        if data is None:
            return {}
        if not isinstance(data, dict):
            self.wrong((), "the file is %s; it must be a mapping with some of: %s" % (called(data), ", ".join(SECTIONS)))
            return {}
        found = {}
        for section, value in data.items():
            if section not in SECTIONS:
                self.unknown_key((section,), section, SECTIONS)
            else:
                found[section] = self.entries(section, value)
        return found

    def entries(self, section: str, value: t.Any) -> dict[tuple[t.Any, ...], tuple[Document, Place, dict[str, t.Any]]]:
        """Return the entries of one section by their key."""
        found: dict[tuple[t.Any, ...], tuple[Document, Place, dict[str, t.Any]]] = {}
        for place, item in self.items((section,), value, section):
            entry = self.mapping(place, item, SHAPES[section], "an entry of %s" % section)
            key = tuple(entry.get(name) for name in SECTIONS[section]) if entry else ()
            if entry is None or None in key:
                continue
            if key in found:
                first = (self.document.get("lines") or {}).get(pointer(found[key][1]), 1)
                words = " ".join(str(part) for part in key)
                self.wrong(
                    place, "%s is in this file twice (first in line %s); give one of them another %s" % (words, first, SECTIONS[section][0])
                )
            found[key] = (self.document, place, entry)
        return found

    def items(self, place: Place, value: t.Any, what: str) -> list[tuple[Place, t.Any]]:
        if not isinstance(value, list):
            self.wrong(place, "%s must be a list (lines that begin with '- '); it is %s" % (what, called(value)))
            return []
        if len(value) > MOST:
            self.wrong(place, "%s has %d entries; at most %d are allowed" % (what, len(value), MOST))
            return []
        return [((*place, index), item) for index, item in enumerate(value)]

    def unknown_key(self, place: Place, key: object, known: t.Iterable[str]) -> None:
        names = list(known)
        near = _near(str(key), names)
        self.wrong(place, "unknown key '%s'%s; known are: %s" % (one_line(key, 60), near, ", ".join(names)))

    def mapping(self, place: Place, value: t.Any, shape: t.Mapping[str, Field], what: str) -> t.Optional[dict[str, t.Any]]:
        """Return *value* with its defaults, None where it is no mapping."""
        if not isinstance(value, dict):
            self.wrong(place, "%s must be a mapping with: %s; it is %s" % (what, ", ".join(shape), called(value)))
            return None
        for key in value:
            if key not in shape:
                self.unknown_key((*place, key), key, shape)
        found: dict[str, t.Any] = {}
        for key, field in shape.items():
            if value.get(key) is not None:
                found[key] = self.field((*place, key), value[key], field, key)
            elif field.required:
                self.wrong((*place, key) if key in value else place, "%s has no '%s'; %s" % (what, key, wanted(field)))
            else:
                found[key] = field.default
        return found

    def field(self, place: Place, value: t.Any, field: Field, key: str) -> t.Any:
        """Return the value of one key as its kind wants it, None where it is wrong."""
        if field.kind == "conditions":
            return self.conditions(place, value)
        if field.kind == "alternatives":
            found = [self.mapping(at, item, ALTERNATIVE, "an entry of any_of") for at, item in self.some(place, value, "any_of")]
            return [one for one in found if one]
        if field.kind in LISTS:
            return self.words(place, value, field, key)
        problem = wrong_with(value, field, self.playbooks)
        if problem:
            self.wrong(place, "%s is %s; %s" % (key, called(value), problem))
            return None
        return float(value) if field.kind in ("number", "share") else value

    def some(self, place: Place, value: t.Any, what: str) -> list[tuple[Place, t.Any]]:
        if value == []:
            self.wrong(place, "%s is empty; it needs at least one entry" % what)
        return self.items(place, value, what)

    def words(self, place: Place, value: t.Any, field: Field, key: str) -> list[str]:
        """Return a list of words; one word alone is a list of one."""
        items = self.some(place, value, key) if isinstance(value, (list, dict)) else [(place, value)]
        one = Field(LISTS[field.kind], field.choices)
        for at, item in items:
            problem = wrong_with(item, one, ())
            if problem:
                self.wrong(at, "%s is %s; %s" % (key, called(item), problem))
        return [str(item) for _at, item in items]

    def conditions(self, place: Place, value: t.Any) -> list[dict[str, t.Any]]:
        """Return the conditions of a `when`, each a mapping with one key."""
        found = []
        for at, item in self.some(place, value, "when"):
            if not isinstance(item, dict) or len(item) != 1:
                given = called(item) if not isinstance(item, dict) else "%d keys" % len(item)
                self.wrong(at, "a condition has exactly one of: %s; it is %s" % (", ".join(CONDITIONS), given))
                continue
            kind, options = next(iter(item.items()))
            if kind not in CONDITIONS:
                self.unknown_key((*at, kind), kind, CONDITIONS)
            else:
                found.append({kind: self.condition((*at, kind), str(kind), options)})
        return found

    def condition(self, place: Place, kind: str, options: t.Any) -> t.Any:
        if not CONDITIONS[kind]:
            return self.field(place, options, Field("text"), kind)
        found = self.mapping(place, options, CONDITIONS[kind], kind) or {}
        one_of = ONE_OF.get(kind, ())
        if one_of and found and sum(found.get(key) is not None for key in one_of) != 1:
            self.wrong(place, "%s needs exactly one of: %s" % (kind, ", ".join(one_of)))
        return found


# kind of a list: the kind of its entries.
LISTS = {"words": "word", "names": "name", "texts": "text"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_ .:/-]{0,99}\Z")


def wrong_with(value: t.Any, field: Field, playbooks: t.Collection[str]) -> str:
    """Return what would be right for a single value, "" where it is."""
    if field.kind == "command":
        return _wrong_command(value, field, playbooks)
    is_right = RIGHT_TEXT[field.kind](value) if isinstance(value, str) and field.kind in RIGHT_TEXT else _is_right(value, field)
    return "" if is_right else wanted(field) + (_near(value, field.choices) if isinstance(value, str) else "")


def _wrong_command(value: t.Any, field: Field, playbooks: t.Collection[str]) -> str:
    name = COMMAND.match(value) if isinstance(value, str) else None
    if not name:
        return "" if value == "" else wanted(field)
    is_known = not playbooks or name[1] in playbooks
    return "" if is_known else "no playbook is called %s%s" % (name[1], _near(name[1], playbooks))


def _is_right(value: t.Any, field: Field) -> bool:
    """Return whether a value fits that is a boolean, one of some words, or a number."""
    if field.kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, str):
        return value in field.choices
    return field.kind in RIGHT_NUMBER and _is_number(value) and RIGHT_NUMBER[field.kind](value)


RIGHT_TEXT: t.Mapping[str, t.Callable[[str], bool]] = {
    "name": lambda value: NAME.match(value) is not None,
    "id": lambda value: ID.match(value) is not None,
    "text": lambda value: value.strip() != "" and len(value) <= 400,
}
RIGHT_NUMBER: t.Mapping[str, t.Callable[[float], bool]] = {
    "count": lambda value: value in range(10**9),
    "number": lambda value: -(10**15) <= value <= 10**15,
    "share": lambda value: 0 <= value <= 1,
    "hosts": lambda value: value in range(1, 10**6),
}


def wanted(field: Field) -> str:
    """Return what a field of this kind has to be."""
    choices = ", ".join(field.choices)
    return {
        "bool": "write true or false",
        "count": "write a whole number of 0 or more",
        "number": "write a number",
        "share": "write a share from 0 to 1 (0.05 is 5 %)",
        "hosts": "write any, all, some (at least one, not all) or a number of hosts",
        "word": "write one of: %s" % choices,
        "words": "write one or a list of: %s" % choices,
        "name": "write a name (letters, digits, _ . : / -), in quotes where YAML reads another thing",
        "names": "write one name or a list of names",
        "id": "write lower case letters, digits and _ (60 at most), a letter first",
        "text": "write a sentence of at most 400 characters, in quotes where it has a colon",
        "texts": "write one text or a list of texts",
        "command": "write a playbook's name in quotes and braces, such as '{recover_redis}'",
        "conditions": "write a list of conditions, all of which must hold",
        "alternatives": "write a list of entries with 'when', one of which must hold",
    }[field.kind]


def called(value: t.Any) -> str:
    """Return what a value of YAML is, for a person."""
    if isinstance(value, bool):
        return "the boolean %s" % str(value).lower()
    if isinstance(value, (int, float)):
        return "the number %s" % one_line(value, 40)
    if isinstance(value, str):
        return "'%s'" % one_line(value, 60)
    return {dict: "a mapping", list: "a list", type(None): "empty"}.get(type(value), "something else")


def pointer(place: Place) -> str:
    """Return the place of a value in its document as text, as the keys of `lines` have it."""
    return "/".join(str(part) for part in place)


def _near(word: str, known: t.Iterable[str]) -> str:
    close = difflib.get_close_matches(word[:80], list(known), 1)
    return " (did you mean %s?)" % close[0] if close else ""


def _is_number(value: t.Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and (isinstance(value, int) or math.isfinite(value))
