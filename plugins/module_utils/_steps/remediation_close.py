# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step close: one explicit outcome, written down, and the lease released."""

from __future__ import annotations

import json
import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import file_name, one_line, redact, without_url_secrets
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import left as spine_left
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import write_durably
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import Ledger, open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.loss import inherited, is_lossy, loss_of_run
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.outcome import (
    is_green,
    judge_outcome,
    rung,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.shared import LIMITS, WHERE, budget_of, counted_attempts

SCHEMA = 1
ARGUMENT_SPEC: dict[str, t.Any] = dict(
    WHERE,
    budget=LIMITS["budget"],
    verdict={"type": "dict", "default": {}},
    before={"type": "dict", "default": {}},
    after={"type": "dict", "default": {}},
    last={"type": "dict", "default": {}},
    left={"type": "list", "elements": "raw"},
    failure={"type": "dict", "default": {}},
    undo_ok={"type": "bool", "default": False},
    undo={"type": "str", "default": ""},
    loss={"type": "dict", "default": {}},
    harmless={"type": "dict", "default": {}},
    verified={"type": "dict", "default": {}},
    proof={"type": "list", "elements": "str", "default": []},
    annotations={"type": "dict", "default": {}},
    next={"type": "str", "default": "{history}"},
    not_reached={"type": "str", "default": ""},
    ladder={
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"after_attempts": {"type": "int", "required": True}, "page": {"type": "str", "required": True}},
    },
)


def run(params: Params, check: bool) -> Result:
    """Return {changed: false, outcome: {...}, stage, say: []}.

    A ledger that cannot be written makes the outcome `unproven` or worse, never better.
    """
    now = time.time()
    outcome = _compose(params, check, now)
    try:
        if params["not_reached"]:
            raise StepError(params["not_reached"])
        _record(params, outcome, check, now)
    except StepError as error:
        if "outcome" not in outcome:
            # What the guard allowed may have been begun; only the ledger would know.
            allowed = params["verdict"].get("actions") or [] if params["verdict"].get("proceed") else []
            outcome["loss"] = loss_of_run(params["loss"], {}, [] if check else allowed, params["harmless"])
            outcome.update(_judged(params, [{"kind": "act", "action": action} for action in allowed], outcome["loss"], check), acts=[])
            outcome["left"] = _left(params, outcome, params["run"].get("owed") or []) + ([dict(spine_left.UNREAD)] if allowed else [])
        outcome.update(outcome=_not_written(outcome["outcome"]), green=False, not_written=str(error))
    outcome["undo"] = spine_left.undo_beside(outcome["undo"], outcome["left"])
    if outcome["outcome"] in ("failed", "undone") and not outcome["reasons"]:
        outcome["next_command"] = params["next"]
    if outcome["outcome"] == "recovered_with_loss" and not outcome["green"]:
        # It works, and its loss is over: what is left is to see that everything else is well, too.
        outcome["next_command"] = "{verify}"
    return {"changed": False, "outcome": without_url_secrets(outcome), "stage": "close", "say": []}


def _not_written(outcome: str) -> str:
    return "unproven" if outcome.startswith("recovered") else "failed" if outcome == "nothing_to_do" else outcome


def _compose(params: Params, check: bool, now: float) -> dict[str, t.Any]:
    opened, failure = params["run"], dict(params["failure"])
    if failure.get("msg"):
        failure["msg"] = one_line(redact(str(failure["msg"])), 400)
    return {
        "schema": SCHEMA,
        "run_id": opened.get("run_id", ""),
        "host": opened.get("host", ""),
        "component": opened.get("component", ""),
        "target": "%s/%s" % (opened.get("host", ""), opened.get("component", "")),
        "remedy": opened.get("remedy", ""),
        "owner": opened.get("owner", ""),
        "opened_at": opened.get("opened_at", now),
        "closed_at": now,
        "seconds": round(now - opened.get("opened_at", now), 3),
        "check_mode": check,
        "before": params["before"],
        "verdict": params["verdict"],
        "reasons": params["verdict"].get("reasons") or failure.get("reasons") or opened.get("reasons") or [],
        "after": params["after"],
        "beside": [dict(one, next_command="{%s}" % one["playbook"]) for one in params["after"].get("beside") or []],
        "failure": failure,
        "approved_plan": params["verdict"].get("plan") or "",
        "loss": loss_of_run(params["loss"], {}, [], {}),
        "evidence": opened.get("evidence") or {},
        "undo": params["undo"],
        "left": [],
        "proof": params["proof"],
        "resumed": opened.get("resumed") or {},
        "annotations": {name: one_line(redact(str(text)), 400) for name, text in params["annotations"].items() if text},
    }


