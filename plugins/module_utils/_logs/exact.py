# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts equal lines as ``sort | uniq -c | sort -nr`` does, exactly and in bounded memory, without a file.

While few lines differ they are kept themselves. When too many differ (each has its own time), only their 64-bit hashes are kept, eight
bytes a line, and the text of the few lines that will be shown: those that came again soon, those that sort last, and what a second
reading brings. When there is no room for more hashes, the lines with the lower half of all hashes are counted now, and the others by
reading again. Equal hashes of different lines are not to be expected (2^-64 for a pair, with a key of this process).
"""

from __future__ import annotations

import bisect
import collections
import heapq
import itertools
import operator
import typing as t
from array import array

# Different lines, and bytes of them, that are kept themselves.
LINES, BYTES = 20000, 4 << 20
# Lines that are kept as hashes at the same time.
HASHES = 3500000
TEXTS = 2000
_SLICES = 64
_STEP = (1 << 64) // _SLICES
_BOUNDS = [-(1 << 63) + _STEP * number for number in range(1, _SLICES)]

Top = t.List[t.Tuple[int, bytes]]
# Reads everything once more.
Again = t.Callable[[], t.Iterator[t.List[bytes]]]


class Exact:
    """Counts of lines, of which the *top* most frequent are wanted. *slices* are those of all hashes whose lines are counted."""

    def __init__(
        self, top: int, lines: int = LINES, room: int = BYTES, hashes: int = HASHES, slices: tuple[int, int] = (0, _SLICES)
    ) -> None:  # fmt: skip
        self._top, self._lines, self._room, self._hashes = top, lines, room, hashes
        self._low, self._high = self._range = slices
        self._counter: collections.Counter[bytes] = collections.Counter()
        self._slices: list[array[int]] = []
        self._texts: dict[int, bytes] = {}
        # None where lines that sort last may have been lost.
        self._largest: t.Optional[list[bytes]] = []
        self._size = self._held = 0
        # Lines that could not be counted, because they cannot be read again.
        self.uncounted = 0

    @property
    def hashed(self) -> bool:
        return bool(self._slices)

    def add(self, lines: list[bytes]) -> None:
        """Count *lines*."""
        if self._high - self._low < _SLICES:
            lines = [line for line in lines if self._low <= bisect.bisect_right(_BOUNDS, hash(line)) < self._high]
        if not lines:
            return
        if self.hashed:
            self._add_hashes(lines)
            return
        before = len(self._counter)
        self._counter.update(lines)
        if len(self._counter) != before:
            # A batch is small, so the mean of its lines is near enough for those that are new.
            self._size += (len(self._counter) - before) * (sum(map(len, lines)) // len(lines) + 1)
            if len(self._counter) > self._lines or self._size > self._room:
                self._to_hashes()

    def _to_hashes(self) -> None:
        self._slices = [array("q") for _number in range(_SLICES)]
        counter, self._counter = self._counter, collections.Counter()
        several = {line: count - 1 for line, count in counter.items() if count > 1}
        # The most frequent so far are those that will most likely be shown.
        for line in heapq.nlargest(TEXTS // 2, several, key=several.__getitem__):
            self._texts[hash(line)] = line
        self._add_hashes(list(counter))
        for line, count in several.items():
            self._extend(bisect.bisect_right(_BOUNDS, hash(line)), array("q", [hash(line)]) * count)
        self._make_room()

    def _extend(self, number: int, hashes: array[int]) -> None:
        if self._low <= number < self._high:
            self._slices[number].extend(hashes)
            self._held += len(hashes)

    def _add_hashes(self, lines: list[bytes]) -> None:
        hashes = sorted(map(hash, lines))
        packed, begin = array("q", hashes), 0
        for number, bound in enumerate(_BOUNDS[: self._high]):
            end = bisect.bisect_left(hashes, bound, begin)
            self._extend(number, packed[begin:end])
            begin = end
        self._extend(_SLICES - 1, packed[begin:])
        if len(self._texts) < TEXTS and any(map(operator.eq, hashes, itertools.islice(hashes, 1, None))):
            counter = collections.Counter(lines)
            self._texts.update((hash(line), line) for line, count in counter.most_common(50) if count > 1)
        self._largest = self._larger(self._largest, lines) if self._largest is not None else None
        self._make_room()

    def _larger(self, largest: list[bytes], lines: list[bytes]) -> list[bytes]:
        """Return the *top* largest of both. A log mostly grows in the order of its times, so the last lines are looked at first."""
        if len(largest) == self._top and max(lines) <= largest[-1]:
            return largest
        found = heapq.nlargest(self._top, reversed(lines))
        if len(set(found)) < len(found):
            found = heapq.nlargest(self._top, set(lines))
        return heapq.nlargest(self._top, {*largest, *found})

    def _make_room(self) -> None:
        while self._held > self._hashes and self._high - self._low > 1:
            self._high = (self._low + self._high) // 2
            for number in range(self._high, _SLICES):
                self._slices[number] = array("q")
            self._held = sum(map(len, self._slices))
            self._largest = None

    def result(self, again: Again) -> tuple[Top, int]:
        """Return (the top lines as ``sort -nr`` orders them, how many lines differ); *again* reads everything once more, if need be."""
        if not self.hashed:
            heads = heapq.nlargest(self._top, ((count, line) for line, count in self._counter.items()))
            return heads, len(self._counter)
        found, different = self._of_hashes(again)
        low, high = self._high, self._range[1]
        while low < high:
            # Of those that were left out, as many at once as there was room for; less, if need be.
            rest = Exact(self._top, self._lines, self._room, self._hashes, (low, min(high, low + self._high - self._low)))
            for lines in again():
                rest.add(lines)
            more, others = rest.result(again)
            found, different = sorted(found + more, reverse=True)[: self._top], different + others
            low = rest._range[1]
        return found, different

    def _of_hashes(self, again: Again) -> tuple[Top, int]:
        sizes, repeated, different = _sizes_of(self._slices)
        least = _least(sizes, self._top)
        above, level = _with_counts(repeated, least)
        texts = {number: self._texts[number] for number in above if number in self._texts}
        # Among the lines that came once, those that sort last; all that came more than once are above.
        single = least == 1
        tied = [line for line in self._largest or () if hash(line) not in above] if single else []
        if len(texts) < len(above) or level or (single and self._largest is None):
            tied = self._read_again(again, above, level, texts) or tied
        found = [(above[number], line) for number, line in texts.items()] + [(least, line) for line in tied]
        return sorted(found, reverse=True)[: self._top], different

    def _read_again(self, again: Again, above: t.Mapping[int, int], level: array[int], texts: dict[int, bytes]) -> list[bytes]:
        """Find the texts of *above*, and return the lines that sort last among those in *level*, or of all others where that is empty."""
        largest: list[bytes] = []
        low, high = self._low, self._high
        for lines in again():
            floor = largest[-1] if len(largest) == self._top else b""
            for line in lines:
                number = hash(line)
                if number in above:
                    texts[number] = line
                elif (line > floor or not floor) and (_in(level, number) if level else low <= bisect.bisect_right(_BOUNDS, number) < high):
                    largest = heapq.nlargest(self._top, {*largest, line})
                    floor = largest[-1] if len(largest) == self._top else b""
        return largest


def _least(sizes: t.Mapping[int, int], top: int) -> int:
    """Return the count of the last line among the *top* most frequent, given how many lines have each count above 1."""
    seen = 0
    for count in sorted(sizes, reverse=True):
        seen += sizes[count]
        if seen >= top:
            return count
    return 1


def _sizes_of(slices: t.Iterable[array[int]]) -> tuple[t.Mapping[int, int], list[array[int]], int]:
    """Return (how many hashes have each count above 1, the slices with such, how many hashes differ)."""
    sizes: collections.Counter[int] = collections.Counter()
    repeated, different = [], 0
    for one in slices:
        number = len(set(one))
        different += number
        if number < len(one):
            repeated.append(one)
            sizes.update(count for count in collections.Counter(one).values() if count > 1)
    return sizes, repeated, different


def _with_counts(slices: t.Iterable[array[int]], least: int) -> tuple[dict[int, int], array[int]]:
    """Return ({hash: count} above *least*, sorted hashes of count *least* unless it is 1)."""
    above: dict[int, int] = {}
    level = array("q")
    for one in slices:
        counts = collections.Counter(one)
        above.update((number, count) for number, count in counts.items() if count > least)
        if least > 1:
            level.extend(sorted(number for number, count in counts.items() if count == least))
    return above, level


def _in(numbers: array[int], number: int) -> bool:
    at = bisect.bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
