# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The response clock: what it counts from, by when somebody has to respond, and how much is left."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.clock import clock_of, duration
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._rules import load_rules

RULES = load_rules()
NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z


@pytest.mark.parametrize(
    ("level", "alert", "onset", "source", "begun", "left"),
    [
        ("P0", {"at": "2027-01-15T07:50:00Z"}, {"at": "2027-01-15T07:00:00Z"}, "the alert", "2027-01-15T07:50:00Z", 300),
        ("P0", None, {"at": "2027-01-15T07:40:00Z"}, "the onset", "2027-01-15T07:40:00Z", -300),
        ("P1", {"at": None}, {"at": None, "earliest": "2027-01-15T07:30:00Z", "latest": "2027-01-15T07:50:00Z"},
         "the onset at the earliest", "2027-01-15T07:30:00Z", 1800),
        ("P1", {"at": "2027-01-15T09:30:00+02:00"}, None, "the alert", "2027-01-15T07:30:00Z", 1800),
        ("P2", None, None, "this triage", "2027-01-15T08:00:00Z", 14400),
        ("P3", {}, {}, "this triage", "2027-01-15T08:00:00Z", 86400),
        # A clock that is a little ahead counts as now; a time to come is not used.
        ("P0", {"at": "2027-01-15T08:00:03Z"}, None, "the alert", "2027-01-15T08:00:00Z", 900),
        ("P0", {"at": "2027-01-15T08:10:00Z"}, {"at": "2027-01-15T07:59:00Z"}, "the onset", "2027-01-15T07:59:00Z", 840),
        ("P0", {"at": "2027-01-15T08:10:00Z"}, None, "this triage", "2027-01-15T08:00:00Z", 900),
        # No time is made of what is none.
        ("P0", {"at": "2027-01-15 07:00"}, {"at": 12}, "this triage", "2027-01-15T08:00:00Z", 900),
        ("P0", {"at": "yesterday"}, ["x"], "this triage", "2027-01-15T08:00:00Z", 900),
        ("P0", {"at": "0001-01-01T00:00:00Z"}, None, "this triage", "2027-01-15T08:00:00Z", 900),
    ],
)  # fmt: skip
def test_it_counts_from_the_alert_or_the_onset_or_now_and_says_which(
    level: str, alert: t.Any, onset: t.Any, source: str, begun: str, left: int
) -> None:
    clock = clock_of({"level": level}, RULES, NOW, alert, onset)
    assert clock
    assert (clock["from_source"], clock["from"], clock["left_seconds"]) == (source, begun, left)
    assert f"of {source} ({begun}), by {clock['due_at']}: " in clock["text"]
    assert clock["respond_within_seconds"] == {"P0": 900, "P1": 3600, "P2": 14400, "P3": 86400}[level]


def test_its_sentence_is_one_that_a_person_reads_at_once() -> None:
    clock = clock_of({"level": "P0"}, RULES, NOW, {"at": "2027-01-15T07:40:00Z"})
    assert clock
    assert clock["text"] == "P0: respond within 15 min of the alert (2027-01-15T07:40:00Z), by 2027-01-15T07:55:00Z: overdue by 5 min"
    clock = clock_of({"level": "P3"}, RULES, NOW, {"at": "2027-01-16T07:40:00Z"})
    assert clock
    assert clock["text"] == (
        "P3: respond within 24 h of this triage (2027-01-15T08:00:00Z), by 2027-01-16T08:00:00Z: 24 h left;"
        " the alert is given as 2027-01-16T07:40:00Z, which is still to come, so it was not used"
    )


@pytest.mark.parametrize("level", ["", None, "P9", 3])
def test_there_is_no_clock_where_nothing_is_wrong(level: t.Any) -> None:
    assert clock_of({"level": level}, RULES, NOW) is None
    assert clock_of({}, RULES, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (12000, "3 h 20 min"), (190000, "2 d 4 h")],
)
def test_a_duration_is_said_in_its_own_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said
