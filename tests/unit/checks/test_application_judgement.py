# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What state an application is in by what was seen of it, and which act that allows."""

from __future__ import annotations

import json
import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import traits
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import load as application_load
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import process, released
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.judge import BY_HTTP, judge_application
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.memory import growth_of, minutes_left
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import application as kind_application
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Answer
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import answering
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_info

NOW = 1_800_000_000.0
MIB = 1024 * 1024
URL = "http://127.0.0.1:9696/health"
BODY = {
    "ok": True,
    "components": {"memory": {"http": True}},
    "namespace": "n",
    "memory_ok": True,
    "predictor_ok": True,
    "embedder_ok": True,
}
RESTART = ("restart", "force")
ANSWERED = {"service": "somabrain", "url": URL, "profile": "v1_health"}
GREEN = {"path": "status", "equals": "green"}
DOWN = {
    "name": "redis", "kind": "redis", "health": "sick", "at": "", "playbook": "recover-redis.yml", "service": "",
    "findings": [{"state": "sick", "text": "Redis does not run"}],
}  # fmt: skip
UNCLEAR = {
    "name": "db", "kind": "postgresql", "health": "unknown", "at": "", "playbook": "recover-database.yml", "service": "",
    "findings": [{"state": "unknown", "text": "no answer"}],
}  # fmt: skip
LTM = {"name": "memory_service", "kind": "http", "health": "sick", "at": "http://x", "findings": [{"state": "sick", "text": "refuses"}]}

HUNG_LTM = dict(LTM, state="hung")
LOCKS = {"longest_wait_seconds": 14.0, "roots": [{"gid": "", "pid": 7, "user": "soma", "blocked_count": 2}]}
LOCKED = dict(UNCLEAR, health="well", state="accepting", seconds=0.02, findings=[], facts={"locks": LOCKS})
SLOW_LTM = dict(LTM, health="well", state="up", seconds=2.0, findings=[])


def options(**given: t.Any) -> dict[str, t.Any]:
    check = {"kind": "application", "manager": "systemd", "service": "somabrain", "url": URL, "profile": "v1_health", **given}
    return dict(checks_look.validated([check], 3.0)[0], stands_on="target")


def answer(**given: t.Any) -> dict[str, t.Any]:
    body = given.pop("body", BODY)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {"answer": Answer(**{"status": 200, "body": content, "seconds": 0.01, **given}), "problem": ""}


def look(service: dict[str, t.Any] | None = None, **given: t.Any) -> dict[str, t.Any]:
    running = {
        "manager": "systemd",
        "name": "somabrain.service",
        "exists": True,
        "state": "running",
        "pid": 7,
        "start_time_ticks": 70,
        "process_state": "S",
        "started_at": NOW - 3600,
        "restarts": 0,
    }
    raw: dict[str, t.Any] = {
        "now": NOW, "service": service_state.blank(**{**running, **(service or {})}), "http": answer(),
        "dependencies": [], "long_term_memory": [], "memory_since": None, "samples": [],
        "process": {"program": "python3.11", "words": []}, "answering": PLACE, "log": [], "oom_kills": 0, "round_trip": None,
    }  # fmt: skip
    return {**raw, **given}


CLUSTER: dict[str, t.Any] = {
    "manager": "kubernetes", "pid": 0, "start_time_ticks": None, "process_state": "", "started_at": None,
    "workload": {"uid": "u", "pods": [], "blocked": [], "full": [], "remembered": None, "kind": "Deployment"},
}  # fmt: skip


def cluster(state: str, **workload: t.Any) -> dict[str, t.Any]:
    return {**CLUSTER, "state": state, "workload": {**CLUSTER["workload"], **workload}}


ENDED = {"state": "failed", "pid": 0, "start_time_ticks": None, "process_state": "", "exit_code": 1}
SILENT = {"http": answer(status=0, error="timeout", body=b"")}
REFUSED = {"http": answer(status=0, error="refused", body=b"")}
SICK_BODY = {"http": answer(body={**BODY, "memory_ok": False})}
HELD = "port 9696 is held by python3 (pid 42, user root)"
HOLDER = {"pid": 42, "program": "python3", "user": "root", "address": "127.0.0.1", "port": 9696, "text": HELD, "of": ""}
# What was seen at the place that its URL names.
THERE: dict[str, t.Any] = {"sockets": 1, "strangers": [], "front": {}, "behind": ""}
PLACE: dict[str, t.Any] = {
    "port": 9696, "host": "127.0.0.1", "found": THERE, "is_here": True, "is_seen": True, "ports": [9696], "listens": True,
}  # fmt: skip


def place(ports: tuple[int, ...] = (), is_here: bool = True, is_seen: bool = True, **found: t.Any) -> dict[str, t.Any]:
    told = {**PLACE, "found": {**THERE, **found} if is_here else {}, "is_here": is_here, "is_seen": is_seen}
    return {"answering": {**told, "ports": list(ports), "listens": bool(ports)}}


