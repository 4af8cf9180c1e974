# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approvals: a token that is bound to one plan on one target in one state, until an expiry, for a single use.

A plan is {target, identity, state, acts, text} and, where there is a choice, {name, offered, loss, binds, counts, tolerance}.
All of it is bound, except that `counts` (and then `loss.count`) may move within `tolerance` between plan and apply, and that
`text` is bound only where neither `binds` nor `counts` say what the plan is about.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason

Plan = t.Mapping[str, t.Any]
Offer = t.Dict[str, t.Any]
COMMAND = "{again} -e remediation_approval=%s"


class Token(t.NamedTuple):
    """What a token says: digests of target and plan, the counts at the time of planning, the end in seconds since the epoch."""

    target: str
    plan: str
    counts: t.List[int]
    expires: int


def digest(plan: Plan) -> str:
    """Return the short hash of plain data."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]


def bound(plan: Plan) -> dict[str, t.Any]:
    """Return what must be identical when a plan is applied."""
    loss, counts = plan.get("loss") or {}, plan.get("counts") or {}
    kept = {key: plan.get(key) for key in ("target", "identity", "state", "acts", "name", "offered", "tolerance")}
    kept.update(binds=plan.get("binds") or {}, counts=sorted(counts), unit=loss.get("unit"), exact=loss.get("exact"))
    kept["text"] = "" if counts or plan.get("binds") else plan["text"]
    kept["loss"] = loss.get("count") if not counts or loss.get("count") is None else "counted"
    return kept


def moving(plan: Plan) -> dict[str, int]:
    """Return the counts that may move within the tolerance, by name; {} where nothing may."""
    counts = dict(plan.get("counts") or {})
    lost = (plan.get("loss") or {}).get("count")
    return dict(counts, loss=lost) if counts and lost is not None else counts


def moved(plan: Plan, then: t.Sequence[int]) -> str:
    """Return the first count that differs by more than the plan's tolerance from what it was *then*, as a sentence, "" for none."""
    now, tolerance = moving(plan), float(plan.get("tolerance") or 0)
    for name, was in zip(sorted(now), then):
        if abs(now[name] - was) > max(_slack(was, tolerance), _margin(plan) if name == "loss" else 0):
            return "%s was %d when the plan was approved and is %d now" % (name, was, now[name])
    return ""


def _slack(count: int, tolerance: float) -> float:
    """Return by how much a count may move: below 1 the tolerance is a share of it, from 1 on a number."""
    return tolerance if tolerance >= 1 else count * tolerance


def _margin(plan: t.Mapping[str, t.Any]) -> int:
    """Return by how much a loss that was estimated may come out larger; what was counted has none."""
    loss = plan.get("loss") or {}
    return 0 if loss.get("exact") else int(loss.get("margin") or 0)


def covers(plan: t.Mapping[str, t.Any], count: t.Optional[int]) -> bool:
    """Return whether a loss of *count* (None for unknown) is no more than *plan* {loss, tolerance} said; one without a count covers any."""
    said = (plan.get("loss") or {}).get("count")
    if said is None:
        return True
    return count is not None and count <= said + max(_slack(said, float(plan.get("tolerance") or 0)), _margin(plan))


def issue(plan: Plan, key: bytes, *, expires: int) -> str:
    """Return the token `TARGET.PLAN[.COUNTS].EXPIRES.MAC` that approves *plan* until *expires* (seconds since the epoch)."""
    now = moving(plan)
    counts = ["-".join("%d" % now[name] for name in sorted(now))] if now else []
    stem = ".".join([digest(plan["target"]), digest(bound(plan)), *counts, "%d" % expires])
    return "%s.%s" % (stem, _mac(stem, key))


