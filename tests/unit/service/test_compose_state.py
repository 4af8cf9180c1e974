# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Docker's words for a container are read, from answers of a real engine (20.10), and what health follows."""

from __future__ import annotations

import copy
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import service
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import holds
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.docker import demultiplexed
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.state import number_of, parse
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import compose
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.sentence import sentence

RECORDED: dict[str, dict[str, t.Any]] = json.loads((Path(__file__).parents[1] / "docker_containers.json").read_text())


def recorded(name: str, **state: t.Any) -> dict[str, t.Any]:
    seen = copy.deepcopy(RECORDED[name])
    seen["State"].update(state)
    return seen


@pytest.mark.parametrize(
    ("name", "word", "health", "actions", "known"),
    [
        ("running and healthy", "running", "well", (), {"autorestart": "unless-stopped", "exit_code": None, "stop_timeout": 2.0}),
        ("starting", "starting", "unknown", ("wait",), {"restarts": 0}),
        ("unhealthy", "unhealthy", "sick", (), {"restarts": 0}),
        ("paused", "paused", "sick", ("start",), {"exit_code": None}),
        ("in a restart loop", "backoff", "sick", ("hold",), {"pid": 0, "exit_code": 1, "autorestart": "always"}),
        ("stopped in good order", "stopped", "sick", ("start",), {"exit_code": 0, "pid": 0, "started_at": None}),
        ("killed", "failed", "sick", ("start",), {"signal": "SIGKILL", "exit_code": None, "oom_killed": False, "held": True}),
        ("killed for lack of memory", "failed", "sick", ("start",), {"signal": "SIGKILL", "oom_killed": True}),
        ("created", "stopped", "sick", ("start",), {"exit_code": None, "start_limit_hit": False}),
        ("given up after two restarts", "failed", "sick", ("reset_failed", "start"), {"start_limit_hit": True, "restarts": 2}),
    ],
)
def test_each_fate_of_a_container_has_one_health_and_its_acts(
    name: str, word: str, health: str, actions: tuple[str, ...], known: dict[str, t.Any]
) -> None:
    state = parse("x", RECORDED[name], {}, {})
    judged = service.judge(state, {})
    assert (state["state"], judged.health.value, judged.actions) == (word, health, actions)
    assert {key: state[key] for key in known} == known


def test_a_state_has_the_keys_of_every_other_manager() -> None:
    assert set(parse("x", RECORDED["killed"], {}, {})) == set(service_state.blank("compose", "x"))


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"Status": "dead"}, "failed"),
        ({"Status": "removing"}, "stopping"),
        ({"Status": "something new"}, "unknown"),
        ({"ExitCode": 143}, "stopped"),
        ({"ExitCode": 137}, "failed"),
        ({"ExitCode": 1}, "failed"),
    ],
)
def test_an_ending_by_the_stop_signal_is_a_stop_and_any_other_a_failure(state: dict[str, t.Any], word: str) -> None:
    assert parse("x", recorded("stopped in good order", **state), {}, {})["state"] == word


@pytest.mark.parametrize(("code", "expected"), [(143, (None, "SIGTERM")), (200, (200, "")), (160, (None, "signal 32")), (128, (128, ""))])
def test_a_signal_is_told_as_one(code: int, expected: tuple[int | None, str]) -> None:
    state = parse("x", recorded("killed", ExitCode=code), {}, {})
    assert (state["exit_code"], state["signal"]) == expected


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGTERM", 15), ("TERM", 15), ("15", 15), ("SIGQUIT", 3), ("SIGRTMIN+3", 37), ("sigint", 2), ("SIGNONE", 0), ("", 0), ("1.5", 0)],
)
def test_the_names_that_images_give_a_stop_signal(name: str, number: int) -> None:
    assert number_of(name) == number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-10-16T14:00:00.129999999Z", 1792159200.13),
        ("2026-10-16T14:00:00Z", 1792159200.0),
        ("0001-01-01T00:00:00Z", None),
        ("2026-10-16 14:00", None),
    ],
)
def test_times_of_docker(text: str, seconds: float | None) -> None:
    assert service_state.epoch_of(text) == seconds


def test_the_pid_of_another_pid_namespace_is_not_taken_for_a_process_here() -> None:
    # Process 1 of this machine is no process of that container.
    state = parse("x", recorded("running and healthy", Pid=1), {}, {})
    identity = service_state.identity_of(state)
    assert (state["start_time_ticks"], identity["started_at"]) == (None, state["started_at"])
    assert identity["container"] == RECORDED["running and healthy"]["Id"][:12]