OTHERS = place(strangers=[HOLDER])
NOBODYS = place(sockets=0)
SHUT_IN = place((8000,), sockets=0, is_ours=True)
SHUT_IN["answering"]["published"] = ["127.0.0.1:9797 for its port 8000"]
# What it says itself, past its proxy.
DIRECT: dict[str, t.Any] = {"direct": [{"url": "http://127.0.0.1:8000/health", "raw": answer()}], **place((8000,))}
PROVEN = {"known": {"answered": ANSWERED}}
STARVED = {"seconds": 4.0, "ready": 1.0, "ran": 0.1, "waited": 0.5, "periods": 40.0, "held": 39.0}
DATA = {"process": {"program": "stored", "words": [], "data_files": ["/var/lib/stored/0001.dat"]}}
ATTEMPT = {
    "bound": "start",
    "paths_changed": [],
    "cause": {"code": "exception", "text": "ValueError: no", "from": "journal", "changed": []},
}
CASES: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], str, str, tuple[str, ...]]] = {
    "well": ({}, {}, "up", "well", ()),
    "no url, and it runs": ({"http": None}, {"url": ""}, "up", "well", ()),
    "manager gone": ({"service": {"reachable": False, "exists": None, "detail": "no answer"}}, {}, "manager_unreachable", "unknown", ()),
    "wrong name": ({"service": {"exists": False, "state": "unknown"}}, {}, "unknown_service", "unknown", ()),
    "a name of several": ({"service": {"exists": None, "state": "unknown", "detail": "it has 2 containers"}}, {}, "several", "unknown", ()),
    "stateful by its name": ({}, {"service": "sb_redis"}, "stateful", "unknown", ()),
    "stateful by its program": ({"process": {"program": "postgres", "words": []}}, {}, "stateful", "unknown", ()),
    "stateful by a person's word": ({}, {"stateful": ["somabrain"]}, "stateful", "unknown", ()),
    "dependency down, it is well": ({"dependencies": [DOWN]}, {}, "dependency_down", "sick", ()),
    "dependency down, it is hung": ({"dependencies": [DOWN], **SILENT}, {}, "dependency_down", "sick", ()),
    "dependency down, it is stopped": ({"dependencies": [DOWN], "service": ENDED, **REFUSED}, {}, "dependency_down", "sick", ()),
    "dependency in doubt": ({"dependencies": [UNCLEAR], **SILENT}, {}, "dependency_unknown", "unknown", ()),
    "memory service down, it says degraded": ({"long_term_memory": [LTM], **SICK_BODY}, {}, "dependency_down", "sick", ()),
    "memory service down, it is hung": ({"long_term_memory": [LTM], **SILENT}, {}, "hung", "sick", RESTART),
    "memory service hung, it is hung": ({"long_term_memory": [HUNG_LTM], **SILENT}, {}, "dependency_down", "sick", ()),
    "memory service hung, it closes": (
        {"long_term_memory": [HUNG_LTM], "http": answer(status=0, error="closed", body=b"")}, {}, "dependency_down", "sick", ()),
    "memory service slow, it answers late": (
        {"long_term_memory": [SLOW_LTM], **SILENT, "late": answer(seconds=4.1)}, {}, "dependency_slow", "sick", ()),
    "memory service slow, it is silent all the same": (
        {"long_term_memory": [SLOW_LTM], **SILENT, "late": SILENT["http"]}, {}, "dependency_slow", "sick", ()),
    "memory service was slow for a moment, it is silent": (
        {"long_term_memory": [dict(SLOW_LTM, seconds=0.1)], **SILENT, "late": SILENT["http"]}, {}, "hung", "sick", RESTART),
    "memory service slow, it is suspended": (
        {"long_term_memory": [SLOW_LTM], "service": {"process_state": "T"}, **SILENT}, {}, "suspended", "sick", ("continue", *RESTART)),
    "memory service slow, it says degraded": ({"long_term_memory": [SLOW_LTM], **SICK_BODY}, {}, "dependency_slow", "sick", ()),
    "memory service rather slow, it says degraded": (
        {"long_term_memory": [dict(SLOW_LTM, seconds=0.7)], **SICK_BODY}, {}, "dependency_slow", "sick", ()),
    "memory service rather slow, it is silent": (
        {"long_term_memory": [dict(SLOW_LTM, seconds=0.7)], **SILENT}, {}, "hung", "sick", RESTART),
    "memory service quick, it says degraded": (
        {"long_term_memory": [dict(SLOW_LTM, seconds=0.1)], **SICK_BODY}, {}, "degraded", "sick", RESTART),
    "memory service slow, it is well": ({"long_term_memory": [SLOW_LTM]}, {}, "up", "well", ()),
    "sessions wait for a lock, it is silent": ({"dependencies": [LOCKED], **SILENT}, {}, "dependency_slow", "sick", ()),
    "sessions wait for a lock, it does not listen": ({"dependencies": [LOCKED], **REFUSED}, {}, "not_listening", "sick", RESTART),
    "sessions wait for a lock, it is well": ({"dependencies": [LOCKED]}, {}, "up", "well", ()),
    "database slow, it answers late": (
        {"dependencies": [dict(SLOW_LTM, name="db")], **SILENT, "late": answer(seconds=9.0)}, {}, "dependency_slow", "sick", ()),
    "memory service hung, nobody listens": ({"long_term_memory": [HUNG_LTM], **REFUSED}, {}, "not_listening", "sick", RESTART),
    "memory service hung, it is stopped": (
        {"long_term_memory": [HUNG_LTM], "service": ENDED, **SILENT}, {}, "crashed", "sick", ("start",)),
    "memory service hung, it is suspended": (
        {"long_term_memory": [HUNG_LTM], "service": {"process_state": "T"}, **SILENT}, {}, "suspended", "sick", ("continue", *RESTART)),
    "memory service down, it answers 503": (
        {"long_term_memory": [LTM], "http": answer(status=503, body=b"")}, {}, "dependency_down", "sick", ()),
    "memory service down, it is slow": (
        {"long_term_memory": [LTM], "http": answer(seconds=2.0)}, {"max_latency_ms": 500}, "dependency_down", "sick", ()),
    "suspended": ({"service": {"process_state": "T"}, **SILENT}, {}, "suspended", "sick", ("continue", *RESTART)),
    "its worker is suspended": (
        {"process": {"program": "gunicorn", "words": [], "suspended": [8]}, **SILENT}, {}, "suspended", "sick", ("continue", *RESTART)),
    "a worker is suspended, and it answers": ({"process": {"program": "gunicorn", "words": [], "suspended": [8]}}, {}, "up", "well", ()),
    "unhealthy, and nothing else is known": ({"service": {"manager": "compose", "state": "unhealthy"}, "http": None}, {"url": ""},
                                             "unhealthy", "sick", RESTART),
    "paused": ({"service": {"state": "paused"}, **SILENT}, {}, "paused", "sick", ("start", *RESTART)),
    "hung": (SILENT, {}, "hung", "sick", RESTART),
    "runs, and nobody listens": (REFUSED, {}, "not_listening", "sick", RESTART),
    "closes without an answer": ({"http": answer(status=0, error="closed", body=b"")}, {}, "unresponsive", "sick", RESTART),
    "5xx": ({"http": answer(status=500, body=b"")}, {}, "erroring", "sick", RESTART),
    "degraded": (SICK_BODY, {}, "degraded", "sick", RESTART),
    "wrong body from its own port": ({"http": answer(body=b"<html>")}, {}, "wrong_body", "unknown", ()),
    "wrong body from its own port, where it was well before": (
        {"http": answer(body=b"<html>")}, {"known": {"answered": ANSWERED}}, "wrong_body", "sick", RESTART),
    "a body of somebody else's kind, and its profile is not named": (
        {"http": answer(body={"status": "UP", "components": {"db": {"status": "UP"}}})}, {"profile": "auto"}, "wrong_body", "unknown", ()),
    "our profile is another one's": ({}, {"profile": "v2_health"}, "bad_input", "unknown", ()),
    "our profile is another one's, after a start": (
        {"service": {"started_at": NOW - 2}}, {"profile": "documented"}, "bad_input", "unknown", ()),
    "our profile is another one's, and it was well by it before": (
        {}, {"profile": "v2_health", "known": {"answered": {**ANSWERED, "profile": "v2_health"}}}, "bad_input", "unknown", ()),
    "our path does not exist": ({"http": answer(status=404, body=b"")}, {}, "bad_input", "unknown", ()),
    "our path does not exist yet": (
        {"http": answer(status=404, body=b""), "service": {"started_at": NOW - 2}}, {}, "starting", "unknown", ("wait",)),
    "its path is gone": ({"http": answer(status=404, body=b"")}, {"known": {"answered": ANSWERED}}, "erroring", "sick", RESTART),
    "an error with a place to go": ({"http": answer(status=500, location="http://x", body=b"")}, {}, "erroring", "sick", RESTART),
    "red by a gate of our own": (
        {"http": answer(body={"status": "red"})}, {"profile": "none", "gates": [GREEN]}, "degraded", "sick", RESTART),
    "green by a gate of our own": ({"http": answer(body={"status": "green"})}, {"profile": "none", "gates": [GREEN]}, "up", "well", ()),
    "a gate of our own finds no such field": ({}, {"profile": "none", "gates": [GREEN]}, "degraded", "unknown", ()),
    "an answer of nobody knows whom": (
        {"http": answer(body=b"<html>"), **place(is_seen=False, strangers=[{**HOLDER, "pid": 0}])}, PROVEN, "wrong_body", "unknown", ()),
    "silent, and another's port": ({**SILENT, **OTHERS}, {}, "not_its_port", "unknown", ()),
    "silent behind a proxy": ({**SILENT, **OTHERS}, {"behind_proxy": True}, "hung", "sick", RESTART),
    "a stranger answers well": (OTHERS, {}, "not_its_port", "unknown", ()),
    "a stranger answers well, in no profile": (OTHERS, {"profile": "none"}, "not_its_port", "unknown", ()),
    "a stranger answers well before it is up": (
        {**OTHERS, "service": {"started_at": NOW - 2}}, {}, "not_its_port", "unknown", ()),
    "another machine answers well": (place(is_here=False), {}, "not_its_port", "unknown", ()),
    "another machine refuses": ({**REFUSED, **place(is_here=False)}, {}, "not_its_port", "unknown", ()),
    "something answers, and nothing listens": (NOBODYS, {}, "not_its_port", "unknown", ()),
    "a proxy answers well for what listens nowhere": (OTHERS, {"behind_proxy": True}, "not_its_port", "unknown", ()),
    "a proxy answers well for what listens": (place((8000,), strangers=[HOLDER]), {"behind_proxy": True}, "up", "well", ()),
    "a proxy answers 502 for what listens nowhere": (
        {"http": answer(status=502, body=b""), **OTHERS}, {"behind_proxy": True}, "erroring", "sick", RESTART),
    "who answers may not be seen": (
        place(is_seen=False, strangers=[{**HOLDER, "pid": 0}]), {}, "owner_unseen", "unknown", ()),
    "done, without a body": ({"http": answer(status=204, body=b"")}, {"profile": "none"}, "up", "well", ()),
    "done, without the body of its profile": ({"http": answer(status=204, body=b"")}, {}, "wrong_body", "unknown", ()),
    "not modified": ({"http": answer(status=304, body=b"")}, {}, "redirect", "sick", ()),
    "it speaks TLS": ({"http": answer(status=0, error="closed", body=b""), "speaks_tls": True}, {}, "bad_input", "unknown", ()),
    "it speaks TLS, and began just now": (
        {"http": answer(status=400, body=b""), "speaks_tls": True, "service": {"started_at": NOW - 2}}, {}, "bad_input", "unknown", ()),
    "its answer never ends": ({"http": answer(status=0, error="endless", body=b"")}, {}, "bad_input", "unknown", ()),
    "its answer never ends any more": ({"http": answer(status=0, error="endless", body=b"")}, PROVEN, "hung", "sick", RESTART),
    "it answers late": ({"again": {"before": "timeout", "seconds": 4.2}}, {}, "slow", "sick", ()),
    "it answers every other time": ({"again": {"before": "timeout", "seconds": 0.01}}, {}, "unsteady", "sick", ()),
    "it closed one connection": ({"again": {"before": "closed", "seconds": 0.01}}, {}, "unsteady", "sick", ()),
    "it answers late, and with an error": (
        {"http": answer(status=500, body=b""), "again": {"before": "timeout", "seconds": 4.2}}, {}, "erroring", "sick", RESTART),
    "its proxy is down": ({**REFUSED, **DIRECT}, {"behind_proxy": True}, "proxy_fails", "sick", ()),
    "its proxy finds it nowhere": ({"http": answer(status=502, body=b""), **DIRECT}, {"behind_proxy": True}, "proxy_fails", "sick", ()),
    "its proxy hangs": ({**SILENT, **DIRECT}, {"behind_proxy": True}, "proxy_fails", "sick", ()),
    "its proxy answers with a page of its own": (
        {"http": answer(body=b"<html>"), **DIRECT}, {"behind_proxy": True}, "proxy_fails", "sick", ()),
    "its proxy finds it sick, which it is": (
        {"http": answer(status=502, body=b""), "direct": [{"url": URL, "raw": answer(status=500, body=b"")}], **place((8000,))},
        {"behind_proxy": True}, "erroring", "sick", RESTART),
    "its proxy is down, and nobody can ask it past that": (
        {**REFUSED, **place((8000,))}, {"behind_proxy": True}, "proxy_fails", "unknown", ()),
    "its proxy is down, and it listens nowhere": ({**REFUSED, **OTHERS}, {"behind_proxy": True}, "not_listening", "sick", RESTART),
    "its proxy redirects": (
        {"http": answer(status=302, location="http://x"), **DIRECT}, {"behind_proxy": True}, "redirect", "sick", ()),
    "it listens at another port than ours": ({**REFUSED, **place((8000,), sockets=0)}, {}, "bad_input", "unknown", ()),
    "it listens at another port than it did": ({**REFUSED, **place((8000,), sockets=0)}, PROVEN, "not_listening", "sick", RESTART),
    "its container publishes another port by now": ({**REFUSED, **SHUT_IN}, PROVEN, "bad_input", "unknown", ()),
    "its container publishes another port, and was just made": (
        {**REFUSED, **SHUT_IN, "service": {"started_at": NOW - 2}}, PROVEN, "bad_input", "unknown", ()),
    "its container was taken out of its network": ({**REFUSED, **SHUT_IN, "service": {"barred": "no"}}, {}, "not_startable", "sick", ()),
    "it listens nowhere": ({**REFUSED, **NOBODYS}, {}, "not_listening", "sick", RESTART),
    "it rejects our request": ({"http": answer(status=421, body=b"")}, {}, "bad_input", "unknown", ()),
    "silent, and it hardly gets a processor": ({**SILENT, "processor": STARVED}, {}, "slow", "sick", ()),
    "silent, and it runs": ({**SILENT, "processor": {**STARVED, "ran": 2.0}}, {}, "hung", "sick", RESTART),
    "well, though it hardly gets a processor": ({"processor": STARVED}, {}, "up", "well", ()),
    "hung, and it holds data open": ({**SILENT, **DATA}, {}, "stateful", "sick", ()),
    "hung, and it holds data open that a person knows": ({**SILENT, **DATA}, {"stateless": ["somabrain"]}, "hung", "sick", RESTART),
    "suspended, and it holds data open": ({"service": {"process_state": "T"}, **SILENT, **DATA}, {}, "suspended", "sick", ("continue",)),
    "paused, and it holds data open": ({"service": {"state": "paused"}, **SILENT, **DATA}, {}, "paused", "sick", ("start",)),
    "well, and it holds data open": (DATA, {}, "up", "well", ()),
    "named as a store is, which a person knows better": ({}, {"service": "vault", "stateless": ["vault"]}, "up", "well", ()),
    "named as none, but a store": (
        {"process": {"program": "redis-server", "words": []}}, {"stateless": ["somabrain"]}, "stateful", "unknown", ()),
    "redirect": ({"http": answer(status=302, location="http://x")}, {}, "redirect", "sick", ()),
    "wants a token": ({"http": answer(status=401)}, {}, "auth", "unknown", ()),
    "limits our rate": ({"http": answer(status=429)}, {}, "rate_limited", "unknown", ()),
    "slow alone": ({"http": answer(seconds=2.0)}, {"max_latency_ms": 500}, "slow", "sick", ()),
    "young and not healthy": ({"service": {"started_at": NOW - 5}, **REFUSED}, {}, "starting", "unknown", ("wait",)),
    "its manager starts it": ({"service": {"state": "starting", "started_at": NOW - 1}, **REFUSED}, {}, "starting", "unknown", ("wait",)),
    "its container's own check has not begun, and it answers": (
        {"service": {"manager": "compose", "state": "starting", "started_at": NOW - 1}}, {}, "up", "well", ()),
    "its container's own check has not begun, and it does not answer": (
        {"service": {"manager": "compose", "state": "starting"}, **REFUSED}, {}, "starting", "unknown", ("wait",)),
    "systemd waits for its word, and it answers": ({"service": {"state": "starting"}}, {}, "starting", "unknown", ("wait",)),
    "a rollout that is stuck while old pods answer": (
        {"service": cluster("unhealthy", blocked=["pod a: ErrImagePull"])}, {}, "rollout_stuck", "sick", ()),
    "no pod can be made": ({"service": cluster("failed", blocked=["no pod can be made"]), **REFUSED}, {}, "rollout_stuck", "sick", ()),
    "a pod of several is not ready any more": ({"service": cluster("unhealthy")}, {}, "pods_not_ready", "sick", ("restart",)),
    "hung, and the quota is used up": ({"service": cluster("running", full=["q: 2 of 2 pods"]), **SILENT}, {}, "no_room", "sick", ()),
    "well, and the quota is used up": ({"service": cluster("running", full=["q: 2 of 2 pods"])}, {}, "up", "well", ()),
    "scaled to nothing": ({"service": cluster("stopped"), **REFUSED}, {}, "scaled_to_nothing", "sick", ()),
    "stopped by us": ({"service": cluster("stopped", remembered=2), **REFUSED}, {}, "stopped", "sick", ("start",)),
    "stateful by its image": ({"service": {"image": {"name": "hub.example:5000/x/redis:7@sha256:0"}}}, {}, "stateful", "unknown", ()),
    "stopped": ({"service": {**ENDED, "state": "stopped", "exit_code": 0}, **REFUSED}, {}, "stopped", "sick", ("start",)),
    "crashed": ({"service": ENDED, **REFUSED}, {}, "crashed", "sick", ("start",)),
    "ended by a signal": ({"service": {**ENDED, "exit_code": None, "signal": "SIGSEGV"}, **REFUSED}, {}, "crashed", "sick", ("start",)),
    "start limit": ({"service": {**ENDED, "start_limit_hit": True}, **REFUSED}, {}, "start_limit", "sick", ("reset_failed", "start")),
    "exit loop": ({"service": {**ENDED, "state": "backoff"}, **REFUSED}, {}, "exit_loop", "sick", ()),
    "one end of a process that had come up, before its manager starts it again": (
        {"service": {**ENDED, "state": "backoff", "lived": 900.0, "restarts": 0}, **REFUSED}, {}, "crashed", "sick", ("start",)),
    "one end of a process that had not come up": (
        {"service": {**ENDED, "state": "backoff", "lived": 0.4, "restarts": 0}, **REFUSED}, {}, "starting", "unknown", ("wait",)),
    "two ends of processes that had not come up": (
        {"service": {**ENDED, "state": "backoff", "lived": 0.4, "restarts": 1}, **REFUSED}, {}, "exit_loop", "sick", ()),
    "one end too many": (
        {"service": {**ENDED, "state": "backoff", "lived": 900.0, "restarts": 3}, **REFUSED}, {}, "exit_loop", "sick", ()),
    "one end, by its configuration": (
        {"service": {**ENDED, "state": "backoff", "lived": 0.4, "restarts": 0}, **REFUSED, "log": ["invalid configuration"]}, {},
        "bad_config", "sick", ()),
    "one end, for want of memory": (
        {"service": {**ENDED, "state": "backoff", "lived": 900.0, "restarts": 0, "oom_killed": True}, **REFUSED}, {}, "oom", "sick", ()),
    "hung, and its manager would not start it again": ({"service": {"barred": "it is masked"}, **SILENT}, {}, "not_startable", "sick", ()),
    "stopped, and its manager would not start it": (
        {"service": {**ENDED, "state": "stopped", "exit_code": 0, "barred": "it is masked"}, **REFUSED}, {}, "not_startable", "sick", ()),
    "suspended, and its manager would not start it again": (
        {"service": {"process_state": "T", "barred": "it is masked"}, **SILENT}, {}, "suspended", "sick", ("continue",)),
    "paused, and its manager would not start it again": (
        {"service": {"state": "paused", "barred": "x"}, **SILENT}, {}, "paused", "sick", ("start",)),
    "hung, and its program is not there any more": ({"service": {"gone": "no program"}, **SILENT}, {}, "not_startable", "sick", ()),
    "ended, and its program is not there any more": ({"service": {**ENDED, "gone": "x"}, **REFUSED}, {}, "crashed", "sick", ("start",)),
    "well, and its unit file has changed": ({"service": {"unread": "x"}}, {}, "up", "well", ()),
    "well, and its manager would not start it again": ({"service": {"barred": "it is masked"}}, {}, "up", "well", ()),
    "asked to end": ({"service": {"state": "stopping"}, **SILENT}, {}, "stopping", "unknown", ("wait",)),
    "asked to end, and waited for": (
        {"service": {"state": "stopping"}, **SILENT}, {"known": {"waited": "stopping"}}, "stuck_stopping", "sick", RESTART),
    "ended meanwhile": ({"service": ENDED, **REFUSED}, {"known": {"waited": "stopping"}}, "crashed", "sick", ("start",)),
    "exit loop between two attempts": (
        {"service": {"started_at": NOW - 2, "restarts": 6}, **REFUSED}, {"known": {"restarts": 1, "at": NOW - 60}},
        "exit_loop", "sick", ()),
    "exit loop that was ended just now": (
        {"service": {**ENDED, "autorestart": "true", "restarts": 6}, **REFUSED}, {"known": {"restarts": 1, "at": NOW - 60}},
        "exit_loop", "sick", ()),
    "answers between two ends": (
        {"service": {"started_at": NOW - 2, "restarts": 6}}, {"known": {"restarts": 1, "at": NOW - 60}}, "starting", "unknown", ("wait",)),
    "answers between two ends, and nobody knows when its restarts were": (
        {"service": {"started_at": NOW - 2, "restarts": 6}}, {}, "starting", "unknown", ("wait",)),
    "answers between two ends, counted from the begin of a wait": (
        {"service": {"started_at": NOW - 2, "restarts": 6}}, {"known": {"restarts": 6, "at": NOW - 3, "loops": True}},
        "starting", "unknown", ("wait",)),
    "answers, and was often started by people": (
        {"service": {"started_at": NOW - 2, "restarts": 6, "autorestart": "false"}}, {}, "up", "well", ()),
    "has stayed up during the wait": (
        {"service": {"restarts": 6}}, {"known": {"restarts": 6, "at": NOW - 3, "loops": True}}, "up", "well", ()),
    "has stayed up since, and nobody knows when its restarts were": ({"service": {"restarts": 6}}, {}, "up", "well", ()),
    "young, does not answer, and nobody knows when its restarts were": (
        {"service": {"started_at": NOW - 2, "restarts": 6}, **REFUSED}, {}, "starting", "unknown", ("wait",)),
    "ended, and nobody knows when its restarts were": ({"service": {**ENDED, "restarts": 6}, **REFUSED}, {}, "crashed", "sick", ("start",)),
    "stopped by a person after many restarts": (
        {"service": {**ENDED, "state": "stopped", "exit_code": None, "signal": "SIGTERM", "restarts": 6}, **REFUSED}, {},
        "stopped", "sick", ("start",)),
    "killed for want of memory": ({"service": {**ENDED, "oom_killed": True}, **REFUSED}, {}, "oom", "sick", ()),
    "killed, and the kernel has killed somebody": (
        {"service": {**ENDED, "exit_code": None, "signal": "SIGKILL"}, **REFUSED, "oom_kills": 4}, {"known": {"oom_kills": 3}},
        "oom", "sick", ()),
    "its log says MemoryError": ({"service": ENDED, **REFUSED, "log": ["x", "MemoryError"]}, {}, "oom", "sick", ()),
    "bad configuration": (
        {"service": {**ENDED, "start_limit_hit": True}, **REFUSED, "log": ["KeyError: 'SOMABRAIN_REDIS_URL'"]}, {},
        "bad_config", "sick", ()),
    "stopped cleanly, an old error in its log": (
        {"service": {**ENDED, "state": "stopped", "exit_code": 0}, **REFUSED, "log": ["invalid configuration"]}, {},
        "stopped", "sick", ("start",)),
    "killed, with an old error in a log without times": (
        {"service": {**ENDED, "exit_code": None, "signal": "SIGKILL"}, **REFUSED, "log": ["KeyError: 'SOMABRAIN_REDIS_URL'", "MemoryError"],
         "attempt": {**ATTEMPT, "bound": "tail"}}, {}, "crashed", "sick", ("start",)),
    "broken JSON in its configuration": (
        {"service": ENDED, **REFUSED, "log": ["json.decoder.JSONDecodeError: Expecting value"]}, {}, "bad_config", "sick", ()),
    "bad configuration, and the file has changed since": (
        {"service": {**ENDED, "start_limit_hit": True}, **REFUSED, "log": ["KeyError: 'SOMABRAIN_REDIS_URL'"],
         "attempt": {**ATTEMPT, "paths_changed": ["/etc/api.json"]}}, {}, "start_limit", "sick", ("reset_failed", "start")),
    "bad configuration, and a person says it is mended": (
        {"service": ENDED, **REFUSED, "log": ["KeyError: 'SOMABRAIN_REDIS_URL'"]}, {"mended": True}, "crashed", "sick", ("start",)),
    "stopped, and a stranger holds its port": (
        {"service": {**ENDED, "start_limit_hit": True}, **REFUSED, "port_holder": HOLDER}, {}, "port_taken", "sick", ()),
    "answers, and its memory has been down since before the act": (
        {"long_term_memory": [LTM], **SICK_BODY}, {"memory_was_down": True}, "dependency_down", "unknown", ()),
    "reports well, and its memory has been down since before the act": (
        {"long_term_memory": [LTM]}, {"memory_was_down": True}, "dependency_down", "unknown", ()),
    "does not answer yet, and its memory is down": (
        {"long_term_memory": [LTM], "service": {"started_at": NOW - 2}, **REFUSED}, {"memory_was_down": True},
        "starting", "unknown", ("wait",)),
    "the old process is still there": ({}, {"old_identity": {"pid": 7, "start_time_ticks": 70}}, "not_restarted", "sick", ()),
    "another process than before": ({}, {"old_identity": {"pid": 6, "start_time_ticks": 60}}, "up", "well", ()),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "given", "state", "health", "actions"), CASES.values(), ids=list(CASES))
