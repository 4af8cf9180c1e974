# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutation testing: which functions, operators and spans of a module are judgement, and that every judgement has a unit test."""

from __future__ import annotations

import importlib.util
import tomllib
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SPEC = importlib.util.spec_from_file_location("mutants", ROOT / "scripts/lib/mutants.py")
assert SPEC
assert SPEC.loader
mutants: t.Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(mutants)

SOURCE = """
def load_it(path):
    return open(path).read(20)

def judge_it(raw, *, most):
    return one_line("too many", 60) if _over(raw, most) else f"{raw + 1} of {most}"

def _over(raw, most):
    return raw > most
"""


def test_a_judgement_is_judge_and_what_it_calls() -> None:
    assert mutants.judged(SOURCE) == {"judge_it", "_over"}
    assert mutants.judged("def load(): return 1") == set()


@pytest.mark.parametrize(
    ("operator", "tried"),
    [
        ("core/ReplaceComparisonOperator_Gt_GtE", True),
        ("core/ReplaceComparisonOperator_Gt_Is", False),
        ("core/ReplaceBinaryOperator_Add_Sub", True),
        ("core/ReplaceBinaryOperator_Mod_Sub", False),
        ("core/NumberReplacer", True),
        ("core/ExceptionReplacer", False),
    ],
)
def test_an_operator_is_flipped_to_its_neighbours(operator: str, tried: bool) -> None:
    assert mutants.wanted(operator) is tried


def test_wording_and_signatures_are_left_out() -> None:
    spans = mutants.wording(SOURCE)
    lines = SOURCE.splitlines()

    def left_out(text: str) -> bool:
        line = next(index for index, one in enumerate(lines, 1) if text in one)
        place = (line, lines[line - 1].index(text))
        return any(begin <= place < end for begin, end in spans)

    assert [left_out(text) for text in ("*, most", "60", "+ 1", "> most", "20)")] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from a.module_utils._redis import judge, load\n", True),
        ("from a.module_utils._redis import (\n    judge,\n)\n", True),
        ("from a.module_utils._redis.judge import judge_it\n", True),
        ("from a.module_utils._redis import judged\n", False),
        ("from a.module_utils._postgresql import judge\n", False),
    ],
)
def test_a_test_is_found_by_what_it_imports(text: str, found: bool) -> None:
    assert mutants.imports(text, "_redis/judge") is found


def test_every_survivor_names_a_line_that_is_there() -> None:
    for one in tomllib.loads((ROOT / "tests/survivors.toml").read_text()).get("survivor", []):
        lines = [line.strip() for line in (ROOT / "plugins/module_utils" / f"{one['module']}.py").read_text().splitlines()]
        assert one["code"] in lines, one
        assert len(one["why"]) > 20, one
