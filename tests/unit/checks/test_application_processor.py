# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a silent service hardly gets a processor: by what the kernel counted, and on processes of our own."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import processor

HELD = {"seconds": 4.0, "ready": 1.0, "ran": 0.1, "waited": 0.5, "periods": 40.0, "held": 39.0}
CASES: dict[str, tuple[dict[str, float], bool]] = {
    "held back by its quota": ({}, True),
    "in as many periods as it takes": ({"held": 32.0}, True),
    "in too few of them": ({"held": 31.0}, False),
    "no quota": ({"periods": 0.0, "held": 0.0}, False),
    "no quota, and it waits for its turn": ({"periods": 0.0, "held": 0.0, "waited": 3.2}, True),
    "it waits, but not mostly": ({"periods": 0.0, "held": 0.0, "waited": 3.1}, False),
    "it runs as much as a starved one may": ({"ran": 0.8}, True),
    "it runs": ({"ran": 0.9}, False),
    "it sleeps, in a group that others use up": ({"ready": 0.0}, False),
    "too short a look": ({"seconds": 0.4, "ran": 0.0}, False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_service_is_starved_where_it_wants_to_run_and_hardly_does(name: str) -> None:
    change, starved = CASES[name]
    assert processor.is_starved({**HELD, **change}) is starved


def test_what_was_not_seen_is_not_starved() -> None:
    assert not processor.is_starved({})
    assert processor.load_times([]) == processor.load_times([2**22 + 1]) == processor.passed_since({}, [os.getpid()], 1.0) == {}


def test_why_it_is_starved_is_named() -> None:
    assert processor.text_of(HELD) == (
        "it gets too little of a processor: in 4.0 s it ran 0.1 s, and the quota of its control group held it back in 39 of 40 periods"
    )
    assert processor.text_of({**HELD, "waited": 3.9, "held": 1.0}).endswith(
        "it ran 0.1 s, and waited 3.9 s for its turn: the machine is overloaded"
    )


@pytest.fixture
def spinning() -> t.Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process.pid
        process.kill()


def test_a_process_that_runs_is_not_starved_and_one_that_sleeps_is_not_either(spinning: int) -> None:
    before = processor.load_times([spinning])
    now = processor.passed_since(before, [spinning], 4.0)
    assert 0.9 < now["seconds"] < 30
    assert now["ran"] > 0
    with subprocess.Popen(["sleep", "60"]) as asleep:
        assert not processor.is_starved(processor.passed_since(processor.load_times([asleep.pid]), [asleep.pid], 4.0))
        asleep.kill()


def test_a_process_with_a_quota_of_two_in_a_hundred_is_starved(spinning: int) -> None:
    group = Path("/sys/fs/cgroup/cpu" if Path("/sys/fs/cgroup/cpu").is_dir() else "/sys/fs/cgroup", f"somabrain-{os.getpid()}")
    try:
        group.mkdir()
        quota = group / "cpu.cfs_quota_us"
        (quota if quota.exists() else group / "cpu.max").write_text("2000" if quota.exists() else "2000 100000")
        (group / "cgroup.procs").write_text(str(spinning))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no control group with a quota can be made here: {error}")
    try:
        now = processor.passed_since(processor.load_times([spinning]), [spinning], 4.0)
        assert processor.is_starved(now), now
        assert "quota" in processor.text_of(now)
    finally:
        root = group.parent / "cgroup.procs"
        root.write_text(str(spinning))
        group.rmdir()