def test_what_a_healthcheck_printed_is_told_in_one_line_without_its_secrets() -> None:
    seen = recorded("unhealthy")
    seen["State"]["Health"]["Log"] = [{"Output": "\x1b[31mno answer\npassword=hunter2secret"}]
    said = sentence(parse("x", seen, {}, {}))
    assert said.startswith("x is running under compose (pid ")
    assert "its healthcheck reports unhealthy: \\x1b[31mno answer\\npassword=" in said
    assert "hunter2secret" not in said


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", b""),
        (b"\1\0\0\0\0\0\0\3out\2\0\0\0\0\0\0\4err\n", b"outerr\n"),
        (b"\1\0\0\0\0\0\0\7cut", b"cut"),
        (b"\1\0\0\0\0\0\0\3out\1\0\0", b"out"),
        (b"no head at all", b""),
    ],
)
def test_the_pieces_of_a_log_are_put_together(data: bytes, text: bytes) -> None:
    assert demultiplexed(data) == text


def test_a_note_of_a_hold_is_that_of_one_container_only(tmp_path: Path) -> None:
    options = {"project": "shop", "name": "api", "holds_dir": str(tmp_path / "holds")}
    holds.write(options, "first", {"Name": "on-failure", "MaximumRetryCount": 2})
    assert holds.read(options, "first") == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert holds.read(options, "made anew") == {}
    assert holds.read({**options, "replica": 2}, "first") == {}
    holds.remove(options)
    holds.remove(options)
    assert holds.read(options, "first") == {}


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"container": "first", "policy": 7}', "\0"])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    options = {"project": "shop", "name": "api", "holds_dir": str(tmp_path)}
    Path(holds.path_of(options)).write_text(text)
    assert holds.read(options, "first") == {}


def listed(**states: str) -> list[dict[str, t.Any]]:
    """Return containers as the engine lists them, each with the number 1, by their names and states."""
    labels = {"com.docker.compose.container-number": "1"}
    return [{"Id": name, "Names": ["/" + name], "State": state, "Labels": labels} for name, state in states.items()]


LEFT: dict[str, tuple[dict[str, str], str]] = {
    "the new one was only created": ({"old": "running", "new": "created"}, "docker rm new"),
    "the old one is stopped already": ({"old": "exited", "new": "created"}, "docker rm new"),
    "the old one was renamed, and the new one runs": ({"old": "exited", "new": "running"}, "docker rm old"),
    "both run": ({"old": "running", "new": "running"}, "stop the one that is not meant"),
}


@pytest.mark.parametrize(("states", "end"), LEFT.values(), ids=list(LEFT))
def test_what_an_interrupted_recreate_left_has_one_command_that_ends_it(states: dict[str, str], end: str) -> None:
    assert f"with the same number (old is {states['old']}, new is {states['new']}): {end}" in compose.left_over(listed(**states))
    assert compose.left_over(listed(old="running")) == ""


def test_what_a_running_container_has_mounted_and_is_not_there_any_more_is_told(tmp_path: Path) -> None:
    mounts = [{"Type": "volume", "Source": "/no/volume"}, {"Type": "bind", "Source": str(tmp_path)}]
    lost = {"Mounts": [*mounts, {"Type": "bind", "Source": f"{tmp_path}/secret"}]}
    here, elsewhere = {"start_time_ticks": 7}, {"start_time_ticks": None}
    assert (compose.gone(here, {"Mounts": mounts}), compose.gone(elsewhere, lost), compose.gone(here, {})) == ("", "", "")
    assert compose.gone(here, lost) == f"its mount {tmp_path}/secret is not there any more, so it would not start again"


@pytest.mark.parametrize(
    ("mode", "networks", "told"),
    [
        ("shop_default", {"shop_default": {"NetworkID": "1"}}, False),
        ("shop_default", {}, True),
        ("host", {}, False),
        ("container:0123", None, False),
        ("none", {}, False),
    ],
)
def test_a_container_that_was_taken_out_of_every_network_is_not_started_again_in_vain(mode: str, networks: t.Any, told: bool) -> None:
    labels = {"com.docker.compose.service": "api"}
    seen = {"HostConfig": {"NetworkMode": mode}, "NetworkSettings": {"Networks": networks}, "Config": {"Labels": labels}}
    assert ("docker compose up -d --force-recreate --no-deps api" in compose.outside(seen)) is told


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (None, ""),
        ({"Config": {"Labels": None}}, "container web belongs to no Compose project, so this manager cannot act on it"),
        (
            {"Config": {"Labels": {"com.docker.compose.service": "api", "com.docker.compose.project": "shop"}}},
            "container web is that of service api of project shop",
        ),
    ],
)
def test_the_name_of_a_container_is_told_from_that_of_a_service(seen: t.Any, told: str) -> None:
    assert compose._named_so(seen, "web") == told