def test_each_look_has_one_state_and_its_acts(
    raw: dict[str, t.Any], given: dict[str, t.Any], state: str, health: str, actions: tuple[str, ...]
) -> None:
    judged = kind_application.judge(look(**raw), options(**given))
    assert (judged.state, judged.health.value, judged.actions) == (state, health, actions)


def test_what_an_answer_says_itself_stands_beside_where_the_answer_is_its_own_fault() -> None:
    def beside(given: dict[str, t.Any], **raw: t.Any) -> list[tuple[str, str]]:
        return [(one.name, one.state.value) for one in kind_application.judge(look(**raw), options(**given)).findings[1:]]

    page = {"http": answer(body=b"<html>")}
    assert beside(PROVEN, **page) == [("body", "unknown")]
    assert beside({}, **page) == beside({}, **SICK_BODY) == beside(PROVEN) == []


def test_what_its_manager_has_not_read_is_said_of_a_sick_service() -> None:
    judged = kind_application.judge(look({"unread": "its unit was changed"}, **REFUSED), options())
    assert judged.findings[0].text.endswith("; its unit was changed")


TEXTS: dict[str, tuple[dict[str, t.Any], str]] = {
    "its own reason": ({"attempt": ATTEMPT}, "; its log says: ValueError: no"),
    "a reason that may be older": ({"attempt": {**ATTEMPT, "bound": "tail"}}, "which may be of an earlier start: ValueError: no"),
    "what has changed since": ({"attempt": {**ATTEMPT, "paths_changed": ["/etc/a"]}}, "; changed since: /etc/a"),
    "who holds its port": ({"port_holder": HOLDER}, "port 9696 is held by python3 (pid 42, user root), so it cannot start"),
}


