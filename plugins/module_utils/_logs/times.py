# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a log line was written, in the formats of the services that we look after, and the window of an investigation. Pure functions."""

from __future__ import annotations

import calendar
import datetime
import math
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name.encode(): number for number, name in enumerate(_NAMES, 1)}
_MONTH = b"(" + b"|".join(_MONTHS) + b")"
_HOUR = rb"(\d\d):(\d\d):(\d\d)"
_PART = rb"(?:[.,](\d{1,9}))?"
_ZONE = rb"(?: ?(Z|UTC|GMT|[+-]\d\d:?\d\d))?"
# 2026-12-01T03:04:05.678+00:00, 2026-12-01 03:04:05,678, 2026/12/01 03:04:05
_ISO = re.compile(rb"(\d{4})[-/](\d\d)[-/](\d\d)[T ]" + _HOUR + _PART + _ZONE)
# Redis: 01 Dec 2026 03:04:05.678; nginx: 01/Dec/2026:03:04:05 +0000
_DAY_FIRST = re.compile(rb"(\d{1,2})[ /]" + _MONTH + rb"[ /](\d{4})[ :]" + _HOUR + _PART + _ZONE)
_SYSLOG = re.compile(rb"^(?:<\d+>)?" + _MONTH + rb" +(\d{1,2}) " + _HOUR + _PART)
_EPOCH = re.compile(rb"(?:^\[?|\"?(?:ts|time|timestamp|epoch)\"?[:=] ?\"?)(\d{10})(?:(\d{3})\b|\.(\d{1,9}))?(?!\d)")
# A time is looked for here; what comes later in a line is a value.
REACH = 300
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RFC = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.\d+)?\s*([Zz]|[+-]\d\d:?\d\d)?$")


def time_of(line: bytes, now: float, utc: bool = False) -> t.Optional[float]:
    """Return when *line* says that it was written, in unix seconds; None where it has no time.

    A time without a zone is one of this host, or UTC with *utc*; one without a year is the last such before *now*.
    """
    head = line[:REACH]
    try:
        found = _ISO.search(head)
        if found:
            year, month, day = (int(part) for part in found.groups()[:3])
            return _moment((year, month, day), found.groups()[3:], utc)
        return _other_time(head, now, utc)
    except (ValueError, OverflowError):
        return None


def _other_time(head: bytes, now: float, utc: bool) -> t.Optional[float]:
    found = _DAY_FIRST.search(head)
    if found:
        return _moment((int(found.group(3)), _MONTHS[found.group(2)], int(found.group(1))), found.groups()[3:], utc)
    found = _SYSLOG.search(head)
    if found:
        return _without_year(found, now, utc)
    found = _EPOCH.search(head)
    if not found:
        return None
    return int(found.group(1)) + float(b"0." + (found.group(2) or found.group(3) or b"0"))


def minute_end(line: bytes) -> int:
    """Return where the minutes of the time of *line* end, 0 where it has none: what is before decides about the minute."""
    head = line[:REACH]
    found = _ISO.search(head) or _DAY_FIRST.search(head)
    if found:
        return found.end(5)
    found = _SYSLOG.search(head)
    if found:
        return found.end(4)
    found = _EPOCH.search(head)
    return found.end(1) if found else 0


def _without_year(found: t.Match[bytes], now: float, utc: bool) -> float:
    year = time.gmtime(now).tm_year
    month, day = _MONTHS[found.group(1)], int(found.group(2))
    # Clocks differ a little, so a line may be of "tomorrow"; the last 29 February may be up to eight years ago.
    for one in range(year + 1, year - 9, -1):
        with_year = _moment((one, month, day), (*found.groups()[2:], None), utc) if _is_a_day(one, month, day) else now + 1e9
        if with_year <= now + 86400:
            return with_year
    raise ValueError("no such day")


def _is_a_day(year: int, month: int, day: int) -> bool:
    return 1 <= day <= calendar.monthrange(year, month)[1]


def _moment(day: tuple[int, int, int], rest: t.Sequence[t.Optional[bytes]], utc: bool) -> float:
    """Return unix seconds of a day and (hour, minute, second, part of a second, zone)."""
    hour, minute, second, part, zone = rest
    if not (_is_a_day(*day) if 1 <= day[1] <= 12 and 1 <= day[0] <= 9999 else False):
        raise ValueError("no such day")
    whole = (*day, int(hour or 0), int(minute or 0), int(second or 0))
    if whole[3] > 23 or whole[4] > 59 or whole[5] > 60:
        raise ValueError("no such time")
    if zone or utc:
        seconds = float(calendar.timegm((*whole, 0, 0, 0))) - _offset(zone or b"Z")
    else:
        seconds = time.mktime((*whole, 0, 0, -1))
    return seconds + float(b"0." + (part or b"0"))


def _offset(zone: bytes) -> int:
    if zone[:1] not in b"+-":
        return 0
    digits = zone[1:].replace(b":", b"")
    return (1 if zone[:1] == b"+" else -1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)


def moment_of(text: str, name: str, now: float) -> float:
    """Return unix seconds of what a person gave for *name*: RFC 3339 with a zone, or how long ago (``15m``); raises StepError."""
    given = text.strip()
    ago = re.match(r"(\d{1,6})\s*([smhd])$", given)
    if ago:
        return now - int(ago.group(1)) * _UNITS[ago.group(2)]
    found = _RFC.match(given)
    if not found:
        wanted = "2026-12-01T03:00:00Z, 2026-12-01T04:00:00+01:00, or how long ago: 15m"
        raise StepError("%s is %s, which is no time: write %s" % (name, one_line(repr(given), 60), wanted))
    if not found.group(3):
        raise StepError(
            "%s is %s, which has no time zone, so another hour than yours might be searched: write %sT%sZ for UTC, or +01:00 at its end"
            % (name, one_line(given, 60), found.group(1), found.group(2))
        )
    seconds = time_of(given.upper().encode(), now)
    if seconds is None:
        raise StepError("%s is %s, which is no date or hour that exists" % (name, one_line(given, 60)))
    return seconds


class Window(t.NamedTuple):
    """From when to when, in unix seconds; None is open. Whole seconds count: many logs have no finer times."""

    since: t.Optional[float] = None
    until: t.Optional[float] = None

    @property
    def open(self) -> bool:
        return self.since is None and self.until is None

    def holds(self, at: float) -> bool:
        return (self.since is None or at >= math.floor(self.since)) and (self.until is None or at < math.ceil(self.until))


def window_of(since: str, until: str, now: float) -> Window:
    """Return the window that a person asked for; raises StepError for a time without a zone, and for an empty window."""
    window = Window(moment_of(since, "since", now) if since else None, moment_of(until, "until", now) if until else None)
    if window.since is not None and window.until is not None and window.until <= window.since:
        raise StepError("until (%s) is not after since (%s)" % (rfc3339(window.until), rfc3339(window.since)))
    return window


def rfc3339(at: t.Optional[float]) -> t.Optional[str]:
    """Return a moment as text in UTC, None for None."""
    if at is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None
