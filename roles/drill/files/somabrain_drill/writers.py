# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers that log a write only after its OK, whatever store they write to; each family says how one is written and counted."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t
from pathlib import Path

PAUSE = 0.004
# A cap on what the writers may add to one drill, so that a drill that hangs fills no disk.
MOST = 20_000


class Ledger:
    """What was acknowledged: a key and its value, or None where its removal was; one line a write in a file of its own."""

    # What talking to the store can raise.
    away: t.ClassVar[t.Tuple[type[Exception], ...]] = (OSError,)

    def __init__(self, path: Path, prefix: str) -> None:
        self.prefix = prefix
        self.expected: dict[str, t.Optional[str]] = {}
        # Sent and never answered: it may be there or not.
        self.unsure: set[str] = set()
        # When the time of a key comes at the latest: from then on it is not lost, and may not be there.
        self.ends: dict[str, float] = {}
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
        self.send({key: self.value(key, size) for key in keys})
        self.send(dict.fromkeys([key for key in keys[::10] if key in self.expected]))

    def value(self, key: str, size: int) -> str:
        """Return the value of a new key, of at least *size* bytes."""
        return filled(key, size)

    def send(self, wanted: dict[str, t.Optional[str]]) -> None:
        """Write each key with its value, or remove it where that is None. Raises one of *away*."""
        raise NotImplementedError

    def find(self, keys: list[str], seconds: float) -> list[t.Optional[str]]:
        """Return the value of each key as it is now, None for none. Raises one of *away*."""
        raise NotImplementedError

    def converse(self, go: t.Callable[[], bool]) -> None:
        """Write one key after the other over one connection while *go* says so. Raises one of *away*."""
        raise NotImplementedError

    def compare(self, seconds: float = 30.0, since: float = 0.0) -> dict[str, int]:
        """Return what became of what was acknowledged, counted in the store as it is now. Raises one of *away*.

        acknowledged, missing, wrong, resurrected; lapsed: keys whose time came after *since*. One whose time has come is not
        missing; it is resurrected if it is there all the same.
        """
        expected = {key: value for key, value in self.expected.items() if key not in self.unsure}
        found = dict(zip(expected, self.find(list(expected), seconds)))
        return count(expected, found, self.ends, time.time(), since)


# By so much the clock of a store and ours may differ.
SLACK = 0.5


def count(
    expected: t.Mapping[str, t.Optional[str]],
    found: t.Mapping[str, t.Optional[str]],
    ends: t.Mapping[str, float],
    now: float,
    since: float,
) -> dict[str, int]:
    """Compare what was acknowledged with what was *found* at *now*."""
    over = {key for key in expected if expected[key] is not None and ends.get(key, now + 1) <= now}
    live = {key: value for key, value in expected.items() if value is not None and key not in over}
    away = [key for key, value in expected.items() if value is None or (key in over and ends[key] < now - SLACK)]
    return {
        "acknowledged": len(expected),
        "missing": sum(found[key] is None for key in live),
        "wrong": sum(found[key] not in (None, value) for key, value in live.items()),
        "resurrected": sum(found[key] is not None for key in away),
        "lapsed": sum(ends[key] > since for key in over),
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
            with contextlib.suppress(*self.ledger.away):
                self.ledger.converse(self._goes_on)
            time.sleep(0.05)

    def _goes_on(self) -> bool:
        return self._go.is_set() and not self._stop.is_set() and self.ledger.number < MOST
