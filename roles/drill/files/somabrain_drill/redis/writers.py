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
from .shapes import SHAPES, Command, asked, read, shape_of, written


class Place(t.Protocol):
    """Where is written and counted: one Redis, or whichever is the master."""

    @property
    def copies(self) -> int:
        """On how many replicas a write has to be before it counts as acknowledged."""

    def connect(self, seconds: float) -> Connection:
        """Return a conversation with it. Raises RespError."""


CHUNK = 500


class Ledger(writers.Ledger):
    """Keys of one Redis that were acknowledged, of each shape that life has."""

    away = (RespError,)

    def __init__(self, path: Path, target: Place, prefix: str, turn: int = 0) -> None:
        super().__init__(path, prefix)
        # With which shape it begins is the seed's to say.
        self.target, self.shift = target, turn

    def key(self) -> str:
        with self._lock:
            self.number += 1
            return f"{self.prefix}{SHAPES[(self.number + self.shift) % len(SHAPES)].word}:{self.number:06d}"

    def write(self, count: int, size: int = 10) -> None:
        """As any ledger does; every seventh key then gets a new value, so that its older one is a loss, too."""
        first = self.number
        super().write(count, size)
        again = [key for key in list(self.expected) if int(key[-6:]) > first and self.expected[key] and int(key[-6:]) % 7 == 0]
        self.send({key: filled(key + "new", size) for key in again if shape_of(key).type == "string"})

    def value(self, key: str, size: int) -> str:
        return filled(key, max(size, next(shape.size for shape in SHAPES if shape.word == shape_of(key).word)))

    def send(self, wanted: dict[str, t.Optional[str]]) -> None:
        copies, keys = self.target.copies, sorted(wanted, key=lambda key: shape_of(key).database)
        with self.target.connect(30) as connection:
            # Sent and never answered, one of these may be the old or the new.
            self.unsure |= set(keys)
            for begun in range(0, len(keys), CHUNK):
                part = keys[begun : begun + CHUNK]
                replies = each(connection, {key: commands(key, wanted[key]) for key in part})
                copied(connection, copies)
                for key in part:
                    self._noted(key, wanted[key], replies[key])

    def kept(self, key: str, value: t.Optional[str]) -> None:
        """Note what was acknowledged, and when the time of a key with an end comes at the latest."""
        life = shape_of(key).life
        self.ends.update({key: time.time() + life} if life and value is not None else {})
        self.acknowledge(key, value)

    def find(self, keys: list[str], seconds: float) -> list[t.Optional[str]]:
        found: dict[str, t.Optional[str]] = {}
        with self.target.connect(seconds) as connection:
            for begun in range(0, len(keys), CHUNK):
                replies = each(connection, {key: asked(key) for key in keys[begun : begun + CHUNK]})
                found.update({key: read(key, self.expected[key] or "", reply) for key, reply in replies.items()})
        return [found[key] for key in keys]

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
        value = self.value(key, 10)
        replies = each(connection, {key: commands(key, value)})[key]
        if not any(isinstance(reply, ErrorReply) for reply in replies):
            copied(connection, copies)
        else:
            time.sleep(0.05)
        self._noted(key, value, replies)

    def _noted(self, key: str, value: t.Optional[str], replies: t.Sequence[t.Any]) -> None:
        """Note what the replies promise; what a first command did, a second one that was refused does not take back."""
        refused = [reply for reply in replies if isinstance(reply, ErrorReply)]
        if not refused:
            self.kept(key, value)
        elif len(refused) == len(replies):
            self.unsure.discard(key)


def commands(key: str, value: t.Optional[str]) -> t.List[Command]:
    return [("DEL", key)] if value is None else written(key, value)


def each(connection: Connection, wanted: t.Mapping[str, t.Sequence[Command]]) -> t.Dict[str, t.List[t.Any]]:
    """Send the commands of each key, in the database of that key and all at once; return the replies by key. Raises RespError."""
    sent: t.List[t.Tuple[str, Command]] = []
    database = None
    for key, words in wanted.items():
        sent += [] if shape_of(key).database == database else [("", ("SELECT", shape_of(key).database))]
        database = shape_of(key).database
        sent += [(key, command) for command in words]
    replies = connection.ask_all([command for _key, command in sent])
    found: t.Dict[str, t.List[t.Any]] = {key: [] for key in wanted}
    away = False
    for (key, _command), reply in zip(sent, replies):
        # A server with fewer databases refuses the choice; what follows went elsewhere and is no promise.
        away = isinstance(reply, ErrorReply) if not key else away
        if key:
            found[key].append(ErrorReply("no such database") if away else reply)
    return found


def copied(connection: Connection, copies: int) -> None:
    """Wait until all that was written is on so many replicas. Raises RespError when it is not."""
    if copies and connection.ask("WAIT", copies, 1000) < copies:
        raise RespError("timeout", f"a write did not come to {copies} replicas")
