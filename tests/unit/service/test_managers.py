# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service manager says what it is: its file is whole, and no other file decides anything by the manager's name."""

from __future__ import annotations

import ast
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._release.releases import RELEASES
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import Manager, trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.managers import MANAGERS

ROOT = Path(__file__).resolve().parents[3]
SERVICE = ROOT / "plugins/module_utils/_service"
TRAITS: dict[str, type] = {
    "ANYWHERE": bool, "ACTS_ELSEWHERE": str, "ALLOWED": dict, "OWN_CHECKS": bool, "RECREATES": bool, "HAS_PROJECT": bool,
    "RESETS_FAILED": bool,
}  # fmt: skip
LOOKS = ("check_name", "load_state", "logs_tail")
METHODS = [name for name in vars(Manager) if not name.startswith("_") and callable(vars(Manager)[name])]


def managers_decided_on(source: str) -> list[str]:
    """Return the managers that *source* knows by name: compared with one, keys of a table of two and more, or looked up in MANAGERS."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and "manager" in ast.unparse(node).lower():
            found += [name for side in (node.left, *node.comparators) for name in _names_in(side)]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("MANAGERS"):
            found += _names_in(node.slice)
        elif isinstance(node, ast.Dict) and len(names := [name for key in node.keys if key for name in _names_in(key)]) > 1:
            found += names
    return found


def _names_in(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) and node.value in MANAGERS else []
    return (
        [name for one in ast.iter_child_nodes(node) for name in _names_in(one)] if isinstance(node, (ast.Tuple, ast.Set, ast.List)) else []
    )


def sources() -> dict[str, str]:
    own = {SERVICE / "manager" / f"{name}.py" for name in MANAGERS} | {SERVICE / "manager/managers.py"}
    own |= {path for name in MANAGERS for path in (SERVICE / name).glob("*.py")}
    paths = [path for folder in ("plugins", "scripts") for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths if path not in own}


def test_no_other_file_decides_by_the_name_of_a_manager() -> None:
    assert {name: found for name, found in ((name, managers_decided_on(source)) for name, source in sources().items()) if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        'raw["manager"] == "systemd"',
        'options.get("manager") in ("systemd", "x")',
        'if manager != "systemd": pass',
        'MANAGERS["systemd"].start(options, 1.0)',
        'pins = {"systemd": one, "supervisor": two}',
    ],
)
def test_a_decision_by_name_is_seen(source: str) -> None:
    assert "systemd" in managers_decided_on(source)


@pytest.mark.parametrize("name", sorted(MANAGERS))
def test_a_manager_is_whole_and_has_its_folder_in_the_role(name: str) -> None:
    manager = MANAGERS[name]
    assert name == manager.MANAGER
    assert manager.RELEASED_AS in RELEASES
    needed = LOOKS if trait(name, "ACTS_ELSEWHERE") else METHODS
    assert [method for method in needed if not callable(getattr(manager, method, None))] == []
    said: dict[str, t.Any] = {one: vars(manager)[one] for one in TRAITS if one in vars(manager)}
    assert all(isinstance(value, TRAITS[one]) for one, value in said.items())
    assert all(f"``{one}``" in str(Manager.__doc__) for one in said)
    assert (ROOT / "roles/service_manager/tasks" / name).is_dir()


def test_a_manager_that_is_not_known_says_nothing() -> None:
    assert trait("unheard-of", "ANYWHERE") is None
    assert trait(None, "ANYWHERE") is None
