# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of programs in other languages, read with the message catalogues (``*.mo``) that translated them on this machine."""

from __future__ import annotations

import functools
import glob
import os
import re
import struct
import typing as t

CATALOGUES = "/usr/share/locale/*/LC_MESSAGES"
MOST, MOST_BYTES = 200, 8 << 20


@functools.lru_cache(maxsize=256)
def translations_of(domain: str, message: str, folders: str = CATALOGUES) -> t.Tuple[str, ...]:
    """Return the translations of *message*, as the source of the program has it, in all catalogues *domain* (a pattern) installed here."""
    paths = sorted(glob.glob(os.path.join(folders, domain + ".mo")))[:MOST]
    found = dict.fromkeys(_translated(path, message) for path in paths)
    return tuple(text for text in found if text and text != message)


def _translated(path: str, message: str) -> str:
    """Return what one catalogue has for *message*, "" for nothing."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES)
        order = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}[data[:4]]
        charset = re.search(rb"charset=([\w-]+)", _find(data, order, b""))
        return _find(data, order, message.encode()).decode(charset.group(1).decode() if charset else "utf-8")
    except (OSError, KeyError, ValueError, LookupError, struct.error):
        return ""


def _find(data: bytes, order: str, wanted: bytes) -> bytes:
    """Return the translation of *wanted*: the messages of a catalogue are sorted."""
    count, originals, translations = struct.unpack_from(order + "3I", data, 8)
    low, high = 0, count - 1
    while low <= high:
        middle = (low + high) // 2
        key = _string(data, order, originals + 8 * middle)
        if key == wanted:
            return _string(data, order, translations + 8 * middle)
        low, high = (middle + 1, high) if key < wanted else (low, middle - 1)
    return b""


def _string(data: bytes, order: str, at: int) -> bytes:
    length, offset = struct.unpack_from(order + "2I", data, at)
    # With a plural, the singular comes first.
    return data[offset : offset + length].split(b"\0")[0]
