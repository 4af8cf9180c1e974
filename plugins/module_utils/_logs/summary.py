# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads all sources once and returns what is in them as plain data: the counting runs where the logs are, and only this leaves the host."""

from __future__ import annotations

import collections
import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.beside import load_beside
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.exact import Exact, Top
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.groups import Group, Groups, Seen, without_stamp
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.lines import RAW, WIDE, masked
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.minutes import Minutes
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.scan import Batch, Long, Reading, Scan, gnu_grep
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.sources import Found, Part, kind_of, load_parts, opened
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import Window, rfc3339, time_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.window import in_window

# A plain file is read by several threads from this size on.
SPLIT = 32 << 20
_LANES = 4
_LINE = 400
_AROUND = 30


class Asked(t.NamedTuple):
    """What a person asked for: sources, window, caps, how many lines to show, and the moment of a change."""

    sources: t.Sequence[t.Mapping[str, t.Any]]
    window: Window
    now: float
    end: float
    top: int = 20
    room: int = 1 << 31
    wide: bool = True
    change: t.Optional[float] = None
    grep: t.Optional[str] = None


class Summary:
    """What was counted so far."""

    def __init__(self, asked: Asked, parts: t.Sequence[Part]) -> None:
        self._asked, self.parts = asked, parts
        self.exact, self.groups, self.minutes = Exact(asked.top), Groups([part.source for part in parts]), Minutes(asked.now)
        self.raw_of: collections.Counter[int] = collections.Counter()
        self.long: dict[bytes, tuple[int, Long]] = {}

    def add(self, batch: Batch) -> None:
        if batch.long:
            self._add_long(batch.part, batch.number, batch.long)
            return
        lines = batch.lines.split(b"\n")
        raw = [line for line in lines if b"ERROR" in line or b"FATAL" in line or b"Exception" in line] if self._asked.wide else lines
        if raw:
            self.exact.add([without_stamp(line) for line in raw] if self.parts[batch.part].stamped else raw)
            self.raw_of[batch.part] += len(raw)
        if self._asked.wide:
            self._add_errors(batch.part, batch.number, lines, batch.lines)

    def _add_errors(self, part: int, number: int, lines: list[bytes], text: bytes) -> None:
        errors = self.groups.add(part, number, lines, text, self.parts[part].stamped)
        if errors:
            self.minutes.add(part, errors, self.parts[part].utc)

    def _add_long(self, part: int, number: int, long: Long) -> None:
        if long.raw:
            count = self.long.get(long.digest, (0, long))[0]
            self.long[long.digest] = (count + 1, long)
            self.raw_of[part] += 1
        if long.wide and self._asked.wide:
            self._add_errors(part, number, [long.head], long.head)

    def top(self, again: t.Callable[[], t.Iterator[list[bytes]]]) -> tuple[Top, int]:
        """Return (the most frequent lines with the runbook's words, how many lines differ)."""
        found, different = self.exact.result(again)
        found += [(count, b"%s (cut: this line has %d bytes)" % (long.head, long.length)) for count, long in self.long.values()]
        return sorted(found, reverse=True)[: self._asked.top], different + len(self.long)


def load_summary(asked: Asked) -> dict[str, t.Any]:
    """Read all sources, and return the answer (the module log_summary_info documents it)."""
    begun = time.monotonic()
    found = [load_parts(number, source, asked.window) for number, source in enumerate(asked.sources)]
    parts, notes = _to_read(asked, found)
    grep = gnu_grep() if asked.grep is None else asked.grep
    lanes = min(_LANES, _cores())
    scan = Scan(
        parts, WIDE if asked.wide else RAW, asked.window, asked.now, asked.end, lanes=lanes, grep=grep, room=asked.room
    )  # fmt: skip
    summary = Summary(asked, parts)
    for batch in scan:
        summary.add(batch)
    summary.groups.close()

    def again() -> t.Iterator[list[bytes]]:
        kept = [part for part in parts if part.again]
        for batch in Scan(kept, RAW, asked.window, asked.now, asked.end, lanes=lanes, grep=grep, room=asked.room):
            if batch.lines:
                yield batch.lines.split(b"\n")

    answer = {
        "sources": _sources(asked, found, parts, scan.readings, notes, summary),
        "raw": _raw(summary, again),
        "window": {"since": rfc3339(asked.window.since), "until": rfc3339(asked.window.until)},
        "searched_by": "grep" if grep else "python",
        **_errors(asked, summary),
    }
    return dict(answer, seconds=round(time.monotonic() - begun, 3))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _to_read(asked: Asked, found: t.Sequence[Found]) -> tuple[list[Part], dict[int, list[str]]]:
    """Return (the parts in the order of sources and time, what was cut by source)."""
    parts: list[Part] = []
    notes: dict[int, list[str]] = {}
    for number, one in enumerate(found):
        pieces = [piece for part in one.parts for piece in in_window(part, asked.window, asked.now)[0]]
        pieces, note = _newest(pieces, asked.room)
        notes[number] = [*one.notes, *([note] if note else [])]
        parts += [small for piece in pieces for small in _split(piece)]
    return parts, notes


