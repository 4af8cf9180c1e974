# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step: look at a service as its manager sees it (well, sick or unknown), and wait for it if asked to."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import service as kind_service
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC, patience_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health, State, wait_until_well
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask

ARGUMENT_SPEC: dict[str, t.Any] = {
    **LOOK_SPEC,
    **ask.SERVICE_SPEC,
    "name": {"type": "str", "required": True},
    "restarts_before": {"type": "int"},
    "wanted_replicas": {"type": "int"},
    "wanted": {"type": "str", "choices": ["running", "stopped"], "default": "running"},
    "log_lines": {"type": "int", "default": 0},
}


def run(params: Params, check: bool) -> Result:
    """Return the health of the service, its state under ``service`` and its last log lines under ``log``."""
    options = dict(params, service=params["name"])
    last: dict[str, t.Any] = {}

    def look() -> Health:
        last.update(kind_service.load(options, params["probe_timeout"]))
        return kind_service.judge(last, options)

    proof = wait_until_well(look, patience_of(params), health_of=_health_of, identity_of=_identity_of, on_its_way=_on_its_way)
    health: Health = proof.last
    proven = {"proven": proof.proven, "passes": proof.passes, "looks": proof.looks, "seconds": proof.seconds}
    said = {"say": [finding.text for finding in health.findings], "stage": params["stage"]}
    proven["on_its_way"] = _on_its_way(health)
    return {"changed": False, **health.as_dict(), **proven, **said, "service": last, "log": load_log(params)}


def load_log(params: Params) -> list[str]:
    """Return the last ``log_lines`` lines, each escaped for a terminal."""
    if params["log_lines"] <= 0:
        return []
    raw = ask.manager_of(params).logs_tail(params, min(params["log_lines"], 2000), params["probe_timeout"])
    return [one_line(line, 400) for line in raw.splitlines()]


def _health_of(health: Health) -> State:
    return health.health


def _on_its_way(health: Health) -> bool:
    return "wait" in health.actions


def _identity_of(health: Health) -> object:
    return dict(health.identity)
