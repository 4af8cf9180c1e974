# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the step remediation_history on its host; writes the exported journal on the controller."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import write_durably
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_history
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import commands, file_for, with_left


class ActionModule(StepAction):
    STEP = remediation_history
    CONTROLLER_SPEC: t.Mapping[str, t.Any] = {"export_to": {"type": "str", "default": ""}}

    def prepare(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return dict(params, export=params["export"] or bool(own["export_to"]))

    def finish(self, result: Result, own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        result = with_left(result, commands(task_vars, str(task_vars.get("inventory_hostname") or "")))
        if not own["export_to"] or "journal" not in result:
            return result
        path = file_for(own["export_to"], str(task_vars.get("inventory_hostname") or ""), task_vars)
        lines = [json.dumps(record, sort_keys=True) + "\n" for record in result.pop("journal")]
        try:
            write_durably(path, "".join(lines).encode())
        except OSError as error:
            return dict(result, failed=True, msg=f"the journal cannot be written to {path}: {error}; set remediation_history_export")
        result["say"] = [*result["say"], f"{len(lines)} records are in {path}"]
        return result
