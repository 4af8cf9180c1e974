# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy with a backend of the test's own, over servers in this process that answer, hang or break off as they are told."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import typing as t
from pathlib import Path

from farms.waiting import until
from somabrain_drill.ports import free_port
from somabrain_drill.traffic.bed import program

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import traffic_gate_info, traffic_shift
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import haproxy

ROOT = Path(__file__).resolve().parents[3]
# A newer HAProxy, where there is one: its path, or a link to it in the cache of this checkout.
NEWER = os.environ.get("SOMABRAIN_HAPROXY3") or str(ROOT / ".cache/haproxy3")
HAPROXIES = {"installed": program() or "", "newer": NEWER if os.access(NEWER, os.X_OK) else ""}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = {
    "ok": OK, "401": b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno", "503": b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno",
    "hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK,
    "body": b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", "hang": b"", "close": b"",
}  # fmt: skip
DEFAULTS = """\
global
  stats socket {folder}/admin.sock mode 600 level admin
  maxconn 2000
defaults other
  mode tcp
  timeout connect 1s
  timeout client 60s
  timeout server 60s
defaults
  mode http
  option redispatch
  retries 2
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  timeout check 3s
  default-server inter 200ms fastinter 100ms downinter 200ms fall 2 rise 2
"""


class Answering:
    """A server on a port of its own; *how* says what the n-th request gets; a health check is always answered."""

    def __init__(self, how: t.Callable[[int], str] = lambda turn: "ok") -> None:
        self.port, self.how, self.turns, self.got = free_port(), how, itertools.count(), 0
        self.socket = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _peer = self.socket.accept()
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            asked = b""
            while not self.over.is_set():
                more = link.recv(4096)
                if not more:
                    return
                asked += more
                if b"\r\n\r\n" in asked and not self._answer(link, asked):
                    return
                asked = b"" if b"\r\n\r\n" in asked else asked

    def _answer(self, link: socket.socket, asked: bytes) -> bool:
        """Answer one request; return whether the connection goes on."""
        if b" /health" in asked:
            link.sendall(OK)
            return True
        self.got += 1
        how = self.how(next(self.turns))
        link.sendall(ANSWERS[how])
        if how in ("hang", "body"):
            self.over.wait(60)
        return how not in ("hang", "body", "cut", "close")

    def end(self) -> None:
        self.over.set()
        self.socket.close()


class Proxied:
    """HAProxy with one pool, ``api``, of the lines given; ``{a}``, ``{b}``, ... in them are the ports of *servers*."""

    def __init__(self, binary: str, lines: str, servers: t.Mapping[str, Answering], before: str = "") -> None:
        self.folder, self.port, self.servers = Path(tempfile.mkdtemp(prefix="hap-", dir="/tmp")), free_port(), servers
        self.map = self.folder / "maintenance.map"
        self.map.touch()
        ports = {name: one.port for name, one in servers.items()}
        front = "frontend front\n  %sbind 127.0.0.1:%d\n  default_backend api\n" % (
            "mode tcp\n  " if "mode tcp" in lines else "",
            self.port,
        )
        switch = "  http-request return status 503 if { str(api),map(%s) -m found }\n" % self.map if "mode tcp" not in lines else ""
        text = DEFAULTS.format(folder=self.folder) + before.format(**ports) + front + switch + "backend api\n" + lines.format(**ports)
        (self.folder / "haproxy.cfg").write_text(text)
        self.log = (self.folder / "log").open("ab")
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [binary, "-W", "-db", "-f", str(self.folder / "haproxy.cfg")], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def __enter__(self) -> Proxied:
        try:
            until(lambda: self.state()["reachable"], 10, lambda: "HAProxy: " + (self.folder / "log").read_text()[-800:])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        self.log.close()
        for one in self.servers.values():
            one.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def target(self, **given: t.Any) -> dict[str, t.Any]:
        usual = {name: rule["default"] for name, rule in haproxy.OPTIONS.items()}
        folder = str(self.folder)
        return {
            **usual, "balancer": "haproxy", "pool": "api", "haproxy_address": folder + "/admin.sock",
            "haproxy_maintenance_map": str(self.map), "haproxy_state_dir": folder + "/kept", **given,
        }  # fmt: skip

    def state(self) -> dict[str, t.Any]:
        return haproxy.load(self.target(), 3.0)

    def one(self, name: str) -> dict[str, t.Any]:
        return next(one for one in self.state()["servers"] if one["name"] == name)

    def ask(self, words: str) -> str:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(self.folder / "admin.sock"))
            link.sendall((words + "\n").encode())
            return b"".join(iter(lambda: link.recv(65536), b"")).decode().strip("\n")

    def shift(self, **given: t.Any) -> dict[str, t.Any]:
        usual = {name: rule.get("default") for name, rule in traffic_shift.ARGUMENT_SPEC.items()}
        return traffic_shift.run({**usual, "target": self.target(), **given}, False)

    def watch(self, share: float, seconds: float, **given: t.Any) -> dict[str, t.Any]:
        """Return what the step of a restoration makes of *seconds* under way."""
        usual = {name: rule.get("default") for name, rule in traffic_gate_info.ARGUMENT_SPEC.items()}
        usual.update(target=self.target(), share=share, main=["a"], spare=["b"], sample_window=seconds, timeout=seconds + 1, interval=0.1)
        gates = {"error_rate": 0.05, "p95": None, "recall_p95": None}
        return traffic_gate_info.run({**usual, "gates": gates, "probe_timeout": 3.0, **given}, False)


class Clients:
    """Send *rate* requests a second until the end of the with, each given up after *patience* seconds; every answer is counted."""

    def __init__(self, port: int, rate: float, patience: float = 5.0, headers: t.Optional[dict[str, str]] = None) -> None:
        self.port, self.rate, self.patience, self.headers = port, rate, patience, headers or {}
        self.statuses: dict[int, int] = {}
        self.over, self.lock, self.threads = threading.Event(), threading.Lock(), [threading.Thread(target=self._send, daemon=True)]

    def _send(self) -> None:
        begun = time.monotonic()
        for turn in itertools.count():
            if self.over.wait(max(0.0, begun + turn / self.rate - time.monotonic())):
                return
            thread = threading.Thread(target=self._one, daemon=True)
            self.threads.append(thread)
            thread.start()

    def _one(self) -> None:
        link, status = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.patience), 0
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(link):
            link.request("GET", "/recall", headers=self.headers)
            answer = link.getresponse()
            answer.read()
            status = answer.status
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def __enter__(self) -> Clients:
        self.threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(self.patience + 5)
