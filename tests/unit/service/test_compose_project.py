# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a container of a Compose project would be made of, and in what it would differ from the one that is there."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import project
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import program


def labels(home: Path, files: t.Sequence[str] = (), env_files: t.Sequence[str] = ()) -> dict[str, str]:
    listed = {"project.config_files": files, "project.environment_file": env_files}
    told = {name: ",".join(str(home / one) for one in many) for name, many in listed.items() if many}
    base = {"project": "shop", "service": "api", "project.working_dir": str(home)}
    return {project.LABEL + name: value for name, value in {**base, **told}.items()}


DEFAULTS: list[tuple[tuple[str, ...], list[str]]] = [
    ((), []),
    (("compose.override.yml",), []),
    (("docker-compose.yml", "docker-compose.yaml"), ["docker-compose.yml"]),
    (("compose.yml", "compose.yaml", "docker-compose.yml"), ["compose.yaml"]),
    (("docker-compose.yml", "docker-compose.override.yml"), ["docker-compose.yml", "docker-compose.override.yml"]),
    # As Compose does it (measured with 2.26): the name of the one says nothing of the other's.
    (("docker-compose.yml", "docker-compose.override.yml", "compose.override.yaml"), ["docker-compose.yml", "compose.override.yaml"]),
]


@pytest.mark.parametrize(("there", "found"), DEFAULTS)
def test_the_files_that_compose_finds_by_itself(tmp_path: Path, there: tuple[str, ...], found: list[str]) -> None:
    for name in there:
        (tmp_path / name).write_text("")
    assert project.default_files(str(tmp_path)) == found


@pytest.mark.parametrize(
    ("given", "made_of", "files", "env_files"),
    [
        ({}, ["a.yml", "prod.yml"], ["a.yml", "prod.yml"], []),
        ({}, ["a.yml", "pins.yml"], ["a.yml"], []),
        ({}, [], ["compose.yml"], []),
        ({"project_files": ["mine.yml"]}, ["a.yml"], ["mine.yml"], []),
        ({"env_files": ["mine.env"]}, ["a.yml"], ["a.yml"], ["mine.env"]),
    ],
    ids=["as it was made", "but for the pins", "nothing is told", "a person's word", "of environment files"],
)
def test_a_container_is_made_of_the_files_that_the_last_one_was_made_of(
    tmp_path: Path, given: dict[str, t.Any], made_of: list[str], files: list[str], env_files: list[str]
) -> None:
    (tmp_path / "compose.yml").write_text("")
    seen = project.project_of(given, labels(tmp_path, made_of), str(tmp_path / "pins.yml"))
    assert (seen.src, seen.made_in) == (str(tmp_path), str(tmp_path))
    assert [[Path(one).name for one in many] for many in (seen.files, seen.env_files)] == [files, env_files]


def test_the_environment_files_are_those_of_before_too(tmp_path: Path) -> None:
    assert project.project_of({}, labels(tmp_path, ["a.yml"], ["prod.env"]), "").env_files == (str(tmp_path / "prod.env"),)


def test_the_files_of_another_directory_are_looked_for_there(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("")
    seen = project.project_of({"project_src": str(tmp_path)}, labels(tmp_path / "old", ["a.yml"], ["a.env"]), "")
    assert (seen.files, seen.env_files, seen.made_in) == ((str(tmp_path / "compose.yaml"),), (), str(tmp_path / "old"))


@pytest.mark.parametrize(
    ("src", "files", "why"),
    [
        ("", (), r"is unknown or missing \(none\)"),
        ("/nonexistent", (), r"is unknown or missing \(/nonexistent\)"),
        (".", (), "no file that Compose would find"),
        (".", ("gone.yml",), "no longer exists"),
    ],
)
def test_a_project_that_lacks_something_is_told_by_name(tmp_path: Path, src: str, files: tuple[str, ...], why: str) -> None:
    home = str(tmp_path) if src == "." else src
    lacking = project.Project(home, tuple(str(tmp_path / one) for one in files), (), home)
    with pytest.raises(project.Unreadable, match=why):
        project.prove(lacking, "unix:///nowhere", labels(tmp_path), "", Clock(5))


def test_the_command_for_a_person_names_all_that_the_container_is_made_of() -> None:
    made = project.Project("/srv/my shop", ("/srv/my shop/a.yml",), ("/srv/e.env",), "/srv/my shop")
    told = project.command_of(made, labels(Path("/srv/my shop")), "/srv/pins.yml")
    assert told == (
        "docker compose --project-directory '/srv/my shop' --project-name shop --file '/srv/my shop/a.yml' --file /srv/pins.yml"
        " --env-file /srv/e.env up --detach --no-deps -- api"
    )


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (program.Ran(program.NOT_FOUND, "", "docker is not there"), "the command docker is missing on this host"),
        (program.Ran(1, "", "docker: 'compose' is not a docker command.\nSee 'docker --help'\n"), "docker has no compose plugin"),
        (program.Ran(15, "", "time=x level=warning\nyaml: line 3: no\n"), "yaml: line 3: no"),
    ],
)
def test_what_compose_lacks_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch, done: program.Ran, said: str) -> None:
    monkeypatch.setattr(program, "run", lambda *words, **more: done)
    with pytest.raises(project.Unreadable, match=said):
        project.ask([], ["config"], socket="unix:///x", src="/", clock=Clock(5))
