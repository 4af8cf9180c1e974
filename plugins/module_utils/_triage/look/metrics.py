# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endpoint with metrics says of itself: whether it is up, its errors and how long it takes. Bounded; the loader never raises.

Two samples some seconds apart say how it is now; one alone only what was counted since its process began.
"""

from __future__ import annotations

import math
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as http
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import exposition
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer.counts import (
    METRICS_SPEC,
    by_status,
    errors_in,
    parse_metrics,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.gates import quantile

# Of an endpoint that says more than this nothing is counted: half of the counters would give wrong shares.
MOST_BYTES = 4 << 20
MOST_NAMES = 400
QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
MEMORY = ("process_resident_memory_bytes", "process_memory_bytes")
NAMES: t.Mapping[str, t.Any] = {name: rule.get("default") for name, rule in METRICS_SPEC.items()}
Metrics = t.Dict[str, t.Any]
FIGURES = ("requests", "errors", "error_rate", "latency_seconds")
NOTHING: Metrics = {
    **dict.fromkeys((*FIGURES, "up", "over_seconds", "statuses", "memory_bytes")),
    "since_start": {}, "sums": {}, "rates": {}, "error": "",
}  # fmt: skip


def load_metrics(place: t.Mapping[str, t.Any], window: float, deadline: float) -> Metrics:
    """Return {url, at, error, up, over_seconds, requests, errors, error_rate, latency_seconds, statuses, ...} of one endpoint.

    The figures are those of *window* seconds, where a second sample came in time; ``since_start`` has those since its process began.
    """
    clock = http.Clock(deadline)
    found: Metrics = dict(NOTHING, url=one_line(place["url"], 200), at=round(time.time(), 3))
    headers, problem = _headers(place)
    if problem:
        return dict(found, error=problem)
    first, failed = _sample(place, headers, deadline)
    if first is None:
        return dict(found, **failed)
    rest = deadline - clock.spent() - window
    if window <= 0 or rest < 0.1:
        return dict(found, **told(first))
    time.sleep(window)
    second, _failed = _sample(place, headers, rest)
    return dict(found, **told(first, second))


def _headers(place: t.Mapping[str, t.Any]) -> tuple[dict[str, str], str]:
    headers = {"X-Tenant-ID": str(place["tenant"])} if place.get("tenant") else {}
    if not place.get("token_file"):
        return headers, ""
    token, problem = http.read_secret(str(place["token_file"]))
    if problem:
        return headers, "token_file %s: %s" % (one_line(place["token_file"], 120), problem)
    return dict(headers, Authorization="Bearer %s" % token), ""


def _sample(place: t.Mapping[str, t.Any], headers: t.Mapping[str, str], deadline: float) -> tuple[t.Optional[Metrics], Metrics]:
    """Return (one sample, None for none, and then what that says of the endpoint)."""
    answer = http.ask(str(place["url"]), deadline, headers=headers, ca_file=str(place.get("ca_file") or ""), max_bytes=MOST_BYTES)
    if answer.error:
        # A refused connection is the machine's own answer; any other silence may be the way.
        return None, {"up": False if answer.error == "refused" else None, "error": one_line(answer.detail or answer.error, 120)}
    if answer.status != 200:
        return None, {"error": "status %d" % answer.status}
    if answer.truncated:
        return None, {"up": True, "error": "more than %d MB of metrics: not counted" % (MOST_BYTES >> 20)}
    sample = counted(answer.body.decode("utf-8", "replace"), time.time())
    return sample, {"error": "what it answers is no metrics"} if sample is None else {}


def counted(text: str, now: float) -> t.Optional[Metrics]:
    """Return what one exposition counts, None for text that is none. Pure. What it does not say, or says as NaN, is None."""
    samples, _unread = exposition.parse(text)
    if not samples:
        return None
    found = parse_metrics(text, NAMES, now)
    sums: dict[str, float] = {}
    for one in samples:
        if math.isfinite(one.value) and "le" not in one.labels and (one.name in sums or len(sums) < MOST_NAMES):
            sums[one.name] = sums.get(one.name, 0.0) + one.value
    statuses = by_status(samples, NAMES)
    # No request but health checks is no traffic, which is known; a counter that is not there is not.
    own = {} if statuses is None else {"requests": sum(statuses.values()), "errors": errors_in(statuses)}
    made = {"requests": found["requests"], "errors": found["errors"], **own, "latency": found["latency"]}
    return {"at": now, **made, "sums": sums, "statuses": statuses, "up": _up(samples)}


def _up(samples: t.Sequence[exposition.Sample]) -> bool:
    """Return what a sample ``up`` says; without one, an endpoint that answers with metrics is up."""
    said = [one.value for one in samples if one.name == "up" and math.isfinite(one.value)]
    return min(said) > 0 if said else True


def told(first: Metrics, second: t.Optional[Metrics] = None) -> Metrics:
    """Return the figures of one sample, or of the time between two; those of a process that began in between are since its start. Pure."""
    last = second or first
    memory = next((last["sums"][name] for name in MEMORY if name in last["sums"]), None)
    found: Metrics = {"up": last["up"], "memory_bytes": memory, "sums": last["sums"], "since_start": _figures(last)}
    grown = _grown(first, second) if second else None
    if grown is None:
        return dict(found, over_seconds=None, rates={}, statuses=last["statuses"], **found["since_start"])
    over = grown["at"]
    rates = {name: round(grown["sums"][name] / over, 6) for name in grown["sums"] if name.endswith("_total")}
    return dict(found, over_seconds=round(over, 2), rates=rates, statuses=grown["statuses"], **_figures(grown))


def _grown(first: Metrics, second: Metrics) -> t.Optional[Metrics]:
    """Return what was counted between two samples, None where a counter fell: its process began again."""
    grown: Metrics = {"at": second["at"] - first["at"]}
    grown.update({key: None if None in (first[key], second[key]) else second[key] - first[key] for key in ("requests", "errors")})
    grown.update({key: _each(first[key], second[key]) for key in ("latency", "statuses")})
    grown["sums"] = _each(first["sums"], second["sums"])
    return None if grown["at"] <= 0 or any(value < 0 for value in _counters(grown)) else grown


def _each(first: t.Any, second: t.Any) -> t.Optional[dict[str, float]]:
    return None if second is None else {name: value - (first or {}).get(name, 0.0) for name, value in second.items()}


def _counters(grown: Metrics) -> t.Iterator[float]:
    yield from (grown[key] for key in ("requests", "errors") if grown[key] is not None)
    yield from (value for key in ("latency", "statuses") for value in (grown[key] or {}).values())
    yield from (value for name, value in grown["sums"].items() if name.endswith("_total"))


def _figures(counts: Metrics) -> Metrics:
    requests, errors = counts["requests"], counts["errors"]
    rate = round(errors / requests, 6) if requests and errors is not None else None
    return {"requests": requests, "errors": errors, "error_rate": rate, "latency_seconds": _latency(counts["latency"], counts["sums"])}


def _latency(buckets: t.Optional[t.Mapping[str, float]], sums: t.Mapping[str, float]) -> t.Optional[dict[str, t.Any]]:
    found: dict[str, t.Any] = {word: quantile(part, [buckets])[0] for word, part in QUANTILES} if buckets else {}
    if not any(value is not None for value in found.values()):
        return None
    total, count = (sums.get(NAMES["latency_metric"] + end) for end in ("_sum", "_count"))
    return dict(found, mean=round(total / count, 6) if total is not None and count else None)
