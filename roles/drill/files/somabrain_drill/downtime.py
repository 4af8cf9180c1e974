# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that asks the target every 50 ms and counts the seconds in which it gets no answer."""

from __future__ import annotations

import threading
import time
import typing as t

EVERY = 0.05


class Client:
    """Use it as a context manager around the runs. *answers* has to return within a few seconds."""

    def __init__(self, answers: t.Callable[[], bool]) -> None:
        self._answers, self._stop = answers, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        # Whether it was up before the first run, and for how long nobody got an answer since.
        self.up_before = answers()
        self.seconds = 0.0

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _work(self) -> None:
        down_since: t.Optional[float] = None if self.up_before else time.monotonic()
        counted = self.seconds
        while not self._stop.is_set():
            asked = time.monotonic()
            up = self._answers()
            now = time.monotonic()
            down_since = asked if down_since is None and not up else down_since
            if down_since is not None:
                self.seconds = counted + (asked if up else now) - down_since
            if up:
                counted, down_since = self.seconds, None
            self._stop.wait(EVERY)
