# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of bounded memory that may err in one direction only: a Bloom filter of two bits."""

from __future__ import annotations

import typing as t

_BITS = 1 << 25


class Maybe:
    """Remembers what was added: never denies a member, rarely accepts a stranger. Takes 4 MB."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def add(self, what: t.Hashable) -> bool:
        """Add one; return whether it may have been there before."""
        one, other = self._places(what)
        bits = self._bits
        before = bits[one >> 3] >> (one & 7) & bits[other >> 3] >> (other & 7) & 1
        bits[one >> 3] |= 1 << (one & 7)
        bits[other >> 3] |= 1 << (other & 7)
        return bool(before)

    def has(self, what: t.Hashable) -> bool:
        """Return whether it may have been added."""
        return all(self._bits[bit >> 3] >> (bit & 7) & 1 for bit in self._places(what))

    @staticmethod
    def _places(what: t.Hashable) -> tuple[int, int]:
        code = hash(what)
        return code & (_BITS - 1), (code >> 32) & (_BITS - 1)
