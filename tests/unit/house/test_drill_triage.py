# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What triage named before a drill is held against what the remedy then found and did."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "roles/drill/files"))

from somabrain_drill import faults, judge, runs, triage  # noqa: E402

SICK = {"component": "redis", "state": "down_clean", "health": "sick"}
COMMAND = {"command": "ansible-playbook /x/recover-redis.yml -l lab"}


def report(*findings: dict[str, t.Any], commands: t.Sequence[dict[str, str]] = (COMMAND,), level: str = "P1") -> dict[str, t.Any]:
    return {"verdict": "sick" if findings else "well", "findings": findings, "next": commands, "severity": {"level": level}}


def seen(state: str, word: str = "recovered") -> judge.Seen:
    turn = faults.Turn(expect=frozenset({word}))
    before = {"health": "sick", "state": state}
    ran = runs.Ran(0, {"outcome": word, "reasons": [], "acts": [], "loss": {}, "before": before}, "")
    return judge.Seen(faults.Fault("some_fault", "redis", "it holds", (turn,), loss="none"), [runs.Turned(turn, [ran], True)])


@pytest.mark.parametrize(
    ("said", "code", "found", "wrong"),
    [
        (report(SICK), 2, seen("down_clean"), []),
        (report(SICK), 2, seen("hung"), ["triage named redis down_clean, and recover_redis found hung"]),
        # A rollback's own look has a word of its plan.
        (report(SICK), 2, seen("to_roll_back"), []),
        (report({"component": "h", "state": "unreachable", "symptoms": [SICK]}), 2, seen("down_clean"), []),
        (report(SICK, commands=()), 2, seen("down_clean"), ["triage did not name recover_redis, which then ended recovered: no command"]),
        (report(SICK, commands=()), 2, seen("down_clean", "refused"), []),
        (report(SICK, commands=({"command": "ansible-playbook /x/recover-all.yml"},)), 2, seen("down_clean"), []),
        (report(SICK, level=""), 2, seen("down_clean"), ["triage named something and gave it no severity"]),
        (report(SICK), 0, seen("down_clean"), ["triage ended with exit code 0 and the verdict sick"]),
    ],
)
def test_what_triage_named_is_judged(said: dict[str, t.Any], code: int, found: judge.Seen, wrong: list[str]) -> None:
    assert triage.judge_triage(runs.Ran(code, {}, ""), said, 3.0, found, "recover_redis").wrong == wrong
