# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What triage says of a fault before its remedy runs, judged by what that remedy then found and did."""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t

from .errors import DrillError
from .faults import Turn
from .judge import ACTED, Seen
from .runs import Player, Ran

Report = t.Mapping[str, t.Any]
# What a look for a rollback calls a service that is sick in any way: a word of its plan.
OF_A_PLAN = ("to_roll_back",)
# Outcomes after which a remedy had something to do: triage has to have named it.
TRIED = (*ACTED, "undone", "unproven", "failed")


@dataclasses.dataclass
class Named:
    """What one triage named: {component: state}, severity, the commands in their order; how long it took, and what is wrong with it."""

    states: dict[str, str]
    severity: str
    commands: list[str]
    seconds: float
    wrong: list[str] = dataclasses.field(default_factory=list)


def can_be_asked(turn: Turn) -> bool:
    """Return whether the first run is one that a person begins because something is broken, and that comes to its end."""
    return not (turn.kill_at or turn.drop_at or turn.hold_at or turn.at_once > 1 or turn.host)


def ask(player: Player) -> tuple[Ran, Report, float]:
    """Run triage on the target as it is now; return the run, its report and the seconds it took. Raises DrillError for none."""
    file, begun = player.scene.work / "triage.json", time.monotonic()
    turn = dataclasses.replace(player.fault.runs[0], playbook="triage", host="", variables={}, approval="")
    ran = player.play(turn, triage_report_file=str(file))
    if not file.exists():
        raise DrillError(f"triage wrote no report: {' '.join(ran.text.split())[-300:]}")
    return ran, json.loads(file.read_text(encoding="utf-8")), time.monotonic() - begun


def judge_triage(ran: Ran, report: Report, seconds: float, seen: Seen, playbook: str) -> Named:
    """Return what the *report* named, and what of it does not fit what the runs of *playbook* found and did afterwards."""
    findings = [one for one in report.get("findings") or [] if isinstance(one, dict)]
    named = Named(
        {f"{one.get('component')}": str(one.get("state") or one.get("health")) for one in findings},
        str((report.get("severity") or {}).get("level") or "-"),
        [str(one.get("command")) for one in report.get("next") or []],
        round(seconds, 1),
    )
    named.wrong = list(_wrong(ran, report, named, seen, playbook))
    return named


def _wrong(ran: Ran, report: Report, named: Named, seen: Seen, playbook: str) -> t.Iterator[str]:
    first = seen.turns[0].ran[0]
    before = first.outcome.get("before") or {}
    if (ran.code == 0) != (report.get("verdict") == "well"):
        yield f"triage ended with exit code {ran.code} and the verdict {report.get('verdict')}"
    if named.states and named.severity == "-":
        yield "triage named something and gave it no severity"
    if before.get("health") not in ("sick", "unknown"):
        return
    if before.get("state") and before["state"] not in (*OF_A_PLAN, *_states(report)):
        yield f"triage named {_told(named.states)}, and {playbook} found {before['state']}"
    if (first.word in TRIED or first.reason == "approval_needed") and not _names(named.commands, playbook):
        yield f"triage did not name {playbook}, which then ended {seen.last.word}: {'; '.join(named.commands) or 'no command'}"


def _names(commands: t.Sequence[str], playbook: str) -> bool:
    """Return whether one of *commands* runs *playbook*, or the one that recovers everything."""
    files = [f"/{name}.yml" for name in (playbook, playbook.replace("_", "-"), "recover-all", "recover_all")]
    return any(file in command for command in commands for file in files)


def _states(report: Report) -> set[str]:
    """Return the states of everything that is not well, what is a symptom of something else included."""
    found = list(report.get("findings") or [])
    return {str(one.get("state")) for one in [*found, *(symptom for one in found for symptom in one.get("symptoms") or [])]}


def _told(states: t.Mapping[str, str]) -> str:
    return ", ".join(f"{name} {state}" for name, state in states.items()) or "nothing"
