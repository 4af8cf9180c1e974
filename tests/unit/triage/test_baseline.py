# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is usual, and what is unusual beside it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.baseline import baseline_of, compared

USUAL = baseline_of({"redis": {"latency_ms": [1.0, 3.0, 2.0], "keys": [1000.0] * 3, "memory_bytes": []}, "disk": {"keys": []}})


def test_a_baseline_has_the_median_and_the_spread_of_what_was_measured() -> None:
    assert USUAL == {
        "redis": {
            "latency_ms": {"median": 2.0, "low": 1.0, "high": 3.0, "looks": 3.0},
            "keys": {"median": 1000.0, "low": 1000.0, "high": 1000.0, "looks": 3.0},
        }
    }


@pytest.mark.parametrize(
    ("metric", "now", "unusual"),
    [
        ("latency_ms", 2.5, ""),
        # Some milliseconds more are nothing, whatever the share.
        ("latency_ms", 103.0, ""),
        ("latency_ms", 103.1, "more"),
        ("keys", 1500, ""),
        ("keys", 1501, "more"),
        ("keys", 500, ""),
        ("keys", 499, "less"),
    ],
)
def test_unusual_is_what_lies_outside_of_what_two_ordinary_days_differ_by(metric: str, now: float, unusual: str) -> None:
    assert compared({"redis": {metric: now}}, USUAL, 0)["redis"][metric]["unusual"] == unusual


def test_the_sentence_says_both_numbers_and_when_the_usual_one_was_recorded() -> None:
    found = compared({"redis": {"latency_ms": 250.0}}, USUAL, 1764547200)["redis"]["latency_ms"]
    assert found["text"] == "latency 250 ms, usually 2 ms (1 ms to 3 ms, recorded 2025-12-01 00:00 UTC)"
    rate = {"api": {"error_rate": {"median": 0.0, "low": 0.0, "high": 0.001}}}
    assert compared({"api": {"error_rate": 0.25}}, rate, "?")["api"]["error_rate"]["text"] == (
        "error rate 25 %, usually 0 % (0 % to 0.1 %, recorded at an unknown time)"
    )


@pytest.mark.parametrize("usual", [{}, {"redis": None}, {"redis": {"keys": {}}}, {"redis": {"keys": {"median": "x", "low": 1, "high": 2}}}])
def test_without_a_usable_baseline_nothing_is_usual_or_unusual(usual: dict[str, t.Any]) -> None:
    assert compared({"redis": {"keys": 1}}, usual, 0) == {}
