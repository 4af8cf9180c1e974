# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a drill asks through the balancer, and counts: a request is acknowledged by a 200, and lost where nobody answered it."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from .. import writers
from .load import Answer, Counted, asked, path_of

PAUSE = 0.02


class Ledger(writers.Ledger):
    """The answers that clients got. A 503 that says when to try again is none that is lost, nor is what a sick server says itself."""

    away = (OSError,)

    def __init__(self, path: Path, port: int) -> None:
        super().__init__(path, "request")
        self.port, self.begun = port, time.monotonic()
        self.answers: list[Answer] = []
        self.forgiven = 0

    def ask(self) -> None:
        key = self.key()
        answer = asked(self.port, int(time.monotonic() - self.begun), path_of(self.number))
        self.answers.append(answer)
        if answer.status == 200:
            self.acknowledge(key, answer.server)

    def counted(self) -> Counted:
        return Counted(tuple(self.answers))

    def forget_failures(self) -> None:
        """What failed until now was the fault's doing; what fails from here on is ours."""
        self.forgiven = len(self.counted().lost)

    def write(self, count: int, size: int = 10) -> None:
        for _turn in range(count):
            self.ask()

    def converse(self, go: t.Callable[[], bool]) -> None:
        while go():
            self.ask()
            time.sleep(PAUSE)

    def compare(self, seconds: float = 30.0, since: float = 0.0) -> dict[str, int]:
        lost = len(self.counted().lost) - self.forgiven
        return {"acknowledged": len(self.expected), "missing": lost, "wrong": 0, "resurrected": 0, "lapsed": 0}
