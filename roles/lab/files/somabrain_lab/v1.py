# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profile v1, the runbook's generation: FastAPI's shapes, and green words while neighbours are away."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import typing as t

from . import httpd, memory, neighbours
from .service import Body, Refusal, Route, Service

FIELDS = (
    *("phase", "quality_score", "domains", "reasoning_chain", "importance", "memory_type", "timestamp", "universe"),
    *("who", "did", "what", "where", "when", "why"),
)
HUNG_SECONDS = 10.0
NO_DELETE = "AttributeError: 'MemoryClient' object has no attribute 'delete'"
CONSTITUTION = "SELECT version FROM constitution_versions WHERE is_active ORDER BY created_at DESC LIMIT 1"


class V1:
    """Routes of profile v1."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._constitution: t.Optional[str] = None
        self.open: dict[tuple[str, str], Route] = {
            ("GET", "/health"): self.health,
            ("GET", "/healthz"): self.healthz,
            ("GET", "/metrics"): self.metrics,
        }
        self.locked: dict[tuple[str, str], Route] = {
            ("POST", "/remember"): self.remember,
            ("POST", "/recall"): self.recall,
            ("POST", "/delete"): self.delete,
            ("POST", "/recall/delete"): self.delete,
            ("GET", "/opa/policy"): self.policy,
            ("GET", "/constitution/version"): self.constitution,
            ("POST", "/constitution/load"): self.load_constitution,
        }

    def __call__(self, request: httpd.Request) -> httpd.Reply:
        begun = time.monotonic()
        reply = self._answer(request)
        metrics, method, path = self.service.metrics, request.method, request.path
        # Two middlewares count each request, in the real one too: only ratios mean anything.
        metrics.add("somabrain_http_requests_total", 2.0, method=method, path=path, status=str(reply.status))
        metrics.observe("somabrain_http_latency_seconds", time.monotonic() - begun, method=method, path=path)
        return reply

    def _answer(self, request: httpd.Request) -> httpd.Reply:
        place = (request.method, request.path)
        if place in self.open:
            return self.open[place](request, self.service.tenant(request))
        if place not in self.locked:
            known = request.path in {path for _method, path in (*self.open, *self.locked)}
            return httpd.Reply({"detail": "Method Not Allowed"}, 405) if known else httpd.Reply({"detail": "Not Found"}, 404)
        allowed = self.service.has_token(request)
        if not allowed:
            status, words = (401, "missing bearer token") if allowed is None else (403, "invalid token")
            return httpd.Reply({"detail": words}, status)
        try:
            return self.locked[place](request, self.service.tenant(request))
        except Refusal as refusal:
            return refusal.reply

    def _stamp(self, tenant: str) -> Body:
        return {
            "namespace": f"somabrain_ns:{tenant}",
            "trace_id": str(time.monotonic_ns()),
            "deadline_ms": None,
            "idempotency_key": None,
        }

    def _health(self, tenant: str) -> Body:
        # It asks twice: a memory service that is slow, or accepts and never answers, holds this up twice; one that is stopped does not.
        asked = [self.service.ltm.up(HUNG_SECONDS) for _turn in range(2)]
        kept = all(asked)
        # As shipped its metrics gate is never satisfied and it says ok:false for ever, although all works.
        gate = bool(self.service.settings.get("metrics_gate", True))
        version = self._constitution_version() if gate else None
        return {
            "ok": gate,
            "components": {"memory": {"http": True} if kept else {"ok": False}, "wm_items": "tenant-scoped", "api_version": 1},
            **self._stamp(tenant),
            "constitution_version": version,
            "constitution_status": "loaded" if version else "not-loaded",
            "minimal_public_api": False,
            "strict_real": True,
            "predictor_provider": "mahal",
            "full_stack": True,
            "embedder": {"provider": "tiny", "dim": 256},
            "stub_counts": {},
            "ready": gate and kept,
            "memory_items": 0,
            "predictor_ok": True,
            "memory_ok": kept,
            "embedder_ok": True,
        }

    def _constitution_version(self) -> t.Optional[str]:
        """Return the active version; once read it is kept, so that losing Postgres shows nothing."""
        if self._constitution is None:
            with contextlib.suppress(*neighbours.AWAY):
                self._constitution = str(self.service.database.rows(CONSTITUTION)[0][0])
        return self._constitution

    def health(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        return httpd.Reply(self._health(tenant))

    def healthz(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        body = self._health(tenant)
        gate = body["ok"]
        body.update(
            memory_circuit_open=False,
            opa_ok=True,
            opa_required=False,
            scorer={"w_cosine": 0.6, "w_fd": 0.25, "w_recency": 0.15, "recency_tau": 32.0, "weight_min": 0.0, "weight_max": 1.0},
            metrics_ready=gate,
            metrics_required=["kafka", "postgres", "opa"],
        )
        return httpd.Reply(body if gate else {**body, "alerts": ["observability_metrics_missing"]})

    def metrics(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        self.service.metrics.set("somabrain_wm_utilization", self.service.working.fullness())
        pending = self.service.outbox_pending()
        if pending is not None:
            self.service.metrics.set("somabrain_memory_outbox_pending_items", float(pending))
        return httpd.Reply(self.service.metrics.text())

    def remember(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        body = request.json()
        if isinstance(body, list):
            raise Refusal(400, {"detail": "payload must be an object"})
        payload = body.get("payload", body) if isinstance(body, dict) else None
        if not isinstance(payload, dict):
            raise Refusal(422, missing("payload", body))
        # The answer is the same whether anything was kept or not: an acknowledged write is no evidence.
        self.service.keep(tenant, f"somabrain_ns:{tenant}", record_of(payload, tenant))
        return httpd.Reply({"ok": True, "success": True, **self._stamp(tenant), "breaker_open": None, "queued": None})

    def recall(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        body = request.json()
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            raise Refusal(422, missing("query", body))
        top_k = whole(body.get("top_k"), 3)
        begun = time.monotonic()
        working = self.service.working.recall(tenant, body["query"], top_k)
        self.service.metrics.observe("somabrain_recall_wm_latency_seconds", time.monotonic() - begun, cohort="baseline")
        found = self._memories(tenant, body["query"], top_k)
        answer = {
            "wm": [{"score": score, "payload": payload_of(item)} for score, item in working],
            "memory": found,
            **self._stamp(tenant),
            "reality": {"ok": bool(found), "sources": int(bool(found)), "confidence": 0.5 if found else 0.0},
            "drift": None,
            "hrr_cleanup": None,
            "results": found,
        }
        return httpd.Reply(answer)

    def _memories(self, tenant: str, query: str, top_k: int) -> list[Body]:
        """Return long-term memories, and mirrors for memories that only this process has."""
        begun = time.monotonic()
        kept = self.service.long_term(f"somabrain_ns:{tenant}", query, top_k) or []
        self.service.metrics.observe("somabrain_recall_ltm_latency_seconds", time.monotonic() - begun, cohort="baseline")
        found = [{**item, "_source_endpoint": "/recall_with_scores"} for item in kept]
        known = {item["id"] for item in found}
        mirrors = [dict(item) for item in self.service.working.items(tenant) if item["id"] not in known]
        return (found + [item for item in mirrors if memory.likeness(query, str(item.get("task") or "")) >= memory.ALIKE])[:top_k]

    def delete(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        """As shipped no deletion works: what was remembered once stays."""
        print(NO_DELETE, file=sys.stderr, flush=True)
        return httpd.Reply("Internal Server Error", 500)

    def policy(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        policy = None
        with contextlib.suppress(*neighbours.AWAY):
            policy = self.service.redis("GET", "soma:opa:policy")
        return httpd.Reply({"policy": policy} if policy else {"detail": "Policy not found"}, 200 if policy else 404)

    def constitution(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        version = self._constitution_version()
        status = "loaded" if version else "not-loaded"
        return httpd.Reply({"constitution_version": version, "constitution_status": status, "constitution_signatures": []})

    def load_constitution(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        body = request.json()
        if not isinstance(body, dict) or not body.get("version"):
            raise Refusal(422, missing("version", body))
        statement = "UPDATE constitution_versions SET is_active = false"
        insert = "INSERT INTO constitution_versions (version, document, is_active) VALUES (%s, %s, true)"
        try:
            self.service.database.rows(statement)
            self.service.database.rows(insert, str(body["version"]), json.dumps(body.get("document")))
        except neighbours.AWAY as error:
            raise Refusal(500, {"detail": f"Failed to persist constitution: ({type(error).__name__}) {error}"}) from error
        self._constitution = str(body["version"])
        return self.constitution(request, tenant)


def missing(field: str, given: t.Any) -> Body:
    """Return the body with which FastAPI refuses a request that lacks a field."""
    return {"detail": [{"type": "missing", "loc": ["body", field], "msg": "Field required", "input": given}]}


def whole(value: t.Any, otherwise: int) -> int:
    """Return *value* as a number of results from 1 to 100."""
    return min(100, max(1, value)) if isinstance(value, int) else otherwise


def record_of(payload: Body, tenant: str) -> memory.Item:
    """Return the memory that is kept for a payload; all payloads without a task share one id, as in the real one."""
    task = payload.get("task")
    words = dict(zip(("who", "did", "what"), str(task or "").split()))
    fields = {name: payload.get(name, words.get(name)) for name in FIELDS}
    fields.update(importance=float(payload.get("importance") or 1), memory_type=payload.get("memory_type") or "episodic")
    place = {"id": task or "task", "namespace": f"somabrain_ns:{tenant}"}
    text = task or payload.get("content")
    place["coordinate"] = memory.coordinate_of(tenant, str(text))
    return {"task": task, "content": payload.get("content"), **fields, "text": text, **place}


def payload_of(item: memory.Item) -> Body:
    """Return a memory as working memory shows it."""
    return {name: item.get(name) for name in ("task", "content", *FIELDS)}
