# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory over samples: a leak grows from sample to sample, a one-off grew once. Pure judgement."""

from __future__ import annotations

import typing as t

Sample = t.Mapping[str, t.Any]
LEAST = 4
# The share of all steps that has to go up, and the largest share of the growth that one step may have, before it is called steady.
RISING, ONE_STEP = 0.7, 0.6


def growth_of(samples: t.Sequence[Sample], least: float) -> dict[str, t.Any]:
    """Return {per_minute, grown, steady, samples, seconds} of samples {at, rss} of one process, in bytes.

    steady: it went up by more than *least* bytes, in most steps, and not by one step alone.
    """
    points = [(float(one["at"]), int(one["rss"])) for one in samples]
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return {"per_minute": 0, "grown": 0, "steady": False, "samples": len(points), "seconds": 0.0}
    steps = [later[1] - earlier[1] for earlier, later in zip(points, points[1:])]
    seconds, grown = points[-1][0] - points[0][0], points[-1][1] - points[0][1]
    rising = sum(step > 0 for step in steps) / len(steps)
    steady = len(points) >= LEAST and grown >= least and rising >= RISING and max(steps) <= ONE_STEP * grown
    return {
        "per_minute": round(grown / seconds * 60),
        "grown": grown,
        "steady": steady,
        "samples": len(points),
        "seconds": round(seconds, 1),
    }


def minutes_left(rss: int, limit: t.Optional[int], per_minute: float) -> t.Optional[float]:
    """Return how many minutes are left until the limit at this rate, None where no limit is known or nothing grows."""
    if not limit or per_minute <= 0:
        return None
    return round(max(0, limit - rss) / per_minute, 1)


def of_same_process(earlier: t.Sequence[Sample], identity: t.Mapping[str, t.Any]) -> list[Sample]:
    """Return those of *earlier* samples that belong to the process of *identity* (pid, start_time_ticks)."""
    mine = (identity.get("pid"), identity.get("start_time_ticks"))
    return [one for one in earlier if (one.get("pid"), one.get("start_time_ticks")) == mine]
