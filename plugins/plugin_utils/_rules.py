# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the rules of triage from YAML files, with the line of every value, so that a wrong rule can be named by file and line.

Only plain data is read: no anchors, aliases or tags (a small file could stand for a huge one), and nothing is templated. Size and depth
are limited before anything is built.
"""

from __future__ import annotations

import math
import os
import re
import stat
import typing as t

import yaml

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.rules import Rules, pointer, validated

DEFAULT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "roles", "triage", "files", "rules.yml"))
MOST_BYTES, MOST_DEPTH, MOST_NODES = 256 * 1024, 12, 20000
LOADER: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NUMBER = re.compile(r"[-+]?(\d{1,15}(\.\d{1,15})?|\.\d{1,15})([eE][-+]?\d{1,2})?\Z")
PLAIN: t.Mapping[str, t.Any] = {"true": True, "false": False, "null": None, "~": None, "": None}


def load_rules(own_file: str = "", playbooks: t.Collection[str] = (), default_file: str = DEFAULT) -> Rules:
    """Return the rules of *default_file*, changed by those of *own_file* (triage_rules_file; "" for none). Raises StepError."""
    files = [default_file, *([os.path.expanduser(own_file)] if own_file else [])]
    return validated([read_document(path) for path in files], playbooks)


def read_document(path: str) -> dict[str, t.Any]:
    """Return {file, data, lines} of one YAML file; raises StepError with file and line for what is none."""
    text = _text_of(path)
    try:
        _judge_size(text)
        loader = LOADER(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        lines: dict[str, int] = {}
        return {"file": path, "data": _plain(node, (), lines) if node is not None else None, "lines": lines}
    except _Wrong as error:
        raise StepError("%s:%d: %s" % (one_line(path, 200), error.line, error)) from None
    except yaml.YAMLError as error:
        raise StepError("%s:%d: not YAML: %s" % (one_line(path, 200), *_told(error, text))) from None


class _Wrong(Exception):
    """What is wrong with a line."""

    def __init__(self, mark: t.Any, text: str) -> None:
        super().__init__(text)
        self.line = int(mark.line) + 1


def _text_of(path: str) -> str:
    shown = one_line(path, 200)
    try:
        # Without blocking, because a pipe of that name would never end.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StepError("%s is not a plain file: set triage_rules_file to a YAML file" % shown)
            found = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StepError("%s cannot be read (%s): correct triage_rules_file" % (shown, one_line(why, 80))) from None
    if len(found) > MOST_BYTES:
        raise StepError("%s is larger than %d KiB: no file of rules is; correct triage_rules_file" % (shown, MOST_BYTES // 1024))
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = found[: error.start].count(b"\n") + 1
        raise StepError("%s:%d: not UTF-8 text: write it in UTF-8" % (shown, line)) from None


def _judge_size(text: str) -> None:
    """Raise for what is not plain, too deep or too much, event by event: nothing of it is built yet."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Wrong(event.start_mark, "anchors and aliases (&, *) are not allowed: write the value out, or in quotes if it is text")
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if getattr(event, "tag", None):
                raise _Wrong(event.start_mark, "tags (!) are not allowed: write plain data, or in quotes if it is text")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise _Wrong(event.start_mark, "it is nested more than %d deep; no rule is" % MOST_DEPTH)
        if nodes > MOST_NODES:
            raise _Wrong(event.start_mark, "it has more than %d values: split it, or leave out what is not needed" % MOST_NODES)


def _plain(node: t.Any, place: tuple[t.Any, ...], lines: dict[str, int]) -> t.Any:
    """Return plain data of a node, and note the line of each of its values."""
    lines[pointer(place)] = int(node.start_mark.line) + 1
    if isinstance(node, yaml.SequenceNode):
        return [_plain(one, (*place, index), lines) for index, one in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    found: dict[str, t.Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Wrong(key.start_mark, "a key must be a word; if this is text with braces, put it in quotes")
        name = str(key.value)
        if name in found:
            first = lines[pointer((*place, name))]
            raise _Wrong(key.start_mark, "the key '%s' is in this mapping twice (first in line %d)" % (one_line(name, 60), first))
        found[name] = _plain(value, (*place, name), lines)
        lines[pointer((*place, name))] = int(key.start_mark.line) + 1
    return found


def _scalar(node: t.Any) -> t.Any:
    """Return text, a number, true, false or nothing; whatever else YAML would make of it (dates, yes, octal numbers) stays text."""
    text = str(node.value)
    if node.style in ("'", '"', "|", ">"):
        return text
    if text.lower() in PLAIN:
        return PLAIN[text.lower()]
    if not NUMBER.match(text):
        return text
    number = float(text)
    return text if not math.isfinite(number) else int(text) if re.fullmatch(r"[-+]?\d+", text) else number


def _told(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Return the line that is not YAML, and why."""
    if isinstance(error, yaml.reader.ReaderError):
        return text[: int(error.position)].count("\n") + 1, "the character U+%04X is not allowed" % int(error.character)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    told = [getattr(error, name, None) for name in ("context", "problem")]
    said = ", ".join(one_line(one, 100) for one in told if one) or one_line(error, 160)
    return (int(mark.line) + 1 if mark else 1), said
