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
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import exposition
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
# The labels by which servers name the status and the path of a request.
STATUS_LABELS = (
    "status",
    "code",
    "status_code",
    "http_status",
    "http_status_code",
    "http_response_status_code",
    "response_code",
    "statusCode",
)
PATH_LABELS = ("path", "handler", "route", "uri", "endpoint", "http_route", "url", "http_target", "view")
FAILED_STATUS = re.compile(r"5(\d\d|xx)", re.IGNORECASE)
REJECTED_STATUS = re.compile(r"4(\d\d|xx)", re.IGNORECASE)
A_STATUS = re.compile(r"[1-5](\d\d|xx)", re.IGNORECASE)
# A sample with a time of its own that is older than so many seconds says nothing about now.
STALE = 60.0
MAX_METRICS = 8 << 20
# When the process started that counted, by the usual name.
STARTED = "process_start_time_seconds"


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
    return {one["name"]: parse_metrics(text, options, time.time()) for one, text in zip(asked, texts)}, ""


def _url(one: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> str:
    return "%s://%s%s" % (options["metrics_scheme"], one["address"], options["metrics_path"])


def parse_metrics(text: str, options: t.Mapping[str, t.Any], now: t.Optional[float] = None) -> Counts:
    """Return {requests, errors, rejected, latency, recall, since, at} of one exposition; what is missing or cannot be read is None.

    since: when its process started.
    A request without a path may be one of a health check, and one without a status may have failed. *now*: epoch seconds, against
    which a sample's own time is held.
    """
    samples, unread = exposition.parse(text)
    doubtful = {exposition.name_in(line) for line in unread} | {one.name for one in samples if _is_doubtful(one, now)}

    def traffic(name: str, ignored: t.Sequence[str]) -> t.Optional[list[exposition.Sample]]:
        return None if name in doubtful else _traffic_in([one for one in samples if one.name == name], ignored)

    requests = traffic(options["requests_metric"], options["ignored_paths"])
    return {
        "requests": sum(one.value for one in requests) if requests else None,
        "errors": _counted_by(FAILED_STATUS, requests) if requests else None,
        "rejected": _counted_by(REJECTED_STATUS, requests) if requests else None,
        "latency": _buckets(traffic(options["latency_metric"] + "_bucket", options["ignored_paths"])),
        "recall": _buckets(traffic(options["recall_metric"] + "_bucket", [])),
        "since": next((one.value for one in samples if one.name == STARTED and math.isfinite(one.value)), None),
        "at": now,
    }


def by_status(samples: t.Sequence[exposition.Sample], options: t.Mapping[str, t.Any]) -> t.Optional[dict[str, float]]:
    """Return how many requests of the traffic ended with each status, {} where all requests were health checks or scrapes.

    None where nothing counts requests, or a sample has no path or no status to tell by.
    """
    named = [one for one in samples if one.name == options["requests_metric"]]
    requests = None if not named or any(_is_doubtful(one, None) for one in named) else _traffic_in(named, options["ignored_paths"])
    statuses = [_label(one, STATUS_LABELS) or "" for one in requests or ()]
    if requests is None or not all(A_STATUS.fullmatch(status) for status in statuses):
        return None
    found: dict[str, float] = {}
    for one, status in zip(requests, statuses):
        found[status] = found.get(status, 0.0) + one.value
    return found


def errors_in(statuses: t.Mapping[str, float]) -> float:
    """Return how many of the requests in *statuses* failed."""
    return sum(count for status, count in statuses.items() if FAILED_STATUS.fullmatch(status))


def _is_doubtful(sample: exposition.Sample, now: t.Optional[float]) -> bool:
    """Return whether a sample says nothing for certain: no count, no bound, or of another time than now."""
    is_old = now is not None and sample.at is not None and abs(now - sample.at) > STALE
    return is_old or not math.isfinite(sample.value) or sample.value < 0 or ("le" in sample.labels and not _is_bound(sample.labels["le"]))


def _traffic_in(samples: t.Sequence[exposition.Sample], ignored: t.Sequence[str]) -> t.Optional[list[exposition.Sample]]:
    """Return the samples of requests that are traffic, None where a sample has no path to tell by."""
    if not ignored:
        return list(samples)
    paths = [_label(one, PATH_LABELS) for one in samples]
    return None if None in paths else [one for one, path in zip(samples, paths) if not _is_ignored(str(path), ignored)]


def _is_ignored(path: str, ignored: t.Sequence[str]) -> bool:
    plain = path.partition("?")[0]
    return any(one in ignored for one in (path, plain, plain.rstrip("/"), "/" + plain.strip("/")))


def _counted_by(wanted: t.Pattern[str], requests: t.Sequence[exposition.Sample]) -> t.Optional[float]:
    """Return how many of *requests* have a status of that kind, None where one of them has no status."""
    statuses = [_label(one, STATUS_LABELS) or "" for one in requests]
    if not all(A_STATUS.fullmatch(status) for status in statuses):
        return None
    return sum(one.value for one, status in zip(requests, statuses) if wanted.fullmatch(status))


def _label(sample: exposition.Sample, names: t.Sequence[str]) -> t.Optional[str]:
    return next((sample.labels[name] for name in names if name in sample.labels), None)


def _buckets(samples: t.Optional[t.Sequence[exposition.Sample]]) -> t.Optional[Buckets]:
    buckets: Buckets = {}
    for one in samples or ():
        if "le" in one.labels:
            buckets[one.labels["le"]] = buckets.get(one.labels["le"], 0.0) + one.value
    return buckets or None


def _is_bound(text: str) -> bool:
    value = exposition.number_of(text)
    return value is not None and not math.isnan(value)


def query(options: t.Mapping[str, t.Any], deadline: float) -> tuple[t.Optional[Counts], str]:
    """Return what Prometheus answers to each of ``queries`` (name to PromQL), None for a query without a value."""
    values: Counts = {}
    for name, text in options["queries"].items():
        url = "%s/api/v1/query?query=%s" % (options["prometheus_url"].rstrip("/"), quote(str(text), safe=""))
        answer = http.ask(url, deadline)
        if answer.error or answer.status != 200:
            why = answer.detail or answer.error or ("status %d" % answer.status)
            return None, "Prometheus: %s" % one_line(why, 100)
        values[name] = value_of(answer.body, time.time())
    return values, ""


def value_of(body: bytes, now: t.Optional[float] = None) -> t.Optional[float]:
    """Return the number in an answer of Prometheus, None unless it has exactly one, and, with *now* (epoch seconds), one of about now."""
    try:
        found = json.loads(body)["data"]["result"]
        at, value = (float(one) for one in found[0]["value"])
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    is_old = now is not None and abs(now - at) > STALE
    return value if len(found) == 1 and math.isfinite(value) and not is_old else None


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
