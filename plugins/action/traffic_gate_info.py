# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches a share of the traffic where the balancer runs, in slices, so that a person sees the progress."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import traffic_gate_info
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import balancers
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._look import LookAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import part_of


class ActionModule(LookAction):
    STEP = traffic_gate_info
    _carry: t.Dict[str, t.Any]

    def belongs_on_target(self, params: t.Mapping[str, t.Any]) -> bool:
        """Return whether to run on the target: always, a balancer answers where it runs."""
        return True

    def sources(self, params: t.Mapping[str, t.Any]) -> dict[str, str]:
        """A look at one balancer needs no code for another on the target."""
        return {**super().sources(params), **part_of(balancers, [str(params["target"]["balancer"])])}

    def look(self, params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Look for one slice, and continue the counts of the slice before."""
        result = super().look(dict(params, carry=self._carry), task_vars)
        self._carry = result.pop("carry", None) or {}
        return result

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Wait; each task has its own counters."""
        self._carry = {}
        return super().execute(params, own, task_vars)

    def progress(self, result: Result, waited: float, timeout: float) -> str:
        """Return the line of the step so far."""
        return one_line(f"  {result.get('state') or 'no look yet'}", 160)
