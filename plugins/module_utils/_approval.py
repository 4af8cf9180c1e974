# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approvals: a token that is bound to one plan on one target in one state, until an expiry, for a single use."""

from __future__ import annotations

import hashlib
import hmac
import json
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._reasons import reason


def digest(plan: t.Mapping[str, t.Any]) -> str:
    """Return the short hash of a plan (target, identity, acts, expected loss)."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:16]


def issue(plan: t.Mapping[str, t.Any], key: bytes, *, expires: int) -> str:
    """Return the token `TARGET.PLAN.EXPIRES.MAC` that approves exactly *plan* until *expires* (seconds since the epoch)."""
    stem = "%s.%s.%d" % (digest(plan["target"]), digest(plan), expires)
    return "%s.%s" % (stem, _mac(stem, key))


def _mac(stem: str, key: bytes) -> str:
    return hmac.new(key, stem.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def judge_approval(
    token: str, plan: t.Mapping[str, t.Any], key: bytes, *, now: float, used: t.Collection[str], fresh: str
) -> t.Optional[dict[str, t.Any]]:
    """Return None when *token* approves *plan* now, else the reason; *fresh* is the token that would."""
    if not token:
        return reason("approval_needed", "this plan may lose data and needs an approval: %s" % plan["text"], token=fresh, plan=plan)
    stem, _dot, mac = token.rpartition(".")
    parts = stem.split(".")
    if len(parts) != 3 or not hmac.compare_digest(mac.encode("utf-8", "surrogatepass"), _mac(stem, key).encode()):
        return reason("approval_other_target", "this approval was not given here, or it was altered", token=fresh, plan=plan)
    if parts[0] != digest(plan["target"]):
        return reason("approval_other_target", "this approval was given for another target", token=fresh, plan=plan)
    if token in used or now >= int(parts[2]):
        text = "this approval was used already" if token in used else "this approval has expired"
        return reason("approval_stale", text, token=fresh, plan=plan)
    if parts[1] != digest(plan):
        return reason("approval_stale", "the plan or the state has changed since this approval", token=fresh, plan=plan)
    return None
