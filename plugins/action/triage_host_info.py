# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the machine of a host for triage, and holds its clock against the controller's."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import triage_host_info
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import balancers
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction, part_of


class ActionModule(StepAction):
    STEP = triage_host_info

    def sources(self, params: t.Mapping[str, t.Any]) -> dict[str, str]:
        """Pipe no balancer: of the room that reads metrics nothing more is needed."""
        return {**super().sources(params), **part_of(balancers, [])}

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Add how far the target's clock is ahead of the controller's, at most so far wrong as the way takes."""
        sent = time.time()
        result = super().execute(params, own, task_vars)
        clock = result.get("clock")
        if not isinstance(clock, dict) or result.get("failed"):
            return result
        travel = max(0.0, time.time() - sent - float(result.get("seconds") or 0))
        ahead = float(clock["now"]) - sent - travel / 2
        return dict(result, clock=dict(clock, ahead_seconds=round(ahead, 3), within_seconds=round(travel / 2, 3)))
