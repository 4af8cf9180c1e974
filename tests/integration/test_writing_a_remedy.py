# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remedy of docs/writing-a-remedy.md, taken from that page file by file, recovers a real program of supervisor."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from farms.waiting import until

import ansible_collections.somabrain.incident_response as collection

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PLAYBOOK = os.environ.get("SOMABRAIN_ANSIBLE_PLAYBOOK") or str(BIN / "ansible-playbook")
COLLECTIONS = next(iter(collection.__path__)).split("/ansible_collections/")[0]
SUPERVISOR = """
[unix_http_server]
file={0}/s.sock
[supervisord]
logfile={0}/supervisord.log
pidfile={0}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:worker]
command=sleep 600
autostart=false
startsecs=0
"""


@pytest.fixture
def folder(tmp_path: Path) -> t.Iterator[Path]:
    if not (BIN / "supervisord").exists():
        pytest.skip("supervisord is not installed beside this Python")
    (tmp_path / "supervisor.conf").write_text(SUPERVISOR.format(tmp_path))
    (tmp_path / "worker.log").write_text("it was fine\n")
    page = (ROOT / "docs/writing-a-remedy.md").read_text()
    for path, text in re.findall(r"^`((?:roles|playbooks)/\S+)`\n\n```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    daemon = subprocess.Popen([str(BIN / "supervisord"), "-n", "-c", str(tmp_path / "supervisor.conf")], stdout=subprocess.DEVNULL)
    until((tmp_path / "s.sock").exists)
    yield tmp_path
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(20)


def outcome_of(folder: Path, *args: str) -> str:
    (folder / "inventory").write_text("[workers]\nlab ansible_connection=local\n")
    given = {
        "worker_recovery_supervisor_url": f"unix://{folder}/s.sock", "worker_recovery_log": str(folder / "worker.log"),
        "remediation_state_dir": str(folder / "state"), "remediation_outcome_file": str(folder / "out.json"),
        "ansible_python_interpreter": sys.executable,
    }  # fmt: skip
    env = {
        **os.environ, "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS, "ANSIBLE_ROLES_PATH": str(folder / "roles"),
        "ANSIBLE_CONFIG": str(folder / "none.cfg"),
    }  # fmt: skip
    words = [PLAYBOOK, "-i", str(folder / "inventory"), str(folder / "playbooks/recover_worker.yml"), "-e", json.dumps(given), *args]
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False, timeout=120)
    outcome = json.loads((folder / "out.json").read_text())
    assert (done.returncode == 0) == outcome["green"], done.stdout + done.stderr
    return str(outcome["outcome"])


def test_the_remedy_of_the_page_works_as_it_stands(folder: Path) -> None:
    assert outcome_of(folder, "--check") == "rehearsed"
    assert outcome_of(folder) == "recovered"
    assert outcome_of(folder) == "nothing_to_do"
    log = sorted((folder / "state/evidence").glob("*/worker.log"))[0]
    assert log.read_text() == "it was fine\n"
