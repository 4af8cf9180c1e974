# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was written to log files since a moment: by a mark taken before (rotation is followed), or by the times in the lines.

A mark is plain data. Never raises.
"""

from __future__ import annotations

import datetime
import glob
import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import LOG_BYTES, tail_of

Mark = t.Dict[str, t.Any]

# A time near the begin of a line: ISO and those of Redis, nginx, syslog, with what says its time zone.
_CLOCK = r"(?P<t>\d\d:\d\d:\d\d)(?:[.,](?P<f>\d{1,9}))?\s?"
_TIMES = (
    re.compile(r"(?P<y>\d{4})[-/](?P<m>\d\d)[-/](?P<d>\d\d)[T ]" + _CLOCK + r"(?P<z>Z|UTC|GMT|[+-]\d\d:?\d\d)?"),
    re.compile(r"(?P<d>\d{1,2})[ /](?P<mon>[A-Z][a-z]{2})[ /](?P<y>\d{4})[ :]" + _CLOCK + r"(?P<z>[+-]\d{4})?"),
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# How far into a line its time may begin; a process id or an opening brace with a key comes before.
TIME_WITHIN = 40
# Whole seconds are written down: a line of the first second counts.
SLACK = 1.0


def mark_of(pattern: str) -> Mark:
    """Return where each file that *pattern* (a path, or a pattern of paths) matches ends now."""
    return {"pattern": pattern, "files": {path: _end_of(path) for path in _matches(pattern)}}


def _matches(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern)) if pattern else []


def _end_of(path: str) -> list[int]:
    """Return [device, inode, size] of a file, [] where there is none."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return []
    return [facts.st_dev, facts.st_ino, facts.st_size]


def since_mark(mark: t.Mapping[str, t.Any], limit: int = LOG_BYTES) -> str:
    """Return what was written since the mark was taken, the last *limit* bytes of it at most."""
    text = "".join(_grown(path, mark["files"].get(path) or [], limit) for path in _matches(str(mark["pattern"])))
    return text[-limit:]


def _grown(path: str, before: t.Sequence[int], limit: int) -> str:
    now = _end_of(path)
    if not now:
        return ""
    if not before:
        return _from(path, 0, limit)
    if now[:2] == list(before[:2]):
        # A file that is shorter than it was has been emptied in place.
        return _from(path, before[2] if now[2] >= before[2] else 0, limit)
    return _rest_of_rotated(path, before, limit) + _from(path, 0, limit)


def _rest_of_rotated(path: str, before: t.Sequence[int], limit: int) -> str:
    """Return what was still written to the old file, which rotation has given another name in its folder."""
    for other in glob.glob(glob.escape(path) + "*"):
        if _end_of(other)[:2] == list(before[:2]):
            return _from(other, before[2], limit)
    return ""


def _from(path: str, offset: int, limit: int) -> str:
    size = (_end_of(path) or [0, 0, 0])[2]
    wanted = min(max(0, size - offset), limit)
    return tail_of(path, wanted).decode("utf-8", "replace") if wanted else ""


def since_time(text: str, began: float) -> t.Optional[str]:
    """Return the lines of *text* written at or after *began* (epoch seconds), None if no line has a time.

    A line without a time belongs to the one before it.
    """
    kept: list[str] = []
    seen = is_later = False
    for line in text.splitlines(keepends=True):
        at = time_of(line)
        if at is not None:
            seen, is_later = True, at >= began - SLACK
        if is_later:
            kept.append(line)
    return "".join(kept) if seen else None


def untimed_end(text: str) -> str:
    """Return the lines after the last one that has a time: a traceback has none."""
    kept: list[str] = []
    for line in reversed(text.splitlines(keepends=True)):
        if time_of(line) is not None:
            break
        kept.insert(0, line)
    return "".join(kept)


def time_of(line: str) -> t.Optional[float]:
    """Return the time near the begin of a log line in seconds since the epoch, None for none; without a zone it is local."""
    for pattern in _TIMES:
        found = pattern.search(line[: TIME_WITHIN + 40])
        if found and found.start() <= TIME_WITHIN:
            return _epoch(found.groupdict())
    return None


def _epoch(part: t.Mapping[str, t.Any]) -> t.Optional[float]:
    if part.get("mon") and part["mon"] not in _MONTHS:
        return None
    month = int(part.get("m") or 0) or _MONTHS.index(str(part.get("mon"))) + 1
    zone, fraction = str(part.get("z") or ""), float("0." + (part.get("f") or "0"))
    try:
        hour, minute, second = (int(one) for one in part["t"].split(":"))
        moment = datetime.datetime(int(part["y"]), month, int(part["d"]), hour, minute, second)  # noqa: DTZ001 - its zone follows
        if not zone:
            return time.mktime(moment.timetuple()) + fraction
        return moment.replace(tzinfo=_zone_of(zone)).timestamp() + fraction
    except (ValueError, OverflowError):
        return None


def _zone_of(zone: str) -> datetime.timezone:
    if zone[0] not in "+-":
        return datetime.timezone.utc
    offset = datetime.timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return datetime.timezone(-offset if zone[0] == "-" else offset)
