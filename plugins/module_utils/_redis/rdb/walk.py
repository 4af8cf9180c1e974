# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps through an RDB of Redis 2.8 to 7.4 entry by entry: where each begins and ends, its database, its key, whether it expires.

Values are skipped, not decoded. Bounded in memory, whatever lengths the file claims.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import CHUNK, SMALL, OutOfTime
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.check import unpack_or_none

HEAD_BYTES = 9
EOF, SELECTDB, RESIZEDB, AUX = 0xFF, 0xFE, 0xFB, 0xFA
_EXPIRE, _EXPIRE_MS, _FREQ, _IDLE, _MODULE_AUX, _FUNCTION_PRE, _FUNCTION, _SLOT = 0xFD, 0xFC, 0xF9, 0xF8, 0xF7, 0xF6, 0xF5, 0xF4
# The first version of the format that has a type.
SINCE = {14: 7, 5: 8, 7: 8, 15: 9, 16: 10, 17: 10, 18: 10, 19: 10, 20: 11, 21: 11, 22: 12, 23: 12, 24: 12, 25: 12}
# Larger strings are not checked.
_LARGEST_LOOKED_AT = 2 * CHUNK


class Broken(Exception):
    """The bytes at a place are not what Redis writes there, or the file ends too early (``cut``)."""

    def __init__(self, text: str, cut: bool = False) -> None:
        super().__init__(text)
        self.cut = cut


class Item(t.NamedTuple):
    """One item of an RDB: ``kind`` is key, select, resize, aux, function, other or eof; offset and length in bytes.

    ``fault`` says which content Redis would refuse, if contents are checked; ``value`` is the key, the number of the database,
    the (keys, expires) of a resize, or the (name, text) of an aux.
    """

    kind: str
    at: int
    length: int
    value: t.Any = None
    type: int = 0
    expires: bool = False
    fault: str = ""


def version_of(source: t.BinaryIO) -> int:
    """Return the version of the format that the head of a file names, 0 where it names none."""
    source.seek(0)
    head = source.read(HEAD_BYTES)
    return int(head[5:]) if head[5:].isdigit() else 0


# Checks the content of a string: the type of the value that it is (0 or less for none), its bytes, their decompressed length if they
# are compressed. Returns what is wrong with it, "" for nothing.
Check = t.Callable[[int, bytes, t.Optional[int]], str]


