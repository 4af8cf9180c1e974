# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves: whatever is held, paused or stopped stands in `left` of its outcome, whichever way the run ended."""

from __future__ import annotations

import json
import shlex
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import left
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_close as close
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_gate as gate
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_guard as guard
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_history as history
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_open as opening
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_reconcile as reconcile

SICK = {"health": "sick", "state": "down", "actions": ["start"], "stage": "assess"}
WELL = {"health": "well", "state": "up", "proven": True, "passes": 3, "stage": "verify"}
NAME = {"service_manager_name": "redis", "service_manager_scope": "system", "service_manager_supervisor_url": "unix:///s"}
HOLD = {"kind": "service_manager", "seconds": 60.0, "body": {"tasks_from": "supervisor/release.yml", "vars": NAME}}
PAUSE = {"what": "writers_paused", "text": "writers are paused", "command": "redis-cli CLIENT UNPAUSE"}
UNDO = "nothing to put back"


def defaults(step: t.Any, **given: t.Any) -> dict[str, t.Any]:
    return {**{name: option.get("default") for name, option in step.ARGUMENT_SPEC.items()}, **given}


class Run:
    """One run on lab/redis, step by step."""

    def __init__(self, state: Path, run_id: str, *, check: bool = False, before: dict[str, t.Any] | None = None) -> None:
        self.state, self.check, self.before = str(state), check, before or SICK
        who = {"host": "lab", "component": "redis", "remedy": "redis_recovery", "run_id": run_id, "owner": "ann"}
        opened = opening.run(defaults(opening, state_dir=self.state, **who), check)["run"]
        guarded = guard.run(defaults(guard, state_dir=self.state, run=opened, before=self.before), check)
        self.opened, self.verdict = guarded["run"], guarded["verdict"]

    def gate(self, action: str, **more: t.Any) -> Run:
        gate.run(defaults(gate, state_dir=self.state, run=self.opened, action=action, **more), self.check)
        return self

    def close(self, **more: t.Any) -> dict[str, t.Any]:
        given = {"last": self.before, "undo": UNDO, **more}
        params = defaults(close, state_dir=self.state, run=self.opened, verdict=self.verdict, before=self.before, **given)
        return dict(close.run(params, self.check)["outcome"])


def whats(outcome: dict[str, t.Any]) -> list[str]:
    return [one["what"] for one in outcome["left"]]


ENDS: list[tuple[str, dict[str, t.Any]]] = [
    ("recovered", {"after": WELL, "last": WELL}),
    ("failed", {"failure": {"msg": "no"}}),
    ("refused", {"failure": {"msg": "no", "reasons": [{"code": "fenced", "text": "x"}]}}),
    ("unproven", {"after": {"health": "unknown"}}),
    ("unproven", {"failure": {"msg": "gone", "lost": True}}),
]


@pytest.mark.parametrize(("word", "end"), ENDS)
def test_a_hold_that_was_not_ended_is_left_however_the_run_ends(tmp_path: Path, word: str, end: dict[str, t.Any]) -> None:
    outcome = Run(tmp_path, "R1").gate("hold", owes=HOLD).close(**end)
    assert (outcome["outcome"].startswith(word), whats(outcome), outcome["undo"]) == (True, ["service_manager"], "")
    assert "redis" in outcome["left"][0]["text"]
    words = shlex.split(outcome["left"][0]["command"])
    assert words[:3] == ["{ansible}", "-m", "somabrain.incident_response.service_control"]
    assert json.loads(words[-1]) == {
        "action": "release", "manager": "supervisor", "name": "redis", "scope": "system", "supervisor_url": "unix:///s",
    }  # fmt: skip


def test_a_hold_that_was_ended_is_not_left_and_the_undo_is_said(tmp_path: Path) -> None:
    outcome = Run(tmp_path, "R1").gate("hold", owes=HOLD).gate("start", settles=["service_manager"]).close(after=WELL, last=WELL)
    assert (outcome["left"], outcome["undo"]) == ([], UNDO)


@pytest.mark.parametrize("check", [False, True])
def test_later_runs_that_find_it_well_or_are_refused_or_only_rehearse_list_it_too(tmp_path: Path, check: bool) -> None:
    Run(tmp_path, "R1").gate("hold", owes=HOLD).close(failure={"msg": "no"})
    for run in (Run(tmp_path, "R2", check=check, before=WELL), Run(tmp_path, "R3", check=check, before={"health": "unknown"})):
        outcome = run.close()
        assert whats(outcome) == ["service_manager"]
        assert "run R1" in outcome["left"][0]["text"]
    never_opened = close.run(defaults(close, state_dir=str(tmp_path), run={"host": "lab", "component": "redis"}), check)["outcome"]
    assert whats(never_opened) == ["service_manager"]


