# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line that a long wait shows never says that more was waited than there was time."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _look


def test_what_is_no_longer_on_its_way_was_not_waited_for_longer_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    now, shown = [0.0], list[str]()
    results: list[dict[str, t.Any]] = [
        {"state": "starting", "health": "unknown", "on_its_way": True},
        {"state": "degraded", "health": "sick"},
    ]
    results += [dict(results[1])]

    def look(params: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        now[0] += 11.0
        return results.pop(0)

    monkeypatch.setattr(_look, "time", types.SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: None))
    monkeypatch.setattr(_look, "Display", lambda: types.SimpleNamespace(display=shown.append))
    action = object.__new__(_look.LookAction)
    action._task = types.SimpleNamespace(delegate_to="shop-a")
    monkeypatch.setattr(action, "look", look)
    action.execute({"timeout": 0, "wait_timeout": 30, "interval": 0}, {}, {})
    assert shown == ["shop-a: waited 11 of 30 s, now starting: unknown", "shop-a: waited 22 of 22 s, now degraded: sick"]
