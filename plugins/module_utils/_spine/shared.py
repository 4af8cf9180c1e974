# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the spine's steps share: options, times, and the reasons to stop an act."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import file_name
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import store
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.freeze import judge_freeze, load_flags
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.guard import PASSIVE
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import Ledger, spend_reserve
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import is_alive, machine, marked

# Seconds that a lease outlasts the deadline of its act.
MARGIN = 30.0

WHERE: dict[str, t.Any] = {
    "state_dir": {"type": "path", "required": True},
    "run": {"type": "dict", "default": {}},
}
LIMITS: dict[str, t.Any] = {
    "budget": {
        "type": "dict",
        "default": {},
        "options": {
            "attempts": {"type": "int", "default": 2},
            "recoveries": {"type": "int"},
            "within_seconds": {"type": "float", "default": 900.0},
        },
    },
    "freeze_windows": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "start": {"type": "str", "required": True},
            "end": {"type": "str", "required": True},
            "reason": {"type": "str", "default": ""},
        },
    },
    "freeze_override": {"type": "str", "default": ""},
    "kill_files": {"type": "list", "elements": "path", "default": []},
    "killed": {"type": "str", "default": ""},
}


def keep_evidence(state_dir: str, run_id: str, captured: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Store evidence of a run on its keeper, spending the reserve file on a full disk; see `_evidence.store`."""
    return store(os.path.join(state_dir, "evidence", file_name(run_id)), captured, lambda: spend_reserve(state_dir))


def working(ledger: Ledger, held: t.Mapping[str, t.Any], now: float) -> list[int]:
    """Return the living processes here of the run that holds a lease.

    A run that only waits holds its lease no longer than any other; while its lease lasts, a controller on this host shows that it is alive.
    """
    waits = [row for row in ledger.journal_of(held["run_id"]) if row["kind"] == "begin"][-1:]
    waiting = waits and waits[0]["body"]["action"] in PASSIVE and now < waits[0]["at"] + waits[0]["body"]["deadline"]
    controller = held["controller"]
    return marked(held["run_id"]) + ([int(controller["pid"])] if waiting and is_alive(controller, machine()) else [])


def budget_of(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the attempt budget with its defaults: attempts and recoveries (counts), and within_seconds."""
    given = params.get("budget") or {}
    attempts = given.get("attempts", 2)
    recoveries = given.get("recoveries")
    # Who allows more attempts allows as many recoveries.
    recoveries = max(3, attempts) if recoveries is None else recoveries
    return {"attempts": attempts, "recoveries": recoveries, "within_seconds": given.get("within_seconds", 900.0)}


def stops(ledger: Ledger, params: t.Mapping[str, t.Any], action: str, now: float, elsewhere: int = 0) -> list[dict[str, t.Any]]:
    """Return the reasons that stop *action* now, no matter who asks: kill switch, freeze, spent budget.

    elsewhere: how often the probe saw others do the same within the budget's time, for example a service manager.
    """
    flags = load_flags(params["state_dir"], params["kill_files"])
    if params["killed"]:
        flags["kill"] = params["killed"]
    reasons = judge_freeze(flags, params["freeze_windows"], now=now, override=params["freeze_override"])
    run, budget = params["run"], budget_of(params)
    tried = ledger.attempts(run["host"], run["component"], now - budget["within_seconds"], action)
    return reasons + judge_budget([one for one in tried if one["run_id"] != run["run_id"]], budget, action, elsewhere)


def judge_budget(
    tried: t.Sequence[t.Mapping[str, t.Any]], budget: t.Mapping[str, t.Any], action: str, elsewhere: int = 0
) -> list[dict[str, t.Any]]:
    """Return the reason against *action*: tried in vain as often as the budget allows, by runs or *elsewhere*, or flapping."""
    in_vain = counted_attempts(tried)
    count = len(in_vain) + elsewhere
    if count >= budget["attempts"]:
        by = ["%s (%s)" % (one["run_id"], one["outcome"] or "unfinished") for one in in_vain]
        by += ["%d by its service manager" % elsewhere] if elsewhere else []
        words = (action, count, budget["within_seconds"], budget["attempts"], ", ".join(by))
        text = "%s was tried %d times in %d s without a recovery, %d allowed: %s" % words
        return [reason("budget_spent", text, tried=[dict(one) for one in in_vain])]
    well = list(dict.fromkeys(str(one["run_id"]) for one in tried if is_recovered(one)))
    if len(well) < budget["recoveries"]:
        return []
    words = (action, len(well), budget["within_seconds"], budget["recoveries"], ", ".join(well))
    return [reason("flapping", "%s recovered it %d times in %d s and it was sick again each time, %d allowed: %s" % words)]


def is_recovered(attempt: t.Mapping[str, t.Any]) -> bool:
    """Return whether the run of an attempt ended well."""
    return str(attempt.get("outcome") or "").startswith("recovered")


def counted_attempts(tried: t.Sequence[t.Mapping[str, t.Any]]) -> list[t.Mapping[str, t.Any]]:
    """Return the attempts that count: acts begun whose run did not end recovered, and did not end by asking for an approval."""
    return [one for one in tried if not is_recovered(one) and not one.get("asked")]
