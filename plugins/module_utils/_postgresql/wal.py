# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an archive has all WAL from a backup to a time: our own count of its segments, along the timelines.

``info``, ``check`` and ``verify`` of pgBackRest 2.45 accept an archive that lacks a segment in the middle. Pure.
"""

from __future__ import annotations

import re
import typing as t

SEGMENT_BYTES = 16 * 1024 * 1024
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.partial)?-[0-9a-f]{40}(?:\.\w+)?\Z")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history\Z")
_SWITCH = re.compile(r"^\s*(\d+)\s+([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", re.M)
# At most so many missing segments are named; the rest is counted.
MOST_NAMED = 5


class Archive(t.NamedTuple):
    """What an archive holds: (timeline, number) of complete and of partial segments with arrival times, and timelines with a history."""

    segments: t.Dict[t.Tuple[int, int], float]
    partials: t.Dict[t.Tuple[int, int], float]
    histories: t.FrozenSet[int]


class Contiguity(t.NamedTuple):
    """Whether every segment needed is in the archive. ``missing`` names the first ones that are not, ``lost`` counts all.

    ``last`` is the last segment before any gap ("" for none), ``last_at`` when it was archived (seconds since the epoch).
    """

    whole: bool
    missing: t.Tuple[str, ...]
    lost: int
    checked: int
    last: str
    last_at: float


def segments_per_id(size: int) -> int:
    """Return how many segments of *size* bytes are in the 4 GiB that the middle part of a name counts."""
    return 0x100000000 // size


def segment_name(timeline: int, number: int, size: int = SEGMENT_BYTES) -> str:
    """Return the name of segment *number* (counted from 0 over the whole log)."""
    per = segments_per_id(size)
    return "%08X%08X%08X" % (timeline, number // per, number % per)


def parse_segment(name: str, size: int = SEGMENT_BYTES) -> tuple[int, int]:
    """Return (timeline, number). Raises ValueError for anything but a segment name of that size."""
    if not re.match(r"[0-9A-F]{24}\Z", name):
        raise ValueError("%r is not the name of a WAL segment" % name[:40])
    low, per = int(name[16:], 16), segments_per_id(size)
    if low >= per:
        raise ValueError("%s is not the name of a segment of %d bytes" % (name, size))
    return int(name[:8], 16), int(name[8:16], 16) * per + low


def segment_of(lsn: str, size: int = SEGMENT_BYTES) -> int:
    """Return the number of the segment that holds *lsn* (``0/3000028``). Raises ValueError."""
    high, slash, low = lsn.partition("/")
    if not slash:
        raise ValueError("%r is not a WAL position" % lsn[:40])
    return ((int(high, 16) << 32) | int(low, 16)) // size


def read_archive(listing: t.Mapping[str, t.Mapping[str, t.Any]], size: int = SEGMENT_BYTES) -> Archive:
    """Return what a listing (name, with or without folders, to {type, time}) of one archive holds. Other files are left out."""
    whole: dict[tuple[int, int], float] = {}
    partial: dict[tuple[int, int], float] = {}
    histories = set()
    for path, facts in listing.items():
        name = path.rpartition("/")[2]
        found, history = _SEGMENT.match(name), _HISTORY.match(name)
        if history and facts.get("type") != "path":
            histories.add(int(history.group(1), 16))
        if not found or facts.get("type") == "path" or int(found.group(3), 16) >= segments_per_id(size):
            continue
        place = partial if found.group(4) else whole
        place[parse_segment("".join(found.groups()[:3]), size)] = float(facts.get("time") or 0)
    return Archive(whole, partial, frozenset(histories))


def read_history(text: str, size: int = SEGMENT_BYTES) -> list[tuple[int, int]]:
    """Return (parent timeline, number of the segment in which it ended) of a ``.history`` file, the oldest first."""
    return [(int(parent), segment_of("%s/%s" % (high, low), size)) for parent, high, low in _SWITCH.findall(text)]


def timelines(archive: Archive) -> list[int]:
    """Return the timelines in the archive, the oldest first."""
    return sorted({one for one, _number in archive.segments} | set(archive.histories))


def path_of(start: tuple[int, int], timeline: int, history: t.Sequence[tuple[int, int]], last: int) -> list[tuple[int, int]]:
    """Return the segments that a recovery reads from *start* to segment *last* of *timeline*. Raises ValueError where no path leads there.

    The segment in which a timeline ended is read from its child, which begins with a copy of it.
    """
    begin, number = start
    if begin == timeline:
        return [(timeline, one) for one in range(number, last + 1)]
    parents = dict(history)
    if begin not in parents:
        raise ValueError("timeline %d does not descend from timeline %d of the backup" % (timeline, begin))
    line = [parent for parent, _left in history]
    way: list[tuple[int, int]] = []
    for parent in line[line.index(begin) :]:
        way += [(parent, one) for one in range(number, parents[parent])]
        number = max(number, parents[parent])
    return way + [(timeline, one) for one in range(number, last + 1)]


def judge_contiguity(
    archive: Archive, start: str, timeline: int, history: t.Sequence[tuple[int, int]], size: int = SEGMENT_BYTES
) -> Contiguity:
    """Judge whether every segment from *start* (a name) to the last one of *timeline* is in the archive.

    A history file that is needed but absent counts as missing. Raises ValueError for an invalid start or history.
    """
    begin = parse_segment(start, size)
    last = max((number for line, number in archive.segments if line == timeline), default=begin[1])
    if timeline != begin[0] and timeline not in archive.histories:
        return Contiguity(False, ("%08X.history" % timeline,), 1, 0, "", 0.0)
    way = path_of(begin, timeline, history, last)
    missing = [one for one in way if one not in archive.segments]
    reached = way[: way.index(missing[0])] if missing else way
    final = reached[-1] if reached else None
    return Contiguity(
        whole=not missing,
        missing=tuple(_named(one, archive, size) for one in missing[:MOST_NAMED]),
        lost=len(missing),
        checked=len(way),
        last=segment_name(*final, size) if final else "",
        last_at=archive.segments[final] if final else 0.0,
    )


def _named(one: tuple[int, int], archive: Archive, size: int) -> str:
    # A promoted server left a partial segment behind: it is incomplete, and the child has a copy of it.
    return segment_name(*one, size) + (" (only .partial)" if one in archive.partials else "")
