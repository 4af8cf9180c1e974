# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first error with the lines beside it. Reads again only until it is found."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.scan import Long, lines_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.sources import Part, Trouble, chunks_of

BESIDE = 5
_SHOWN = 2000


def load_beside(part: Part, line: bytes, end: float) -> tuple[list[bytes], list[bytes], bool]:
    """Return (lines before *line* in *part*, lines after it, whether it was found), reading until *end* (of the monotonic clock)."""
    before: collections.deque[bytes] = collections.deque(maxlen=BESIDE)
    after: list[bytes] = []
    found = False
    for block in lines_of(chunks_of(part, Trouble(), end), (line,)):
        if isinstance(block, Long):
            block = block.head
        lines, at = (None, -1) if found else _placed(block, line)
        if found:
            after += _first(block, BESIDE - len(after))
        elif at < 0:
            before.extend(_last(block))
        else:
            found = True
            lines = t.cast("list[bytes]", lines)
            before.extend(lines[:at])
            after += lines[at + 1 : at + 1 + BESIDE]
        if len(after) >= BESIDE:
            break
    return [one[:_SHOWN] for one in before], [one[:_SHOWN] for one in after], found


def _split(block: bytes) -> list[bytes]:
    return block[:-1].split(b"\n") if block.endswith(b"\n") else block.split(b"\n")


def _first(block: bytes, count: int) -> list[bytes]:
    return block.split(b"\n", count)[:count] if block.count(b"\n", 0, 1 << 16) > count else _split(block)[:count]


def _last(block: bytes) -> list[bytes]:
    return (block[:-1] if block.endswith(b"\n") else block).rsplit(b"\n", BESIDE)[-BESIDE:]


def _placed(block: bytes, line: bytes) -> tuple[t.Optional[list[bytes]], int]:
    """Return (lines of *block*, the number of the one that begins or, after Docker's time, ends with *line*); (None, -1) without one."""
    if line not in block:
        return None, -1
    lines = _split(block)
    return lines, next((number for number, one in enumerate(lines) if one.startswith(line) or one.endswith(b" " + line)), -1)
