# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimates how long a run of several steps still takes, from how long each step took before.

``line FILES PLAN STEP ELAPSED WITHIN [LOG]`` prints one line: FILES are tables of seconds, joined by colons, the last one wins; PLAN names
the steps, joined by commas; ELAPSED and WITHIN are the seconds of the run and of STEP; LOG is the output of a pytest that runs in it.
``learn FILE STEP SECONDS`` notes how long a step took.
"""

from __future__ import annotations

import json
import re
import sys
import typing as t
from pathlib import Path

PERCENT = re.compile(r"\[ *(\d+)%\]")


def read_tables(paths: t.Sequence[str]) -> dict[str, float]:
    """Return the seconds of each step; a table that is missing or damaged says nothing."""
    seconds: dict[str, float] = {}
    for path in paths:
        try:
            table = json.loads(Path(path).read_text())
            seconds.update({str(step): float(value) for step, value in table.items()})
        except (OSError, ValueError, AttributeError, TypeError):
            continue
    return seconds


def share_done(log: str) -> float | None:
    """Return the share of tests that a running pytest has finished, by the last percentage it printed."""
    found = PERCENT.findall(log)
    return int(found[-1]) / 100 if found else None


def left_in_step(expected: float | None, within: float, share: float | None) -> float | None:
    """Return the seconds a step still takes: by the last run; once it is late, by the share that is done; None if neither is known."""
    if expected is not None and expected > within:
        return expected - within
    if share:
        return within * (1 - share) / share
    return None if expected is None else 0.0


def left_in_run(seconds: t.Mapping[str, float], plan: t.Sequence[str], step: str, within: float, share: float | None) -> float | None:
    """Return the seconds until all of *plan* is done; None when a step's time is unknown."""
    coming = [seconds.get(name) for name in plan[plan.index(step) + 1 :]]
    parts = [left_in_step(seconds.get(step), within, share), *coming]
    return None if None in parts else sum(part for part in parts if part is not None)


def clock(seconds: float) -> str:
    """Return seconds as people read them: 0:05, 12:34, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def line(plan: t.Sequence[str], step: str, elapsed: float, left: float | None, share: float | None) -> str:
    """Return the line of progress."""
    tests = f" ({share:.0%} of its tests)" if share is not None else ""
    rest = "time left unknown" if left is None else f"about {clock(left)} left"
    return f"-- {plan.index(step) + 1}/{len(plan)} {step}{tests}, {clock(elapsed)} elapsed, {rest}"


def learn(path: Path, step: str, seconds: float) -> None:
    """Note in *path* how long *step* took."""
    table = {**read_tables([str(path)]), step: round(seconds, 1)}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    new.replace(path)


def main(arguments: t.Sequence[str]) -> None:
    if arguments[0] == "learn":
        learn(Path(arguments[1]), arguments[2], float(arguments[3]))
        return
    files, plan, step = arguments[1].split(":"), arguments[2].split(","), arguments[3]
    elapsed, within = float(arguments[4]), float(arguments[5])
    log = Path(arguments[6]) if len(arguments) > 6 else None
    share = share_done(log.read_text(errors="replace")) if log and log.is_file() else None
    print(line(plan, step, elapsed, left_in_run(read_tables(files), plan, step, within, share), share))


if __name__ == "__main__":
    main(sys.argv[1:])
