# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what triage saw of all hosts of the play, and fills in the commands that follow, as this run was called."""

from __future__ import annotations

import shlex
import typing as t

from ansible import context

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import triage_report
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._rules import load_rules
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import (
    PLAYBOOKS,
    commands,
    given_variables,
    refused,
    relative,
)

# A list of more hosts is no command for a screen: without a limit the playbook works on its group.
MANY = 20


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
        known = {
            "inventory": ", ".join(relative(str(one)) for one in context.CLIARGS.get("inventory") or ()),
            "groups": groups,
            "commands": lambda hosts: _words(task_vars, hosts),
            "rules": lambda path: load_rules(path, tuple(PLAYBOOKS)),
            "page": page_of,
        }
        result = self.on_controller(dict(params, known=known))
        if result.get("failed") and params["only_input"]:
            return refused([reason("bad_input", str(result["msg"]))], task_vars, "")
        return result


def page_of(report: t.Mapping[str, t.Any]) -> str:
    """Return the report as an HTML page; imported late, since most runs write none."""
    from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _page

    return _page.page_of(report)


def _words(task_vars: dict[str, t.Any], hosts: str) -> dict[str, str]:
    """Return the command line of each playbook for *hosts*, with the variables of this run that are not triage's own."""
    more = shlex.join(given_variables(lambda name: not name.startswith("triage_")))
    words = commands(task_vars, hosts if hosts.count(",") < MANY else "")
    return {name: " ".join(one for one in (words[name], more if name in PLAYBOOKS else "") if one) for name in words}
