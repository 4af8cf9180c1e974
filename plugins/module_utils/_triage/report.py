# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a triage: what the looks of all hosts saw, put into the order in which a person needs it. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import derived
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.look import checks_of, why
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import State, worst
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import fill

Report = t.Dict[str, t.Any]
Looked = t.Dict[str, t.Any]


class Asked(t.NamedTuple):
    """What a person asked for, and what only the controller knows: groups of the inventory and command lines by host and playbook."""

    now: float
    seconds: float
    inventory: str
    groups: t.Mapping[str, t.Sequence[str]]
    commands: t.Mapping[str, t.Mapping[str, str]]
    severity: str = ""
    severity_reason: str = ""
    alert_at: str = ""
    window_seconds: int = 7200


def looked_of(machine: t.Any, checks: t.Any, ledger: t.Any, known: t.Any, failed: t.Any) -> Looked:
    """Return one host's look from what its tasks returned, any of which may be missing or broken off."""
    machine, seen, ledger, known, broken = (one if isinstance(one, dict) else {} for one in (machine, checks, ledger, known, failed))
    lost = next((one for one in (machine, seen) if one.get("unreachable")), {})
    broken = broken or next((one for one in (machine, seen) if one.get("failed")), {})
    return {
        "checks": _checks_in(seen),
        "host": machine if "processes" in machine else {},
        "ledger": dict(ledger, verified=known.get("verified") or {}) if "runs" in ledger else {},
        "unreachable": bool(lost),
        "failed": bool(broken) and not lost,
        "msg": one_line(redact(str((lost or broken).get("msg") or "")), 300),
        "at": machine.get("at"),
    }


def _checks_in(seen: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    is_usable = not (seen.get("failed") or seen.get("unreachable")) and (seen.get("checks") or seen.get("packed"))
    return checks_of(seen) if is_usable else []


def assemble(looked: t.Mapping[str, Looked], asked: Asked) -> Report:
    """Return the report (schema 1) of all hosts."""
    components = [one for host, look in looked.items() for one in _components_of(host, look)]
    overall = worst(State(one["health"]) for one in components).value if components else State.UNKNOWN.value
    findings = [_finding(one, asked) for one in components if one["health"] == State.SICK.value]
    return {
        "schema": 1,
        "verdict": overall,
        "headline": _headline(overall, components),
        "components": components,
        "findings": findings,
        "next": [{"command": command, "text": "", "wont": ""} for command in _commands(findings)],
    }


def _components_of(host: str, look: Looked) -> list[dict[str, t.Any]]:
    if not look["checks"]:
        reason = "it cannot be reached" if look["unreachable"] else "the look did not work"
        return [_component(host, {"name": "host", "kind": "", "health": "unknown", "state": ""}, f"{reason}: {look['msg'] or 'no answer'}")]
    return [_component(host, one, why(one) if one["health"] != State.WELL.value else "") for one in look["checks"]]


def _component(host: str, check: t.Mapping[str, t.Any], text: str) -> dict[str, t.Any]:
    passed = {name: check[name] for name in ("kind", "health", "state")}
    return {"name": str(check["name"]), "host": host, **passed, "text": text}


def _headline(overall: str, components: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    bad = [one for one in components if one["health"] == overall]
    if overall == State.WELL.value:
        return "nothing is wrong: %d components are well" % len(components)
    return one_line("; ".join("%s on %s is %s" % (one["name"], one["host"], one["state"] or one["health"]) for one in bad[:4]), 300)


def _finding(component: t.Mapping[str, t.Any], asked: Asked) -> dict[str, t.Any]:
    playbook, _hosts = derived.repair_of({component["host"]: [component["kind"]]}, asked.groups)
    words = asked.commands.get(component["host"], {})
    remedy = {"playbook": playbook, "command": fill("{%s}" % playbook, words)} if playbook else {"playbook": "", "command": ""}
    return {**component, "component": component["name"], "symptoms": [], "remedy": remedy, "none": ""}


def _commands(findings: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    return list(dict.fromkeys(one["remedy"]["command"] for one in findings if one["remedy"]["command"]))
