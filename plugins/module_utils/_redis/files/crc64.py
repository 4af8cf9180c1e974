# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checksum of an RDB, fast in plain Python, and which bytes must be wrong if it does not match.

A table processes 12 MB a second. This folds whole blocks as large integers by a multiple of the checksum's polynomial that has only
five terms: more than 100 MB a second. Squaring it gives multiples of twice the degree, again with five terms.
"""

from __future__ import annotations

import typing as t

_JONES = 0x95AC9329AC4BC9B5  # bit-reflected; starts at 0, no final XOR
_ALL = (1 << 64) - 1
# x^225778 + x^169641 + x^148507 + x^94451 + 1 is a multiple of the polynomial.
_DEGREE, _TERMS = 225778, (169641, 148507, 94451, 0)
_PIECE = 1024 * 1024
# Squared so often, one fold removes 220 kB.
_SQUARED = 5


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _bit in range(8):
            value = (value >> 1) ^ _JONES if value & 1 else value >> 1
        table.append(value)
    return table


_TABLE = _table()


class Crc64:
    """The checksum of bytes that arrive in pieces. Holds less than 3 MB."""

    def __init__(self) -> None:
        # Bits that leave the same remainder as all bytes so far; the lowest is the first.
        self._rest = self._bits = 0

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._rest |= int.from_bytes(piece, "little") << self._bits
            self._bits += 8 * len(piece)
            self._fold(_SQUARED)

    def _fold(self, squared: int) -> None:
        degree, size = _DEGREE << squared, ((_DEGREE - _TERMS[0]) << squared) & ~7
        mask = (1 << size) - 1
        while self._bits - size >= degree:
            low = self._rest & mask
            folded = 0
            for term in _TERMS:
                folded ^= low << (degree - (term << squared) - size)
            self._rest, self._bits = (self._rest >> size) ^ folded, self._bits - size

    def value(self) -> int:
        """Return the checksum of all bytes so far."""
        for squared in range(_SQUARED - 1, -1, -1):
            self._fold(squared)
        table, crc = _TABLE, 0
        for byte in self._rest.to_bytes(self._bits // 8, "little"):
            crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
        return crc


def wrong_bytes(difference: int, size: int, width: int, tick: t.Callable[[], None]) -> list[tuple[int, bytes]]:
    """Return [(offset, what to XOR there)] of all runs of at most *width* bytes that alone explain a checksum's *difference*.

    *difference* is computed XOR stored, *size* the bytes with the eight of the checksum at their end, *width* 1 to 3;
    *tick* is called now and then and may raise to end it.
    """
    found: dict[int, bytes] = {}
    for distance in _distances(difference, size, width, tick):
        # The polynomial of the wrong bytes if the last one is this far from the end; it must be short.
        run = _times(difference, _power(_BACK, distance))
        if run and not run & ((1 << (64 - 8 * width)) - 1):
            wrong = run.to_bytes(8, "little").lstrip(b"\0")
            at = size - distance - len(wrong)
            wrong = wrong.rstrip(b"\0")
            if at >= 0 and len(wrong) <= width:
                found[at] = wrong
    return sorted(found.items())


def _distances(difference: int, size: int, width: int, tick: t.Callable[[], None]) -> t.Iterator[int]:
    """Yield how many bytes before the end a run may stop: all true ones and few others.

    When the register runs backwards, its output there is zero for 64 bits less those of the run.
    """
    yield from range(min(8, size))
    zeros, tail, position = b"\0" * (7 - width), b"", 0
    for block in _outputs(difference):
        data = tail + block
        at = data.find(zeros)
        while at >= 0:
            yield from range(position - len(tail) + at, position - len(tail) + at + 9)
            at = data.find(zeros, at + 1)
        position += len(block)
        if position > size + 8:
            return
        tick()
        tail = data[-8:]


def _outputs(register: int) -> t.Iterator[bytes]:
    """Yield the output of *register* running backwards, in endless blocks of 11,806 bytes."""
    before = []
    for _bit in range(_DEGREE):
        # Forwards first: the multiple of five terms needs that many bits before it.
        before.append("1" if register & 1 else "0")
        register = (register >> 1) ^ _JONES if register & 1 else register >> 1
    bits = int("".join(before), 2)
    size = _TERMS[-2] & ~7
    mask = (1 << size) - 1
    while True:
        block = 0
        for term in _TERMS:
            block ^= bits >> (_DEGREE - term if term else 0)
        block &= mask
        bits = (bits >> size) | (block << (_DEGREE - size))
        yield block.to_bytes(size // 8, "little")


def _times(one: int, other: int) -> int:
    product = 0
    while other:
        if other >> 63:
            product ^= one
        one = (one >> 1) ^ _JONES if one & 1 else one >> 1
        other = (other << 1) & _ALL
    return product


def _power(base: int, exponent: int) -> int:
    product = 1 << 63
    while exponent:
        if exponent & 1:
            product = _times(product, base)
        base, exponent = _times(base, base), exponent >> 1
    return product


def _one_byte_back() -> int:
    register = 1 << 63
    for _bit in range(8):
        # The top bit shows what was shifted out on the way here.
        register = ((register ^ _JONES) << 1 | 1) & _ALL if register >> 63 else register << 1
    return register


_BACK = _one_byte_back()
