# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both generations of the API share: neighbours, working memory, audit trail, and one write path."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
import typing as t

from . import config, httpd, memory, neighbours, redis_client
from .metrics import Metrics

Body = t.Dict[str, t.Any]
Route = t.Callable[[httpd.Request, str], httpd.Reply]

WORKING_MEMORY_SECONDS = 60
# Pauses in seconds between tries of the memory service; they give the delays that a real one shows.
WRITE_PAUSES, READ_PAUSES = (0.1, 0.2), (0.2, 0.5)


class Refusal(Exception):
    """A request that is answered with an error status."""

    def __init__(self, status: int, data: t.Any) -> None:
        super().__init__(status)
        self.reply = httpd.Reply(data, status)


class Service:
    """One API process: the state and the neighbours that the routes of a profile work with."""

    def __init__(self, settings: config.Settings) -> None:
        ports = settings["ports"]
        self.settings = settings
        self.token = config.secret(settings, "api_token")
        self.redis = redis_client.RedisClient(ports["redis"], config.secret(settings, "redis_password"))
        self.database = neighbours.Database(settings)
        self.ltm = neighbours.LongTermMemory(ports["ltm"])
        self.audit = neighbours.AuditTrail(self.database, self.redis)
        self.working = memory.WorkingMemory()
        self.metrics = Metrics()
        self.started = time.time()

    def has_token(self, request: httpd.Request) -> t.Optional[bool]:
        """Return whether the bearer token is right, or None without a token."""
        kind, _space, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not value:
            return None
        return secrets.compare_digest(value.strip().encode(), self.token.encode())

    def tenant(self, request: httpd.Request) -> str:
        """Return the tenant; without the header the start of the token becomes one, and is echoed back."""
        return request.headers.get("x-tenant-id") or request.headers.get("authorization", "")[7:23] or "public"

    def keep(self, tenant: str, namespace: str, item: memory.Item) -> bool:
        """Store a memory everywhere; return whether the long-term memory has it. Never raises."""
        self.working.add(tenant, item)
        session = f"somabrain:wm:{namespace}"
        state = f"adaptation:state:{tenant}"
        with contextlib.suppress(*neighbours.AWAY):
            self.redis.pipeline(
                [
                    ("LPUSH", session, json.dumps(item)),
                    ("LTRIM", session, 0, memory.CAPACITY - 1),
                    ("EXPIRE", session, WORKING_MEMORY_SECONDS),
                    ("SET", state, json.dumps({"tenant": tenant, "updated": time.time(), "last": item["id"]})),
                ]
            )
        self._audited("remember", tenant, str(item["id"]))
        return self._kept_for_long(namespace, item)

    def _audited(self, action: str, tenant: str, subject: str) -> None:
        event = {"id": secrets.token_hex(12), "time": time.time(), "action": action, "tenant": tenant, "subject": subject[:200]}
        written = self.audit.write(event)
        self.metrics.add("somabrain_audit_writes_total" if written else "somabrain_audit_journal_fallback_total")

    def _kept_for_long(self, namespace: str, item: memory.Item) -> bool:
        with contextlib.suppress(*neighbours.AWAY):
            self.ltm.call("/remember", {"namespace": namespace, "record": item}, WRITE_PAUSES)
            return True
        return False

    def long_term(self, namespace: str, query: str, top_k: int) -> t.Optional[list[memory.Item]]:
        """Return what the long-term memory finds, or None while it is down."""
        try:
            body = {"namespace": namespace, "query": query, "top_k": top_k}
            return list(self.ltm.call("/recall_with_scores", body, READ_PAUSES)["results"])
        except neighbours.AWAY:
            return None

    def forget(self, tenant: str, namespace: str, wanted: Body) -> int:
        """Delete a memory everywhere and return how many existed."""
        gone = self.working.forget(tenant, wanted)
        with contextlib.suppress(*neighbours.AWAY):
            self.redis("DEL", f"somabrain:wm:{namespace}")
        with contextlib.suppress(*neighbours.AWAY):
            gone += int(self.ltm.call("/delete", {**wanted, "namespace": namespace})["deleted"])
        self._audited("delete", tenant, str(wanted.get("key") or wanted.get("task") or ""))
        return gone

    def outbox_pending(self) -> t.Optional[int]:
        """Return how many outbox rows wait, or None while Postgres is down."""
        try:
            return self.database.pending()
        except neighbours.AWAY:
            return None
