# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several runs of one playbook as one: what may follow the stores, and how all of it ended. Plain data in, plain data out."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason

Outcome = t.Mapping[str, t.Any]
# From the worst on; what is not listed here is green.
NOT_LOOKED_AT = "not_looked_at"
WORST = ("failed", "undone", "unproven", "abandoned", "missing", "refused", "recovered_with_loss")


class Row(t.NamedTuple):
    """One component: where, how it ended, why, and the commands that follow."""

    target: str
    outcome: str
    green: bool
    text: str
    next_commands: tuple[str, ...]

    def as_dict(self) -> dict[str, t.Any]:
        return dict(self._asdict(), next_commands=list(self.next_commands))


def targets_of(expected: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return host/component of each component and host that this playbook is about: [{component, hosts}]."""
    return ["%s/%s" % (host, one["component"]) for one in expected for host in one["hosts"]]


def absent_of(expected: t.Sequence[t.Mapping[str, t.Any]]) -> list[Row]:
    """Return a row for each component that has no host here: [{component, hosts, pattern}]. It may be meant; a misspelt group is not."""
    text = "no host of this inventory and limit matches '%s': nothing was looked at or started"
    without = [one for one in expected if not one["hosts"]]
    return [Row(str(one["component"]), NOT_LOOKED_AT, True, text % one_line(one["pattern"], 60), ()) for one in without]


def rows_of(ended: t.Sequence[Outcome], expected: t.Sequence[str], again: str) -> list[Row]:
    """Return a row for each outcome, the last of its target, in the order in which they ended, then those that never ended."""
    last = {str(one.get("target")): one for one in ended if one.get("outcome")}
    rows = [_row(target, one, again) for target, one in last.items()]
    text = "its run never came to an end: the host was lost, or the play ended before"
    return rows + [Row(target, "missing", False, text, (again,)) for target in expected if target not in last]


def _row(target: str, outcome: Outcome, again: str) -> Row:
    green = bool(outcome.get("green"))
    commands = tuple(dict.fromkeys(_commands(outcome)))
    # A loss is not made good by another run.
    follows = (again,) if not green and outcome["outcome"] != "recovered_with_loss" else ()
    return Row(target, str(outcome["outcome"]), green, _why(outcome), commands or follows)


def _commands(outcome: Outcome) -> t.Iterator[str]:
    for one in outcome.get("reasons") or []:
        # The first plan is the recommended one; the others are shown with the outcome.
        told = [plan.get("next_command") for plan in (one.get("plans") or [])[:1]] or [one.get("next_command")]
        yield from (str(command) for command in told if command)
    if outcome.get("next_command"):
        yield str(outcome["next_command"])


def _why(outcome: Outcome) -> str:
    """Return why it is not green, or what a green one found."""
    reasons = outcome.get("reasons") or []
    if reasons:
        return one_line("%s: %s" % (reasons[0].get("code"), reasons[0].get("text")), 200)
    failure, loss = outcome.get("failure") or {}, outcome.get("loss") or {}
    if outcome["outcome"] == "recovered_with_loss":
        return one_line(loss.get("text") or "how much was lost is unknown", 200)
    if failure.get("msg") and not outcome.get("green"):
        return one_line(failure["msg"], 200)
    acts = [str(one.get("action")) for one in outcome.get("acts") or [] if one.get("kind") == "act"]
    return one_line(str(outcome.get("note") or ", ".join(acts)), 200)


def worst_of(rows: t.Sequence[Row]) -> str:
    """Return the worst outcome that is not green, else the last one; "missing" where there is none at all."""
    red = sorted((row.outcome for row in rows if not row.green), key=lambda word: WORST.index(word) if word in WORST else 0)
    seen = [row.outcome for row in rows if row.outcome != NOT_LOOKED_AT]
    return red[0] if red else seen[-1] if seen else "missing"


def lines_of(rows: t.Sequence[Row]) -> list[str]:
    """Return the table: component, outcome, why; below a component that needs one its next command."""
    wide = max((len(row.target) for row in rows), default=0)
    lines: list[str] = []
    for row in rows:
        lines.append(("%-*s  %-19s  %s" % (wide, row.target, row.outcome.replace("_", " "), row.text)).rstrip())
        lines += ["%*s  next: %s" % (wide, "", command) for command in row.next_commands]
    return lines


def held_back(component: str, host: str, stores: t.Sequence[Row], check: bool, again: str = "") -> dict[str, t.Any]:
    """Return the outcome of a component that does not follow its stores yet, {} where all of *stores* are proven.

    *again*: the command that runs all of it again, which goes on where a store works and only its loss is open.
    """
    waits = [row for row in stores if not row.green or row.outcome == "rehearsed"]
    if not waits:
        return {}
    told = {"target": "%s/%s" % (host, component), "host": host, "component": component, "acts": [], "seconds": 0.0, "check_mode": check}
    if all(row.green for row in waits):
        note = "it follows once proven: %s" % ", ".join(row.target for row in waits)
        return dict(told, outcome="rehearsed", green=True, reasons=[], note=note)
    red = [row for row in waits if not row.green]
    text = "not started: %s" % "; ".join("%s is %s" % (row.target, row.outcome.replace("_", " ")) for row in red)
    if all(row.outcome == "recovered_with_loss" for row in red):
        text += "; it works: see what was lost, then run this again"
    command = next((command for row in red for command in row.next_commands), again)
    why = reason("dependency_down", text, next_command=command)
    return dict(told, outcome="refused", green=False, reasons=[why])
