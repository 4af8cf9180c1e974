# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each path of the spine ended in its outcome, left the right word behind, and no lease."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "story"


@pytest.mark.parametrize(
    ("story", "outcome", "word", "acts"),
    [
        ("well", "nothing_to_do", "well", []),
        ("sick_to_well", "recovered", "well", ["write_word"]),
        ("twice", "nothing_to_do", "well", []),
        ("sick_to_sick", "undone", "sick", ["write_word", "write_old_word"]),
        ("sick_to_unknown", "unproven", "strange", ["write_word"]),
        ("act_fails", "undone", "sick", ["write_word", "write_old_word"]),
        ("undo_fails", "failed", "sick", ["write_word", "write_old_word"]),
        ("unknown", "refused", "strange", []),
        ("rehearsal", "rehearsed", "sick", []),
    ],
)
def test_each_path_ends_in_its_outcome(story: str, outcome: str, word: str, acts: list[str]) -> None:
    told = json.loads((FOLDER / f"{story}.json").read_text())
    assert (told["outcome"], [act["action"] for act in told["acts"]]) == (outcome, acts)
    assert told["green"] is (outcome in ("nothing_to_do", "recovered", "rehearsed"))
    assert (FOLDER / f"{story}.rc").read_text() == ("0" if told["green"] else "2")
    keeper = FOLDER / ("sick_to_well" if story == "twice" else story)
    assert (keeper / "word").read_text() == word


def test_the_rehearsal_left_nothing_on_the_keeper() -> None:
    assert not (FOLDER / "rehearsal/state").exists()


def test_what_was_unknown_is_named_and_a_way_on_is_shown() -> None:
    (reason,) = json.loads((FOLDER / "unknown.json").read_text())["reasons"]
    assert reason["code"] == "health_unknown"
    assert "the word is strange" in reason["text"]
    assert reason["next_command"].startswith("ansible-playbook ")
