# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab says at the end of a start or a stop."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "roles/lab/files"))

from somabrain_lab.__main__ import summary  # noqa: E402

UP = "The lab is up in /lab (1.5 s): api 9696, redis 6390."
BAD = "Its API runs a bad release, as lab_release_faults asks; rollback.yml goes back to a recorded one."


@pytest.mark.parametrize(
    ("word", "given", "said"),
    [
        ("start", {}, [UP]),
        ("start", {"release_faults": [{"status": 500}]}, [UP, BAD]),
        ("stop", {}, ["The lab is stopped (1.5 s); its data stays in /lab."]),
        ("stop", {"remove_data": True}, ["The lab is stopped (1.5 s); its data is removed."]),
        ("plan-start", {"release_faults": [{"status": 500}]}, []),
        ("plan-stop", {"remove_data": True}, []),
    ],
)
def test_the_end_of_a_run_is_a_sentence_and_a_plan_has_none(word: str, given: dict[str, t.Any], said: list[str]) -> None:
    assert summary(word, {"lab_dir": "/lab", "remove_data": False, **given}, {"redis": 6390, "api": 9696}, 1.5) == said
