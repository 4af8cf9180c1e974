# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of progress: what is done, and the time that is left by what the last run took."""

from __future__ import annotations

import importlib.util
import typing as t
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("progress", Path(__file__).parents[3] / "scripts/lib/progress.py")
assert SPEC
assert SPEC.loader
progress: t.Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(progress)

PLAN = ["checks", "integration", "machines"]
KNOWN = {"checks": 300.0, "integration": 1000.0, "machines": 400.0}


@pytest.mark.parametrize(
    ("seconds", "step", "within", "share", "left"),
    [
        (KNOWN, "checks", 0.0, None, 1700.0),
        (KNOWN, "integration", 250.0, 0.9, 1150.0),
        (KNOWN, "machines", 399.0, None, 1.0),
        (KNOWN, "machines", 500.0, None, 0.0),
        (KNOWN, "integration", 1200.0, 0.75, 800.0),
        ({}, "checks", 10.0, None, None),
        ({"integration": 1000.0}, "integration", 10.0, None, None),
        ({"machines": 400.0}, "integration", 300.0, 0.5, 700.0),
        ({}, "machines", 300.0, 0.0, None),
    ],
)
def test_the_time_left(seconds: dict[str, float], step: str, within: float, share: float | None, left: float | None) -> None:
    assert progress.left_in_run(seconds, PLAN, step, within, share) == left


def test_the_line() -> None:
    told = "-- 2/3 integration (40% of its tests), 12:34 elapsed, about 1:02:05 left"
    assert progress.line(PLAN, "integration", 754.0, 3725.9, 0.4) == told
    assert progress.line(PLAN, "checks", 5.0, None, None) == "-- 1/3 checks, 0:05 elapsed, time left unknown"


@pytest.mark.parametrize(("log", "share"), [("", None), ("....F [  6%]\n.... [ 12%]\n..", 0.12), ("2 passed", None), (".. [100%]", 1.0)])
def test_the_share_of_a_running_pytest(log: str, share: float | None) -> None:
    assert progress.share_done(log) == share


def test_a_table_is_learned_and_a_damaged_one_says_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text('{"checks": 1, "machines": 7}')
    progress.learn(second, "checks", 12.34)
    progress.learn(second, "integration", 5)
    assert progress.read_tables([str(first), str(second), str(tmp_path / "none")]) == {"checks": 12.3, "machines": 7.0, "integration": 5.0}
    second.write_text('["checks"]')
    assert progress.read_tables([str(first), str(second)]) == {"checks": 1.0, "machines": 7.0}
    progress.learn(second, "checks", 3)
    assert progress.read_tables([str(second)]) == {"checks": 3.0}


def test_the_command_reads_tables_and_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text(".... [ 50%]\n")
    progress.main(["learn", str(tmp_path / "a.json"), "one", "60"])
    progress.main(["line", f"{tmp_path}/none.json:{tmp_path}/a.json", "one,two", "one", "70", "70", str(tmp_path / "log")])
    progress.main(["line", f"{tmp_path}/a.json", "one", "one", "7", "7"])
    assert capsys.readouterr().out.splitlines() == [
        "-- 1/2 one (50% of its tests), 1:10 elapsed, time left unknown",
        "-- 1/1 one, 0:07 elapsed, about 0:53 left",
    ]
