# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a service on the target, in slices when it waits long."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import service_info
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._look import LookAction


class ActionModule(LookAction):
    STEP = service_info

    def belongs_on_target(self, params: t.Mapping[str, t.Any]) -> bool:
        """A service manager can only be asked where it runs, a cluster wherever its kubeconfig is."""
        return not trait(params.get("manager"), "ANYWHERE")
