# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint with metrics says of itself: whether it is up, its errors and how long it takes. Bounded; the loader never raises."""

from __future__ import annotations

import math
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as http
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import exposition
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer.counts import METRICS_SPEC, parse_metrics
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.gates import quantile

# More than this of one endpoint is not read: half of the counters would give wrong shares.
MOST_BYTES = 4 << 20
QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
MEMORY = ("process_resident_memory_bytes", "process_memory_bytes")
# As METRICS_SPEC, without the paths that are no traffic for a balancer: an API that only answers its checks is up all the same.
NAMES: t.Mapping[str, t.Any] = {name: rule.get("default") for name, rule in METRICS_SPEC.items()}
Metrics = t.Dict[str, t.Any]
NOTHING: Metrics = dict.fromkeys(("requests", "errors", "error_rate", "latency_seconds", "memory_bytes"))


def load_metrics(place: t.Mapping[str, t.Any], deadline: float) -> Metrics:
    """Return {url, at, error, up, requests, errors, error_rate, latency_seconds, memory_bytes} of one endpoint."""
    found: Metrics = dict(NOTHING, url=one_line(place["url"], 200), at=round(time.time(), 3), up=None, error="")
    headers, problem = _headers(place)
    if problem:
        return dict(found, error=problem)
    answer = http.ask(str(place["url"]), deadline, headers=headers, ca_file=str(place.get("ca_file") or ""), max_bytes=MOST_BYTES)
    if answer.error:
        # A refused connection is the machine's own answer; any other silence may be the way.
        return dict(found, up=False if answer.error == "refused" else None, error=one_line(answer.detail or answer.error, 120))
    if answer.status != 200:
        return dict(found, error="status %d" % answer.status)
    if answer.truncated:
        return dict(found, up=True, error="more than %d MB of metrics: not counted" % (MOST_BYTES >> 20))
    return dict(found, **told(answer.body.decode("utf-8", "replace"), time.time()))


def _headers(place: t.Mapping[str, t.Any]) -> tuple[dict[str, str], str]:
    headers = {"X-Tenant-ID": str(place["tenant"])} if place.get("tenant") else {}
    if not place.get("token_file"):
        return headers, ""
    token, problem = http.read_secret(str(place["token_file"]))
    if problem:
        return headers, "token_file %s: %s" % (one_line(place["token_file"], 120), problem)
    return dict(headers, Authorization="Bearer %s" % token), ""


def told(text: str, now: float) -> Metrics:
    """Return {up, requests, errors, error_rate, latency_seconds, memory_bytes, error} of an exposition, counted since its process began.

    Pure. What it does not say, or says as NaN, is None.
    """
    samples, _unread = exposition.parse(text)
    counted = parse_metrics(text, NAMES, now) if samples else {"requests": None, "errors": None, "latency": None}
    requests, errors = counted["requests"], counted["errors"]
    return {
        "error": "" if samples else "what it answers is no metrics",
        "up": _up(samples),
        "requests": requests,
        "errors": errors,
        "error_rate": round(errors / requests, 6) if requests and errors is not None else None,
        "latency_seconds": _latency(counted["latency"], samples),
        "memory_bytes": next((one.value for one in samples if one.name in MEMORY and math.isfinite(one.value)), None),
    }


def _up(samples: t.Sequence[exposition.Sample]) -> t.Optional[bool]:
    """Return what a sample ``up`` says; without one, an endpoint that answers with metrics is up."""
    said = [one.value for one in samples if one.name == "up" and math.isfinite(one.value)]
    return min(said) > 0 if said else True if samples else None


def _latency(buckets: t.Optional[t.Mapping[str, float]], samples: t.Sequence[exposition.Sample]) -> t.Optional[dict[str, t.Any]]:
    if not buckets:
        return None
    name = NAMES["latency_metric"]
    total, count = (sum(one.value for one in samples if one.name == name + end and math.isfinite(one.value)) for end in ("_sum", "_count"))
    found: dict[str, t.Any] = {word: quantile(part, [buckets])[0] for word, part in QUANTILES}
    return dict(found, mean=round(total / count, 6) if count > 0 else None)
