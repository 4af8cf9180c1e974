# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A SomaBrain-like API for a container (profile v1), and the lab's long-term memory beside it. Standard library and the lab's files only.

What it does wrong is said by files of /state: ``hangs`` and ``eats`` name the process that does (see ``process``); ``broken``,
``exhausted`` and ``stubborn`` are for every process from its start.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
import typing as t
import uuid
from pathlib import Path

from somabrain_lab import httpd, ltm, memory

STATE = Path("/state")
ME = uuid.uuid4().hex
Body = t.Dict[str, t.Any]


def said(name: str) -> bool:
    """Return whether the file *name* is meant for this process."""
    file = STATE / name
    return file.exists() and file.read_text(encoding="utf-8").strip() in ("", ME)


def eat() -> None:
    """Take memory until the kernel has had enough."""
    kept = []
    while True:
        kept.append(bytearray(4 * 1024 * 1024))


class Api:
    """Routes of the API: what it acknowledges is in its own memory, and in the long-term memory when that is there."""

    def __init__(self) -> None:
        self.working = memory.WorkingMemory()
        self.routes = {"/health": self.health, "/remember": self.remember, "/recall": self.recall, "/delete": self.forget}

    def __call__(self, request: httpd.Request) -> httpd.Reply:
        while said("hangs"):
            time.sleep(0.1)
        if said("eats"):
            eat()
        route = self.routes.get(request.path)
        tenant = request.headers.get("x-tenant-id", "nobody")
        return httpd.Reply(route(request.json() or {}, tenant)) if route else httpd.Reply({"detail": "Not Found"}, 404)

    def health(self, _body: Body, tenant: str) -> Body:
        kept = asked("/health", {}) is not None
        told = {"ok": True, "components": {"memory": {"ok": kept}}, "namespace": f"boxed:{tenant}", "memory_ok": kept}
        return {**told, "predictor_ok": True, "embedder_ok": True}

    def remember(self, body: Body, tenant: str) -> Body:
        item = {**body["payload"], "id": body["payload"]["task"]}
        self.working.add(tenant, item)
        asked("/remember", {"namespace": tenant, "record": item})
        return {"ok": True, "success": True}

    def recall(self, body: Body, tenant: str) -> Body:
        top = int(body.get("top_k") or 10)
        found = (asked("/recall_with_scores", {"namespace": tenant, "query": body["query"], "top_k": top}) or {}).get("results") or []
        own = [{"score": score, "payload": item} for score, item in self.working.recall(tenant, body["query"], top)]
        memories = [{**item, "_source_endpoint": "/recall_with_scores"} for item in found]
        return {"wm": own, "memory": memories, "results": memories}

    def forget(self, body: Body, tenant: str) -> Body:
        self.working.forget(tenant, body)
        asked("/delete", {**body, "namespace": tenant, "coordinate": None})
        return {"ok": True}


def asked(path: str, body: Body) -> t.Optional[Body]:
    """Ask the long-term memory, None when it is away."""
    link = http.client.HTTPConnection("memory", 9595, timeout=1)
    try:
        link.request("POST", path, json.dumps(body))
        return dict(json.loads(link.getresponse().read()))
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        link.close()


def serve(port: int, application: httpd.Application) -> None:
    httpd.Server(("0.0.0.0", port), httpd.handler_of(application)).serve_forever()  # noqa: S104 - a container's own address


def asked_to_end(*_told: object) -> None:
    if not said("stubborn"):
        sys.exit(0)


def main() -> None:
    # Process 1 of a container gets no signal that it does not ask for.
    signal.signal(signal.SIGTERM, asked_to_end)
    if sys.argv[1] == "memory":
        serve(9595, ltm.Service(ltm.Store(STATE / "journal.jsonl"), STATE / "delay"))
    (STATE / "process").write_text(ME, encoding="utf-8")
    if said("broken"):
        sys.exit("cannot go on")
    if said("exhausted"):
        eat()
    print("ready", flush=True)
    serve(9696, Api())


if __name__ == "__main__":
    main()