def _record(params: Params, outcome: dict[str, t.Any], check: bool, now: float) -> None:
    opened = params["run"]
    if not opened.get("run_id"):
        outcome.update(_judged(params, [], outcome["loss"], check))
        outcome["left"] = _left(params, outcome, _owed_unopened(params))
        return
    with open_ledger(params["state_dir"], check) as ledger:
        acts, plan = _acts(ledger, opened["run_id"]), (ledger.plans(opened["run_id"]) or [{}])[-1]
        name = plan.get("plan") if plan.get("kind") == "approved" else ""
        outcome.update(approved_plan=name or outcome["approved_plan"], loss=_lost(ledger, params, acts, plan))
        outcome.update(_judged(params, acts, outcome["loss"], check), acts=acts)
        outcome["left"] = _left(params, outcome, _owed(ledger, params)) + spine_left.of_dead_run(outcome["resumed"])
        outcome["escalation"] = _escalation(ledger, params, outcome, now)
        if not check:
            with ledger.transaction():
                _close(ledger, params, outcome, now)
            outcome["file"] = _write(params["state_dir"], outcome)


def _left(params: Params, outcome: t.Mapping[str, t.Any], owed: t.Sequence[t.Mapping[str, t.Any]]) -> list[spine_left.Left]:
    look, recovered = params["last"] or params["after"], str(outcome["outcome"]).startswith("recovered")
    return spine_left.all_left(owed, params["left"], look, str(params["run"].get("run_id") or ""), recovered=recovered)


def _owed(ledger: Ledger, params: Params) -> list[dict[str, t.Any]]:
    """Return what is open on this component, of this run and of earlier ones."""
    opened = params["run"]
    return [row for row in ledger.owed(opened.get("host")) if row["component"] == opened.get("component")]


def _owed_unopened(params: Params) -> list[dict[str, t.Any]]:
    """Return the same for a run that was refused before it opened the ledger; [] where the ledger cannot be read."""
    try:
        with open_ledger(params["state_dir"], True) as ledger:
            return _owed(ledger, params)
    except StepError:
        return []


def _acts(ledger: Ledger, run_id: str) -> list[dict[str, t.Any]]:
    return [
        {"kind": "act" if row["kind"] == "begin" else "undo", "action": row["body"]["action"], "at": row["at"]}
        for row in ledger.journal_of(run_id)
        if row["kind"] in ("begin", "undo")
    ]


