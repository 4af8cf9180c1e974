# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several runs of one playbook end as one: the worst decides, nothing expected is forgotten, and the API waits for its stores."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import summary
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _on_call

AGAIN = "ansible-playbook recover-all.yml"


def ended(component: str, outcome: str, green: bool, **more: t.Any) -> dict[str, t.Any]:
    return {"target": f"lab/{component}", "outcome": outcome, "green": green, "acts": [], "reasons": [], **more}


GOOD = ended("redis", "recovered", True, acts=[{"kind": "act", "action": "start"}, {"kind": "undo", "action": "x"}])
REFUSED = ended("redis", "refused", False, reasons=[{"code": "data_damaged", "text": "no copy", "next_command": "look"}])
APPROVE = ended("redis", "refused", False, reasons=[
    {"code": "approval_needed", "text": "choose", "plans": [{"next_command": "first"}, {"next_command": "second"}]},
])  # fmt: skip
FAILED = ended("api", "failed", False, failure={"task": "x", "msg": "it did not start"})
LOSSY = ended("redis", "recovered_with_loss", False, loss={"count": 3, "text": "3 keys"})
ROWS: dict[str, tuple[dict[str, t.Any], str, tuple[str, ...]]] = {
    "recovered": (GOOD, "start", ()),
    "refused, with its next command": (REFUSED, "data_damaged: no copy", ("look",)),
    "an approval is needed: the recommended plan": (APPROVE, "approval_needed: choose", ("first",)),
    "failed": (FAILED, "it did not start", (AGAIN,)),
    "a loss that nobody approved is no reason to run again": (LOSSY, "3 keys", ()),
    "unproven, with its own next command": (ended("api", "unproven", False, next_command="again"), "", ("again",)),
}


@pytest.mark.parametrize(("outcome", "text", "commands"), ROWS.values(), ids=list(ROWS))
def test_each_component_has_its_outcome_why_and_what_follows(outcome: dict[str, t.Any], text: str, commands: tuple[str, ...]) -> None:
    (row,) = summary.rows_of([outcome], [], AGAIN)
    assert (row.outcome, row.text, row.next_commands) == (outcome["outcome"], text, commands)


WORST: dict[str, tuple[list[dict[str, t.Any]], list[str], str]] = {
    "all are green": ([GOOD, ended("api", "nothing_to_do", True)], [], "nothing_to_do"),
    "a failure before a refusal": ([REFUSED, FAILED], [], "failed"),
    "a refusal before what is green": ([REFUSED, ended("api", "recovered", True)], [], "refused"),
    "what never came to an end": ([GOOD], ["lab/redis", "lab/api"], "missing"),
    "nothing at all": ([], [], "missing"),
    "the last outcome of a target counts": ([REFUSED, GOOD], [], "recovered"),
    "a run that noted nothing": ([GOOD, {}], ["lab/redis"], "recovered"),
}


@pytest.mark.parametrize(("outcomes", "expected", "worst"), WORST.values(), ids=list(WORST))
def test_the_worst_decides_and_what_was_expected_is_not_forgotten(outcomes: t.Any, expected: list[str], worst: str) -> None:
    assert summary.worst_of(summary.rows_of(outcomes, expected, AGAIN)) == worst


HELD: dict[str, tuple[list[dict[str, t.Any]], list[str], str]] = {
    "its stores are proven": ([GOOD, ended("postgresql", "nothing_to_do", True)], [], ""),
    "no store is in this run": ([], [], ""),
    "a store was refused": ([REFUSED], [], "refused"),
    "a store never came to an end": ([GOOD], ["lab/postgresql"], "refused"),
    "a store lost data, which was approved": ([ended("redis", "recovered_with_loss", True)], [], ""),
    "a store lost data, which nobody approved": ([LOSSY], [], "refused"),
    "a store was rehearsed": ([ended("redis", "rehearsed", True)], [], "rehearsed"),
}


@pytest.mark.parametrize(("outcomes", "expected", "outcome"), HELD.values(), ids=list(HELD))
def test_the_api_follows_only_stores_that_are_proven(outcomes: t.Any, expected: list[str], outcome: str) -> None:
    held = summary.held_back("api", "lab", summary.rows_of(outcomes, expected, AGAIN), False)
    assert held.get("outcome", "") == outcome


def test_what_is_held_back_names_the_store_and_its_next_command() -> None:
    held = summary.held_back("api", "lab", summary.rows_of([REFUSED], [], AGAIN), False)
    (why,) = held["reasons"]
    assert (held["target"], held["green"], why["code"], why["text"]) == (
        "lab/api", False, "dependency_down", "not started: lab/redis is refused",
    )  # fmt: skip
    assert why["next_command"] == "look"


def test_a_store_that_works_and_lost_something_is_followed_by_the_same_command() -> None:
    (why,) = summary.held_back("api", "lab", summary.rows_of([LOSSY], [], AGAIN), False, AGAIN)["reasons"]
    assert why["next_command"] == AGAIN
    assert why["text"] == "not started: lab/redis is recovered with loss; it works: see what was lost, then run this again"
    (why,) = summary.held_back("api", "lab", summary.rows_of([LOSSY, FAILED], [], "retry"), False, AGAIN)["reasons"]
    assert (why["next_command"], "it works" in why["text"]) == ("retry", False)


def test_a_component_without_a_host_is_told_and_is_no_proof() -> None:
    (row,) = summary.absent_of([
        {"component": "redis", "hosts": ["a"], "pattern": "redis"}, {"component": "postgresql", "hosts": [], "pattern": "postgresql"},
    ])  # fmt: skip
    assert (row.target, row.outcome, row.green) == ("postgresql", "not_looked_at", True)
    assert "matches 'postgresql'" in row.text
    assert summary.worst_of([*summary.rows_of([GOOD], [], AGAIN), row]) == "recovered"
    assert summary.worst_of([row]) == "missing"


def test_every_host_of_a_component_is_expected() -> None:
    assert summary.targets_of([{"component": "redis", "hosts": ["a", "b"]}, {"component": "api", "hosts": []}]) == ["a/redis", "b/redis"]


def test_the_table_has_a_line_each_with_the_command_below_and_the_view_shows_the_same() -> None:
    rows = summary.rows_of([GOOD, REFUSED | {"target": "lab/postgresql"}], [], AGAIN)
    assert summary.lines_of(rows) == [
        "lab/redis       recovered            start",
        "lab/postgresql  refused              data_damaged: no copy",
        "                next: look",
    ]
    lines = _on_call.summary_lines({"components": [row.as_dict() for row in rows]}, 100)
    assert lines == [
        ("lab/redis       RECOVERED            start", "green"),
        ("lab/postgresql  REFUSED              data_damaged: no copy", "yellow"),
        ("Next:", ""),
        ("look", ""),
    ]
