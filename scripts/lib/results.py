# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts test results.

``junit FILE STATUS`` prints "passed failed skipped", ``failed FILE`` names, ``table FILE`` the stages and the last line.
"""

from __future__ import annotations

import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree


@dataclass(frozen=True)
class Row:
    """One line that a stage recorded; seconds are wall time."""

    stage: str
    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    note: str


def read_rows(text: str) -> list[Row]:
    """Return the rows of a results file: seven fields, parted by tabs."""
    rows = []
    for line in text.splitlines():
        stage, name, passed, failed, skipped, seconds, note = line.split("\t")
        rows.append(Row(stage, name, int(passed), int(failed), int(skipped), float(seconds), note))
    return rows


def count_junit(text: str, status: int) -> tuple[int, int, int]:
    """Return passed, failed and skipped tests of a pytest report; a non-zero *status* always has a failure."""
    suites = ElementTree.fromstring(text).iter("testsuite")  # noqa: S314 - written by our own pytest
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    passed = max(0, total - failed - skipped)
    return passed, max(failed, 1 if status else 0), skipped


def failed_names(text: str) -> str:
    """Return the names of the tests of a pytest report that failed or could not be set up."""
    cases = ElementTree.fromstring(text).iter("testcase")  # noqa: S314 - written by our own pytest
    bad = (case for case in cases if case.find("failure") is not None or case.find("error") is not None)
    return ", ".join(dict.fromkeys(str(case.get("name")) for case in bad))


def stage_line(stage: str, rows: t.Sequence[Row], width: int = 12) -> str:
    """Return the line of one stage: its word, its counts, its seconds."""
    passed, failed, skipped = (sum(getattr(row, key) for row in rows) for key in ("passed", "failed", "skipped"))
    word = "FAILED" if failed else "passed" if passed else "skipped"
    seconds = sum(row.seconds for row in rows)
    return f"{stage:<{width}} {word:<8} {passed:>6} {failed:>7} {skipped:>8} {seconds:>9.1f}"


def table(rows: t.Sequence[Row]) -> str:
    """Return the table of stages, every failed, skipped or unsteady case with its reason, and the last line with the sums."""
    width = max([12, *(len(row.stage) for row in rows)])
    lines = [f"{'stage':<{width}} {'result':<8} {'passed':>6} {'failed':>7} {'skipped':>8} {'seconds':>9}"]
    for stage in dict.fromkeys(row.stage for row in rows):
        own = [row for row in rows if row.stage == stage]
        lines.append(stage_line(stage, own, width))
        for row in own:
            if row.failed:
                lines.append(f"  failed   {row.name}" + (f": {row.note}" if row.note else ""))
            elif row.passed and row.note:
                lines.append(f"  unsteady {row.name}: {row.note}")
            elif row.skipped and row.note:
                lines.append(f"  skipped  {row.name}: {row.note}")
    sums = [sum(getattr(row, key) for row in rows) for key in ("passed", "failed", "skipped")]
    return "\n".join([*lines, "", "{} passed, {} failed, {} skipped".format(*sums)])


def main(arguments: t.Sequence[str]) -> int:
    """Print what the first word asks for; exit code 1 when a table has a failure or no test that passed."""
    word, path = arguments[0], Path(arguments[1])
    if word == "junit":
        print(*count_junit(path.read_text(), int(arguments[2])))
        return 0
    if word == "failed":
        print(failed_names(path.read_text()))
        return 0
    rows = read_rows(path.read_text())
    print(table(rows))
    return 1 if any(row.failed for row in rows) or not any(row.passed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
