# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every input is described once and the same everywhere: a role's defaults and specs, a module's documentation and its step."""

from __future__ import annotations

import ast
import importlib
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.plugin_utils._specs import all_options, wrong_values

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = "ansible_collections.somabrain.incident_response.plugins"
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if (path / "defaults/main.yml").is_file())
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
STEPS = sorted(path.stem for path in (ROOT / "plugins/module_utils/_steps").glob("*.py"))
ACTIONS = sorted(path.stem for path in (ROOT / "plugins/action").glob("*.py"))
ROUTED = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["plugin_routing"]["modules"]
DOOR = "step"
HEALTH = "somabrain.incident_response.health_info"


def defaults_of(role: Path) -> dict[str, t.Any]:
    return dict(yaml.safe_load((role / "defaults/main.yml").read_text()) or {})


def options_of(role: Path) -> dict[str, dict[str, t.Any]]:
    """Return the options of the role's main entry point; fails where there is no spec."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())
    return dict(specs["argument_specs"]["main"].get("options") or {})


def comments_of(text: str) -> dict[str, str]:
    """Return for each top-level variable of a defaults file the comment that stands right above it."""
    found: dict[str, str] = {}
    comment: list[str] = []
    for line in text.splitlines():
        variable = re.match(r"([A-Za-z_]\w*):", line)
        if line.startswith("#"):
            comment.append(line[1:].strip())
            continue
        if variable:
            found[variable.group(1)] = " ".join(comment)
        comment = []
    return found


def test_the_comment_reader_takes_the_lines_right_above() -> None:
    assert comments_of("---\n# One.\n# Two.\na: 1\n\n# Lost.\n\nb: 2\n") == {"a": "One. Two.", "b": ""}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_has_a_sentence_above_it(role: Path) -> None:
    comments = comments_of((role / "defaults/main.yml").read_text())
    assert [name for name in defaults_of(role) if not re.match(r"[A-Z0-9`].*[.)]$", comments[name])] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_argument_specs_name_the_same_variables(role: Path) -> None:
    comments = comments_of((role / "defaults/main.yml").read_text())
    # A variable that is resolved only in the callee cannot be validated on entry; its comment says so.
    defaults = {name for name in defaults_of(role) if "late-bound" not in comments[name].lower()}
    options = options_of(role)
    assert sorted(defaults - set(options)) == []
    assert sorted(name for name in set(options) - defaults if not options[name].get("required") and name not in defaults_of(role)) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_has_a_type_and_a_description_and_leaves_its_default_to_defaults(role: Path) -> None:
    options = options_of(role)
    assert [name for name, spec in options.items() if not spec.get("type") or not spec.get("description")] == []
    assert [name for name, spec in options.items() if "default" in spec and spec["default"] != defaults_of(role).get(name)] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_bear_the_name_of_their_role(role: Path) -> None:
    assert [name for name in defaults_of(role) if not name.startswith((f"{role.name}_", f"__{role.name}_"))] == []


def test_every_module_has_an_action_plugin_or_goes_through_the_door_and_every_step_has_a_module() -> None:
    assert sorted([*MODULES, DOOR]) == sorted([*ACTIONS, *ROUTED])
    assert {route["action_plugin"] for route in ROUTED.values()} == {f"somabrain.incident_response.{DOOR}", HEALTH}
    assert {name for name, route in ROUTED.items() if route["action_plugin"] == HEALTH} == {"redis_health_info", "postgresql_health_info"}
    assert sorted(set(STEPS) - set(MODULES)) == []
    assert sorted(set(ROUTED) - set(STEPS)) == []


def documentation_of(module: str) -> dict[str, t.Any]:
    """Return the options that a module documents, read without running it."""
    for node in ast.parse((ROOT / f"plugins/modules/{module}.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            return dict(yaml.safe_load(ast.literal_eval(node.value)))
    return {}


def fragment_options(name: str) -> dict[str, t.Any]:
    """Return the options that one of our documentation fragments adds ("a.b.name" or "a.b.name.attribute")."""
    plugin, *attribute = name.split(".")[2:]
    fragment = importlib.import_module(f"{PLUGINS}.doc_fragments.{plugin}").ModuleDocFragment
    return dict(yaml.safe_load(getattr(fragment, (attribute or ["DOCUMENTATION"])[0].upper())).get("options") or {})


def documented_options(module: str) -> dict[str, t.Any]:
    documentation = documentation_of(module)
    options = dict(documentation.get("options") or {})
    for name in documentation.get("extends_documentation_fragment") or []:
        options = {**fragment_options(name), **options}
    return options


@pytest.mark.parametrize("module", STEPS)
def test_the_documentation_of_a_module_matches_its_step(module: str) -> None:
    spec = importlib.import_module(f"{PLUGINS}.module_utils._steps.{module}").ARGUMENT_SPEC
    options = documented_options(module)
    assert sorted(options) == sorted(spec)
    for key, missing in {"type": "str", "required": False, "elements": None}.items():
        documented = {name: option.get(key, missing) for name, option in options.items()}
        assert documented == {name: option.get(key, missing) for name, option in spec.items()}, key


@pytest.mark.parametrize("module", sorted(set(STEPS) - set(ROUTED)))
def test_an_action_plugin_runs_the_step_of_its_own_name(module: str) -> None:
    plugin = importlib.import_module(f"{PLUGINS}.action.{module}").ActionModule
    assert plugin.STEP.__name__ == f"{PLUGINS}.module_utils._steps.{module}"


def sentences_of(node: t.Any) -> t.Iterator[t.Any]:
    """Yield every line of every description in a module's documentation; one with a colon that YAML takes for a mapping is no string."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield from (value if isinstance(value, list) else [value]) if key == "description" else sentences_of(value)


