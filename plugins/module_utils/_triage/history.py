# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at work, and what was seen before: by the runs, leases and obligations of the ledgers that were read. Never raises."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.left import of_obligation
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import (
    Fields,
    fields,
    listed,
    moment,
    rfc3339,
    span,
    word,
)

Given = t.Mapping[str, t.Any]
DAYS = 7
# Hours for which an approval that nobody gave is still shown.
WAITING = 24 * 3600.0
ENDED_WELL = ("recovered", "recovered_with_loss", "nothing_to_do")
HELPED = ("recovered", "recovered_with_loss")
CLASS_OF_REMEDY: t.Mapping[str, str] = {
    "redis_recovery": "working_memory", "redis_clearing": "working_memory", "database_recovery": "database",
    "database_unblock": "database", "database_restore": "database", "service_restart": "api", "rollback": "api",
    "traffic_scaling": "balancer",
}  # fmt: skip
ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}


def _ledgers(looked: Given) -> list[Fields]:
    return [fields(fields(look).get("ledger")) for look in fields(looked).values()]


def runs_of(looked: Given) -> list[Fields]:
    """Return the runs of all ledgers, each once (several hosts may have one keeper), oldest first."""
    rows = {str(row.get("run_id")): row for ledger in _ledgers(looked) for row in listed(ledger.get("runs"))}
    return sorted(rows.values(), key=lambda row: moment(row.get("opened_at")) or 0.0)


def closed_of(row: Given) -> str:
    """Return the outcome of a run, "" where it is not closed."""
    return word(row.get("outcome"), 40) if row.get("outcome") and moment(row.get("closed_at")) is not None else ""


def at_work(looked: Given, now: float) -> list[Fields]:
    """Return [{kind: lease|run|approval|owed|maintenance|freeze, host, component, text, since, until, command}]: who or what is at work.

    Commands have the placeholders of ``_spine/reasons.fill``, "" where there is nothing to run.
    """
    leases = _once(looked, "leases", "run_id")
    runs = runs_of(looked)
    found = [_lease(one, now) for one in leases.values()]
    found += [_open_run(row) for row in runs if not closed_of(row) and (str(row.get("run_id")),) not in leases]
    found += [_owed(row, runs, now) for row in _once(looked, "owed", "run_id", "id").values()]
    found += [_approval(row) for row in _unanswered(runs, now)]
    ours = {one["host"] for one in found if one["kind"] == "maintenance"}
    return found + [one for host, look in fields(looked).items() for one in _on(host, fields(look), host in ours)]


def _once(looked: Given, name: str, *keys: str) -> dict[t.Tuple[str, ...], Fields]:
    """Return the rows of all ledgers by their keys: several hosts may have one keeper."""
    rows = [row for ledger in _ledgers(looked) for row in listed(ledger.get(name))]
    return {tuple(str(row.get(key)) for key in keys): row for row in rows}


def _on(host: str, look: Fields, is_ours: bool) -> list[Fields]:
    return ([] if is_ours else _by_a_person(host, look)) + _frozen(host, look)


def _entry(kind: str, row: Given, text: str, since: t.Any, until: t.Any = None, command: str = "") -> Fields:
    return {
        "kind": kind, "host": word(row.get("host"), 80), "component": word(row.get("component"), 80), "text": word(text, 400),
        "since": rfc3339(moment(since)), "until": rfc3339(moment(until)), "command": command,
    }  # fmt: skip


def _lease(one: Given, now: float) -> Fields:
    ends = moment(one.get("ends_at"))
    is_over = ends is not None and ends < now
    who = "run %s of %s" % (word(one.get("run_id"), 60), word(one.get("owner"), 40))
    phase = ", at %s" % word(one.get("phase"), 20) if one.get("phase") else ""
    text = "%s is at work%s" % (who, phase)
    if is_over:
        text = "%s held it%s, and its lease expired %s ago: it may be dead; the next run takes over only then" % (
            who, phase, span(now - (ends or now)),
        )  # fmt: skip
    return _entry("lease", one, text, one.get("taken_at"), ends, "{history}")


def _open_run(row: Given) -> Fields:
    text = "run %s of %s was opened and is not closed" % (word(row.get("run_id"), 60), word(row.get("owner"), 40))
    return _entry("run", row, text, row.get("opened_at"), None, "{history}")


def _owed(row: Given, runs: t.Sequence[Given], now: float) -> Fields:
    """Return what is still to be ended; with maintenance whether the run that began it left it behind."""
    is_maintenance = "maintenance" in str(row.get("kind"))
    left = _said_of(row)
    text = left["text"]
    if is_maintenance and is_left(row, runs, now):
        text += "; the run that began it left it behind"
    return _entry("maintenance" if is_maintenance else "owed", row, text, row.get("begun_at"), row.get("ends_at"), left["command"])


def _said_of(row: Given) -> t.Dict[str, str]:
    known = {"id": 0, "host": "", "component": "", "kind": "", "run_id": "", "body": {}, "begun_at": None, "ends_at": None}
    fit = dict(known, **{key: row[key] for key in known if key in row})
    fit.update(body=fields(fit["body"]), begun_at=moment(fit["begun_at"]), ends_at=moment(fit["ends_at"]), kind=word(fit["kind"], 120))
    try:
        return of_obligation(fit)
    except (AttributeError, KeyError, TypeError, ValueError):
        return {
            "what": "owed",
            "text": "%s of %s, whose record cannot be read" % (fit["kind"], word(fit["component"], 60)),
            "command": "{history}",
        }


