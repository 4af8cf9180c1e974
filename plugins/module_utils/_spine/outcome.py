# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judgement of a finished run: one explicit outcome. Plain data in, a word and a sentence out."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.loss import is_lossy
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
    failure: {task, msg, reasons, lost} of the first task that failed (lost: its connection), or {}; loss: as `loss_of_run` gives it.
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
        return "recovered_with_loss" if is_lossy(loss) and loss.get("suspected", True) else "recovered"
    return "failed" if after.get("health") == "sick" else "unproven"


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
