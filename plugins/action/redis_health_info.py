# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a Redis from where it can be seen, and tells how far a long loading is."""

from __future__ import annotations

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_health_info
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._look import LookAction


class ActionModule(LookAction):
    STEP = redis_health_info

    def progress(self, result: Result, waited: float, timeout: float) -> str:
        """Return the line that is shown after an unproven slice."""
        facts = result.get("facts") or {}
        if result.get("state") != "loading" or facts.get("loading_eta_seconds") is None:
            return super().progress(result, waited, timeout)
        where = f"{self._task_host()}: still loading: {facts['loaded_perc']:.0f} %, about {facts['loading_eta_seconds']} s left"
        return one_line(f"{where}; waited {waited:.0f} of {timeout:.0f} s", 160)
