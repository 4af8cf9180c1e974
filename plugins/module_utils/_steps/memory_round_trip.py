# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``memory_round_trip``: one canary through remember and recall. A rehearsal writes nothing and proves nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import round_trip
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, Proof, State

ARGUMENT_SPEC: dict[str, t.Any] = {
    **round_trip.OPTIONS,
    **{name: LOOK_SPEC[name] for name in ("look_from", "stands_on")},
    "timeout": {"type": "float", "default": 10.0},
    "stage": dict(LOOK_SPEC["stage"], default="verify"),
}


def run(params: Params, check: bool) -> Result:
    """Return one check's result as ``_checks.look.combine`` gives it; ``changed`` means that a canary may remain."""
    options = {key: value for key, value in params.items() if key in round_trip.OPTIONS and value is not None}
    ready = look.validated([dict(options, kind="round_trip", name="memory round trip", timeout=params["timeout"])], params["timeout"])
    if check:
        rehearsed = Health((Finding("rehearsal", State.UNKNOWN, "a rehearsal writes no canary, so nothing is proven"),))
        found = [dict(rehearsed.as_dict(), name=ready[0]["name"], kind="round_trip", seconds=0.0)]
    else:
        found = look.run_checks(ready, params["stands_on"])
    well = found[0]["health"] == "well"
    result = look.combine(found, "", Proof(found, well, int(well), 0 if check else 1, found[0]["seconds"]), params["stage"])
    # A probe left behind at its deadline may have written, so no word about litter counts as litter.
    litter = "none" if check else found[0]["facts"].get("litter", "unknown")
    return dict(result, litter=litter, changed=litter != "none")
