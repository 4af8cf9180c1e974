# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for one API server behind a load balancer: ``standin.py PORT NAME FAULTS``, with somabrain_lab on PYTHONPATH.

It answers at once, says its name in the header X-Server and counts what it answers in /metrics. The file FAULTS is read at each request;
``{"share": 0.2, "status": 500, "delay_seconds": 0.1, "paths": [...], "refuse": true}``, every key optional: that share of the requests
for those paths gets the status, each of them the delay; with refuse every connection is closed without an answer. With ``"above": 10`` it
does all that only while it is asked more than 10 times a second.
"""

from __future__ import annotations

import collections
import json
import socket
import sys
import threading
import time
import typing as t
from pathlib import Path

from somabrain_lab.httpd import Reply, Request, Server, handler_of
from somabrain_lab.metrics import V1, Metrics

HEALTH = {"status": "ok"}
PATHS: t.Mapping[str, t.Any] = {
    "/health": HEALTH, "/healthz": HEALTH, "/readyz": HEALTH, "/recall": {"memory": []}, "/remember": {"ok": True},
}  # fmt: skip


class Faults:
    """What it shall do wrong, by its file as it is now."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._due = 0.0
        self._lock = threading.Lock()
        self._came: collections.deque[float] = collections.deque(maxlen=4)

    def read(self) -> dict[str, t.Any]:
        try:
            found = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def hits(self, share: float) -> bool:
        """Return whether the next request is one of that share: an even one, with no chance in it."""
        with self._lock:
            self._due += share
            hit = self._due >= 1.0 - 1e-9
            self._due -= hit
            return hit

    def crowded(self, above: float) -> bool:
        """Count one more request, and tell whether the last few came faster than *above* a second; without a limit they always do."""
        with self._lock:
            self._came.append(time.monotonic())
            took = self._came[-1] - self._came[0]
            return not above or (len(self._came) == self._came.maxlen and len(self._came) - 1 > above * took)


class Api:
    """The application: a function from request to reply, which counts."""

    def __init__(self, name: str, faults: Faults) -> None:
        self.name, self.faults, self.metrics = name, faults, Metrics(V1)

    def __call__(self, request: Request) -> Reply:
        if request.path == "/metrics":
            return self._named(Reply(self.metrics.text()))
        begun = time.monotonic()
        reply = self._answer(request)
        taken = time.monotonic() - begun
        self.metrics.add("somabrain_http_requests_total", method=request.method, path=request.path, status=str(reply.status))
        self.metrics.observe("somabrain_http_latency_seconds", taken, method=request.method, path=request.path)
        if request.path == "/recall":
            self.metrics.observe("somabrain_recall_ltm_latency_seconds", taken, cohort="baseline")
        return self._named(reply)

    def _answer(self, request: Request) -> Reply:
        rule = self.faults.read()
        hit = request.path in rule.get("paths", [request.path])
        if hit and self.faults.crowded(float(rule.get("above") or 0)):
            time.sleep(float(rule.get("delay_seconds") or 0))
            if self.faults.hits(float(rule.get("share") or 0)):
                return Reply({"detail": "practised fault"}, int(rule.get("status") or 500))
        return Reply(PATHS[request.path]) if request.path in PATHS else Reply({"detail": "Not Found"}, 404)

    def _named(self, reply: Reply) -> Reply:
        return Reply(reply.data, reply.status, {**reply.headers, "X-Server": self.name})


class Listening(Server):
    """Closes each connection unanswered while its faults say so."""

    faults: Faults

    def verify_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: t.Any) -> bool:
        return not self.faults.read().get("refuse")


def main() -> None:
    port, name, file = sys.argv[1:]
    faults = Faults(Path(file))
    server = Listening(("127.0.0.1", int(port)), handler_of(Api(name, faults)))
    server.faults = faults
    server.serve_forever()


if __name__ == "__main__":
    main()