@pytest.mark.parametrize(("raw", "text"), TEXTS.values(), ids=list(TEXTS))
def test_why_it_did_not_start_is_said(raw: dict[str, t.Any], text: str) -> None:
    judged = kind_application.judge(look(service=ENDED, **REFUSED, **raw), options())
    assert text in judged.findings[0].text


@pytest.mark.parametrize(
    ("dependencies", "body", "named"),
    [
        ([], {"status": "red", "checks": {"cart": "red"}}, True),
        ([{"name": "r", "kind": "redis"}], {"status": "red", "checks": {"cart": "red"}}, False),
        ([], {"status": "red"}, False),
    ],
)
def test_a_degraded_api_that_blames_a_part_says_which_variable_names_what_it_depends_on(
    dependencies: list[t.Any], body: t.Any, named: bool
) -> None:
    given = options(profile="none", gates=[GREEN], dependencies=dependencies)
    [text] = [one.text for one in kind_application.judge(look(http=answer(body=body)), given).findings if "must be green" in one.text]
    assert ("service_restart_dependencies" in text) is named


FINAL = {"failed": True, "stopped": True, "backoff": False, "starting": False, "running": False}


@pytest.mark.parametrize(("word", "is_final"), FINAL.items())
def test_waiting_is_in_vain_once_its_manager_has_given_up(word: str, is_final: bool) -> None:
    assert kind_application.judge(look(service={**ENDED, "state": word}, **REFUSED), options()).facts["final"] is is_final


