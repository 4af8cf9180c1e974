# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another number of containers of one service of a real Compose project; every other container stays as it is."""

from __future__ import annotations

import sys
import tarfile
import typing as t
from pathlib import Path

import pytest
from farms import playing
from farms.compose import Project, docker, services, why_not
from farms.waiting import until

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.replicas import judge_replicas

PARTS = ("redis", "two", "checked", "stubborn")


@pytest.fixture
def project(tmp_path: Path) -> t.Iterator[Project]:
    if why_not():
        pytest.skip(why_not())
    if not playing.borrowed("community/docker"):
        pytest.skip("community.docker is not there; scripts/test integration fetches it")
    given = services()
    given["two"]["depends_on"] = ["redis"]
    project = Project(tmp_path, {name: given[name] for name in PARTS})
    try:
        done = project.compose("up", "--detach", "redis", "two")
        assert done.returncode == 0, done.stderr
        until(lambda: look(project, "two")["state"] == "running")
        yield project
    finally:
        project.end()


def look(project: Project, name: str, wanted: int = 2) -> dict[str, t.Any]:
    return project.look(name, wanted_replicas=wanted)


def everything(project: Project) -> dict[str, str]:
    """Return the container id of every container of the project by its name."""
    shown = docker("ps", "--all", f"--filter=label=com.docker.compose.project={project.name}", "--format={{.Names}} {{.ID}}").stdout
    return dict(t.cast("tuple[str, str]", line.split()) for line in shown.splitlines())


def scale(project: Project, name: str, wanted: int, *words: str, **more: t.Any) -> tuple[int, str, dict[str, t.Any]]:
    given = {
        "service_manager_name": name,
        "service_manager_project": project.name,
        "service_manager_project_src": str(project.home),
        "service_manager_holds_dir": str(project.holds),
        "service_manager_timeout": 40,
        "service_manager_replicas": wanted,
        "ansible_python_interpreter": sys.executable,
        **more,
    }
    done, results = playing.play(project.home, ["compose/scale"], given, *words)
    return done.returncode, done.stdout + done.stderr, results.get("compose/scale", {})


def test_out_and_back_touches_no_other_container(project: Project) -> None:
    before = everything(project)
    assert judge_replicas(look(project, "two")["service"], 3, minimum=1, maximum=4).word == "scale_out"
    # The configuration of another service has changed meanwhile; what runs is not made anew for that.
    project.given["redis"]["environment"] = {"TOLD": "anew"}
    project.write()
    code, shown, result = scale(project, "two", 3, service_manager_replicas_now=2)
    assert code == 0, shown
    assert (result["changed"], result["settled"], result["after"]["workload"]["ready"]) == (True, True, 3)
    out = everything(project)
    assert (set(out) - set(before), {name: out[name] for name in before}) == ({f"{project.name}-two-3"}, before)
    code, shown, result = scale(project, "two", 3)
    assert (code, result["changed"], everything(project)) == (0, False, out), shown
    code, shown, result = scale(project, "two", 2, service_manager_replicas_now=3)
    assert (code, result["changed"], everything(project)) == (0, True, before), shown
    # With a configuration of its own that has changed there would be containers of two kinds; to have fewer needs none.
    project.given["two"]["environment"] = {"TOLD": "anew"}
    project.write()
    code, shown, dummy = scale(project, "two", 3)
    assert (code, everything(project)) == (2, before), shown
    assert "nothing was changed (not_alike): a new container would have another configuration" in shown
    assert scale(project, "two", 1)[0] == 0


def test_check_mode_makes_and_stops_nothing(project: Project) -> None:
    before = everything(project)
    for wanted in (3, 1):
        code, shown, result = scale(project, "two", wanted, "--check")
        assert (code, result["changed"], everything(project)) == (0, True, before), shown
        assert look(project, "two")["state"] == "running"


@pytest.mark.parametrize(
    ("wanted", "more", "told"),
    [
        (0, {}, "set service_manager_replicas to 1 or more"),
        (3, {"service_manager_replicas_now": 1}, "it has 2 containers by now, not 1"),
        (3, {"service_manager_name": "none"}, "has no container for it"),
        (3, {"service_manager_replica": 1}, "scale acts on all containers"),
    ],
)
def test_what_is_not_as_it_was_judged_is_refused(project: Project, wanted: int, more: dict[str, t.Any], told: str) -> None:
    before = everything(project)
    code, shown, dummy = scale(project, "two", wanted, **more)
    assert (code, everything(project)) == (2, before)
    assert "nothing was changed" in shown
    assert told in shown


