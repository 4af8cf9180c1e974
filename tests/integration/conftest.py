# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the tests of this folder import its farms and those of lab and drills, and look for sentences in what a run shows.

The import mode of the project adds no folder by itself. The tests in long.txt get the mark `long`. The files that take longest come
first, so that no worker is left alone with one in the end: by the seconds of the last whole run, or by those committed beside this file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import typing as t
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
sys.path += [str(Path(__file__).parents[2] / "roles" / role / "files") for role in ("drill", "lab")]

# Where a line is broken depends on how long a run took; only the tests of the view itself ask for a narrow screen.
os.environ["SOMABRAIN_ON_CALL_WIDTH"] = "2000"
os.environ.pop("COLUMNS", None)

HERE = Path(__file__).parent
TABLES = (HERE / "seconds.json", HERE.parents[1] / ".cache/integration-seconds.json")


def mark_the_long_ones(items: list[pytest.Item], whole: bool) -> None:
    """Mark what long.txt names; *whole*: all tests were collected, so a line that names none of them is wrong."""
    lines = {line for line in (HERE / "long.txt").read_text().splitlines() if line and not line.startswith("#")}
    seen: set[str] = set()
    for item in items:
        name = f"{item.path.name}::{item.name}"
        named = lines & {name, name.partition("[")[0]}
        if named:
            item.add_marker(pytest.mark.long)
            seen |= named
    if whole and lines - seen:
        raise pytest.UsageError(f"long.txt names what is no test: {', '.join(sorted(lines - seen))}")


def seconds_of_files() -> dict[str, float]:
    """Return how long each file took, by its name."""
    found: dict[str, float] = {}
    for table in TABLES:
        with contextlib.suppress(OSError, ValueError):
            found.update(json.loads(table.read_text()))
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    whole = [Path(word) for word in config.args] == [HERE] and not config.getoption("lf")
    mark_the_long_ones(items, whole)
    seconds = seconds_of_files()
    # What nobody has measured may be long.
    items.sort(key=lambda item: -seconds.get(item.path.name, 60.0))


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """Note what each file took, after a run of them all."""
    took: dict[str, float] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                name = Path(report.nodeid.split("::")[0]).name
                took[name] = round(took.get(name, 0.0) + report.duration, 1)
    if set(took) >= {path.name for path in HERE.glob("test_*.py")}:
        TABLES[1].parent.mkdir(exist_ok=True)
        TABLES[1].write_text(json.dumps(took, indent=1, sort_keys=True) + "\n")
