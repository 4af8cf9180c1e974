# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of a Redis: fresh data with the settings of the fault, a decoy, and a replica where the fault wants one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError, address_of

from .. import scene
from ..scene import mount_small
from ..target import hashes, start_ticks, until
from .sentinels import COUNT, Elected, Sentinel, Watch
from .shapes import SHAPES, SHORT
from .target import Target
from .writers import Ledger

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


class Scene(scene.Scene):
    """A Redis with nothing in it but what the drill writes."""

    component = "redis"
    remedy = "redis_recovery"
    target: Target
    ledger: Ledger

    def set(self) -> None:
        # Connections that stay open for as long as the drill does: Redis ends a script or a sleep of a client that has gone.
        self.held: list[Connection] = []
        # Files that steps made outside of what is put aside.
        self.made: list[Path] = []
        self.watch = Watch([])
        self.ledger = Ledger(self.work / "acknowledged.log", self.target, f"drill:{self.work.name}:", self.dice.randrange(len(SHAPES)))
        facts = self.put_aside()
        self.target.data_dir.mkdir(mode=0o700)
        if "small_disk" in self.fault.needs:
            mount_small(self.target.data_dir, SMALL)
        self.target.data_dir.chmod(facts.st_mode & 0o7777)
        os.chown(self.target.data_dir, facts.st_uid, facts.st_gid)
        self.serve("decoy", "--appendonly", "yes", "--enable-debug-command", "yes").ask("SET", "decoy", "unchanged")
        self.configure({})
        self.target.start()
        until(self.target.answers, 20, f"Redis does not answer on port {self.target.port} with the settings of the fault")
        if self.fault.replica:
            self._follow()

    def _follow(self) -> None:
        replica = self.serve("replica", "--replicaof", f"{self.target.address} {self.target.port}", "--appendonly", "no")
        until(lambda: replica.ask("ROLE")[3] == "connected", 20, "the replica does not come up")

    def serve(self, name: str, *words: str) -> Server:
        server = self.servers[name] = Server(self.work / name, self.ports(), *words)
        return server

    def watched(self) -> None:
        """Have Sentinels of the drill's own watch the target; who writes follows the master they name."""
        for number in range(1, COUNT + 1):
            self.servers[f"sentinel_{number}"] = Sentinel(self.work / f"sentinel_{number}", self.ports(), self.target)
        self.watch = Watch([server for name, server in self.servers.items() if name.startswith("sentinel_")])
        self.watch.ready()
        self.ledger.target, self.followed = Elected(self.watch, self.target), True

    def settle(self) -> bool:
        """Keys whose time comes within seconds change the files: let it come."""
        now = time.time()
        soon = [end for end in self.ledger.ends.values() if now - 0.3 < end < now + 2 * SHORT]
        # One that wants another password than ours does not answer us, and removes them all the same.
        if not soon or not self.target.pid:
            return False
        time.sleep(max(soon) - now + 0.3)
        # Redis removes a key whose time has come when it happens upon it, and at once when somebody asks for it.
        if self.target.answers():
            self.ledger.find([key for key, end in list(self.ledger.ends.items()) if end < time.time()], 30)
        return True

    def standing(self) -> dict[str, str]:
        return {**super().standing(), **seen(self.target)}

    def let_go(self) -> None:
        for connection in getattr(self, "held", []):
            connection.close()
        for file in getattr(self, "made", []):
            file.unlink(missing_ok=True)

    @property
    def variables(self) -> dict[str, t.Any]:
        # Its own: copies that an earlier drill left would be candidates of this one.
        return {"redis_recovery_rescue_dir": str(self.work / "rescue"), **super().variables}

    def configure(self, settings: t.Mapping[str, t.Any]) -> None:
        words = {**BASE, **self.fault.settings, **settings}
        lines = "".join(f"{word} {value}\n" for word, value in words.items())
        own, facts = self.config_aside.read_text(encoding="utf-8"), self.config_aside.stat()
        # It may hold a password: created with its mode.
        with os.fdopen(os.open(self.target.config_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, facts.st_mode & 0o777), "w") as file:
            file.write(own + "\n" + lines)
        os.chown(self.target.config_file, facts.st_uid, facts.st_gid)


def seen(target: Target) -> dict[str, str]:
    """Return every setting that is in force and whether writers go on, {} of a server that does not say."""
    with contextlib.suppress(RespError):
        told = target.ask("CONFIG", "GET", "*", seconds=3)
        settings = zip(told[::2], told[1::2]) if isinstance(told, list) else ()
        return {**{f"setting {name}": str(value) for name, value in settings}, "writers": "go on" if takes_writes(target) else "paused"}
    return {}


def takes_writes(target: Target) -> bool:
    """Ask by a command that a pause of writers holds back, too, and that changes nothing."""
    with contextlib.suppress(RespError):
        return target.ask("PUBLISH", "drill", "probe", seconds=1) is not None
    return False
