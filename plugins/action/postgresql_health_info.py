# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a PostgreSQL from where it can be seen, and tells how far a replay of WAL is."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import postgresql_health_info
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._look import LookAction


class ActionModule(LookAction):
    STEP = postgresql_health_info

    def belongs_on_target(self, params: t.Mapping[str, t.Any]) -> bool:
        """A directory of sockets, or none at all, is on the target."""
        return str(params["host"]).startswith("/") or super().belongs_on_target(params)

    def progress(self, result: Result, waited: float, timeout: float) -> str:
        """Return the line that is shown after an unproven slice."""
        redo = (result.get("facts") or {}).get("redo") or {}
        if result.get("state") != "crash_recovery" or not redo:
            return super().progress(result, waited, timeout)
        where = f"{self._task_host()}: still replaying WAL, now at {redo.get('lsn') or redo.get('segment')}"
        return one_line(f"{where}; waited {waited:.0f} of {timeout:.0f} s", 160)
