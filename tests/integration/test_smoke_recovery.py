# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way once, by the Ansible that runs these tests: the lab's Redis is killed, recovered, and its keys are all there."""

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

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

pytestmark = [
    pytest.mark.smoke,
    pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed"),
    pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), reason="PostgreSQL is not installed"),
    pytest.mark.skipif(not PLAYBOOK.exists(), reason="there is no ansible-playbook beside this Python"),
]


class Lab:
    """A lab in a folder of its own; the ports that it found free are in its lab.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def play(self, name: str, *words: str) -> str:
        """Run a playbook on the lab; fails with what it printed when it ends red."""
        command = [str(PLAYBOOK), "-i", "inventories/lab", f"playbooks/{name}", *words]
        env = {**os.environ, "SOMABRAIN_LAB_DIR": str(self.folder), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
        ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=180, check=False)
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
        return ran.stdout

    def redis(self, *words: str) -> str:
        port = json.loads((self.folder / "lab.json").read_text())["ports"]["redis"]
        ran = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, timeout=10, check=False)
        return ran.stdout.strip()


@pytest.fixture
def lab() -> t.Iterator[Lab]:
    # PostgreSQL runs as an unprivileged user, who has to reach its folder.
    parent = Path(tempfile.mkdtemp(prefix="somabrain-smoke-"))
    parent.chmod(0o755)
    lab = Lab(parent / "lab")
    try:
        lab.play("start-lab.yml")
        yield lab
    finally:
        lab.play("stop-lab.yml")
        shutil.rmtree(parent)


def test_a_killed_redis_is_recovered_and_no_acknowledged_key_is_missing(lab: Lab) -> None:
    acknowledged = [f"smoke:{number}" for number in range(50) if lab.redis("set", f"smoke:{number}", "x") == "OK"]
    assert len(acknowledged) == 50
    before = next(line for line in lab.redis("info", "server").splitlines() if line.startswith("process_id:"))
    os.kill(int(before.partition(":")[2]), signal.SIGKILL)
    assert lab.redis("ping") != "PONG"

    outcome_file = lab.folder.parent / "outcome.json"
    lab.play("recover-redis.yml", "-e", f"remediation_outcome_file={outcome_file}")

    assert json.loads(outcome_file.read_text())["outcome"] == "recovered"
    assert lab.redis("exists", *acknowledged) == "50"


def test_a_well_redis_is_left_alone(lab: Lab) -> None:
    outcome_file = lab.folder.parent / "outcome.json"
    before = lab.redis("info", "server")
    lab.play("recover-redis.yml", "-e", f"remediation_outcome_file={outcome_file}")
    run_id = next(line for line in before.splitlines() if line.startswith("run_id:"))
    assert json.loads(outcome_file.read_text())["outcome"] == "nothing_to_do"
    assert run_id in lab.redis("info", "server")