def test_what_a_young_process_answers_is_said_while_it_is_waited_for() -> None:
    judged = kind_application.judge(look(service={"started_at": NOW - 5}, http=answer(status=404, body=b"")), options())
    assert judged.state == "starting"
    assert "is not healthy yet: " in judged.findings[0].text
    assert "404" in judged.findings[0].text


def test_waiting_for_a_service_that_its_manager_does_not_know_is_in_vain() -> None:
    judged = kind_application.judge(look(service={"exists": False, "state": "unknown"}), options())
    assert (judged.state, judged.facts["final"]) == ("unknown_service", True)


OLD, GOOD, BAD = ("a" * 64, "b" * 64, "c" * 64)
RELEASED: dict[str, tuple[dict[str, t.Any], list[str], str, dict[str, t.Any]]] = {
    "one that never passed verification": (
        {**REFUSED, "release": BAD}, [GOOD, OLD],
        f"release {BAD[:12]}, which its next start takes, never passed verification, and {GOOD[:12]} did",
        {"now": BAD, "verified": False, "other": GOOD}),
    "one that did": ({**REFUSED, "release": GOOD}, [GOOD, OLD], "", {"now": GOOD, "verified": True, "other": OLD}),
    "which is unknown": (REFUSED, [GOOD], "", {"now": "", "verified": False, "other": GOOD}),
    "while none ever did": ({**REFUSED, "release": BAD}, [], "", {}),
    "a bad one that was not recorded, and it is well": ({"release": BAD}, [GOOD], "", {"now": BAD, "verified": False, "other": GOOD}),
    "a bad one, and what it stands on is down": (
        {"dependencies": [DOWN], "release": BAD}, [GOOD], "", {"now": BAD, "verified": False, "other": GOOD}),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "verified", "told", "facts"), RELEASED.values(), ids=list(RELEASED))
