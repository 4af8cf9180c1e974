# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a triage: what the looks of all hosts saw, judged, in the order in which a person needs it. Pure.

Its shape is docs/triage.schema.json. Each part of it is a file beside this one.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.look import checks_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.numbers import numbers_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import State, worst
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import fill
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import causes, changes, history, seen
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.baseline import compared
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.clock import clock_of, seconds_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import evidence_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.incident_types import types_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.onset import alert_of, onset_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.patterns import patterns_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.plain import fields, listed, moment, rfc3339
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.remedy import next_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.severity import severity_of

Report = t.Dict[str, t.Any]
Looked = t.Dict[str, t.Any]
# How many causes the headline names.
NAMED = 3
NOTHING_LOOKED_AT = "no service was looked at: put its host into the group redis, postgresql or somabrain_api, or name a check of it"


class Asked(t.NamedTuple):
    """What a person asked for, and what only the controller knows.

    commands(hosts): the command line of each playbook, by its name, for some hosts ("a,b", "" for all).
    """

    at: float
    seconds: float
    inventory: str
    groups: t.Mapping[str, t.Sequence[str]]
    rules: t.Mapping[str, t.Any]
    commands: t.Callable[[str], t.Mapping[str, str]]
    override: t.Optional[t.Mapping[str, str]] = None
    alert_at: str = ""
    window_seconds: int = 7200


def looked_of(machine: t.Any, found: t.Any, ledger: t.Any, known: t.Any, failed: t.Any, services: t.Any = None) -> Looked:
    """Return one host's look from what its tasks returned, any of which may be missing or broken off."""
    machine, found, ledger, known, broken = (fields(one) for one in (machine, found, ledger, known, failed))
    lost: t.Mapping[str, t.Any] = next((one for one in (broken, machine, found) if one.get("unreachable")), {})
    broken = broken or next((one for one in (machine, found) if one.get("failed")), {})
    checks = _checks_in(found)
    if not (checks or lost or broken):
        broken = {"msg": "no check of it was made"}
    return {
        "checks": checks,
        "asked": listed(machine.get("asked")),
        "services": listed(services),
        "host": machine if "processes" in machine else {},
        "ledger": dict(ledger, verified=fields(known.get("verified"))) if "runs" in ledger else {},
        "unreachable": bool(lost),
        "failed": bool(broken) and not lost,
        "msg": one_line(redact(str((lost or broken).get("msg") or "")), 300),
        "at": machine.get("at"),
    }