@pytest.mark.parametrize("module", MODULES)
def test_every_description_of_a_module_is_a_sentence(module: str) -> None:
    tree = ast.parse((ROOT / f"plugins/modules/{module}.py").read_text()).body
    texts = {getattr(node.targets[0], "id", ""): node.value for node in tree if isinstance(node, ast.Assign)}
    for name in ("DOCUMENTATION", "RETURN"):
        lines = list(sentences_of(yaml.safe_load(ast.literal_eval(texts[name]))))
        assert lines, name
        assert [line for line in lines if not isinstance(line, str)] == []


@pytest.mark.parametrize("page", sorted((ROOT / "plugins").glob("*/*.yml")), ids=lambda page: page.stem)
def test_every_description_beside_a_plugin_is_a_sentence(page: Path) -> None:
    lines = list(sentences_of(yaml.safe_load(page.read_text())))
    assert lines
    assert [line for line in lines if not isinstance(line, str)] == []


BOOLEANS = sorted({name for role in ROLES for name, option in options_of(role).items() if option["type"] == "bool"}, key=len, reverse=True)
# Any mention but an assignment, a name in quotes or in a message, or what the filter makes a boolean of.
BARE = re.compile(rf"(?<!variable: )(?<!['\"])\b({'|'.join(BOOLEANS)})\b(?!\s*\|\s*bool\b|['\"]?:|\}} | to true)")
EXPRESSIONS = sorted(path for pattern in ("roles/*/tasks/**/*.yml", "roles/*/vars/*.yml", "playbooks/*.yml") for path in ROOT.glob(pattern))


def bare_uses(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if not line.lstrip().startswith("#") and BARE.search(line)]


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        ("when: not redis_recovery_mend_data_dir", True),
        ("when: not redis_recovery_mend_data_dir | bool", False),
        ("x: \"{{ 'a' if service_restart_working_memory and b else '' }}\"", True),
        ("service_manager_force: true", False),
        ("# says redis_recovery_mend_data_dir", False),
    ],
)
def test_the_reader_of_bare_booleans_finds_them(line: str, bare: bool) -> None:
    assert bool(bare_uses(line)) == bare


@pytest.mark.parametrize("path", EXPRESSIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_boolean_variable_is_never_used_as_the_text_that_it_may_be(path: Path) -> None:
    """``-e x=false`` is the text "false", which counts as true: only ``x | bool`` is what was meant."""
    assert bare_uses(path.read_text()) == []


# Words that name a thing: a host, a path, a user. What names no thing is a sentence or a token of a person, which is free text.
THING = re.compile(
    r"_(host|name|user|username|database|db|port|socket|service|manager|scope|program|url|file|dir|path|textfile|container|current|repository"
    r"|stanza|label_of|pgbackrest|pgbackrest_config|psql|server|context|kubeconfig|namespace|project|project_src|workload_kind|network|pool"
    r"|endpoint|master|known_as|identity|identifier|role|table|column|bin|supervisord|maxmemory|keeper|export|overflow|client|tenant|release"
    r"|password|timeout|hash)\Z"
)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_text_is_a_choice_or_names_a_thing_or_is_declared_as_free_text(role: Path) -> None:
    """Free text is refused with template markers: an input that no one classified would run as a template."""
    texts = {name: option for name, option in options_of(role).items() if option["type"] == "str" and not option.get("choices")}
    free = {name for name, option in texts.items() if "Free text, never templated." in str(option["description"])}
    assert [name for name in sorted(set(texts) - free) if not THING.search(name)] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_what_its_option_declares(role: Path) -> None:
    """A default that is refused would refuse every run."""
    assert wrong_values(defaults_of(role), options_of(role)) == []


def test_the_inventories_give_what_the_options_declare() -> None:
    given = [yaml.safe_load(path.read_text()) for path in (ROOT / "inventories").glob("*/group_vars/*.yml")]
    assert len(given) > 2
    assert [wrong for variables in given for wrong in wrong_values(variables or {}, all_options())] == []
