# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The peer that is there already: one Python that has everything loaded, and looks, starts and verifies with the same code.

It has no lease, no evidence and no journal. Prints the seconds that it took, without the stability window.
"""

from __future__ import annotations

import json
import sys
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import guarded
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_info, service_control


def defaults(spec: t.Mapping[str, t.Any], **given: t.Any) -> dict[str, t.Any]:
    return {**{name: rule.get("default") for name, rule in spec.items()}, **given}


def main() -> None:
    told = json.loads(sys.argv[1])
    begun = time.monotonic()
    look = defaults(health_info.ARGUMENT_SPEC, checks=[told["check"]])
    before = guarded(health_info.run, look, False)
    act = defaults(service_control.ARGUMENT_SPEC, **told["service"], action="start", timeout=30.0)
    started = guarded(service_control.run, act, False)
    after = guarded(health_info.run, dict(look, **told["patience"]), False)
    took = time.monotonic() - begun - told["patience"]["window"]
    ok = before["state"] == "down_clean" and not started.get("failed") and after["proven"]
    print(json.dumps({"seconds": took, "ok": ok}))


if __name__ == "__main__":
    main()
