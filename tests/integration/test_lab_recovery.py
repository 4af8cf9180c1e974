# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two commands of the README in small: start the lab by its playbook, kill Redis, recover it, run again."""

from __future__ import annotations

import os
import shutil
import signal
import typing as t
from pathlib import Path

import pytest
from farms.practice import Practice, practising
from farms.redis import has_written
from farms.waiting import until
from farms.warmly import PLAYBOOK

pytestmark = [
    pytest.mark.smoke,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
    pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), reason="PostgreSQL is not installed"),
    pytest.mark.skipif(not PLAYBOOK.exists(), reason="no ansible-playbook beside this Python"),
]


@pytest.fixture(scope="module")
def practice() -> t.Iterator[Practice]:
    with practising() as one:
        yield one


def test_a_well_redis_is_left_alone(practice: Practice) -> None:
    before = practice.redis("INFO", "server")
    outcome = practice.recover()
    assert (outcome["outcome"], outcome["code"]) == ("nothing_to_do", 0)
    assert run_id(practice.redis("INFO", "server")) == run_id(before)


def test_a_killed_redis_is_rehearsed_in_check_mode_then_recovered_with_every_acknowledged_key(practice: Practice) -> None:
    keys = [f"key:{number}" for number in range(100) if practice.redis("SET", f"key:{number}", "x") == "OK"]
    info = dict(line.split(":", 1) for line in practice.redis("INFO", "server").splitlines() if ":" in line)
    # With everysec a busy disk holds acknowledged writes back for up to two seconds.
    until(lambda: has_written(practice.redis("INFO", "persistence")), 20)
    os.kill(int(info["process_id"]), signal.SIGKILL)
    rehearsal = practice.recover("--check")
    assert (rehearsal["outcome"], rehearsal["code"]) == ("rehearsed", 0), rehearsal
    assert practice.redis("PING") == ""
    outcome = practice.recover()
    assert (outcome["outcome"], outcome["code"]) == ("recovered", 0), outcome
    assert [key for key in keys if practice.redis("GET", key) != "x"] == []
    assert len(keys) == 100


def test_a_killed_postgresql_is_recovered_and_the_api_on_it_writes_and_recalls(practice: Practice) -> None:
    outcome = practice.recover(what="database")
    assert (outcome["outcome"], outcome["code"]) == ("nothing_to_do", 0), outcome
    os.kill(int((practice.lab / "postgres/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    rehearsal = practice.recover("--check", what="database")
    assert (rehearsal["outcome"], rehearsal["code"]) == ("rehearsed", 0), rehearsal
    outcome = practice.recover(what="database")
    assert (outcome["outcome"], outcome["code"]) == ("recovered", 0), outcome
    assert outcome["after"]["state"] == "accepting"
    assert practice.recover(what="database")["outcome"] == "nothing_to_do"


def run_id(info: str) -> str:
    return next(line for line in info.splitlines() if line.startswith("run_id:"))
