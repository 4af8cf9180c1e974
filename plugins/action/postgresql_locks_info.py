# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the locks of a PostgreSQL from where it can be seen."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import postgresql_locks_info
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._look import LookAction


class ActionModule(LookAction):
    STEP = postgresql_locks_info

    def belongs_on_target(self, params: t.Mapping[str, t.Any]) -> bool:
        """A directory of sockets, or none at all, is on the target."""
        return str(params["host"]).startswith("/") or super().belongs_on_target(params)
