# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a share of the traffic may stay: a sample is measured against gates. Too few samples are unknown, never good. Pure."""

from __future__ import annotations

import math
import typing as t

Sample = t.Dict[str, t.Any]
LIMITS = ("error_rate", "p95", "recall_p95")
UNITS = {"error_rate": "%", "p95": "ms", "recall_p95": "ms"}
NAMES = {"error_rate": "errors", "p95": "p95", "recall_p95": "recall p95"}

NOTHING: Sample = {
    "seconds": 0.0, "requests": None, "errors": None, "spare": 0, "overflow": 0, "p95": None, "recall_p95": None,
    "probes": 0, "failed_probes": 0,
}  # fmt: skip


class Verdict(t.NamedTuple):
    """well, sick or unknown, and why in one sentence."""

    health: str
    text: str


def sample_of(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any], sides: t.Mapping[str, t.Any], probes: t.Sequence[t.Any]) -> Sample:
    """Return what happened between two snapshots (see ``_traffic_counts``) to the main servers, and how much went elsewhere."""
    deltas = _deltas(begin["pool"], end["pool"])
    mine = [deltas[name] for name in sides["main"] if name in deltas]
    sample: Sample = {
        "seconds": round(end["at"] - begin["at"], 3), "requests": _sum(mine, "requests"), "errors": _sum(mine, "errors"),
        "spare": _sum([deltas[name] for name in sides["spare"] if name in deltas], "requests") or 0,
        "overflow": _sum([deltas[name] for name in sides["overflow"] if name in deltas], "requests") or 0,
        "p95": None, "recall_p95": None, "probes": len(probes), "failed_probes": sum(not one["ok"] for one in probes),
    }  # fmt: skip
    _add_scraped(sample, begin["scraped"], end["scraped"])
    _add_queried(sample, end["queried"])
    if sample["p95"] is None and probes:
        sample["p95"] = _quantile_of([one["seconds"] for one in probes])
    return sample


