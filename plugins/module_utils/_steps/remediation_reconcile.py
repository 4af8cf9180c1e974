# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step reconcile: close what provably dead runs left open on a keeper, and list what still has to be put back."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.freeze import judge_freeze, load_flags
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.lease import judge_lease
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import Ledger, open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.left import of_obligation
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.shared import working

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state_dir": {"type": "path", "required": True},
    "host": {"type": "str", "required": True},
    "run_id": {"type": "str", "default": ""},
    "dead_runs": {"type": "list", "elements": "str", "default": []},
    "settled": {"type": "list", "elements": "int", "default": []},
    "prolonged": {"type": "list", "elements": "int", "default": []},
    "prolong_seconds": {"type": "float", "default": 600.0},
    "killed": {"type": "str", "default": ""},
}
# Kinds ROLE/WHAT are ended by the `reconcile` tasks of these roles; what a dead run left of them is due immediately.
BY_ROLE = ("traffic_scaling",)


def run(params: Params, check: bool) -> Result:
    """Return {changed, abandoned, held, due, owed, left, stage, say}.

    abandoned: leases taken from dead runs; held: valid leases, with the reason; due: obligations whose end
    has come, or whose run died, on components that no run holds; owed: the others, in left as a person reads them.
    With `settled`, marks these obligations (ids) as ended; with `prolonged`, gives them another `prolong_seconds`.
    Raises StepError with data.reasons while a kill switch is on.
    """
    now = time.time()
    _stop_at_kill_switch(params, now)
    with open_ledger(params["state_dir"], check) as ledger:
        if check:
            result = _judge(ledger, params, now)
        else:
            with ledger.transaction():
                result = _judge(ledger, params, now)
                _write_down(ledger, params, result, now)
    changed = bool(result["abandoned"] or params["settled"] or params["prolonged"])
    return dict(result, changed=changed, stage="act", say=_say(params, result, check))


def _stop_at_kill_switch(params: Params, now: float) -> None:
    """Raise StepError while a kill switch is on. A freeze does not stop ending what was begun, and what has ended is always recorded."""
    flags = {"kill": params["killed"] or load_flags(params["state_dir"])["kill"]}
    reasons = judge_freeze(flags, [], now=now, override="")
    if reasons and not (params["settled"] or params["prolonged"]):
        raise StepError("%s: %s" % (reasons[0]["code"], reasons[0]["text"]), reasons=reasons, stage="guard")


def _judge(ledger: Ledger, params: Params, now: float) -> Result:
    abandoned: list[Result] = []
    held: list[Result] = []
    for lease in ledger.leases():
        if lease["host"] == params["host"]:
            alive = working(ledger, lease, now)
            verdict = judge_lease(lease, now=now, processes=alive, controller_dead=lease["run_id"] in params["dead_runs"])
            (abandoned if verdict["take"] else held).append(dict(lease, proof=verdict["proof"], reason=verdict["reason"]))
    # Nothing is ended while a run holds the component.
    busy = {lease["component"] for lease in held}
    dead = {str(lease["run_id"]) for lease in abandoned} | ledger.abandoned_runs()
    owed = [row for row in ledger.owed(params["host"]) if row["id"] not in params["settled"] + params["prolonged"]]
    due = [row for row in owed if _is_due(row, now, dead) and row["component"] not in busy]
    left = [row for row in owed if row not in due]
    ends = [dict(row, ended_by=_ended_by(str(row["kind"]))) for row in due]
    return {"abandoned": abandoned, "held": held, "due": ends, "owed": left, "left": [of_obligation(row) for row in left]}


def _ended_by(kind: str) -> str:
    """Return who ends an obligation of this kind: service_manager, the role that began it, or "" for a person."""
    role = kind.partition("/")[0]
    return kind if kind == "service_manager" else role if role in BY_ROLE and role != kind else ""


def _is_due(row: t.Mapping[str, t.Any], now: float, dead: t.Container[str]) -> bool:
    """Return whether an obligation must be ended now; a protection of data never must."""
    return row["ends_at"] is not None and (row["ends_at"] <= now or (row["kind"].partition("/")[0] in BY_ROLE and row["run_id"] in dead))


def _write_down(ledger: Ledger, params: Params, result: t.Mapping[str, t.Any], now: float) -> None:
    for lease in result["abandoned"]:
        ledger.abandon(lease, lease["proof"], params["run_id"] or "reconcile", now)
    for settled in params["settled"]:
        ledger.db.execute("update obligation set ended_at=? where id=? and ended_at is null", (now, settled))
        ledger.append(params["run_id"] or "reconcile", "settled", {"obligation": settled}, now)
    until = now + params["prolong_seconds"]
    for prolonged in params["prolonged"]:
        # It no longer belongs to a dead run: reconcile prolonged it and is responsible for it.
        ledger.db.execute("update obligation set ends_at=?, run_id='reconcile' where id=? and ended_at is null", (until, prolonged))
        ledger.append(params["run_id"] or "reconcile", "prolonged", {"obligation": prolonged, "ends_at": until}, now)


def _say(params: Params, result: t.Mapping[str, t.Any], check: bool) -> list[str]:
    verb = "would close" if check else "closed"
    lines = ["%s run %s of %s as abandoned: %s" % (verb, one["run_id"], one["owner"], one["proof"]) for one in result["abandoned"]]
    lines += ["left alone: %s" % one["reason"]["text"] for one in result["held"]]
    lines += ["due: %s of %s" % (one["kind"], one["component"]) for one in result["due"]]
    if params["prolonged"]:
        lines.append("due, but cannot be ended yet: prolonged by %.0f s" % params["prolong_seconds"])
    if params["settled"]:
        lines.append("ended")
    ends = {True: "until it is due", False: "has no end of its own; a person must end it"}
    lines += ["still active: %s of %s (%s)" % (one["kind"], one["component"], ends[bool(one["ends_at"])]) for one in result["owed"]]
    return lines or ["nothing left to end"]
