# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that could not be judged, since the first connection took long, is looked at again; no other check is."""

from __future__ import annotations

import time
import types
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.action import health_info as action_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.look import validated

PARAMS = {"passes": 3, "window": 1.0, "timeout": 5.0, "wait_timeout": 0.0, "stage": "verify"}


def looked(ways: list[float], monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[str]], list[dict[str, t.Any]]]:
    """Look at a clock that is right and a port that is well; each look takes the next of *ways* seconds to reach the target."""
    now, asked = [1000.0], list[list[str]]()

    def on_target(params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        asked.append([check["kind"] for check in params["checks"]])
        now[0] += ways.pop(0)
        clock = {"now": now[0], "reference": params["checks"][0]["reference"], "synchronised": None}
        found = [{"kind": "clock", "health": "well", "findings": [], "facts": clock}]
        found += [{"kind": check["kind"], "health": "well", "findings": [], "facts": {}} for check in params["checks"][1:]]
        return {"checks": found, "seconds": 0.0, "proven": True, "passes": 3, "looks": 3}

    monkeypatch.setattr(action_module, "time", types.SimpleNamespace(time=lambda: now[0], monotonic=time.monotonic))
    action = object.__new__(action_module.ActionModule)
    action._task = types.SimpleNamespace(delegate_to=None)
    action._connection = types.SimpleNamespace(transport="ssh")
    monkeypatch.setattr(action, "on_target", on_target)
    checks = validated([{"kind": "clock"}, {"kind": "memory"}], 3.0)
    result = action._part("target", PARAMS, checks, ["target"] * 2, {"inventory_hostname": "shop-a"})
    return asked, result["checks"]


@pytest.mark.parametrize(
    ("ways", "looks", "health"),
    [([0.3], 1, "well"), ([3.1, 0.4], 2, "well"), ([9.0, 3.1, 0.4], 3, "well"), ([3.1, 3.2, 3.3], 3, "unknown")],
)
def test_a_clock_behind_a_slow_first_connection_is_looked_at_again(
    ways: list[float], looks: int, health: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, checks = looked(ways, monkeypatch)
    assert asked == [["clock", "memory"], *[["clock"]] * (looks - 1)]
    assert [one["health"] for one in checks] == [health, "well"]
