# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which numbers of a check are kept, and that a look that is not well begins the series anew."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.numbers import Series, add_look, numbers_of


@pytest.mark.parametrize(
    ("facts", "numbers"),
    [
        ({"ping_ms": 0.3, "keys": 7, "used_memory": 1024}, {"latency_ms": 0.3, "keys": 7.0, "memory_bytes": 1024.0}),
        ({"ms": 12, "memory": {"rss": 5}}, {"latency_ms": 12.0, "memory_bytes": 5.0}),
        ({"connections": {"used": 4}}, {"connections": 4.0}),
        ({"ms": None, "keys": True, "used_memory": "12", "memory": [], "latency_ms": float("nan")}, {}),
        (None, {}),
    ],
)
def test_numbers_are_those_that_were_measured(facts: t.Any, numbers: dict[str, float]) -> None:
    assert numbers_of({"name": "x", "health": "well", "facts": facts}) == numbers


def test_a_series_is_of_consecutive_looks_that_were_well() -> None:
    series: Series = {}
    for health, number in (("well", 1), ("sick", 9), ("well", 2), ("well", 3)):
        add_look(series, [{"name": "a", "health": "well", "facts": {}}, {"name": "b", "health": health, "facts": {"keys": number}}])
    assert series == {"b": {"keys": [2.0, 3.0]}}
