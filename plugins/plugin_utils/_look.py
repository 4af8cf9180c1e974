# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base of the action plugins that look: from the controller or the target, and in slices when the wait is long.

The step's ARGUMENT_SPEC must include LOOK_SPEC of ``_health/options.py``; ``stands_on`` says
where the step runs. An unreachable target raises AnsibleConnectionFailure, as for any task.
"""

from __future__ import annotations

import time
import typing as t

from ansible.utils.display import Display

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import is_loopback
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import StepAction

# A longer wait is cut into slices, so that the person watching sees progress.
SLICE = 10.0


class LookAction(StepAction):
    """A step that only looks. Subclasses may override ``belongs_on_target``, ``look`` and ``progress``."""

    def belongs_on_target(self, params: t.Mapping[str, t.Any]) -> bool:
        """Return whether, with ``look_from: auto``, only the target can see what *params* names: a loopback address or a socket."""
        return bool(params.get("socket")) or is_loopback(params.get("host"))

    def place(self, params: t.Mapping[str, t.Any]) -> str:
        """Return ``controller`` or ``target``: where the look runs."""
        wanted = str(params["look_from"])
        if wanted != "auto":
            return wanted
        return "target" if self.belongs_on_target(params) else "controller"

    def standing(self, params: t.Mapping[str, t.Any], place: str) -> str:
        """Return ``stands_on`` for the step: over a local connection the controller is the target for addresses of its own."""
        same = self._connection.transport == "local" and self.belongs_on_target(params)
        return "target" if place == "target" or same else "controller"

    def look(self, params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        """Run the step once, where it belongs."""
        place = self.place(params)
        params = dict(params, stands_on=self.standing(params, place))
        return self.on_target(params, task_vars) if place == "target" else self.on_controller(params)

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        self._host = str(self._task.delegate_to or task_vars.get("inventory_hostname") or "target")
        begun, looks, total = time.monotonic(), 0, float(params["timeout"])
        while True:
            left = total - (time.monotonic() - begun)
            slices = {"timeout": max(0.0, min(left, SLICE)), "wait_timeout": min(float(params["wait_timeout"]), SLICE)}
            result = self.look(dict(params, **slices), task_vars)
            looks += int(result.get("looks") or 0)
            # What only needs time (a Redis that is loading) gets more of it than what may never come up.
            total = max(params["timeout"], params["wait_timeout"]) if result.get("on_its_way") else float(params["timeout"])
            over = left <= SLICE and total - (time.monotonic() - begun) <= SLICE / 100
            if over or result.get("failed") or result.get("in_vain") or (result.get("proven") and result.get("settled", True)):
                break
            waited = time.monotonic() - begun
            # A look that began while there was more time ends after what is left now.
            Display().display(self.progress(result, waited, max(waited, total)))
            # A slice with a broken streak may end early; do not loop busily.
            time.sleep(max(0.0, float(params["interval"])))
        result.pop("invocation", None)
        if "looks" in result:
            result.update(looks=looks, seconds=round(time.monotonic() - begun, 3))
        return result

    def progress(self, result: Result, waited: float, timeout: float) -> str:
        """Return the line that is shown after an unproven slice."""
        what = ": ".join(str(result[key]) for key in ("state", "health") if result.get(key))
        return one_line(f"{self._host}: waited {waited:.0f} of {timeout:.0f} s, now {what or 'unknown'}", 160)
