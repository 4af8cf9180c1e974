# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``rollback_plan``: turns one look into a decision: roll back, and to what; record what runs; or refuse by name."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import rollback

# It judges what the controller knows and looks at no host.
ON_CONTROLLER = True
ARGUMENT_SPEC: dict[str, t.Any] = {
    "seen": {"type": "dict", "required": True},
    "verified": {"type": "dict", "default": {}},
    "manager": {"type": "str", "required": True},
    "release": {"type": "str", "default": ""},
    "what": {"type": "str", "choices": ["auto", "application", "configuration", "both", "database"], "default": "auto"},
    "beside": {"type": "list", "elements": "dict", "default": []},
    "before": {"type": "str", "default": ""},
    "dependencies": {"type": "list", "elements": "dict", "default": []},
    "purpose": {"type": "str", "choices": ["roll_back", "record", "prove"], "default": "roll_back"},
}
SUBJECT = "rollback"


def run(params: Params, check: bool) -> Result:
    """Return the result of ``health_info`` with the decision merged in: health, state, actions, facts {plan, record}, checks, say.

    Raises StepError if ``seen`` lacks the checks ``application`` and ``release``.
    """
    seen = params["seen"]
    checks = {str(one.get("name")): one for one in seen.get("checks") or []}
    if not {"application", "release"} <= set(checks):
        raise StepError("seen must be a result of health_info with checks named application and release")
    verdict = _verdict(params, checks)
    if params["purpose"] == "record" and verdict.health == "well":
        verdict = verdict._replace(text="%s; %s as verified" % (verdict.text, "it would be recorded" if check else "it is recorded"))
    finding = {"name": SUBJECT, "state": verdict.health, "text": verdict.text, "data": {}}
    own = {"name": SUBJECT, "kind": SUBJECT, "health": verdict.health, "state": verdict.word, "findings": [finding], "seconds": 0.0}
    proving = params["purpose"] == "prove"
    facts = dict(
        checks["application"].get("facts") or {},
        worse=_worse(params, checks),
        plan=verdict.plan,
        record=_record(params, checks, seen),
        next=verdict.next,
    )
    return dict(
        seen, changed=False, health=seen["health"] if proving else verdict.health, state=seen["state"] if proving else verdict.word,
        actions=verdict.plan.get("actions", []), facts=facts, checks=list(seen["checks"]) + ([] if proving else [own]),
        subject=seen["subject"] if proving else SUBJECT, say=[] if proving else [verdict.text],
    )  # fmt: skip


def _verdict(params: Params, checks: t.Mapping[str, t.Any]) -> rollback.Verdict:
    if params["purpose"] == "record":
        return rollback.judge_record(checks)
    if params["purpose"] == "prove":
        return rollback.Verdict("", "", "")
    wanted = {key: params[key] for key in ("release", "what", "beside")}
    wanted["has_database"] = rollback.has_database(params["dependencies"])
    return rollback.judge_rollback(checks, params["verified"], wanted)


def _worse(params: Params, checks: t.Mapping[str, t.Any]) -> bool:
    return bool(params["before"]) and rollback.is_worse(params["before"], str(checks["application"]["state"]))


def _record(params: Params, checks: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what may be recorded as verified: nothing unless every check is well."""
    return rollback.record_of(checks, params["manager"]) if seen["health"] == "well" else {}
