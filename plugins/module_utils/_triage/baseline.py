# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is usual: numbers of a service while it was well, with their spread, and what is unusual beside them. Pure."""

from __future__ import annotations

import statistics
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

Numbers = t.Mapping[str, t.Mapping[str, t.Any]]
Usual = t.Dict[str, t.Dict[str, t.Dict[str, float]]]

# What may lie between two ordinary days, as a share of the median and in the unit of the metric, where its looks differed less.
ORDINARY_SHARE = 0.5
ORDINARY = {"latency_ms": 100.0, "memory_bytes": 16 * 1024 * 1024, "keys": 10.0, "connections": 10.0, "error_rate": 0.01}
WORDS = {
    "latency_ms": ("latency", "ms"), "memory_bytes": ("memory", "MiB"), "keys": ("keys", ""), "connections": ("connections", ""),
    "error_rate": ("error rate", "%"),
}  # fmt: skip
SCALES = {"MiB": 1 / (1024 * 1024), "%": 100.0}


def baseline_of(series: t.Mapping[str, t.Mapping[str, t.Sequence[float]]]) -> Usual:
    """Return {component: {metric: {median, low, high, looks}}} of the numbers of several looks; a metric without numbers is left out."""
    return {
        name: {
            metric: {"median": statistics.median(found), "low": min(found), "high": max(found), "looks": float(len(found))}
            for metric, found in metrics.items() if found
        }
        for name, metrics in series.items() if any(metrics.values())
    }  # fmt: skip


def compared(now: Numbers, usual: Numbers, recorded_at: t.Any) -> t.Dict[str, t.Dict[str, t.Any]]:
    """Return {component: {metric: {now, median, low, high, unusual, text}}} of what has both numbers.

    now: {component: {metric: number}}; usual: what ``baseline_of`` returned at *recorded_at* (unix seconds). ``unusual`` is "", more, less.
    """
    found: t.Dict[str, t.Dict[str, t.Any]] = {}
    for name, metrics in now.items():
        for metric, number in metrics.items():
            known = _known((usual.get(name) or {}).get(metric))
            if known and isinstance(number, (int, float)):
                found.setdefault(name, {})[metric] = _beside(metric, float(number), known, recorded_at)
    return found


def probe_of(looked: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Return the look of ``health_info`` as a run that only records takes it: nothing follows from it but its state, not_well or none."""
    if not looked or looked.get("failed") or looked.get("unreachable"):
        return dict(looked)
    proven = looked.get("health") == "well" and looked.get("proven")
    lacks = proven and not baseline_of(looked.get("series") or {})
    said = dict(looked, actions=[], facts={"final": True}, subject="baseline", series={})
    if proven and not lacks:
        return dict(said, state="usual")
    text = "nothing that was looked at has a number: name a service in health_verification_checks" if lacks else ""
    return dict(said, state="not_well", health=looked["health"] if not proven else "unknown", say=[*([text] if text else looked["say"])])


def kept_of(looked: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """Return {"baseline": {"numbers": ...}} of a look that was well each time, {} of any other."""
    numbers = baseline_of(looked.get("series") or {}) if looked.get("health") == "well" and looked.get("proven") else {}
    return {"baseline": {"numbers": numbers}} if numbers else {}


def _known(given: t.Any) -> t.Dict[str, float]:
    """Return the numbers of a recorded metric, {} where it has not all of them."""
    wanted = ("median", "low", "high")
    whole = isinstance(given, t.Mapping) and all(isinstance(given.get(one), (int, float)) for one in wanted)
    return {one: float(given[one]) for one in wanted} if whole else {}


def _beside(metric: str, number: float, known: t.Mapping[str, float], recorded_at: t.Any) -> t.Dict[str, t.Any]:
    room = max(known["high"] - known["low"], ORDINARY_SHARE * abs(known["median"]), ORDINARY.get(metric, 0.0))
    unusual = "more" if number > known["high"] + room else "less" if number < known["low"] - room else ""
    word, unit = WORDS.get(metric, (one_line(metric, 40), ""))
    shown = [_shown(one, unit) for one in (number, known["median"], known["low"], known["high"])]
    text = "%s %s, usually %s (%s to %s, recorded %s)" % (word, *shown, _day(recorded_at))
    return dict(known, now=number, unusual=unusual, text=text)


def _shown(number: float, unit: str) -> str:
    scaled = number * SCALES.get(unit, 1.0)
    digits = "%.0f" % scaled if scaled == int(scaled) or abs(scaled) >= 100 else "%.3g" % scaled
    return (digits + " " + unit).strip()


def _day(at: t.Any) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(float(at)))
    except (TypeError, ValueError, OverflowError, OSError):
        return "at an unknown time"
