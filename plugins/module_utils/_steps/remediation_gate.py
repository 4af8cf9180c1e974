# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step gate: the last look at token, freeze and budget before one act, and the intent written down."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.guard import BESIDE, PASSIVE
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import Ledger, open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.shared import LIMITS, MARGIN, WHERE, stops

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    WHERE,
    **LIMITS,
    action={"type": "str", "required": True},
    purpose={"type": "str", "choices": ["act", "part", "undo", "done"], "default": "act"},
    deadline={"type": "float", "default": 30.0},
    holds={"type": "float"},
    owes={
        "type": "dict",
        "options": {
            "kind": {"type": "str", "required": True},
            "body": {"type": "dict", "default": {}},
            "parts": {"type": "dict", "default": {}},
            "seconds": {"type": "float"},
            "notice": {"type": "str", "default": ""},
            "text": {"type": "str", "default": ""},
            "command": {"type": "str", "default": ""},
        },
    },
    settles={"type": "list", "elements": "str", "default": []},
    revives={"type": "bool", "default": False},
)


def run(params: Params, check: bool) -> Result:
    """Return {changed, gate, stage, say}. Raises StepError with data.reasons when the act may not begin."""
    now = time.time()
    with open_ledger(params["state_dir"], check) as ledger:
        if check:
            reasons = _reasons(ledger, params, now)
        else:
            with ledger.transaction():
                reasons = _reasons(ledger, params, now) or _begin(ledger, params, now)
    if reasons:
        raise StepError("%s: %s" % (reasons[0]["code"], reasons[0]["text"]), reasons=reasons, stage="guard")
    gate = {"action": params["action"], "purpose": params["purpose"], "begun_at": now, "deadline": params["deadline"]}
    # Recording intent does not change the target, so the gate never reports a change.
    say = ["would %s" % params["action"].replace("_", " ")] if check and params["purpose"] != "done" else []
    say += _its_end(params["owes"] or {}, now)
    return {"changed": False, "gate": gate, "stage": "undo" if params["purpose"] == "undo" else "act", "say": say}


def _its_end(owes: t.Mapping[str, t.Any], now: float) -> list[str]:
    """Return when the act that begins now will end, if that should be shown."""
    if not owes.get("notice") or not owes.get("seconds"):
        return []
    return ["%s at %s, by reconcile.yml" % (owes["notice"], time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(now + owes["seconds"])))]


def _reasons(ledger: Ledger, params: Params, now: float) -> list[dict[str, t.Any]]:
    if params["purpose"] == "done":
        # Nothing begins here: what was done is recorded regardless of freezes and budgets.
        return []
    # Budget and freeze never stop a continuation or an undo, which end what was begun. The kill switch stops those too.
    reasons = stops(ledger, params, params["action"], now)
    return reasons if params["purpose"] == "act" else [one for one in reasons if one["code"] == "kill_switch"]


def _hold(params: Params, now: float) -> tuple[float, t.Optional[float]]:
    """Return (end of the lease, time by which a run that dies now has stopped acting, or None), in seconds since the epoch."""
    opened, deadline, holds = params["run"], params["deadline"], params["holds"]
    if params["action"] in PASSIVE or params["purpose"] == "done":
        # A wait leaves nothing half done, so after a dead run no one has to wait for its deadline.
        return now + float(opened.get("lease_seconds") or 0), None
    # The lease outlives the verification too, so that no other run acts while this one still verifies.
    return now + deadline + MARGIN + float(opened.get("verify_seconds") or 0), now + (deadline if holds is None else holds)


def _begin(ledger: Ledger, params: Params, now: float) -> list[dict[str, t.Any]]:
    opened = params["run"]
    ends_at, until = _hold(params, now)
    phase = "done %s" if params["purpose"] == "done" else "begin %s"
    if not ledger.renew(opened, phase % params["action"], ends_at, until, now):
        what = "recorded as done" if params["purpose"] == "done" else "begun"
        return [reason("fenced", "the lease of run %s was taken over; %s was not %s" % (opened["run_id"], params["action"], what))]
    owed = _owed(ledger, params)
    # What replaces something with an end gets its own end.
    settled = [ended for kind in params["settles"] for ended in ledger.settle(opened["host"], opened["component"], kind, now)]
    kind = {"act": "begin", "part": "part", "undo": "undo", "done": "settled"}[params["purpose"]]
    revived = ledger.revive(opened["run_id"]) if params["revives"] else []
    told = {"action": params["action"], "deadline": params["deadline"], "owes": params["owes"], "settled": settled, "revived": revived}
    ledger.append(opened["run_id"], kind, told, now)
    if params["purpose"] == "act" and params["action"] not in BESIDE:
        ledger.db.execute(
            "insert into attempt values(?,?,?,?,?)", (opened["host"], opened["component"], params["action"], opened["run_id"], now)
        )
    for name, body in owed.items():
        seconds = params["owes"].get("seconds")
        ledger.owe(opened, name, body, now + seconds if seconds else None, now)
    return []


def _owed(ledger: Ledger, params: Params) -> dict[str, dict[str, t.Any]]:
    """Return {kind: body} of what the act owes, one entry per part, because each part may end separately."""
    owes = params["owes"]
    if not owes:
        return {}
    body = dict(owes.get("body") or {})
    if owes.get("text"):
        body["left"] = {"text": owes["text"], "command": owes.get("command") or ""}
    if not owes.get("parts"):
        return {owes["kind"]: body}
    opened = params["run"]
    before = {row["kind"]: row["body"] for row in ledger.owed(opened["host"]) if row["component"] == opened["component"]}
    owed = {}
    for part, was in owes["parts"].items():
        kind = "%s/%s" % (owes["kind"], part)
        # If it already has an end, keep the state from before that began.
        owed[kind] = dict(body, part=part, was=before.get(kind, {}).get("was", was))
    return owed
