# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A 200 proves nothing: what the bodies of both generations mean, false greens and false reds included."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import somabrain as application_somabrain
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import http_endpoint as kind_http
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.look import validated
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Answer
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.guard import judge_before

V1: dict[str, t.Any] = {
    "ok": True,
    "components": {"memory": {"http": True}, "wm_items": "tenant-scoped", "api_version": 1},
    "namespace": "somabrain_ns:public",
    "ready": True,
    "predictor_ok": True,
    "memory_ok": True,
    "embedder_ok": True,
}
V1Z = dict(V1, memory_circuit_open=False, opa_ok=True, opa_required=False)
V2: dict[str, t.Any] = {
    "status": "healthy",
    "infrastructure": {
        "postgresql": {"status": "healthy"},
        "redis": {"status": "healthy", "details": {"connected": True}},
        "kafka": {"status": "healthy", "details": {"connected": True}},
    },
    "ok": True,
    "ready": True,
    "postgres_ok": True,
    "kafka_ok": True,
    "memory_ok": True,
    "memory_circuit_open": False,
    "memory_degraded": False,
    "opa_ok": False,
    "opa_required": False,
}
READY = {"status": "ready", "checks": {"database": "healthy", "cache": "healthy"}, "timestamp": "2026-11-23T14:45:44+00:00"}
DOCUMENTED = {"status": "healthy", "components": {"redis": {"status": "healthy", "latency_ms": 1.2}}}
NO_KAFKA = dict(V2, infrastructure=dict(V2["infrastructure"], kafka={"status": "healthy", "details": {"connected": False}}))
NOT_READY = {"status": "degraded", "checks": {"database": "unhealthy: OperationalError", "cache": "healthy"}}
DEGRADED = {"status": "degraded", "components": {"redis": {"status": "unhealthy"}}}