def is_left(row: Given, runs: t.Sequence[Given], now: float) -> bool:
    """Return whether an obligation is left behind: its end is over, or the run that began it died."""
    ends = moment(row.get("ends_at"))
    run = next((one for one in runs if one.get("run_id") == row.get("run_id")), {})
    return (ends is not None and ends < now) or run.get("outcome") == "abandoned"


def _unanswered(runs: t.Sequence[Fields], now: float) -> list[Fields]:
    """Return the last run of each component, where it ended by asking for an approval."""
    last = {(row.get("host"), row.get("component")): row for row in runs if closed_of(row)}
    return [row for row in last.values() if _asked(row) and now - (moment(row.get("closed_at")) or 0.0) <= WAITING]


def _asked(row: Given) -> bool:
    codes = row.get("codes") if isinstance(row.get("codes"), (list, tuple)) else []
    return row.get("outcome") == "refused" and bool(codes) and str(list(codes or [])[0]).startswith("approval_")


def _approval(row: Given) -> Fields:
    text = "run %s of %s offered plans and waits for the approval of a person: run the same playbook again to see them"
    return _entry(
        "approval", row, text % (word(row.get("run_id"), 60), word(row.get("owner"), 40)), row.get("closed_at"), None, "{history}"
    )


def _by_a_person(host: str, look: Fields) -> list[Fields]:
    """Return the pools that are in maintenance by no run that the ledger knows."""
    pools = [one for one in listed(look.get("checks")) if one.get("state") == "maintenance" and one.get("health") == "well"]
    text = "%s is in maintenance, and no run in the ledger began that: its clients get 503 until a person ends it"
    return [
        _entry("maintenance", {"host": host, "component": one.get("name")}, text % word(one.get("name"), 60), None, None, ENDS)
        for one in pools
    ]


ENDS = "{disable_maintenance}"


def _frozen(host: str, look: Fields) -> list[Fields]:
    """Return the freeze and the kill switch of a keeper, where its ledger was read with them."""
    flags = fields(fields(look.get("ledger")).get("flags"))
    said = [("the kill switch is on", flags.get("kill")), ("a freeze stops every act", flags.get("freeze"))]
    return [_entry("freeze", {"host": host}, "%s: %s" % (text, word(flag, 200)), None) for text, flag in said if flag]


def before(looked: Given, components: t.Sequence[Given], now: float) -> list[Fields]:
    """Return [{component, host, count, days, last_at, outcome, helped, text}] of what is not well now and was recovered before."""
    since = now - DAYS * 86400
    runs = [row for row in runs_of(looked) if since <= (moment(row.get("opened_at")) or 0.0) <= now]
    found = []
    for one in components:
        if one.get("health") == "sick":
            times = _times([row for row in runs if _is_of(row, one)])
            found += [_recurrence(one, times, now)] if times else []
    return found


def _is_of(row: Given, one: Given) -> bool:
    if row.get("host") != one.get("host"):
        return False
    group = CLASS_OF_REMEDY.get(str(row.get("remedy")).rpartition(".")[2], "")
    names = one.get("checks") if isinstance(one.get("checks"), (list, tuple)) else []
    is_named = row.get("component") in (one.get("name"), *list(names or ()))
    return is_named or (bool(group) and group == one.get("class") and group != "api")


def _times(rows: t.Sequence[Fields]) -> list[list[Fields]]:
    """Return the runs of a component as incidents: one lasts until a run ended well. A run that found nothing to do is none."""
    times: list[list[Fields]] = []
    is_open = False
    for row in rows:
        outcome = closed_of(row)
        if outcome in ("", "rehearsed"):
            continue
        if outcome == "nothing_to_do":
            is_open = False
        elif is_open:
            times[-1].append(row)
        else:
            times.append([row])
            is_open = True
        is_open = is_open and outcome not in ENDED_WELL
    return times


def _recurrence(one: Given, times: t.Sequence[t.Sequence[Given]], now: float) -> Fields:
    last = times[-1][-1]
    helped = _helped(times)
    is_same = closed_of(last) not in ENDED_WELL
    # Where the last of them did not end well, this is still the same time.
    count = len(times) + (0 if is_same else 1)
    place = ORDINALS.get(count, "%dth" % count)
    last_at = moment(last.get("closed_at"))
    text = "the %s time in %d days; %s" % (place, DAYS, helped or "nothing helped so far")
    text += "; the last run ended %s ago: %s" % (span(now - (last_at or now)), closed_of(last))
    return {
        "component": one.get("name"), "host": one.get("host"), "count": count, "days": DAYS, "last_at": rfc3339(last_at),
        "outcome": closed_of(last), "helped": helped, "text": text,
    }  # fmt: skip


def _helped(times: t.Sequence[t.Sequence[Given]]) -> str:
    """Return which act recovered it how often, the most frequent first."""
    counts: dict[str, int] = {}
    for rows in times:
        won = next((row for row in rows if closed_of(row) in HELPED), None)
        if won is not None:
            acts = won.get("acts") if isinstance(won.get("acts"), (list, tuple)) else []
            name = word(list(acts or [])[-1], 30) if acts else word(won.get("remedy"), 60).rpartition(".")[2]
            counts[name] = counts.get(name, 0) + 1
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join("%s helped %s" % (name, {1: "once", 2: "twice"}.get(count, "%d times" % count)) for name, count in ranked)
