# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the step remediation_reconcile on the keeper; reports which holders are provably dead on this controller."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_reconcile
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import fingerprint, provably_dead
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import SpineAction


class ActionModule(SpineAction):
    STEP = remediation_reconcile

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        result = self.on_target(params, task_vars)
        here = fingerprint(os.getppid())
        dead = [lease["run_id"] for lease in result.get("held") or [] if provably_dead(lease["controller"], here)]
        if not dead:
            return result
        again = self.on_target(dict(params, dead_runs=dead), task_vars)
        again["abandoned"] = (result.get("abandoned") or []) + (again.get("abandoned") or [])
        again["changed"] = bool(again["abandoned"] or params["settled"] or params["prolonged"])
        return again
