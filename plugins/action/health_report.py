# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the verdict over all hosts of the play, and writes it to files of the controller."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.derived import repair_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_report
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import commands

MANY = 20


class ActionModule(StepAction):
    STEP = health_report
    _requires_connection = False

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        result = self.on_controller(params)
        playbook, hosts = repair_of(result.get("sick") or {}, task_vars.get("groups") or {})
        # A list of many hosts is no command for a screen: the groups are the same ones.
        words = commands(task_vars, ",".join(hosts) if len(hosts) <= MANY else "")
        return dict(result, next_commands=[words[playbook]]) if playbook and not result.get("failed") else result

    def options(self) -> dict[str, t.Any]:
        """Validate without what the hosts returned: Ansible would copy every value of thousands of checks."""
        hosts = self._task.args.get("hosts")
        if not isinstance(hosts, dict):
            return super().options()
        self._task.args = dict(self._task.args, hosts={})
        return dict(super().options(), hosts=plain(hosts))