class Cursor:
    """Reads an RDB forward from a place. Methods raise Broken if the file does not continue as it must."""

    def __init__(self, source: t.BinaryIO, size: int, end: float, check: t.Optional[Check] = None) -> None:
        self.source, self.size, self.end, self.check = source, size, end, check
        self.base, self.buffer, self.fault = 0, b"", ""
        self.index = 0

    @property
    def at(self) -> int:
        """Return the position of the cursor, in bytes."""
        return self.base + self.index

    def go(self, at: int) -> None:
        """Move to the byte *at*."""
        if self.base <= at <= self.base + len(self.buffer):
            self.index = at - self.base
        else:
            self.base, self.buffer, self.index = at, b"", 0

    def take(self, count: int) -> bytes:
        """Return the next *count* bytes."""
        index = self.index
        stop = index + count
        if stop > len(self.buffer):
            self._fill(count)
            index, stop = 0, count
        self.index = stop
        return self.buffer[index:stop]

    def byte(self) -> int:
        """Return the next byte."""
        if self.index >= len(self.buffer):
            self._fill(1)
        self.index += 1
        return self.buffer[self.index - 1]

    def skip(self, count: int) -> None:
        """Skip *count* bytes."""
        if self.base + self.index + count > self.size:
            raise Broken("ends within a value", cut=True)
        self.go(self.base + self.index + count)

    def _fill(self, count: int) -> None:
        at = self.base + self.index
        if at + count > self.size:
            raise Broken("ends too early", cut=True)
        self.source.seek(at)
        self.base, self.buffer, self.index = at, self.source.read(max(count, SMALL)), 0
        if len(self.buffer) < count:
            raise Broken("ends too early", cut=True)

    def number(self) -> int:
        """Return the next length or number."""
        first = self.byte()
        kind = first >> 6
        if kind == 0:
            return first
        if kind == 1:
            return (first & 63) << 8 | self.byte()
        if first in (0x80, 0x81):
            return int.from_bytes(self.take(4 if first == 0x80 else 8), "big")
        raise Broken("expected a length")

    def count(self, each: int = 1) -> int:
        """Return the next number, which counts elements of at least *each* bytes."""
        found = self.number()
        if found * each > self.size - self.base - self.index:
            raise Broken("claims more elements than the file has bytes", cut=True)
        return found

    def skip_text(self, kind: int = -1) -> None:
        """Skip a string, checking its content if contents are checked. *kind* is the type of a value that is this string."""
        first = self.byte()
        if first >> 6 == 3:
            self._skip_packed(first & 63, kind)
            return
        self.index -= 1
        length = self.number()
        if self.check and kind > 0 and length <= _LARGEST_LOOKED_AT:
            self.skip(length)
            self.go(self.at - length)
            wrong = self.check(kind, self.take(length), None)
            self.fault = self.fault or wrong
        else:
            self.skip(length)

    def _skip_packed(self, how: int, kind: int) -> None:
        if how < 3:
            self.skip(1 << how)
            if kind > 0:
                self.fault = self.fault or "found a number instead of a container"
            return
        if how > 3:
            raise Broken("a string has an unknown encoding")
        packed, length = self.number(), self.number()
        if self.check and length <= _LARGEST_LOOKED_AT and packed <= length:
            self.skip(packed)
            self.go(self.at - packed)
            wrong = self.check(kind, self.take(packed), length)
            self.fault = self.fault or wrong
            return
        # Redis never writes a compressed string that grew.
        if packed > length:
            raise Broken("a compressed string is longer than its content")
        self.skip(packed)

    def text(self, most: int = SMALL) -> bytes:
        """Return a string, numbers as digits and what is compressed as it was; at most *most* bytes of it, as they are in the file."""
        begin, first = self.at, self.byte()
        if first >> 6 == 3 and first & 63 < 3:
            return b"%d" % int.from_bytes(self.take(1 << (first & 63)), "little", signed=True)
        self.index -= 1
        if first >> 6 != 3:
            length = self.number()
            if length <= most:
                return self.take(length)
            self.skip(length)
        else:
            self.skip_text()
        stop = self.at
        found = self._uncompressed(begin, most) if first >> 6 == 3 and stop - begin <= most else None
        if found is None:
            self.go(begin)
            found = self.take(min(stop - begin, most))
        self.go(stop)
        return found

    def _uncompressed(self, begin: int, most: int) -> t.Optional[bytes]:
        """Return the compressed string at *begin* as it was; None where it is longer than *most* bytes or damaged."""
        self.go(begin + 1)
        packed, length = self.number(), self.number()
        return unpack_or_none(self.take(packed), length) if length <= most else None

    def item(self) -> Item:
        """Return the next item of the file."""
        begin, self.fault, expires = self.at, "", False
        kind = self.byte()
        while kind in (_EXPIRE, _EXPIRE_MS, _FREQ, _IDLE):
            if kind == _IDLE:
                self.number()
            else:
                self.skip({_EXPIRE: 4, _EXPIRE_MS: 8, _FREQ: 1}[kind])
                expires = expires or kind != _FREQ
            kind = self.byte()
            if kind not in (_FREQ, _IDLE, _EXPIRE, _EXPIRE_MS) and kind > 0xF0:
                raise Broken("an expiry without a key")
            if self.at - begin > 32:
                raise Broken("an entry has too many opcodes before it")
        if kind > 0xF0:
            return self._mark(kind, begin)
        key = self.text()
        _skip_value(self, kind)
        return Item("key", begin, self.at - begin, key, kind, expires, self.fault)

    def _mark(self, kind: int, begin: int) -> Item:
        name, value = "other", None  # type: t.Tuple[str, t.Any]
        if kind == SELECTDB:
            name, value = "select", self.number()
        elif kind == RESIZEDB:
            name, value = "resize", (self.number(), self.number())
        elif kind == AUX:
            name, value = "aux", (self.text(64), self.text(64))
        elif kind == EOF:
            name = "eof"
        elif kind in (_FUNCTION, _FUNCTION_PRE):
            name = "function"
            _skip_function(self, kind)
        elif kind == _SLOT:
            value = (self.number(), self.number(), self.number())
        elif kind == _MODULE_AUX:
            _skip_module(self)
        else:
            raise Broken("expected the type of an entry")
        return Item(name, begin, self.at - begin, value)

    def tick(self, turn: int) -> None:
        """Check the clock now and then. Raises OutOfTime."""
        if not turn & 0x3FFF and time.monotonic() > self.end:
            raise OutOfTime


