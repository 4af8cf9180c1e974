# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the strings of an RDB that Redis would refuse or crash on: compressed ones that do not decompress, inconsistent containers.

Only for files whose checksum is wrong. A string without inner structure may be wrong unnoticed.
"""

from __future__ import annotations

import typing as t

_INTSET, _ZIPMAP = 11, 9
_ZIPLISTS = frozenset([10, 12, 13, 14])
_IN_PAIRS = frozenset([12, 13, 16, 17])
_IN_THREES = frozenset([23, 25])


class _Wrong(Exception):
    pass


def check_string(kind: int, data: bytes, unpacked: t.Optional[int]) -> str:
    """Return what is wrong with a string that is a value of type *kind* (0 or less: plain), "" if nothing shows.

    *unpacked* is the length in bytes that it must have once its LZF compression is undone, None if it is not compressed.
    """
    try:
        if unpacked is not None:
            data = unpack(data, unpacked)
        if kind > 0:
            _container(kind, data)
    except (_Wrong, IndexError) as error:
        return str(error) if isinstance(error, _Wrong) else "a container ends within an element"
    return ""


def unpack(data: bytes, length: int) -> bytes:
    """Decompress LZF *data*, which must yield *length* bytes."""
    out, index = bytearray(), 0
    while index < len(data):
        control = data[index]
        index += 1
        if control < 32:
            out += data[index : index + control + 1]
            index += control + 1
        else:
            count = control >> 5
            if count == 7:
                count += data[index]
                index += 1
            start = len(out) - ((control & 31) << 8) - data[index] - 1
            index += 1
            _repeat(out, start, count + 2)
        if len(out) > length:
            break
    if len(out) != length or index != len(data):
        raise _Wrong("a compressed string does not decompress to its length")
    return bytes(out)


def unpack_or_none(data: bytes, length: int) -> t.Optional[bytes]:
    """Decompress LZF *data*; None where it does not yield *length* bytes."""
    try:
        return unpack(data, length)
    except (_Wrong, IndexError, ZeroDivisionError):
        return None


def _repeat(out: bytearray, start: int, count: int) -> None:
    if start < 0:
        raise _Wrong("a compressed string refers to bytes before its start")
    piece = out[start : start + count]
    out += (piece * (count // len(piece) + 1))[:count]


def _container(kind: int, data: bytes) -> None:
    if kind == _INTSET:
        _intset(data)
    elif kind == _ZIPMAP:
        _need(len(data) >= 2 and data[-1] == 255, "a zipmap has no end")
    else:
        count = _ziplist(data) if kind in _ZIPLISTS else _listpack(data)
        each = 2 if kind in _IN_PAIRS else 3 if kind in _IN_THREES else 1
        _need(count % each == 0 and count > 0, "a container has the wrong number of elements for its type")


def _need(holds: bool, text: str) -> None:
    if not holds:
        raise _Wrong(text)


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _intset(data: bytes) -> None:
    width, count = _u32(data, 0), _u32(data, 4)
    _need(width in (2, 4, 8) and count > 0 and len(data) == 8 + width * count, "an intset has the wrong size")
    numbers = [int.from_bytes(data[at : at + width], "little", signed=True) for at in range(8, len(data), width)]
    _need(all(one < other for one, other in zip(numbers, numbers[1:])), "an intset is out of order")


def _listpack(data: bytes) -> int:
    _need(len(data) >= 7 and _u32(data, 0) == len(data) and data[-1] == 255, "a listpack has the wrong size or no end")
    at, count, said = 6, 0, int.from_bytes(data[4:6], "little")
    while at < len(data) - 1:
        length = _listpack_entry(data, at)
        back = _back_length(length)
        _need(data[at + length : at + length + len(back)] == back, "a listpack element has a wrong back length")
        at += length + len(back)
        count += 1
    _need(at == len(data) - 1 and said in (count, 65535), "a listpack has a wrong element count")
    return count


def _listpack_entry(data: bytes, at: int) -> int:
    """Return the length of the element at *at*, without its back length."""
    first = data[at]
    if first < 0x80:
        return 1
    if first < 0xC0:
        return 1 + (first & 63)
    if first < 0xE0:
        return 2
    if first < 0xF0:
        return 2 + ((first & 15) << 8 | data[at + 1])
    if first == 0xF0:
        return 5 + _u32(data, at + 1)
    _need(first <= 0xF4, "found an invalid listpack element")
    return {0xF1: 3, 0xF2: 4, 0xF3: 5, 0xF4: 9}[first]


def _back_length(length: int) -> bytes:
    if length <= 127:
        return bytes([length])
    width = 2 if length < 16383 else 3 if length < 2097151 else 4 if length < 268435455 else 5
    parts = [(length >> (7 * part)) & 127 | (128 if part < width - 1 else 0) for part in range(width)]
    return bytes(reversed(parts))


def _ziplist(data: bytes) -> int:
    _need(len(data) >= 11 and _u32(data, 0) == len(data) and data[-1] == 255, "a ziplist has the wrong size or no end")
    at, count, before, last, said = 10, 0, 0, 10, int.from_bytes(data[8:10], "little")
    while at < len(data) - 1:
        head = 1 if data[at] < 254 else 5
        _need((data[at] if head == 1 else _u32(data, at + 1)) == before, "a ziplist element has a wrong length of the previous one")
        last, before = at, head + _ziplist_entry(data, at + head)
        at += before
        count += 1
    _need(at == len(data) - 1 and said in (count, 65535) and _u32(data, 4) == last, "a ziplist is inconsistent")
    return count


def _ziplist_entry(data: bytes, at: int) -> int:
    """Return the length of the element from its encoding at *at* on."""
    first = data[at]
    if first < 0x40:
        return 1 + first
    if first < 0x80:
        return 2 + ((first & 63) << 8 | data[at + 1])
    if first == 0x80:
        return 5 + int.from_bytes(data[at + 1 : at + 5], "big")
    if 0xF1 <= first <= 0xFD:
        return 1
    _need(first in (0xC0, 0xD0, 0xE0, 0xF0, 0xFE), "found an invalid ziplist element")
    return {0xC0: 3, 0xD0: 5, 0xE0: 9, 0xF0: 4, 0xFE: 2}[first]
