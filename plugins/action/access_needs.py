# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Works out what the remedies of this host need, from the variables of their roles; judges what of it is on the controller."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, plain
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.access_check import item
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _needs


class ActionModule(ActionBase):  # type: ignore[misc]
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        super().run(tmp, task_vars)
        self.validate_argument_spec({})
        known = task_vars or {}
        roles = _needs.roles_of(known)
        asked = _needs.asked_of(known, self._templar)
        needs = _needs.needs_of(roles, asked)
        items = [_collection_item(one) for one in {one["name"]: one for one in needs.pop("collections")}.values()]
        items += [item("variables", False, "", one_line(redact(text), 200)) for text in dict.fromkeys(asked.broken)]
        return {"changed": False, "stage": "assess", "roles": roles, "items": items, **t.cast(Result, plain(needs))}


def _collection_item(one: dict[str, t.Any]) -> dict[str, t.Any]:
    problem = _needs.problem_with(one["name"], one["least"])
    return item("collection %s" % one["name"], not problem, "is installed, as %s needs it" % one["role"], problem)
