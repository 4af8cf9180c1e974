# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""supervisord over its unix socket, and lab processes that outlived it."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t
import xmlrpc.client
from pathlib import Path

from .errors import LabError

RUNNING = ("RUNNING", "STARTING")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=90)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: t.Any) -> http.client.HTTPConnection:
        return _Connection(self._path)


class Supervisor:
    """The supervisord of one lab directory."""

    def __init__(self, lab: Path, program: str = "") -> None:
        self.lab = lab
        self._program = program
        proxy = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(str(lab / "supervisor.sock")))
        self.call: t.Any = proxy.supervisor

    def alive(self) -> bool:
        try:
            return bool(self.call.getState()["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def programs(self) -> dict[str, dict[str, t.Any]]:
        """Return supervisor's information about each program; nothing if supervisor is down."""
        if not self.alive():
            return {}
        return {info["name"]: info for info in self.call.getAllProcessInfo()}

    def running(self) -> set[str]:
        return {name for name, info in self.programs().items() if info["statename"] in RUNNING}

    def launch(self) -> None:
        """Start supervisord, detached from this terminal; raises LabError if it does not come up."""
        program = self._program or beside_python("supervisord")
        if not program:
            raise LabError("supervisord is not installed: pip install supervisor, or set lab_supervisord to its path")
        command = [program, "-c", str(self.lab / "etc" / "supervisord.conf")]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, cwd="/", check=False)
        if done.returncode != 0 or not wait_for(self.alive, 10):
            raise LabError(f"supervisord did not start: {(done.stderr or done.stdout).strip()[-300:]}; see {self.lab}/logs/supervisord.log")

    def adopt(self) -> list[str]:
        """Load a changed configuration and return the programs that were recreated."""
        added, changed, removed = self.call.reloadConfig()[0]
        for name in (*changed, *removed):
            self.call.stopProcessGroup(name)
            self.call.removeProcessGroup(name)
        for name in (*added, *changed):
            self.call.addProcessGroup(name)
        return [*added, *changed]

    def start(self, name: str) -> None:
        # It may have started by itself since we looked.
        with contextlib.suppress(xmlrpc.client.Fault):
            self.call.startProcess(name)

    def restart(self, name: str) -> None:
        with contextlib.suppress(xmlrpc.client.Fault):
            self.call.stopProcess(name)
        self.start(name)

    def shutdown(self) -> bool:
        """Stop every program and supervisord itself; return whether there was anything to stop."""
        found = self.programs()
        if not found:
            return stop_orphans(self.lab)
        for info in found.values():
            if info["pid"]:
                # A process stopped by SIGSTOP never sees the signal that ends it.
                send(info["pid"], signal.SIGCONT)
        pid = int(self.call.getPID())
        self.call.shutdown()
        if not wait_for(lambda: not Path(f"/proc/{pid}").exists() or is_zombie(pid), 90):
            raise LabError(f"supervisord (pid {pid}) did not stop within 90 s; see {self.lab}/logs/supervisord.log")
        # A Redis under a shell outlives it.
        stop_orphans(self.lab)
        return True


def orphans(lab: Path) -> dict[int, str]:
    """Return pid and name of running programs of this lab; call it when no supervisord owns them."""
    ours = {f"{lab}/etc/redis.conf": "redis", f"{lab}/etc/standin.json": "standin", f"{lab}/postgres": "postgres"}
    found: dict[int, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            program = os.path.basename(words[0])
            names = [name for path, name in ours.items() if path in words]
            # redis-server rewrites its own command line; its working directory still identifies it.
            if program.startswith("redis-server") and os.readlink(process / "cwd") == f"{lab}/redis":
                names = ["redis"]
            if names and (names[0] != "postgres" or program == "postgres"):
                found[int(process.name)] = names[0]
    return found


def stop_orphans(lab: Path) -> bool:
    """Stop what a dead supervisord left; two servers on one data directory would destroy it."""
    found = orphans(lab)
    for pid, name in found.items():
        send(pid, signal.SIGCONT)
        send(pid, signal.SIGINT if name == "postgres" else signal.SIGTERM)
    if not wait_for(lambda: not orphans(lab), 30):
        left = ", ".join(f"{name} (pid {pid})" for pid, name in orphans(lab).items())
        raise LabError(f"left over from an earlier lab and not stopping: {left}; stop it, then start the lab again")
    return bool(found)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def beside_python(name: str) -> str:
    """Return a program from the folder of this interpreter, else from PATH, else ""."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or ""


def wait_for(true: t.Callable[[], bool], seconds: float) -> bool:
    """Return whether *true* returned true within *seconds*."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True
