# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The response clock of a severity: by when somebody has to respond, counted from where, and how much of that is left.

It counts from the alert, which is when a person could know; without one from the onset, and else from this triage.
"""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import mapping, number
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.readings import seconds_in

Moment = t.Optional[t.Mapping[str, t.Any]]
# Clocks differ: a time that is later than now by less than this counts as now.
SKEW = 5.0


def clock_of(
    severity: t.Mapping[str, t.Any], rules: t.Mapping[str, t.Any], at: float, alert: Moment = None, onset: Moment = None
) -> t.Optional[dict[str, t.Any]]:
    """Return {respond_within_seconds, from, from_source, due_at, left_seconds, text} at the time *at*, None where nothing is wrong."""
    level = severity.get("level")
    within = next((number(one["respond_within_seconds"]) for one in rules["severities"] if one["level"] == level), None)
    now = number(at)
    if within is None or now is None:
        return None
    begun, source, passed_over = _begun(now, alert, onset)
    left = round(begun + within - now)
    said = "%s left" % duration(left) if left >= 0 else "overdue by %s" % duration(-left)
    text = "%s: respond within %s of %s (%s), by %s: %s" % (level, duration(within), source, rfc3339(begun), rfc3339(begun + within), said)
    return {
        "respond_within_seconds": int(within), "from": rfc3339(begun), "from_source": source, "due_at": rfc3339(begun + within),
        "left_seconds": left, "text": one_line(text + passed_over, 300),
    }  # fmt: skip


def _begun(now: float, alert: Moment, onset: Moment) -> tuple[float, str, str]:
    """Return (when the clock began, what that was, what was passed over and why)."""
    passed_over = ""
    for name, moment in (("the alert", alert), ("the onset", onset)):
        given = mapping(moment)
        # Of a range the earlier end: the clock must not run late.
        for key, said in (("at", name), ("earliest", name + " at the earliest")):
            seconds = seconds_of(given.get(key))
            if seconds is not None and seconds <= now + SKEW:
                return min(seconds, now), said, passed_over
            if seconds is not None:
                passed_over = "; %s is given as %s, which is still to come, so it was not used" % (name, rfc3339(seconds))
    return now, "this triage", passed_over or "; neither an alert nor the onset is known"


def seconds_of(value: t.Any) -> t.Optional[float]:
    """Return the seconds since the epoch of an RFC 3339 time, None for anything else."""
    return seconds_in(value) if isinstance(value, str) else None


def rfc3339(seconds: float) -> str:
    """Return a time in UTC; the last second of the calendar for what is after it."""
    latest = 253402300799.0
    return datetime.datetime.fromtimestamp(min(seconds, latest), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(seconds: float) -> str:
    """Return a duration as a person says it: 45 s, 15 min, 3 h 20 min, 2 d 4 h."""
    whole = int(seconds)
    if whole < 60:
        return "%d s" % whole
    if whole < 3600:
        return "%d min" % (whole // 60)
    large, small, size, names = (whole // 86400, whole % 86400, 3600, "dh") if whole > 86400 else (whole // 3600, whole % 3600, 60, "hm")
    rest = small // size
    return "%d %s" % (large, names[0]) + (" %d %s" % (rest, "min" if names[1] == "m" else "h") if rest else "")
