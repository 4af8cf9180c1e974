# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds where the entries of a damaged RDB resume. Nothing in an RDB marks the start of an entry, so many places look like one.

A place is believed if several entries or the end of the file follow it. A reading that begins wrong soon falls into step with the right
one: of two readings, the one that steps over many entries of the other is wrong; otherwise only what all readings agree on is used.
"""

from __future__ import annotations

import bisect
import itertools
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import CHUNK, RDB_EOF_BYTES
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import (
    HEAD_BYTES,
    RESIZEDB,
    SINCE,
    Broken,
    Cursor,
    Item,
    version_of,
)

# Entries that must follow a place before it is believed.
BELIEVED = 8
# Only longer entries are searched for others, in bytes.
LONG = 64
# Borders that are compared with those of another reading.
_BORDERS = 4 * BELIEVED
# How often a better reading is searched for.
_TURNS = 50
_DATABASES = 1 << 16
# Below this version of the format a number in the head may as well be damaged.
_KNOWN = 9
# Items before the first database of a file.
_HEAD = 1000
# What an entry can begin with: a type or an opcode, but not a run of zeros, which would read as keys without name and value.
_BEGIN = re.compile(rb"(?!\0\0\0)[\0-\x05\x07\x09-\x19\xf4-\xfe]")
_Borders = t.List[int]


class Ends(Broken):
    """There is an end marker before the end of the file."""


class Order:
    """What may follow what. In damaged bytes a mark reads as readily as a key, and Redis ends on one that is out of place."""

    def __init__(self, version: int, sizes: bool = True, after_keys: bool = False) -> None:
        """*version*: of the format, 0 for unknown; *sizes*: whether the sizes of each database follow its number; *after_keys*: whether
        the head of the file, before the first database, is over."""
        self.version, self.sizes, self.after_keys, self.before = version, sizes, after_keys, ""

    def fresh(self) -> Order:
        """Return the same for what follows a damaged place."""
        return Order(self.version, self.sizes, self.after_keys)

    def check(self, item: Item, cursor: Cursor) -> None:
        """Raise Broken for an item that cannot be there; the cursor is behind it, and stays there."""
        before, self.before = self.before, item.kind
        if item.kind == "select" and not (0 <= item.value < _DATABASES and (not self.sizes or resized(cursor))):
            raise Broken("selects an impossible database")
        if item.kind == "resize" and (before != "select" or item.value[1] > item.value[0]):
            raise Broken("the size of no database")
        if item.kind in ("aux", "function") and self.after_keys:
            raise Broken("belongs to the head")
        if item.kind == "key" and SINCE.get(item.type, 0) > self.version >= _KNOWN:
            raise Broken("a type that is newer than the file")
        self.after_keys = self.after_keys or item.kind in ("select", "key")


def resized(cursor: Cursor) -> bool:
    """Return whether the sizes of a database follow; the cursor stays where it is."""
    at = cursor.at
    try:
        return cursor.byte() == RESIZEDB
    finally:
        cursor.go(at)


def order_of(source: t.BinaryIO, size: int, end: float) -> Order:
    """Return the order of one file as its head shows it: every Redis since 3.2 writes the sizes of a database behind its number."""
    cursor = Cursor(source, size, end)
    cursor.go(HEAD_BYTES)
    try:
        kinds = iter(lambda: cursor.item().kind, "eof")
        found = next((kind for kind in itertools.islice(kinds, _HEAD) if kind in ("select", "key")), "")
        return Order(version_of(source), found != "select" or resized(cursor))
    except Broken:
        return Order(version_of(source))


def next_item(cursor: Cursor, order: Order) -> Item:
    """Return the next item of the file. Raises Broken for one that cannot be there."""
    item = cursor.item()
    if item.kind == "eof" and item.at not in (cursor.size - RDB_EOF_BYTES, cursor.size - 1):
        raise Ends("ends before the file does")
    order.check(item, cursor)
    return item


class Search:
    """Searches one file for places where entries resume. Methods raise OutOfTime."""

    def __init__(self, source: t.BinaryIO, size: int, end: float) -> None:
        self.source, self.size = source, size
        self.trial = Cursor(source, size, end)
        self.order = order_of(source, size, end)
        self.last = 0

    def place(self, start: int, failed: int, read: t.Sequence[Item]) -> int:
        """Return the first place from *start* where entries begin that continue beyond *failed*, the file size for none.

        *read* are the last items before *failed*. Many entries within the bytes of one of them are believed even if they end there.
        """
        known = {item.at for item in read}
        self.last = read[-1].at if read else failed
        for at in self._beginnings(start, self.size):
            borders = None if at in known else self._borders(at, failed)
            if borders:
                return self._agreed(borders, failed)
            if at not in known and any(self._hidden_in(item, at) for item in read):
                return at
        tail = self.size - RDB_EOF_BYTES
        self.source.seek(max(0, tail))
        return tail if tail >= start and self.source.read(1) == b"\xff" else self.size

    def hides_entries(self, item: Item) -> bool:
        """Return whether the bytes of one entry read as many entries: then its length is damaged."""
        stop = min(item.at + item.length, item.at + CHUNK)
        return any(self._hidden_in(item, at) for at in self._beginnings(item.at + 1, stop))

    def _hidden_in(self, item: Item, at: int) -> bool:
        stop = item.at + item.length
        if item.length <= LONG or not item.at < at < stop:
            return False
        borders = self._borders(at, at)
        return bool(borders) and bisect.bisect_left(borders or [], stop) >= BELIEVED

    def _beginnings(self, start: int, stop: int) -> t.Iterator[int]:
        position = start
        while position < stop:
            self.trial.tick(0)
            self.source.seek(position)
            chunk = self.source.read(min(CHUNK, stop - position))
            if not chunk:
                return
            for turn, match in enumerate(_BEGIN.finditer(chunk), 1):
                self.trial.tick(turn << 4)
                yield position + match.start()
            position += len(chunk)

    def _borders(self, at: int, failed: int) -> t.Optional[_Borders]:
        """Return where the entries from *at* begin, None if they are not believed or do not continue beyond *failed*."""
        trial, keys, borders, believed = self.trial, set(), [at], False  # type: Cursor, set[bytes], _Borders, bool
        order = self.order.fresh()
        trial.go(at)
        try:
            while not believed or len(borders) <= _BORDERS:
                item = next_item(trial, order)
                if item.kind == "eof":
                    return borders if keys and item.at > failed else None
                if item.kind == "key":
                    # A run of equal bytes reads as the same key again and again.
                    if item.value in keys:
                        break
                    keys.add(item.value)
                borders.append(trial.at)
                believed = len(keys) >= BELIEVED and trial.at > failed
        except Broken:
            pass
        return borders if believed else None

    def _agreed(self, borders: _Borders, failed: int) -> int:
        """Return the first border from which no other plausible reading differs."""
        agreed = borders[0]
        for _turn in range(_TURNS):
            better, agreed = self._compared(borders, failed)
            if better is None:
                break
            borders = better
        return agreed

    def _compared(self, borders: _Borders, failed: int) -> tuple[t.Optional[_Borders], int]:
        """Return (a reading better than *borders* or None, the place from which all plausible readings agree)."""
        agreed, own = borders[0], set(borders)
        stop = min(borders[min(BELIEVED, len(borders) - 1)], agreed + CHUNK)
        for at in self._beginnings(agreed + 1, stop):
            # A reading from within or after the last item need not continue beyond the place where reading failed.
            other = None if at in own else self._borders(at, at if at > self.last else failed)
            if not other or _steps_over(other, borders):
                continue
            if _steps_over(borders, other):
                return other, agreed
            agreed = max(agreed, next((place for place in other if place in own), agreed))
        return None, agreed


def _steps_over(one: _Borders, other: _Borders) -> bool:
    """Return whether an entry of *one* spans so many borders of *other* that these would be believed."""
    return any(
        bisect.bisect_left(other, stop) - bisect.bisect_right(other, start) >= BELIEVED
        for start, stop in zip(one[:BELIEVED], one[1 : BELIEVED + 1])
    )
