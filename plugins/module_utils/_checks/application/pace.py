# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When what an application stands on is slow enough to explain that the application is late. Plain data in and out."""

from __future__ import annotations

import typing as t

Result = t.Mapping[str, t.Any]
# What takes this share of the time for an answer is slow: the first generation asks its memory twice before it tells its health.
SLOW_SHARE = 1 / 3
# So many times as long a service may take that stands on something slow, before it counts as hung.
LATE = 4


def slow_of(results: t.Iterable[Result], answer: float) -> list[Result]:
    """Return those of *results* that are well, and took so much of *answer* seconds that what stands on them may be late."""
    return [one for one in results if one["health"] == "well" and float(one.get("seconds") or 0) >= SLOW_SHARE * answer]