def _newest(parts: t.Sequence[Part], room: int) -> tuple[list[Part], str]:
    """Return the newest *room* bytes of plain files, and a sentence where more was there."""
    kept: list[Part] = []
    size = sum(part.end - part.start for part in parts)
    left = room
    for part in reversed(parts):
        if part.how != "plain" or part.end - part.start <= left:
            kept.append(part)
            left -= part.end - part.start
        elif left > 0:
            start = _line_after(part, part.end - left)
            kept.append(part._replace(start=part.end - left if start is None else start))
            left = 0
    note = "only the newest %d of %d bytes were read: raise max_bytes for more" % (room, size) if size > room else ""
    return kept[::-1], note


def _split(part: Part) -> list[Part]:
    """Return *part* in pieces of whole lines that several threads can read."""
    size = part.end - part.start
    if part.how != "plain" or size < 2 * SPLIT:
        return [part]
    count = min(8, size // SPLIT)
    places = [_line_after(part, part.start + size * number // count) for number in range(1, count)]
    edges = [part.start, *sorted({place for place in places if place is not None}), part.end]
    return [part._replace(start=start, end=end) for start, end in zip(edges, edges[1:]) if end > start]


def _line_after(part: Part, offset: int) -> t.Optional[int]:
    """Return where the first line at or after *offset* begins, None where that is far off or cannot be read."""
    try:
        descriptor = opened(part.path)
        try:
            data = os.pread(descriptor, SPLIT // 16, offset - 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    place = data.find(b"\n")
    return None if place < 0 or offset + place >= part.end else offset + place


def _shown(line: bytes, limit: int = _LINE) -> str:
    return one_line(redact(line[: limit * 5].decode("utf-8", "backslashreplace")), limit)


def _raw(summary: Summary, again: t.Callable[[], t.Iterator[list[bytes]]]) -> dict[str, t.Any]:
    top, different = summary.top(again)
    unread = summary.exact.hashed and not all(part.again for part in summary.parts)
    note = "too many lines differ to keep them, and what a program printed is not read again: rows may be missing" if unread else ""
    return {
        "lines": sum(summary.raw_of.values()), "different": different, "exact": not unread, "note": note,
        "top": [{"count": count, "line": _shown(line)} for count, line in top],
    }  # fmt: skip


def _sources(
    asked: Asked, found: t.Sequence[Found], parts: t.Sequence[Part], readings: t.Sequence[Reading], notes: t.Mapping[int, list[str]],
    summary: Summary,
) -> list[dict[str, t.Any]]:  # fmt: skip
    answer = []
    for number, (source, one) in enumerate(zip(asked.sources, found)):
        mine = [(place, part, readings[place]) for place, part in enumerate(parts) if part.source == number]
        troubles = [reading.trouble.text for _place, _part, reading in mine if reading.trouble.text]
        answer.append({
            "name": _name(source), "kind": kind_of(source), "files": list(dict.fromkeys(one_line(part.name, 200) for _p, part, _r in mine)),
            "bytes": sum(reading.bytes for _place, _part, reading in mine),
            "raw_lines": sum(summary.raw_of[place] for place, _part, _reading in mine),
            "error": "; ".join(dict.fromkeys([one.error] * bool(one.error) + troubles)),
            "notes": [*notes[number], *_cuts(mine, asked)],
        })  # fmt: skip
    return answer


def _name(source: t.Mapping[str, t.Any]) -> str:
    value = source.get(kind_of(source)) or ""
    words = value.values() if isinstance(value, t.Mapping) else value if isinstance(value, list) else [value]
    return one_line(source.get("name") or " ".join(map(str, words)), 120)


def _cuts(mine: t.Sequence[tuple[int, Part, Reading]], asked: Asked) -> list[str]:
    """Return a sentence for each reason why not all of a source was looked at."""
    notes = []
    if any(reading.full for _place, _part, reading in mine):
        notes.append("reading stopped after %d bytes: raise max_bytes for more" % asked.room)
    late = [part for _place, part, reading in mine if not reading.whole and not reading.full and not reading.trouble.text]
    if late:
        notes.append("the time was over before all of it was read (%d of %d parts): raise seconds for more" % (len(late), len(mine)))
    # What a program says about its own failure has no time either.
    without = sum(reading.without for _place, _part, reading in mine if not reading.trouble.text)
    if without:
        notes.append(
            "%s before the first with a time were counted: whether they are in the window is not known" % counted(without, "lines")
        )
    if not mine or not any(reading.bytes for _place, _part, reading in mine):
        notes.append("no log line was found")
    return notes


def _errors(asked: Asked, summary: Summary) -> dict[str, t.Any]:
    if not asked.wide:
        return {}
    groups, minutes = summary.groups, summary.minutes
    rows = [_row(asked, summary, group) for group in groups.groups.values()]
    errors = _merged(row for row, group in zip(rows, groups.groups.values()) if group.kind.error)
    ran_out = _merged(row for row, group in zip(rows, groups.groups.values()) if group.kind.ran_out)
    note = (
        "more different errors than can be kept: %d of %s are in no row (at most %d of one error at a time), and counts are lower bounds"
        % (groups.lost, counted(groups.errors, "lines"), groups.most)
    )
    return {
        "errors": errors[: asked.top], "errors_lines": groups.errors, "errors_different": len(errors), "errors_exact": not groups.lost,
        "errors_note": note if groups.lost else "",
        "exhaustion": ran_out[: asked.top], "levels": dict(groups.levels), "first_error": _first_error(asked, summary),
        "rates": _rates(minutes, asked), "without_time": minutes.without, "around": _around(minutes, asked),
    }  # fmt: skip


def _time_of(asked: Asked, summary: Summary, seen: Seen) -> t.Optional[float]:
    part = summary.parts[seen.place[0]]
    one, other = (seen.before, seen.line) if part.stamped else (seen.line, seen.before)
    at = time_of(one, asked.now, part.utc)
    return time_of(other, asked.now, part.utc) if at is None else at


def _row(asked: Asked, summary: Summary, group: Group) -> dict[str, t.Any]:
    seen = [one for span in group.spans.values() for one in (span.first, span.last)]
    times = [at for at in (_time_of(asked, summary, one) for one in seen) if at is not None]
    names: dict[str, int] = {}
    for number, span in group.spans.items():
        name = _name(asked.sources[number])
        names[name] = names.get(name, 0) + span.count
    # Masked once more after its secrets are out: half of one would no longer look like any.
    clean = redact(group.first.line.decode("utf-8", "backslashreplace"))
    return {
        "count": group.count, "masked": one_line(masked(clean.encode("utf-8", "replace")), _LINE) , "example": one_line(clean, _LINE),
        "level": group.kind.level, "ran_out": group.kind.ran_out, "first_at": rfc3339(min(times, default=None)),
        "last_at": rfc3339(max(times, default=None)), "sources": names,
    }  # fmt: skip


def _merged(rows: t.Iterable[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return *rows* by count, those with the same masked text as one."""
    found: dict[str, dict[str, t.Any]] = {}
    for row in rows:
        one = found.setdefault(row["masked"], row)
        if one is not row:
            one["count"] += row["count"]
            one["first_at"] = min((at for at in (one["first_at"], row["first_at"]) if at), default=None)
            one["last_at"] = max((at for at in (one["last_at"], row["last_at"]) if at), default=None)
            one["sources"] = {
                name: one["sources"].get(name, 0) + row["sources"].get(name, 0) for name in {**one["sources"], **row["sources"]}
            }
    return sorted(found.values(), key=lambda row: (-row["count"], row["masked"]))


def _first_error(asked: Asked, summary: Summary) -> t.Optional[dict[str, t.Any]]:
    """Return the first error of all sources, by its time where it has one, with the lines beside it."""
    first: dict[int, Seen] = {}
    for place in sorted(summary.groups.first):
        first.setdefault(summary.parts[place].source, summary.groups.first[place])
    if not first:
        return None
    seen = min(first.values(), key=lambda one: (_time_of(asked, summary, one) or float("inf"), one.place))
    part = summary.parts[seen.place[0]]
    before, after, found = load_beside(part, seen.line, asked.end)
    return {
        "source": _name(asked.sources[part.source]), "file": one_line(part.name, 200), "at": rfc3339(_time_of(asked, summary, seen)),
        "line": _shown(seen.line), "before": [_shown(line) for line in before], "after": [_shown(line) for line in after], "found": found,
    }  # fmt: skip


def _rates(minutes: Minutes, asked: Asked) -> list[dict[str, t.Any]]:
    """Return errors by minute: those around the change, else the last ones; minutes without errors in between are there with 0."""
    if not minutes.counts:
        return []
    first, last = min(minutes.counts), max(minutes.counts)
    middle = int(asked.change // 60) if asked.change is not None else last
    begin, end = max(first, middle - _AROUND), min(last, middle + _AROUND)
    return [{"minute": rfc3339(minute * 60), "errors": minutes.counts.get(minute, 0)} for minute in range(begin, end + 1)]


def _around(minutes: Minutes, asked: Asked) -> t.Optional[dict[str, t.Any]]:
    """Return errors per minute in the half hours before and after the change, within the window and what was read."""
    if asked.change is None:
        return None
    middle = int(asked.change // 60)
    since = int(asked.window.since // 60) if asked.window.since is not None else middle - _AROUND
    until = int((asked.now if asked.window.until is None else min(asked.window.until, asked.now)) // 60)
    before = range(max(since, middle - _AROUND), middle)
    after = range(middle, min(until, middle + _AROUND))

    def per_minute(span: range) -> t.Optional[float]:
        return round(sum(minutes.counts.get(minute, 0) for minute in span) / len(span), 2) if span else None

    return {
        "moment": rfc3339(asked.change), "before_minutes": len(before), "after_minutes": len(after),
        "before_per_minute": per_minute(before), "after_per_minute": per_minute(after),
    }  # fmt: skip