def test_a_release_that_never_passed_verification_is_named_before_anything_is_tried(
    raw: dict[str, t.Any], verified: list[str], told: str, facts: dict[str, t.Any]
) -> None:
    judged = kind_application.judge(look(**raw), options(releases={"verified": verified}))
    assert (judged.facts["release"], "never passed verification" in judged.findings[0].text) == (facts, bool(told))
    assert told in judged.findings[0].text


def test_its_release_is_read_from_its_image_or_its_link(tmp_path: Path) -> None:
    (tmp_path / GOOD).mkdir()
    (tmp_path / "current").symlink_to(GOOD)
    place = {"dir": str(tmp_path), "link": str(tmp_path / "current"), "verified": [GOOD]}
    image = {"image": {"id": "sha256:1"}}
    assert (released.load(place, {}), released.load(place, image)) == (GOOD, "sha256:1")
    assert (released.load({**place, "verified": []}, image), released.load({"verified": [GOOD]}, {})) == ("", "")


LASTS: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], bool]] = {
    "nothing of that name": ({"service": {"exists": False, "state": "unknown", "started_at": None}}, {}, True),
    "a store": ({}, {"service": "sb_redis"}, True),
    "a stranger's answer": (OTHERS, {}, True),
    "a stranger's answer, right after a start": ({**OTHERS, "service": {"started_at": NOW - 2}}, {}, False),
    "our token": ({"http": answer(status=401)}, {}, True),
    "a redirect": ({"http": answer(status=302, location="http://x")}, {}, True),
    "a 5xx": ({"http": answer(status=500, body=b"")}, {}, False),
    "a limit of our rate": ({"http": answer(status=429)}, {}, False),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "given", "is_final"), LASTS.values(), ids=list(LASTS))
def test_what_stays_until_somebody_acts_is_not_waited_for(raw: dict[str, t.Any], given: dict[str, t.Any], is_final: bool) -> None:
    assert kind_application.judge(look(**raw), options(**given)).facts["final"] is is_final


def test_only_what_is_sick_or_on_its_way_allows_an_act() -> None:
    for raw, given, *_expected in CASES.values():
        judged = kind_application.judge(look(**raw), options(**given))
        assert judged.health.value == "sick" or set(judged.actions) <= {"wait"}
    assert all(health.value == "sick" for _word, health, actions in BY_HTTP.values() if actions)


def samples(*mib: float, every: float = 1.0) -> list[dict[str, t.Any]]:
    return [{"at": NOW + number * every, "rss": int(one * MIB), "pid": 7, "start_time_ticks": 70} for number, one in enumerate(mib)]


