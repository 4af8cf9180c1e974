# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the traffic of a pool: by the balancer, the servers' own /metrics, Prometheus, and synthetic requests.

Every source is a snapshot of counters; a sample is the difference of two. What a source does not report is None, never zero.
"""

from __future__ import annotations

import json
import math
import re
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as http
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import pools

METRICS_SPEC: dict[str, t.Any] = {
    "metrics_scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
    "metrics_path": {"type": "str", "default": ""},
    "requests_metric": {"type": "str", "default": "somabrain_http_requests_total"},
    "latency_metric": {"type": "str", "default": "somabrain_http_latency_seconds"},
    "recall_metric": {"type": "str", "default": "somabrain_recall_ltm_latency_seconds"},
    # Requests of health checks and scrapes are not traffic: however many there are, they prove nothing.
    "ignored_paths": {"type": "list", "elements": "str", "default": ["/health", "/healthz", "/readyz", "/metrics"]},
    "prometheus_url": {"type": "str", "default": ""},
    "queries": {"type": "dict", "default": {}},
}
PROBES_SPEC: dict[str, t.Any] = {
    "probe_path": {"type": "str", "default": ""},
    "probe_body": {"type": "dict", "default": {}},
    "probe_token_file": {"type": "path", "default": ""},
    "probe_tenant": {"type": "str", "default": ""},
    "probes_per_second": {"type": "float", "default": 10.0},
}
Counts = t.Dict[str, t.Any]
Buckets = t.Dict[str, float]
# One line of the text format: name, labels, value.
_LINE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\S+)?$")
_LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"')
FAILED_STATUS = re.compile(r"5\d\d")
MAX_METRICS = 8 << 20


def load_counts(options: t.Mapping[str, t.Any], deadline: float) -> Counts:
    """Return {pool, scraped, queried, at} of one moment; a source that does not answer is None, with the reason in ``why``."""
    state = pools.load_pool(options, deadline)
    counts: Counts = {"at": time.monotonic(), "pool": state, "scraped": None, "queried": None, "why": ""}
    if not state["reachable"]:
        counts["why"] = state["detail"]
    if options.get("metrics_path") and state["servers"]:
        counts["scraped"], counts["why"] = _scrape(options, state, deadline)
    if options.get("prometheus_url"):
        counts["queried"], why = query(options, deadline)
        counts["why"] = counts["why"] or why
    return counts


def _scrape(options: t.Mapping[str, t.Any], state: t.Mapping[str, t.Any], deadline: float) -> tuple[t.Optional[Counts], str]:
    """Return {server: its counters} of the main servers that are up, or None if one of them does not answer."""
    asked = [one for one in state["servers"] if one["name"] in options["main"] and one["up"] is not False]
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(asked)))) as pool:
        answers = list(pool.map(lambda one: http.ask(_url(one, options), deadline, max_bytes=MAX_METRICS), asked))
    for one, answer in zip(asked, answers):
        if answer.error or answer.status != 200 or answer.truncated:
            why = answer.detail or answer.error or ("status %d" % answer.status)
            return None, "%s of %s: %s" % (options["metrics_path"], one["name"], one_line(why, 80))
    texts = [answer.body.decode("utf-8", "replace") for answer in answers]
    return {one["name"]: parse_metrics(text, options) for one, text in zip(asked, texts)}, ""


def _url(one: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> str:
    return "%s://%s%s" % (options["metrics_scheme"], one["address"], options["metrics_path"])


def parse_metrics(text: str, options: t.Mapping[str, t.Any]) -> Counts:
    """Return {requests, errors, latency, recall} of one exposition; a missing metric is None."""
    requests, errors, seen = 0.0, 0.0, False
    found: dict[str, Buckets] = {"latency": {}, "recall": {}}
    names = {options["latency_metric"] + "_bucket": "latency", options["recall_metric"] + "_bucket": "recall"}
    for line in text.splitlines():
        match = _LINE.match(line) if line[:1] != "#" else None
        if match is None or (match[1] not in names and match[1] != options["requests_metric"]):
            continue
        labels, value = dict(_LABEL.findall(match[2] or "")), _number(match[3])
        if labels.get("path") in options["ignored_paths"]:
            continue
        if match[1] == options["requests_metric"]:
            seen, requests = True, requests + value
            errors += value if FAILED_STATUS.fullmatch(str(labels.get("status", labels.get("code", "")))) else 0.0
        elif _is_bound(labels.get("le", "")):
            buckets = found[names[match[1]]]
            buckets[labels["le"]] = buckets.get(labels["le"], 0.0) + value
    return {
        "requests": requests if seen else None, "errors": errors if seen else None,
        "latency": found["latency"] or None, "recall": found["recall"] or None,
    }  # fmt: skip


def _is_bound(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def query(options: t.Mapping[str, t.Any], deadline: float) -> tuple[t.Optional[Counts], str]:
    """Return what Prometheus answers to each of ``queries`` (name to PromQL), None for a query without a value."""
    values: Counts = {}
    for name, text in options["queries"].items():
        url = "%s/api/v1/query?query=%s" % (options["prometheus_url"].rstrip("/"), quote(str(text), safe=""))
        answer = http.ask(url, deadline)
        if answer.error or answer.status != 200:
            why = answer.detail or answer.error or ("status %d" % answer.status)
            return None, "Prometheus: %s" % one_line(why, 100)
        values[name] = value_of(answer.body)
    return values, ""


def value_of(body: bytes) -> t.Optional[float]:
    """Return the number in an answer of Prometheus, None unless it has exactly one."""
    try:
        found = json.loads(body)["data"]["result"]
        value = float(found[0]["value"][1]) if len(found) == 1 else None
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return value if value is not None and math.isfinite(value) else None


def probe(options: t.Mapping[str, t.Any], state: t.Mapping[str, t.Any], number: int, deadline: float) -> list[dict[str, t.Any]]:
    """Send *number* synthetic requests to the main servers in turn, past the balancer; return {ok, seconds, status, void} of each.

    void: the answer is about the probe, not the server (no such path, no permission, too many), so it proves nothing.
    """
    asked = [one for one in state["servers"] if one["name"] in options["main"] and one["up"] is not False]
    if not asked or number < 1:
        return []
    body = json.dumps(options["probe_body"]).encode() if options["probe_body"] else None
    headers = {"Content-Type": "application/json"} if body else {}
    token = http.read_secret(options["probe_token_file"])[0] if options["probe_token_file"] else ""
    if token:
        headers["Authorization"] = "Bearer %s" % token
    if options["probe_tenant"]:
        headers["X-Tenant-ID"] = options["probe_tenant"]

    def send(place: int) -> dict[str, t.Any]:
        url = "%s://%s%s" % (options.get("metrics_scheme") or "http", asked[place % len(asked)]["address"], options["probe_path"])
        answer = http.ask(url, deadline, method="POST" if body else "GET", body=body, headers=headers)
        status = 0 if answer.error else answer.status
        void = 300 <= status < 500
        return {"ok": 0 < status < 300, "seconds": answer.seconds, "status": answer.status, "void": void}

    with ThreadPoolExecutor(max_workers=min(8, number)) as pool:
        return list(pool.map(send, range(number)))
