# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step guard: keep what was seen, decide whether this run may act, and write the decision down."""

from __future__ import annotations

import json
import secrets
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import approval as spine_approval
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import evidence as spine_evidence
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.guard import (
    attempted_elsewhere,
    judge_before,
    judge_evidence,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import Ledger, open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.shared import LIMITS, WHERE, keep_evidence, stops

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    WHERE,
    **LIMITS,
    before={"type": "dict", "default": {}},
    captured={"type": "list", "elements": "dict", "default": []},
    refusals={"type": "dict", "default": {}},
    expected_loss={"type": "str", "default": ""},
    plans={
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "text": {"type": "str", "required": True},
            "loss": {
                "type": "dict",
                "default": {},
                "options": {
                    "count": {"type": "int"},
                    "unit": {"type": "str", "default": ""},
                    "exact": {"type": "bool", "default": False},
                    "margin": {"type": "int", "default": 0},
                    "witness": {"type": "str", "default": ""},
                },
            },
            "binds": {"type": "dict", "default": {}},
            "counts": {"type": "dict", "default": {}},
            "tolerance": {"type": "float", "default": 0.0},
        },
    },
    accepted={"type": "str", "default": ""},
    approval={"type": "str", "default": "", "no_log": False},
    approval_seconds={"type": "int", "default": 900},
    without_evidence={"type": "str", "default": ""},
    lease_seconds={"type": "float", "default": 120.0},
    must_proceed={"type": "bool", "default": False},
)


def run(params: Params, check: bool) -> Result:
    """Return {changed, verdict: {proceed, reasons, actions, approved, plan}, run, stage, say}. Raises StepError for invalid plans."""
    now = time.time()
    _check_plans(params)
    opened = params["run"]
    if not opened.get("ok"):
        reasons = opened.get("reasons") or [reason("ledger_unusable", "the run was not opened")]
        return _result(params, {"proceed": False, "reasons": reasons, "actions": [], "approved": "", "plan": ""}, opened)
    evidence = opened.get("evidence") or {} if check else _keep_before(params)
    with open_ledger(params["state_dir"], check) as ledger:
        if check:
            verdict = _judge(ledger, params, evidence, now)
        else:
            with ledger.transaction():
                verdict = _judge(ledger, params, evidence, now)
                verdict = _write_down(ledger, params, verdict, now)
    return _result(params, verdict, dict(opened, evidence=evidence))


def _keep_before(params: Params) -> dict[str, t.Any]:
    """Store what was seen (and what was captured on a target with another keeper) beside the evidence of open."""
    seen = redact(json.dumps(params["before"], indent=1, sort_keys=True)).encode()
    name = "again.json" if params["must_proceed"] else "before.json"
    more = [{"name": name, "content": seen, "error": "", "required": True}] + spine_evidence.unpacked(params["captured"])
    stored = keep_evidence(params["state_dir"], params["run"]["run_id"], more)
    earlier = params["run"].get("evidence") or {"ok": True, "files": {}, "missing": {}, "error": ""}
    return dict(
        stored,
        ok=stored["ok"] and earlier["ok"],
        files=dict(earlier["files"], **stored["files"]),
        missing=dict(earlier["missing"], **stored["missing"]),
        error=earlier["error"] or stored["error"],
    )


def _judge(ledger: Ledger, params: Params, evidence: t.Mapping[str, t.Any], now: float) -> dict[str, t.Any]:
    before = params["before"]
    to_do, reasons = judge_before(before, params["refusals"])
    actions = list(before.get("actions") or [])
    if to_do:
        reasons = reasons + judge_evidence(evidence, params["without_evidence"])
        reasons = reasons + stops(ledger, params, actions[0], now, attempted_elsewhere(before, actions[0]))
    plans = _plans(params, actions) if to_do and not reasons else []
    plan: t.Optional[spine_approval.Plan] = None
    if plans and not params["accepted"]:
        plan, refusal = _judge_approval(ledger, params, plans, now)
        reasons = [refusal] if refusal else []
    approved = {"approved": params["approval"], "plan": plan["name"]} if plan else {"approved": "", "plan": ""}
    return dict(approved, proceed=to_do and not reasons, reasons=reasons, actions=actions)


def _check_plans(params: Params) -> None:
    plans = params["plans"]
    wrong = [plan["name"] for plan in plans if not _counts_are_whole(plan) or (plan.get("tolerance") or 0) < 0]
    if wrong:
        raise StepError("plan %s: counts must be whole numbers of 0 or more, and its tolerance must not be negative" % one_line(wrong[0]))
    if len({plan["name"] for plan in plans}) < len(plans) or not all(plan["name"] for plan in plans):
        raise StepError("every plan needs its own name")
    if params["accepted"] and params["accepted"] not in {plan["name"] for plan in plans}:
        raise StepError("accepted does not name one of the plans: %s" % one_line(params["accepted"]))
    if plans and params["expected_loss"]:
        raise StepError("set either plans or expected_loss, not both")


