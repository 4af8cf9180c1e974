# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the verdict over all hosts of the play, and writes it to files of the controller."""

from __future__ import annotations

import typing as t

from ansible import context

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.command import module_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.derived import not_looked_at, repair_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import fill
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_report
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import commands

MANY = 20


class ActionModule(StepAction):
    STEP = health_report
    _requires_connection = False

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        result = self.on_controller(params)
        # A limit leaves hosts out on purpose.
        missed = "" if context.CLIARGS.get("subset") else not_looked_at(result.get("kinds") or [], task_vars.get("groups") or {})
        result["say"] = [*(result.get("say") or []), *([missed] if missed else [])]
        return dict(result, next_commands=_next(params["hosts"], result, task_vars)) if not result.get("failed") else result

    def options(self) -> dict[str, t.Any]:
        """Validate without what the hosts returned: Ansible would copy every value of thousands of checks."""
        hosts = self._task.args.get("hosts")
        if not isinstance(hosts, dict):
            return super().options()
        self._task.args = dict(self._task.args, hosts={})
        return dict(super().options(), hosts=plain(hosts))


def _next(looked: t.Mapping[str, t.Any], result: Result, task_vars: dict[str, t.Any]) -> list[str]:
    """Return the command that tries the connection to what cannot be reached, and that of the playbook for what is sick."""
    lost = [host for host, one in looked.items() if isinstance(one, dict) and one.get("unreachable")]
    ping = [fill(module_on("ansible.builtin.ping", {}), commands(task_vars, ",".join(lost)))] if 0 < len(lost) <= MANY else []
    playbook, hosts = repair_of(result.get("sick") or {}, task_vars.get("groups") or {})
    # A list of many hosts is no command for a screen: the groups are the same ones.
    words = commands(task_vars, ",".join(hosts) if len(hosts) <= MANY else "")
    return [*ping, *([words[playbook]] if playbook else [])]
