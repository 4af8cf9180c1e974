# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The long-term memory service: writes each memory to disk (one fsynced JSON line) before it acknowledges it.

A file ``ltm_delay`` in the directory of the lab, with a number of seconds, makes each answer so late.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import typing as t
from pathlib import Path

from . import config, httpd, memory


class Store:
    """Memories by namespace and id, replayed from a journal at start."""

    def __init__(self, journal: Path) -> None:
        self._memories: dict[tuple[str, str], memory.Item] = {}
        self._lock = threading.Lock()
        journal.parent.mkdir(parents=True, exist_ok=True)
        if journal.exists():
            self._replay(journal)
        self._file = journal.open("ab")

    def _replay(self, journal: Path) -> None:
        for line in journal.read_bytes().splitlines():
            try:
                self._apply(json.loads(line))
            except ValueError:
                # A crash may truncate the last line; that write was never acknowledged.
                continue

    def _apply(self, entry: t.Mapping[str, t.Any]) -> None:
        place = (str(entry["namespace"]), str(entry["id"]))
        if entry.get("record") is None:
            self._memories.pop(place, None)
        else:
            self._memories[place] = dict(entry["record"])

    def write(self, entry: t.Mapping[str, t.Any]) -> None:
        """Keep one entry (a missing record deletes) and return once it is on disk."""
        with self._lock:
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self._apply(entry)

    def of(self, namespace: str) -> list[memory.Item]:
        with self._lock:
            return [item for (place, _id), item in self._memories.items() if place == namespace]


class Service:
    """Routes of the long-term memory service."""

    def __init__(self, store: Store, delay: Path) -> None:
        self.store, self.delay = store, delay
        self.routes: dict[str, t.Callable[[dict[str, t.Any]], dict[str, t.Any]]] = {
            "/health": self.health,
            "/remember": self.remember,
            "/recall_with_scores": self.recall,
            "/delete": self.delete,
        }

    def __call__(self, request: httpd.Request) -> httpd.Reply:
        with contextlib.suppress(OSError, ValueError):
            time.sleep(float(self.delay.read_text(encoding="utf-8")))
        route = self.routes.get(request.path)
        body = request.json() or {}
        if route is None or not isinstance(body, dict):
            return httpd.Reply({"detail": "Not Found"}, 404)
        return httpd.Reply(route(body))

    def health(self, body: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"ok": True, "healthy": True}

    def remember(self, body: dict[str, t.Any]) -> dict[str, t.Any]:
        record = dict(body["record"])
        self.store.write({"namespace": body["namespace"], "id": record["id"], "record": record})
        return {"ok": True}

    def recall(self, body: dict[str, t.Any]) -> dict[str, t.Any]:
        query = str(body.get("query"))
        scored = [(score_of(item, query), item) for item in self.store.of(str(body["namespace"]))]
        best = sorted((pair for pair in scored if pair[0] >= memory.ALIKE), key=lambda pair: -pair[0])
        return {"results": [{**item, "_score": score} for score, item in best[: int(body.get("top_k") or 10)]]}

    def delete(self, body: dict[str, t.Any]) -> dict[str, t.Any]:
        namespace = str(body["namespace"])
        gone = [item for item in self.store.of(namespace) if memory.matches(item, body)]
        for item in gone:
            self.store.write({"namespace": namespace, "id": item["id"], "record": None})
        return {"ok": True, "deleted": len(gone)}


def score_of(item: memory.Item, query: str) -> float:
    """Return how well a memory fits; one without a task is found by its content."""
    text = str(item.get("task") or item.get("text") or item.get("content") or "")
    return 1.0 if text == query else memory.likeness(query, text)


def main() -> None:
    settings = config.read(sys.argv[1])
    config.drop_privileges(settings)
    lab = Path(settings["lab_dir"])
    httpd.serve(int(settings["ports"]["ltm"]), Service(Store(lab / "ltm" / "journal.jsonl"), lab / "ltm_delay"))


if __name__ == "__main__":
    main()
