# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool that requests are balanced over: HAProxy in the foreground, and stand-ins behind it; all that is started is ended by its pid."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

from ..errors import Skipped
from ..target import until
from .load import PATHS, Counted, Load

HERE = Path(__file__).resolve()
LAB_FILES = HERE.parents[4] / "lab/files"
POOL, BESIDE, MAIN, SPARE, OVERFLOW = "api", "beside", ("api1", "api2"), "spare", "overflow"
OPERATOR, OVERFLOW_RETRY_AFTER = "127.0.0.9", 30

# The checks are quick, as drills are.
DEFAULTS = """\
defaults
  mode http
  option redispatch
  retries 3
  timeout connect 1s
  # Without it a check is given no longer than the pause between two, and a busy machine has servers down.
  timeout check 3s
  timeout client 15s
  timeout server 15s
  default-server inter 200ms fastinter 100ms downinter 200ms fall 2 rise 2
"""
# The shape that docs and the role's README show.
CONFIGURATION = """\
global
  stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners
  maxconn 2000
  nbthread 1
  hard-stop-after 5s
{defaults}frontend front
  bind 127.0.0.1:{port}
  acl let_through path /health /healthz /readyz /metrics
  acl operator src -f {folder}/operators.lst
  http-request set-var(txn.retry_after) str({pool}),map({folder}/maintenance.map)
  http-request return status 503 content-type application/json hdr Retry-After "%[var(txn.retry_after)]" \
lf-string '{{"detail":"maintenance"}}' if {{ var(txn.retry_after) -m found }} !let_through !operator
  default_backend {pool}
backend {pool}
  balance roundrobin
  option httpchk GET /health
{servers}
backend {beside}
  balance roundrobin
  server api1 127.0.0.1:{first_port} weight 100
frontend overflow
  bind 127.0.0.1:{overflow_port}
  http-request return status 503 content-type application/json hdr Retry-After "{retry_after}" hdr X-Server overflow \
string '{{"detail":"overflow"}}'
"""


def program(name: str = "haproxy") -> t.Optional[str]:
    """Return the path of a server program, None where it is not installed; Debian keeps some out of the path of users."""
    return shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


