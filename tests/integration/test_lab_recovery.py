# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two commands of the README in small: start the lab by its playbook, kill Redis, recover it, run again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest
from somabrain_drill.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"

pytestmark = [
    pytest.mark.smoke,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
    pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), reason="PostgreSQL is not installed"),
    pytest.mark.skipif(not PLAYBOOK.exists(), reason="no ansible-playbook beside this Python"),
]


class Practice:
    """A lab of its own, driven only by playbooks."""

    def __init__(self, folder: Path) -> None:
        self.lab = folder / "lab"
        self.outcome_file = folder / "outcome.json"
        self.environment = {**os.environ, "SOMABRAIN_LAB_DIR": str(self.lab), "NO_COLOR": "1"}

    def play(self, name: str, *words: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        command = [str(PLAYBOOK), f"playbooks/{name}.yml", "-i", "inventories/lab", "-e", json.dumps(variables), *words]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=180, check=False)

    def recover(self, *words: str, what: str = "redis") -> dict[str, t.Any]:
        """Run recover-redis (or another) and return its outcome, with the exit code as ``code``."""
        self.outcome_file.unlink(missing_ok=True)
        done = self.play(f"recover-{what}", *words, remediation_outcome_file=str(self.outcome_file))
        assert self.outcome_file.exists(), done.stdout + done.stderr
        return {**json.loads(self.outcome_file.read_text()), "code": done.returncode}

    def redis(self, *words: str) -> str:
        port = json.loads((self.lab / "lab.json").read_text())["ports"]["redis"]
        command = ["redis-cli", "-p", str(port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


@pytest.fixture(scope="module")
def practice() -> t.Iterator[Practice]:
    folder = Path(tempfile.mkdtemp(prefix="sb-lab-", dir="/tmp"))
    folder.chmod(0o755)
    one = Practice(folder)
    ports = {f"lab_{name}_port": free_port() for name in ("redis", "postgres", "api", "ltm")}
    started = one.play("start-lab", **ports)
    assert started.returncode == 0, started.stdout + started.stderr
    yield one
    stopped = one.play("stop-lab", lab_remove_data=True)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert not one.lab.exists()
    shutil.rmtree(folder)


def test_a_well_redis_is_left_alone(practice: Practice) -> None:
    before = practice.redis("INFO", "server")
    outcome = practice.recover()
    assert (outcome["outcome"], outcome["code"]) == ("nothing_to_do", 0)
    assert run_id(practice.redis("INFO", "server")) == run_id(before)


def test_a_killed_redis_is_rehearsed_in_check_mode_then_recovered_with_every_acknowledged_key(practice: Practice) -> None:
    keys = [f"key:{number}" for number in range(100) if practice.redis("SET", f"key:{number}", "x") == "OK"]
    info = dict(line.split(":", 1) for line in practice.redis("INFO", "server").splitlines() if ":" in line)
    os.kill(int(info["process_id"]), signal.SIGKILL)
    rehearsal = practice.recover("--check")
    assert (rehearsal["outcome"], rehearsal["code"]) == ("rehearsed", 0)
    assert practice.redis("PING") == ""
    outcome = practice.recover()
    assert (outcome["outcome"], outcome["code"]) == ("recovered", 0)
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
