# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role makes one service of a real Compose project anew by community.docker; every other container stays as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from compose_farm import Project, docker, inspected, services, why_not
from waiting import until

import ansible_collections.somabrain.incident_response as collection

OURS = next(iter(collection.__path__)).split("/ansible_collections/")[0]
BORROWED = Path(__file__).resolve().parents[2] / ".cache/collections"


@pytest.fixture
def project(tmp_path: Path) -> t.Iterator[Project]:
    if why_not():
        pytest.skip(why_not())
    if not (BORROWED / "ansible_collections/community/docker").is_dir():
        pytest.skip("community.docker is not there; scripts/test integration fetches it")
    given = services()
    project = Project(tmp_path, {name: given[name] for name in ("redis", "api", "stubborn")})
    try:
        done = project.compose("up", "--detach")
        assert done.returncode == 0, done.stderr
        until(lambda: "ready" in project.look("stubborn", log_lines=1)["log"])
        yield project
    finally:
        project.end()


def play(project: Project, files: str, name: str, *words: str, **more: t.Any) -> tuple[subprocess.CompletedProcess[str], dict[str, t.Any]]:
    """Run task files of the role, as a playbook of one's own would, and return how it ended and what each registered."""
    given = {
        "service_manager_name": name,
        "service_manager_project": project.name,
        "service_manager_project_src": str(project.home),
        "service_manager_holds_dir": str(project.holds),
        "service_manager_timeout": 40,
        **more,
    }
    tasks: list[dict[str, t.Any]] = []
    for file in files.split():
        role = {"name": "somabrain.incident_response.service_manager", "tasks_from": f"compose/{file}.yml"}
        keep = {"content": "{{ service_manager_result | to_json }}", "dest": str(project.home / f"{file}.json")}
        tasks += [{"include_role": role, "vars": given}, {"copy": keep, "check_mode": False}]
    playbook = project.home / "play.json"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": tasks}]))
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": f"{OURS}:{BORROWED}",
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_CONFIG": str(project.home / "none.cfg"),
    }
    program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    command = [program, "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}", *words, str(playbook)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        return done, {}
    results = {file: json.loads((project.home / f"{file}.json").read_text()) for file in files.split()}
    return done, results if len(results) > 1 else next(iter(results.values()))


def change_api(project: Project, **more: t.Any) -> None:
    project.given["api"].update(more)
    project.write()


def test_one_service_is_made_anew_with_its_changed_configuration_and_no_other(project: Project) -> None:
    before = project.containers()
    change_api(project, environment={"TOLD": "anew"})
    done, result = play(project, "recreate", "api")
    assert done.returncode == 0, done.stdout + done.stderr
    after = project.containers()
    assert {name: after[name] == before[name] for name in before} == {"api": False, "redis": True, "stubborn": True}
    assert "TOLD=anew" in inspected(project.named("api"))["Config"]["Env"]
    assert (result["before"]["container"], result["after"]["container"]) == (before["api"][:12], after["api"][:12])
    assert (result["changed"], result["after"]["state"], result["killed"]) == (True, "running", False)


def test_a_removed_container_is_made_again(project: Project) -> None:
    docker("rm", "--force", project.named("api"))
    done, result = play(project, "recreate", "api")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (result["before"]["exists"], result["after"]["state"]) == (False, "running")


def test_check_mode_and_a_project_that_compose_cannot_read_stop_nothing(project: Project) -> None:
    before = project.look("api")["identity"]
    done, result = play(project, "recreate", "api", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["changed"] is True
    change_api(project, image="somabrain-none:never")
    missing, dummy = play(project, "recreate", "api")
    change_api(project, no_such_key=1)
    broken, dummy = play(project, "recreate", "api")
    assert (missing.returncode, broken.returncode) == (2, 2), missing.stdout + broken.stdout
    assert project.look("api")["identity"] == before


def test_what_does_not_stop_is_not_made_anew_over_its_head(project: Project) -> None:
    before = project.look("stubborn")["identity"]
    done, dummy = play(project, "recreate", "stubborn", service_manager_stop_timeout=1)
    assert done.returncode == 2
    assert "was not killed" in done.stdout
    assert project.look("stubborn")["identity"] == before


def test_one_container_of_several_is_refused(project: Project) -> None:
    done, dummy = play(project, "recreate", "api", service_manager_replica=1)
    assert done.returncode == 2
    assert "Compose makes all containers of a service anew" in done.stdout


def test_every_task_file_speaks_to_the_service_and_to_no_other(project: Project) -> None:
    neighbours = {name: project.look(name)["identity"] for name in ("redis", "stubborn")}
    files = "state logs restart hold release reset_failed extend_start_timeout signal stop start"
    done, results = play(project, files, "api")
    assert done.returncode == 0, done.stdout + done.stderr
    named = {file: (result.get("service") or result["before"])["container"] for file, result in results.items()}
    assert named == dict.fromkeys(files.split(), project.containers()["api"][:12])
    changed = [file for file, result in results.items() if result["changed"]]
    assert changed == ["restart", "hold", "release", "signal", "stop", "start"]
    assert {name: project.look(name)["identity"] for name in ("redis", "stubborn")} == neighbours
