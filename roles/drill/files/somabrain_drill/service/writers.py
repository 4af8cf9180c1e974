# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a drill has memories kept by the API, and finds them again: an acknowledged one has to be recalled word for word."""

from __future__ import annotations

import contextlib
import http.client
import time
import typing as t
from pathlib import Path

from .. import writers
from ..writers import filled
from .target import AWAY, Target

# Each memory goes to every store behind the API, so this is as fast as a person can be served, and no faster.
PAUSE = 0.1


class Ledger(writers.Ledger):
    """Memories that the API acknowledged."""

    away = AWAY

    def __init__(self, path: Path, target: Target, prefix: str) -> None:
        super().__init__(path, prefix)
        self.target = target

    def write(self, count: int, size: int = 10) -> None:
        """Nothing is removed again: as shipped the API answers each deletion with 500."""
        self.send({key: filled(key, size) for key in [self.key() for _turn in range(count)]})

    def send(self, wanted: dict[str, t.Optional[str]]) -> None:
        with contextlib.closing(self.target.link(10)) as link:
            for key, value in wanted.items():
                self._remember(link, key, value or "")

    def _remember(self, link: http.client.HTTPConnection, key: str, value: str) -> None:
        payload = {"task": key, "content": value, "importance": 1, "memory_type": "episodic"}
        if self.target.post(link, "/remember", {"payload": payload}).get("ok") is True:
            self.acknowledge(key, value)

    def find(self, keys: list[str], seconds: float) -> list[t.Optional[str]]:
        end = time.monotonic() + seconds
        with contextlib.closing(self.target.link(seconds)) as link:
            return [self._recalled(link, key, end) for key in keys]

    def _recalled(self, link: http.client.HTTPConnection, key: str, end: float) -> t.Optional[str]:
        if time.monotonic() > end:
            raise TimeoutError("recalling takes too long")
        found = self.target.post(link, "/recall", {"query": key, "top_k": 3})
        hits = [hit for hit in found.get("memory") or [] if isinstance(hit, dict) and hit.get("task") == key]
        return str(hits[0].get("content")) if hits else None

    def converse(self, go: t.Callable[[], bool]) -> None:
        with contextlib.closing(self.target.link(5)) as link:
            while go():
                key = self.key()
                self.unsure.add(key)
                self._remember(link, key, filled(key, 10))
                time.sleep(PAUSE)