def _lost(ledger: Ledger, params: Params, acts: t.Sequence[t.Mapping[str, t.Any]], plan: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the loss of the run; if it has none and chose no plan itself, that of a dead run that was not reported yet."""
    own = [act["action"] for act in acts if act["kind"] == "act"]
    loss = loss_of_run(params["loss"], plan, own, params["harmless"])
    if is_lossy(loss) or plan or params["verdict"].get("reasons") or not params["run"].get("token"):
        return loss
    died_with = inherited(ledger.unsettled(params["run"]["host"], params["run"]["component"]))
    if died_with:
        return loss_of_run(died_with, {}, ["what that run began"], {})
    return _with_dead_acts(params, own, loss)


def _with_dead_acts(params: Params, own: list[str], loss: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the loss of a run that began nothing, where the acts of a dead run before it count: it is the first that reports them."""
    dead = params["run"].get("resumed") or {}
    begun = spine_left.acts_of(dead)
    # A run that acts itself has the remedy's own judgement of what is there afterwards.
    if not begun or own:
        return loss
    found = loss_of_run(params["loss"], {}, begun, params["harmless"])
    told = "run %s began %s and died: " % (dead["run_id"], ", ".join(begun))
    return dict(found, text=told + found["text"]) if is_lossy(found) else found


def _judged(params: Params, acts: t.Sequence[t.Mapping[str, t.Any]], loss: t.Mapping[str, t.Any], check: bool) -> dict[str, t.Any]:
    begun, undone = ([act["action"] for act in acts if act["kind"] == kind] for kind in ("act", "undo"))
    # A run that never got its lease has no verdict, but it has reasons.
    failure = params["failure"] or ({"reasons": params["run"]["reasons"]} if params["run"].get("reasons") else {})
    word = judge_outcome(params["verdict"], begun, undone, params["after"], failure, undo_ok=params["undo_ok"], check=check, loss=loss)
    return {"outcome": word, "green": is_green(word, loss), "acts": list(acts)}


def _escalation(ledger: Ledger, params: Params, outcome: t.Mapping[str, t.Any], now: float) -> dict[str, t.Any]:
    """Return whom to page: for a run that acted in vain, or that was refused since others had; never for one that began no act."""
    tried_enough = any(one.get("code") in ("budget_spent", "flapping") for one in outcome["reasons"])
    in_vain = bool(outcome["acts"]) and outcome["outcome"] in ("failed", "undone", "unproven")
    if outcome["check_mode"] or not (tried_enough or in_vain):
        return {}
    opened = params["run"]
    tried = ledger.attempts(opened["host"], opened["component"], now - budget_of(params)["within_seconds"])
    # For a component that flaps, each recovery was an attempt that did not last.
    tried = tried if any(one.get("code") == "flapping" for one in outcome["reasons"]) else [dict(one) for one in counted_attempts(tried)]
    reached = rung(params["ladder"], len(tried))
    return {"page": reached["page"], "tried": tried} if reached else {}


def _close(ledger: Ledger, params: Params, outcome: dict[str, t.Any], now: float) -> None:
    opened = params["run"]
    released = ledger.release(opened) if opened.get("token") else False
    outcome["fenced"] = bool(opened.get("token")) and not released
    if outcome["fenced"] and (outcome["acts"] or outcome["outcome"] != "refused"):
        # Another run holds the target now, so what this one saw last no longer proves anything.
        outcome.update(outcome="unproven", green=False)
    elif opened.get("token") and not outcome["fenced"]:
        _keep_left(ledger, params, outcome, now)
    kept = ("outcome", "seconds", "reasons", "failure", "loss", "approved_plan", "annotations", "fenced", "left")
    body = {key: outcome[key] for key in kept}
    after = {key: params["after"].get(key) for key in ("health", "state", "identity", "passes", "proven")}
    outcome["journal_hash"] = ledger.append(opened["run_id"], "close", dict(body, after=after, proof=params["proof"]), now)
    ended = (now, outcome["outcome"], opened["run_id"])
    ledger.db.execute("update run set closed_at=?, outcome=? where run_id=? and closed_at is null", ended)
    if outcome["outcome"] in ("recovered", "recovered_with_loss", "nothing_to_do") and not outcome["fenced"]:
        for kind, state in params["verified"].items():
            ledger.db.execute(
                "insert or replace into verified values(?,?,?,?,?,?)",
                (opened["host"], opened["component"], kind, json.dumps(state), now, opened["run_id"]),
            )


def _keep_left(ledger: Ledger, params: Params, outcome: t.Mapping[str, t.Any], now: float) -> None:
    """Keep (inside a transaction) what was reported as left, for later runs and reconcile; end what is not left any more."""
    recovered, look = str(outcome["outcome"]).startswith("recovered"), params["last"] or params["after"]
    new, over = spine_left.to_keep(_owed(ledger, params), params["left"], look, recovered=recovered)
    for one in new:
        ledger.owe(params["run"], spine_left.REPORTED + one["what"], {"left": one}, None, now)
    for kind in over:
        ledger.settle(params["run"]["host"], params["run"]["component"], kind, now)


def _write(state_dir: str, outcome: t.Mapping[str, t.Any]) -> str:
    directory = os.path.join(state_dir, "outcomes")
    path = os.path.join(directory, "%s.json" % file_name(outcome["run_id"]))
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        write_durably(path, json.dumps(without_url_secrets(outcome), indent=1, sort_keys=True).encode())
    except OSError:
        # The journal already holds the outcome; the file is only a convenience.
        return ""
    return path
