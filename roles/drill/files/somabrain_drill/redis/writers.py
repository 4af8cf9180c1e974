# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a drill writes keys to Redis, and finds them again."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._resp import Connection, ErrorReply, RespError

from .. import writers
from ..writers import PAUSE, filled
from .target import Target

CHUNK = 500


class Ledger(writers.Ledger):
    """Keys of one Redis that were acknowledged."""

    away = (RespError,)

    def __init__(self, path: Path, target: Target, prefix: str) -> None:
        super().__init__(path, prefix)
        self.target = target

    def send(self, wanted: dict[str, t.Optional[str]]) -> None:
        commands = [("DEL", key) if value is None else ("SET", key, value) for key, value in wanted.items()]
        with self.target.connect(30) as connection:
            for begun in range(0, len(commands), CHUNK):
                replies = connection.ask_all(commands[begun : begun + CHUNK])
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
        with self.target.connect(3600) as connection:
            while go():
                connection.end = time.monotonic() + 2
                self._one(connection)
                time.sleep(PAUSE)

    def _one(self, connection: Connection) -> None:
        key = self.key()
        self.unsure.add(key)
        reply = connection.ask("SET", key, filled(key, 10))
        if reply == "OK":
            self.acknowledge(key, filled(key, 10))
        elif isinstance(reply, ErrorReply):
            self.unsure.discard(key)
            time.sleep(0.05)
