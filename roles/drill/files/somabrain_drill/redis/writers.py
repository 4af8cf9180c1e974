# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a drill writes keys to Redis, and finds them again."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, ErrorReply, RespError

from .. import writers
from ..writers import PAUSE, filled


class Place(t.Protocol):
    """Where is written and counted: one Redis, or whichever is the master."""

    @property
    def copies(self) -> int:
        """On how many replicas a write has to be before it counts as acknowledged."""

    def connect(self, seconds: float) -> Connection:
        """Return a conversation with it. Raises RespError."""


CHUNK = 500


class Ledger(writers.Ledger):
    """Keys of one Redis that were acknowledged."""

    away = (RespError,)

    def __init__(self, path: Path, target: Place, prefix: str) -> None:
        super().__init__(path, prefix)
        self.target = target

    def send(self, wanted: dict[str, t.Optional[str]]) -> None:
        commands = [("DEL", key) if value is None else ("SET", key, value) for key, value in wanted.items()]
        copies = self.target.copies
        with self.target.connect(30) as connection:
            for begun in range(0, len(commands), CHUNK):
                replies = connection.ask_all(commands[begun : begun + CHUNK])
                copied(connection, copies)
                for (_word, key, *_value), reply in zip(commands[begun : begun + CHUNK], replies):
                    if not isinstance(reply, ErrorReply):
                        self.acknowledge(key, wanted[key])

    def find(self, keys: list[str], seconds: float) -> list[t.Optional[str]]:
        found: list[t.Optional[str]] = []
        with self.target.connect(seconds) as connection:
            for begun in range(0, len(keys), CHUNK):
                found += connection.ask_all([("GET", key) for key in keys[begun : begun + CHUNK]])
        return found

    def converse(self, go: t.Callable[[], bool]) -> None:
        copies = self.target.copies
        with self.target.connect(3600) as connection:
            while go():
                connection.end = time.monotonic() + 2
                self._one(connection, copies)
                time.sleep(PAUSE)

    def _one(self, connection: Connection, copies: int) -> None:
        key = self.key()
        self.unsure.add(key)
        reply = connection.ask("SET", key, filled(key, 10))
        if reply == "OK":
            copied(connection, copies)
            self.acknowledge(key, filled(key, 10))
        elif isinstance(reply, ErrorReply):
            self.unsure.discard(key)
            time.sleep(0.05)


def copied(connection: Connection, copies: int) -> None:
    """Wait until all that was written is on so many replicas. Raises RespError when it is not."""
    if copies and connection.ask("WAIT", copies, 1000) < copies:
        raise RespError("timeout", f"a write did not come to {copies} replicas")