@pytest.mark.parametrize(
    ("seen", "steady"),
    [
        (samples(100, 110, 120, 130, 140), True),
        (samples(100, 110, 109, 120, 131, 140), True),
        (samples(100, 100, 140, 140, 140, 140), False),
        (samples(100, 140, 139, 138, 137, 136), False),
        (samples(100, 100.1, 100.2, 100.3, 100.4), False),
        (samples(140, 130, 120, 110, 100), False),
        (samples(100, 140), False),
        ([], False),
    ],
    ids=["steady", "with a dip", "one step", "one step and back", "noise", "shrinks", "too few", "none"],
)
def test_a_leak_grows_from_sample_to_sample_and_a_one_off_grew_once(seen: list[dict[str, t.Any]], steady: bool) -> None:
    assert growth_of(seen, MIB)["steady"] is steady


def test_a_healthcheck_of_its_manager_that_disagrees_is_told() -> None:
    told = "its healthcheck reports unhealthy: no such file"
    judged = kind_application.judge(
        look({"manager": "compose", "state": "unhealthy", "detail": told}), options(manager="compose", project="shop")
    )
    assert (judged.state, judged.health) == ("up", State.WELL)
    assert [one.text for one in judged.findings if one.name == "warning"] == ["it answers, but " + told]


def test_a_leak_is_sick_once_its_limit_is_near_and_a_warning_before() -> None:
    growing = samples(100, 110, 120, 130, 140)
    near = kind_application.judge(look(samples=growing), options(memory_limit=500 * MIB))
    assert (near.state, near.health.value, near.actions) == ("leaking", "sick", RESTART)
    far = kind_application.judge(look(samples=growing), options(memory_limit=500 * MIB, memory_horizon=10))
    assert (far.state, far.health.value) == ("up", "well")
    assert [finding.name for finding in far.findings] == ["application", "warning"]
    slow = kind_application.judge(look(samples=growing, http=answer(seconds=2.0)), options(memory_limit=500 * MIB, max_latency_ms=500))
    assert slow.state == "leaking"


def test_samples_of_an_earlier_process_prove_nothing_of_this_one() -> None:
    others = [dict(one, pid=6) for one in samples(100, 110, 120, 130)]
    for earlier, state in ((others, "up"), (samples(100, 110, 120, 130), "leaking")):
        now = [{"at": NOW + 60, "rss": 140 * MIB}]
        assert kind_application.judge(look(samples=now), options(memory_limit=200 * MIB, known={"samples": earlier})).state == state


def test_the_minutes_left_are_known_only_with_a_limit_and_a_rate() -> None:
    assert (minutes_left(100, 200, 50), minutes_left(300, 200, 50), minutes_left(100, None, 50), minutes_left(100, 200, 0)) == (
        2.0,
        0.0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("restarts", "known", "started", "count"),
    [
        (0, {}, NOW - 5, 0),
        (2, {}, NOW - 5, 2),
        (5, {"restarts": 3, "at": NOW - 100}, NOW - 5, 2),
        (1, {"restarts": 3, "at": NOW - 100}, NOW - 5, 1),
        (5, {"restarts": 3, "at": NOW - 100}, NOW - 1000, 0),
        (13, {"restarts": 3, "at": NOW - 9000}, NOW - 5, 1),
        (23, {"restarts": 3, "at": NOW - 9000}, NOW - 5, 2),
        (3, {"restarts": 3, "at": NOW - 9000}, NOW - 5, 0),
        (None, {}, NOW - 5, 0),
    ],
)
def test_its_managers_own_restarts_count_as_far_as_they_were_within_the_time(
    restarts: int | None, known: dict[str, t.Any], started: float, count: int
) -> None:
    judged = kind_application.judge(look({"restarts": restarts, "started_at": started}), options(known=known))
    assert judged.facts["attempted_elsewhere"]["restart"] == count


WELL_LTM = dict(SLOW_LTM, seconds=0.01)


@pytest.mark.parametrize(
    ("trip", "memory", "ms", "state", "actions"),
    [
        ("hung", WELL_LTM, 20, "not_remembering", RESTART),
        ("hung", WELL_LTM, 1600, "slow", ()),
        ("not_recalled", WELL_LTM, 1600, "not_remembering", RESTART),
        ("hung", SLOW_LTM, 20, "dependency_slow", ()),
        ("not_recalled", SLOW_LTM, 20, "not_remembering", RESTART),
        ("hung", LTM, 20, "dependency_down", ()),
        ("no_ltm", WELL_LTM, 20, "dependency_down", ()),
        ("slow", WELL_LTM, 20, "slow", ()),
    ],
)
def test_a_memory_that_does_not_return_is_the_fault_of_what_holds_it(
    trip: str, memory: dict[str, t.Any], ms: float, state: str, actions: tuple[str, ...]
) -> None:
    answered = Health((Finding("http", State.WELL, "status 200"),), state="up", facts={"status": 200, "ms": ms})
    lacks = Health((Finding("recall", State.SICK, "it does not come back"),), state=trip)
    judged = judge_application(look(long_term_memory=[memory]), options(), answered, lacks)
    assert (judged.state, judged.actions) == (state, actions)


@pytest.mark.parametrize(
    ("trip", "state", "actions"),
    [
        ("error", "not_remembering", RESTART),
        ("not_recalled", "not_remembering", RESTART),
        ("hung", "unsteady", ()),
        ("slow", "unsteady", ()),
    ],
)
def test_a_wrong_answer_is_surer_than_a_silence_and_a_second_silence_is_not(trip: str, state: str, actions: tuple[str, ...]) -> None:
    """A bad release of the real service was rolled back because its health was late once, not because /remember failed."""
    answered = Health((Finding("http", State.WELL, "status 200"),), state="up", facts={"status": 200, "ms": 20})
    lacks = Health((Finding("remember", State.SICK, "status 500"),), state=trip)
    judged = judge_application(look(again={"before": "timeout", "seconds": 0.1}), options(), answered, lacks)
    assert (judged.state, judged.actions) == (state, actions)
    late = judge_application(look(again={"before": "timeout", "seconds": 4.3}), options(), answered, lacks)
    assert (late.state, late.actions) == (state.replace("unsteady", "slow"), actions)


