# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one memory round trip from where the API can be reached."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import kinds
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.place import belongs_on_target
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import memory_round_trip
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._look import LookAction
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import part_of


class ActionModule(LookAction):
    STEP = memory_round_trip

    def belongs_on_target(self, params: t.Mapping[str, t.Any]) -> bool:
        return belongs_on_target(dict(params, kind="round_trip"))

    def sources(self, params: t.Mapping[str, t.Any]) -> dict[str, str]:
        return {**super().sources(params), **part_of(kinds, ["round_trip"])}

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Look exactly once: a wait in slices would write one canary a slice."""
        result = self.look(params, task_vars)
        result.pop("invocation", None)
        return result
