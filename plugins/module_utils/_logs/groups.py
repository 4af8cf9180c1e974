# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors counted without what differs each time, in a table of bounded size, with an example, the first and the last time. Pure."""

from __future__ import annotations

import collections
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.lines import Kind, key_of, kind_of, masked, raised

# Different errors, and different keys that lead to one, that are kept.
GROUPS, KEYS = 8000, 8000
# What of a line is kept as its example.
EXAMPLE = 2000
_BEFORE = 300
_TRACEBACK = b"Traceback (most recent call last)"
_MORE = (b"During handling of the above exception", b"The above exception was the direct cause")
# Where a line is in the logs: its part and its place there.
Place = t.Tuple[int, int, int]


class Seen(t.NamedTuple):
    """A line, its place, and what has its time where it has none of its own: the line that was found before it, or Docker's."""

    place: Place
    line: bytes
    before: bytes


class Span:
    """One error in one source: how often, and its first and last line there."""

    __slots__ = ("count", "first", "last")

    def __init__(self, seen: Seen) -> None:
        self.count, self.first, self.last = 0, seen, seen

    def add(self, count: int, first: Seen, last: Seen) -> None:
        self.count += count
        if first.place < self.first.place:
            self.first = first
        if last.place >= self.last.place:
            self.last = last


class Group:
    """One error: how often, and by the number of the source where it occurs."""

    __slots__ = ("count", "kind", "spans")

    def __init__(self, kind: Kind) -> None:
        self.kind, self.count = kind, 0
        self.spans: dict[int, Span] = {}

    @property
    def first(self) -> Seen:
        return min(span.first for span in self.spans.values())

    def add(self, source: int, count: int, first: Seen, last: Seen) -> None:
        self.count += count
        span = self.spans.get(source)
        if span is None:
            span = self.spans[source] = Span(first)
        span.add(count, first, last._replace(line=last.line[:_BEFORE]))


class Groups:
    """Errors by their masked text, and beside them the levels of all lines that were looked at. *sources* has the source of each part."""

    def __init__(self, sources: t.Sequence[int] = (0,), groups: int = GROUPS, keys: int = KEYS) -> None:
        self._sources = sources
        self._limit, self._keys_limit = groups, keys
        self._keys: dict[bytes, tuple[bytes, Kind]] = {}
        self.groups: dict[bytes, Group] = {}
        self.levels: collections.Counter[str] = collections.Counter()
        # Lines of errors, and of what ran out, and those whose group had to go; no group that went had more than *most* then.
        self.errors, self.lost, self.most = 0, 0, 0
        # The first error of each part.
        self.first: dict[int, Seen] = {}
        # Parts whose last line was inside of a traceback, and its first line.
        self._open: dict[int, bytes] = {}
        self._stamped: set[int] = set()

    def add(self, part: int, number: int, lines: list[bytes], text: bytes, stamped: bool = False) -> list[bytes]:
        """Count the *lines* of one batch, which are those of *text*, and return those that are errors.

        *stamped* lines begin with Docker's time: it is theirs, and no part of what they say.
        """
        if part in self._open or _TRACEBACK in text or any(word in text for word in _MORE):
            lines = self._without_frames(part, lines)
            text = b"\n".join(lines)
        if not lines:
            return []
        whole = lines
        if stamped:
            self._stamped.add(part)
            lines = [without_stamp(line) for line in whole]
            text = b"\n".join(lines)
        keys = key_of(text).split(b"\n")
        counts = collections.Counter(keys)
        first, last = _ends(keys, len(counts))

        def seen(at: int) -> Seen:
            before = whole[at] if stamped else whole[at - 1] if at else b""
            return Seen((part, number, at), lines[at][:EXAMPLE], before[:_BEFORE])

        bad = {key for key, count in counts.items() if self._count(key, count, seen(first[key]), seen(last[key]))}
        return whole if len(bad) == len(counts) else [line for key, line in zip(keys, whole) if key in bad]

    def _count(self, key: bytes, count: int, first: Seen, last: Seen) -> bool:
        name, kind = self._of_key(key, first.line)
        self.levels[kind.level or "none"] += count
        if not kind.error and not kind.ran_out:
            return False
        if kind.error:
            self.errors += count
            part = first.place[0]
            if part not in self.first or first.place < self.first[part].place:
                self.first[part] = first
        group = self.groups.get(name)
        if group is None:
            if len(self.groups) >= self._limit:
                self._make_room()
            group = self.groups[name] = Group(kind)
        group.add(self._sources[first.place[0]], count, first, last)
        return kind.error

    def _of_key(self, key: bytes, line: bytes) -> tuple[bytes, Kind]:
        known = self._keys.get(key)
        if known is None:
            kind = kind_of(key)
            known = (masked(line) if kind.error or kind.ran_out else b"", kind)
            if len(self._keys) >= self._keys_limit:
                self._keys.clear()
            if len(key) < EXAMPLE:
                self._keys[key] = known
        return known

    def _make_room(self) -> None:
        """Let the half of the groups go that has the lowest counts."""
        by_count = sorted(self.groups.items(), key=lambda pair: pair[1].count)
        for name, group in by_count[: len(by_count) // 2 + 1]:
            self.lost += group.count
            self.most = max(self.most, group.count)
            del self.groups[name]

    def _without_frames(self, part: int, lines: list[bytes]) -> list[bytes]:
        """Return *lines* with one for each traceback: its last, which names the exception; of a chain, the last of all."""
        kept: list[bytes] = []
        header = self._open.pop(part, None)
        for line in lines:
            if _TRACEBACK in line:
                header = line
                continue
            body = _body(line, header)
            if body.startswith(_MORE):
                if kept and raised(_body(kept[-1], line)):
                    kept.pop()
            elif header is None:
                kept.append(line)
            elif body[:1] not in (b" ", b"\t"):
                # Its last line may have none of our words; then the first is kept.
                kept += [line] if raised(body) else [header, line]
                header = None
        if header is not None:
            self._open[part] = header
        return kept

    def close(self) -> None:
        """Count the tracebacks whose last line was never found."""
        for part, header in list(self._open.items()):
            del self._open[part]
            line = without_stamp(header) if part in self._stamped else header
            self._count(key_of(line), 1, *[Seen((part, 1 << 40, 0), line[:EXAMPLE], header[:_BEFORE])] * 2)


def without_stamp(line: bytes) -> bytes:
    """Return *line* without Docker's time before it."""
    return line.partition(b" ")[2]


def _ends(keys: list[bytes], different: int) -> tuple[t.Mapping[bytes, int], t.Mapping[bytes, int]]:
    """Return where each of *keys* is first, and where it is last."""
    if different > 30:
        return dict(zip(reversed(keys), range(len(keys) - 1, -1, -1))), dict(zip(keys, range(len(keys))))
    back = keys[::-1]
    return {key: keys.index(key) for key in set(keys)}, {key: len(keys) - 1 - back.index(key) for key in set(keys)}


def _body(line: bytes, other: t.Optional[bytes]) -> bytes:
    """Return *line* without what is before the words of *other* (time, host, program), where both have such."""
    begin = max((other.find(word) for word in (_TRACEBACK, *_MORE)), default=0) if other else 0
    return line[begin:] if begin > 0 and other and line[:4] == other[:4] else line
