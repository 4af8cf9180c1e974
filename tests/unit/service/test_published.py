# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a port of this machine is: the container's that serves there, or that served there last."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import published

ENDED = "2026-11-30T10:00:00Z"
AT = 1796032800.0


def container(name: str = "shop-redis-1", running: bool = True, ended: str = ENDED, **more: t.Any) -> dict[str, t.Any]:
    bound = {"6379/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6379"}]}
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "redis"}
    host = {"PortBindings": more.get("bound", bound), "NetworkMode": more.get("network", "shop_default")}
    return {
        "Name": "/" + name, "State": {"Running": running, "FinishedAt": ended},
        "HostConfig": host, "Config": {"Labels": labels, "ExposedPorts": {"6379/tcp": {}}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "written_at", "name"),
    [
        ([], 0.0, None),
        ([container()], 0.0, "shop-redis-1"),
        # One that runs has the port, whatever was written before.
        ([container()], AT + 1, "shop-redis-1"),
        ([container(running=False)], 0.0, "shop-redis-1"),
        ([container(running=False)], AT - 1, "shop-redis-1"),
        # The machine's own store wrote after it ended.
        ([container(running=False)], AT + 1, None),
        ([container(running=False, ended="0001-01-01T00:00:00Z")], 0.0, None),
        ([container(bound={"6379/tcp": [{"HostPort": "6380"}]})], 0.0, None),
        ([container(bound={"6379/udp": [{"HostPort": "6379"}]})], 0.0, None),
        ([container(bound={"6379/tcp": None})], 0.0, None),
        ([container(bound={}, network="host")], 0.0, "shop-redis-1"),
        ([container("old", running=False), container("new")], 0.0, "new"),
    ],
)
def test_a_port_is_the_containers_that_serves_there_or_served_there_last(
    seen: list[dict[str, t.Any]], written_at: float, name: t.Optional[str]
) -> None:
    assert published.judge_containers(seen, 6379, written_at).get("name") == name


def test_the_sentence_names_container_and_project_and_the_command_starts_it() -> None:
    stopped = published.judge_containers([container(running=False)], 6379, 0.0)
    assert published.sentence(stopped, 6379).startswith(
        "container shop-redis-1 of the Compose project shop had port 6379 last and does not run"
    )
    assert stopped["command"] == "docker start shop-redis-1"
    assert published.judge_containers([container()], 6379, 0.0)["command"] == "docker restart shop-redis-1"


def test_a_machine_without_docker_has_no_such_container() -> None:
    assert published.load_container_on(6379, 0.0, "unix:///nowhere/docker.sock") == {}


def test_of_a_range_of_ports_a_running_container_has_the_one_that_it_got() -> None:
    both = {"8080/tcp": [{"HostPort": "18611-18612"}]}
    first, second = (dict(container(name, bound=both), NetworkSettings={"Ports": {"8080/tcp": [{"HostPort": port}]}})
                     for name, port in (("api-1", "18612"), ("api-2", "18611")))  # fmt: skip
    assert published.judge_containers([first, second], 18611, 0.0)["name"] == "api-2"


def test_a_container_in_the_hosts_network_has_the_port_that_its_command_or_environment_names() -> None:
    boxed = container(bound={}, network="host")
    given: list[dict[str, t.Any]] = [
        {"Args": ["redis-server", "--port", "7000"]},
        {"Config": {**boxed["Config"], "Env": ["REDIS_PORT=7000"]}},
        {"Args": ["70001"]},
    ]
    assert [bool(published.judge_containers([{**boxed, **more}], 7000, 0.0)) for more in given] == [True, True, False]
