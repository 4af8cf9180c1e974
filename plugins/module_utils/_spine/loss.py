# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run lost, in one form for every remedy: unknown until a witness proves it. Pure: plain data in and out.

A loss is {count, exact, unit, text, approved, known_before, present_after, witness, suspected}. ``witness`` is a sentence that says what
proves the count, "" where nothing does: without one there is no 0 and nothing is exact. A count that is not exact is the most that is
lost, as far as anybody can tell; None is unknown. ``suspected`` is False where nothing is lost, and where that is not proven but nothing
speaks for a loss either: then ``witness`` says what was seen, and ``text`` what would not be.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.approval import covers

Facts = t.Mapping[str, t.Any]

NOTHING_DONE = "nothing was done"
SILENT = "nothing proves that this lost no data"
FEWER = "at least %d of those known before are missing"


def loss_of_run(given: Facts, approval: Facts, acts: t.Sequence[str], harmless: Facts) -> t.Dict[str, t.Any]:
    """Return the loss of a run in its one form.

    given: what the remedy says, {} where it says nothing; ``least`` in it is how many are missing for certain. approval: the plan that
    this run had approved {loss, tolerance}, or {}. acts: those it began. harmless: acts that lose no data, each with the sentence why.
    What the remedy says is believed as far as its witness and its own numbers carry it.
    """
    said = _said(given, acts, harmless)
    loss = _not_less_than_missing(said, _number(given.get("least")) or 0)
    loss["suspected"] = is_lossy(loss) and not (loss == said and _nothing_speaks_for_it(given, loss))
    # A remedy may approve what it says itself, such as what a person asked for; more than that only a plan can.
    wanted = _flag(given["approved"]) if "approved" in given else bool(approval)
    approved = wanted and is_lossy(loss) and (loss["count"] == said["count"] or bool(approval)) and covers(approval, loss["count"])
    return dict(loss, approved=approved)


def _nothing_speaks_for_it(given: Facts, loss: Facts) -> bool:
    """Return whether the remedy does not suspect a loss that it cannot rule out, and says why, and what it cannot rule out."""
    quiet = "suspected" in given and not _flag(given["suspected"])
    return quiet and loss["count"] is None and bool(loss["witness"] and given.get("text"))


def _said(given: Facts, acts: t.Sequence[str], harmless: Facts) -> t.Dict[str, t.Any]:
    """Return what the remedy says, without what no witness proves."""
    if _lost_nothing(given, acts, harmless):
        why = "; ".join(dict.fromkeys(str(harmless[act]) for act in acts)) or NOTHING_DONE
        given = dict(given, count=0, exact=True, witness=why, text="")
    loss = {
        "count": _number(given.get("count")),
        "exact": _flag(given.get("exact")),
        "unit": str(given.get("unit") or ""),
        "text": str(given.get("text") or ""),
        "known_before": _number(given.get("known_before")),
        "present_after": _number(given.get("present_after")),
        "witness": str(given.get("witness") or ""),
    }
    exact = bool(loss["exact"] and loss["witness"] and loss["count"] is not None)
    # At most nothing is nothing: that needs a proof as well.
    count = loss["count"] if loss["count"] or exact else None
    return dict(loss, count=count, exact=exact, text=loss["text"] or (SILENT if count is None else ""))


def _lost_nothing(given: Facts, acts: t.Sequence[str], harmless: Facts) -> bool:
    """Return whether *acts* lose nothing and the remedy does not say otherwise."""
    return all(act in harmless for act in acts) and not _number(given.get("count")) and not _unknown(given, acts)


def _unknown(given: Facts, acts: t.Sequence[str]) -> bool:
    """Return whether a remedy says of *acts* that it does not know what they lost; of none it can only say what they would have lost."""
    return bool(acts) and _number(given.get("count")) is None and bool(str(given.get("text") or ""))


def _not_less_than_missing(loss: t.Dict[str, t.Any], least: int) -> t.Dict[str, t.Any]:
    """Return *loss*, which is unknown where more is missing of what was known before: its number was wrong, and nothing says how far.

    least: how many are missing for certain, as the remedy says, whatever was written since.
    """
    before, now = loss["known_before"], loss["present_after"]
    missing = max(least, before - now if before is not None and now is not None else 0)
    if missing <= (loss["count"] or 0):
        return loss
    text = "; ".join(part for part in (FEWER % missing, loss["text"]) if part)
    return dict(loss, count=None, exact=False, witness="", text=text)


def inherited(plan: Facts) -> t.Dict[str, t.Any]:
    """Return what a remedy would say for the *plan* that a dead run went ahead with {run_id, plan, text, loss}, {} for no loss.

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
    """Return whether a loss counts as one: more than nothing, or not proven."""
    return loss.get("count") != 0 or not loss.get("exact")
