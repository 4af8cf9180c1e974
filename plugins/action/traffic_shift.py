# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets weights and states of servers in a load balancer's pool where the balancer runs."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import traffic_shift
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import balancers
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction, part_of


class ActionModule(StepAction):
    STEP = traffic_shift

    def sources(self, params: t.Mapping[str, t.Any]) -> dict[str, str]:
        """A change of one balancer needs no code for another on the target."""
        return {**super().sources(params), **part_of(balancers, [str(params["target"]["balancer"])])}
