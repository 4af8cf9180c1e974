# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers of a check that mean something against those of another day: how long it took, how much there is. Pure."""

from __future__ import annotations

import math
import typing as t

Check = t.Mapping[str, t.Any]
Series = t.Dict[str, t.Dict[str, t.List[float]]]

# Where the facts of a check have each number; its unit is the end of its name, or a count.
PLACES: t.Mapping[str, t.Tuple[str, ...]] = {
    "latency_ms": ("ms", "ping_ms", "latency_ms"),
    "memory_bytes": ("used_memory", "memory.rss"),
    "keys": ("keys",),
    "connections": ("connections.used",),
}


def numbers_of(check: Check) -> t.Dict[str, float]:
    """Return {metric: number} of one result; what it does not have is left out."""
    facts = check.get("facts") or {}
    found = {metric: next((n for n in (_number(facts, path) for path in paths) if n is not None), None) for metric, paths in PLACES.items()}
    return {metric: number for metric, number in found.items() if number is not None}


def add_look(series: Series, results: t.Iterable[Check]) -> None:
    """Add the numbers of one look to *series* {check: {metric: [numbers]}}; one look that is not well starts it over.

    So the numbers are those of consecutive looks that were well.
    """
    results = list(results)
    if any(one["health"] != "well" for one in results):
        series.clear()
        return
    for one in results:
        for metric, number in numbers_of(one).items():
            series.setdefault(str(one["name"]), {}).setdefault(metric, []).append(number)


def _number(facts: t.Any, path: str) -> t.Optional[float]:
    for name in path.split("."):
        facts = facts.get(name) if isinstance(facts, t.Mapping) else None
    is_number = isinstance(facts, (int, float)) and not isinstance(facts, bool) and math.isfinite(facts)
    return float(t.cast(float, facts)) if is_number else None
