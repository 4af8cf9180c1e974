# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role makes one service of a real Compose project anew by community.docker; every other container stays as it is."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from farms import playing
from farms.compose import Project, docker, inspected, services, why_not
from farms.waiting import until


@pytest.fixture
def project(tmp_path: Path) -> t.Iterator[Project]:
    if why_not():
        pytest.skip(why_not())
    if not playing.borrowed("community/docker"):
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
    """Run task files of the role on a service of the project; return how it ended and what each registered, or the one."""
    given = {
        "service_manager_name": name,
        "service_manager_project": project.name,
        "service_manager_project_src": str(project.home),
        "service_manager_holds_dir": str(project.holds),
        "service_manager_timeout": 40,
        # The modules of community.docker run where the project is, with any Python.
        "ansible_python_interpreter": sys.executable,
        **more,
    }
    done, results = playing.play(project.home, [f"compose/{file}" for file in files.split()], given, *words)
    told = {file.partition("/")[2]: result for file, result in results.items()}
    return done, told if " " in files else told.get(files, {})


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
    assert "Compose recreates all containers of a service" in done.stdout


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
