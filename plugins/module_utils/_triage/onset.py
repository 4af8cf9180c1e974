# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When it began, with the source of each time. What no source says is not known; a time is never made up.

Times of a host are by its own clock; where the check of kind ``clock`` measured how wrong that is, they are corrected,
and the text names it.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.freeze import parse_time
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.written import time_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import (
    Fields,
    fields,
    listed,
    moment,
    number,
    rfc3339,
    span,
    word,
)

Given = t.Mapping[str, t.Any]
NOT_KNOWN = "when it began is not known"
# Seconds by which a clock may be wrong before the text names it.
SKEW = 2.0
# What a look says of how long a state has lasted: kind of check, path in its facts.
LASTED: t.Mapping[str, t.Sequence[t.Tuple[str, str, str]]] = {
    "postgresql": (
        ("blocked", "locks.longest_wait_seconds", "the longest wait for a lock"),
        ("recovery_stuck", "redo.still_seconds", "its replay has not advanced since"),
        ("archiver_failing", "archiver.stuck_seconds", "no file has been archived since"),
    ),
}
# States of something that does not run: when its process ended is when it began.
ENDED = re.compile(r"(down|crashed|stopped|failed|exit_loop|start_limit|oom|bad_config|pid_|tablespace_missing|no_mount)")
ZONED = re.compile(r"\d\d:\d\d:\d\d(?:[.,]\d+)?\s?(?:Z|UTC|GMT|[+-]\d\d:?\d\d)")


def unknown(text: str = NOT_KNOWN) -> Fields:
    """Return the answer where no source says when."""
    return {"at": None, "source": "", "text": text}


def skew_of(look: Given) -> float:
    """Return by how many seconds the clock of a host is ahead of the controller's, 0 where that was not measured."""
    found = [number(fields(one.get("facts")).get("skew")) for one in listed(look.get("checks"))]
    return next((one for one in found if one is not None), 0.0)


def since_of(check: Given, look: Given, now: float) -> Fields:
    """Return {at (RFC 3339 or None), source, text}: since when a check is what it is, by what was seen on its host."""
    at, source = _seen_since(check, look, now)
    return unknown() if at is None else _said(at, source, look, now)


def _said(at: float, source: str, look: Given, now: float) -> Fields:
    skew = skew_of(look)
    right = at - skew
    if right > now + SKEW:
        return unknown("%s: %s says %s, which is in the future" % (NOT_KNOWN, source, rfc3339(at)))
    clock = ""
    if abs(skew) > SKEW:
        way = "ahead" if skew > 0 else "behind"
        clock = "; its clock is %.0f s %s, which is taken into account" % (abs(skew), way)
    return {"at": rfc3339(right), "source": source, "text": "%s ago by %s%s" % (span(now - right), source, clock)}


def _seen_since(check: Given, look: Given, now: float) -> t.Tuple[t.Optional[float], str]:
    """Return (seconds since the epoch by the clock of the host, source), (None, "") where nothing says."""
    facts, state = fields(check.get("facts")), str(check.get("state") or "")
    if check.get("health") == "well":
        return None, ""
    for name, path, text in LASTED.get(str(check.get("kind")), ()):
        seconds = number(_at(facts, path)) if name == state else None
        if seconds is not None:
            return now + skew_of(look) - seconds, text
    return _ended(facts, look) if ENDED.match(state) else (None, "")


def _ended(facts: Fields, look: Given) -> t.Tuple[t.Optional[float], str]:
    """Return when the process ended: by its manager, else by the last boot where its manager has seen none since."""
    places = [fields(facts.get(name)) for name in ("ended", "service")]
    known = next((one for one in places if "last_ended_at" in one), facts)
    ended = moment(known.get("last_ended_at"))
    if ended is not None:
        return ended, "its service manager, which saw its process end"
    boot = moment(fields(look.get("host")).get("boot_at"))
    if boot is not None and "last_ended_at" in known and trait(known.get("manager"), "FORGETS_AT_BOOT"):
        return boot, "the boot of the host, since which its service manager has not seen it run"
    return None, ""


def _at(facts: t.Any, path: str) -> t.Any:
    for name in path.split("."):
        facts = fields(facts).get(name)
    return facts