def _checks_in(found: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    is_usable = not (found.get("failed") or found.get("unreachable")) and (found.get("checks") or found.get("packed"))
    return checks_of(found) if is_usable else []


def assemble(looked: t.Mapping[str, Looked], asked: Asked) -> Report:
    """Return the report (schema 1) of all hosts, with its logs."""
    depends = asked.rules["depends"]
    components = seen.components_of(looked, asked.groups, asked.at)
    findings = causes.findings_of(components, depends)
    onset, alert = onset_of(findings, looked, asked.at), alert_of(asked.alert_at, asked.at)
    changed = changes.changes_of(looked, asked.at, asked.window_seconds)
    usual = baseline_of(looked)
    evidence = evidence_of(looked, components, changed, usual, asked.at, seconds_of(onset.get("at")))
    severity = severity_of(evidence, asked.rules, asked.override)
    patterns = patterns_of(evidence, asked.rules)
    verdict = verdict_of(components, severity["reasons"])
    report: Report = {
        "schema": 1, "at": rfc3339(asked.at), "seconds": asked.seconds, "inventory": asked.inventory, "verdict": verdict,
        "headline": headline_of(verdict, components, findings, severity["reasons"]),
        "impact": causes.impact_of(findings, components, depends),
        "onset": onset, "alert": alert, "severity": severity, "clock": clock_of(severity, asked.rules, asked.at, alert, onset),
        "components": seen.shown(components), "findings": findings, "types": types_of(evidence, asked.rules), "patterns": patterns,
        "changes": changed, "at_work": history.at_work(looked, asked.at), "before": history.before(looked, components, asked.at),
        "next": next_of(findings, asked.groups) + _by_pattern(patterns, findings),
        "unseen": seen.unseen_of(looked, asked.groups, components, asked.at), "baseline": usual, "series": {},
        **_of_hosts(looked),
    }  # fmt: skip
    return with_commands(report, asked.commands)


def verdict_of(components: t.Sequence[t.Mapping[str, t.Any]], reasons: t.Sequence[t.Any] = ()) -> str:
    """Return the worst health of all; where no service was looked at, machines alone prove nothing.

    Checks that pass are no proof against a rule that holds, such as one of the error rate: *reasons* are those of the severity.
    """
    overall = worst(State(one["health"]) for one in components)
    overall = State.SICK if overall is State.WELL and reasons else overall
    services = any(one["class"] != "host" and one["kind"] != "expected" for one in components)
    return (State.UNKNOWN if overall is State.WELL and not services else overall).value


def headline_of(
    verdict: str,
    components: t.Sequence[t.Mapping[str, t.Any]],
    findings: t.Sequence[t.Mapping[str, t.Any]],
    reasons: t.Sequence[t.Any] = (),
) -> str:
    """Return what is broken, in one sentence; causes alone, the first ones by name."""
    hosts = len({one["host"] for one in components})
    if verdict == State.WELL.value:
        return "nothing is wrong: %s on %s are well" % (counted(len(components), "components"), counted(hosts, "hosts"))
    bad = [one for one in findings if one["health"] == verdict]
    if not bad:
        return one_line("%s; each check by itself passes" % reasons[0]["text"], 400) if reasons else NOTHING_LOOKED_AT
    named = "; ".join(_told(one) for one in bad[:NAMED])
    more = "; and %d more" % (len(bad) - NAMED) if len(bad) > NAMED else ""
    doubt = "nothing was found to be broken, but it is not known of everything: " if verdict == State.UNKNOWN.value else ""
    return one_line(doubt + named + more, 400)


def _told(finding: t.Mapping[str, t.Any]) -> str:
    name, host, state = (str(finding.get(key) or "") for key in ("component", "host", "state"))
    where = "" if name == host else " on %s" % host
    return "%s%s is %s%s" % (name, where, state or finding["health"], ": %s" % finding["text"] if finding.get("text") else "")


def _by_pattern(patterns: t.Sequence[t.Mapping[str, t.Any]], findings: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the commands of confirmed patterns that no finding's remedy has."""
    there = {str(fields(one.get("remedy")).get("playbook")) for one in findings}
    found = [one for one in patterns if one["verdict"] == "confirmed" and one.get("command")]
    named = [(one, str(one["command"]).strip("{").partition("}")[0]) for one in found]
    return [
        {"playbook": playbook, "command": one["command"], "text": "it looks like: %s" % one["name"], "wont": "", "hosts": ""}
        for one, playbook in named
        if playbook not in there
    ]


def with_commands(report: Report, commands: t.Callable[[str], t.Mapping[str, str]]) -> Report:
    """Return the report with every command as a person runs it: for the hosts that it is for."""
    words = {hosts: commands(hosts) for hosts in {_hosts_of(one) for one in _with_command(report)}}
    for one in _with_command(report):
        one["command"] = fill(str(one.get("command") or ""), words[_hosts_of(one)])
    return report


def _with_command(report: Report) -> list[dict[str, t.Any]]:
    own = [one["remedy"] for one in report["findings"] if isinstance(one.get("remedy"), dict)]
    return [*own, *report["next"], *report["patterns"], *report["at_work"]]


def _hosts_of(one: t.Mapping[str, t.Any]) -> str:
    return str(one.get("hosts") or one.get("host") or "")


def baseline_of(looked: t.Mapping[str, Looked]) -> dict[str, t.Any]:
    """Return the numbers of each component beside what record-baseline kept on its host, {} where it kept nothing."""
    found: dict[str, t.Any] = {}
    for host, look in looked.items():
        kept = fields(fields(fields(look["ledger"].get("verified")).get("baseline")).get("baseline"))
        now = {str(check["name"]): numbers_of(check) for check in look["checks"]}
        for name, metrics in compared(now, fields(kept.get("numbers")), kept.get("at")).items():
            found[name if name not in found else "%s on %s" % (name, host)] = metrics
    return found


def _of_hosts(looked: t.Mapping[str, Looked]) -> dict[str, t.Any]:
    """Return {hosts, logs, metrics}: what was read of each machine."""
    machines = {host: look["host"] for host, look in looked.items()}
    return {
        "hosts": {host: _machine(look["host"], look["checks"]) for host, look in looked.items()},
        "logs": {host: fields(one.get("logs")) for host, one in machines.items()},
        "metrics": {host: fields(one.get("metrics")) for host, one in machines.items()},
    }


def _machine(machine: t.Mapping[str, t.Any], checks: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    facts = {str(check.get("kind")): fields(check.get("facts")) for check in checks}
    return {
        "disks": listed(facts.get("disk", {}).get("paths")),
        **{name: fields(machine.get(name)) for name in ("memory", "load", "clock")},
        "processes": listed(machine.get("processes")),
        "boot_at": rfc3339(moment(machine.get("boot_at"))),
    }
