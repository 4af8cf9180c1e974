# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentinels of a drill's own that watch the target and its replica, and writers that follow the master they name."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError, address_of

from ..target import until
from .target import Target

NAME, QUORUM, COUNT = "mymaster", 2, 3
# So long a Sentinel waits for a master that does not answer: nothing happens by itself, and then soon. A replica that lost
# its master more than ten times that long ago is not chosen, so it is not too short.
PATIENT_MS, IMPATIENT_MS = 600_000, 3000


class Sentinel:
    """One Sentinel, which is a redis-server in Sentinel mode; its port is filled in like that of any server of the scene."""

    def __init__(self, folder: Path, port: int, master: Target) -> None:
        folder.mkdir(mode=0o700)
        self.port = port
        file = folder / "sentinel.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/log\n"
            f"sentinel monitor {NAME} {master.address} {master.port} {QUORUM}\n"
            f"sentinel down-after-milliseconds {NAME} {PATIENT_MS}\nsentinel failover-timeout {NAME} 10000\n"
        )
        command = [shutil.which("redis-server") or "redis-server", str(file), "--sentinel"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def ask(self, *words: t.Any) -> t.Any:
        with Connection(address_of({"port": self.port}), 2) as connection:
            return connection.ask("SENTINEL", *words)

    def told(self) -> dict[str, str]:
        """Return what it reports of the master, {} while it does not answer."""
        with contextlib.suppress(RespError):
            words = self.ask("MASTER", NAME)
            return dict(zip(words[::2], words[1::2])) if isinstance(words, list) else {}
        return {}

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def facts(self) -> tuple[t.Any, ...]:
        return self.process.pid, self.process.poll()


@dataclasses.dataclass
class Watch:
    """All Sentinels of a scene."""

    sentinels: t.List[Sentinel]

    def ready(self) -> None:
        """Wait until each knows the others and the replica; raises DrillError."""

        def complete() -> bool:
            told = [sentinel.told() for sentinel in self.sentinels]
            return all((one.get("num-other-sentinels"), one.get("num-slaves")) == (str(COUNT - 1), "1") for one in told)

        until(complete, 30, "the Sentinels do not find each other and the replica")

    def lose_patience(self) -> None:
        """Have them give up the master soon, and wait until so many as it takes say that it is down."""
        for sentinel in self.sentinels:
            sentinel.ask("SET", NAME, "down-after-milliseconds", IMPATIENT_MS)

        def agreed() -> bool:
            return sum("s_down" in sentinel.told().get("flags", "") for sentinel in self.sentinels) >= QUORUM

        until(agreed, 20, "the Sentinels do not notice that the master is down")

    def masters(self) -> set[tuple[str, str]]:
        """Return all masters that are named, each with its epoch."""
        told = [sentinel.told() for sentinel in self.sentinels]
        return {(one.get("port", ""), one.get("config-epoch", "")) for one in told}

    def master(self) -> int:
        """Return the port of the master that most of them name, 0 for none."""
        ports = [sentinel.told().get("port", "0") for sentinel in self.sentinels]
        return int(max(set(ports), key=ports.count))


@dataclasses.dataclass(frozen=True)
class Elected:
    """The master that the Sentinels name, as those who write to it find it."""

    watch: Watch
    target: Target

    def connect(self, seconds: float) -> Connection:
        """Return a conversation with it. Raises RespError."""
        port = self.watch.master()
        return self.target.connect(seconds) if port == self.target.port else Connection(address_of({"port": port}), seconds)

    @property
    def copies(self) -> int:
        """On how many replicas a write has to be to be acknowledged: what only a dying master had is no promise."""
        return int(self.watch.master() == self.target.port)
