# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step history: show the runs of a keeper, verify the chain, export the journal. Looks only."""

from __future__ import annotations

import json
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.approval import told
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.freeze import load_flags
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.left import of_obligation

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state_dir": {"type": "path", "required": True},
    "limit": {"type": "int", "default": 20},
    "run_id": {"type": "str", "default": ""},
    "export": {"type": "bool", "default": False},
    "export_to": {"type": "str", "default": ""},
    "quiet": {"type": "bool", "default": False},
    "verified_of": {"type": "str", "default": ""},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed: false, runs, drills, leases, owed, left, flags, chain: {...}, journal?: [...], say, whole}.

    With ``verified_of`` (a host) only {changed: false, verified: {component: {kind: {at, run_id, ...}}}, stage, say}.
    """
    # Opened as in check mode, since history never writes.
    with open_ledger(params["state_dir"], True) as ledger:
        if params["verified_of"]:
            return {"changed": False, "verified": ledger.verified_of(params["verified_of"]), "stage": "assess", "say": []}
        broken = ledger.broken_at()
        count = ledger.row("select count(*) as records, max(seq) as last from journal") or {"records": 0}
        head = ledger.row("select hash from journal order by seq desc limit 1") or {"hash": ""}
        query = "select * from run where ?1 in ('', run_id) order by opened_at desc limit ?2"
        runs = ledger.rows(query, params["run_id"], params["limit"])
        # An altered journal is not quoted.
        runs = [dict(row, **tried(ledger.journal_of(row["run_id"]) if broken is None else [])) for row in runs]
        result: Result = {"changed": False, "runs": runs, "leases": ledger.leases(), "owed": ledger.owed()}
        result["drills"] = _drills(ledger.rows("select at, body from journal where kind='drill' order by seq"))
        if params["export"]:
            result["journal"] = ledger.rows("select * from journal order by seq")
        if params["run_id"]:
            result["steps"] = ledger.journal_of(params["run_id"])
    result["chain"] = {"whole": broken is None, "broken_at": broken, "records": count["records"], "head": head["hash"]}
    result["flags"] = load_flags(params["state_dir"])
    result["left"] = [] if params["quiet"] else [of_obligation(row) for row in result["owed"]]
    return dict(result, stage="assess", whole=True, say=[] if params["quiet"] else _say(result, params["state_dir"], time.time()))


def tried(steps: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Return {remedy, acts, codes}: which remedy a run was of, the acts that it began, in order, and why it was refused, by its records."""
    bodies: dict[str, list[t.Mapping[str, t.Any]]] = {}
    for row in steps:
        bodies.setdefault(str(row["kind"]), []).append(row["body"])
    remedy = next((str(one.get("remedy") or "") for one in bodies.get("open", [])), "")
    reasons = [reason for kind in ("close", "guard") for one in bodies.get(kind, []) for reason in one.get("reasons") or []]
    acts = [str(one.get("action")) for one in bodies.get("begin", [])]
    return {"remedy": remedy.rpartition(".")[2], "acts": acts, "codes": list(dict.fromkeys(str(one.get("code")) for one in reasons))}


def _say(result: t.Mapping[str, t.Any], state_dir: str, now: float) -> list[str]:
    lines = [_line(row) for row in result["runs"]] or ["no runs recorded in %s" % one_line(state_dir, 200)]
    lines += [line for row in result.get("steps") or [] for line in [_step_line(row), *_plan_lines(row), *_left_lines(row)]]
    lines += [_lease_line(one, now) for one in result["leases"]]
    lines += [_drill_line(one) for one in result["drills"]]
    lines += [
        "still to be ended, see below: {kind} of {host}/{component} since ".format(**one) + _clock(one["begun_at"])
        for one in result["owed"]
    ]
    chain = result["chain"]
    if not chain["records"]:
        return lines + ["the chain is empty: nothing to verify"]
    if chain["whole"]:
        return lines + ["the chain of %d records is intact, head %s" % (chain["records"], chain["head"][:16])]
    return lines + ["THE CHAIN IS BROKEN at record %d: records from there on were altered" % chain["broken_at"]]


def _clock(at: t.Optional[float]) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)) if at else "-"


def _line(row: t.Mapping[str, t.Any]) -> str:
    took = "%.1f s" % (row["closed_at"] - row["opened_at"]) if row["closed_at"] else "open"
    why = " (%s)" % ", ".join(row["codes"]) if row["codes"] else ""
    acts = " after %s" % ", ".join(row["acts"]) if row["acts"] else ""
    return "%s %s/%s %s: %s%s%s, by %s, %s, %s" % (
        _clock(row["opened_at"]), row["host"], row["component"], one_line(row["remedy"], 60) or "a run", row["outcome"] or "not closed",
        one_line(why, 120), one_line(acts, 120), row["owner"], took, row["run_id"],
    )  # fmt: skip


def _lease_line(one: t.Mapping[str, t.Any], now: float) -> str:
    left = round(one["ends_at"] - now)
    return "lease: {host}/{component} held by {run_id} of {owner}, ".format(**one) + ("%d s left" % left if left > 0 else "expired")


def _drills(rows: t.Iterable[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the last drill of each fault, with the time when it was last held out as `proven_at` (None: never)."""
    last: dict[str, dict[str, t.Any]] = {}
    for row in rows:
        body = json.loads(row["body"])
        before = last.get(str(body.get("fault")), {}).get("proven_at")
        last[str(body.get("fault"))] = dict(body, at=row["at"], proven_at=row["at"] if body.get("verdict") == "held" else before)
    return [last[fault] for fault in sorted(last)]


def _drill_line(one: t.Mapping[str, t.Any]) -> str:
    text = "drill %s %s: %s, lost %s, declared %s, %s s, version %s; last proven %s" % (
        one.get("fault"), one.get("verdict"), one.get("outcome"), _number(one.get("lost")), _number(one.get("declared")),
        round(float(one.get("seconds") or 0), 1), one.get("version"), _clock(one["proven_at"]) if one["proven_at"] else "never",
    )  # fmt: skip
    return one_line(text, 300)


def _number(count: t.Any) -> str:
    return "-" if count is None else str(count)


def _step_line(row: t.Mapping[str, t.Any]) -> str:
    return "%s %s %s" % (_clock(row["at"]), row["kind"], one_line(json.dumps(row["body"]), 120))


def _left_lines(row: t.Mapping[str, t.Any]) -> list[str]:
    """Return what the close of a run listed as left, as it was then."""
    return ["  left: " + one_line(one.get("text"), 300) for one in row["body"].get("left") or [] if row["kind"] == "close"]


def _plan_lines(row: t.Mapping[str, t.Any]) -> list[str]:
    """Return the plans that a record offered or approved, one line each; their tokens are not shown again."""
    body = row["body"]
    if row["kind"] in ("approved", "accepted"):
        return ["  %s: " % row["kind"] + one_line(told(dict(body, name=body.get("plan"))), 300)]
    plans = [plan for one in body.get("reasons") or [] for plan in one.get("plans") or []]
    return ["  offered: " + one_line(told(plan), 300) for plan in plans]
