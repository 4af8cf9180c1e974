# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments and spans of time in the words of a person: RFC 3339 in, "02:41:07 UTC, 19 min ago" out. What is no time stays as it is."""

from __future__ import annotations

import datetime
import math
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

# A moment without a zone is none: nobody can say when that was.
RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
LAST = 253370764800.0  # the year 9999


def seconds_of(at: t.Any) -> t.Optional[float]:
    """Return the seconds since the epoch of an RFC 3339 moment; None for anything else."""
    match = RFC3339.match(at) if isinstance(at, str) else None
    if not match:
        return None
    zone = "+00:00" if match[4] in "Zz" else match[4]
    try:
        whole = datetime.datetime.fromisoformat("%sT%s%s" % (match[1], match[2], zone))
    except ValueError:
        return None
    seconds = (whole - EPOCH).total_seconds() + float("0" + (match[3] or ".0"))
    return seconds if 0 <= seconds < LAST else None


def number(value: t.Any) -> t.Optional[float]:
    """Return a finite number; None for anything else, a truth value too."""
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < 1e15 and not math.isnan(value) else None


def short(at: t.Any, now: t.Optional[float]) -> str:
    """Return the time of day of a moment, with its date unless it is that of *now*; in UTC. What is no moment stays as it is."""
    seconds = seconds_of(at)
    if seconds is None:
        return one_line(at, 40) if at else ""
    # Cut, not rounded: nothing is shown before it happened.
    text = (EPOCH + datetime.timedelta(seconds=math.floor(seconds))).strftime("%Y-%m-%d %H:%M:%S UTC")
    same = now is not None and text[:10] == (EPOCH + datetime.timedelta(seconds=math.floor(now))).strftime("%Y-%m-%d")
    return text[11:] if same else text


def moment(at: t.Any, now: t.Optional[float]) -> str:
    """Return a moment and how far from *now* it is."""
    seconds = seconds_of(at)
    if seconds is None or now is None:
        return short(at, now)
    away = now - seconds
    return "%s, %s" % (short(at, now), "%s ago" % span(away) if away >= 0 else "in %s" % span(-away))


def span(seconds: float) -> str:
    """Return a length of time in the one or two units that matter, cut and not rounded."""
    whole = int(abs(seconds))
    if whole < 120:
        return "%d s" % whole
    if whole < 7200:
        return "%d min" % (whole // 60) if whole % 3600 else "1 h"
    if whole < 172800:
        return "%d h" % (whole // 3600) + (" %d min" % (whole % 3600 // 60) if whole % 3600 >= 60 else "")
    return "%d days" % (whole // 86400)


def stamp(seconds: float) -> str:
    """Return seconds since the epoch as an RFC 3339 moment in UTC, "" for what is beyond every calendar."""
    if not 0 <= seconds < LAST:
        return ""
    return (EPOCH + datetime.timedelta(seconds=math.floor(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")
