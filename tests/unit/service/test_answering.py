# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers at a URL: the service that is meant, whatever its manager, or a stranger, who is named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._service import answering
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.state import fronts_of as published
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.systemd import fronts_of as listened
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import port

DOCKER = {"by": "docker", "address": "127.0.0.1", "port": 9696, "inside": 8000}
SYSTEMD = {"by": "systemd", "address": "::", "port": 9696, "inside": 0}
PROXY = {"pid": 5, "program": "docker-proxy", "user": "root", "address": "127.0.0.1", "of": ""}
INIT = {**PROXY, "pid": 1, "program": "systemd"}
PYTHON = {**PROXY, "program": "python3", "of": "web.service"}
HIDDEN = {**PROXY, "pid": 0, "program": ""}
THERE = {"sockets": 1, "strangers": [], "front": {}, "behind": ""}
CASES: dict[str, tuple[dict[str, t.Any], str, str]] = {
    "its own socket": ({}, "own", ""),
    "nobody's": ({"sockets": 0}, "nobody", "no process of this machine listens on port 9696"),
    "a stranger's": ({"strangers": [PYTHON]}, "other", "port 9696 is held by python3 (pid 5, user root) of web.service"),
    "a stranger's, who cannot be seen": ({"strangers": [HIDDEN]}, "other", "port 9696 is held by a process of user root"),
    "shared with a stranger": ({"sockets": 2, "strangers": [PYTHON]}, "other", "python3"),
    "published by Docker": ({"strangers": [PROXY], "front": DOCKER}, "own", ""),
    "published, and seen to be its own": ({"strangers": [PROXY], "front": DOCKER, "behind": "own"}, "own", ""),
    "published by rules alone": ({"sockets": 0, "front": DOCKER}, "own", ""),
    "published, and nothing listens inside": (
        {"strangers": [PROXY], "front": DOCKER, "behind": "nobody"}, "nobody", "leads to it, but inside nothing listens on port 8000"),
    "published, and another's inside": (
        {"strangers": [PROXY], "front": DOCKER, "behind": "other"}, "other", "port 8000 is another process's"),
    "published for another container": ({"strangers": [PROXY]}, "other", "docker-proxy"),
    "published, and held by a stranger": ({"strangers": [PYTHON], "front": DOCKER}, "other", "python3"),
    "held by systemd for it": ({"strangers": [INIT], "front": SYSTEMD}, "own", ""),
    "held by systemd for another unit": ({"strangers": [INIT]}, "other", "systemd"),
    "a socket unit's port, taken by a stranger": ({"strangers": [PYTHON], "front": SYSTEMD}, "other", "python3"),
}  # fmt: skip


@pytest.mark.parametrize(("found", "whose", "text"), CASES.values(), ids=list(CASES))
def test_an_answer_is_its_own_only_where_its_processes_or_its_manager_stand_for_it(found: dict[str, t.Any], whose: str, text: str) -> None:
    raw = {"port": 9696, "host": "127.0.0.1", "found": {**THERE, **found}, "is_here": True, "is_seen": True, "ports": [], "listens": False}
    told = answering.judge(raw)
    assert (told.whose, text in told.text) == (whose, True)


@pytest.mark.parametrize(
    ("published", "found", "told"),
    [
        (["127.0.0.1:18714 for its port 8080"], {"is_ours": True}, "its container publishes 127.0.0.1:18714 for its port 8080"),
        ([], {"is_ours": True}, "its container publishes no port"),
        # Asked at the container's own address, or no container at all.
        ([], {"is_ours": False}, ""),
        (None, {"is_ours": True}, ""),
        (["127.0.0.1:9696 for its port 8080"], {"is_ours": True, "front": DOCKER}, ""),
    ],
)
def test_a_container_says_what_it_publishes_instead(published: t.Any, found: dict[str, t.Any], told: str) -> None:
    seen = {**THERE, "sockets": 0, **found}
    raw = {"port": 9696, "host": "127.0.0.1", "found": seen, "is_here": True, "is_seen": True, "ports": [8080], "listens": True}
    assert answering.judge({**raw, "published": published}).shut_in == told


def test_what_is_published_at_every_address_is_told_once() -> None:
    every = [{**DOCKER, "address": one} for one in ("0.0.0.0", "::")]  # noqa: S104 - what Docker says, never bound to
    assert answering._published_by({"container": "0123", "fronts": [*every, DOCKER]}) == [
        "9696 for its port 8000",
        "127.0.0.1:9696 for its port 8000",
    ]
    assert answering._published_by({"container": "", "fronts": []}) is None