@pytest.mark.parametrize(
    ("below", "state", "error", "again"),
    [
        (1.0, "S", "timeout", True),
        (0.9, "S", "timeout", False),
        (2.0, "T", "timeout", False),
        (2.0, "S", "refused", False),
    ],
)
def test_a_silent_service_is_given_more_time_where_what_it_depends_on_is_slow(below: float, state: str, error: str, again: bool) -> None:
    asked: list[float] = []

    def ask(limit: float) -> dict[str, t.Any]:
        asked.append(limit)
        return answer()

    def look_below(checks: t.Any, seconds: float, stands_on: str) -> list[dict[str, t.Any]]:
        return [dict(SLOW_LTM, seconds=0.1) for _check in checks]

    raw = look({"process_state": state}, long_term_memory=[dict(SLOW_LTM, seconds=below)], http=answer(status=0, error=error, body=b""))
    given = {"answer_timeout": 3.0, "dependencies": [], "long_term_memory": {"kind": "http", "url": "http://x"}}
    found = application_load._look_longer(raw, given, service_state.Clock(20), ask, look_below)
    assert asked == ([6.0] if again else [])
    # What was slow for a moment only is not to blame.
    assert [one["seconds"] for one in found.get("long_term_memory", [])] == ([0.1] if again else [])


def test_who_waits_for_a_lock_is_looked_at_again_after_a_silence() -> None:
    free = {"longest_wait_seconds": 0, "roots": []}
    raw = look(dependencies=[dict(LOCKED, facts={"locks": free})], http=answer(status=0, error="timeout", body=b""))
    given = {"answer_timeout": 3.0, "dependencies": [{"kind": "postgresql"}], "long_term_memory": {}}
    found = application_load._look_longer(raw, given, service_state.Clock(20), lambda _seconds: None, lambda *_given: [dict(LOCKED)])
    assert (found["late"], found["dependencies"][0]["facts"]["locks"]) == (None, LOCKS)


@pytest.mark.parametrize(("later", "held"), [({}, {}), (HOLDER, HOLDER)])
def test_a_worker_whose_master_was_killed_is_no_stranger_once_it_ends(
    monkeypatch: pytest.MonkeyPatch, later: dict[str, t.Any], held: dict[str, t.Any]
) -> None:
    seen = [HOLDER, later]
    monkeypatch.setattr(vars(application_load)["answering"], "stranger", lambda *_given: seen.pop(0))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(application_load, "last", lambda *_given, **_more: {"lines": []})
    found = application_load._why_not_up({}, {"behind_proxy": False, "log_file": "", "url": URL}, 1.0, {})
    assert found["port_holder"] == held


def test_a_port_that_docker_holds_is_told_with_its_container(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = {**HOLDER, "program": "docker-proxy"}
    own = {"name": "shop-api-1", "project": "shop", "service": "api", "running": True, "command": ""}
    monkeypatch.setattr(application_load, "load_container_on", lambda *_given: own)
    named = application_load._with_container(proxy, 9696, {})
    assert answering.held_text(named, 9696) == "port 9696 is held by docker-proxy (pid 42, user root) of container shop-api-1"
    down = look({**ENDED, "manager": "compose"}, port_holder=dict(named, text="held"))
    for project, word in (("shop", "bad_input"), ("other", "port_taken")):
        more = {"manager": "compose", "service": "api", "project": project}
        assert kind_application.judge(down, options(**more)).state == word


def test_a_hand_over_names_the_playbook_that_repairs_it() -> None:
    unit = dict(DOWN, kind="service", playbook="restart-service.yml", service="ltm")
    given = [
        (look(dependencies=[DOWN]), {}, ("redis", "recover-redis.yml", "")),
        (look(dependencies=[DOWN, dict(UNCLEAR, health="sick")]), {}, ("several", "recover-all.yml", "")),
        (look(dependencies=[DOWN, UNCLEAR]), {}, ("redis", "recover-redis.yml", "")),
        (look(dependencies=[LOCKED]), {}, ("locks", "unblock-database.yml", "")),
        (look(dependencies=[dict(UNCLEAR, health="sick", state="blocked")]), {}, ("locks", "unblock-database.yml", "")),
        (look(dependencies=[unit]), {}, ("service", "restart-service.yml", "ltm")),
        (look(), {"service": "postgresql@15-main"}, ("postgresql", "recover-database.yml", "postgresql@15-main")),
        (look(), {}, ("", "", "")),
    ]
    for raw, more, expected in given:
        told = kind_application.judge(raw, options(**more)).facts["hand_over"]
        assert (told["kind"], told["playbook"], told["service"]) == expected


def test_the_memory_of_a_process_and_its_children_is_seen() -> None:
    assert process.rss_of(os.getpid()) > MIB
    assert process.rss_of(2**22 + 1) == 0


def test_a_piped_look_takes_the_kinds_along_that_an_application_stands_on() -> None:
    check = options(
        dependencies=[{"kind": "redis"}, {"kind": "tcp", "host": "x", "port": 1}], long_term_memory={"kind": "http", "url": "http://x"}
    )
    assert traits.kinds_of([check, {"kind": "disk"}]) == {"application", "redis", "tcp", "http", "disk"}


def test_a_rehearsal_writes_no_memory_through_an_application() -> None:
    looking, left_out = health_info.writers_left_out([options(name="api", round_trip={"profile": "v1"})])
    assert [one["round_trip"] for one in looking] == [{}]
    assert left_out == ["api"]


@pytest.mark.parametrize("kind", ["round_trip", "application"])
def test_what_writes_is_no_dependency(kind: str) -> None:
    given = options(url="", manager="supervisor", supervisor_url="unix:///nowhere", dependencies=[{"kind": kind, "url": URL}])
    result = checks_look.look_once(dict(given, timeout=3.0))
    assert (result["health"], "only looks" in result["findings"][0]["text"]) == ("unknown", True)


@pytest.mark.parametrize(
    ("health", "since", "started", "told"),
    [
        ("well", NOW - 7200, NOW - 3600, "well"),
        ("well", None, NOW - 3600, "well"),
        ("well", NOW - 3595, NOW - 3600, "well"),
        ("well", NOW - 60, NOW - 3600, "renewed"),
        ("well", NOW - 60, None, "well"),
        ("sick", NOW - 60, NOW - 3600, "sick"),
        ("unknown", NOW - 60, NOW - 3600, "unknown"),
    ],
)
def test_a_memory_service_that_began_after_the_application_was_away_while_that_ran(
    health: str, since: float | None, started: float | None, told: str
) -> None:
    raw = look({"started_at": started}, long_term_memory=[{**LTM, "health": health}], memory_since=since)
    judged = kind_application.judge(raw, options())
    assert judged.facts["long_term_memory"] == told
    assert [one.name for one in judged.findings] == ["application", *(["warning"] if told == "renewed" else [])]


def test_a_token_that_is_refused_is_not_waited_for() -> None:
    answered = Health((Finding("http", State.WELL, "status 200"),), state="up", facts={"status": 200})
    refused = Health((Finding("call", State.UNKNOWN, "401: it wants a token"),), state="auth")
    judged = judge_application(look(), options(), answered, refused)
    assert (judged.state, judged.facts["final"]) == ("auth", True)
