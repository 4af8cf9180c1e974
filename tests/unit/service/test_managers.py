# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service manager says what it is: its file is whole, and no other file decides anything by the manager's name."""

from __future__ import annotations

import ast
import re
import types
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import traits
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.releases import RELEASES
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import Manager, trait
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.managers import MANAGERS

ROOT = Path(__file__).resolve().parents[3]
SERVICE = ROOT / "plugins/module_utils/_service"
TRAITS: dict[str, type] = {
    "ANYWHERE": bool, "ACTS_ELSEWHERE": str, "ALLOWED": dict, "OWN_CHECKS": bool, "RECREATES": bool, "HAS_PROJECT": bool,
    "RESETS_FAILED": bool, "PROGRAM": str, "PROJECT_PROGRAM": str, "ROOT_ONLY": bool, "BORROWS": dict, "MAKES_FOLDERS": bool,
    "FORGETS_AT_BOOT": bool,
}  # fmt: skip
# What a manager may do in a way of its own, read by a function of the same name in ask.py, which knows the usual way.
OWN_WAYS = ("evidence_of", "restart_command", "last_start", "said_since")
# The role that is made of managers, and those that build or break a laboratory.
ROLES_THAT_NAME_THEM = ("service_manager", "lab", "drill")
LOOKS = ("check_name", "load_state", "logs_tail")
METHODS = [name for name in vars(Manager) if not name.startswith("_") and callable(vars(Manager)[name])]


def managers_decided_on(source: str) -> list[str]:
    """Return the managers that *source* knows by name: compared with one, the other side of an ``or``,
    keys of a table of two and more, or looked up in MANAGERS."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and "manager" in ast.unparse(node).lower():
            found += [name for side in (node.left, *node.comparators) for name in _names_in(side)]
        elif isinstance(node, ast.BoolOp):
            found += [name for side in node.values for name in _names_in(side)]
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


def managers_named_in_yaml(text: str) -> list[str]:
    """Return the managers that an expression in YAML names, or whose task files it includes by name."""
    names = "|".join(sorted(MANAGERS))
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [one[0] or one[1] for line in lines for one in re.findall(rf"""['"]({names})['"]|\b({names})/\w+\.yml""", line)]


def role_sources() -> dict[str, str]:
    roles = [role for role in (ROOT / "roles").iterdir() if role.name not in ROLES_THAT_NAME_THEM]
    paths = [path for role in roles for folder in ("tasks", "vars", "handlers") for path in (role / folder).rglob("*.yml")]
    paths += [path for path in (ROOT / "playbooks").glob("*.yml") if not path.is_symlink()]
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def test_no_role_decides_by_the_name_of_a_manager() -> None:
    assert len(role_sources()) > 50
    named = {name: managers_named_in_yaml(text) for name, text in role_sources().items()}
    assert {name: found for name, found in named.items() if found} == {}


@pytest.mark.parametrize(
    "line",
    [
        "in_cluster: \"{{ manager == 'systemd' }}\"",
        'when: manager in ["systemd", "x"]',
        "tasks_from: systemd/start.yml",
        "manager: \"{{ given | default('systemd') }}\"",
    ],
)
def test_a_decision_in_yaml_is_seen(line: str) -> None:
    assert managers_named_in_yaml(line) == ["systemd"]
    assert managers_named_in_yaml("# " + line) == []


def test_no_other_file_decides_by_the_name_of_a_manager() -> None:
    assert {name: found for name, found in ((name, managers_decided_on(source)) for name, source in sources().items()) if found} == {}


@pytest.mark.parametrize(
    "source",
    [
        'raw["manager"] == "systemd"',
        'options.get("manager") in ("systemd", "x")',
        'if manager != "systemd": pass',
        'MANAGERS["systemd"].start(options, 1.0)',
        'body.get("manager") or "systemd"',
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
    assert all(callable(getattr(manager, one, print)) for one in OWN_WAYS)
    assert (ROOT / "roles/service_manager/tasks" / name).is_dir()


def test_other_files_ask_a_manager_only_for_what_the_protocol_names() -> None:
    """mypy holds what is called on a Manager; this holds the words given to ``trait`` and the way around both, the registry itself."""
    users = [source for source in sources().values() if "_service.manager" in source]
    asked = {word for source in users for word in re.findall(r"\btrait\([^()]*(?:\([^()]*\))?[^()]*, \"(\w+)\"\)", source)}
    assert {"ANYWHERE", "RELEASED_AS", "restart_command"} <= asked
    # A file may ask a kind of check for its traits as well.
    assert asked <= {*TRAITS, *OWN_WAYS, "RELEASED_AS", *re.findall(r"``(\w+)[`(]", str(traits.__doc__))}
    assert all(f"``{one}(options" in str(Manager.__doc__) for one in OWN_WAYS)
    readers = {name for name, source in sources().items() if re.search(r"\bMANAGERS\b", source)}
    assert readers == {"plugins/module_utils/_service/manager/ask.py"}


def test_a_manager_with_nothing_of_its_own_keeps_no_evidence_and_is_restarted_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MANAGERS, "runit", types.ModuleType("runit"))
    named = {"manager": "runit", "name": "api"}
    assert (ask.evidence_of(named), ask.restart_command(named)) == ([], "restart api under runit")
    assert ask.evidence_of({"manager": "unheard-of", "name": "api"}) == []


def test_no_option_lists_the_managers_so_that_a_new_one_changes_no_documentation() -> None:
    """A check is the exception: its options are judged by the registry itself, and no page lists them."""
    assert "choices" not in ask.SERVICE_SPEC["manager"]
    assert ask.CHECK_SPEC["manager"]["choices"] == sorted(MANAGERS)
    spec = yaml.safe_load((ROOT / "roles/service_manager/meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    assert "choices" not in spec["options"]["service_manager_manager"]


def test_a_manager_that_is_not_known_says_nothing() -> None:
    assert trait("unheard-of", "ANYWHERE") is None
    assert trait(None, "ANYWHERE") is None
