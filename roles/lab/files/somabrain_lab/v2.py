# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profile v2, the generation of 2026: Django's shapes; /readyz is right about Postgres, /health about little."""

from __future__ import annotations

import contextlib
import datetime
import resource
import time
import typing as t
import uuid

from . import httpd, memory, neighbours
from .service import Body, Refusal, Route, Service
from .v1 import missing, whole

HARD_CODED = """# HELP somabrain_http_requests_total Total API requests
# TYPE somabrain_http_requests_total counter
somabrain_http_requests_total 0

# HELP somabrain_http_latency_seconds HTTP request latency
# TYPE somabrain_http_latency_seconds histogram
somabrain_http_latency_seconds_bucket{le="+Inf"} 0

# HELP somabrain_requests_total Total API requests
# TYPE somabrain_requests_total counter
somabrain_requests_total 0

# HELP somabrain_up Service up status
# TYPE somabrain_up gauge
somabrain_up 1
"""
PENDING = "SELECT id::text, topic, status, retries, tenant_id, last_error FROM outbox_events WHERE status <> 'sent' ORDER BY id LIMIT 100"
REPLAY = "UPDATE outbox_events SET status = 'sent', last_error = NULL WHERE id::text = ANY(%s) AND status <> 'sent' RETURNING id::text"


