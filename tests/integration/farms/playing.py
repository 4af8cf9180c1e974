# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs task files of service_manager, as a playbook of one's own would, with the collections of others that scripts/test fetches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from farms.warmly import run_ansible

import ansible_collections.somabrain.incident_response as collection

OURS = next(iter(collection.__path__)).split("/ansible_collections/")[0]
ROOT = Path(__file__).resolve().parents[3]
BORROWED = ROOT / ".cache/collections"
Results = t.Dict[str, t.Dict[str, t.Any]]


def borrowed(name: str) -> bool:
    """Return whether a collection of others (``community/docker``) is there."""
    return (BORROWED / "ansible_collections" / name).is_dir()


def play(home: Path, files: t.Sequence[str], given: dict[str, t.Any], *words: str) -> tuple[subprocess.CompletedProcess[str], Results]:
    """Run *files* (``compose/start``) one after the other in one play, and return how it ended and what each registered."""
    home.mkdir(exist_ok=True)
    tasks: list[dict[str, t.Any]] = []
    places = {file: home / (file.replace("/", "-") + ".json") for file in files}
    for file, place in places.items():
        place.unlink(missing_ok=True)
        role = {"name": "somabrain.incident_response.service_manager", "tasks_from": f"{file}.yml"}
        keep = {"content": "{{ service_manager_result | to_json }}", "dest": str(place)}
        # Only this task runs a module on the host of the play; an act that is the controller's finds its Python by itself.
        copy = {"copy": keep, "check_mode": False, "vars": {"ansible_python_interpreter": sys.executable}}
        tasks += [{"include_role": role, "vars": given}, copy]
    book = [{"hosts": "machine", "gather_facts": False, "connection": "local", "tasks": tasks}]
    (home / "play.json").write_text(json.dumps(book))
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": f"{OURS}:{BORROWED}",
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_CONFIG": str(home / "none.cfg"),
    }
    program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    command = [program, "-i", "machine,", *words, str(home / "play.json")]
    done = run_ansible(command, env=env)
    return done, {file: json.loads(place.read_text()) for file, place in places.items() if place.exists()}


def run_playbook(home: Path, name: str, given: dict[str, t.Any], *words: str) -> dict[str, t.Any]:
    """Run a playbook of the collection on this machine, and return its outcome with the exit code as ``code``."""
    told = home / "outcome.json"
    told.unlink(missing_ok=True)
    command, environment = command_of(home, name, given, *words)
    done = run_ansible(command, cwd=ROOT, env=environment, timeout=240)
    assert told.exists(), done.stdout + done.stderr
    return {**json.loads(told.read_text()), "code": done.returncode, "shown": done.stdout}


def command_of(home: Path, name: str, given: dict[str, t.Any], *words: str) -> tuple[list[str], dict[str, str]]:
    """Return the words and the environment that run a playbook of the collection on this machine."""
    told = home / "outcome.json"
    (home / "given.json").write_text(
        json.dumps(
            {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "remediation_outcome_file": str(told), **given}
        )
    )
    given_env = {"ANSIBLE_COLLECTIONS_PATH": f"{OURS}:{BORROWED}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"}
    program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    command = [program, "-i", "machine,", "-e", f"@{home}/given.json", *words, str(ROOT / "playbooks" / f"{name}.yml")]
    return command, {**os.environ, **given_env}
