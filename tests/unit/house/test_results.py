# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The count at the end of the test command is honest: nothing that failed or did not run is called passed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "scripts/lib/results.py"
spec = importlib.util.spec_from_file_location("results", SOURCE)
assert spec
assert spec.loader
results = importlib.util.module_from_spec(spec)
# A dataclass looks its own module up by name while it is made.
sys.modules["results"] = results
spec.loader.exec_module(results)

JUNIT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


@pytest.mark.parametrize(
    ("numbers", "status", "counted"),
    [
        ((5, 0, 0, 0), 0, (5, 0, 0)),
        ((5, 1, 1, 2), 1, (1, 2, 2)),
        ((0, 0, 0, 0), 2, (0, 1, 0)),
        ((5, 0, 0, 0), 124, (5, 1, 0)),
    ],
    ids=["all passed", "failures, errors and skips", "a run that broke has a failure", "a run that was killed has a failure"],
)
def test_a_pytest_report_is_counted(numbers: tuple[int, ...], status: int, counted: tuple[int, int, int]) -> None:
    assert results.count_junit(JUNIT.format(*numbers), status) == counted


ROWS = "lint\truff\t1\t0\t0\t0.2\t\nunit\tpytest\t40\t0\t2\t9.5\t\nmolecule\tredis\t0\t0\t1\t0\tno Docker here\n"


def test_the_last_line_sums_up_and_a_skip_is_told_with_its_reason() -> None:
    lines = results.table(results.read_rows(ROWS)).splitlines()
    assert lines[-1] == "41 passed, 0 failed, 3 skipped"
    assert "  skipped  redis: no Docker here" in lines


def test_what_passed_only_when_run_again_is_named() -> None:
    note = "2 failed at first and passed when run again alone: test_a, test_b[1]"
    lines = results.table(results.read_rows(ROWS + f"integration\tpytest\t9\t0\t3\t1.0\t{note}\n")).splitlines()
    assert f"  unsteady pytest: {note}" in lines


def test_the_failed_tests_of_a_report_are_named() -> None:
    cases = '<testcase name="test_a"><failure/></testcase><testcase name="test_b[1]"><error/></testcase><testcase name="test_c"/>'
    assert results.failed_names(f"<testsuites><testsuite>{cases}</testsuite></testsuites>") == "test_a, test_b[1]"


def test_a_stage_that_only_skipped_is_not_called_passed() -> None:
    line = next(line for line in results.table(results.read_rows(ROWS)).splitlines() if line.startswith("molecule"))
    assert line.split()[1] == "skipped"


@pytest.mark.parametrize(
    ("text", "code"),
    [(ROWS, 0), (ROWS + "lint\tmypy\t0\t1\t0\t1.0\texit 1\n", 1), ("molecule\tredis\t0\t0\t1\t0\tno Docker\n", 1), ("", 1)],
    ids=["passed", "one failed", "nothing but skips", "nothing at all"],
)
def test_the_exit_code_is_honest(tmp_path: Path, text: str, code: int) -> None:
    (tmp_path / "results.tsv").write_text(text)
    assert results.main(["table", str(tmp_path / "results.tsv")]) == code
