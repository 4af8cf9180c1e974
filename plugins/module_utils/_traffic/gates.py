# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge whether a share of the traffic may stay: a sample against its gates. Too few requests are unknown, never good. Pure."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import account

Sample = t.Dict[str, t.Any]
LIMITS = ("error_rate", "unanswered", "rejected", "p95", "recall_p95")
UNITS = {"error_rate": "%", "unanswered": "%", "rejected": "%", "p95": "ms", "recall_p95": "ms"}
NAMES = {"error_rate": "errors", "unanswered": "unanswered", "rejected": "rejected (4xx)", "p95": "p95", "recall_p95": "recall p95"}
# Limits of gates that name others and not these: nobody forgets them by naming another.
ALWAYS = {"unanswered": 0.05, "rejected": 0.5}
POINTS = account.POINTS
ROOM = {"unanswered": 0.01, "rejected": 0.1}
# Where the balancer does not count it, a missing figure holds nothing up.
OPTIONAL = ("unanswered", "rejected")

NOTHING: Sample = {
    "seconds": 0.0, "requests": None, "errors": None, "spare": 0, "overflow": 0, "p95": None, "recall_p95": None,
    "probes": 0, "failed_probes": 0, "void_probes": 0, "void_status": 0, "beyond": [], "unit": "requests",
    "sent": None, "good": None, "rejected": None, "aborted": None, "more": None, "upgraded": 0, "reached": None, "of": 0, "full": "",
    "interim": False, "spare_failed": 0, "missed": 0,
}  # fmt: skip


class Verdict(t.NamedTuple):
    """well, sick or unknown, and why in one sentence."""

    health: str
    text: str


def sample_of(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any], sides: t.Mapping[str, t.Any], probes: t.Sequence[t.Any]) -> Sample:
    """Return what happened between two snapshots (see ``counts``) to the main servers, and how much went elsewhere."""
    deltas = _deltas(begin["pool"], end["pool"])
    sample: Sample = {
        **NOTHING, **_probed(probes), "seconds": round(end["at"] - begin["at"], 3), "beyond": [],
        "requests": _grown(deltas, sides["main"], "requests"), "errors": _grown(deltas, sides["main"], "errors"),
        "spare": _grown(deltas, sides["spare"], "requests") or 0, "overflow": _grown(deltas, sides["overflow"], "requests") or 0,
    }  # fmt: skip
    _add_account(sample, begin["pool"], end["pool"], sides["main"])
    elsewhere = account.of_servers(begin["pool"], end["pool"], sides["spare"])
    sample["spare_failed"] = elsewhere["errors"] if elsewhere else 0
    _add_scraped(sample, begin["scraped"], end["scraped"])
    _add_missed(sample, end["pool"], sides["main"])
    _add_queried(sample, end["queried"])
    if sample["p95"] is None and sample["probes"]:
        sample["p95"] = _quantile_of([one["seconds"] for one in probes if not one.get("void")])
    return sample


def _add_account(sample: Sample, begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any], main: t.Sequence[str]) -> None:
    """Add what was sent and what became of it, and the share that it was; in TCP mode there are sessions, and no answers."""
    sample["full"] = end.get("full") or ""
    known = account.account_of(begin, end, main)
    waiting = [account.waiting(state, main) for state in (begin, end)]
    if known is None:
        idle = int(end.get("idle") or 0)
        sample["more"] = None if None in waiting else t.cast(int, waiting[1]) - t.cast(int, waiting[0]) - idle
        return
    sample["reached"], sample["of"] = account.reached(begin, end, main)
    sample.update({key: known[key] for key in ("sent", "more", "aborted", "upgraded", "interim")})
    if end.get("mode") == "tcp":
        sample.update(unit="sessions", requests=None, errors=None, failed_sessions=known["errors"])
    else:
        sample.update(requests=known["sent"], errors=known["errors"], good=known["good"], rejected=known["rejected"])


def _add_missed(sample: Sample, end: t.Mapping[str, t.Any], main: t.Sequence[str]) -> None:
    """Add the attempts that the balancer's log calls failed: no server counts what it did not answer."""
    parts = [end.get("missed"), *(one["missed"] for one in end["servers"] if one["name"] in main)]
    sample["missed"] = sum(part for part in parts if part)
    if sample["missed"] and (sample["errors"] is not None or not sample["requests"]):
        sample.update({key: (sample[key] or 0) + sample["missed"] for key in ("requests", "errors")})


