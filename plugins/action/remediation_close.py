# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the step remediation_close on the keeper; publishes the outcome as statistics and as a file on the controller."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleError

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.outcome import why_red
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import fill, with_commands
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_close
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import (
    SpineAction,
    commands,
    not_written,
    raw_text,
    write_outcome_file,
)

PUBLISHED = ("outcome", "green", "run_id", "seconds", "component", "host", "file", "approved_plan", "loss", "left")


class ActionModule(SpineAction):
    STEP = remediation_close

    def prepare(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        names = ("remediation_reason", "remediation_freeze_override", "remediation_without_evidence")
        params["annotations"] = {name: raw_text(task_vars, name) for name in names}
        # A run that was never opened must still name its host and component.
        host, component = str(task_vars.get("inventory_hostname") or ""), str(params["run"].get("component") or "")
        params["run"] = dict({"host": host, "component": component}, **params["run"])
        params["undo"] = fill(str(params["undo"]), commands(task_vars, host))
        return super().prepare(params, own, task_vars)

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        try:
            result = self.on_target(params, task_vars)
            if "outcome" in result:
                return result
            # No Python on the keeper, or none that can run the step: the controller alone then reports the outcome.
            why = f"the keeper cannot record the outcome: {one_line(redact(str(result.get('msg'))), 300)}"
        except AnsibleError as error:
            why = f"the keeper is unreachable: {one_line(redact(str(error)), 300)}"
        return self.on_controller(dict(params, not_reached=why))

    def finish(self, result: Result, own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        result = super().finish(result, own, task_vars)
        outcome = result.get("outcome")
        if not outcome:
            return result
        if outcome.get("outcome") == "unproven" and not outcome.get("reasons"):
            # The same command looks first: it leaves alone what is well by then, and continues what was held.
            outcome["next_command"] = "{again}"
        if outcome.get("next_command"):
            outcome["next_command"] = fill(str(outcome["next_command"]), commands(task_vars, str(outcome.get("host") or "")))
        # What depends on the component may run on other hosts, which their own playbook finds.
        outcome["beside"] = with_commands(outcome.get("beside") or [], commands(task_vars, ""))
        try:
            outcome["controller_file"] = write_outcome_file(outcome, task_vars)
        except OSError as error:
            why = not_written(error)
            result["say"] = [f"{why['code']}: {why['text']}; {why['unblock']}"]
        result["red"] = why_red(outcome)
        small = {name: outcome.get(name) for name in PUBLISHED}
        small["reasons"] = [one.get("code") for one in outcome.get("reasons") or []]
        result["ansible_stats"] = {"data": {"remediation": {outcome["target"]: small}}, "per_host": False, "aggregate": True}
        return result
