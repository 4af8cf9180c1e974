# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of a real Compose project behind a real HAProxy under load: who comes gets requests, who goes loses none."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest
from farms import playing
from farms.compose import Project, docker, inspected, why_not
from farms.traffic import HAPROXY
from farms.waiting import until
from somabrain_drill.ports import free_port
from somabrain_drill.traffic.bed import DEFAULTS
from somabrain_drill.traffic.load import Load

from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import haproxy

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
PORT, POOL = 8080, "brain"
# Says by its header which container it is; what it has begun to answer it answers, also when it is asked to end.
API = f"""\
import http.server, os, signal, socket, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(0 if self.path == "/health" else 0.02)
        self.send_response(200)
        self.send_header("X-Server", socket.gethostname())
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{{}}")
    do_POST = do_GET
    def log_message(self, *given): pass
http.server.ThreadingHTTPServer.request_queue_size = 128
server = http.server.ThreadingHTTPServer(("", 1 if os.path.exists("/told/mute") else {PORT}), Handler)
server.daemon_threads = False
signal.signal(15, lambda *given: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""
CONFIGURATION = """\
global
  stats socket {folder}/admin.sock mode 600 level admin
  nbthread 1
{defaults}frontend front
  bind 127.0.0.1:{port}
  default_backend {pool}
backend {pool}
  balance roundrobin
  option httpchk GET /health
  server-template api 1-3 127.0.0.1:1 check disabled weight 100
"""


class Scene:
    """A Compose project of one service, and HAProxy with three slots for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "play").mkdir()
        # What a container does wrong is told by a file: with another configuration none would be made beside those that run.
        self.told = folder / "told"
        self.told.mkdir()
        api = {"command": ["python3", "-c", API], "volumes": [f"{self.told}:/told:ro"]}
        self.project = Project(folder, {"api": api, "beside": {"command": ["sleep", "600"]}}, alone=False)
        (folder / "haproxy.cfg").write_text(CONFIGURATION.format(defaults=DEFAULTS, folder=folder, port=self.port, pool=POOL))
        self.haproxy: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        done = self.project.compose("up", "--detach", "api")
        assert done.returncode == 0, done.stderr
        self.load_balancer()

    def load_balancer(self) -> None:
        self.stop_balancer()
        with (self.folder / "haproxy.log").open("ab") as log:
            words = [str(HAPROXY), "-db", "-f", str(self.folder / "haproxy.cfg")]
            self.haproxy = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        until(lambda: bool(self.slots()), 20, "HAProxy does not come up")

    def stop_balancer(self) -> None:
        if self.haproxy:
            self.haproxy.terminate()
            self.haproxy.wait(10)

    def end(self) -> None:
        self.stop_balancer()
        self.project.end()

    def ask(self, words: str) -> str:
        return haproxy.command(str(self.folder / "admin.sock"), words, Clock(5.0))

    def slots(self) -> dict[str, tuple[str, int, bool]]:
        """Return address, weight and whether it is in, of each server, by HAProxy's own word."""
        with contextlib.suppress(OSError):
            rows = [line.split() for line in self.ask(f"show servers state {POOL}").splitlines()[2:]]
            return {row[3]: (f"{row[4]}:{row[18]}", int(row[7]), int(row[6]) & 0x7B == 0) for row in rows}
        return {}

    def taken(self) -> set[str]:
        """Return the addresses that get requests."""
        return {address for address, weight, ready in self.slots().values() if ready and weight == 100}

    def containers(self) -> dict[str, str]:
        """Return the address of each container of the service by its host name, which its answers tell."""
        label = f"--filter=label=com.docker.compose.project={self.project.name}"
        ids = docker("ps", "--quiet", "--no-trunc", label, "--filter=label=com.docker.compose.service=api").stdout.split()
        networks = {one: inspected(one)["NetworkSettings"]["Networks"] for one in ids}
        return {one[:12]: f"{networks[one][f'{self.project.name}_default']['IPAddress']}:{PORT}" for one in ids}

    def everything(self) -> tuple[t.Any, t.Any]:
        return self.slots(), self.containers()

    def scale(self, number: int, *words: str, **more: t.Any) -> dict[str, t.Any]:
        return playing.run_playbook(self.folder / "play", "scale-traffic", self.given(number, **more), *words)

    def killed(self, number: int, when: t.Callable[[], bool]) -> None:
        """Begin to scale, and kill all of it once *when* is so; then let its time be over."""
        command, environment = playing.command_of(self.folder / "play", "scale-traffic", self.given(number))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, cwd=playing.ROOT, env=environment, start_new_session=True, **quiet) as dying:  # type: ignore[call-overload]
            until(when, 60, "it never comes that far")
            os.killpg(dying.pid, signal.SIGKILL)
        with contextlib.closing(sqlite3.connect(self.folder / "state/ledger.sqlite")) as ledger:
            ledger.execute("update lease set ends_at=1, acting_until=1")
            ledger.commit()

    def reconcile(self) -> dict[str, t.Any]:
        return playing.run_playbook(self.folder / "play", "reconcile", {"remediation_state_dir": str(self.folder / "state")})

    def given(self, number: int, **more: t.Any) -> dict[str, t.Any]:
        options = {
            "haproxy_address": str(self.folder / "admin.sock"), "haproxy_maintenance_map": str(self.folder / "none.map"),
            "haproxy_state_dir": str(self.folder / "kept"),
        }  # fmt: skip
        return {
            "traffic_scaling_hosts": "all", "traffic_scaling_pool": POOL, "traffic_scaling_balancer_options": options,
            "traffic_scaling_overflow": "", "traffic_scaling_manager": "compose", "traffic_scaling_service": "api",
            "traffic_scaling_slots": ["api*"], "traffic_scaling_slots_port": PORT, "traffic_scaling_slots_timeout": 10,
            "traffic_scaling_replicas": number, "traffic_scaling_replicas_timeout": 40, "traffic_scaling_budget": {"attempts": 30},
            "traffic_scaling_patience": {"passes": 2, "window": 0.2, "timeout": 10, "interval": 0.1},
            "service_manager_project": self.project.name, "service_manager_project_src": str(self.folder),
            "remediation_state_dir": str(self.folder / "state"), **more,
        }  # fmt: skip


