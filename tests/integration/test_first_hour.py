# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks by their installed names, from a directory of one's own, with Ansible's own view."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest
from farms.warmly import run_ansible
from somabrain_drill.ports import free_port

import ansible_collections.somabrain.incident_response as collection

ROOT = next(iter(collection.__path__)).split("/ansible_collections/")[0]
NAMES = "somabrain.incident_response."


@pytest.fixture
def tmp_path() -> t.Iterator[Path]:
    """A folder with a short name: what is printed shortens a long one."""
    with tempfile.TemporaryDirectory(prefix="hour-") as folder:
        yield Path(folder)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    service = {"redis_recovery_manager": "supervisor", "redis_recovery_service": "redis", "redis_recovery_port": free_port()}
    service |= {"service_manager_supervisor_url": "unix:///nowhere/supervisor.sock"}
    files: dict[str, t.Any] = {
        "redis_recovery_password_file": str(tmp_path / "no-password"),
        "redis_recovery_make_room": [str(tmp_path / "no-reserve")],
        "redis_recovery_rescue_dir": str(tmp_path / "rescue"),
        "remediation_state_dir": str(tmp_path / "state"),
    }
    file = tmp_path / "my hosts.json"
    file.write_text(json.dumps({"all": {"children": {"redis": {"hosts": {"shop-a": {**local, **service, **files}}}}}}))
    return file


def run(name: str, inventory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=ROOT, ANSIBLE_STDOUT_CALLBACK="default", ANSIBLE_LOCALHOST_WARNING="0")
    env.update(ANSIBLE_CONFIG=str(inventory.parent / "none.cfg"), ANSIBLE_FORCE_COLOR="0", LC_ALL="C.UTF-8")
    command = [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), NAMES + name, "-i", inventory.name, *words]
    return run_ansible(command, env=env, cwd=inventory.parent, timeout=120)


def flat(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join(done.stdout.split())


def test_check_access_asks_for_what_the_variables_of_the_remedies_name(inventory: Path, tmp_path: Path) -> None:
    done = run("check_access", inventory)
    text = flat(done)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "items are ready for redis_recovery" in text
    assert f"PROBLEM redis_recovery_make_room {tmp_path}/no-reserve: is not there" in text
    assert f"fallocate -l 1G {tmp_path}/no-reserve" in text
    assert f"password_file {tmp_path}/no-password: the file does not exist (on shop-a)" in text
    assert "PROBLEM Redis service" in text
    assert f"room in {tmp_path}/rescue" in text


def test_a_refusal_names_the_next_command_as_the_run_was_called_and_does_not_wait(inventory: Path, tmp_path: Path) -> None:
    done = run("recover_redis", inventory, "-e", f"remediation_outcome_file={tmp_path}/outcome.json")
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert (done.returncode, outcome["outcome"]) == (2, "refused"), done.stdout + done.stderr
    assert [one["code"] for one in outcome["reasons"]] == ["bad_input"]
    assert outcome["seconds"] < 20
    again = f"ansible-playbook {NAMES}recover_redis -i 'my hosts.json' -e remediation_outcome_file={tmp_path}/outcome.json"
    assert again in done.stdout.splitlines()
    assert "+ shop-a/redis  REFUSED" in done.stdout
