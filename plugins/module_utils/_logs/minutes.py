# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many errors there were in each minute, and before and after a moment. Pure."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import minute_end, time_of

# Minutes that are kept: a month of them.
MINUTES = 50000
_MEMO = 4096


class Minutes:
    """Errors by minute. A line without a time belongs to the line before it."""

    def __init__(self, now: float) -> None:
        self._now = now
        self.counts: collections.Counter[int] = collections.Counter()
        self.without = 0
        self._memo: dict[bytes, t.Optional[int]] = {}
        self._last: dict[int, int] = {}

    def add(self, part: int, lines: list[bytes], utc: bool) -> None:
        length = next((end for end in map(minute_end, lines[:20]) if end), 0)
        if not length:
            self._add_untimed(part, len(lines))
            return
        heads = [line[:length] for line in lines]
        examples = dict(zip(heads, lines))
        minutes = {head: self._minute_of(head, line, length, utc) for head, line in examples.items()}
        if None not in minutes.values():
            for head, count in collections.Counter(heads).items():
                self._count(t.cast(int, minutes[head]), count)
            self._last[part] = t.cast(int, minutes[heads[-1]])
            return
        for line in lines:
            self._one_by_one(part, line, minutes[line[:length]], utc)

    def _minute_of(self, head: bytes, line: bytes, length: int, utc: bool) -> t.Optional[int]:
        """Return the minute of *line*, whose first *length* bytes are *head*; None where *head* does not end with the minute."""
        if head in self._memo:
            return self._memo[head]
        at = time_of(line, self._now, utc) if minute_end(line) == length else None
        minute = None if at is None else int(at // 60)
        if len(self._memo) >= _MEMO:
            self._memo.clear()
        self._memo[head] = minute
        return minute

    def _one_by_one(self, part: int, line: bytes, minute: t.Optional[int], utc: bool) -> None:
        at = None if minute is not None else time_of(line, self._now, utc)
        minute = int(at // 60) if at is not None else minute
        if minute is None:
            self._add_untimed(part, 1)
        else:
            self._last[part] = minute
            self._count(minute, 1)

    def _add_untimed(self, part: int, count: int) -> None:
        if part in self._last:
            self._count(self._last[part], count)
        else:
            self.without += count

    def _count(self, minute: int, count: int) -> None:
        if minute in self.counts or len(self.counts) < MINUTES:
            self.counts[minute] += count
        else:
            self.without += count
