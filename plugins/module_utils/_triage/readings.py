# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions on numbers, log lines and changes: whether they hold, with the figures and where they are from.

A counter that is known only since its process started says little of now: only that nothing was counted is proof.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.freeze import parse_time
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import (
    Data,
    Evidence,
    Log,
    Metrics,
    items,
    mapping,
    number,
    text,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.rules import CLASS_NAMES

Options = t.Mapping[str, t.Any]
# Numbers of an endpoint that are over its window, and those that are of the moment.
LATENCIES = {"latency_p50": "p50", "latency_p95": "p95", "latency_p99": "p99", "latency_mean": "mean"}
CALLED = {
    "error_rate": "the error rate", "memory_bytes": "the memory in use", "up": "the metric up",
    "metrics_readable": "the metrics",
    **{name: "the latency (%s)" % short for name, short in LATENCIES.items()},
    "disk_used_share": "the share of a disk in use", "inodes_used_share": "the share of inodes in use",
    "memory_used_share": "the share of memory in use", "load_per_core": "the load per core",
}  # fmt: skip
STATUS_SHARE = re.compile(r"status_(\d{3})_share\Z")
SINCE_START = "it is known only since the process started, which says little of now"
RESOURCE_SHARES = ("disk_used_share", "inodes_used_share", "memory_used_share", "used_share")
# The most log lines of one component, and the most characters of a line, that are searched.
MOST_LINES, MOST_CHARACTERS, MOST_NAMED = 1000, 2000, 3


class Missing(t.NamedTuple):
    """What is not known; for what is read somewhere, where that is and why it was not."""

    what: str
    where: str = ""
    why: str = ""


class Answer(t.NamedTuple):
    """Whether something holds (None: not known); what was seen, what could not be read, and what nothing looks at."""

    holds: t.Optional[bool]
    seen: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    unlooked: tuple[str, ...] = ()


class Reading(t.NamedTuple):
    """One value with where it is from; without a value, `why` there is none."""

    where: str
    value: t.Optional[float]
    shown: str = ""
    why: str = ""


def not_known(missing: t.Iterable[Missing]) -> list[str]:
    """Return a sentence for each reason why something is not known, with all that it keeps from being known."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        key = (one.where, one.why) if one.why else (one.what, "")
        by_reason.setdefault(key, []).append(one.what)
    return ["not known: %s%s" % (_listed(whats), _because(*key)) for key, whats in by_reason.items()]


def _listed(whats: t.Sequence[str]) -> str:
    names = list(dict.fromkeys(whats))
    return "%s and %s" % (", ".join(names[:-1]), names[-1]) if len(names) > 1 else names[0]


def _because(where: str, why: str) -> str:
    return "%s: %s" % (" of %s" % where if where else "", why) if why else ""


def between(least: float, most: float, limit: float) -> t.Optional[bool]:
    """Return whether a value from *least* to *most* is *limit* or more; None where it may be or not."""
    if least >= limit:
        return True
    return False if most < limit else None


def metric(options: Options, evidence: Evidence) -> Answer:
    """Judge a number of the metrics: it is enough that one endpoint has it."""
    name = options["name"]
    what, readings = called(name), [_reading(one, options) for one in evidence.metrics]
    if not readings:
        return Answer(None, (), (Missing(what, "", "no metrics were read"),))
    return _judged(what, [(one, _holds(one.value, options)) for one in readings], _limit_text(options))


def baseline(options: Options, evidence: Evidence) -> Answer:
    """Judge how many times a number is what it was while the service was well. What lies between two ordinary days is not unusual."""
    metric_, found = options["metric"], []
    for name, metrics in evidence.baseline.items():
        one = mapping(mapping(metrics).get(metric_))
        now, median = number(one.get("now")), number(one.get("median"))
        if now is not None and median:
            is_more = now > median * options["times"] and one.get("unusual", "more") == "more"
            said = text(one.get("text")) or "%.4g, and %.4g while it was well" % (now, median)
            found.append((Reading(text(name), now, said), is_more))
    what = "the %s against the baseline" % re.sub("_(ms|bytes)$", "", metric_).replace("_", " ")
    if not found:
        return Answer(None, (), (Missing(what, "", "there is no baseline"),))
    return _judged(what, found, "more than %g times" % options["times"])


def called(name: str) -> str:
    """Return what a metric is called in a sentence."""
    status = STATUS_SHARE.match(name)
    return "the share of answers with status %s" % status[1] if status else CALLED.get(name, name)


def host(options: Options, evidence: Evidence) -> Answer:
    """Judge a resource of the machines: it is enough that one of them has it."""
    resource = options["resource"]
    found = [(reading, None if reading.value is None else reading.value > options["above"]) for reading in _resources(resource, evidence)]
    if not found:
        return Answer(None, (), (Missing(CALLED[resource], "", "no machine reported it"),))
    return _judged(CALLED[resource], found, "above %s" % _shown(resource, options["above"]))


def _judged(what: str, judged: t.Sequence[tuple[Reading, t.Optional[bool]]], limit: str) -> Answer:
    yes = [one for one, holds in judged if holds]
    if yes:
        return Answer(True, first(["%s of %s: %s, %s" % (what, one.where, one.shown, limit) for one in yes]))
    seen = first(["%s of %s: %s" % (what, one.where, one.shown) for one, holds in judged if holds is False])
    missing = _by_why(what, [(one.where, one.why) for one, holds in judged if holds is None])
    return Answer(None if missing else False, seen, missing)


def first(texts: t.Sequence[str], total: int = 0) -> tuple[str, ...]:
    """Return the first of some texts, and how many more there are of *total* (or of them)."""
    more = max(total, len(texts)) - MOST_NAMED
    return (*texts[:MOST_NAMED], *(["and %d more" % more] if more > 0 else []))


def _by_why(what: str, unread: t.Iterable[tuple[str, str]]) -> tuple[Missing, ...]:
    """Return what is not known once for each reason, with the places for which that is so."""
    places: dict[str, list[str]] = {}
    for where, why in unread:
        places.setdefault(why, []).append(where)
    return tuple(Missing(what, ", ".join(first(some)), why) for why, some in places.items())


def _reading(one: Metrics, options: Options) -> Reading:
    name, where = options["name"], "%s on %s" % (one.endpoint, one.host)
    error = text(one.data.get("error"))
    if name == "metrics_readable":
        return Reading(where, 0.0 if error else 1.0, "not readable: %s" % error if error else "readable")
    if error:
        return Reading(where, None, why="its metrics could not be read: %s" % error)
    value, over, shown, why = _value(name, one.data, options)
    return Reading(where, value, (shown or _shown(name, value)) + over, why)


def _value(name: str, data: Data, options: Options) -> tuple[t.Optional[float], str, str, str]:
    """Return (value, what it is over, how it is written, why there is none)."""
    if name == "up":
        up = data.get("up")
        return (float(up), "", "up" if up else "not up", "") if isinstance(up, bool) else (None, "", "", "its metrics do not say")
    if name == "memory_bytes":
        value = number(data.get("memory_bytes"))
        return value, "", "", "" if value is not None else "its metrics do not say"
    if name == "error_rate" or name in LATENCIES or STATUS_SHARE.match(name):
        return _over_window(name, data, options)
    return _named(name, data)


def _over_window(name: str, data: Data, options: Options) -> tuple[t.Optional[float], str, str, str]:
    """Return a rate or a latency of the window between two samples."""
    window, requests, value = number(data.get("over_seconds")), number(data.get("requests")), _rate(name, data)
    is_share = name not in LATENCIES
    if name == "error_rate" and _none_since_start(data):
        return 0.0, " (none of %s since its start)" % counted(_none_since_start(data), "requests"), "", ""
    if value is None:
        return None, "", "", "there was no request" if requests == 0 else "its metrics do not say"
    if is_share and value > 1:
        return None, "", "", "its metrics say %s, which is no share" % one_line(value, 20)
    if not window:
        return None, "", "", "%s: %s" % (_shown(name, value), SINCE_START)
    few = _too_few(requests, options["requests_at_least"], window)
    return (None, "", "", few) if few else (value, " over %g s" % window, "", "")


def _too_few(requests: t.Optional[float], needed: int, window: float) -> str:
    """Return why there were too few requests to tell, "" where there were enough."""
    if not needed or (requests is not None and requests >= needed):
        return ""
    seen = "an unknown number of requests" if requests is None else counted(int(requests), "requests")
    return "%s in %g s are too few to tell (%d are needed)" % (seen, window, needed)


def _rate(name: str, data: Data) -> t.Optional[float]:
    status = STATUS_SHARE.match(name)
    if status:
        return _status_share(status[1], mapping(data.get("statuses")))
    if name in LATENCIES:
        return number(mapping(data.get("latency_seconds")).get(LATENCIES[name]))
    return number(data.get("error_rate"))


def _none_since_start(data: Data) -> int:
    """Return of how many requests since its start none failed, 0 where one did or it is not known. A rate of zero may be a rounded one."""
    since = mapping(data.get("since_start")) or ({} if data.get("over_seconds") else data)
    requests, errors = number(since.get("requests")), number(since.get("errors"))
    return int(requests) if requests and errors == 0 else 0


def _status_share(status: str, statuses: Data) -> t.Optional[float]:
    total = sum(number(one) or 0.0 for one in statuses.values())
    return (number(statuses.get(status)) or 0.0) / total if total else None


def _named(name: str, data: Data) -> tuple[t.Optional[float], str, str, str]:
    """Return a metric by its own name: the increase per second of a counter (``_total``), the value of any other."""
    total, rate = number(mapping(data.get("sums")).get(name)), number(mapping(data.get("rates")).get(name))
    if not name.endswith("_total"):
        return total, "", "", "" if total is not None else "its metrics have no %s" % name
    if rate is not None:
        return rate, "", "%g per second" % rate, ""
    if total == 0:
        return 0.0, "", "nothing was counted since its start", ""
    return None, "", "", "its metrics have no %s" % name if total is None else "%g: %s" % (total, SINCE_START)


def _holds(value: t.Optional[float], options: Options) -> t.Optional[bool]:
    if value is None:
        return None
    return bool(value > options["above"] if options["above"] is not None else value < options["below"])


def _limit_text(options: Options) -> str:
    name = options["name"]
    word = "above" if options["above"] is not None else "below"
    return "%s %s" % (word, _shown(name, options[word]))


def _shown(name: str, value: t.Optional[float]) -> str:
    if value is None:
        return ""
    if name in ("error_rate", *RESOURCE_SHARES) or STATUS_SHARE.match(name):
        return "%.3g %%" % (value * 100)
    if name in LATENCIES:
        return "%.0f ms" % (value * 1000)
    return "%.0f MiB" % (value / 2**20) if name == "memory_bytes" else "%.4g" % value


def _resources(resource: str, evidence: Evidence) -> list[Reading]:
    found: list[Reading] = []
    for name, checks in evidence.by_host.items():
        facts = {text(check.get("kind")): mapping(check.get("facts")) for check in checks}
        found += RESOURCES[resource](name, evidence.hosts.get(name) or {}, facts)
    return found


def _disks(key: str) -> t.Callable[[str, Data, t.Mapping[str, Data]], list[Reading]]:
    def read(name: str, result: Data, facts: t.Mapping[str, Data]) -> list[Reading]:
        disks = items(result.get("disks")) or items(facts.get("disk", {}).get("paths"))
        read_ = [(text(one.get("path")), number(one.get(key))) for one in map(mapping, disks)]
        return [_resource("%s on %s" % (path, name), value, key) for path, value in read_] or [_resource(name, None, key)]

    return read


def _memory(name: str, result: Data, facts: t.Mapping[str, Data]) -> list[Reading]:
    memory = mapping(result.get("memory")) or facts.get("memory", {})
    total, available = number(memory.get("total_bytes")), number(memory.get("available_bytes"))
    used = 1 - available / total if total and available is not None and available <= total else None
    return [_resource(name, used, "memory_used_share")]


def _load(name: str, result: Data, facts: t.Mapping[str, Data]) -> list[Reading]:
    load = mapping(result.get("load")) or facts.get("cpu", {})
    last, cores = number(next(iter(items(load.get("load"))), None)), number(load.get("cores"))
    return [_resource(name, last / cores if last is not None and cores else None, "load_per_core")]


def _resource(where: str, value: t.Optional[float], resource: str) -> Reading:
    return Reading(where, value, _shown(resource, value), "" if value is not None else "it was not read")


RESOURCES: t.Mapping[str, t.Callable[[str, Data, t.Mapping[str, Data]], t.List[Reading]]] = {
    "disk_used_share": _disks("used_share"), "inodes_used_share": _disks("inodes_used_share"), "memory_used_share": _memory,
    "load_per_core": _load,
}  # fmt: skip


def log(options: Options, evidence: Evidence) -> Answer:
    """Count the last log lines of components of a class that have one of the words, in any case."""
    classes = options["class"]
    logs = [one for one in evidence.logs if "any" in classes or one.kind in classes]
    if not logs:
        return Answer(None, unlooked=("the logs of %s" % " or ".join(CLASS_NAMES.get(one, "any component") for one in classes),))
    judged = [_log(one, [word.lower() for word in options["words"]], options["at_least"]) for one in logs]
    yes, no = (first([said for holds, said, _where in judged if holds is wanted]) for wanted in (True, False))
    missing = _by_why("the log", [(where, why) for holds, why, where in judged if holds is None])
    return Answer(True, yes) if yes else Answer(None if missing else False, no, missing)


def _log(one: Log, words: t.Sequence[str], least: int) -> tuple[t.Optional[bool], str, str]:
    """Return (whether it has enough such lines, what it has or why that is not known, whose log it is)."""
    where = "%s on %s" % (one.component, one.host)
    lines = [line[:MOST_CHARACTERS] for line in items(one.data.get("lines")) if isinstance(line, str)][-MOST_LINES:]
    hits = [line for line in lines if any(word in line.lower() for word in words)]
    if hits and len(hits) >= least:
        return True, "the log of %s has %s such as: %s" % (where, counted(len(hits), "lines"), one_line(redact(hits[-1]), 120)), where
    if one.data.get("error") or not lines:
        return None, text(one.data.get("error")) or "no line was read", where
    return False, "the log of %s has %d of the last %s with such words" % (where, len(hits), counted(len(lines), "lines")), where


# kind of a change: the word for it among what could not be seen.
UNSEEN = {"package": "packages", "unit": "units", "reboot": "boot", "configuration": "configuration", "release": "releases"}


def change(options: Options, evidence: Evidence) -> Answer:
    """Judge whether something was changed in the time before the trouble began; before now, where its beginning is not known."""
    end = evidence.at if evidence.onset_at is None else evidence.onset_at
    kinds, within = options["kind"], float(options["within_seconds"])
    alike = [(one, _past(one.get("at"), evidence.at)) for one in evidence.changes if one.get("kind") in kinds]
    # What was changed a little after the first sign may still be its cause: neither clock is exact.
    recent = [one for one, at in alike if at is not None and end - within <= at <= end + 60]
    if recent:
        seen = ["%s of %s on %s at %s" % tuple(text(one.get(key)) or "?" for key in ("kind", "what", "host", "at")) for one in recent]
        return Answer(True, first(seen))
    what = "%s within %g minutes" % (" or ".join(kinds), within / 60)
    missing = [*_unseen_changes(kinds, evidence), *("%s: its time is not known" % text(one.get("what")) for one, at in alike if at is None)]
    told = tuple(Missing("a %s" % what, "", why) for why in missing)
    return Answer(None, (), told) if told else Answer(False, ("no %s" % what,))


def _unseen_changes(kinds: t.Sequence[str], evidence: Evidence) -> list[str]:
    words = {"changes", *(UNSEEN[kind] for kind in kinds)}
    found = ["%s: %s" % (host_, why or "it could not be seen") for host_, word, why in evidence.unseen if word.split(":")[0] in words]
    unread = [host_ for host_, result in evidence.hosts.items() if "changes" not in result]
    if not evidence.hosts or unread:
        found.append("changes were not read%s" % (" on %s" % ", ".join(first(unread)) if unread else ""))
    return list(first(found))


def _past(at: t.Any, now: float) -> t.Optional[float]:
    """Return a time, None for what is none or is still to come."""
    seconds = seconds_in(at)
    return seconds if seconds is not None and seconds <= now + 60 else None


def seconds_in(at: t.Any) -> t.Optional[float]:
    """Return the seconds since the epoch of a time in either form, None for what is none."""
    if not isinstance(at, str):
        return number(at)
    try:
        return number(parse_time(at))
    except (StepError, OverflowError, ValueError):
        return None
