# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each reason refused by its code and left the toy as it was; each override that exists was needed and is on record."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "story"


def told(story: str) -> dict[str, t.Any]:
    return dict(json.loads((FOLDER / f"{story}.json").read_text()))


@pytest.mark.parametrize(
    ("story", "code"),
    [
        ("frozen", "frozen"),
        ("killed", "kill_switch"),
        ("try_three", "budget_spent"),
        ("evidence_missing", "evidence_missing"),
        ("loss_not_approved", "approval_needed"),
        ("template_in_reason", "template_in_input"),
        ("wrong_type", "bad_input"),
        ("held", "lease_held"),
    ],
)
def test_each_reason_refuses_by_its_code(story: str, code: str) -> None:
    outcome = told(story)
    assert (outcome["outcome"], [reason["code"] for reason in outcome["reasons"]][:1]) == ("refused", [code])
    assert outcome["acts"] == []
    assert (FOLDER / f"{story}.rc").read_text() == "2"
    if story not in ("try_three", "held"):
        assert (FOLDER / story / "word").read_text() == "sick"


@pytest.mark.parametrize("story", ["frozen_but_overridden", "evidence_overridden", "try_one", "try_two", "taken_over"])
def test_what_a_person_overrides_goes_on(story: str) -> None:
    assert told(story)["outcome"] == "recovered"


def test_overrides_are_on_record() -> None:
    assert told("frozen_but_overridden")["annotations"]["remediation_freeze_override"] == "the house is on fire"
    assert told("evidence_overridden")["annotations"]["remediation_without_evidence"] == "the disk is gone"
    assert "on a person's order" in told("taken_over")["resumed"]["proof"]


def test_a_held_lease_names_its_holder() -> None:
    assert told("held")["reasons"][0]["holder"]["run_id"] == told("taken_over")["resumed"]["run_id"]
