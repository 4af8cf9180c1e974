# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restart-service on a real Compose project: its API broken in each way, restarted where that helps, refused by name where it does not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import typing as t
import urllib.request

import pytest
from farms.boxed import Boxed
from farms.compose import docker, why_not
from farms.waiting import until
from somabrain_drill.downtime import Client

# So many restarts of Docker's own, whose pauses double, are a loop beside all that came before in the same ledger.
ENOUGH = 6


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Boxed]:
    if why_not():
        pytest.skip(why_not())
    boxed = Boxed(tmp_path_factory.mktemp("boxed"))
    try:
        done = boxed.project.compose("up", "--detach", "--wait")
        assert done.returncode == 0, done.stderr
        yield boxed
    finally:
        boxed.project.end()


@pytest.fixture
def boxed(farm: Boxed) -> t.Iterator[Boxed]:
    """The project, well; in the end every neighbour is the very container and process that it was."""
    farm.mend()
    before = farm.neighbours()
    farm.settle()
    yield farm
    assert farm.neighbours() == {name: one for name, one in before.items() if name not in farm.touched}
    farm.touched = {"api"}


def reason(outcome: t.Mapping[str, t.Any]) -> str:
    return str(outcome["reasons"][0]["code"])


def refused(boxed: Boxed, code: str, downtime: bool = False, **more: t.Any) -> dict[str, t.Any]:
    """Run, and see it refused by *code* without an act and, where it answered before, without a moment of silence."""
    before = boxed.look()
    with Client(boxed.answers) as client:
        outcome = boxed.restart(**more)
    assert (outcome["outcome"], reason(outcome), outcome["code"] > 0) == ("refused", code, True), outcome
    if not downtime:
        assert (client.up_before, client.seconds) == (True, 0.0)
        assert (boxed.look()["Pid"], boxed.look()["StartedAt"]) == (before["Pid"], before["StartedAt"])
    return outcome


def test_a_well_api_is_left_alone(boxed: Boxed) -> None:
    before = boxed.look()
    with Client(boxed.answers) as client:
        outcome = boxed.restart()
    assert (outcome["outcome"], outcome["code"], client.seconds) == ("nothing_to_do", 0, 0.0), outcome
    assert boxed.look()["Pid"] == before["Pid"]


def test_a_hung_api_is_rehearsed_then_replaced_with_every_memory_in_place(boxed: Boxed) -> None:
    tasks = [f"memory number {number} of the hung one" for number in range(5)]
    for task in tasks:
        assert boxed.post("/remember", payload={"task": task, "content": task})["ok"] is True
    boxed.say("hangs")
    before, container = boxed.look(), boxed.project.containers()["api"]
    rehearsed = boxed.restart("--check")
    assert (rehearsed["outcome"], rehearsed["code"], boxed.look()["Pid"]) == ("rehearsed", 0, before["Pid"]), rehearsed
    outcome = boxed.restart()
    assert (outcome["outcome"], outcome["code"], outcome["before"]["state"]) == ("recovered", 0, "hung"), outcome
    assert [act["action"] for act in outcome["acts"]] == ["restart"]
    assert (boxed.look()["Pid"] == before["Pid"], boxed.project.containers()["api"]) == (False, container)
    assert (outcome["loss"]["count"], "working memory began empty" in outcome["loss"]["text"]) == (0, True)
    assert [task for task in tasks if not boxed.remembers(task)] == []
    assert "ready" in (boxed.home / "ledger/evidence" / outcome["run_id"] / "service.log").read_text()


def test_an_api_that_does_not_end_when_it_is_asked_is_ended_by_force_behind_a_gate_of_its_own(boxed: Boxed) -> None:
    boxed.say("stubborn")
    boxed.say("hangs")
    before = boxed.look()
    outcome = boxed.restart(service_restart_stop_timeout=1.5)
    assert (outcome["outcome"], outcome["code"], boxed.look()["Pid"] == before["Pid"]) == ("recovered", 0, False), outcome
    assert [act["action"] for act in outcome["acts"]] == ["restart", "force"]