def judge(body: t.Any, profile: str, status: int = 200, **options: t.Any) -> dict[str, t.Any]:
    """Judge an answer with *body*; bytes are sent as they are, all else as JSON."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = dict({"kind": "http", "url": "http://api:9696/health", "profile": profile}, **options)
    [check] = validated([given], 5)
    answer = Answer(status=status, body=sent, seconds=0.02, content_type="application/json")
    return kind_http.judge({"answer": answer, "problem": ""}, dict(check, stands_on="controller")).as_dict()


@pytest.mark.parametrize(
    ("body", "profile", "status", "health", "state"),
    [
        (V1, "v1_health", 200, "well", "up"),
        # As shipped it says so for ever although all works.
        (dict(V1, ok=False, ready=False), "v1_health", 200, "well", "up"),
        (dict(V1, ready=False, memory_ok=False, components={"memory": {"ok": False}}), "v1_health", 200, "sick", "degraded"),
        (dict(V1, components={"memory": {"ok": False}}), "v1_health", 200, "sick", "degraded"),
        ({k: v for k, v in V1.items() if k != "memory_ok"}, "v1_health", 200, "unknown", "degraded"),
        (dict(V1, memory_ok="true"), "v1_health", 200, "unknown", "degraded"),
        (dict(V1, memory_ok=1), "v1_health", 200, "unknown", "degraded"),
        (dict(V1, memory_ok=None), "v1_health", 200, "unknown", "degraded"),
        (V1Z, "v1_healthz", 200, "well", "up"),
        (dict(V1Z, memory_circuit_open=True), "v1_healthz", 200, "sick", "degraded"),
        (dict(V1Z, opa_ok=False), "v1_healthz", 200, "well", "up"),
        (dict(V1Z, opa_ok=False, opa_required=True), "v1_healthz", 200, "sick", "degraded"),
        (V2, "v2_health", 200, "well", "up"),
        (dict(V2, status="degraded"), "v2_health", 200, "sick", "degraded"),
        (dict(V2, status="critical", postgres_ok=False), "v2_health", 200, "sick", "degraded"),
        (NO_KAFKA, "v2_health", 200, "sick", "degraded"),
        (dict(V2, memory_degraded=True), "v2_health", 200, "sick", "degraded"),
        ({"status": "healthy", "timestamp": "now"}, "v2_healthz", 200, "well", "up"),
        (READY, "v2_readyz", 200, "well", "up"),
        (NOT_READY, "v2_readyz", 503, "sick", "degraded"),
        (NOT_READY, "v2_readyz", 200, "sick", "degraded"),
        (DOCUMENTED, "documented", 200, "well", "up"),
        (DEGRADED, "documented", 503, "sick", "degraded"),
        (V1, "auto", 200, "well", "up"),
        (dict(V1Z, memory_circuit_open=True), "auto", 200, "sick", "degraded"),
        (NO_KAFKA, "auto", 200, "sick", "degraded"),
        (DEGRADED, "auto", 503, "sick", "degraded"),
        # Something else answers there.
        (b"<html>Welcome to nginx!</html>", "v1_health", 200, "unknown", "other_service"),
        (b"", "v1_health", 200, "unknown", "other_service"),
        (b"\xff\xfe", "v1_health", 200, "unknown", "other_service"),
        (b"[" * 100000, "v1_health", 200, "unknown", "other_service"),
        ({"hello": "world"}, "v1_health", 200, "unknown", "other_service"),
        ({"hello": "world"}, "auto", 200, "unknown", "other_service"),
        ([V1], "v1_health", 200, "unknown", "other_service"),
        # Another product's words in fields that we know: its answer, not an unhealthy one of ours.
        ({"status": "UP", "components": {"db": {"status": "UP"}}}, "auto", 200, "unknown", "other_service"),
        ({"status": "UP", "components": {"db": {"status": "UP"}}}, "documented", 200, "unknown", "bad_input"),
        ({"status": "ok", "timestamp": "now"}, "auto", 200, "unknown", "other_service"),
        ({"status": "Healthy", "totalDuration": "0", "entries": {}}, "auto", 200, "unknown", "other_service"),
        # A wrong profile of ours says nothing about the service, whatever its status.
        (V2, "v1_health", 200, "unknown", "bad_input"),
        (V1, "v2_health", 200, "unknown", "bad_input"),
        (V1, "v1_healthz", 200, "unknown", "bad_input"),
        # The second generation has the fields of the first as well, and more that decides.
        (dict(V2, ok=True, components={}, namespace="x"), "v1_health", 200, "unknown", "bad_input"),
        (dict(V2, ok=True, components={}, namespace="x", memory_circuit_open=False), "v1_healthz", 200, "unknown", "bad_input"),
        (dict(V2, ok=True, components={}, namespace="x"), "v2_health", 200, "well", "up"),
        (V1, "documented", 200, "unknown", "bad_input"),
        (READY, "v2_healthz", 200, "unknown", "bad_input"),
        (NOT_READY, "documented", 503, "unknown", "bad_input"),
        (V1Z, "v1_health", 200, "well", "up"),
        # Which of the two counts, parsers do not agree on.
        (b'{"status": "degraded", "status": "healthy", "components": {}}', "documented", 200, "unknown", "other_service"),
        (json.dumps(V1).replace('"http": true', '"http": false, "http": true').encode(), "v1_health", 200, "unknown", "other_service"),
        # Statuses.
        ({}, "none", 200, "well", "up"),
        ({"detail": "boom"}, "v1_health", 500, "sick", "error"),
        (b"<html>Bad gateway", "v2_readyz", 503, "sick", "error"),
        ({}, "none", 404, "unknown", "bad_input"),
        ({}, "v1_health", 405, "unknown", "bad_input"),
        ({"detail": "missing bearer token"}, "none", 401, "unknown", "auth"),
        ({"detail": "invalid token"}, "none", 403, "unknown", "auth"),
        ({}, "none", 429, "unknown", "rate_limited"),
    ],
)
def test_a_body_is_judged_by_its_shape_and_gates(body: t.Any, profile: str, status: int, health: str, state: str) -> None:
    seen = judge(body, profile, status)
    assert (seen["health"], seen["state"]) == (health, state), seen["findings"]


def test_of_a_refused_request_only_what_was_seen_is_told() -> None:
    texts = {(status, token): judge({}, "none", status, token=token)["findings"][0]["text"] for status in (401, 403) for token in ("", "t")}
    assert texts == {
        (401, ""): "401: it wants a token, and none was sent; check the credentials",
        (401, "t"): "401: it rejected our token; check the credentials",
        (403, ""): "403: it denies the request, which was sent without a token; check the credentials",
        (403, "t"): "403: it rejected our token, or denies it this request; check the credentials",
    }


SPRING = {"status": "UP", "components": {"db": {"status": "UP", "details": {}}, "ping": {"status": "UP"}}}
ASPNET = {"status": "Healthy", "totalDuration": "00:00:00.01", "entries": {"db": {"status": "Healthy", "data": {}}}}
DJANGO = {"Cache backend: default": "working", "DatabaseBackend": "working"}
LIVEZ = b"[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\nlivez check passed\n"
PRODUCTS: list[tuple[t.Any, str, int, str, str]] = [
    (SPRING, "spring", 200, "well", "up"),
    ({"status": "UP"}, "spring", 200, "well", "up"),
    ({"status": "DOWN", "components": {"db": {"status": "DOWN"}}}, "spring", 503, "sick", "degraded"),
    ({"status": "UNKNOWN"}, "spring", 200, "unknown", "degraded"),
    ({"status": "up"}, "spring", 200, "unknown", "other_service"),
    (b"Healthy", "aspnet", 200, "well", "up"),
    (b"Unhealthy\r\n", "aspnet", 503, "sick", "degraded"),
    (b"Degraded", "aspnet", 200, "sick", "degraded"),
    (b"Healthy enough", "aspnet", 200, "unknown", "other_service"),
    (ASPNET, "aspnet", 200, "well", "up"),
    (DJANGO, "django", 200, "well", "up"),
    (dict(DJANGO, DatabaseBackend="unavailable: Database error"), "django", 500, "sick", "degraded"),
    (LIVEZ, "kubernetes", 200, "well", "up"),
    # Without ?verbose; only the profile makes that word Kubernetes'.
    (b"ok", "kubernetes", 200, "well", "up"),
    (b"ok", "auto", 200, "unknown", "other_service"),
    (b'{"status": "Degraded", "results": {"db": {"status": "Unhealthy"}}}', "aspnet", 200, "sick", "degraded"),
    (b'{"Cache": "working", "Queue": "unknown error: down"}', "django", 500, "sick", "degraded"),
    (b'{"Cache": "working", "Queue": "warning: slow"}', "django", 200, "sick", "degraded"),
    (b"[+]ping ok\n[-]etcd failed: reason withheld\nlivez check failed\n", "kubernetes", 500, "sick", "degraded"),
    # Whose words they are is only believed where a person says so.
    *[(body, "auto", 200, "unknown", "other_service") for body in (SPRING, b"Healthy", b"Unhealthy", ASPNET, DJANGO, LIVEZ, b"ok")],
    *[(body, "v1_health", 200, "unknown", "bad_input") for body in (SPRING, b"Healthy", ASPNET, DJANGO, LIVEZ)],
    (V1, "spring", 200, "unknown", "bad_input"),
    (SPRING, "aspnet", 200, "unknown", "bad_input"),
    ({}, "spring", 200, "unknown", "other_service"),
    (b"<html>", "kubernetes", 500, "sick", "error"),
]


@pytest.mark.parametrize(("body", "profile", "status", "health", "state"), PRODUCTS)
def test_the_answers_of_other_products_are_judged_where_they_are_named(
    body: t.Any, profile: str, status: int, health: str, state: str
) -> None:
    seen = judge(body, profile, status)
    assert (seen["health"], seen["state"]) == (health, state), seen["findings"]


def test_a_known_product_is_named_where_its_profile_is_not() -> None:
    assert "looks like spring's: set the profile to spring" in judge(SPRING, "auto")["findings"][-1]["text"]
    assert judge(SPRING, "none", gates=[{"path": "status", "equals": "UP"}])["health"] == "well"


def test_a_generation_means_its_health_endpoint_and_the_other_name_is_shown() -> None:
    seen = judge(V1, "v1")
    assert (seen["health"], seen["facts"]["profile"]) == ("well", "v1_health")
    assert seen["findings"][-1]["text"] == "the profile v1 is called v1_health for a health endpoint: write v1_health"
    assert judge(V1, "v2")["state"] == "bad_input"


def test_a_wrong_profile_is_named_with_the_right_one() -> None:
    seen = judge(V1, "v2_health")
    assert seen["findings"][0]["text"].startswith(
        "the answer is v1_health's, not v2_health's: correct the profile (to v1_health) or the URL"
    )
    assert seen["facts"]["final"] is True


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        ({"equals": "green"}, "names no path"),
        ({"path": "status"}, "says nothing of the value"),
        ({"path": "status", "equal": "green"}, "has the unknown key 'equal'"),
        ({"path": "status", "one_of": "green"}, "needs a list of values as one_of"),
        ({"path": "n", "max": "5"}, "needs a number as max"),
        ({"path": "n", "equals": 1, "max": 5}, "has equals and max: use one of them"),
        ({"path": "n", "equals": 1, "required": "no"}, "needs true or false as required"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "application"])
def test_a_gate_that_cannot_be_judged_is_a_wrong_input_and_nothing_is_asked(kind: str, gate: dict[str, t.Any], text: str) -> None:
    given = {"kind": kind, "url": "http://127.0.0.1:9/", "gates": [{"path": "a", "equals": None}, gate]}
    named = {"service": "api", "manager": "systemd"} if kind == "application" else {}
    [found] = checks_look.run_checks(validated([dict(given, **named)], 1), "target")
    assert (found["health"], found["state"], found["facts"]) == ("unknown", "bad_input", {"final": True})
    assert text in found["findings"][0]["text"]
    assert found["findings"][0]["text"].startswith("gates[1] ")
    before = {"health": "unknown", "state": "bad_input", "checks": [found], "subject": found["name"]}
    assert [one["code"] for one in judge_before(before, {})[1]] == ["bad_input"]


def test_a_key_that_an_answer_has_twice_is_named() -> None:
    seen = judge(b'{"a": {"ok": false, "ok": true}}', "none", gates=[{"path": "a.ok", "equals": True}])
    assert seen["health"] == "unknown"
    assert any("has the key 'ok' twice" in one["text"] for one in seen["findings"])


def test_a_503_names_the_part_that_is_unhealthy() -> None:
    assert any("checks.database is unhealthy: OperationalError" in one["text"] for one in judge(NOT_READY, "v2_readyz", 503)["findings"])


def test_a_degraded_status_tells_which_parts_it_blames() -> None:
    body = dict(V2, status="critical", infrastructure=dict(V2["infrastructure"], milvus={"status": "degraded"}))
    [text] = [one["text"] for one in judge(body, "v2_health")["findings"] if one["name"] == "status" and one["state"] == "sick"]
    assert text == "status is critical, must be healthy; it blames milvus"


@pytest.mark.parametrize(
    ("body", "blamed"),
    [
        ({"status": "red", "checks": {"cart": "red", "database": "green"}}, "; it blames cart"),
        ({"status": "DOWN", "stores": {"db": {"status": "DOWN"}, "disk": {"status": "UP"}}}, "; it blames db"),
        ({"status": "red", "version": "red-1", "checks": {"cart": "green"}}, ""),
        ({"status": False, "checks": {"cart": False}}, ""),
    ],
)
def test_an_api_of_ones_own_is_quoted_on_which_of_its_parts_has_the_status_of_the_whole(body: t.Any, blamed: str) -> None:
    wanted = True if body["status"] is False else "green"
    findings = judge(body, "none", gates=[{"path": "status", "equals": wanted}])["findings"]
    [text] = [one["text"] for one in findings if "must be" in one["text"]]
    assert text.endswith(f", must be {str(wanted).lower()}{blamed}")


def test_gates_are_configuration() -> None:
    critical = dict(V2, status="critical")
    assert judge(critical, "v2_health", ignore_gates=["status"])["health"] == "well"
    assert judge(dict(V1, ok=False), "v1_health", gates=[{"path": "ok", "equals": True}])["health"] == "sick"
    assert judge(dict(V1, memory_ok=False), "v1_health", gates=[{"path": "memory_ok", "one_of": [True, False]}])["health"] == "well"


@pytest.mark.parametrize(
    ("value", "gate", "health"),
    [
        (5, {"max": 10}, "well"),
        (11, {"max": 10}, "sick"),
        (5.5, {"min": 5, "max": 6}, "well"),
        (4, {"min": 5}, "sick"),
        ("5", {"max": 10}, "unknown"),
        (True, {"max": 10}, "unknown"),
        (1, {"equals": True}, "unknown"),
        (1.0, {"equals": 1}, "well"),
        ("b", {"one_of": ["a", "b"]}, "well"),
        ("c", {"one_of": ["a", "b"]}, "sick"),
    ],
)
def test_a_gate_knows_types_and_ranges(value: t.Any, gate: dict[str, t.Any], health: str) -> None:
    seen = judge({"deep": [{"value": value}]}, "none", gates=[dict(gate, path="deep.0.value")])
    assert seen["health"] == health


def test_an_absent_optional_field_does_not_count_and_a_required_one_is_unknown() -> None:
    gate = {"path": "outbox.pending", "max": 50}
    assert judge({}, "none", gates=[gate])["health"] == "unknown"
    assert judge({}, "none", gates=[dict(gate, required=False)])["health"] == "well"


def test_an_answer_that_was_cut_is_never_well() -> None:
    [check] = validated([{"kind": "http", "url": "http://api/", "max_bytes": 10}], 5)
    answer = Answer(status=200, body=b"x" * 10, truncated=True)
    seen = kind_http.judge({"answer": answer, "problem": ""}, dict(check, stands_on="target")).as_dict()
    assert (seen["health"], seen["state"]) == ("unknown", "too_large")


def test_a_slow_answer_is_sick_where_a_limit_is_set() -> None:
    assert judge(V1, "v1_health", max_latency_ms=500)["health"] == "well"
    slow = judge(V1, "v1_health", max_latency_ms=5)
    assert (slow["health"], slow["state"]) == ("sick", "slow")


def test_hostile_keys_and_values_are_shown_escaped_and_capped() -> None:
    body = {"status": "x\x1b[2J" + "y" * 5000, "checks": {f"k\x1b{i}": "unhealthy" for i in range(5000)}}
    seen = judge(body, "v2_readyz")
    assert "\x1b" not in json.dumps(seen, ensure_ascii=False)
    assert len(json.dumps(seen)) < 50_000


def test_every_profile_has_a_shape_that_auto_finds() -> None:
    bodies = {"v1_health": V1, "v1_healthz": V1Z, "v2_health": V2, "v2_readyz": READY, "documented": DOCUMENTED}
    assert {name: application_somabrain.profile_of(body) for name, body in bodies.items()} == {name: name for name in bodies}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"status": "green", "store": "green"}, "colour is missing from the answer, which has status, store"),
        ({}, "colour is missing from the answer"),
        ([1], "colour is missing from the answer"),
        (dict.fromkeys("abcdefgh", 1), "colour is missing from the answer, which has a, b, c, d, e, f and more"),
    ],
)
def test_a_gate_on_a_field_that_is_not_there_says_which_are(body: t.Any, told: str) -> None:
    [found] = application_somabrain.judge_body(body, "none", [{"path": "colour", "equals": "green"}], [])
    assert (found.state.value, found.text) == ("unknown", told)