def _deltas(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return by server what its counters grew by; a counter that fell was begun anew and counts from zero."""
    before = {one["name"]: one for one in begin["servers"]}
    found = {}
    for one in end["servers"]:
        was = before.get(one["name"], one)
        more = {key: None if one[key] is None else one[key] - (was[key] or 0) for key in ("requests", "errors")}
        fell = any(value is not None and value < 0 for value in more.values())
        found[one["name"]] = {key: one[key] for key in more} if fell else more
    return found


def _sum(parts: t.Sequence[t.Mapping[str, t.Any]], key: str) -> t.Optional[int]:
    known = [part[key] for part in parts if part[key] is not None]
    return sum(known) if known else None


def _add_scraped(sample: Sample, begin: t.Any, end: t.Any) -> None:
    """Add what the servers' own counters grew by, of those that told at both moments; one that came meanwhile tells nothing yet."""
    parts = [grown(begin[name], now) for name, now in (end or {}).items() if name in (begin or {})]
    if not parts:
        return
    requests, errors = _sum(parts, "requests"), _sum(parts, "errors")
    if sample["requests"] is None and requests is not None:
        # Some servers count a request twice: the share of errors is right all the same.
        sample["requests"], sample["errors"] = int(requests), int(errors or 0)
    sample["p95"] = quantile(0.95, [part["latency"] for part in parts])
    sample["recall_p95"] = quantile(0.95, [part["recall"] for part in parts])


def grown(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what one server's counters grew by; a server that was started anew counts from zero."""
    anew = begin["requests"] is not None and end["requests"] is not None and end["requests"] < begin["requests"]
    was: t.Mapping[str, t.Any] = {} if anew else begin
    numbers = {key: None if end[key] is None else max(0, end[key] - (was.get(key) or 0)) for key in ("requests", "errors")}
    buckets = {
        key: None if not end[key] else {le: max(0.0, count - (was.get(key) or {}).get(le, 0.0)) for le, count in end[key].items()}
        for key in ("latency", "recall")
    }
    return {**numbers, **buckets}


def _add_queried(sample: Sample, queried: t.Any) -> None:
    for name in ("p95", "recall_p95", "error_rate", "requests"):
        if queried and queried.get(name) is not None and sample.get(name) is None:
            sample[name] = queried[name]


def quantile(part: float, histograms: t.Sequence[t.Optional[t.Mapping[str, float]]]) -> t.Optional[float]:
    """Return the *part* quantile in seconds of histograms together, as Prometheus reckons it; None where nothing was counted."""
    together: dict[float, float] = {}
    for histogram in histograms:
        for le, count in (histogram or {}).items():
            together[float(le)] = together.get(float(le), 0.0) + count
    grown_by = sorted(together.items())
    whole = grown_by[-1][1] if grown_by and math.isinf(grown_by[-1][0]) else 0.0
    if whole <= 0:
        return None
    low, below = 0.0, 0.0
    for high, count in grown_by:
        if count >= part * whole:
            return round(low if math.isinf(high) else low + (high - low) * (part * whole - below) / max(count - below, 1e-9), 6)
        low, below = high, count
    return None


def _quantile_of(seconds: t.Sequence[float]) -> float:
    ranked = sorted(seconds)
    return ranked[max(0, math.ceil(0.95 * len(ranked)) - 1)]


def limits_of(gates: t.Mapping[str, t.Any], baseline: t.Mapping[str, t.Any]) -> dict[str, float]:
    """Return the limit of each gate: the absolute one, or lower what the baseline, times its factor and with some room, allows."""
    limits = {}
    for name in LIMITS:
        if gates.get(name) is None:
            continue
        known = baseline.get(name)
        factor, spare = float(gates.get("factor") or 1.5), float((gates.get("room") or {}).get(name) or 0.0)
        room = known * factor + spare if known is not None else math.inf
        limits[name] = min(float(gates[name]), room)
    return limits


def rates_of(sample: Sample) -> dict[str, t.Optional[float]]:
    """Return the measured figure of each gate, None for what nothing tells."""
    counted = (sample["requests"] or 0) + sample["probes"]
    failed = (sample["errors"] or 0) + sample["failed_probes"]
    rate = failed / counted if counted and (sample["requests"] is not None or sample["probes"]) else sample.get("error_rate")
    return {"error_rate": rate, "p95": sample["p95"], "recall_p95": sample["recall_p95"]}


def judge_sample(sample: Sample, limits: t.Mapping[str, float], minimum: int) -> Verdict:
    """Judge one sample. A gate whose figure nothing tells is unknown; of fewer than *minimum* requests all is unknown."""
    counted = (sample["requests"] or 0) + sample["probes"]
    if counted < minimum:
        help_yourself = "" if counted else "; where no client asks, traffic_scaling_probes sends some"
        return Verdict("unknown", "%d of at least %d requests so far%s" % (counted, minimum, help_yourself))
    rates = rates_of(sample)
    over = [name for name, limit in limits.items() if rates[name] is not None and t.cast(float, rates[name]) > limit]
    if over:
        return Verdict(
            "sick", "; ".join("%s %s, at most %s" % (NAMES[one], _figure(one, rates[one]), _figure(one, limits[one])) for one in over)
        )
    blind = [name for name in limits if rates[name] is None]
    if blind:
        return Verdict("unknown", "nothing tells: %s" % ", ".join(NAMES[one] for one in blind))
    return Verdict("well", "within all limits")


def _figure(name: str, value: t.Any) -> str:
    scale = 100.0 if UNITS[name] == "%" else 1000.0
    return "%.4g %s" % (scale * value, UNITS[name])


def line_of(share: float, sample: Sample, verdict: Verdict) -> str:
    """Return the one line that a person reads of a step: weight, samples, errors, p95, and what went elsewhere."""
    rates = rates_of(sample)
    parts = ["%d requests" % (sample["requests"] or 0)] + (["%d probes" % sample["probes"]] if sample["probes"] else [])
    failed = (sample["errors"] or 0) + sample["failed_probes"]
    parts.append("%d failed%s" % (failed, " (%s)" % _figure("error_rate", rates["error_rate"]) if rates["error_rate"] is not None else ""))
    parts += ["%s %s" % (NAMES[name], _figure(name, rates[name])) for name in ("p95", "recall_p95") if rates[name] is not None]
    parts += ["%d %s" % (sample[key], text) for key, text in (("spare", "to spare servers"), ("overflow", "answered 503")) if sample[key]]
    return "%3g %%: %s: %s (%.0f s)" % (share, ", ".join(parts), verdict.text, sample["seconds"])