def test_a_killed_api_is_started(boxed: Boxed) -> None:
    # By the engine, so that no restart policy brings it back.
    docker("kill", boxed.project.named("api"))
    outcome = boxed.restart()
    assert (outcome["outcome"], outcome["code"], outcome["before"]["state"]) == ("recovered", 0, "crashed"), outcome
    assert [act["action"] for act in outcome["acts"]] == ["start"]
    assert (boxed.look()["Running"], boxed.answers()) == (True, True)


@pytest.mark.parametrize(("how", "state", "act"), [("pause", "paused", "start"), ("SIGSTOP", "suspended", "continue")])
def test_an_api_that_was_only_stopped_goes_on_as_the_same_process(boxed: Boxed, how: str, state: str, act: str) -> None:
    before = boxed.look()
    if how == "pause":
        docker("pause", boxed.project.named("api"))
    else:
        os.kill(before["Pid"], signal.SIGSTOP)
    outcome = boxed.restart()
    assert (outcome["outcome"], outcome["code"], outcome["before"]["state"]) == ("recovered", 0, state), outcome
    assert ([one["action"] for one in outcome["acts"]], boxed.look()["Pid"]) == ([act], before["Pid"])
    assert (outcome["loss"]["count"], outcome["loss"]["text"]) == (0, "")


def test_an_api_that_ends_as_soon_as_it_starts_is_refused_and_not_started_once_more(boxed: Boxed) -> None:
    boxed.say("broken", process=False)
    docker("restart", "--time=1", boxed.project.named("api"))
    until(lambda: boxed.project.look("api")["service"]["restarts"] >= ENOUGH, 40)
    outcome = refused(boxed, "exit_loop", downtime=True)
    assert {act["action"] for act in outcome["acts"]} <= {"wait"}


def test_an_api_that_the_kernel_ends_for_its_memory_is_refused(boxed: Boxed) -> None:
    if "WARNING: No memory limit support" in docker("info").stderr:
        pytest.skip("this kernel gives containers no memory limit")
    boxed.say("exhausted", process=False)
    boxed.say("eats")
    with contextlib.suppress(OSError), urllib.request.urlopen(boxed.url(), timeout=10):
        pass
    until(lambda: boxed.look()["OOMKilled"] and boxed.project.look("api")["service"]["restarts"] >= ENOUGH, 40)
    outcome = refused(boxed, "out_of_memory", downtime=True)
    assert "it needs more memory than its limit" in outcome["reasons"][0]["text"]


def test_what_it_stands_on_comes_first(boxed: Boxed) -> None:
    boxed.touched.add("redis")
    docker("stop", "--time=5", boxed.project.named("redis"))
    try:
        outcome = refused(boxed, "dependency_down")
    finally:
        docker("start", boxed.project.named("redis"))
    assert "recover-redis.yml" in outcome["reasons"][0]["next_command"]


WRONG: dict[str, tuple[dict[str, t.Any], str, str]] = {
    "a service that is not there": ({"service_restart_service": "nobody"}, "no_such_service", "its services with containers: api, "),
    "a project that is not there": ({"service_manager_project": "nobodys"}, "no_such_service", "projects that have: "),
    # recover-redis.yml is for a Redis of the machine, not for one in a container.
    "a store": ({"service_restart_service": "redis"}, "stateful_service", "verify-health.yml"),
    "a store by its program": ({"service_restart_service": "cache"}, "stateful_service", "verify-health.yml"),
    "an engine that is not there": ({"service_manager_docker_socket": "unix:///nowhere.sock"}, "health_unknown", "Docker does not answer"),
}


@pytest.mark.parametrize(("given", "code", "told"), WRONG.values(), ids=list(WRONG))
def test_what_is_named_wrongly_is_refused_by_name_and_nothing_is_touched(
    boxed: Boxed, given: dict[str, t.Any], code: str, told: str
) -> None:
    outcome = refused(boxed, code, **given)
    assert told in json.dumps(outcome["reasons"])
