# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of what was proven says what the verdicts say, and nothing where there are none."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "scripts/lib/proof_page.py"
spec = importlib.util.spec_from_file_location("proof_page", SOURCE)
assert spec
assert spec.loader
proof_page = importlib.util.module_from_spec(spec)
sys.modules["proof_page"] = proof_page
spec.loader.exec_module(proof_page)

VERDICTS = """races\tpytest\t12\t0\t1\t60.5\t\taaaa111
drills-redis-seed-2\tdrills of redis, seed 2\t30\t1\t2\t900\texit 1\tbbbb222
integration-1\tone\t3\t0\t0\t10\t\taaaa111
integration-1\ttwo\t0\t0\t4\t0\tno Docker here\taaaa111
"""


def test_each_part_has_one_row_with_its_seed_its_sums_and_its_commit() -> None:
    page = proof_page.page_of(proof_page.load_rows(VERDICTS), "2026-11-30")
    assert "has seen up to 2026-11-30" in page
    assert "45 passed, 1 failed, 7 skipped in 0.3 h." in page
    assert [line for line in page.splitlines() if line.startswith("| ")][1:] == [
        "| drills-redis | 2 | **failed** | 30 | 1 | 2 | 900 | bbbb222 |",
        "| integration-1 |  | passed | 3 | 0 | 4 | 10 | aaaa111 |",
        "| races |  | passed | 12 | 0 | 1 | 60 | aaaa111 |",
    ]


def test_no_page_is_made_of_no_verdict() -> None:
    with pytest.raises(ValueError, match="no verdicts"):
        proof_page.page_of(proof_page.load_rows(""), "2026-11-30")


def test_a_part_without_a_verdict_is_named() -> None:
    rows = proof_page.load_rows(VERDICTS)
    page = proof_page.page_of(rows, "2026-11-30", ["races", "mutants", "drills-redis-seed-1", "drills-redis-seed-2", "integration-1"])
    assert page.endswith("\n\nNo verdict yet (2 of 5 parts): `mutants`, `drills-redis-seed-1`.\n")
    assert "No verdict yet" not in proof_page.page_of(rows, "2026-11-30", ["races"])
