# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab of a test's own, started, broken and stopped only by the playbooks that a person would run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

from farms.warmly import PLAYBOOK, run_ansible
from somabrain_drill.ports import free_port

ROOT = Path(__file__).resolve().parents[3]


class Practice:
    """A lab of its own, driven only by playbooks."""

    def __init__(self, folder: Path) -> None:
        self.lab = folder / "lab"
        self.outcome_file = folder / "outcome.json"
        self.environment = {**os.environ, "SOMABRAIN_LAB_DIR": str(self.lab), "NO_COLOR": "1"}

    def play(self, name: str, *words: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        command = [str(PLAYBOOK), f"playbooks/{name}.yml", "-i", "inventories/lab", "-e", json.dumps(variables), *words]
        return run_ansible(command, cwd=ROOT, env=self.environment)

    def run(self, name: str, *words: str, **variables: t.Any) -> dict[str, t.Any]:
        """Run a remedy's playbook and return its outcome, with the exit code as ``code``."""
        self.outcome_file.unlink(missing_ok=True)
        done = self.play(name, *words, remediation_outcome_file=str(self.outcome_file), **variables)
        assert self.outcome_file.exists(), done.stdout + done.stderr
        return {**json.loads(self.outcome_file.read_text()), "code": done.returncode}

    def recover(self, *words: str, what: str = "redis") -> dict[str, t.Any]:
        """Run recover-redis (or another) and return its outcome, with the exit code as ``code``."""
        return self.run(f"recover-{what}", *words)

    @property
    def ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self.lab / "lab.json").read_text())["ports"]
        return ports

    def redis(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.ports["redis"]), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


@contextlib.contextmanager
def practising() -> t.Iterator[Practice]:
    """Start a lab, and stop and remove it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="sb-lab-", dir="/tmp"))
    folder.chmod(0o755)
    one = Practice(folder)
    ports = {f"lab_{name}_port": free_port() for name in ("redis", "postgres", "api", "ltm")}
    # What is measured or waited for is not how long the API takes to load.
    started = one.play("start-lab", lab_api_start_seconds=0, **ports)
    assert started.returncode == 0, started.stdout + started.stderr
    try:
        yield one
    finally:
        stopped = one.play("stop-lab", lab_remove_data=True)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert not one.lab.exists()
    shutil.rmtree(folder)
