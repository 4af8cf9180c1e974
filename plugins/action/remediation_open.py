# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the step remediation_open on the keeper; knows the controller, and distinguishes dead holders from living ones."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_open
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import (
    controller_gone,
    fingerprint,
    is_orphan,
    provably_dead,
)
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _needs
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._input import seconds_to_verify, typed_variables
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._specs import options_of, wrong_values
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import (
    SpineAction,
    input_reasons,
    not_written,
    operator,
    refused,
    write_outcome_file,
)

CONTAINER_MARKS = ("/run/.containerenv", "/.dockerenv", "/var/run/secrets/kubernetes.io")


class ActionModule(SpineAction):
    STEP = remediation_open
    CONTROLLER_SPEC: t.Mapping[str, t.Any] = {
        "keeper_is_persistent": {"type": "bool", "default": False},
        "takeover_wait": {"type": "float", "default": 60.0},
    }

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> Result:
        task_vars = task_vars or {}
        values, reasons = typed_variables(task_vars, self._templar)
        role = str((task_vars.get("ansible_parent_role_paths") or ["none"])[0])
        own = options_of(role)
        # What a playbook writes for the remedy may be a template; what a person types on the command line must not be one.
        reasons = input_reasons(task_vars, load_extra_vars(self._loader), own) + reasons
        reasons += [reason("bad_input", text) for _name, text in wrong_values(task_vars, own)]
        reasons += _needs.missing(os.path.basename(role), task_vars, self._templar)
        if is_orphan():
            reasons.append(reason("fenced", "the controller of this run is gone"))
        if reasons:
            return refused(reasons, task_vars, str(task_vars.get("inventory_hostname") or ""))
        self.verify_seconds = seconds_to_verify(values)
        return super().run(tmp, task_vars)

    def prepare(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        params["run_id"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + os.urandom(3).hex()
        params["owner"] = operator(task_vars)
        params["controller"] = fingerprint(os.getppid())
        params["verify_seconds"] = self.verify_seconds
        return params

    def execute(self, params: dict[str, t.Any], own: dict[str, t.Any], task_vars: dict[str, t.Any]) -> Result:
        reasons = []
        if self._connection.transport == "local" and not own["keeper_is_persistent"] and ephemeral():
            text = "the keeper is this execution environment, which is deleted after the run"
            reasons.append(reason("keeper_ephemeral", text))
        reasons += self._announce(params, task_vars)
        if reasons:
            return refused(reasons, task_vars, params["host"])
        result = self.on_target(params, task_vars)
        holder = (result.get("run") or {}).get("holder")
        if not holder or not dies_within(own["takeover_wait"], holder, params["controller"]):
            return result
        return self._take_from_dead(result, dict(params, dead_runs=[holder["run_id"]]), own["takeover_wait"], task_vars)

    def _announce(self, params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """Write the outcome that holds when this run never comes to its close; return the reason when that is not possible."""
        note = "this run was opened but not closed: it is still running, or it died"
        outcome = {key: params[key] for key in ("run_id", "host", "component", "remedy", "owner")}
        outcome.update(schema=1, outcome="abandoned", green=False, target="{host}/{component}".format(**params), note=note)
        outcome.update(opened_at=time.time(), closed_at=None, seconds=0.0, reasons=[], acts=[], check_mode=self._task.check_mode)
        try:
            write_outcome_file(outcome, task_vars)
        except OSError as error:
            return [not_written(error)]
        return []

    def _take_from_dead(self, result: Result, params: dict[str, t.Any], patience: float, task_vars: dict[str, t.Any]) -> Result:
        """Open again, now that the holder is known to be dead; wait for the deadline of its last act."""
        result = self.on_target(params, task_vars)
        left = [one.get("retry_after") for one in (result.get("run") or {}).get("reasons") or [] if one["code"] == "dead_run_acting"]
        if left and left[0] <= patience:
            Display().display(f"run {params['dead_runs'][0]} died while acting; waiting {left[0]:.0f} s until its act is certainly over")
            time.sleep(left[0] + 0.1)
            result = self.on_target(params, task_vars)
        return result


def dies_within(patience: float, holder: t.Mapping[str, t.Any], here: t.Mapping[str, t.Any]) -> bool:
    """Return whether the holder is dead, after at most *patience* seconds for a worker that outlived its controller."""
    deadline = time.monotonic() + patience
    told = False
    while not provably_dead(holder["controller"], here):
        if not controller_gone(holder["controller"], here) or time.monotonic() >= deadline:
            return False
        if not told:
            who = holder["run_id"]
            Display().display(f"the controller of run {who} is gone, but its worker is alive; waiting up to {patience:.0f} s")
            told = True
        time.sleep(0.2)
    return True


def ephemeral() -> bool:
    """Return whether this controller is a container of AWX or ansible-runner: a ledger there is thrown away with the run."""
    return "AWX_PRIVATE_DATA_DIR" in os.environ and any(map(os.path.exists, CONTAINER_MARKS))
