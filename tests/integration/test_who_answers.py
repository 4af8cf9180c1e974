# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers is who is meant, under a real supervisord and in a real Compose project; test_restart_service_machine.py has systemd's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from farms.compose import SOCKET, Project, docker, why_not
from farms.redis import end_process
from farms.waiting import until
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.supervisor import Supervisor

SUPERVISORD = shutil.which("supervisord", path=os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", ""))
ANSWERER = Path(__file__).parent / "farms/answerer.py"
Look = t.Callable[..., t.Dict[str, t.Any]]


def looked(service: str, port: int, **more: t.Any) -> dict[str, t.Any]:
    url = f"http://127.0.0.1:{port}/"
    check = {"kind": "application", "service": service, "url": url, "profile": "none", "start_seconds": 0.5, "answer_timeout": 1}
    return checks_look.run_checks(checks_look.validated([{**check, **more}], 15.0), "target")[0]


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[Look, dict[str, int]]]:
    if SUPERVISORD is None:
        pytest.skip("supervisord is not installed")
    home, ports = tmp_path_factory.mktemp("sv"), {name: free_port() for name in ("plain", "workers", "hangs", "taken")}
    run = f"{sys.executable} -B {ANSWERER}"
    commands = {
        "plain": f"{run} {ports['plain']}", "workers": f"{run} {ports['workers']} workers", "idle": "sleep 600",
        "kvrocks": f"{run} {ports['hangs']} hangs", "taken": f"{run} {ports['plain']}",
    }  # fmt: skip
    more = "startsecs=1\nstartretries=0"
    sections = "".join(f"[program:{name}]\ncommand={command}\n{more}\n" for name, command in commands.items()) + "autostart=false\n"
    (home / "s.conf").write_text(
        f"[unix_http_server]\nfile={home}/s.sock\n[supervisord]\nnodaemon=true\nlogfile={home}/s.log\npidfile={home}/s.pid\nchildlogdir={home}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n" + sections
    )
    daemon = subprocess.Popen([str(SUPERVISORD), "-c", str(home / "s.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def look(service: str, port: int, **more: t.Any) -> dict[str, t.Any]:
        return looked(service, port, manager="supervisor", supervisor_url=f"unix://{home}/s.sock", **more)

    try:
        until(lambda: look("plain", ports["plain"])["state"] == "up", 30, "it does not answer")
        Supervisor({"supervisor_url": f"unix://{home}/s.sock"}).call("startProcess", "taken", False)
        until(lambda: look("taken", ports["plain"])["state"] == "port_taken", 30, "it is not refused its port")
        yield look, ports
    finally:
        pids = [int(look(name, ports["plain"])["identity"].get("pid") or 0) for name in commands]
        daemon.kill()
        daemon.wait(10)
        for pid in filter(None, pids):
            end_process(pid)


SUPERVISED: dict[str, tuple[str, str, dict[str, t.Any], str, str]] = {
    "its own": ("plain", "plain", {}, "up", ""),
    "its worker's": ("workers", "workers", {}, "up", ""),
    "a stranger's": ("idle", "plain", {}, "not_its_port", "is held by python"),
    "a stranger's, and what is meant listens elsewhere": ("workers", "plain", {}, "not_its_port", "workers itself listens on"),
    "a proxy's, for one that listens nowhere": ("idle", "plain", {"behind_proxy": True}, "not_its_port", "idle listens nowhere"),
    "nobody's, and what is meant listens elsewhere": ("plain", "taken", {}, "bad_input", "correct service_restart_url"),
    "nobody's": ("idle", "taken", {}, "not_listening", "refuses"),
    "a store's that hangs": ("kvrocks", "hangs", {}, "stateful", "stateful service"),
    "the port of one that did not start": ("taken", "plain", {}, "port_taken", "is held by python"),
}


@pytest.mark.parametrize(("program", "port", "more", "state", "told"), SUPERVISED.values(), ids=list(SUPERVISED))
def test_under_supervisor(
    supervised: tuple[Look, dict[str, int]], program: str, port: str, more: dict[str, t.Any], state: str, told: str
) -> None:
    look, ports = supervised
    seen = look(program, ports[port], **more)
    assert (seen["state"], "restart" in seen["actions"]) == (state, state == "not_listening"), seen
    assert told in seen["findings"][0]["text"], seen


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[Look, dict[str, int]]]:
    if why_not():
        pytest.skip(why_not())
    home, ports = tmp_path_factory.mktemp("boxed"), {name: free_port() for name in ("api", "host", "shared", "other", "keeps", "nobodys")}
    (home / "data").mkdir()
    answers, files = ["python3", "-B", "/srv/answerer.py"], [f"{ANSWERER}:/srv/answerer.py:ro"]
    given: dict[str, dict[str, t.Any]] = {
        "api": {"command": [*answers, "8000", "open"], "ports": [f"127.0.0.1:{ports['api']}:8000"]},
        "idle": {"command": ["sleep", "600"], "ports": [f"127.0.0.1:{ports['shared']}:8000"]},
        # A neighbour in the network of another: the ports of that one lead to it.
        "shared": {"command": [*answers, "8000", "open"], "network_mode": "service:idle"},
        "host": {"command": [*answers, str(ports["host"])], "network_mode": "host"},
        "other": {"command": [*answers, "8001", "open"], "ports": [f"127.0.0.1:{ports['other']}:8000"]},
        "keeps": {"command": [*answers, "8000", "holds", "/state/0001.dat"], "volumes": [*files, f"{home / 'data'}:/state"],
                  "network_mode": "host"},
    }  # fmt: skip
    given["keeps"]["command"][3] = str(ports["keeps"])
    project = Project(home, {name: {"volumes": files, "init": True, **one} for name, one in given.items()}, alone=False)

    def look(service: str, port: int, **more: t.Any) -> dict[str, t.Any]:
        return looked(service, port, manager="compose", project=project.name, docker_socket=SOCKET, **more)

    try:
        done = project.compose("up", "--detach")
        assert done.returncode == 0, done.stderr
        until(lambda: all(look(name, ports[name])["state"] == "up" for name in ("api", "host", "shared")), 30, "they do not answer")
        yield look, ports
    finally:
        project.end()


BOXED: dict[str, tuple[str, str, dict[str, t.Any], str, str]] = {
    "its own published port": ("api", "api", {}, "up", ""),
    "its own port in the host's network": ("host", "host", {}, "up", ""),
    "its own, published for the container whose network it shares": ("shared", "shared", {}, "up", ""),
    "its neighbour's in the same network": ("idle", "shared", {}, "not_its_port", "port 8000 is another process's"),
    "published for another container": ("idle", "api", {}, "not_its_port", "-api-1; its container publishes 127.0.0.1:"),
    "a port that its container does not publish": ("api", "nobodys", {}, "bad_input", "its container publishes 127.0.0.1:"),
    "another container's in the host's network": ("idle", "host", {}, "not_its_port", "of container "),
    "a published port that leads nowhere": ("other", "other", {}, "bad_input", "other itself listens on 8001"),
    "hangs with data on a volume": ("keeps", "keeps", {}, "stateful", "/state/0001.dat"),
}


@pytest.mark.parametrize(("service", "port", "more", "state", "told"), BOXED.values(), ids=list(BOXED))
def test_in_a_compose_project(
    boxed: tuple[Look, dict[str, int]], service: str, port: str, more: dict[str, t.Any], state: str, told: str
) -> None:
    look, ports = boxed
    seen = look(service, ports[port], **more)
    assert (seen["state"], "restart" in seen["actions"]) == (state, False), seen
    assert told in seen["findings"][0]["text"], seen


def test_what_an_interrupted_recreate_left_is_named_with_the_one_command_that_ends_it(boxed: tuple[Look, dict[str, int]]) -> None:
    look, ports = boxed
    project = look("api", ports["api"])["facts"] and docker("ps", "--quiet", f"--filter=publish={ports['api']}").stdout.split()[0]
    labels = docker("inspect", "--format={{range $k, $v := .Config.Labels}}--label={{$k}}={{$v}}\n{{end}}", project).stdout.splitlines()
    image = docker("inspect", "--format={{.Config.Image}}", project).stdout.strip()
    made = docker("create", f"--name={project[:8]}_left", *filter(None, labels), image, "sleep", "1")
    assert made.returncode == 0, made.stderr
    for more in ({}, {"replica": 1}):
        seen = look("api", ports["api"], **more)
        assert (seen["state"], seen["health"], seen["actions"]) == ("left_over", "unknown", []), seen
        assert seen["findings"][0]["text"].endswith(f": docker rm {project[:8]}_left"), seen
    assert docker("rm", f"{project[:8]}_left").returncode == 0
    assert look("api", ports["api"])["state"] == "up"


def test_a_container_that_was_taken_out_of_its_network_is_not_restarted_in_vain(boxed: tuple[Look, dict[str, int]]) -> None:
    look, ports = boxed
    container = docker("ps", "--quiet", f"--filter=publish={ports['api']}").stdout.strip()
    network = docker("inspect", "--format={{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}", container).stdout.strip()
    assert docker("network", "disconnect", network, container).returncode == 0
    seen = look("api", ports["api"])
    assert (seen["state"], seen["actions"]) == ("not_startable", []), seen
    assert "docker compose up -d --force-recreate --no-deps api" in seen["findings"][0]["text"]
