# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads metrics in the text formats of Prometheus and OpenMetrics: samples with their labels, and the lines that are none.

A sample may have a time of its own, and in OpenMetrics an exemplar behind ``#``, which is not its value. Never raises.
"""

from __future__ import annotations

import re
import typing as t

_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
# One item between braces: a label with its value, or (in quotes, first) the name of the metric; then a comma or the end.
_ITEM = re.compile(r"[ \t]*(?:([A-Za-z_][A-Za-z0-9_]*)|%s)[ \t]*(=[ \t]*%s)?[ \t]*(,|(?=\}))" % (_QUOTED, _QUOTED))
_CLOSED = re.compile(r"[ \t]*\}")
# What follows: value, time, exemplar.
_REST = re.compile(r"[ \t]*([^\s#]+)(?:[ \t]+([^\s#]+))?[ \t]*(?:#[ \t]*\{.*)?\Z")
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"n": "\n", '"': '"', "\\": "\\"}


class Sample(t.NamedTuple):
    """One sample; ``at`` is its own time in epoch seconds, None where it has none."""

    name: str
    labels: t.Mapping[str, str]
    value: float
    at: t.Optional[float]


def parse(text: str) -> tuple[list[Sample], list[str]]:
    """Return the samples of an exposition, and the lines that are neither a sample nor a comment."""
    # A carriage return or another separator of lines belongs to a label, as in the format.
    lines = text.split("\n")
    is_open = any(line.rstrip() == "# EOF" for line in lines[-3:])
    samples: list[Sample] = []
    unread: list[str] = []
    for line in lines:
        line = line.strip(" \t\r")
        if line and not line.startswith("#"):
            sample = _sample(line, 1.0 if is_open else 1000.0)
            if sample is None:
                unread.append(line)
            else:
                samples.append(sample)
    return samples, unread


def name_in(line: str) -> str:
    """Return the name with which a line begins that could not be read, "" for none."""
    found = _NAME.match(line)
    return found[0] if found else ""


def _sample(line: str, per_second: float) -> t.Optional[Sample]:
    name, at = name_in(line), len(name_in(line))
    labels: t.Optional[dict[str, str]] = {}
    opened = re.compile(r"[ \t]*\{").match(line, at)
    if opened:
        name, labels, at = _labels(line, name, opened.end())
    elif line[at : at + 1] not in (" ", "\t"):
        return None
    rest = _REST.match(line, at)
    if not name or labels is None or rest is None:
        return None
    value, own = number_of(rest[1]), number_of(rest[2]) if rest[2] else None
    if value is None or (rest[2] and own is None):
        return None
    return Sample(name, labels, value, None if own is None else own / per_second)


def _labels(line: str, name: str, at: int) -> tuple[str, t.Optional[dict[str, str]], int]:
    """Return (name, labels, where they end); None for labels that cannot be read."""
    labels: dict[str, str] = {}
    while True:
        closed = _CLOSED.match(line, at)
        if closed:
            return name, labels, closed.end()
        item = _ITEM.match(line, at)
        if item is None:
            return name, None, at
        key = item[1] if item[1] is not None else _plain(item[2])
        if item[3] is None:
            # A name in quotes, as newer expositions write one that is no plain word.
            if name or labels or item[1] is not None:
                return name, None, at
            name = key
        elif key in labels:
            return name, None, at
        else:
            labels[key] = _plain(item[4])
        at = item.end()


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[0]), text)


def number_of(text: str) -> t.Optional[float]:
    """Return a number as the format writes it, infinities and NaN included; None for anything else."""
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None
