# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL clusters in directories of their own, on ports of their own, as the user postgres where we are root."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from farms.waiting import until
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wire import startup_packet
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import postgresql_health_info

BINARIES = (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [""])[-1]
PASSWORD = "correct-horse-7"
# Whom PostgreSQL runs as: it refuses root.
USER = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
# A small cluster that loses nothing at a kill.
SETTINGS = {
    "listen_addresses": "127.0.0.1", "max_connections": 20, "shared_buffers": "16MB", "log_line_prefix": "%m [%p] ",
    "max_wal_size": "256MB", "max_prepared_transactions": 5, "fsync": "off",
}  # fmt: skip


def reachable(folder: Path) -> None:
    """Let every user get through to *folder*."""
    for parent in (folder, *folder.parents):
        if not parent.stat().st_mode & 0o001:
            os.chmod(parent, 0o755)  # noqa: S103


class Cluster:
    """A throw-away cluster on a loopback port and in a socket directory of its own. Its superuser is soma, trusted on the socket."""

    def __init__(self, folder: Path, binaries: str = BINARIES, **settings: t.Any) -> None:
        self.folder, self.binaries = folder, binaries
        self.data, self.log, self.config = folder / "data", folder / "log", folder / "data/postgresql.conf"
        self.settings, self.port = {**SETTINGS, **settings}, free_port()

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a program of the server as its user."""
        user = USER if os.geteuid() == 0 else None
        command = [os.path.join(self.binaries, words[0]), *words[1:]]
        # No server that it starts may hold a pipe of ours.
        with tempfile.TemporaryFile() as said:
            done: subprocess.CompletedProcess[bytes] = subprocess.run(
                command, user=user, cwd="/", stdout=said, stderr=said, stdin=subprocess.DEVNULL, timeout=90, check=False
            )
            said.seek(0)
            done.stdout = said.read()
        assert not check or done.returncode == 0, (words, done.stdout[-2000:], self.tail())
        return done

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def create(self, *words: str) -> Cluster:
        """Make a new cluster; *words* go to initdb."""
        reachable(self.folder)
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER)
        password = self.folder / "pw"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        usual = (
            "--no-sync",
            "-U",
            "soma",
            "--pwfile",
            str(password),
            "--auth-host=scram-sha-256",
            "--auth-local=trust",
            "--locale=C.UTF-8",
        )
        self.run("initdb", "-D", str(self.data), *usual, *words)
        return self.configure()

    def copied(self, template: Path, place: Path | None = None) -> Cluster:
        """Become a copy of a cluster that was made and never started, below *place* where one is given."""
        reachable(self.folder)
        if place:
            self.data = place / "data"
            self.config = self.data / "postgresql.conf"
        subprocess.run(["cp", "-a", str(template), str(self.data)], check=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER)
        return self.configure()

    def configure(self) -> Cluster:
        """Append its settings to its configuration."""
        lines = dict(self.settings, port=self.port, unix_socket_directories=str(self.folder))
        with self.config.open("a") as file:
            file.write("".join(f"{name} = '{value}'\n" for name, value in lines.items()))
        return self

    def start(self, wait: bool = True) -> Cluster:
        self.run("pg_ctl", "-w" if wait else "-W", "-t", "60", "-D", str(self.data), "-l", str(self.log), "start")
        return self

    def start_refused(self) -> None:
        """Start it, and see that it does not come up."""
        assert self.run("pg_ctl", "-w", "-t", "60", "-D", str(self.data), "-l", str(self.log), "start", check=False).returncode

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "-w", "-m", mode, "-D", str(self.data), "stop")

    @property
    def postmaster(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    @property
    def processes(self) -> list[int]:
        """Every living process that works in the data directory."""
        found = []
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and os.readlink(f"/proc/{name}/cwd") == str(self.data.resolve()):
                    found.append(int(name))
        return found

    @property
    def command_lines(self) -> dict[int, str]:
        """The command line of each of them by its pid; one that ends meanwhile is left out."""
        lines = {}
        for pid in self.processes:
            with contextlib.suppress(OSError):
                lines[pid] = Path(f"/proc/{pid}/cmdline").read_text()
        return lines

    def kill(self) -> None:
        """Kill the postmaster, and wait until all that it had started is gone too."""
        pid = self.postmaster
        os.kill(pid, signal.SIGKILL)
        until(lambda: not self.processes and not os.path.exists(f"/proc/{pid}"), what="backends go after their postmaster")

    def end(self) -> None:
        """Leave nothing of it alive."""
        while self.processes:
            for pid in self.processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def sql(self, text: str, database: str = "postgres") -> str:
        """Run statements, and return what the last one says, unaligned."""
        words = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-p", str(self.port), "-U", "soma"]
        done = subprocess.run([*words, "-d", database], input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def session(self, text: str, database: str = "postgres") -> subprocess.Popen[str]:
        """Run statements in a session that stays."""
        words = ["psql", "-X", "-q", "-h", str(self.folder), "-p", str(self.port), "-U", "soma", "-d", database]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        assert process.stdin
        process.stdin.write(text + "\n")
        process.stdin.flush()
        return process

    def hold(self, count: int) -> list[socket.socket]:
        """Occupy *count* connections."""
        held = []
        for _turn in range(count):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(self.folder / f".s.PGSQL.{self.port}"))
            sock.sendall(startup_packet({"user": "soma", "database": "postgres"}))
            sock.recv(4096)
            held.append(sock)
        return held

    @property
    def reach(self) -> dict[str, t.Any]:
        """How the modules reach it by its socket."""
        return {"host": str(self.folder), "port": self.port, "user": "soma", "os_user": USER}

    def look(self, **options: t.Any) -> dict[str, t.Any]:
        step = postgresql_health_info
        places = {"data_dir": str(self.data), "log_file": str(self.log), "bin_dir": self.binaries}
        given = {**self.reach, **places, "probe_timeout": 3.0, **options}
        return step.run({name: given.get(name, rule.get("default")) for name, rule in step.ARGUMENT_SPEC.items()}, False)


def seen(result: dict[str, t.Any]) -> tuple[str, str, list[str]]:
    return result["state"], result["health"], result["actions"]
