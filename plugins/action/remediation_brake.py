# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storm brake: stops a run over many hosts when too large a share of them is not well."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._shown import shown
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import refused_run, resolved

SPEC: dict[str, t.Any] = {
    "component": {"type": "str", "required": True},
    "healths": {"type": "dict", "required": True},
    "max_share": {"type": "float", "default": 0.5},
    "min_hosts": {"type": "int", "default": 3},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        super().run(tmp, task_vars)
        _result, params = self.validate_argument_spec(SPEC)
        params = plain(params)
        reasons = judge_storm(params["healths"], params["max_share"], params["min_hosts"])
        if not reasons:
            return {"changed": False, "stage": "guard", "say": []}
        known = resolved(task_vars or {}, self._templar)
        return shown(refused_run(reasons, known, component=params["component"], hosts=sorted(params["healths"])), self._task, known)


def judge_storm(healths: t.Mapping[str, str], max_share: float, min_hosts: int) -> list[dict[str, t.Any]]:
    """Return the reason when more than *max_share* of at least *min_hosts* hosts are not well; *healths* is host to health."""
    bad = sorted(host for host, health in healths.items() if health != "well")
    if len(healths) < min_hosts or len(bad) <= max_share * len(healths):
        return []
    text = "%d of %d hosts are not well, more than a share of %g: %s" % (len(bad), len(healths), max_share, ", ".join(bad[:20]))
    return [reason("storm_brake", text)]