def test_another_component_has_nothing_left(tmp_path: Path) -> None:
    Run(tmp_path, "R1").gate("hold", owes=HOLD).close(failure={"msg": "no"})
    other = close.run(defaults(close, state_dir=str(tmp_path), run={"host": "lab", "component": "api"}), False)["outcome"]
    assert other["left"] == []


@pytest.mark.parametrize("by", ["passed", "look", "check"])
def test_what_a_remedy_or_its_look_reports_is_left_until_a_look_says_otherwise(tmp_path: Path, by: str) -> None:
    looks: dict[str, t.Any] = {"look": {"facts": {"left": [PAUSE]}}, "check": {"checks": [{"name": "redis", "facts": {"left": [PAUSE]}}]}}
    given = {"left": [PAUSE]} if by == "passed" else {"last": dict(SICK, **looks[by])}
    outcome = Run(tmp_path, "R1").gate("start").close(failure={"msg": "no"}, **given)
    assert (outcome["left"], outcome["undo"]) == ([PAUSE], "")
    # A look that says nothing of it does not end it; nor does a remedy that did nothing.
    kept = Run(tmp_path, "R2", before=WELL).close(left=[])
    assert whats(kept) == ["writers_paused"]
    assert kept["left"][0]["command"] == PAUSE["command"]
    seen = reconcile.run(defaults(reconcile, state_dir=str(tmp_path), host="lab"), False)
    assert ([one["what"] for one in seen["left"]], seen["due"]) == (["writers_paused"], [])
    assert [one["what"] for one in history.run(defaults(history, state_dir=str(tmp_path)), False)["left"]] == ["writers_paused"]
    over = Run(tmp_path, "R3", before=dict(WELL, facts={"left": []})).close()
    assert (over["outcome"], over["left"]) == ("nothing_to_do", [])
    assert Run(tmp_path, "R4", before=WELL).close()["left"] == []


def test_a_person_marks_what_was_ended_by_hand(tmp_path: Path) -> None:
    Run(tmp_path, "R1").gate("start").close(failure={"msg": "no"}, left=[{"what": "flag", "text": "a flag file is there"}])
    shown = Run(tmp_path, "R2", before=WELL).close()["left"][0]
    assert shown["command"] == "{reconcile} -e " + shlex.quote('{"remediation_settled": [1]}')
    reconcile.run(defaults(reconcile, state_dir=str(tmp_path), host="lab", settled=[1]), False)
    assert Run(tmp_path, "R3", before=WELL).close()["left"] == []


def test_the_history_of_a_run_says_what_it_left(tmp_path: Path) -> None:
    Run(tmp_path, "R1").gate("start").close(failure={"msg": "no"}, left=[PAUSE])
    said = history.run(defaults(history, state_dir=str(tmp_path), run_id="R1"), False)["say"]
    assert "  left: writers are paused" in said


def test_where_the_ledger_cannot_be_read_what_is_left_is_unknown(tmp_path: Path) -> None:
    run = Run(tmp_path, "R1").gate("hold", owes=HOLD)
    outcome = run.close(failure={"msg": "no"}, not_reached="the keeper is gone")
    assert (whats(outcome), outcome["undo"]) == (["unknown"], "")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, []),
        ([], []),
        ("", []),
        ("a pause", [("left", "a pause", "")]),
        ([{"what": "x"}], [("x", "x", "")]),
        ([{"text": "key of http://u:SECRET@h/"}], [("left", "key of http://[redacted]@h/", "")]),
        ([7, None], [("left", "7", "")]),
    ],
)
def test_whatever_a_remedy_passes_is_shown(given: t.Any, expected: list[tuple[str, str, str]]) -> None:
    assert [(one["what"], one["text"], one["command"]) for one in left.entries(given)] == expected


def test_credentials_in_a_url_reach_neither_the_outcome_nor_the_ledger(tmp_path: Path) -> None:
    url = "http://u:s3cr3t-value@host/"
    look = dict(SICK, findings=[{"name": "http", "state": "sick", "text": f"{url} refuses"}], facts={"url": url})
    run = Run(tmp_path, "R1", before=look).gate("start", owes={"kind": "x", "text": f"{url} is held", "body": {}})
    outcome = run.close(failure={"msg": f"{url} failed"}, undo=f"curl {url}", left=[f"{url} is paused"])
    assert "s3cr3t-value" not in json.dumps(outcome)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"s3cr3t-value" not in path.read_bytes(), path