def _counts_are_whole(plan: spine_approval.Plan) -> bool:
    counts = list((plan.get("counts") or {}).values()) + [(plan.get("loss") or {}).get("count") or 0]
    return all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts)


def _plans(params: Params, actions: list[str]) -> list[spine_approval.Plan]:
    """Return the plans with all that an approval is bound to; the single one of `expected_loss` is named so."""
    given = params["plans"]
    if not given and params["expected_loss"]:
        given = [{"name": "expected_loss", "text": params["expected_loss"]}]
    common = {
        "target": {key: params["run"][key] for key in ("host", "component")},
        "identity": params["before"].get("identity") or {},
        "state": params["before"].get("state"),
        "acts": actions,
        # A person chose among these; if the choice changed, we ask again.
        "offered": sorted(plan["name"] for plan in given),
    }
    # A loss without a margin or a witness does not name them.
    return [dict(common, **{**plan, "loss": _plain(plan.get("loss") or {})}) for plan in given]


def _plain(loss: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: said for key, said in loss.items() if key not in ("margin", "witness") or said}


def _judge_approval(
    ledger: Ledger, params: Params, plans: t.Sequence[spine_approval.Plan], now: float
) -> tuple[t.Optional[spine_approval.Plan], t.Optional[dict[str, t.Any]]]:
    key, lasting = _approval_key(ledger)
    # A token made with a key that is not stored would approve nothing.
    used = {json.loads(row["body"])["token"] for row in ledger.rows("select body from journal where kind='approved'")}
    offered = spine_approval.offers(plans, key if lasting else b"", int(now) + params["approval_seconds"], used)
    return spine_approval.judge_approval(params["approval"], plans, key, now=now, used=used, offered=offered)


def _approval_key(ledger: Ledger) -> tuple[bytes, bool]:
    """Return (key, whether it lasts): in check mode nothing may be written, so a first key is forgotten."""
    found = ledger.row("select value from meta where name='approval_key'")
    if found is not None:
        return bytes.fromhex(found["value"]), True
    made = secrets.token_hex(32)
    if ledger.db.in_transaction:
        ledger.db.execute("insert into meta values('approval_key', ?)", (made,))
    return bytes.fromhex(made), ledger.db.in_transaction


def _write_down(ledger: Ledger, params: Params, verdict: dict[str, t.Any], now: float) -> dict[str, t.Any]:
    opened = params["run"]
    if not ledger.renew(opened, "guard", now + params["lease_seconds"], None, now):
        verdict = dict(verdict, proceed=False, reasons=[reason("fenced", "the lease of run %s was taken over" % opened["run_id"])])
    overrides = {key: params[key] for key in ("freeze_override", "without_evidence") if params[key]}
    before = {key: params["before"].get(key) for key in ("health", "state", "identity", "findings", "actions")}
    ledger.append(opened["run_id"], "guard", dict(verdict, before=before, overrides=overrides), now)
    if verdict["approved"] and verdict["proceed"]:
        ledger.append(opened["run_id"], "approved", dict(_plan_to_keep(params, verdict["plan"]), token=verdict["approved"]), now)
    elif params["accepted"] and verdict["proceed"]:
        ledger.append(opened["run_id"], "accepted", _plan_to_keep(params, params["accepted"]), now)
    return verdict


def _plan_to_keep(params: Params, name: str) -> dict[str, t.Any]:
    """Return what the journal keeps of a plan that goes ahead: plan (its name), text, loss, binds, counts, tolerance."""
    found = [plan for plan in params["plans"] if plan["name"] == name] or [{"text": params["expected_loss"]}]
    kept = {"loss": {}, "binds": {}, "counts": {}, "tolerance": 0, **found[0]}
    kept.pop("name", None)
    return dict(kept, plan=name)


def _result(params: Params, verdict: dict[str, t.Any], opened: dict[str, t.Any]) -> Result:
    if verdict["reasons"]:
        say = ["refused, %s: %s" % (one["code"], one["text"]) for one in verdict["reasons"]]
    elif verdict["proceed"]:
        say = ["may act: %s" % ", ".join(verdict["actions"])]
    else:
        say = ["well: nothing to do"]
    # Recording the decision does not change the target.
    if params["must_proceed"] and verdict["reasons"]:
        first = verdict["reasons"][0]
        # The message already has the first reason.
        raise StepError("%s: %s" % (first["code"], first["text"]), reasons=verdict["reasons"], stage="guard", say=say[1:])
    return {"changed": False, "verdict": verdict, "run": opened, "before": params["before"], "stage": "guard", "say": say}
