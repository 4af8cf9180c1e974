# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the damaged places of an append-only file: which commands are sound, where they resume, how many a region held.

It steps over a word that ends where its length says, so that text inside a value is not read as commands.
"""

from __future__ import annotations

import functools
import itertools
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.effects import KNOWN
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import (
    CHUNK,
    NEXT_COMMAND,
    SMALL,
    OutOfTime,
    commands_of,
    scan_resp,
)

Command = t.Tuple[int, int, bytes, t.Optional[float]]

# Bytes of the shortest command that changes anything: DEL of an empty key.
SHORTEST = 19
# Fewer commands around a region do not show how short one may be.
ALIKE = 8
# Bytes of the shortest word and of the shortest command beside it: in fewer than that only a word can be hidden.
ROOM = 25
# Longer commands are not followed word by word.
MOST_WORDS = 100
# Least share of the bytes of the shortest of them that a lost one is taken to have.
SLACK = 0.75
# Bytes of a SELECT of a database with one digit.
SELECT_BYTES = 23
# How every mark begins. Searching for this first is ten times faster.
_BEGIN = re.compile(rb"[*$#][0-9T]")
# A word's length; a note of the time; a command without data or the name of one; the head of any other command.
_MARK = re.compile(
    rb"(?P<note>#TS:\d{1,13}\r\n)"
    rb"|(?P<bare>\*1\r\n(?:\$4\r\n.{4}|\$5\r\n.{5})\r\n|(?:\*[12]\r\n)?\$(?:4\r\n(?i:exec)|5\r\n(?i:multi)|6\r\n(?i:select))\r\n)"
    rb"|\*(?P<head>[1-9]\d{0,6})\r\n"
    rb"|\$(?P<word>\d{1,10})\r\n",
    re.DOTALL,
)
_HEAD = re.compile(rb"\*([1-9]\d{0,6})\r\n")
_WORD = re.compile(rb"\$(\d{1,10})\r\n")
_MARK_BYTES = 64  # no mark is longer


class _Mark(t.NamedTuple):
    """What can be read at a place: note, bare (a command without data), head or word; a head has a number of words."""

    kind: str
    at: int
    length: int
    words: int = 0


@functools.lru_cache(maxsize=256)
def misspelt(name: bytes) -> bool:
    """Return whether *name* is a Redis command with one wrong letter, which Redis would refuse to load."""
    if name in KNOWN:
        return False
    return any(len(known) == len(name) and sum(a != b for a, b in zip(known, name)) == 1 for known in KNOWN)


def sound_commands(source: t.BinaryIO, size: int, end: float, start: int) -> t.Iterator[Command]:
    """Yield the commands from *start* to the first damage, the last one only if it is not damaged itself. Raises OutOfTime.

    A command whose word count is too small ends well, but then a word follows that belongs to no command. A star that became
    a number sign turns the head of a command into a note.
    """
    held: t.Optional[Command] = None
    for one in commands_of(source, size, end, start):
        if held:
            yield held
        held = None if misspelt(one[2]) else one
        if not held:
            return
    if not held:
        return
    source.seek(held[0] + held[1])
    after = source.read(1)
    if not after or not (after == b"$" or (held[2] == b"#" and held[3] is None)):
        yield held


def next_command(source: t.BinaryIO, size: int, start: int, end: float) -> int:
    """Return where the next complete command begins at or after *start*, outside of any word; *size* for none. Raises OutOfTime."""
    for mark in _marks(source, start, size, end):
        if mark.kind in ("head", "bare") and _begins_here(source, mark.at, size, end):
            return mark.at
    return size


def ends_a_value(source: t.BinaryIO, at: int) -> bool:
    """Return whether a value ends at *at*: then the bytes before it were text in that value, not a command."""
    source.seek(at)
    after = source.read(3)
    return after[:2] == b"\r\n" and after[2:] in (b"*", b"$", b"#", b"")


def commands_in(source: t.BinaryIO, at: int, until: int, size: int, near: t.Sequence[int], end: float) -> tuple[int, bool]:
    """Return (how many data commands the region from *at* to *until* held, whether that is certain; else it is the most it can be).

    It is certain only where each of them can still be read: its head, and each word but one that leaves no room for another command.
    *near* are the lengths of commands before and after: none that is lost is taken to be much shorter. Raises OutOfTime.
    """
    if until >= size and scan_resp(source, size, end, at, most=1).problem == "cut":
        return _torn_end(source, at)
    ends = announced_end(source, at, until)
    if ends == until:
        return 1, True
    if ends:
        rest, exact = commands_in(source, ends, until, size, near, end)
        return 1 + rest, exact
    if _lacks_one_word(source, at, until, end):
        return 1, True
    shortest = max(SHORTEST, int(min(near) * SLACK)) if len(near) >= ALIKE else SHORTEST
    return 1 + (until - at - 1) // shortest, False


def _lacks_one_word(source: t.BinaryIO, at: int, until: int, end: float) -> bool:
    """Return whether the region is one command of which all can be read but one word. Raises OutOfTime."""
    source.seek(at)
    # A wrong length steps over the heads of commands.
    if until - at > SMALL or len(_HEAD.findall(source.read(until - at))) != 1:
        return False
    marks = list(itertools.islice(_marks(source, at, until, end), MOST_WORDS))
    if not marks or marks[0].kind != "head" or marks[0].at != at or any(mark.kind != "word" for mark in marks[1:]):
        return False
    if len(marks) != marks[0].words:
        return False
    ends = [mark.at + mark.length for mark in marks]
    gaps = [one - other for one, other in zip([mark.at for mark in marks[1:]] + [until], ends) if one > other]
    return len(gaps) == 1 and gaps[0] < ROOM


def announced_end(source: t.BinaryIO, at: int, until: int) -> int:
    """Return where the command at *at* ends, going by the length of its last word, if only that word is damaged; else 0."""
    source.seek(at)
    text = source.read(min(SMALL, until - at))
    head = _HEAD.match(text)
    if not head:
        return 0
    place, left = head.end(), int(head.group(1))
    while left:
        word = _WORD.match(text, place)
        if not word:
            return 0
        place, left = word.end() + int(word.group(1)) + 2, left - 1
        if text[place - 2 : place] != b"\r\n":
            break
    # A wrong length would step over commands.
    inside = _HEAD.search(text, head.end(), place)
    return at + place if not left and place <= len(text) and not inside else 0


def _torn_end(source: t.BinaryIO, at: int) -> tuple[int, bool]:
    """Return (how many data commands a command is that the end of the file cuts, whether that is certain)."""
    source.seek(at)
    text = source.read(18).lower()
    if text[:7] in (b"*1\r\n$4\r", b"*1\r\n$5\r") or text == b"*2\r\n$6\r\nselect\r\n":
        return 0, True
    # Cut so early that its name may be that of a command without data.
    return 1, len(text) == 18 or text[:1] == b"*" and text[1:2] not in (b"", b"1", b"2")


def _begins_here(source: t.BinaryIO, at: int, size: int, end: float) -> bool:
    source.seek(at)
    if not NEXT_COMMAND.match(source.read(512)):
        return False
    return next(sound_commands(source, size, end, at), None) is not None


def _marks(source: t.BinaryIO, start: int, stop: int, end: float) -> t.Iterator[_Mark]:
    """Yield what can be read from *start* to *stop*, stepping over words. Raises OutOfTime."""
    position = start
    while position < stop:
        if time.monotonic() > end:
            raise OutOfTime
        source.seek(position)
        chunk = source.read(min(CHUNK, stop - position))
        if not chunk:
            return
        is_last = len(chunk) < CHUNK or position + len(chunk) >= stop
        position = yield from _marks_of(source, chunk, position, stop, is_last)


def _marks_of(source: t.BinaryIO, chunk: bytes, base: int, stop: int, is_last: bool) -> t.Generator[_Mark, None, int]:
    """Yield the marks of one chunk; return where the next chunk begins, past a word that extends beyond this one."""
    # A mark that spans two chunks is read with the second.
    limit, at = len(chunk) if is_last else len(chunk) - _MARK_BYTES, 0
    while at < limit:
        begin = _BEGIN.search(chunk, at)
        if not begin or begin.start() >= limit:
            break
        match = _MARK.match(chunk, begin.start())
        mark = _mark(source, match, base, stop) if match else None
        at = begin.start() + (mark.length if mark else 1)
        if mark:
            yield mark
    return base + max(at, limit)


def _mark(source: t.BinaryIO, match: t.Match[bytes], base: int, stop: int) -> t.Optional[_Mark]:
    kind, at, length = str(match.lastgroup), base + match.start(), len(match.group(0))
    if kind == "head":
        return _Mark(kind, at, length, int(match.group("head")))
    if kind != "word":
        return _Mark(kind, at, length)
    length += int(match.group("word")) + 2
    # Only what follows a word proves that it ends here.
    closes = at + length <= stop and ends_a_value(source, at + length - 2)
    return _Mark(kind, at, length) if closes else None
