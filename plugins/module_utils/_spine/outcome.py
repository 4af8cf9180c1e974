# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judgement of a finished run: one explicit outcome. Plain data in, a word and a sentence out."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.approval import exceeds
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import GREEN

Facts = t.Mapping[str, t.Any]


def judge_outcome(
    verdict: t.Optional[Facts],
    acts: t.Sequence[str],
    undone: t.Sequence[str],
    after: Facts,
    failure: Facts,
    *,
    undo_ok: bool,
    check: bool,
    loss: Facts,
) -> str:
    """Return the outcome of a run.

    acts, undone: what was begun and what was begun to be put back; after: the last look, with `proven`;
    failure: {task, msg, reasons, lost} of the first task that failed (lost: its connection), or {}; loss: as `declared` gives it.
    """
    if not verdict:
        return "refused" if failure.get("reasons") else "failed"
    if verdict.get("reasons"):
        return "refused"
    if not verdict.get("proceed"):
        return "failed" if failure else "nothing_to_do"
    if failure:
        return _judge_failure(acts, undone, failure, undo_ok)
    if check:
        return "rehearsed"
    return _judge_proof(after, loss)


def _judge_failure(acts: t.Sequence[str], undone: t.Sequence[str], failure: Facts, undo_ok: bool) -> str:
    if undone:
        # A person still has to choose a plan; what was prepared for that and put back does not change the question.
        asked = any(str(one.get("code")).startswith("approval_") for one in failure.get("reasons") or [])
        return ("refused" if asked else "undone") if undo_ok else "failed"
    if failure.get("lost") and acts:
        return "unproven"
    # A gate may refuse a later act; the refusal lists what was done before.
    return "refused" if failure.get("reasons") else "failed"


def _judge_proof(after: Facts, loss: Facts) -> str:
    if after.get("health") == "well" and after.get("proven"):
        return "recovered_with_loss" if is_lossy(loss) else "recovered"
    return "failed" if after.get("health") == "sick" else "unproven"


def declared(given: Facts, approval: Facts) -> dict[str, t.Any]:
    """Return the loss of a run in its one form: {count, exact, unit, text, approved, known_before, present_after}.

    given: what the remedy declares, {} for no loss; a count that is not given is unknown (None).
    approval: the plan that this run had approved {loss, tolerance}, or {}; more than it said is not approved.
    """
    count = _number(given.get("count")) if given else 0
    approved = _flag(given["approved"]) if "approved" in given else bool(given and approval)
    if count is not None and exceeds(count, approval.get("loss") or {}, approval.get("tolerance") or 0):
        approved = False
    return {
        "count": count,
        "exact": count is not None and (not given or _flag(given.get("exact"))),
        "unit": str(given.get("unit") or ""),
        "text": str(given.get("text") or ""),
        "approved": approved,
        "known_before": _number(given.get("known_before")),
        "present_after": _number(given.get("present_after")),
    }


def inherited(plan: Facts) -> dict[str, t.Any]:
    """Return what a remedy would declare for the *plan* that a dead run went ahead with {run_id, plan, text, loss}, {} for no loss.

    We do not know whether that run lived long enough to apply it, so the count is never exact.
    """
    loss = plan.get("loss") or {}
    if not plan or (loss.get("count") == 0 and loss.get("exact")):
        return {}
    text = "run %s started this and died: %s" % (plan["run_id"], " ".join(str(plan.get(key) or "") for key in ("plan", "text")))
    return {"count": loss.get("count"), "unit": loss.get("unit"), "exact": False, "text": text, "approved": True}


def _number(value: t.Any) -> t.Optional[int]:
    """Return a count, None for anything else; a template may have turned it into text."""
    try:
        return int(value) if int(value) >= 0 else None
    except (TypeError, ValueError):
        return None


def _flag(value: t.Any) -> bool:
    return str(value).lower() not in ("", "false", "no", "0", "none")


def is_lossy(loss: Facts) -> bool:
    """Return whether a declared loss counts as one: more than nothing, or not counted exactly."""
    return bool(loss) and (loss.get("count") != 0 or not loss.get("exact"))


def is_green(outcome: str, loss: Facts) -> bool:
    """Return whether the job is green: well, and nothing lost beyond what was approved."""
    return outcome in GREEN or (outcome == "recovered_with_loss" and bool(loss.get("approved")))


def why_red(outcome: Facts) -> str:
    """Return, for logs that show nothing else of a run, why it is red: its outcome, the first reason and the next command; "" if green."""
    if outcome.get("green"):
        return ""
    first = (outcome.get("reasons") or [{}])[0]
    parts = ["outcome: %s" % outcome.get("outcome")]
    parts += ["%s: %s" % (first.get("code"), first.get("text"))] if first else []
    parts += [str(first.get("unblock") or ""), "next: %s" % first["next_command"] if first.get("next_command") else ""]
    parts += ["left: %s" % one.get("text") for one in (outcome.get("left") or [])[:1]]
    return "; ".join(part for part in parts if part)


def rung(ladder: t.Sequence[Facts], tried: int) -> t.Optional[dict[str, t.Any]]:
    """Return the highest rung of the escalation ladder that *tried* attempts have reached, None when none is."""
    reached = [step for step in ladder if tried >= int(step["after_attempts"])]
    return dict(max(reached, key=lambda step: int(step["after_attempts"]))) if reached else None