def _probed(probes: t.Sequence[t.Any]) -> dict[str, int]:
    """Return the figures of the synthetic requests; a void one says nothing about the servers."""
    void = [one for one in probes if one.get("void")]
    failed = sum(not one["ok"] for one in probes if not one.get("void"))
    status = void[0]["status"] if void else 0
    return {"probes": len(probes) - len(void), "failed_probes": failed, "void_probes": len(void), "void_status": status}


def _grown(deltas: t.Mapping[str, t.Any], names: t.Sequence[str], key: str) -> t.Optional[int]:
    return _sum([deltas[name] for name in names if name in deltas], key)


def _deltas(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return by server what its counters grew by; a counter that fell was reset and counts from zero."""
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
    """Add what the servers' own counters grew by; a server counts only if it answered both times."""
    parts = [grown(begin[name], now) for name, now in (end or {}).items() if name in (begin or {})]
    if not parts:
        return
    requests, errors = _of_all(parts, "requests"), _of_all(parts, "errors")
    if sample["requests"] is None and requests is not None:
        # Some servers count a request twice; the share of errors is still right.
        sample["requests"], sample["errors"] = int(requests), None if errors is None else int(errors)
        sample["rejected"] = _of_all(parts, "rejected")
    for name, kind in (("p95", "latency"), ("recall_p95", "recall")):
        sample[name], open_ended = quantile(0.95, [part[kind] for part in parts])
        sample["beyond"] += [name] if open_ended else []


def _of_all(parts: t.Sequence[t.Mapping[str, t.Any]], key: str) -> t.Optional[int]:
    """Return a sum over all servers: of a server that does not count it, it is unknown, and so of all together."""
    return _sum(parts, key) if all(part[key] is not None for part in parts) else None


def grown(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what one server's counters grew by; a server that restarted counts from zero."""
    if _is_of_another(begin, end):
        return dict.fromkeys(("requests", "errors", "rejected", "latency", "recall"))
    restarted = begin["requests"] is not None and end["requests"] is not None and end["requests"] < begin["requests"]
    was: t.Mapping[str, t.Any] = {} if restarted else begin
    numbers = {
        key: None if end.get(key) is None else max(0, end[key] - (was.get(key) or 0)) for key in ("requests", "errors", "rejected")
    }  # fmt: skip
    buckets = {
        key: None if not end[key] else {le: max(0.0, count - (was.get(key) or {}).get(le, 0.0)) for le, count in end[key].items()}
        for key in ("latency", "recall")
    }
    return {**numbers, **buckets}


def _is_of_another(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any]) -> bool:
    """Return whether another process of the same server answered, which was there before: each of its workers counts for itself."""
    first, last = begin.get("since"), end.get("since")
    return None not in (first, last, begin.get("at")) and first != last and last < begin["at"]


def _add_queried(sample: Sample, queried: t.Any) -> None:
    for name in ("p95", "recall_p95", "error_rate", "requests"):
        if queried and queried.get(name) is not None and sample.get(name) is None:
            sample[name] = int(queried[name]) if name == "requests" else queried[name]


def quantile(part: float, histograms: t.Sequence[t.Optional[t.Mapping[str, float]]]) -> tuple[t.Optional[float], bool]:
    """Return the *part* quantile in seconds of histograms together, as Prometheus computes it; None where nothing was counted.

    And whether it lies beyond the largest bucket, so that only a lower bound is known.
    """
    together: dict[float, float] = {}
    for histogram in histograms:
        for le, count in (histogram or {}).items():
            together[float(le)] = together.get(float(le), 0.0) + count
    grown_by = sorted(together.items())
    whole = grown_by[-1][1] if grown_by and math.isinf(grown_by[-1][0]) else 0.0
    if whole <= 0:
        return None, False
    low, below = 0.0, 0.0
    for high, count in grown_by:
        if count >= part * whole:
            exact = low if math.isinf(high) else low + (high - low) * (part * whole - below) / max(count - below, 1e-9)
            return round(exact, 6), math.isinf(high)
        low, below = high, count
    return None, False


def _quantile_of(seconds: t.Sequence[float]) -> float:
    ranked = sorted(seconds)
    return ranked[max(0, math.ceil(0.95 * len(ranked)) - 1)]


def limits_of(gates: t.Mapping[str, t.Any], baseline: t.Mapping[str, t.Any]) -> dict[str, float]:
    """Return the limit of each gate: the absolute one, or lower what the baseline, times its factor and with some room, allows.

    Raises ValueError or TypeError for anything but a number; ``unfit_gates`` finds that before.
    """
    limits = {}
    for name in LIMITS:
        given = gates.get(name, ALWAYS.get(name))
        if given is None:
            continue
        known = None if baseline.get(name) is None else float(baseline[name])
        factor, spare = float(gates.get("factor") or 1.5), float((gates.get("room") or {}).get(name) or ROOM.get(name, 0.0))
        room = known * factor + spare if known is not None else math.inf
        # What usual clients are refused is no fault: only the usual share of it says what is too much.
        limits[name] = room if name == "rejected" and known is not None else min(float(given), room)
    return limits


def unfit_gates(watch: t.Mapping[str, t.Any]) -> str:
    """Return what is wrong with gates, baseline, minimum and times, "" for nothing: a limit with a wrong name would guard nothing."""
    return _unknown_name(watch) or _bad_number(watch) or _bad_times(watch)


def _unknown_name(watch: t.Mapping[str, t.Any]) -> str:
    gates, baseline = watch.get("gates") or {}, watch.get("baseline") or {}
    for variable, given, names in (("gates", gates, (*LIMITS, "factor", "room")), ("baseline", baseline, LIMITS)):
        strange = sorted(set(map(str, given)) - set(names))
        if strange:
            return "traffic_scaling_%s has no %s; it has %s" % (variable, one_line(", ".join(strange), 60), ", ".join(names))
    room = gates.get("room") or {}
    if not isinstance(room, dict) or set(map(str, room)) - set(LIMITS):
        return "traffic_scaling_gates.room is %s; it has %s" % (one_line(room, 60), ", ".join(LIMITS))
    return ""


def _bad_number(watch: t.Mapping[str, t.Any]) -> str:
    gates = watch.get("gates") or {}
    parts: tuple[tuple[str, t.Mapping[str, t.Any]], ...] = (
        ("gates.", {name: gates.get(name) for name in (*LIMITS, "factor")}),
        ("gates.room.", gates.get("room") or {}),
        ("baseline.", watch.get("baseline") or {}),
        ("", {name: watch.get(name) for name in ("minimum", "sample_window", "hold_timeout")}),
    )
    for prefix, numbers in parts:
        for name, value in numbers.items():
            if value is not None and not _is_number(value):
                return "traffic_scaling_%s%s is %s, not a number of 0 or more" % (prefix, name, one_line(value, 40))
    return ""


def _bad_times(watch: t.Mapping[str, t.Any]) -> str:
    window, timeout = watch.get("sample_window"), watch.get("hold_timeout")
    if window is None or timeout is None or float(window) <= float(timeout):
        return ""
    return "traffic_scaling_sample_window is longer than traffic_scaling_hold_timeout: no step could ever pass"


def _is_number(value: t.Any) -> bool:
    try:
        return not isinstance(value, bool) and 0.0 <= float(value) < math.inf
    except (TypeError, ValueError):
        return False


def rates_of(sample: Sample, limits: t.Optional[t.Mapping[str, float]] = None) -> dict[str, t.Optional[float]]:
    """Return the measured figure of each gate, None for what was not measured. *limits* say how long a request may take."""
    asked, failed_probes = sample["probes"], sample["failed_probes"]
    if sample["errors"] is not None or not sample["requests"]:
        counted = (sample["requests"] or 0) + asked
        rate = min(1.0, ((sample["errors"] or 0) + failed_probes) / counted) if counted else sample.get("error_rate")
    else:
        # The source of the requests does not count errors, so the rate comes from another source or is unknown.
        rate = sample.get("error_rate")
        rate = max(rate, failed_probes / asked) if rate is not None and asked else rate
    sent = sent_of(sample)
    # An answer to a request from before the window makes one more of them than there were requests.
    rejected = None if sample["rejected"] is None or not sent else min(1.0, sample["rejected"] / sent)
    unanswered = None if sample["more"] is None or not sent else min(1.0, unanswered_of(sample, limits or {}) / sent)
    return {"error_rate": rate, "unanswered": unanswered, "rejected": rejected, "p95": sample["p95"], "recall_p95": sample["recall_p95"]}


def sent_of(sample: Sample) -> int:
    """Return how many requests, or sessions, were sent to the main servers; where only answers are counted, those and the open ones."""
    if sample["sent"] is not None:
        return int(sample["sent"])
    return int((sample["requests"] or 0) + max(0, sample["more"] or 0))


def unanswered_of(sample: Sample, limits: t.Mapping[str, float]) -> int:
    """Return how many requests clients gave up, or wait for longer than such a request may take."""
    # Without a limit or a figure of the latency nobody knows how long a request may take: then every open one counts, as a doubt.
    patience = max(limits.get("p95", 0.0), 1.5 * (sample["p95"] or 0.0))
    more = max(0, sample["more"] or 0) - sample["upgraded"]
    return int(round((sample["aborted"] or 0) + account.overdue(more, sent_of(sample), sample["seconds"], patience)))


def judge_sample(sample: Sample, limits: t.Mapping[str, float], minimum: int, share: t.Optional[t.Mapping[str, t.Any]] = None) -> Verdict:
    """Judge one sample. A gate without a figure is unknown; with fewer than *minimum* requests everything is unknown.

    *share*: the share meant (``meant``, in percent), the lowest that the weights of the servers now up explain (``least``), and ``why``
    it may be another. Too many clients are harm; too few prove nothing about the share.
    """
    counted = max(sample["requests"] or 0, sent_of(sample)) + sample["probes"]
    if counted < minimum:
        few = "%d of at least %d %s so far%s" % (counted, minimum, sample["unit"], _hint(sample, counted))
        elsewhere = _missed(sample, share, over=False) if sample["of"] >= minimum else []
        return Verdict("unknown", "; ".join([few, *elsewhere]))
    rates = rates_of(sample, limits)
    harm, doubts = _findings(sample, rates, limits, share)
    if harm:
        return Verdict("sick", "; ".join(harm))
    if doubts:
        return Verdict("unknown", "; ".join(doubts))
    blind = _blind(sample, rates, limits)
    return Verdict("unknown", blind) if blind else Verdict("well", "within all limits")


def _findings(
    sample: Sample, rates: t.Mapping[str, t.Any], limits: t.Mapping[str, float], share: t.Optional[t.Mapping[str, t.Any]]
) -> tuple[list[str], list[str]]:
    """Return what is harm, and what is a doubt."""
    over = [name for name, limit in limits.items() if rates[name] is not None and t.cast(float, rates[name]) > limit]
    harm = [_over(one, rates, limits) for one in over if not _is_doubt(one, sample, limits)] + _missed(sample, share, over=True)
    doubts = [_over(one, rates, limits) for one in over] + _doubts(sample, limits) + _missed(sample, share, over=False)
    return harm + _failed_sessions(sample, limits) + _missed_alone(sample, limits), doubts


def _blind(sample: Sample, rates: t.Mapping[str, t.Any], limits: t.Mapping[str, float]) -> str:
    """Return which limits have no figure, "" for none."""
    # A latency beyond the largest bucket may be over the limit, too.
    blind = [name for name in limits if (rates[name] is None and name not in OPTIONAL) or name in sample.get("beyond", ())]
    text = "no figure for %s: set its source in traffic_scaling_metrics, or its limit in traffic_scaling_gates to null"
    sessions = "; the balancer sees sessions (mode tcp), not answers" if sample["unit"] == "sessions" else ""
    return text % ", ".join(NAMES[one] for one in blind) + sessions if blind else ""


def _hint(sample: Sample, counted: int) -> str:
    if sample.get("void_probes"):
        given = (sample["void_probes"], sample["void_status"])
        return "; %d probes got status %d, which proves nothing: check traffic_scaling_probes" % given
    return "" if counted else "; without clients, set traffic_scaling_probes to send synthetic requests"


def _over(name: str, rates: t.Mapping[str, t.Any], limits: t.Mapping[str, float]) -> str:
    return "%s %s, at most %s" % (NAMES[name], _figure(name, rates[name]), _figure(name, limits[name]))


def _is_doubt(name: str, sample: Sample, limits: t.Mapping[str, float]) -> bool:
    """Return whether a figure over its limit is no proof of harm: sessions are meant to stay open, and slow answers may be usual."""
    if name == "rejected":
        # Without a baseline nobody knows how many are usually rejected.
        return limits[name] == ALWAYS["rejected"]
    unclear = sample["unit"] == "sessions" or sample["interim"] or (limits.get("p95") is None and sample["p95"] is None)
    return name == "unanswered" and unclear and (sample["aborted"] or 0) <= limits[name] * sent_of(sample)


def _doubts(sample: Sample, limits: t.Mapping[str, float]) -> list[str]:
    """Return what no limit names and what is no proof all the same."""
    found = [sample["full"]] if sample["full"] else []
    if sample["good"] == 0 and sample["requests"] and "rejected" in limits and not sample["upgraded"]:
        found.append("none of %d requests was answered with 2xx" % sample["requests"])
    if sample["sent"] is None and sample["more"] and "unanswered" in limits:
        # Only open connections are counted: those that clients gave up are gone.
        late = unanswered_of(sample, limits)
        found += ["%d more requests are open than such fast answers explain" % late] if late else []
    return found


def _failed_sessions(sample: Sample, limits: t.Mapping[str, float]) -> list[str]:
    failed, limit = sample.get("failed_sessions") or 0, limits.get("error_rate")
    sent = sent_of(sample)
    if limit is None or not sent or failed / sent <= limit:
        return []
    return ["%d of %d sessions failed, at most %s" % (failed, sent, _figure("error_rate", limit))]


def _missed_alone(sample: Sample, limits: t.Mapping[str, float]) -> list[str]:
    """Return what the balancer's log calls failed where the errors come from another source."""
    missed, limit = sample["missed"], limits.get("error_rate")
    if not missed or limit is None or sample["errors"] is not None:
        return []
    every = sent_of(sample) + missed
    return ["the balancer's log has %d failed requests beside %d" % (missed, every - missed)] if missed / every > limit else []


def _missed(sample: Sample, share: t.Optional[t.Mapping[str, t.Any]], *, over: bool) -> list[str]:
    """Return that the share reached is larger (*over*), or smaller, than the one meant."""
    if not share or sample["reached"] is None or not sample["of"]:
        return []
    meant, hit = float(share["meant"]), float(sample["reached"])
    room = account.tolerance(meant, sample["of"])
    missed = hit > meant + room if over else hit < min(meant, float(share["least"])) - room
    if not missed:
        return []
    return ["the servers got %.0f %% of %d %s, not %g %%%s" % (hit, sample["of"], sample["unit"], meant, share["why"])]


def _figure(name: str, value: t.Any) -> str:
    scale = 100.0 if UNITS[name] == "%" else 1000.0
    return "%.4g %s" % (scale * value, UNITS[name])


def line_of(share: float, sample: Sample, verdict: Verdict, limits: t.Optional[t.Mapping[str, float]] = None) -> str:
    """Return the one line shown for a step: share, requests, errors, what is unanswered, p95, and what went elsewhere."""
    rates = rates_of(sample, limits)
    parts = [*_told_sent(sample, rates), *_told_open(sample, limits or {})]
    parts += ["%d rejected (4xx)" % sample["rejected"]] if sample["rejected"] else []
    parts += ["%s %s" % (NAMES[name], _figure(name, rates[name])) for name in ("p95", "recall_p95") if rates[name] is not None]
    parts += ["%d of the failed by the balancer's log" % sample["missed"]] if sample["missed"] else []
    failed = " (%d of them failed)" % sample["spare_failed"] if sample["spare_failed"] else ""
    parts += ["%d to spare servers%s" % (sample["spare"], failed)] if sample["spare"] else []
    parts += ["%d answered 503" % sample["overflow"]] if sample["overflow"] else []
    parts += ["share %.0f %%" % sample["reached"]] if sample["reached"] is not None and abs(sample["reached"] - share) >= POINTS else []
    return "%3g %%: %s: %s (%.0f s)" % (share, ", ".join(parts), verdict.text, sample["seconds"])


def _told_sent(sample: Sample, rates: t.Mapping[str, t.Any]) -> list[str]:
    """Return the parts about what was sent, and what of it failed."""
    parts = ["%d %s" % (max(sample["requests"] or 0, sample["sent"] or 0), sample["unit"])]
    parts += ["%d probes" % sample["probes"]] if sample["probes"] else []
    failed = (sample["errors"] or 0) + sample["failed_probes"]
    share_failed = _figure("error_rate", rates["error_rate"]) if rates["error_rate"] is not None else ""
    if sample["unit"] == "sessions":
        parts.append("%d failed to connect" % (sample.get("failed_sessions") or 0))
    elif sample["errors"] is None and sample["requests"]:
        parts.append("%s failed" % (share_failed or "unknown how many"))
    else:
        parts.append("%d failed%s" % (failed, " (%s)" % share_failed if share_failed else ""))
    return parts


def _told_open(sample: Sample, limits: t.Mapping[str, float]) -> list[str]:
    """Return the parts about requests that were not answered: those given up, and those that are open for too long."""
    given_up = ["%d given up by clients" % sample["aborted"]] if sample["aborted"] else []
    late = unanswered_of(sample, limits) - (sample["aborted"] or 0)
    return given_up + (["%d more without an answer yet" % late] if late > 0 else [])
