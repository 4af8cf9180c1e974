# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind of check says what it is: its file is whole, and no other file decides anything by the kind's name."""

from __future__ import annotations

import ast
import importlib.util
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import traits
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kinds import KINDS

ROOT = Path(__file__).resolve().parents[3]
REGISTRY = ROOT / "plugins/module_utils/_checks/kinds.py"
# What a kind may say of itself, with the type; functions are told by None.
TRAITS: dict[str, t.Any] = {
    "HOST_ONLY": bool, "WRITES": bool, "WRITES_WITH": str, "BELOW": tuple, "SENT_AT": str, "PLAYBOOK": str, "FIX": str, "NO_SERVICE": bool,
    "CLASS": str, "ASIDE": bool,
    "judge_again": None, "problems": None, "fits_together": None, "load_together": None, "progress": None,
}  # fmt: skip
# A rollback is planned from one look of each of its kinds, which its role makes and hands over.
PLANS = {"plugins/module_utils/_steps/rollback_plan.py"}


def kinds_decided_on(source: str) -> list[str]:
    """Return the kinds that *source* knows by name: compared with a kind, looked up in KINDS, or several listed together."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(_is_a_kind(side) for side in (node.left, *node.comparators)):
            found += [name for side in (node.left, *node.comparators) for name in _names_in(side)]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, (ast.Name, ast.Attribute)) and _word_of(node.value) == "KINDS":
            found += _names_in(node.slice)
        elif isinstance(node, (ast.Tuple, ast.Set, ast.List)) and len(node.elts) > 1 and len(_names_in(node)) == len(node.elts):
            found += _names_in(node)
    return [name for name in found if name in KINDS]


def _is_a_kind(node: ast.expr) -> bool:
    """Return whether an expression is a kind: ``kind``, ``one.kind``, ``one["kind"]`` or ``one.get("kind")``."""
    if isinstance(node, ast.Call):
        return any(isinstance(one, ast.Constant) and one.value == "kind" for one in node.args) or any(map(_is_a_kind, node.args))
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "kind"
    return isinstance(node, (ast.Name, ast.Attribute)) and _word_of(node) == "kind"


def _word_of(node: t.Union[ast.Name, ast.Attribute]) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _names_in(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) and node.value in KINDS else []
    return (
        [name for one in ast.iter_child_nodes(node) for name in _names_in(one)] if isinstance(node, (ast.Tuple, ast.Set, ast.List)) else []
    )


def sources() -> dict[str, str]:
    folders = ("plugins", "roles", "scripts", "extensions", "playbooks/roles")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "collections" not in path.relative_to(ROOT).parts]
    kinds = {Path(str(kind.__file__)).name for kind in KINDS.values()}
    own = {path for path in paths if path.parent.name == "kind" and path.name in kinds} | {REGISTRY}
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths if path not in own}


def test_no_other_file_decides_by_the_name_of_a_kind() -> None:
    found = {name: kinds for name, kinds in ((name, kinds_decided_on(source)) for name, source in sources().items()) if kinds}
    assert {name: kinds for name, kinds in found.items() if name not in PLANS} == {}


@pytest.mark.parametrize(
    "source",
    [
        'check["kind"] == "clock"',
        '"clock" != check.get("kind")',
        'str(check["kind"]) == "clock"',
        'one.kind in ("clock", "x")',
        'KINDS["clock"].judge(raw, options)',
        'HOST_KINDS = frozenset(("clock", "cpu"))',
    ],
)
def test_a_decision_by_name_is_seen(source: str) -> None:
    assert "clock" in kinds_decided_on(source)


@pytest.mark.parametrize(
    "source", ['found = raw["clock"]', 'row["kind"] == "begin"', '{"kind": "http", "url": url}', 'words = ("clock", "hands")']
)
def test_naming_a_kind_without_deciding_is_none(source: str) -> None:
    assert kinds_decided_on(source) == []


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_kind_is_whole_and_says_nothing_that_nobody_reads(name: str) -> None:
    kind = KINDS[name]
    assert isinstance(kind.OPTIONS, dict)
    assert callable(kind.load)
    assert callable(kind.judge)
    said = {trait: vars(kind)[trait] for trait in TRAITS if trait in vars(kind)}
    assert all(callable(value) if TRAITS[trait] is None else isinstance(value, TRAITS[trait]) for trait, value in said.items())
    assert all(trait in str(traits.__doc__) for trait in said)
    options = [said[trait] for trait in ("SENT_AT", "WRITES_WITH") if trait in said] + list(said.get("BELOW", ()))
    assert set(options) <= set(kind.OPTIONS)
    assert ("fits_together" in said) == ("load_together" in said)
    assert (ROOT / "playbooks" / said.get("PLAYBOOK", "recover-redis.yml")).exists()


def test_what_other_files_ask_a_kind_is_a_trait() -> None:
    own = sources()["plugins/module_utils/_checks/traits.py"]
    asked = set(re.findall(r"\btraits\.trait\(\w+, \"(\w+)\"\)", "\n".join(sources().values())))
    asked |= set(re.findall(r"\btrait\(check, \"(\w+)\"\)", own))
    assert {"HOST_ONLY", "progress"} <= asked
    assert asked <= set(TRAITS)


def test_each_kind_is_described_with_the_module_that_runs_it() -> None:
    spec = importlib.util.spec_from_file_location("kinds_page", ROOT / "scripts/lib/kinds_page.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert sorted(made.kinds()) == sorted(KINDS)
    assert [name for name, path in made.kinds().items() if not made.described(name, path)] == [], (
        "a paragraph of its docstring says C(name): ..."
    )
    module = made.PAGE.read_text()
    assert made.page(module) == module, "run scripts/kinds"


def test_what_a_rehearsal_leaves_out_follows_from_what_a_kind_says() -> None:
    checks = checks_look.validated([{"kind": "round_trip", "url": "http://x"}, {"kind": "tcp", "host": "a", "port": 1}], 3.0)
    assert [traits.writes(check) for check in checks] == [True, False]
    assert [traits.without_writing(check) is None for check in checks] == [True, False]


def test_a_check_below_another_says_which_playbook_repairs_what_it_looks_at() -> None:
    given = [
        {"kind": "service", "manager": "supervisor", "supervisor_url": "unix:///nowhere", "service": "ltm"},
        {"kind": "redis", "socket": "/nowhere"},
        {"kind": "tcp", "host": "127.0.0.1", "port": 1},
    ]
    told = [(one["playbook"], one["service"]) for one in checks_look.look_below(given, 1.0, "target")]
    assert told == [("restart-service.yml", "ltm"), ("recover-redis.yml", ""), ("", "")]
