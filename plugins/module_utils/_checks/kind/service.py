# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check of kind ``service``: what the service manager says about a service.

Running is well; stopped, failed, paused, in a restart loop or unhealthy by its container's healthcheck is sick; a manager that
does not answer, an unknown service and a service between states are unknown. A running service can still be sick inside: other
checks look at that.

C(service): see M(somabrain.incident_response.service_info), with the service's name in C(service).
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.sentence import sentence
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import identity_of

PLAYBOOK = "restart-service.yml"
HOST_ONLY = True
OPTIONS: dict[str, t.Any] = {
    **ask.CHECK_SPEC,
    "service": {"type": "str", "required": True},
    "restarts_before": {"type": "int"},
    "wanted_replicas": {"type": "int"},
    "wanted": {"type": "str", "choices": ["running", "stopped"], "default": "running"},
}

HEALTH_OF = {"running": State.WELL, **dict.fromkeys(("stopped", "failed", "paused", "backoff", "unhealthy"), State.SICK)}
# A restart loop allows no restart: find its cause first.
ACTIONS: t.Mapping[str, tuple[str, ...]] = {
    "stopped": ("start",),
    "failed": ("start",),
    "paused": ("start",),
    "backoff": ("hold",),
    "starting": ("wait",),
    "stopping": ("wait",),
}
FACTS = (
    "restarts",
    "exit_code",
    "signal",
    "oom_killed",
    "start_limit_hit",
    "autorestart",
    "held",
    "started_at",
    "last_ended_at",
    "process_state",
    "result",
    "start_timeout",
    "manager",
    "container",
    "image",
    "workload",
)


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the state of the service (keys of ``_service.blank``) within *deadline* seconds; raises StepError only for a bad name."""
    named = dict(options, name=options["service"])
    return ask.manager_of(named).load_state(named, deadline)


def judge(raw: dict[str, t.Any], options: dict[str, t.Any]) -> Health:
    """Judge a service's state. Restarts since ``restarts_before`` are sick, and so is another number than ``wanted_replicas``."""
    word = str(raw["state"])
    findings = [Finding("service", _state_of(raw, options), sentence(raw), {"state": word, "pid": raw["pid"]})]
    before, now = options.get("restarts_before"), raw.get("restarts")
    if before is not None and now is not None:
        grown = int(now) - int(before)
        state = State.SICK if grown > 0 else State.WELL
        findings.append(Finding("restarts", state, "its manager restarted it %d times since" % max(0, grown), {"grown": max(0, grown)}))
    findings += _counted(raw, options.get("wanted_replicas"))
    allowed = ask.trait(raw["manager"], "ALLOWED") or ACTIONS
    actions = ("reset_failed", "start") if word == "failed" and raw.get("start_limit_hit") else allowed.get(word, ())
    return Health(tuple(findings), word, identity_of(raw), actions, {key: raw.get(key) for key in FACTS})


def _counted(raw: t.Mapping[str, t.Any], wanted: t.Optional[int]) -> list[Finding]:
    """Return whether the service has the wanted number of pods or containers; another finding covers one that has none."""
    workload = raw.get("workload") or {}
    if wanted is None or not workload:
        return []
    there = int(workload["desired"])
    text = "%s has %d, as wanted" if there == wanted else "%s has %d, but " + "%d are wanted" % wanted
    return [Finding("replicas", State.WELL if there == wanted else State.SICK, text % (raw["name"], there), {"replicas": there})]


def _state_of(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> State:
    if not raw.get("reachable") or not raw.get("exists"):
        return State.UNKNOWN
    if raw["state"] == "running" and raw.get("process_state") == "T":
        return State.SICK
    if options.get("wanted") == "stopped":
        return {"stopped": State.WELL, "running": State.SICK, "unhealthy": State.SICK}.get(str(raw["state"]), State.UNKNOWN)
    return HEALTH_OF.get(str(raw["state"]), State.UNKNOWN)
