# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first screen of a triage: a report in, lines out. The verdict comes first, then what is not well, then the next command.

A line is (text, tone): the tone is a health, ``faint``, ``command`` or "". No line but a command is wider than *width*; a command is never
cut nor broken. The text alone says everything: a tone only becomes a colour, on a terminal that has any.
"""

from __future__ import annotations

import textwrap
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import parts as p

Line = t.Tuple[str, str]

WIDTH, HEIGHT, LABEL = 100, 36, 10
# How many items of a part are shown, and how many lines a text may take: the first row of the table that fits on the screen. What is less
# important goes first: "full" is for what is not well, for whom, why that is so bad and what a command will not do, and is cut last.
CAPS: t.Tuple[t.Mapping[str, int], ...] = (
    {"rows": 12, "next": 3, "why": 6, "changes": 8, "at_work": 6, "unseen": 8, "any": 4, "lines": 3, "full": 3},
    {"rows": 9, "next": 3, "why": 5, "changes": 5, "at_work": 4, "unseen": 5, "any": 3, "lines": 2, "full": 3},
    {"rows": 8, "next": 2, "why": 4, "changes": 3, "at_work": 3, "unseen": 3, "any": 2, "lines": 2, "full": 3},
    {"rows": 6, "next": 2, "why": 3, "changes": 2, "at_work": 2, "unseen": 2, "any": 2, "lines": 2, "full": 3},
    {"rows": 6, "next": 2, "why": 3, "changes": 2, "at_work": 2, "unseen": 2, "any": 2, "lines": 1, "full": 3},
    {"rows": 5, "next": 1, "why": 2, "changes": 2, "at_work": 2, "unseen": 2, "any": 1, "lines": 1, "full": 3},
    {"rows": 4, "next": 1, "why": 2, "changes": 1, "at_work": 1, "unseen": 1, "any": 1, "lines": 1, "full": 3},
    {"rows": 4, "next": 1, "why": 2, "changes": 1, "at_work": 1, "unseen": 1, "any": 1, "lines": 1, "full": 2},
    {"rows": 4, "next": 1, "why": 1, "changes": 1, "at_work": 1, "unseen": 1, "any": 1, "lines": 1, "full": 1},
)
# Where nothing is wrong, a few lines are enough.
CALM = 2
MORE = "and %d more: see the JSON report"


def screen_lines(report: t.Mapping[str, t.Any], width: int = WIDTH, file: str = "") -> t.List[Line]:
    """Return the first screen; *file* is where the JSON report was written."""
    lines: t.List[Line] = []
    parts = p.parts_of(report)
    for caps in CAPS[CALM if p.verdict_of(report) == "well" else 0 :]:
        lines = _drawn(report, parts, max(width, 40), caps, file)
        if height_of(lines, width) <= HEIGHT:
            break
    return lines


def height_of(lines: t.Iterable[Line], width: int) -> int:
    """Return how many lines of a terminal these take: it breaks a long command by itself, and copies it whole."""
    return sum(max(1, -(-len(text) // width)) for text, _tone in lines)


def _drawn(report: t.Mapping[str, t.Any], parts: t.Sequence[p.Part], width: int, caps: t.Mapping[str, int], file: str) -> t.List[Line]:
    lines = _headline(report, width, caps)
    for part in parts:
        draw = {"components": _components, "next": _next}.get(part.key, _plain)
        lines += draw(part, width, caps)
    if any(MORE.partition("%d")[2] in text for text, _tone in lines):
        where = file or "not written; -e triage_report_file=PATH writes it"
        lines += _item("Report", "JSON report: %s" % where, "faint", width, 2)
    return lines


def _headline(report: t.Mapping[str, t.Any], width: int, caps: t.Mapping[str, int]) -> t.List[Line]:
    verdict = p.verdict_of(report)
    front = "  ".join(part for part in (verdict.upper(), p.level_of(report)) if part) + "  "
    return [(text, verdict) for text in _laid(front, p.headline_of(report), width, max(caps["full"], 2))]


def _plain(part: p.Part, width: int, caps: t.Mapping[str, int]) -> t.List[Line]:
    """Draw a part with its title beside its items."""
    most, lines = caps.get(part.key, caps["any"]), []
    for turn, item in enumerate(part.items[:most]):
        size = caps["full" if part.key in ("impact", "why") and not item.tone else "lines"]
        lines += _item(part.title if turn == 0 else "", item.text, item.tone, width, size)
    return lines + _more(len(part.items) - most, width)


def _components(part: p.Part, width: int, caps: t.Mapping[str, int]) -> t.List[Line]:
    """Draw a row for each component, in columns as wide as these rows need."""
    shown = part.rows[: caps["rows"]]
    rest = [item.text for item in part.items]
    lines: t.List[Line] = [("", ""), (_fit("%s%s" % (part.title, " (%s)" % rest[0] if rest else ""), width), "")]
    wide = [min(22, max(len(cell) for cell in column)) for column in zip(*((row.name, row.where, row.state) for row in shown))]
    for row in shown:
        cells = [_fit(cell, size).ljust(size) for cell, size in zip((row.name, row.where, row.state), wide) if size]
        front = "  %-7s  %s  " % (row.health.upper(), "  ".join(cells))
        odd = " (%s)" % row.odd if row.odd else ""
        lines += [(text, row.health) for text in _laid(front, p.joined(row.text, p.some_of(row)), width, caps["full"], odd)]
    return [*lines, *_more(len(part.rows) - len(shown), width), ("", "")]


def _next(part: p.Part, width: int, caps: t.Mapping[str, int]) -> t.List[Line]:
    """Draw each next step: what it does and will not do, and below it the command, whole and from the first column on."""
    most, commands = caps["next"], sum(1 for item in part.items if item.command)
    lines: t.List[Line] = [("", "")]
    for turn, item in enumerate(part.items[:most]):
        count = "%d. " % (turn + 1) if commands > 1 and item.command else ""
        lines += _item(part.title if turn == 0 else "", count + (item.text or "Run this"), item.tone, width, caps["full"])
        lines += _item("", item.wont, "", width, caps["full"]) if item.wont else []
        lines += [(item.command, "command")] if item.command else []
    return [*lines, *_more(len(part.items) - most, width), ("", "")]


def _more(count: int, width: int) -> t.List[Line]:
    return _item("", MORE % count, "faint", width, 1) if count > 0 else []


def _item(title: str, text: str, tone: str, width: int, most: int) -> t.List[Line]:
    return [(line, tone) for line in _laid("%-*s" % (LABEL, _fit(title, LABEL - 1)), text, width, most)]


def _laid(front: str, text: str, width: int, most: int, end: str = "") -> t.List[str]:
    """Return *text* with *end*, which is never cut, beside *front*, on at most *most* lines; what was cut is shown by an ellipsis."""
    room = max(20, width - len(front))
    lines = _wrapped(text + end, room)
    while len(lines) > most and text:
        # Each turn takes about half of what is too much, and at least one character.
        text = text[: len(text) - max(1, sum(map(len, lines[most:])) // 2)].rstrip(" .,;:")
        lines = _wrapped((text and text + "…") + end, room)
    gap = " " * len(front)
    return [_fit((front if turn == 0 else gap) + line, width).rstrip() for turn, line in enumerate(lines)]


def _wrapped(text: str, room: int) -> t.List[str]:
    return textwrap.wrap(text, room, break_on_hyphens=False) or [""]


def _fit(text: str, size: int) -> str:
    return text if len(text) <= size else text[: max(size - 1, 0)] + "…"