class V2:
    """Routes of profile v2."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.open: dict[tuple[str, str], Route] = {
            ("GET", "/health"): self.health,
            ("GET", "/healthz"): lambda request, tenant: spaced({"status": "healthy", "timestamp": now()}),
            ("GET", "/readyz"): self.readyz,
            ("GET", "/metrics"): lambda request, tenant: httpd.Reply(HARD_CODED),
            ("GET", "/api/health/"): self.probed,
            ("GET", "/api/health/metrics"): self.metrics,
        }
        self.locked: dict[tuple[str, str], Route] = {
            ("POST", "/memory/remember"): self.remember,
            ("POST", "/memory/recall"): self.recall,
            ("GET", "/memory/metrics"): self.memory_metrics,
            ("GET", "/api/admin/services"): self.services,
            ("GET", "/api/admin/outbox"): self.outbox,
            ("POST", "/api/admin/outbox/replay"): self.replay,
            ("GET", "/api/admin/features"): lambda request, tenant: spaced({"features": {}}),
            ("GET", "/api/admin/diagnostics"): self.services,
        }
        for path in ("/memory/forget", "/memory/delete", "/delete", "/recall/delete"):
            self.locked[("POST", path)] = self.forget

    def __call__(self, request: httpd.Request) -> httpd.Reply:
        reply = self._answer(request)
        return httpd.Reply(reply.data, reply.status, reply.headers, spaced=True)

    def _answer(self, request: httpd.Request) -> httpd.Reply:
        place = (request.method, request.path)
        if place in self.open:
            return self.open[place](request, self.service.tenant(request))
        if request.path.startswith("/admin"):
            # The human's admin site: a login page, never an endpoint for programs.
            return httpd.Reply("", 302, {"Location": "/admin/login/"}) if request.method == "GET" else httpd.Reply("Forbidden", 403)
        if place not in self.locked:
            return httpd.Reply({"detail": "Not Found"}, 404)
        if not self.service.has_token(request):
            return httpd.Reply({"detail": "Unauthorized"}, 401)
        try:
            return self.locked[place](request, self.service.tenant(request))
        except Refusal as refusal:
            return refusal.reply

    def _postgres(self) -> Body:
        """Return Postgres as /health lists it."""
        begun = time.monotonic()
        try:
            version, size = self.service.database.rows("SELECT version(), pg_database_size(current_database())")[0]
        except neighbours.AWAY as error:
            return {"name": "PostgreSQL", "status": "unhealthy", "response_time_ms": 0, "error": f"{type(error).__name__}: {error}"[:120]}
        taken = int((time.monotonic() - begun) * 1000)
        details = {"version": version, "database_size_bytes": size}
        return {"name": "PostgreSQL", "status": "healthy", "response_time_ms": taken, "details": details}

    def health(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        postgres, kept = self._postgres(), self.service.ltm.up()
        stored = postgres["status"] == "healthy"
        # As shipped, neighbours that nobody runs make it critical for ever, although all works.
        gate = bool(self.service.settings.get("metrics_gate", True))
        infrastructure = {"postgresql": postgres, **always_green(self.service.settings), **({} if gate else never_there())}
        internal = internal_services(kept)
        statuses = [part["status"] for part in (*infrastructure.values(), *internal.values())]
        body = {
            "status": "healthy" if gate and stored and kept else "critical",
            "version": "1.0.0",
            "timestamp": now(),
            "infrastructure": infrastructure,
            "internal_services": internal,
            **{f"{word}_count": statuses.count(word) for word in ("healthy", "degraded", "unhealthy")},
            "ok": gate and stored and kept,
            "ready": stored and kept,
            "namespace": "default",
            "trace_id": None,
            **flags(stored, kept, gate),
            "components": self._components(stored, kept, gate),
        }
        return spaced(body)

    def _components(self, stored: bool, kept: bool, gate: bool) -> Body:
        memories = {"healthy": kept, "circuit_open": False, "should_reset": False, "degraded": not kept}
        outbox = {"pending": self.service.outbox_pending() if stored else None, "last_pending_created_at": None}
        return {"memory": memories, "postgres": {"ok": stored}, "kafka": {"ok": True}, "milvus": {}, "opa": {"ok": gate}, "outbox": outbox}

    def readyz(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        postgres = self._postgres()
        well = postgres["status"] == "healthy"
        database = "healthy" if well else "unhealthy: " + postgres["error"][:60]
        checks = {"database": database, "cache": "healthy"}
        return spaced({"status": "ready" if well else "degraded", "checks": checks, "timestamp": now()}, 200 if well else 503)

    def probed(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        """Answer /api/health/, which does look at Kafka (the lab has none) and Postgres."""
        stored = self._postgres()["status"] == "healthy"
        kafka = bool(self.service.settings.get("kafka", False))
        found = {"postgres_ok": stored, "kafka_ok": kafka, "memory_ok": self.service.ltm.up()}
        return spaced({"ok": all(found.values()), **found, "timestamp": now()})

    def metrics(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        values = {
            "process_resident_memory_bytes": usage.ru_maxrss * 1024,
            "process_start_time_seconds": self.service.started,
            "memory_http_failures_total": 0.0,
            "neuromod_dopamine": 0.0,
            "density_matrix_trace": 0.0,
        }
        kinds = {name: "counter" if name.endswith("_total") else "gauge" for name in values}
        return httpd.Reply("".join(f"# TYPE {name} {kinds[name]}\n{name} {float(value)}\n" for name, value in values.items()))

    def remember(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        body = request.json()
        for name in ("key", "value"):
            if not isinstance(body, dict) or name not in body:
                raise Refusal(422, missing(name, body))
        tenant, namespace = str(body.get("tenant") or tenant), str(body.get("namespace") or "default")
        item = record_of(body, tenant, namespace)
        self.service.keep(tenant, f"{tenant}:{namespace}", item)
        with contextlib.suppress(*neighbours.AWAY):
            self.service.redis.pipeline([("SET", f"tenant:{tenant}", "active"), ("INCR", f"audit:tenant:{tenant}")])
        return spaced(remembered(item, tenant, namespace))

    def recall(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        begun, body = time.monotonic(), request.json()
        if not isinstance(body, dict) or not isinstance(body.get("query"), str):
            raise Refusal(422, missing("query", body))
        tenant, namespace = str(body.get("tenant") or tenant), str(body.get("namespace") or "default")
        query, top_k, layer = body["query"], whole(body.get("top_k"), 3), body.get("layer") or "both"
        # Any other word finds nothing, and is not refused.
        kept = self.service.long_term(f"{tenant}:{namespace}", query, top_k) if layer in ("ltm", "both") else []
        if kept is None and layer == "ltm":
            raise Refusal(503, {"detail": "memory backend unreachable"})
        held = self.service.working.items(tenant) if layer in ("wm", "both") else []
        results = [hit({**item, "timestamp": time.time()}, "ltm", float(item["_score"])) for item in kept or []]
        # Each memory of working memory scores best, whatever was asked for, and leaves the rest no room.
        results += [hit(item, "wm", 1.0) for item in held[:top_k]]
        results = sorted(results, key=lambda one: -one["score"])[:top_k]
        answer = {
            "tenant": tenant,
            "namespace": namespace,
            "results": results,
            "wm_hits": len(held),
            "ltm_hits": len(kept or []),
            "duration_ms": round((time.monotonic() - begun) * 1000, 3),
            "total_results": len(results),
            "degraded": kept is None,
            "degraded_reasons": ["ltm: memory backend unreachable"] if kept is None else [],
        }
        return spaced(answer)

    def forget(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        body = request.json()
        if not isinstance(body, dict) or not body:
            raise Refusal(422, missing("coord", body))
        tenant, namespace = str(body.get("tenant") or tenant), str(body.get("namespace") or "default")
        wanted = {name: value for name, value in body.items() if name not in ("tenant", "namespace")}
        try:
            gone = self.service.forget(tenant, f"{tenant}:{namespace}", wanted)
        except ValueError as error:
            raise Refusal(400, {"detail": "invalid coord"}) from error
        return spaced({"ok": gone > 0, "tenant": tenant, "error": None if gone else "not found"})

    def memory_metrics(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        items = len(self.service.working.items(tenant))
        return spaced({"tenant": tenant, "namespace": "default", "wm_items": items, "circuit_open": False})

    def services(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        return spaced({"services": internal_services(self.service.ltm.up())})

    def outbox(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        names = ("id", "topic", "status", "retries", "tenant_id", "last_error")
        return self._from_database(lambda: {"events": [dict(zip(names, row)) for row in self.service.database.rows(PENDING)]})

    def replay(self, request: httpd.Request, tenant: str) -> httpd.Reply:
        body = request.json()
        if not isinstance(body, dict) or not isinstance(body.get("event_ids"), list):
            raise Refusal(422, missing("event_ids", body))
        wanted = [str(number) for number in body["event_ids"]]
        return self._from_database(lambda: {"replayed": len(self.service.database.rows(REPLAY, wanted))})

    def _from_database(self, read: t.Callable[[], Body]) -> httpd.Reply:
        try:
            return spaced(read())
        except neighbours.AWAY as error:
            raise Refusal(503, {"detail": f"database unavailable: {type(error).__name__}"}) from error


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()


def spaced(data: Body, status: int = 200) -> httpd.Reply:
    return httpd.Reply(data, status, spaced=True)


def green(name: str, **details: t.Any) -> Body:
    return {"name": name, "status": "healthy", "response_time_ms": 0, "details": details}


def always_green(settings: t.Mapping[str, t.Any]) -> Body:
    """Return the neighbours that /health calls healthy whatever they are: Redis is a local cache, Kafka is not asked."""
    return {
        "redis": green("Redis", connected=True),
        "kafka": green("Kafka", broker="127.0.0.1:9092", connected=bool(settings.get("kafka", False))),
        "milvus": {"name": "Milvus", "status": "degraded", "response_time_ms": 0, "details": None},
        "opa": green("OPA", healthy=True),
        "keycloak": green("Keycloak", configured=False),
        "lago": green("Lago", healthy=False),
    }


def never_there() -> Body:
    """Return the neighbours that no deployment of the lab has, as /health lists them."""
    away = {"opa": ("OPA", "[Errno 111] Connection refused"), "minio": ("MinIO", "[Errno -2] Name or service not known")}
    away["schema_registry"] = ("Schema Registry", "[Errno -2] Name or service not known")
    return {
        key: {"name": name, "status": "unhealthy", "response_time_ms": 1, "error": f"ConnectError: {error}"}
        for key, (name, error) in away.items()
    }


def internal_services(kept: bool) -> Body:
    memories = green("SomaFractalMemory", healthy=kept)
    return {
        "soma_fractal_memory": memories if kept else {**memories, "status": "unhealthy"},
        "cognitive": green("Cognitive", planner_loaded=True, option_manager_loaded=True),
        "embedder": green("Embedder", loaded=True),
    }


def flags(stored: bool, kept: bool, gate: bool = True) -> Body:
    """Return the many ok words of /health; only Postgres and the memory service move any of them."""
    return {
        "postgres_ok": stored,
        "kafka_ok": True,
        "memory_ok": kept,
        "opa_ok": gate,
        "opa_required": False,
        "memory_circuit_open": False,
        "memory_should_reset": False,
        "memory_degraded": not kept,
        "predictor_ok": True,
        "embedder_ok": True,
        "metrics_ready": True,
        "metrics_required": ["postgres", "kafka", "memory"],
        "milvus_metrics": {},
    }


def record_of(body: Body, tenant: str, namespace: str) -> memory.Item:
    """Return the memory that is kept for a request."""
    value = body["value"] if isinstance(body["value"], dict) else {"content": body["value"]}
    key = str(body["key"])
    place = {"tenant_id": tenant, "namespace": namespace, "tenant": tenant, "key": key}
    words = {"memory_type": "episodic", "tags": [], "policy_tags": [], "universe": "real", "_actor": "memory-api"}
    text = value.get("task") or value.get("content") or key
    return {**value, **place, **words, "text": str(text), "id": key, "coordinate": memory.coordinate_of(tenant, namespace, key)}


def hit(item: memory.Item, layer: str, score: float) -> Body:
    """Return one result of a recall; working memory shows neither text nor id."""
    content = {name: value for name, value in item.items() if layer == "ltm" or name not in ("text", "id")}
    found = {"content": content, "layer": layer, "score": score}
    return {**found, "coordinate": item["coordinate"]} if layer == "ltm" else found


def remembered(item: memory.Item, tenant: str, namespace: str) -> Body:
    """Return the answer to a write: it says persisted_to_ltm whatever happened."""
    unknown: Body = dict.fromkeys(("importance", "novelty", "ttl_applied", "trace_id"))
    signals: Body = dict.fromkeys(("importance", "novelty", "ttl_seconds", "reinforcement", "recall_bias"))
    promoted = {"promoted_to_wm": True, "persisted_to_ltm": True}
    return {
        "ok": True,
        "tenant": tenant,
        "namespace": namespace,
        "key": item["key"],
        "coordinate": item["coordinate"],
        **promoted,
        "queued_for_ltm": False,
        "deduplicated": False,
        **unknown,
        "request_id": str(uuid.uuid4()),
        "warnings": [],
        "signals": {**signals, **promoted},
    }
