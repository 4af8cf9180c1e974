# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Working memory as SomaBrain keeps it: 64 items a tenant, in this process only; and how alike two texts are."""

from __future__ import annotations

import collections
import hashlib
import math
import re
import struct
import threading
import typing as t

CAPACITY = 64
ALIKE = 0.5

Item = t.Dict[str, t.Any]


def likeness(left: str, right: str) -> float:
    """Return how alike two texts are, 0.0 to 1.0, by the words they share."""
    words_left, words_right = set(re.findall(r"\w+", left.lower())), set(re.findall(r"\w+", right.lower()))
    if not words_left or not words_right:
        return 0.0
    return len(words_left & words_right) / math.sqrt(len(words_left) * len(words_right))


def coordinate_of(*parts: str) -> list[float]:
    """Return the three numbers, -1 to 1, that stand for a memory."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return [number / 2**31 - 1 for number in struct.unpack("<3I", digest[:12])]


def noise(item: Item) -> float:
    """Return the score, 0.07 to 0.15, that a memory without a task has for any query."""
    return 0.07 + 0.08 * (coordinate_of("noise", str(item.get("content")))[0] + 1) / 2


def matches(item: Item, wanted: t.Mapping[str, t.Any]) -> bool:
    """Return whether *wanted* (coordinate, key, id, task or query) names this memory."""
    place = wanted.get("coordinate") or wanted.get("coord")
    if isinstance(place, str):
        place = [float(number) for number in place.split(",")]
    if place:
        return list(item.get("coordinate") or []) == list(place)
    name = wanted.get("key") or wanted.get("id") or wanted.get("task") or wanted.get("query")
    return bool(name) and name in (item.get("id"), item.get("key"), item.get("task"))


class WorkingMemory:
    """The last CAPACITY items of each tenant, newest first."""

    def __init__(self) -> None:
        self._items: dict[str, collections.deque[Item]] = collections.defaultdict(lambda: collections.deque(maxlen=CAPACITY))
        self._lock = threading.Lock()

    def add(self, tenant: str, item: Item) -> None:
        with self._lock:
            self._items[tenant].appendleft(item)

    def items(self, tenant: str) -> list[Item]:
        with self._lock:
            return list(self._items.get(tenant, ()))

    def recall(self, tenant: str, query: str, top_k: int) -> list[tuple[float, Item]]:
        """Return the *top_k* best (score, item); an item without a task is never far off."""
        scored = [(self._score(item, query, age), item) for age, item in enumerate(self.items(tenant))]
        return sorted(scored, key=lambda pair: -pair[0])[:top_k]

    @staticmethod
    def _score(item: Item, query: str, age: int) -> float:
        if not item.get("task"):
            return noise(item)
        return 0.6 * likeness(query, str(item["task"])) + 0.15 * math.exp(-age / 32.0)

    def forget(self, tenant: str, wanted: t.Mapping[str, t.Any]) -> int:
        """Drop the items that *wanted* names and return how many."""
        with self._lock:
            kept = [item for item in self._items.get(tenant, ()) if not matches(item, wanted)]
            gone = len(self._items.get(tenant, ())) - len(kept)
            self._items[tenant] = collections.deque(kept, maxlen=CAPACITY)
            return gone

    def fullness(self) -> float:
        """Return the share, 0.0 to 1.0, that the fullest tenant uses."""
        with self._lock:
            return max((len(items) / CAPACITY for items in self._items.values()), default=0.0)
