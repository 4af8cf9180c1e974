# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a real Compose project on a real Docker Engine: what is seen of each fate, and what each act does to it and to no other."""

from __future__ import annotations

import os
import signal
import time
import typing as t
from pathlib import Path

import pytest
from farms.answering import answering
from farms.compose import Project, docker, inspected, services, why_not
from farms.waiting import until

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Project]:
    if why_not():
        pytest.skip(why_not())
    stranger = Project(tmp_path_factory.mktemp("stranger"), {"api": services()["plain"], "only-there": services()["plain"]})
    project = Project(tmp_path_factory.mktemp("compose"), services())
    try:
        for one in (stranger, project):
            done = one.compose("up", "--detach")
            assert done.returncode == 0, done.stderr
        yield project
    finally:
        project.end()
        stranger.end()


def as_state(project: Project, name: str, state: str) -> dict[str, t.Any]:
    until(lambda: project.look(name)["state"] == state)
    return project.look(name)


def ready(project: Project, name: str) -> dict[str, t.Any]:
    """Start the service where it does not run, and wait until its handler is there."""
    project.act(name, "start")
    until(lambda: "ready" in project.look(name, log_lines=1)["log"])
    return project.look(name)


def test_a_running_service_is_well_and_names_its_process_and_container(project: Project) -> None:
    seen = as_state(project, "redis", "running")
    service = seen["service"]
    assert (seen["health"], service["autorestart"], service["restarts"]) == ("well", "unless-stopped", 0)
    assert project.containers()["redis"].startswith(seen["identity"]["container"])
    assert seen["identity"] == {"pid": service["pid"], "start_time_ticks": service["start_time_ticks"], "container": service["container"]}
    assert service["image"]["id"] == inspected(project.named("redis"))["Image"]
    assert abs(service["started_at"] - time.time()) < 300
    assert service["start_command"].startswith("redis-server --port 0")


def test_start_and_stop_do_nothing_twice_and_touch_no_neighbour(project: Project) -> None:
    neighbour = project.look("redis")["identity"]
    ready(project, "plain")
    assert project.act("plain", "start")["changed"] is False
    assert project.act("plain", "stop")["after"]["state"] == "stopped"
    assert project.act("plain", "stop")["changed"] is False
    assert project.act("plain", "start")["changed"] is True
    assert project.look("redis")["identity"] == neighbour


@pytest.mark.parametrize("name", ["api", "unless"])
def test_a_service_with_a_restart_policy_ends_in_good_order_and_stays_stopped(project: Project, name: str) -> None:
    ready(project, name)
    result = project.act(name, "stop")
    time.sleep(1.5)
    seen = project.look(name, log_lines=1)
    assert (result["killed"], seen["state"], seen["log"]) == (False, "stopped", ["ended in good order"])
    assert project.act(name, "start")["after"]["state"] == "running"


def test_a_restart_gives_a_new_process_in_the_same_container(project: Project) -> None:
    before = ready(project, "api")["identity"]
    result = project.act("api", "restart")
    assert result["identity"]["pid"] != before["pid"]
    assert result["identity"]["container"] == before["container"]


def test_check_mode_changes_nothing(project: Project) -> None:
    before = ready(project, "api")["identity"]
    for action in ("restart", "stop", "hold"):
        assert project.act("api", action, check=True)["changed"] is True
    assert project.look("api")["identity"] == before
    assert not project.holds.exists() or not list(project.holds.iterdir())


def test_what_ignores_the_stop_is_killed_neither_by_us_nor_by_docker_until_force_is_said(project: Project) -> None:
    pid = ready(project, "stubborn")["identity"]["pid"]
    with pytest.raises(StepError, match="was not killed") as raised:
        project.act("stubborn", "stop", timeout=2.0)
    assert (raised.value.data["stopped"], raised.value.data["pid"]) == (False, pid)
    # Its own grace period of 1 s is long over.
    time.sleep(1.5)
    assert project.look("stubborn")["identity"]["pid"] == pid
    killed = project.act("stubborn", "stop", stop_timeout=0.5, force=True)
    assert (killed["killed"], killed["after"]["pid"], killed["after"]["signal"]) == (True, 0, "SIGKILL")
    time.sleep(1.0)
    assert project.look("stubborn")["service"]["pid"] == 0