def test_an_image_that_is_not_here_or_is_another_one_is_refused_before_anything_is_made(project: Project) -> None:
    before = everything(project)
    project.given["two"]["image"] = "somabrain-none:never"
    project.write()
    code, shown, dummy = scale(project, "two", 3)
    assert (code, everything(project)) == (2, before), shown
    assert "no new container can be made: image somabrain-none:never" in shown
    moved = f"{project.name}:moved"
    docker("import", "--change", 'CMD ["python3"]', str(archive(project.home)), moved)
    project.given["two"]["image"] = moved
    project.write()
    try:
        code, shown, dummy = scale(project, "two", 3)
        assert (code, everything(project)) == (2, before), shown
        assert "a new container would run image" in shown
        # To have fewer needs no image.
        assert scale(project, "two", 1)[0] == 0
    finally:
        docker("rmi", moved)


def archive(home: Path) -> Path:
    with tarfile.open(home / "nothing.tar", "w") as made:
        made.add(__file__, "file")
    return home / "nothing.tar"


def test_a_container_that_does_not_come_up_turns_it_red_and_says_how_to_go_back(project: Project) -> None:
    assert project.compose("up", "--detach", "checked").returncode == 0
    docker("exec", project.named("checked"), "touch", "/tmp/well")
    until(lambda: look(project, "checked", 1)["state"] == "running")
    code, shown, dummy = scale(project, "checked", 2, service_manager_timeout=3)
    assert code == 2
    assert "1 of 2 containers ready" in shown
    assert "Scale back to 1" in shown
    code, shown, result = scale(project, "checked", 1)
    assert (code, result["after"]["workload"]["ready"]) == (0, 1), shown


def test_what_does_not_stop_is_neither_killed_nor_removed(project: Project) -> None:
    assert project.compose("up", "--detach", "--scale", "stubborn=2", "stubborn").returncode == 0
    until(lambda: all("ready" in docker("logs", f"{project.name}-stubborn-{number}").stdout for number in (1, 2)))
    before = everything(project)
    code, shown, dummy = scale(project, "stubborn", 1, service_manager_stop_timeout=1)
    assert (code, everything(project)) == (2, before)
    assert "was not killed" in shown
    assert look(project, "stubborn")["state"] == "running"


def test_a_whole_run_scales_out_and_back_and_takes_back_what_does_not_come_up(project: Project) -> None:
    before = everything(project)
    given = {
        "traffic_scaling_hosts": "all",
        "traffic_scaling_manager": "compose",
        "traffic_scaling_service": "two",
        "traffic_scaling_replicas_timeout": 40,
        "traffic_scaling_patience": {"passes": 2, "window": 0.2, "timeout": 15, "interval": 0.1},
        "service_manager_project": project.name,
        "service_manager_project_src": str(project.home),
        "remediation_state_dir": str(project.home / "state"),
    }
    outcomes = [
        (one["outcome"], one["code"], len(everything(project)) - len(before), one["shown"])
        for wanted in (3, 3, 2)
        for one in [playing.run_playbook(project.home, "scale-traffic", {**given, "traffic_scaling_replicas": wanted})]
    ]
    expected = [("recovered", 0, 1), ("nothing_to_do", 0, 1), ("recovered_with_loss", 0, 0)]
    assert [one[:3] for one in outcomes] == expected, outcomes
    assert everything(project) == before
    # A container that never gets healthy: what was made is taken back.
    assert project.compose("up", "--detach", "checked").returncode == 0
    docker("exec", project.named("checked"), "touch", "/tmp/well")
    until(lambda: look(project, "checked", 1)["state"] == "running")
    before = everything(project)
    more = {"traffic_scaling_service": "checked", "traffic_scaling_replicas": 2, "traffic_scaling_replicas_timeout": 4}
    undone = playing.run_playbook(project.home, "scale-traffic", {**given, **more})
    assert (undone["outcome"], undone["code"], everything(project)) == ("undone", 2, before), undone["shown"]
    # An image that is gone is found before anything is made.
    project.given["two"]["image"] = "somabrain-none:never"
    project.write()
    gone = playing.run_playbook(project.home, "scale-traffic", {**given, "traffic_scaling_replicas": 3})
    assert (gone["outcome"], gone["reasons"][0]["code"], everything(project)) == ("refused", "not_alike", before), gone["shown"]
    assert "no new container can be made: image somabrain-none:never is not on this host" in gone["reasons"][0]["text"]
