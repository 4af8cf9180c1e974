# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``slots``: whether a Compose service has the wanted number of containers, each with a slot in a pool of a load balancer.

States: scaled is well; scale_out, scale_in (act scale) and slots (act slots) are sick; the state of a refusal is the code of its reason.

C(slots): as C(replicas), for a service of a Compose project whose containers each have a slot in a pool. Takes C(slots) (names of
servers, or patterns), C(network), C(port), C(spare), C(overflow) and the options in C(target) of
M(somabrain.incident_response.traffic_shift); C(facts.plan.slots) has the server changes to make.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import replicas
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import pools
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.slots import Slots, judge_slots

HOST_ONLY = True
CLASS = "balancer"
OPTIONS: dict[str, t.Any] = {
    **replicas.OPTIONS,
    **pools.BALANCER_SPEC,
    "slots": {"type": "list", "elements": "str", "required": True},
    "network": {"type": "str", "default": ""},
    "port": {"type": "int", "required": True},
    "spare": {"type": "list", "elements": "str", "default": []},
    "overflow": {"type": "str", "default": ""},
}
SCALED = ("scaled", "scale_out", "scale_in")


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return {service, pool} within *deadline* seconds; raises StepError only for a bad name."""
    return {"service": replicas.load(options, deadline / 2), "pool": pools.load_pool(options, deadline / 2)}


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Judge number and slots; ``facts.plan`` has both, and ``facts.plan.slots`` the changes of servers by their turn."""
    counted = replicas.judge(raw["service"], options)
    pods = (raw["service"].get("workload") or {}).get("pods") or []
    slots = judge_slots(raw["pool"], pods, replicas.number_of(raw["service"], options["wanted_replicas"]) or 0, options)
    facts = _facts(counted, raw["pool"], slots)
    if counted.state not in SCALED:
        return Health(counted.findings, counted.state, counted.identity, counted.actions, facts)
    refused = slots.word not in ("fit", "slots")
    word = slots.word if refused or (counted.state == "scaled" and slots.word == "slots") else counted.state
    actions = () if refused else ("slots",) if word == "slots" else counted.actions
    return Health((*counted.findings, *_findings(counted, slots)), word, counted.identity, actions, facts)


def _findings(counted: Health, slots: Slots) -> list[Finding]:
    # Slots that wait for the number of containers to change are not at fault.
    health = State(slots.health) if slots.word != "slots" or counted.state == "scaled" else State.WELL
    return [Finding("slots", health, slots.text), *(Finding("told", State.WELL, text) for text in slots.told)]


def _facts(counted: Health, pool: t.Mapping[str, t.Any], slots: Slots) -> dict[str, t.Any]:
    changes = slots.changes()
    plan = dict(
        counted.facts["plan"],
        slots={"join": slots.join, "open": slots.open, "leave": slots.leave, "free": slots.free},
        back={"servers": traffic_pool.back_of(pool, changes) if changes else {}},
    )
    return dict(counted.facts, plan=plan, pool=pool)