def _mac(stem: str, key: bytes) -> str:
    return hmac.new(key, stem.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def read(token: str, key: bytes) -> t.Optional[Token]:
    """Return what *token* says, None when it was not issued with *key* or was altered."""
    stem, _dot, mac = token.rpartition(".")
    if not hmac.compare_digest(mac.encode("utf-8", "surrogatepass"), _mac(stem, key).encode()):
        return None
    target, plan, *counts, expires = stem.split(".")
    return Token(target, plan, [int(one) for one in counts[0].split("-")] if counts else [], int(expires))


def offers(plans: t.Sequence[Plan], key: bytes, expires: int, used: t.Collection[str]) -> list[Offer]:
    """Return the plans as a person reads them, each with its token; without a *key* that lasts the tokens are empty."""
    made = []
    for plan in plans:
        # The same plan within the same second as one whose token was used: a second more makes it another token.
        while key and issue(plan, key, expires=expires) in used:
            expires += 1
        token = issue(plan, key, expires=expires) if key else ""
        offer = {"name": plan.get("name") or "", "text": plan["text"], "loss": plan.get("loss") or {}, "token": token}
        made.append(dict(offer, expires=expires, next_command=COMMAND % (token or "TOKEN")))
    return made


def told_loss(loss: t.Mapping[str, t.Any]) -> str:
    """Return a loss ({count, unit, exact}) in words, "" where there is no statement about it."""
    if not loss:
        return ""
    unit = loss.get("unit") or "items"
    if loss.get("count") is None:
        return "loses an unknown number of %s" % unit
    if loss["count"] == 0:
        return "loses nothing" if loss.get("exact") else "probably loses no %s" % unit
    return "loses %s%s" % ("" if loss.get("exact") else "about ", counted(loss["count"], unit))


def told(offer: t.Mapping[str, t.Any]) -> str:
    """Return one offered plan as a sentence: name, text, loss."""
    name, loss = offer.get("name"), offer.get("loss")
    parts = ["%s:" % name if name else "", str(offer.get("text") or "")]
    lost = told_loss(loss) if isinstance(loss, dict) else ""
    return " ".join(part for part in parts if part) + ("; " + lost if lost else "")


def clock(at: float) -> str:
    """Return a time of day in UTC for *at* (seconds since the epoch)."""
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))


def judge_approval(
    token: str, plans: t.Sequence[Plan], key: bytes, *, now: float, used: t.Collection[str], offered: t.Sequence[Offer]
) -> tuple[t.Optional[Plan], t.Optional[dict[str, t.Any]]]:
    """Return (the plan that *token* approves now, None), or (None, the reason why it approves none of *plans*).

    *offered* are the `offers` of these plans, the recommended one first; *used* are the tokens that were used before.
    """
    if not token:
        return None, _refused("approval_needed", _needed(offered), offered)
    said = read(token, key)
    if said is None:
        return None, _refused("approval_other_target", "this approval was not issued here, or it was altered", offered)
    if said.target != digest(plans[0]["target"]):
        return None, _refused("approval_other_target", "this approval was given for another target", offered)
    if token in used or now >= said.expires:
        text = "this approval was already used" if token in used else "this approval expired at " + clock(said.expires)
        return None, _refused("approval_stale", text, offered)
    same = [plan for plan in plans if digest(bound(plan)) == said.plan]
    if not same:
        return None, _refused("approval_stale", "the plan or the state has changed since this approval", offered)
    change = moved(same[0], said.counts)
    if change:
        text = "%s, more than the plan's tolerance of %s" % (change, same[0].get("tolerance") or 0)
        return None, _refused("approval_stale", text, offered)
    return same[0], None


def _needed(offered: t.Sequence[Offer]) -> str:
    if len(offered) == 1:
        loss = offered[0].get("loss")
        # What loses nothing needs one for what its text says.
        may = "" if isinstance(loss, dict) and loss.get("count") == 0 and loss.get("exact") else "may lose data and "
        return "this plan %sneeds an approval: %s" % (may, told(offered[0]))
    return "data may be lost, so choose one of %d plans; recommended: %s" % (len(offered), told(offered[0]))


def _refused(code: str, text: str, offered: t.Sequence[Offer]) -> dict[str, t.Any]:
    return reason(code, text, token=offered[0]["token"], plans=[dict(one) for one in offered])
