# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a log that lies in a window: a sorted file is entered by binary search, any other is held against it line by line."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.sources import Part, opened
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import Window, time_of

# What is read to find one line with a time.
_PROBE = 64 * 1024
_SAMPLES = 33
# Threads and processes that share a log write a little out of order.
SLACK = 5.0
# The year, month, day, hour, minute and second of most formats: lines of one second are judged once.
_SAME_SECOND = 19
_KEPT_SECONDS = 4096


class Probe:
    """Reads the time of the line at or after an offset of a plain file. Raises OSError."""

    def __init__(self, descriptor: int, size: int, now: float, utc: bool) -> None:
        self._descriptor, self._size, self._now, self._utc = descriptor, size, now, utc

    def at(self, offset: int) -> t.Optional[tuple[int, float]]:
        """Return (offset of the line, its time) of the first line with a time that begins at or after *offset*."""
        # One byte earlier: a line that begins exactly here counts.
        begin = max(0, offset - 1)
        data = os.pread(self._descriptor, min(_PROBE, self._size - begin), begin)
        place = 0 if offset == 0 else data.find(b"\n") + 1
        if offset and not place:
            return None
        while place < len(data):
            end = data.find(b"\n", place)
            line = data[place:] if end < 0 else data[place:end]
            at = time_of(line, self._now, self._utc)
            if at is not None:
                return begin + place, at
            if end < 0:
                return None
            place = end + 1
        return None

    def first_at_or_after(self, moment: float, low: int, high: int) -> int:
        """Return the offset of a line before which all are older than *moment*, for a sorted file."""
        while high - low > _PROBE:
            middle = (low + high) // 2
            found = self.at(middle)
            if found is None or found[1] >= moment:
                high = middle
            else:
                low = found[0]
        return self._start_of_line(low)

    def _start_of_line(self, offset: int) -> int:
        data = os.pread(self._descriptor, _PROBE, max(0, offset - 1)) if offset else b"\n"
        return offset + data.find(b"\n") if offset else 0


def in_window(part: Part, window: Window, now: float) -> tuple[list[Part], str]:
    """Return (what of *part* has to be read, a note): pieces of a sorted plain file, or the whole, filtered line by line."""
    if window.open:
        return [part], ""
    if part.how != "plain" or not part.end:
        return [part._replace(filtered=True)], ""
    try:
        descriptor = opened(part.path)
        try:
            return _searched(part, window, Probe(descriptor, part.end, now, part.utc))
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        # Reading it will say why.
        return [part._replace(filtered=True)], ""


def _searched(part: Part, window: Window, probe: Probe) -> tuple[list[Part], str]:
    places = [part.end * number // _SAMPLES for number in range(_SAMPLES)] if part.end > 4 * _PROBE else []
    seen = [found for found in (probe.at(place) for place in places) if found]
    if not places or len(seen) < len(places) - 1 or any(later[1] < earlier[1] - SLACK for earlier, later in zip(seen, seen[1:])):
        return [part._replace(filtered=True)], ""
    edges = [0, 0, part.end, part.end]
    if window.since is not None:
        edges[:2] = [probe.first_at_or_after(window.since + slack, 0, part.end) for slack in (-SLACK, SLACK)]
        # Up to here the search may have stopped early.
        edges[1] = min(part.end, edges[1] + 2 * _PROBE)
    if window.until is not None:
        edges[2:] = [probe.first_at_or_after(window.until + slack, 0, part.end) for slack in (-SLACK, SLACK)]
        edges[3] = min(part.end, edges[3] + 2 * _PROBE)
    return _pieces(part, edges, probe), ""


def _pieces(part: Part, edges: t.Sequence[int], probe: Probe) -> list[Part]:
    """Return *part* cut at *edges*, which begin lines: filtered, as it is, filtered."""
    first, second, third, last = edges
    second = _line_from(probe, second, part.end)
    last = _line_from(probe, last, part.end)
    third = max(second, third)
    last = max(third, last)
    pieces = [(first, second, True), (second, third, False), (third, last, True)]
    if first == 0 and second == 0:
        pieces = pieces[1:]
    return [part._replace(start=begin, end=end, filtered=how) for begin, end, how in pieces if end > begin]


def _line_from(probe: Probe, offset: int, size: int) -> int:
    if offset in (0, size):
        return offset
    found = probe.at(offset)
    return found[0] if found else size


class Keeper:
    """Keeps the lines of a part that lie in the window; a line without a time belongs to the line before it."""

    def __init__(self, window: Window, now: float, utc: bool) -> None:
        self._window, self._now, self._utc = window, now, utc
        self._seconds: dict[bytes, t.Optional[bool]] = {}
        self._keeps: t.Optional[bool] = None
        # Lines before the first that has a time.
        self.without = 0

    def kept(self, block: bytes) -> bytes:
        """Return the lines of *block* that are in the window."""
        lines = block[:-1].split(b"\n") if block.endswith(b"\n") else block.split(b"\n")
        kept = [line for line in lines if self.keeps(line)]
        return b"\n".join(kept) + b"\n" if kept else b""

    def keeps(self, line: bytes) -> bool:
        key = line[:_SAME_SECOND]
        known = self._seconds.get(key, self)
        if known is self:
            known = self._judged(line, key)
        if known is not None:
            self._keeps = t.cast(bool, known)
        elif self._keeps is None:
            self.without += 1
        return self._keeps is not False

    def _judged(self, line: bytes, key: bytes) -> t.Optional[bool]:
        at = time_of(line, self._now, self._utc)
        answer = None if at is None else self._window.holds(at)
        # Only what the key alone says may be remembered for the next line with it.
        if at is not None and _says(key, at, self._now, self._utc):
            if len(self._seconds) >= _KEPT_SECONDS:
                self._seconds.clear()
            self._seconds[key] = answer
        return answer


def _says(key: bytes, at: float, now: float, utc: bool) -> bool:
    """Return whether the beginning of a line alone has its second; a zone that follows is that of its neighbours."""
    alone = time_of(key, now, utc)
    return alone is not None and (at - alone) % 900 < 1
