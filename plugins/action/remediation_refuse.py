# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a remedy refuse by name: fails with a reason as data, so that the outcome is `refused` and not `failed`."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import REASONS, reason
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import refused

SPEC: dict[str, t.Any] = {
    "code": {"type": "str", "required": True, "choices": sorted(REASONS)},
    "text": {"type": "str", "required": True},
    "unblock": {"type": "str", "default": ""},
    "next_command": {"type": "str", "default": ""},
    "details": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        super().run(tmp, task_vars)
        _result, params = self.validate_argument_spec(SPEC)
        params = plain(params)
        text = "; ".join([params["text"], *params["details"]])
        more = {key: params[key] for key in ("unblock", "next_command") if params[key]}
        host = str((task_vars or {}).get("inventory_hostname") or "")
        return refused([reason(params["code"], one_line(text, 600), **more)], task_vars or {}, host)
