# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what triage saw of all hosts of the play, and fills in the commands that follow, as this run was called."""

from __future__ import annotations

import typing as t

from ansible import context

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import triage_report
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import commands, refused


class ActionModule(StepAction):
    STEP = triage_report
    _requires_connection = False

    def options(self) -> dict[str, t.Any]:
        """Validate without what the hosts returned: Ansible would copy every value of thousands of checks."""
        given = {name: self._task.args.get(name) for name in triage_report.BY_HOST}
        if not all(isinstance(one, dict) for one in given.values() if one is not None):
            return super().options()
        self._task.args = {name: value for name, value in self._task.args.items() if name not in given}
        return dict(super().options(), **{name: plain(one or {}) for name, one in given.items()})

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        groups = {str(name): [str(host) for host in hosts] for name, hosts in (task_vars.get("groups") or {}).items()}
        hosts = dict.fromkeys(str(host) for name in triage_report.BY_HOST for host in params[name])
        known = {
            "inventory": ", ".join(str(one) for one in context.CLIARGS.get("inventory") or ()),
            "groups": groups,
            "commands": {host: commands(task_vars, host) for host in hosts},
        }
        result = self.on_controller(dict(params, known=known))
        if result.get("failed") and params["only_input"]:
            return refused([reason("bad_input", str(result["msg"]))], task_vars, "")
        return result