def test_a_killed_service_is_told_with_its_signal_and_may_be_started(project: Project) -> None:
    os.kill(ready(project, "plain")["identity"]["pid"], signal.SIGKILL)
    seen = as_state(project, "plain", "failed")
    assert (seen["health"], seen["service"]["signal"], seen["service"]["oom_killed"]) == ("sick", "SIGKILL", False)
    assert seen["actions"] == ["start"]


def test_a_restart_by_docker_itself_is_counted_and_makes_the_service_sick(project: Project) -> None:
    before = ready(project, "api")
    os.kill(before["identity"]["pid"], signal.SIGKILL)
    until(lambda: project.look("api")["service"]["restarts"] > before["service"]["restarts"] and project.look("api")["state"] == "running")
    seen = project.look("api", restarts_before=before["service"]["restarts"])
    assert (seen["health"], seen["state"]) == ("sick", "running")
    assert seen["identity"]["pid"] != before["identity"]["pid"]


def test_a_service_killed_for_lack_of_memory_is_told(project: Project) -> None:
    if "WARNING: No memory limit support" in docker("info").stderr:
        pytest.skip("this kernel gives containers no memory limit")
    seen = as_state(project, "greedy", "failed")
    for _again in range(12):
        # Docker hears of it by an event that may come after that of the end: then it says nothing of it, whatever the kernel did.
        if seen["service"]["oom_killed"]:
            break
        docker("start", project.named("greedy"))
        until(lambda: docker("inspect", "--format={{.State.Running}}", project.named("greedy")).stdout.strip() == "false")
        seen = as_state(project, "greedy", "failed")
    assert seen["service"]["oom_killed"] is True
    assert "killed for lack of memory" in seen["say"][0]


def test_restarts_that_docker_gave_up_are_told(project: Project) -> None:
    seen = as_state(project, "given-up", "failed")
    assert (seen["service"]["exit_code"], seen["service"]["restarts"], seen["service"]["start_limit_hit"]) == (7, 2, True)


def test_a_restart_loop_is_held_and_released_with_the_policy_that_it_had(project: Project) -> None:
    assert as_state(project, "loop", "backoff")["actions"] == ["hold"]
    held = project.act("loop", "hold")
    assert (held["after"]["state"], held["after"]["held"], held["after"]["drop_ins"]) == ("failed", True, ["hold"])
    count = held["after"]["restarts"]
    time.sleep(1.5)
    assert project.look("loop")["service"]["restarts"] == count
    assert project.act("loop", "hold")["changed"] is False
    released = project.act("loop", "release")
    assert (released["after"]["autorestart"], released["after"]["drop_ins"], released["after"]["pid"]) == ("always", [], 0)
    assert project.act("loop", "release")["changed"] is False


def test_a_held_service_that_dies_stays_down_until_it_is_released(project: Project) -> None:
    pid = ready(project, "unless")["identity"]["pid"]
    project.act("unless", "hold")
    os.kill(pid, signal.SIGKILL)
    time.sleep(1.5)
    assert project.look("unless")["state"] == "failed"
    assert project.act("unless", "release")["after"]["autorestart"] == "unless-stopped"
    assert list(project.holds.iterdir()) == []


def test_a_hold_that_cannot_be_noted_changes_nothing(project: Project, tmp_path: Path) -> None:
    ready(project, "unless")
    (tmp_path / "file").write_text("")
    with pytest.raises(StepError, match="nothing was changed: cannot write"):
        project.act("unless", "hold", holds_dir=str(tmp_path / "file"))
    assert project.look("unless")["service"]["autorestart"] == "unless-stopped"


def test_a_paused_service_is_sick_and_a_start_lets_it_go_on(project: Project) -> None:
    before = ready(project, "plain")["identity"]
    docker("pause", project.named("plain"))
    seen = project.look("plain")
    assert (seen["health"], seen["state"], seen["actions"]) == ("sick", "paused", ["start"])
    result = project.act("plain", "start")
    assert (result["after"]["state"], result["identity"]) == ("running", before)


def test_a_paused_service_can_be_stopped_in_good_order(project: Project) -> None:
    ready(project, "plain")
    docker("pause", project.named("plain"))
    assert project.act("plain", "stop")["after"]["state"] == "stopped"
    assert project.look("plain", log_lines=1)["log"] == ["ended in good order"]


def test_a_healthcheck_makes_a_service_starting_then_well_then_unhealthy(project: Project) -> None:
    name = project.named("checked")
    started = project.act("checked", "restart", timeout=8.0)
    assert (started["after"]["state"], started["settled"], project.look("checked")["health"]) == ("starting", False, "unknown")
    docker("exec", name, "touch", "/tmp/well")
    assert as_state(project, "checked", "running")["health"] == "well"
    docker("exec", name, "rm", "/tmp/well")
    seen = as_state(project, "checked", "unhealthy")
    assert (seen["health"], seen["actions"]) == ("sick", [])
    assert "its healthcheck reports unhealthy" in seen["say"][0]


