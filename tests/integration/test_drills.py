# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills on a lab of their own: the quick ones hold, a hypothesis that is wrong fails, and a host without its mark is left alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from somabrain_drill.traffic.bed import program

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
# What no story and no other test tells as a drill does; `make prove` takes all.
QUICK = ["redis_killed", "service_hung", "release_bad"]
QUICK += ["traffic_last_server"] if program("haproxy") else []

pytestmark = [
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
    pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), reason="PostgreSQL is not installed"),
    pytest.mark.skipif(not PLAYBOOK.exists(), reason="no ansible-playbook beside this Python"),
]


def drill(*words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "playbooks/collections"), str(ROOT / "roles/drill/files")])
    command = [sys.executable, "-B", "-m", "somabrain_drill", *words]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=900, check=False)


def history(record: Path) -> str:
    command = [str(PLAYBOOK), "playbooks/show-history.yml", "-i", "inventories/lab", "-e", f"remediation_state_dir={record}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_quick_drills_hold_and_are_recorded(tmp_path: Path) -> None:
    done = drill(*QUICK, "--record-dir", str(tmp_path / "record"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(QUICK)} held, 0 failed, 0 skipped" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()[:-1]) <= 100
    told = " ".join(history(tmp_path / "record").split())
    assert [name for name in QUICK if f"drill {name} held" not in told] == []
    assert "last proven 20" in told


# What nobody declares: the drill removes an acknowledged key behind the recovery's back.
UNTOLD = """
hypothesis: A key that is removed by hand is still there.
before: [{write: 50}]
inject:
  - ask: [EVAL, "return redis.call('DEL', unpack(redis.call('KEYS', 'drill:*')))", 0]
  - kill
writers: false
rehearse: false
expect: recovered
"""


def test_a_loss_that_nobody_declared_fails_the_drill(tmp_path: Path) -> None:
    folder = tmp_path / "faults"
    (folder / "redis").mkdir(parents=True)
    (folder / "redis/untold.yml").write_text(UNTOLD)
    done = drill("--faults", str(folder), "--record-dir", str(tmp_path / "record"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert " missing" in done.stdout
    assert "last proven never" in " ".join(history(tmp_path / "record").split())


# A row that is deleted by hand, in a cluster that nobody broke.
DELETED = """
hypothesis: A row that is deleted by hand is still there.
before: [{write: 50}]
inject:
  - sql: DELETE FROM drill_rows WHERE id = (SELECT max(id) FROM drill_rows)
writers: false
rehearse: false
expect: nothing_to_do
"""


def test_a_row_that_nobody_missed_fails_the_drill(tmp_path: Path) -> None:
    folder = tmp_path / "faults"
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/deleted.yml").write_text(DELETED)
    done = drill("--faults", str(folder), "--record-dir", str(tmp_path / "record"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "declared 0, measured 1 (1 missing" in done.stdout


def test_a_host_without_the_mark_is_refused_and_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    host = {"ansible_connection": "local", "redis_recovery_data_dir": str(tmp_path / "data"), "redis_recovery_port": 1}
    (tmp_path / "hosts.json").write_text(json.dumps({"redis": {"hosts": {"here": host}}}))
    given = ["-e", "drill_hosts=here", "-e", "drill_fault=redis_killed"]
    command = [str(PLAYBOOK), "playbooks/drill.yml", "-i", str(tmp_path / "hosts.json"), *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "is not marked for drills" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "hosts.json"]
