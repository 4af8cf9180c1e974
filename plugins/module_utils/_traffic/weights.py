# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which weights give which share: small whole numbers that hit it as exactly as the balancer's range allows. Pure."""

from __future__ import annotations

import functools
import math
import typing as t

Weights = t.Dict[str, int]
# Percentage points by which a share may miss; if the usual proportions cannot do better, all servers of a side get the same.
FINE = 0.5


def weights_for(share: float, main: t.Mapping[str, int], rest: t.Sequence[str], largest: int) -> Weights:
    """Return the weights by which the servers *main* (name to usual weight) get *share* percent together, and *rest* what is left.

    0 gives main nothing, 100 gives them their usual weights and the rest nothing. Raises ValueError where a side is needed and empty.
    """
    if (share > 0 and not main) or (share < 100 and not rest):
        raise ValueError("a share of %g %% needs servers on both sides" % share)
    if share <= 0:
        return {**dict.fromkeys(main, 0), **dict.fromkeys(rest, 1)}
    if share >= 100:
        return {**{name: weight or 1 for name, weight in main.items()}, **dict.fromkeys(rest, 0)}
    # Whole weights cannot give many servers a small share: then fewer servers take part, and the others get nothing.
    tried = [(_parts(main), len(rest)), *((dict.fromkeys(sorted(main)[:count], 1), len(rest)) for count in range(len(main), 0, -1))]
    for parts, others in [*tried, (dict.fromkeys(main, 1), 1)]:
        unit, each, missed = _best(share, sum(parts.values()), max(parts.values()), others, largest)
        if missed <= FINE:
            break
    given = {name: unit * parts.get(name, 0) for name in main}
    return {**given, **{name: each if place < others else 0 for place, name in enumerate(sorted(rest))}}


def _parts(main: t.Mapping[str, int]) -> dict[str, int]:
    usual = {name: weight or 1 for name, weight in main.items()}
    common = functools.reduce(math.gcd, usual.values())
    return {name: weight // common for name, weight in usual.items()}


def _best(share: float, whole: int, most: int, others: int, largest: int) -> tuple[int, int, float]:
    """Return (weight of one part of main, weight of each other, percent points missed); of equals the smallest numbers."""
    found = (1, 1, 100.0)
    for each in range(1, largest + 1):
        exact = share * each * others / ((100.0 - share) * whole)
        for unit in {min(max(1, round_to(exact)), largest // most) for round_to in (math.floor, math.ceil)}:
            missed = abs(100.0 * unit * whole / (unit * whole + each * others) - share)
            if unit > 0 and missed < found[2] - 1e-9:
                found = (unit, each, missed)
    return found
