# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers that log a write only after its OK, and the comparison of that log with what Redis has in the end."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._resp import Connection, ErrorReply, RespError

from .target import Target

PAUSE = 0.004
# A cap on what the writers may add to one drill, so that a drill that hangs fills no disk.
MOST = 20_000
CHUNK = 500


class Ledger:
    """What was acknowledged: a key and its value, or None where its removal was; one line a write in a file of its own."""

    def __init__(self, path: Path, target: Target, prefix: str) -> None:
        self.target, self.prefix = target, prefix
        self.expected: dict[str, t.Optional[str]] = {}
        # Sent and never answered: it may be there or not.
        self.unsure: set[str] = set()
        self.number = 0
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        self._file.close()

    def acknowledge(self, key: str, value: t.Optional[str]) -> None:
        with self._lock:
            self.expected[key] = value
            self.unsure.discard(key)
            self._file.write(f"{time.time():.6f} {'-' if value is None else '+'} {key}\n")

    def key(self) -> str:
        with self._lock:
            self.number += 1
            return f"{self.prefix}{self.number:06d}"

    def write(self, count: int, size: int = 10) -> None:
        """Write *count* keys of *size* bytes at once and remove every tenth again; only what is acknowledged counts."""
        keys = [self.key() for _turn in range(count)]
        self._send({key: filled(key, size) for key in keys})
        self._send(dict.fromkeys([key for key in keys[::10] if key in self.expected]))

    def _send(self, wanted: dict[str, t.Optional[str]]) -> None:
        commands = [("DEL", key) if value is None else ("SET", key, value) for key, value in wanted.items()]
        with self.target.connect(30) as connection:
            for begun in range(0, len(commands), CHUNK):
                replies = connection.ask_all(commands[begun : begun + CHUNK])
                for (_word, key, *_value), reply in zip(commands[begun : begun + CHUNK], replies):
                    if not isinstance(reply, ErrorReply):
                        self.acknowledge(key, wanted[key])

    def compare(self, seconds: float = 30.0) -> dict[str, int]:
        """Return acknowledged, missing, wrong and resurrected, counted in Redis as it is now. Raises RespError."""
        expected = {key: value for key, value in self.expected.items() if key not in self.unsure}
        keys, found = list(expected), []
        with self.target.connect(seconds) as connection:
            for begun in range(0, len(keys), CHUNK):
                found += connection.ask_all([("GET", key) for key in keys[begun : begun + CHUNK]])
        pairs = [(expected[key], value) for key, value in zip(keys, found)]
        return {
            "acknowledged": len(keys),
            "missing": sum(value is None for wanted, value in pairs if wanted is not None),
            "wrong": sum(value not in (None, wanted) for wanted, value in pairs if wanted is not None),
            "resurrected": sum(value is not None for wanted, value in pairs if wanted is None),
        }


def filled(key: str, size: int) -> str:
    """Return a value of at least *size* characters that belongs to *key* alone."""
    return (key + "=").ljust(size, "x")


class Writers:
    """Threads that write one key after the other, through everything that happens, until they are stopped."""

    def __init__(self, ledger: Ledger, count: int = 2) -> None:
        self.ledger = ledger
        self._stop, self._go = threading.Event(), threading.Event()
        self._go.set()
        self._idle = [threading.Event() for _turn in range(count)]
        self._threads = [threading.Thread(target=self._work, args=(idle,), daemon=True) for idle in self._idle]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._go.set()
        for thread in self._threads:
            thread.join(10)

    @contextlib.contextmanager
    def paused(self) -> t.Iterator[None]:
        """Hold all writers between two writes, so that files stay as they are but for what somebody else does."""
        for idle in self._idle:
            idle.clear()
        self._go.clear()
        for idle, thread in zip(self._idle, self._threads):
            if thread.is_alive():
                idle.wait(5)
        try:
            yield
        finally:
            self._go.set()

    def _work(self, idle: threading.Event) -> None:
        while not self._stop.is_set():
            if not self._go.is_set():
                idle.set()
                self._go.wait(1)
                continue
            with contextlib.suppress(RespError):
                self._converse(idle)
            time.sleep(0.05)

    def _converse(self, idle: threading.Event) -> None:
        """Write over one connection until it fails or a pause begins."""
        with self.ledger.target.connect(3600) as connection:
            while self._go.is_set() and not self._stop.is_set() and self.ledger.number < MOST:
                connection.end = time.monotonic() + 2
                self._one(connection)
                time.sleep(PAUSE)

    def _one(self, connection: Connection) -> None:
        key = self.ledger.key()
        self.ledger.unsure.add(key)
        reply = connection.ask("SET", key, filled(key, 10))
        if reply == "OK":
            self.ledger.acknowledge(key, filled(key, 10))
        elif isinstance(reply, ErrorReply):
            self.ledger.unsure.discard(key)
            time.sleep(0.05)
