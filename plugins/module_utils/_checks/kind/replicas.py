# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``replicas``: whether a service has the wanted number of pods or containers, and whether it may be scaled to it.

States: scaled is well; scale_out and scale_in are sick, with their plan; a refusal is sick under its reason code.

C(replicas): whether a service has as many pods or containers as wanted, and whether it may get them. Takes C(service) and the options
that name its manager, C(wanted_replicas), C(minimum) and C(maximum); C(facts.plan) has the number and the one before.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import service
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import new
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.replicas import Verdict, judge_replicas
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock, identity_of

HOST_ONLY = True
CLASS = "service"
OPTIONS: dict[str, t.Any] = {
    **ask.CHECK_SPEC,
    **new.PROJECT_SPEC,
    "service": {"type": "str", "required": True},
    # Judged here, so that a bad number is refused by name.
    "wanted_replicas": {"type": "raw", "required": True},
    "minimum": {"type": "int", "default": 1},
    "maximum": {"type": "int", "default": 10},
    # Server weights given as well: that is a separate run.
    "given_servers": {"type": "raw", "default": {}},
    # How long it lasts, in seconds; 0: it stays.
    "lasts": {"type": "float", "default": 0.0},
}
# Keep the number: something else of them is to be repaired.
AS_IS = "as_is"
ACTIONS: t.Mapping[str, tuple[str, ...]] = {"scale_out": ("scale",), "scale_in": ("scale",), "starting": ("wait",)}


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the state of the service with the counts of all its pods or containers; raises StepError only for a bad name."""
    wanted, clock = whole(options["wanted_replicas"]), Clock(deadline)
    raw = service.load(dict(options, wanted_replicas=wanted or 1), deadline)
    if ask.trait(options["manager"], "HAS_PROJECT") and raw.get("workload") and wanted and wanted != raw["workload"]["desired"]:
        raw["fresh"] = new.load(options, max(1.0, clock.left))
    return raw


def number_of(raw: t.Mapping[str, t.Any], given: t.Any) -> t.Optional[int]:
    """Return how many are wanted, for AS_IS the present number; None for anything but a number."""
    return (raw.get("workload") or {}).get("desired", 0) if given == AS_IS else whole(given)


def whole(given: t.Any) -> t.Optional[int]:
    """Return *given* as a whole number, also from digits; None for anything else."""
    return int(given) if not isinstance(given, bool) and re.fullmatch("-?[0-9]{1,6}", str(given)) else None


def unfit_of(options: t.Mapping[str, t.Any]) -> t.Optional[tuple[str, str, str, str]]:
    """Return the verdict on input that makes no sense, None for input that does."""
    wanted = options["wanted_replicas"]
    if wanted != AS_IS and whole(wanted) is None:
        return ("replicas_out_of_range", "sick", "%s is not a number of replicas" % one_line(wanted, 40), "replicas_out_of_range")
    if options.get("given_servers"):
        text = "traffic_scaling_servers and traffic_scaling_replicas are two runs: give one of them"
        return ("bad_input", "sick", text, "bad_input")
    if float(options.get("lasts", 0)) < 0:
        return (
            "bad_input",
            "sick",
            "traffic_scaling_set_seconds is %g; it is 0 (it stays) or more" % float(options.get("lasts", 0)),
            "bad_input",
        )
    return None


def judge(raw: dict[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Judge the wanted number; ``facts.plan`` has it with the present one, which an act takes as its precondition."""
    wanted, unfit = number_of(raw, options["wanted_replicas"]), unfit_of(options)
    verdict = Verdict(*unfit) if unfit else judge_replicas(raw, wanted or 0, minimum=options["minimum"], maximum=options["maximum"])
    findings = [Finding("replicas", State(verdict.health), verdict.text)]
    findings += [Finding("warning", State.WELL, "warning: " + text) for text in verdict.warnings]
    plan = {"replicas": wanted, "now": (raw.get("workload") or {}).get("desired")}
    facts = dict({key: raw.get(key) for key in service.FACTS}, plan=plan)
    return Health(tuple(findings), verdict.word, identity_of(raw), ACTIONS.get(verdict.word, ()), facts)