def _skip_function(cursor: Cursor, kind: int) -> None:
    if kind == _FUNCTION_PRE:
        cursor.skip_text()
        cursor.skip_text()
        if cursor.number():
            cursor.skip_text()
    cursor.skip_text()


def _skip_module(cursor: Cursor) -> None:
    """Skip a module's value, in which each part has an opcode."""
    cursor.number()
    for turn in range(cursor.size):
        cursor.tick(turn)
        what = cursor.number()
        if what == 0:
            return
        if what in (1, 2):
            cursor.number()
        elif what in (3, 4):
            cursor.skip(4 if what == 3 else 8)
        elif what == 5:
            cursor.skip_text()
        else:
            raise Broken("expected a part of a module's value")


def _skip_strings(cursor: Cursor, each: int) -> None:
    for turn in range(cursor.count(each) * each):
        cursor.tick(turn)
        cursor.skip_text()


def _skip_zset(cursor: Cursor, binary: bool) -> None:
    for turn in range(cursor.count(2)):
        cursor.tick(turn)
        cursor.skip_text()
        if binary:
            cursor.skip(8)
        else:
            length = cursor.byte()
            cursor.skip(0 if length > 252 else length)


def _skip_quicklist(cursor: Cursor) -> None:
    for turn in range(cursor.count(2)):
        cursor.tick(turn)
        container = cursor.number()
        if container not in (1, 2):
            raise Broken("expected a list node")
        cursor.skip_text(18 if container == 2 else 0)


def _skip_hash_with_expiries(cursor: Cursor, least: bool) -> None:
    if least:
        cursor.skip(8)
    for turn in range(cursor.count(3)):
        cursor.tick(turn)
        cursor.number()
        cursor.skip_text()
        cursor.skip_text()


def _skip_numbers(cursor: Cursor, count: int) -> None:
    for _turn in range(count):
        cursor.number()


def _skip_stream(cursor: Cursor, version: int) -> None:
    for turn in range(cursor.count(2)):
        cursor.tick(turn)
        cursor.skip_text()
        cursor.skip_text(15)
    _skip_numbers(cursor, 3 if version == 1 else 8)
    for _group in range(cursor.count(5)):
        cursor.skip_text()
        _skip_numbers(cursor, 2 if version == 1 else 3)
        for turn in range(cursor.count(25)):
            cursor.tick(turn)
            cursor.skip(24)
            cursor.number()
        for turn in range(cursor.count(10)):
            cursor.tick(turn)
            cursor.skip_text()
            cursor.skip(8 if version < 3 else 16)
            cursor.skip(16 * cursor.count(16))


def _skip_value(cursor: Cursor, kind: int) -> None:
    skip = _SKIPS.get(kind)
    if not skip:
        raise Broken("expected the type of an entry")
    skip(cursor)


def _skip_ziplists(cursor: Cursor) -> None:
    for turn in range(cursor.count(1)):
        cursor.tick(turn)
        cursor.skip_text(14)


def _one_string(kind: int) -> t.Callable[[Cursor], None]:
    return lambda cursor: cursor.skip_text(kind)


def _listpack_with_expiries(cursor: Cursor) -> None:
    cursor.skip(8)
    cursor.skip_text(25)


_SKIPS: t.Dict[int, t.Callable[[Cursor], None]] = {
    **{kind: _one_string(kind) for kind in (0, 9, 10, 11, 12, 13, 16, 17, 20, 23)},
    1: lambda cursor: _skip_strings(cursor, 1),
    2: lambda cursor: _skip_strings(cursor, 1),
    3: lambda cursor: _skip_zset(cursor, binary=False),
    4: lambda cursor: _skip_strings(cursor, 2),
    5: lambda cursor: _skip_zset(cursor, binary=True),
    7: _skip_module,
    14: _skip_ziplists,
    15: lambda cursor: _skip_stream(cursor, 1),
    18: _skip_quicklist,
    19: lambda cursor: _skip_stream(cursor, 2),
    21: lambda cursor: _skip_stream(cursor, 3),
    22: lambda cursor: _skip_hash_with_expiries(cursor, least=False),
    24: lambda cursor: _skip_hash_with_expiries(cursor, least=True),
    25: _listpack_with_expiries,
}