def test_what_may_not_be_looked_at_is_unseen_and_another_machine_is_elsewhere() -> None:
    raw = {"port": 9696, "host": "api1", "found": {**THERE, "strangers": [HIDDEN]}, "is_here": True, "is_seen": False, "ports": []}
    assert answering.judge({**raw, "listens": False})[:1] == ("unseen",)
    assert answering.judge({**raw, "listens": False}).listens is None
    assert answering.judge({**raw, "listens": False, "found": {}, "is_here": False}).whose == "elsewhere"
    assert answering.judge({}) == answering.Answering("", "")


def service(pid: int, **more: t.Any) -> dict[str, t.Any]:
    return service_state.blank("systemd", "api", exists=True, pid=pid, **{**service_state.process_facts(pid), **more})


def whose(pid: int, url: str, **more: t.Any) -> str:
    one = service(pid, **more)
    return answering.judge(answering.load(one, answering.members_of(one), url)).whose


FORKS = """
import os, socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
if os.fork() == 0:
    time.sleep(60)
server.close()
time.sleep(60)
"""


def test_a_worker_that_alone_holds_the_socket_is_the_service() -> None:
    with subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE, text=True, start_new_session=True) as master:
        assert master.stdout
        url = "http://localhost:%s/health" % master.stdout.readline().strip()
        try:
            assert whose(master.pid, url) == "own"
        finally:
            os.killpg(master.pid, 9)


def test_whose_a_listening_port_is_comes_from_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        url = "http://127.0.0.1:%d/health" % number
        assert (whose(os.getpid(), url), whose(os.getpid(), url.replace("127.0.0.1", "localhost"))) == ("own", "own")
        # Popen returns when the program runs: before, the child still has its parent's sockets.
        with subprocess.Popen(["sleep", "30"]) as stranger:
            assert whose(stranger.pid, url) == "other"
            held = answering.stranger(service(0), url)
            assert (held["pid"], held["port"], f"pid {os.getpid()}" in held["text"]) == (os.getpid(), number, True)
            stranger.kill()
    assert whose(os.getpid(), url) == "nobody"
    assert answering.stranger(service(0), url) == {}
    assert whose(os.getpid(), "http://192.0.2.7:%d/" % number) == "elsewhere"
    assert (whose(os.getpid(), ""), whose(os.getpid(), url, workload={"kind": "Deployment"})) == ("", "")


def test_the_most_exact_address_takes_the_connection() -> None:
    wide, exact = {"address": "0.0.0.0"}, {"address": "127.0.0.1"}  # noqa: S104
    assert port.nearest([wide, exact], "127.0.0.1") == [exact]
    assert port.nearest([wide, {"address": "::"}], "127.0.0.1") == [wide]
    assert port.nearest([{"address": "::"}, {"address": "127.0.0.2"}], "127.0.0.1") == [{"address": "::"}]
    assert port.nearest([wide], "::1") == []


def test_a_container_says_which_ports_lead_to_it() -> None:
    ports = {
        "8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9696"}, {"HostIp": "::", "HostPort": "9697"}], "53/udp": [{"HostPort": "53"}],
        "9/tcp": None,
    }  # fmt: skip
    assert published({"NetworkSettings": {"Ports": ports}}) == [DOCKER, {**DOCKER, "address": "::", "port": 9697}]
    assert published({}) == []


def test_a_socket_unit_says_at_which_ports_systemd_accepts_for_its_service() -> None:
    text = "Listen=[::]:9696 (Stream)\nListen=127.0.0.1:80 (Stream)\nListen=/run/x.sock (Stream)\nListen=[::]:53 (Datagram)\n"
    assert listened(text) == [SYSTEMD, {**SYSTEMD, "address": "127.0.0.1", "port": 80}]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/system.slice/web.service", "web.service"),
        ("/user.slice/user@0.service/app.slice/api.service", "api.service"),
        ("/docker/" + "a" * 64, "container " + "a" * 12),
        ("/system.slice/docker-" + "a" * 64 + ".scope", "container " + "a" * 12),
        ("/", ""),
    ],
)
def test_a_stranger_is_named_by_its_unit_or_its_container(path: str, name: str) -> None:
    assert answering.group_name([path]) == name
