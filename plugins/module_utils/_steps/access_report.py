# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``access_report``: one line an item over everything that ``access_check`` and ``health_info`` found on a host."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.look import why
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.traits import trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.access_check import Item, item

# It judges what the controller knows and looks at no host.
ON_CONTROLLER = True
ARGUMENT_SPEC: dict[str, t.Any] = {
    "parts": {"type": "list", "elements": "dict", "required": True},
    "remedies": {"type": "list", "elements": "str", "default": []},
    "stage": {"type": "str", "choices": ["assess", "verify"], "default": "assess"},
}
SECRET_FIX = ": put the secret there with mode 0600, owned by the user that remedies run as"
NO_REMEDY = (
    "on the machine; no remedy is set up for this host: put it into one of the groups redis, postgresql, somabrain_api, somabrain_balancer"
)
# What to do when a probe of a credential fails, by the state word of its check.
FIXES = {
    "auth": "put the correct secret into its file, or renew it",
    "down": "start the service, or correct its address, then try again",
    "rejecting": "wait until it accepts, then try again",
    "unreachable": "check name, route and firewall between here and there",
    "hung": "it accepts connections but does not answer: recover it first",
    "other_service": "check that the address is correct",
    "garbage": "check that the address is correct",
    "balancer_refused": "give its socket level admin, or use one that has it",
    "switch_missing": "add the maintenance lines to its configuration (README of the role traffic_scaling)",
    "unknown_pool": "correct traffic_scaling_pool",
    "unknown_server": "correct traffic_scaling_main, traffic_scaling_spare or traffic_scaling_overflow",
    "not_by_weight": "use balance roundrobin, or restore with traffic_scaling_steps [100]",
    "tls": "set ca_file, or renew the certificate",
}
OTHER_FIX = "see what verify-health reports"


def run(params: Params, check: bool) -> Result:
    """Return ``{ok, items, problems, say}``; a part without a result is a problem, and no items at all is not ok."""
    items = [one for part in params["parts"] for one in items_of(part)]
    problems = [one for one in items if not one["ok"]]
    # What has to be done comes first.
    ordered = problems + [one for one in items if one["ok"]]
    lines = [f"{'ok      ' if one['ok'] else 'PROBLEM '}{one['name']}: {one['text']}" for one in ordered]
    remedies = ", ".join(params["remedies"])
    about = f"for {remedies}" if remedies else NO_REMEDY
    summary = f"{len(items) - len(problems)} of {len(items)} items are ready {about}"
    return {
        "changed": False,
        "ok": bool(items) and not problems,
        "items": items,
        "problems": [f"{one['name']}: {one['text']}" for one in problems],
        "stage": params["stage"],
        "say": [summary, *lines],
        "whole": True,
    }


def items_of(part: t.Mapping[str, t.Any]) -> list[Item]:
    """Return the items of one registered result; never raises, no matter what a failed task left."""
    if part.get("skipped"):
        return []
    what = str(part.get("what") or "look")
    if part.get("unreachable"):
        return [item(what, False, "", f"the host is unreachable: {_message(part)}")]
    if part.get("failed"):
        return [item(what, False, "", _message(part))]
    if part.get("checks"):
        return [_item_of_check(check) for check in part["checks"]]
    return list(part.get("items") or [])


def _message(part: t.Mapping[str, t.Any]) -> str:
    return one_line(redact(str(part.get("msg") or part.get("module_stderr") or "the task returned no result")), 200)


def _item_of_check(check: t.Mapping[str, t.Any]) -> Item:
    told = [finding["text"] for finding in check["findings"]]
    warned = next((finding["text"] for finding in check["findings"] if finding["name"] == "secret"), "")
    if check["state"] == "bad_input":
        secret = any(finding["name"] == "secret" for finding in check["findings"])
        return item(check["name"], False, "", "; ".join(told) + (SECRET_FIX if secret else ""))
    if check["health"] != "well":
        fix = trait(check, "FIX") or FIXES.get(check["state"].partition("_")[0]) or FIXES.get(check["state"], OTHER_FIX)
        return item(check["name"], False, "", f"{why(check)}: {fix}")
    # A working secret that others can read is a problem here, though not a health problem.
    return item(check["name"], not warned, told[0] if told else "well", warned)