class Bed:
    """HAProxy on ``port`` over api1, api2, spare and overflow, in *folder*, whose path has to be short: sockets are in it."""

    def __init__(self, folder: Path, ports: t.Callable[[], int]) -> None:
        self.folder, self.port, self.overflow_port = folder, ports(), ports()
        self.ports = {name: ports() for name in (*MAIN, SPARE)}
        self.socket = self.control = folder / "admin.sock"
        self.map = folder / "maintenance.map"
        self.config, self.operators = folder / "haproxy.cfg", folder / "operators.lst"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.silent: socket.socket | None = None
        folder.mkdir(exist_ok=True)
        self.map.touch()
        self.operators.write_text(OPERATOR + "\n")
        self.config.write_text(self.configuration())

    def configuration(self) -> str:
        lines = [f"server {name} 127.0.0.1:{port} check weight {100 if name in MAIN else 0}" for name, port in self.ports.items()]
        lines.append(f"server {OVERFLOW} 127.0.0.1:{self.overflow_port} weight 0")
        return CONFIGURATION.format(
            defaults=DEFAULTS,
            folder=self.folder, port=self.port, overflow_port=self.overflow_port, pool=POOL, beside=BESIDE,
            first_port=self.ports[MAIN[0]], retry_after=OVERFLOW_RETRY_AFTER,
            servers="\n".join("  " + line for line in lines),
        )  # fmt: skip

    def __enter__(self) -> Bed:
        try:
            return self.start()
        except BaseException:
            self.end()
            raise

    def __exit__(self, *exc: object) -> None:
        self.end()

    def start(self) -> Bed:
        """Start all of it and wait until each server is up. Raises Skipped where there is no HAProxy."""
        haproxy = program()
        if haproxy is None:
            raise Skipped("no haproxy is installed here")
        for name in self.ports:
            self.start_server(name)
        until(lambda: all(map(self.answers, self.ports.values())), 20, "the stand-ins do not answer")
        self.run("haproxy", [haproxy, "-W", "-db", "-S", f"{self.folder}/master.sock", "-f", str(self.config)])
        until(self.is_up, 20, "HAProxy does not come up")
        return self

    def is_up(self) -> bool:
        """Return whether HAProxy answers and finds every server up."""
        with contextlib.suppress(OSError):
            return all(self.status(name) == "UP" for name in self.ports)
        return False

    def status(self, name: str) -> str:
        """Return what HAProxy calls a server now: UP, DOWN, MAINT, ..."""
        rows = [line.split(",") for line in self.ask("show stat").splitlines()]
        return next((row[17] for row in rows if row[:2] == [POOL, name]), "")

    def run(self, name: str, words: t.Sequence[str], **environment: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            # In a session of its own: a ctrl-C is for the drills to answer.
            self.processes[name] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **environment},
                start_new_session=True,
            )  # fmt: skip

    def start_server(self, name: str) -> None:
        words = [sys.executable, "-B", str(HERE.with_name("standin.py")), str(self.ports[name]), name, str(self.faults_of(name))]
        self.run(name, words, PYTHONPATH=str(LAB_FILES))

    def stop(self, name: str) -> None:
        """End one process of the bed; what asks a server after that is refused."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)

    def faults_of(self, name: str) -> Path:
        return self.folder / f"{name}.faults.json"

    def answers(self, port: int) -> bool:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(link):
            link.request("GET", "/health")
            return link.getresponse().status == 200
        return False

    def ask(self, words: str) -> str:
        """Return what HAProxy says to a command on its socket. Raises OSError where it says nothing."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(5)
            link.connect(str(self.socket))
            link.sendall((words + "\n").encode())
            return b"".join(iter(lambda: link.recv(65536), b"")).decode().strip("\n")

    def close_control(self, hung: bool) -> None:
        """Move its socket away; *hung*: put one there that never answers. The drill itself keeps using the moved one."""
        self.open_control()
        self.socket = self.control.with_name("aside.sock")
        self.control.rename(self.socket)
        if hung:
            self.silent = socket.socket(socket.AF_UNIX)
            self.silent.bind(str(self.control))
            self.silent.listen(64)

    def open_control(self) -> None:
        """Put its socket back."""
        if self.silent:
            self.silent.close()
            self.silent = None
        if self.socket != self.control:
            self.socket.replace(self.control)
            self.socket = self.control

    def share(self) -> float:
        """Return the share in percent of the weights that main servers have; one that was taken out has none."""
        weights = {name: 0 if admin else weight for name, (weight, admin) in self.states().items()}
        return 100.0 * sum(weights[name] for name in MAIN) / max(1, sum(weights.values()))

    def states(self, pool: str = POOL) -> dict[str, tuple[int, int]]:
        """Return weight and administrative state (0: ready) of each server by HAProxy's own word."""
        rows = [line.split() for line in self.ask(f"show servers state {pool}").splitlines()[2:]]
        return {row[3]: (int(row[7]), int(row[6])) for row in rows}

    def weights(self) -> dict[str, int]:
        return {name: weight for name, (weight, _admin) in self.states().items()}

    def switched(self) -> dict[str, str]:
        """Return the pools in maintenance by the running HAProxy, each with its Retry-After in seconds."""
        return dict(line.split()[1:3] for line in self.ask(f"show map {self.map}").splitlines() if line)

    def worker(self) -> int:
        """Return the pid of the process that serves; a reload makes another."""
        lines = self.ask("show info").splitlines()
        return int(next(line for line in lines if line.startswith("Pid:")).split()[1])

    def reload(self) -> None:
        """Reload HAProxy's configuration, and wait until the new process serves requests."""
        before = self.worker()
        self.processes["haproxy"].send_signal(signal.SIGUSR2)
        until(lambda: self._serves_after(before), 20, "HAProxy does not come back after the reload")

    def _serves_after(self, before: int) -> bool:
        with contextlib.suppress(OSError, StopIteration):
            return self.worker() != before and self.is_up()
        return False

    def load(self, rate: float, seconds: float, paths: t.Sequence[str] = PATHS, source: str = "127.0.0.1") -> Counted:
        """Send a load through HAProxy, and return what came of it."""
        return Load(self.port, rate, seconds, paths, source).run()

    def end(self) -> None:
        if self.silent:
            self.silent.close()
        for name in reversed(list(self.processes)):
            process = self.processes[name]
            # A master that is killed leaves its workers behind.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
                continue
            process.kill()
            process.wait(10)
        self.processes = {}