@pytest.fixture
def scene() -> t.Iterator[Scene]:
    if why_not():
        pytest.skip(why_not())
    if not playing.borrowed("community/docker"):
        pytest.skip("community.docker is not there; scripts/test integration fetches it")
    # pytest's own folders have names that are too long for a socket.
    made = Scene(Path(tempfile.mkdtemp(prefix="slots-", dir="/tmp")))
    try:
        made.start()
        yield made
    finally:
        made.end()
        shutil.rmtree(made.folder, ignore_errors=True)


def told(outcome: dict[str, t.Any]) -> tuple[str, str]:
    return outcome["outcome"], outcome["reasons"][0]["code"] if outcome["reasons"] else ""


def test_containers_that_come_get_requests_and_those_that_go_lose_none(scene: Scene) -> None:
    # The one that runs already gets a slot without another container being made.
    assert scene.taken() == set()
    adopted = scene.scale(1)
    assert (told(adopted)[0], scene.taken()) == ("recovered", set(scene.containers().values())), adopted["shown"]
    one = scene.containers()
    rehearsed = scene.scale(3, "--check")
    assert (told(rehearsed)[0], scene.containers()) == ("rehearsed", one), rehearsed["shown"]
    with Load(scene.port, 150, 120) as load:
        out = scene.scale(3, traffic_scaling_set_seconds=1)
        assert told(out)[0] == "recovered", out["shown"]
        three = scene.containers()
        assert (len(three), scene.taken()) == (3, set(three.values()))
        until(lambda: set(load.counted().servers) >= set(three), 10, "a container that came gets no request")
        # Its end has come: what was written down of it is enough to go back.
        back = scene.reconcile()
        # What an ended container had in memory nobody counts; it was asked for, so it is green.
        assert told(back)[0] in ("recovered", "recovered_with_loss"), back["shown"]
        assert back["code"] == 0, back["shown"]
    assert (scene.containers(), scene.taken()) == (one, set(one.values()))
    counted = load.counted()
    assert set(counted.servers) == set(three)
    assert counted.statuses == {200: len(counted.answers)}, counted.failed[:5]


def test_what_cannot_be_is_refused_and_what_died_or_changed_between_is_put_right(scene: Scene) -> None:
    assert told(scene.scale(2))[0] == "recovered"
    before = scene.everything()
    for number, more, code in ((4, {}, "no_slot"), (3, {"traffic_scaling_slots_network": "elsewhere"}, "no_network")):
        refused = scene.scale(number, **more)
        assert (told(refused), scene.everything()) == (("refused", code), before), refused["shown"]
    # A container that runs and does not answer gets no request, and goes again.
    (scene.told / "mute").touch()
    undone = scene.scale(3, traffic_scaling_slots_timeout=2)
    assert (told(undone), scene.everything()) == (("undone", "slot_down"), before), undone["shown"]
    (scene.told / "mute").unlink()

    # One slot was drained by a run that was killed then; the container of the other has another address: somebody else got its old one.
    first, was = f"{scene.project.name}-api-1", scene.containers()
    scene.killed(1, lambda: len(scene.taken()) == 1)
    assert scene.containers() == was
    docker("stop", first)
    assert scene.project.compose("up", "--detach", "beside").returncode == 0
    docker("start", first)
    assert scene.containers().keys() == was.keys() != set()
    assert scene.containers() != was
    mended = scene.reconcile()
    assert (told(mended)[0], scene.taken()) == ("recovered", set(scene.containers().values())), mended["shown"]
    # HAProxy was begun anew, and has forgotten all of it.
    scene.load_balancer()
    assert scene.taken() == set()
    assert told(scene.scale(2))[0] == "recovered"
    assert scene.taken() == set(scene.containers().values())
    assert told(scene.scale(2))[0] == "nothing_to_do"
