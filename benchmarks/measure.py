# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the table: what was measured, its peer, and the verdict. Every figure is seconds of wall time."""

from __future__ import annotations

import statistics
import sys
import time
import typing as t

Job = t.Callable[[], float]


class Row(t.NamedTuple):
    """One line of the table: our work beside a peer's, and the ratio to reach.

    With ``limit`` the bar is seconds at the 95th percentile and there is no peer; a target of None only reports.
    ``why`` says why a row has no figures.
    """

    work: str
    peer: str
    ours: list[float]
    theirs: list[float]
    target: float | None
    limit: bool = False
    why: str = ""

    @property
    def measured(self) -> bool:
        return bool(self.ours and (self.theirs or self.limit))

    @property
    def unit(self) -> str:
        return " s" if self.limit else "x"

    @property
    def figure(self) -> float:
        """The ratio of the medians, or the 95th percentile in seconds."""
        return p95(self.ours) if self.limit else statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def verdict(self) -> str:
        """Return whether the bar is met or by how much it is missed; without a figure, why."""
        if not self.measured:
            return f"skipped: {self.why}"
        if self.target is None:
            return "no bar"
        return "met" if self.figure <= self.target else f"missed by {self.figure - self.target:.2f}{self.unit}"


def p95(values: t.Sequence[float]) -> float:
    """Return the 95th percentile: the smallest of *values* that at least 95 % of them do not exceed."""
    return sorted(values)[max(0, -(-95 * len(values) // 100) - 1)]


def interleaved(jobs: t.Mapping[str, Job], runs: int, warm: int = 1) -> dict[str, list[float]]:
    """Run all *jobs* in turn, *runs* times after *warm* rounds that do not count; return the seconds of each by name."""
    seen: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(-warm, runs):
        for name, job in jobs.items():
            took = job()
            if turn >= 0:
                seen[name].append(took)
            say(f"  {name}: {took:.2f} s{' (not counted)' if turn < 0 else ''}")
    return seen


def timed(work: t.Callable[[], object]) -> float:
    """Return the wall seconds of one call."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def spread(values: t.Sequence[float]) -> str:
    """Return median and range as text, "" for no values."""
    if not values:
        return ""
    digits = 3 if statistics.median(values) < 0.5 else 2
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(rows: t.Sequence[Row]) -> str:
    """Return *rows* as a table in Markdown."""
    lines = ["| work | beside | ours (s) | peer (s) | measured | bar | verdict |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        figure = f"{row.figure:.2f}{row.unit}" if row.measured else ""
        target = "" if row.target is None else f"<= {row.target:g}{row.unit}"
        lines.append(f"| {row.work} | {row.peer} | {spread(row.ours)} | {spread(row.theirs)} | {figure} | {target} | {row.verdict} |")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
