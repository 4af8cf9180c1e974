# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A triage as Markdown to paste into a chat or an issue: the same parts as the screen, each command in a fenced block.

What is not plainly a sentence (a name with a dot, an address, a mark of Markdown, HTML, a chat or a forge) goes into a code span: there no
viewer makes a link, an image, a mention or a tag of it.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import parts as p

# Items of a part, and rows of components: a message that nobody reads to its end helps nobody.
MOST = 10
# Letters, digits and the marks of a sentence; an underscore only inside a word; no name with a dot that a chat makes a link of.
PLAIN = re.compile(r"(?:[^\W_]|(?<=[^\W_])_(?=[^\W_])|[ .,;:'\"/%=+()?-])*\Z")
LINKED = re.compile(r"(?i)://|\bwww\.|[^\W_]\.[a-z]{2,}|\bGH-\d|:[a-z+-][\w+-]*:|^\s*[/=+-]|^\s*\d+[.)]|--")


def as_markdown(report: t.Mapping[str, t.Any]) -> str:
    """Return the report as a short message."""
    level = p.level_of(report)
    front = "%s%s" % (p.verdict_of(report).upper(), ", %s" % literal(level) if level else "")
    blocks = ["**%s**: %s" % (front, literal(p.headline_of(report)))]
    for part in p.parts_of(report):
        blocks.append("\n".join(_next(part) if part.key == "next" else _plain(part)))
    return "\n\n".join(block for block in _tightened(blocks) if block) + "\n"


def _tightened(blocks: t.Sequence[str]) -> t.List[str]:
    """Join the blocks that are one list."""
    lines: t.List[str] = []
    for block in blocks:
        if lines and block.startswith("- ") and lines[-1].startswith("- "):
            lines[-1] += "\n" + block
        else:
            lines.append(block)
    return lines


def _plain(part: p.Part) -> t.List[str]:
    """Return a part as one item of a list, or as a list below its title."""
    texts = [literal(item.text) for item in part.items]
    rows = [_row(row) for row in part.rows]
    if not rows and len(texts) == 1:
        return ["- **%s**: %s" % (literal(part.title), texts[0])]
    counted = " (%s)" % texts[0] if rows and texts else ""
    many = rows or texts
    more = ["  - and %d more: see the JSON report" % (len(many) - MOST)] if len(many) > MOST else []
    return ["- **%s**%s:" % (literal(part.title), counted), *("  - %s" % one for one in many[:MOST]), *more]


def _row(row: p.Row) -> str:
    place = " on %s" % literal(row.where) if row.where else ""
    found = p.joined(row.text, p.some_of(row))
    state = ", %s" % literal(row.state) if row.state else ""
    text = ": %s" % literal(found) if found else ""
    return "%s %s%s%s%s (%s)" % (row.health.upper(), literal(row.name), place, state, text, literal(row.seen))


def _next(part: p.Part) -> t.List[str]:
    """Return each next step with its command in a block of its own."""
    lines = []
    for turn, item in enumerate(part.items[:MOST]):
        wont = " %s." % literal(item.wont.rstrip(".")) if item.wont else ""
        lines.append("%s**%s**: %s.%s" % ("\n" if turn else "", part.title, literal(item.text.rstrip(".") or "Run this"), wont))
        lines += ["", *fenced(item.command)] if item.command else []
    more = len(part.items) - MOST
    return lines + (["", "and %d more: see the JSON report" % more] if more > 0 else [])


def fenced(text: str) -> t.List[str]:
    """Return a text as a block of code, fenced by more backticks than it has in a row."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [fence, text, fence]


def literal(text: str) -> str:
    """Return a text that every viewer of Markdown shows as it is."""
    if not text or (PLAIN.match(text) and not LINKED.search(text)):
        return text
    tick = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    # A space beside a backtick at either end is taken off by the viewer.
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return "%s%s%s%s%s" % (tick, pad, text, pad, tick)
