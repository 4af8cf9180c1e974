# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of what triage names: the last answer counts, what is wrong is shown, and no page is made of nothing."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "scripts/lib/triage_page.py"
spec = importlib.util.spec_from_file_location("triage_page", SOURCE)
assert spec
assert spec.loader
triage_page = importlib.util.module_from_spec(spec)
sys.modules["triage_page"] = triage_page
spec.loader.exec_module(triage_page)

ASKED = {
    "fault": "redis_killed", "outcome": "recovered", "verdict": "held", "states": {"redis": "down_clean"}, "severity": "P1",
    "commands": ["ansible-playbook /x/playbooks/recover-redis.yml -i hosts -l a|b"], "seconds": 3.25, "wrong": [],
}  # fmt: skip


def test_the_last_answer_of_a_fault_counts_and_what_is_wrong_is_shown() -> None:
    first = dict(ASKED, seconds=9.0, wrong=["triage named nothing"])
    other = dict(ASKED, fault="redis_hung", states={"redis": "hung"}, commands=[], wrong=["triage did not name recover_redis"])
    page = triage_page.page_of(triage_page.load_lines("\n".join(map(json.dumps, (first, other, ASKED)))))
    assert "1 of 2 rows are right; the slowest triage took 3.2 s" in page
    assert "| `redis_killed` | redis: down_clean | P1 | `recover-redis` | 3.2 | recovered | yes |\n" in page
    assert "| `redis_hung` | redis: hung | P1 | - | 3.2 | recovered | **no**: triage did not name recover_redis |\n" in page


def test_what_was_not_asked_is_named(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    for name in ("killed", "oom"):
        (tmp_path / "redis" / f"{name}.yml").write_text("")
    page = triage_page.page_of([ASKED], triage_page.names_in(tmp_path))
    assert page.endswith("or not run yet): `redis_oom`.\n")
    assert "Not asked" not in triage_page.page_of([ASKED], ["redis_killed"])


def test_a_page_of_nothing_is_not_made() -> None:
    with pytest.raises(SystemExit, match="asked about no fault"):
        triage_page.page_of([{"fault": "x", "outcome": "-"}])