def test_a_signal_is_delivered_and_docker_still_restarts_what_crashes_later(project: Project) -> None:
    before = ready(project, "api")
    project.act("api", "signal", signal="HUP")
    until(lambda: project.look("api", log_lines=1)["log"] == ["read its configuration"])
    os.kill(before["identity"]["pid"], signal.SIGKILL)
    until(lambda: project.look("api")["identity"].get("pid") not in (None, before["identity"]["pid"]))


def test_several_containers_are_unknown_and_refused_until_one_is_named(project: Project) -> None:
    seen = project.look("two")
    assert (seen["health"], seen["state"]) == ("unknown", "unknown")
    assert "it has 2 containers" in seen["say"][0]
    with pytest.raises(StepError, match="set replica to the number of one"):
        project.act("two", "restart")
    first = project.look("two", replica=1)["identity"]
    assert project.act("two", "restart", replica=2)["after"]["state"] == "running"
    assert project.look("two", replica=1)["identity"] == first != {}


def test_a_service_of_a_stranger_is_not_taken_for_ours(project: Project) -> None:
    seen = project.look("only-there")
    assert (seen["health"], seen["service"]["exists"]) == ("unknown", False)
    assert "has no container for it (if it was removed: docker compose up -d --no-deps only-there)" in seen["say"][0]
    assert "; its services with containers: api, " in seen["say"][0]
    with pytest.raises(StepError, match="nothing was changed"):
        project.act("only-there", "restart")


def test_a_wrong_project_names_those_that_are_there(project: Project) -> None:
    seen = project.look("api", project="nobody")
    assert (seen["health"], seen["service"]["exists"]) == ("unknown", False)
    assert project.name in seen["say"][0]


@pytest.mark.parametrize("given", [{"project": ""}, {"project": None}, {"project": "A b"}, {"docker_socket": "tcp://10.0.0.1:2375"}])
def test_an_option_that_could_mean_others_is_refused(project: Project, given: dict[str, t.Any]) -> None:
    with pytest.raises(StepError, match="needs project|docker_socket must be"):
        project.look("api", **given)


@pytest.mark.parametrize("name", ["*", "", "a b", "../x", "api\n", "--all"])
def test_a_name_that_may_mean_others_is_refused(project: Project, name: str) -> None:
    with pytest.raises(StepError, match="not the name of one"):
        project.act(name, "restart")


def test_an_engine_that_is_not_there_is_unknown(project: Project, tmp_path: Path) -> None:
    gone = f"unix://{tmp_path}/none.sock"
    seen = project.look("api", docker_socket=gone)
    assert (seen["health"], seen["service"]["reachable"]) == ("unknown", False)
    with pytest.raises(StepError, match="nothing was changed: Docker does not answer"):
        project.act("api", "restart", docker_socket=gone)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without permission")
def test_an_engine_that_may_not_be_asked_is_unknown(project: Project) -> None:
    os.seteuid(65534)
    try:
        seen = project.look("api")
    finally:
        os.seteuid(0)
    assert (seen["health"], seen["service"]["reachable"]) == ("unknown", False)
    assert "Permission denied" in seen["say"][0]


ANSWERS = [
    b"",
    b"garbage\r\n\r\n",
    b"HTTP/1.0 403 Forbidden\r\n\r\n{}",
    b"HTTP/1.0 200 OK\r\n\r\n<html>",
    b"HTTP/1.0 200 OK\r\n\r\n[1, 2]",
    b'HTTP/1.0 200 OK\r\n\r\n[{"Labels": {}}]',
    None,
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_engine_that_answers_nonsense_or_drips_is_unknown_in_time(project: Project, tmp_path: Path, answer: bytes | None) -> None:
    path = str(tmp_path / "x.sock")
    with answering(path, answer):
        begun = time.monotonic()
        seen = project.look("api", docker_socket="unix://" + path, probe_timeout=0.6)
        assert time.monotonic() - begun < 10
    assert (seen["health"], seen["service"]["reachable"]) == ("unknown", False)


def test_the_log_of_a_terminal_comes_as_it_is(project: Project) -> None:
    until(lambda: project.look("terminal", log_lines=5)["log"] == ["seen"])
