# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts equal lines as ``sort | uniq -c | sort -nr`` does, exactly and in bounded memory, without a file.

While few lines differ they are kept themselves. When too many differ (each has its own time), only their 64-bit hashes are kept, eight
bytes a line, and the text of the few lines that will be shown: those that came again soon, those that sort last, and what a second
reading brings. Equal hashes of different lines are not to be expected (2^-64 for a pair, with a key of this process).
"""

from __future__ import annotations

import bisect
import collections
import heapq
import typing as t
from array import array

# Different lines, and bytes of them, that are kept themselves.
LINES, BYTES = 60000, 12 << 20
# Lines that are kept as hashes; from then on counts are lower bounds.
HASHES = 5000000
TEXTS = 2000
_SLICES = 64
_STEP = (1 << 64) // _SLICES
_BOUNDS = [-(1 << 63) + _STEP * number for number in range(1, _SLICES)]

Top = t.List[t.Tuple[int, bytes]]


class Exact:
    """Counts of lines, of which the *top* most frequent are wanted."""

    def __init__(self, top: int, lines: int = LINES, room: int = BYTES, hashes: int = HASHES) -> None:
        self._top, self._lines, self._room, self._hashes = top, lines, room, hashes
        self._counter: collections.Counter[bytes] = collections.Counter()
        self._slices: list[array[int]] = []
        self._texts: dict[int, bytes] = {}
        self._largest: list[bytes] = []
        self._size = 0
        self.total = 0
        # Lines that came when no more hashes could be kept, and were not counted.
        self.uncounted = 0

    @property
    def hashed(self) -> bool:
        return bool(self._slices)

    def add(self, lines: list[bytes]) -> None:
        """Count *lines*."""
        self.total += len(lines)
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
        self._add_hashes(list(counter))
        for line, count in several.items():
            self._slices[bisect.bisect_right(_BOUNDS, hash(line))].extend([hash(line)] * count)
        # The most frequent so far are those that will most likely be shown.
        for line in heapq.nlargest(TEXTS // 2, several, key=several.__getitem__):
            self._texts[hash(line)] = line

    def _add_hashes(self, lines: list[bytes]) -> None:
        if sum(map(len, self._slices)) + len(lines) > self._hashes:
            self.uncounted += len(lines)
            return
        hashes = sorted(map(hash, lines))
        begin = 0
        for number, bound in enumerate(_BOUNDS):
            end = bisect.bisect_left(hashes, bound, begin)
            self._slices[number].extend(hashes[begin:end])
            begin = end
        self._slices[-1].extend(hashes[begin:])
        different = set(lines)
        if len(different) < len(lines):
            self._remember(lines)
        floor = self._largest[-1] if len(self._largest) == self._top else b""
        larger = [line for line in different if line > floor or not floor]
        if larger:
            self._largest = heapq.nlargest(self._top, {*self._largest, *larger})

    def _remember(self, lines: list[bytes]) -> None:
        if len(self._texts) < TEXTS:
            counter = collections.Counter(lines)
            self._texts.update((hash(line), line) for line, count in counter.most_common(50) if count > 1)

    def result(self, again: t.Callable[[], t.Iterator[list[bytes]]]) -> tuple[Top, int]:
        """Return (the top lines as ``sort -nr`` orders them, how many lines differ); *again* reads everything once more, if need be."""
        if not self.hashed:
            heads = heapq.nlargest(self._top, ((count, line) for line, count in self._counter.items()))
            return heads, len(self._counter)
        return self._of_hashes(again)

    def _of_hashes(self, again: t.Callable[[], t.Iterator[list[bytes]]]) -> tuple[Top, int]:
        sizes: collections.Counter[int] = collections.Counter()
        different = 0
        for one in self._slices:
            counts = collections.Counter(one)
            different += len(counts)
            if len(counts) < len(one):
                sizes.update(count for count in counts.values() if count > 1)
        least = _least(sizes, self._top)
        above, level = self._with_counts(least)
        texts = {number: self._texts[number] for number in above if number in self._texts}
        tied: set[bytes] = set()
        if least == 1:
            # All that came more than once are above.
            tied = {line for line in self._largest if hash(line) not in above}
        if len(texts) < len(above) or level:
            self._read_again(again, above, level, texts, tied)
        found = [(above[number], line) for number, line in texts.items()]
        found += [(least, line) for line in heapq.nlargest(self._top, tied)]
        return sorted(found, reverse=True)[: self._top], different

    def _with_counts(self, least: int) -> tuple[dict[int, int], array[int]]:
        """Return ({hash: count} above *least*, sorted hashes of count *least* unless it is 1)."""
        above: dict[int, int] = {}
        level = array("q")
        for one in self._slices:
            counts = collections.Counter(one)
            if len(counts) == len(one):
                continue
            above.update((number, count) for number, count in counts.items() if count > least)
            if least > 1:
                level.extend(sorted(number for number, count in counts.items() if count == least))
        return above, level

    def _read_again(
        self,
        again: t.Callable[[], t.Iterator[list[bytes]]],
        above: t.Mapping[int, int],
        level: array[int],
        texts: dict[int, bytes],
        tied: set[bytes],
    ) -> None:
        largest: list[bytes] = []
        for lines in again():
            floor = largest[-1] if len(largest) == self._top else b""
            for line in lines:
                number = hash(line)
                if number in above:
                    texts[number] = line
                elif level and (line > floor or not floor) and _in(level, number):
                    largest = heapq.nlargest(self._top, {*largest, line})
                    floor = largest[-1] if len(largest) == self._top else b""
        tied.update(largest)


def _least(sizes: t.Mapping[int, int], top: int) -> int:
    """Return the count of the last line among the *top* most frequent, given how many lines have each count above 1."""
    seen = 0
    for count in sorted(sizes, reverse=True):
        seen += sizes[count]
        if seen >= top:
            return count
    return 1


def _in(numbers: array[int], number: int) -> bool:
    at = bisect.bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
