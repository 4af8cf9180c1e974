# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a remedy refuse by name: fails with a reason as data, so that the outcome is `refused` and not `failed`."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason, refusal
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import refused

SPEC: dict[str, t.Any] = {
    "code": {"type": "str", "choices": sorted(REASONS)},
    "case": {"type": "str", "default": ""},
    "values": {"type": "dict", "default": {}},
    "refusal": {"type": "raw"},
    "text": {"type": "str", "default": ""},
    "unblock": {"type": "str", "default": ""},
    "next_command": {"type": "str", "default": ""},
    "details": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        super().run(tmp, task_vars)
        _result, params = self.validate_argument_spec(SPEC, required_one_of=[("code", "refusal")], mutually_exclusive=[("code", "refusal")])
        host = str((task_vars or {}).get("inventory_hostname") or "")
        return refused([_reason(plain(params))], task_vars or {}, host)


def _reason(params: dict[str, t.Any]) -> dict[str, t.Any]:
    given = {key: value for key, value in params.items() if value not in (None, "", {}, [])}
    details = given.pop("details", [])
    more = {**(refusal(given.pop("refusal")) if "refusal" in given else {}), **given}
    try:
        made = reason(more.pop("code"), more.pop("text", ""), **more)
    except KeyError as error:
        raise AnsibleActionFail(f"the catalogue of refusals has no {error} (docs/reasons.md lists all)") from None
    return dict(made, text=one_line("; ".join([made["text"] or REASONS[made["code"]].means, *details]), 600))
