# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``replicas``: whether a service has as many pods or containers as are wanted, and whether it may get them.

States: scaled is well; scale_out and scale_in are sick, with their plan; what is refused is sick under the code of its reason.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils import _check_service, _services
from ansible_collections.somabrain.incident_response.plugins.module_utils._health import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._replicas_judge import judge_replicas
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import identity_of

OPTIONS: dict[str, t.Any] = {
    **_services.SERVICE_SPEC,
    "service": {"type": "str", "required": True},
    "wanted_replicas": {"type": "int", "required": True},
    "minimum": {"type": "int", "default": 1},
    "maximum": {"type": "int", "default": 10},
}
ACTIONS: t.Mapping[str, tuple[str, ...]] = {"scale_out": ("scale",), "scale_in": ("scale",), "starting": ("wait",)}


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the state of the service with the counts of all its pods or containers; raises StepError only for a bad name."""
    return _check_service.load(options, deadline)


def judge(raw: dict[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Judge the number that is wanted; ``facts.plan`` has it with the one that is there, which an act takes as its precondition."""
    wanted = int(options["wanted_replicas"])
    verdict = judge_replicas(raw, wanted, minimum=options["minimum"], maximum=options["maximum"])
    findings = [Finding("replicas", State(verdict.health), verdict.text)]
    findings += [Finding("warning", State.WELL, "warning: " + text) for text in verdict.warnings]
    plan = {"replicas": wanted, "now": (raw.get("workload") or {}).get("desired")}
    facts = dict({key: raw.get(key) for key in _check_service.FACTS}, plan=plan)
    return Health(tuple(findings), verdict.word, identity_of(raw), ACTIONS.get(verdict.word, ()), facts)
