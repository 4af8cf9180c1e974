# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the words of the sound commands of an append-only file, and the words left of the first and last command of a damaged region.

Bounded in memory: keeps only the beginning of a long word.
"""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import CHUNK, OutOfTime

# Bytes kept of a word, and of a region at either end; key names are hardly ever longer.
WORD_BYTES = 4096
EDGE_BYTES = 16 * 1024
# Words kept of a command.
MOST_WORDS = 100_000
_HEAD = re.compile(rb"\*([1-9]\d{0,6})\r\n")
_WORD = re.compile(rb"\$(\d{1,10})\r\n")


class Remains(t.NamedTuple):
    """What is left of a damaged region: the word count and first words of its first command, the last words of its last one.

    ``text`` is the text at the ends of the region.
    """

    announced: int
    first: t.List[bytes]
    last: t.List[bytes]
    text: bytes


def worded(source: t.BinaryIO, start: int, stop: int, end: float) -> t.Iterator[list[bytes]]:
    """Yield the words of each command from *start* to *stop*, all of them sound. Raises OutOfTime."""
    buffer, base, at = b"", start, 0
    while base + at < stop:
        found = _command(buffer, at)
        if found is None:
            if time.monotonic() > end:
                raise OutOfTime
            buffer, base, at = buffer[at:], base + at, 0
            source.seek(base + len(buffer))
            more = source.read(min(max(CHUNK, len(buffer)), stop - base - len(buffer)))
            if not more:
                return
            buffer += more
            continue
        words, at = found
        if words:
            yield words


def _command(buffer: bytes, at: int) -> t.Optional[tuple[list[bytes], int]]:
    """Return (the words of the command at *at*, none for a note; where it ends), None if the buffer ends too early."""
    if buffer[at : at + 1] == b"#":
        ends = buffer.find(b"\n", at)
        return None if ends < 0 else ([], ends + 1)
    head = _HEAD.match(buffer, at)
    if not head:
        return None
    words: list[bytes] = []
    at = head.end()
    for _word in range(int(head.group(1))):
        word = _WORD.match(buffer, at)
        if not word:
            return None
        at = word.end() + int(word.group(1)) + 2
        if at > len(buffer):
            return None
        if len(words) < MOST_WORDS:
            words.append(buffer[word.end() : min(at - 2, word.end() + WORD_BYTES)])
    return words, at


def remains_of(source: t.BinaryIO, at: int, until: int) -> Remains:
    """Read what is left between *at*, where a command begins, and *until*, where a command ends."""
    source.seek(at)
    begin = source.read(min(EDGE_BYTES, until - at))
    source.seek(max(at, until - EDGE_BYTES))
    ending = source.read(min(EDGE_BYTES, until - at))
    head = _HEAD.match(begin)
    announced = int(head.group(1)) if head else 0
    first, stopped = _first(begin, head.end(), announced) if head else ([], 0)
    seen = max(0, stopped - max(0, until - at - EDGE_BYTES))
    return Remains(announced, first, _last(ending, seen), begin + ending)


def _first(text: bytes, at: int, most: int) -> tuple[list[bytes], int]:
    words: list[bytes] = []
    while len(words) < most:
        word = _WORD.match(text, at)
        ends = word.end() + int(word.group(1)) if word else 0
        if not word or text[ends : ends + 2] != b"\r\n":
            break
        words.append(text[word.end() : min(ends, word.end() + WORD_BYTES)])
        at = ends + 2
    return words, at


def _last(text: bytes, start: int) -> list[bytes]:
    """Return the longest run of words that ends with *text*."""
    for begin in _WORD.finditer(text, start):
        words, at = _first(text, begin.start(), MOST_WORDS)
        if words and at == len(text):
            return words
    return []