def log_end(look: Given, component: str) -> t.Optional[float]:
    """Return when a component wrote the last line of its log, None where no line says so with its zone."""
    log = fields(fields(fields(look.get("host")).get("logs")).get(component))
    if moment(log.get("to")) is not None:
        return moment(log.get("to"))
    lines = log.get("lines") if isinstance(log.get("lines"), (list, tuple)) else []
    for line in reversed(list(lines or [])[-200:]):
        if ZONED.search(str(line)[:80]):
            return moment(time_of(str(line)))
    return None


def onset_of(findings: t.Sequence[Given], looked: Given, now: float) -> Fields:
    """Return {at, earliest, latest, source, text} of what is sick: the earliest of its causes, apart from any alert.

    *earliest* is the last look that proved it well, *latest* is when it was first seen not to be.
    """
    sick = [one for one in findings if one.get("health") == "sick"]
    found = [_one(one, fields(looked.get(str(one.get("host")))), now) for one in sick]
    if not found:
        text = "not known: no check is sick" if not findings else "nothing that was seen is sick; what could not be seen has no time"
        return dict(unknown(text), earliest=None, latest=None)
    dated = sorted((one for one in found if one["at"]), key=lambda one: str(one["at"]))
    return dated[0] if dated else found[0]


def _one(finding: Given, look: Fields, now: float) -> Fields:
    since, name = fields(finding.get("since")), word(finding.get("component"), 60)
    well_at, run = proven_of(finding, look)
    at = since.get("at") if isinstance(since.get("at"), str) else None
    source = word(since.get("source"))
    if at is None:
        wrote = log_end(look, str(finding.get("component"))) if ENDED.match(str(finding.get("state") or "")) else None
        said = _said(wrote, "the last line of its log", look, now) if wrote is not None else unknown()
        at, source, since = said["at"], said["source"], said
    lower = rfc3339(well_at)
    if lower and at and lower > at:
        # What proved it well later contradicts that time.
        at, source, since = None, "", unknown()
    text = "%s: %s" % (name, word(since.get("text")) or NOT_KNOWN)
    if lower:
        text += "; run %s proved it well at %s" % (word(run, 60), lower)
    return {"at": at, "earliest": lower or at, "latest": at or rfc3339(now), "source": source, "text": text}


def proven_of(finding: Given, look: Given) -> t.Tuple[t.Optional[float], str]:
    """Return (when, run) of the last look that proved a component well, (None, "") where the ledger knows none."""
    verified = fields(fields(look.get("ledger")).get("verified"))
    names = LEDGER_NAMES.get(str(finding.get("class")), ()) or (str(finding.get("component")), *_names(finding))
    proofs = [proof for name, kinds in verified.items() if name in names for proof in fields(kinds).values()]
    dated = [(moment(fields(one).get("at")), str(fields(one).get("run_id") or "")) for one in proofs]
    known = [(at, run) for at, run in dated if at is not None]
    return max(known) if known else (None, "")


def _names(finding: Given) -> list[str]:
    return [str(one) for one in finding.get("checks") or []] if isinstance(finding.get("checks"), (list, tuple)) else []


# Class: the names that the ledger has for it; of others that of the component or of its checks.
LEDGER_NAMES: t.Mapping[str, t.Sequence[str]] = {"working_memory": ("redis",), "database": ("postgresql",)}


def alert_of(given: t.Any, now: float) -> t.Optional[Fields]:
    """Return when somebody was alerted, as a person or the alert manager says, in the shape of an onset; None for nothing given."""
    if given in (None, ""):
        return None
    source = "triage_alert_at"
    try:
        at = parse_time(given)
    except (StepError, OverflowError, ValueError):
        text = "%s is %s: write it with its time zone, as 2026-12-24T18:00:00Z" % (source, word(repr(str(given)), 60))
        return {"at": None, "earliest": None, "latest": None, "source": source, "text": text}
    said = rfc3339(at)
    late = " in the future" if at > now + SKEW else " %s ago" % span(now - at)
    return {"at": said, "earliest": said, "latest": said, "source": source, "text": "the alert came%s, says %s" % (late, source)}
