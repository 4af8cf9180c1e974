# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of one drill: the target's own data put aside, fresh data in its place, a decoy beside it; all of it put back in the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._resp import Connection, address_of

from .errors import DrillError, Skipped
from .faults import Fault
from .sshd import Sshd
from .target import Target, hashes, start_ticks, until
from .writers import Ledger

ASIDE = ".kept-by-drill"
# What the drill sets on top of the target's own configuration; a fault's settings come after it.
BASE: t.Mapping[str, t.Any] = {"save": '""', "appendonly": "yes", "appendfsync": "everysec", "aof-use-rdb-preamble": "yes"}
SMALL = "4m"


class Server:
    """A Redis of the drill's own, on a unix socket and a free port, without files of anybody else."""

    def __init__(self, folder: Path, port: int, *words: str) -> None:
        folder.mkdir(mode=0o755)
        self.folder, self.port, self.socket = folder, port, folder / "s"
        program = shutil.which("redis-server") or "redis-server"
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket), "--dir", str(folder)]
        command += ["--logfile", str(folder / "log"), "--save", "", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        until(self._up, 10, f"a Redis beside the target did not start: see {folder}/log")

    def _up(self) -> bool:
        with contextlib.suppress(Exception):
            return bool(self.ask("PING") == "PONG")
        return False

    def ask(self, *words: t.Any) -> t.Any:
        with Connection(address_of({"socket": str(self.socket)}), 5) as connection:
            return connection.ask(*words)

    def facts(self) -> tuple[t.Any, ...]:
        """Return what must not change: pid, start time, the digest of the data, the hashes of the files."""
        files = {path: text for path, text in hashes(self.folder).items() if not path.endswith("/log")}
        return self.process.pid, start_ticks(self.process.pid), self.process.poll(), self.ask("DEBUG", "DIGEST"), files

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


class Scene:
    """One drill's scene. Use it as a context manager: leaving it puts the target back as it was."""

    def __init__(self, target: Target, fault: Fault, work: Path, ports: t.Callable[[], int]) -> None:
        self.target, self.fault, self.work, self.ports = target, fault, work, ports
        self.data_aside, self.config_aside = aside(target.data_dir), aside(target.config_file)
        self.servers: dict[str, Server] = {}
        self.ledger: Ledger
        self.sshd: t.Optional[Sshd] = None
        # Runs the playbook once and returns the word of its outcome; set by who plays the drill.
        self.prove: t.Callable[[], str] = lambda: "no player"

    def __enter__(self) -> Scene:
        restore(self.target)
        try:
            self._set()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for server in self.servers.values():
            server.end()
        if self.sshd:
            self.sshd.cut()
        if hasattr(self, "ledger"):
            self.ledger.close()
        restore(self.target)

    def _set(self) -> None:
        self.ledger = Ledger(self.work / "acknowledged.log", self.target, f"drill:{self.work.name}:")
        self.target.end()
        facts = self.target.data_dir.stat()
        self.target.config_file.rename(self.config_aside)
        if self.target.log_file.exists():
            self.target.log_file.rename(aside(self.target.log_file))
        self.target.data_dir.rename(self.data_aside)
        self.target.data_dir.mkdir(mode=0o700)
        if "small_disk" in self.fault.needs:
            self._mount()
        self.target.data_dir.chmod(facts.st_mode & 0o7777)
        os.chown(self.target.data_dir, facts.st_uid, facts.st_gid)
        self.decoy = self.serve("decoy", "--appendonly", "yes", "--enable-debug-command", "yes")
        self.decoy.ask("SET", "decoy", "unchanged")
        self.configure({})
        self.target.start()
        until(self.target.answers, 20, f"Redis does not answer on port {self.target.port} with the settings of the fault")
        if self.fault.replica:
            self._follow()

    def _follow(self) -> None:
        replica = self.serve("replica", "--replicaof", f"{self.target.address} {self.target.port}", "--appendonly", "no")
        until(lambda: replica.ask("ROLE")[3] == "connected", 20, "the replica does not come up")

    def serve(self, name: str, *words: str) -> Server:
        self.servers[name] = Server(self.work / name, self.ports(), *words)
        return self.servers[name]

    def _mount(self) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(self.target.data_dir)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skipped("no small disk can be mounted here: " + " ".join(done.stderr.split())[:80])

    def configure(self, settings: t.Mapping[str, t.Any]) -> None:
        """Write the target's configuration: its own, the drill's, the fault's, then *settings*."""
        words = {**BASE, **self.fault.settings, **settings}
        lines = "".join(f"{word} {value}\n" for word, value in words.items())
        own, facts = self.config_aside.read_text(encoding="utf-8"), self.config_aside.stat()
        # It may hold a password: created with its mode.
        with os.fdopen(os.open(self.target.config_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, facts.st_mode & 0o777), "w") as file:
            file.write(own + "\n" + lines)
        os.chown(self.target.config_file, facts.st_uid, facts.st_gid)

    def file(self, pattern: str) -> Path:
        """Return the newest file of the data directory that matches; raises DrillError for none."""
        found = sorted(self.target.data_dir.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
        if not found:
            raise DrillError(f"no file {pattern} in {self.target.data_dir}")
        return found[-1]


def aside(path: Path) -> Path:
    """Return where a file or folder of the target is kept while a drill uses its place."""
    return path.with_name(path.name + ASIDE)


def restore(target: Target) -> None:
    """Put back what a drill had put aside, now or when it died, and start Redis; nothing where there is none."""
    data, files = aside(target.data_dir), [path for path in (target.config_file, target.log_file) if aside(path).exists()]
    if not data.exists() and not files:
        return
    target.end()
    if data.exists():
        if os.path.ismount(target.data_dir):
            subprocess.run(["umount", "-l", str(target.data_dir)], check=True)
        remove(target.data_dir)
        data.rename(target.data_dir)
    for path in files:
        aside(path).replace(path)
    target.start()
    until(target.answers, 30, f"{target.host}: Redis does not come back with its own data after the drill; see {target.log_file}")


def remove(folder: Path) -> None:
    """Remove the drill's own data, out of its place first, so that a half removed folder is never taken for data."""
    if folder.exists():
        away = Path(tempfile.mkdtemp(prefix="drill-", dir=folder.parent)) / folder.name
        folder.rename(away)
        shutil.rmtree(away.parent)
