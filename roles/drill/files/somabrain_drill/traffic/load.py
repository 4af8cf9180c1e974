# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bounded load on loopback that counts every answer: when it came, its status, who gave it, and what it says of trying again."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import http.client
import itertools
import json
import threading
import time
import typing as t

from ..errors import DrillError

MAX_RATE, MAX_SECONDS, WORKERS = 500.0, 120.0, 48
PATIENCE = 10.0
PATHS = ("/recall", "/remember")


class Answer(t.NamedTuple):
    """One request: the second of the load in which it was due, its status (0: no answer at all), who answered, Retry-After."""

    second: int
    status: int
    server: str
    retry_after: str
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Counted:
    """What came of a load."""

    answers: t.Tuple[Answer, ...]

    @property
    def statuses(self) -> dict[int, int]:
        """How often each status came; 0 is no answer at all."""
        return dict(collections.Counter(one.status for one in self.answers))

    @property
    def servers(self) -> dict[str, int]:
        """How many answers each gave, by its name."""
        return dict(collections.Counter(one.server for one in self.answers if one.status))

    @property
    def failed(self) -> list[Answer]:
        """Those that got no answer, or one of 5xx that does not say when to try again."""
        return [one for one in self.answers if one.status == 0 or (one.status >= 500 and not one.retry_after)]

    @property
    def lost(self) -> list[Answer]:
        """Those of *failed* that no server gave: the balancer had nobody to ask, or lost who it asked."""
        return [one for one in self.failed if not one.server]

    def share(self, *names: str) -> float:
        """Return the share in percent of all answers that servers of *names* gave."""
        return 100.0 * sum(self.servers.get(name, 0) for name in names) / max(1, sum(self.servers.values()))

    def seconds(self) -> dict[int, dict[int, int]]:
        """Return how often each status came, second by second."""
        found: dict[int, collections.Counter[int]] = {}
        for one in self.answers:
            found.setdefault(one.second, collections.Counter())[one.status] += 1
        return {second: dict(found[second]) for second in sorted(found)}


class Load:
    """Requests at a steady rate, each on a connection of its own: a context manager, or run() where it is to end by itself."""

    def __init__(
        self, port: int, rate: float, seconds: float = MAX_SECONDS, paths: t.Sequence[str] = PATHS, source: str = "127.0.0.1"
    ) -> None:
        if not (0 < rate <= MAX_RATE and 0 < seconds <= MAX_SECONDS and source.startswith("127.") and paths):
            raise DrillError(f"a load has at most {MAX_RATE:.0f} requests a second for {MAX_SECONDS:.0f} s, from a loopback address")
        self.port, self.rate, self.count, self.paths, self.source = port, rate, max(1, round(rate * seconds)), paths, source
        self._numbers, self._stop, self._lock = itertools.count(), threading.Event(), threading.Lock()
        self._answers: list[Answer] = []
        self._begun = 0.0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _turn in range(min(WORKERS, self.count))]

    def __enter__(self) -> Load:
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._join()

    def run(self) -> Counted:
        """Send all of it, and return what came of it."""
        with self:
            self._join()
        return self.counted()

    def counted(self) -> Counted:
        """Return what came of it so far."""
        with self._lock:
            return Counted(tuple(self._answers))

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(MAX_SECONDS + PATIENCE)

    def _work(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers)
            if number >= self.count or self._stop.wait(max(0.0, self._begun + number / self.rate - time.monotonic())):
                return
            answer = asked(self.port, int(number / self.rate), path_of(number, self.paths), self.source)
            with self._lock:
                self._answers.append(answer)


def path_of(number: int, paths: t.Sequence[str] = PATHS) -> str:
    """Return the path of one request: mixed, since by turns each path would meet the same server of a round robin every time."""
    return paths[hashlib.sha256(b"%d" % number).digest()[0] % len(paths)]


def asked(port: int, second: int, path: str, source: str = "127.0.0.1") -> Answer:
    """Send one request on a connection of its own, and return what came of it."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=(source, 0))
    try:
        with contextlib.closing(link):
            method, body = ("POST", b"{}") if path in PATHS else ("GET", None)
            link.request(method, path, body, {"Content-Type": "application/json", "Connection": "close"})
            answer = link.getresponse()
            text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return Answer(second, 0, "", "", type(error).__name__)
    named = answer.getheader("X-Server") or named_in(text)
    return Answer(second, answer.status, named, answer.getheader("Retry-After") or "")


def named_in(text: bytes) -> str:
    """Return what the body of an answer says in its detail, as a balancer's own answer does; "" for another body."""
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(text).get("detail") or "")[:40]
    return ""
