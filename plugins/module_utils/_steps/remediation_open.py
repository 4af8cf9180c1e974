# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step open: take the lease and keep the evidence. Looks and writes only on the keeper."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import evidence as spine_evidence
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.lease import judge_lease
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import Ledger, open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.shared import keep_evidence, working

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state_dir": {"type": "path", "required": True},
    "host": {"type": "str", "required": True},
    "component": {"type": "str", "required": True},
    "remedy": {"type": "str", "required": True},
    "run_id": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": ""},
    "controller": {"type": "dict", "default": {}},
    "lease_seconds": {"type": "float", "default": 120.0},
    "takeover": {"type": "bool", "default": False},
    "dead_runs": {"type": "list", "elements": "str", "default": []},
    "evidence": {"type": "list", "elements": "dict", "default": [], "options": spine_evidence.SUBOPTIONS},
    "evidence_max_bytes": {"type": "int", "default": 8388608},
    "keeper_is_target": {"type": "bool", "default": True},
    "verify_seconds": {"type": "float", "default": 60.0},
}
# Seconds for which later runs hear of a loss that another run of this keeper declared.
REMEMBERED = 86400.0


def run(params: Params, check: bool) -> Result:
    """Return {changed, run, stage, say}; run.ok is false with run.reasons when the lease is not available."""
    now = time.time()
    with open_ledger(params["state_dir"], check) as ledger:
        lease = _take(ledger, params, check, now)
        known = {
            "last_verified": ledger.last_verified(params["host"], params["component"]),
            "owed": [row for row in ledger.owed(params["host"]) if row["component"] == params["component"]],
            "beside": _beside(ledger, params),
            "lost": ledger.losses(now - REMEMBERED),
        }
    opened = {key: params[key] for key in ("run_id", "host", "component", "remedy", "owner")}
    opened.update(lease, opened_at=now, verify_seconds=params["verify_seconds"], lease_seconds=params["lease_seconds"], **known)
    if lease["ok"]:
        opened["evidence"] = _keep(params, check) if params["keeper_is_target"] else {}
    # What we note of ourselves changes no service: a run that only looked has changed nothing.
    return {"changed": False, "run": opened, "stage": "open", "say": _say(opened, check)}


def _beside(ledger: Ledger, params: Params) -> list[dict[str, str]]:
    """Return what else is in progress on this host: {component, run_id, what} of each lease and each open obligation."""
    held = [dict(lease, what="lease") for lease in ledger.leases()]
    owed = [dict(row, what=row["kind"]) for row in ledger.owed(params["host"])]
    others = [row for row in held + owed if row["host"] == params["host"] and row["component"] != params["component"]]
    return [{key: row[key] for key in ("component", "run_id", "what")} for row in others]


def _take(ledger: Ledger, params: Params, check: bool, now: float) -> dict[str, t.Any]:
    if check:
        return _judge(ledger, params, now)[1]
    with ledger.transaction():
        held, verdict = _judge(ledger, params, now)
        if not verdict["ok"]:
            ledger.append(params["run_id"], "refused", {"reasons": verdict["reasons"]}, now)
            ledger.enter(params, now)
            return verdict
        if held:
            ledger.abandon(held, verdict["proof"], params["run_id"], now)
        ends_at = now + params["lease_seconds"]
        verdict["token"] = ledger.grant(dict(params, ends_at=ends_at), now)
        opened = {key: params[key] for key in ("host", "component", "remedy", "owner", "controller")}
        ledger.append(params["run_id"], "open", dict(opened, token=verdict["token"], ends_at=ends_at), now)
    return verdict


def _judge(ledger: Ledger, params: Params, now: float) -> tuple[t.Optional[dict[str, t.Any]], dict[str, t.Any]]:
    held = ledger.lease(params["host"], params["component"])
    verdict = judge_lease(
        held,
        now=now,
        processes=working(ledger, held, now) if held else (),
        controller_dead=bool(held) and held["run_id"] in params["dead_runs"] if held else False,
        takeover=params["takeover"],
    )
    if verdict["reason"]:
        # The controller decides with this whether the holder's controller process is gone.
        holder = {key: held[key] for key in ("run_id", "controller", "acting_until", "ends_at")} if held else {}
        return held, {"ok": False, "token": 0, "reasons": [verdict["reason"]], "holder": holder}
    resumed = _dead_run(ledger, held, verdict["proof"]) if held else _closed_before(ledger, params)
    return held, {"ok": True, "token": 0, "reasons": [], "proof": verdict["proof"], "resumed": resumed}


def _dead_run(ledger: Ledger, held: t.Mapping[str, t.Any], proof: str) -> dict[str, t.Any]:
    begun = [row["body"]["action"] for row in ledger.journal_of(held["run_id"]) if row["kind"] == "begin"]
    return {"run_id": held["run_id"], "owner": held["owner"], "phase": held["phase"], "begun": begun, "proof": proof}


def _closed_before(ledger: Ledger, params: Params) -> dict[str, t.Any]:
    """Return the last dead run that began something and that reconcile closed, {} for none: no later run has reported what it did."""
    for row in reversed(ledger.unreported(params["host"], params["component"])):
        closed = [one["body"] for one in ledger.journal_of(row["run_id"]) if one["kind"] == "abandoned"]
        known = dict(closed[-1] if closed else {"phase": "", "proof": ""}, **row)
        found = dict(_dead_run(ledger, known, known["proof"]), closed=True)
        if found["begun"]:
            return found
    return {}


def _keep(params: Params, check: bool) -> dict[str, t.Any]:
    if check:
        return {"ok": True, "dir": "", "files": {}, "missing": {}, "error": "", "planned": [item["name"] for item in params["evidence"]]}
    captured = spine_evidence.capture(params["evidence"], params["evidence_max_bytes"])
    return keep_evidence(params["state_dir"], params["run_id"], captured)


def _say(opened: t.Mapping[str, t.Any], check: bool) -> list[str]:
    if not opened["ok"]:
        return [one["text"] for one in opened["reasons"]]
    lines = []
    dead = opened["resumed"]
    if dead:
        did = "after it began %s" % ", ".join(dead["begun"]) if dead["begun"] else "before it began any act"
        closed = "would be closed" if check and not dead.get("closed") else "closed as abandoned"
        lines.append("run %s of %s died %s (%s): %s" % (dead["run_id"], dead["owner"], did, dead["proof"], closed))
    evidence = opened.get("evidence") or {}
    if evidence.get("files"):
        size = sum(one["bytes"] for one in evidence["files"].values())
        doubts = "".join("; %s: %s" % one for one in sorted((evidence.get("doubtful") or {}).items()))
        lines.append("evidence saved: %s, %d bytes%s" % (", ".join(sorted(evidence["files"])), size, doubts))
    return lines
