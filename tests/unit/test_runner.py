# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is piped with a step: every module that it imports, and no other."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils import _kinds, _managers, _step_health_info
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _runner

UTILS = Path(__file__).resolve().parents[2] / "plugins/module_utils"


def imported(path: Path) -> set[str]:
    """Return the modules of this package that a file imports anywhere, as Python itself reads it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == _runner.PACKAGE:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(_runner.PACKAGE + "."):
            found.add(str(node.module).rpartition(".")[2])
    return found


@pytest.mark.parametrize("step", sorted(path.stem for path in UTILS.glob("_step_*.py")))
def test_a_piped_step_has_all_that_it_imports_and_nothing_else(step: str) -> None:
    wanted, waiting = set(), {step}
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting |= imported(UTILS / f"{name}.py") - wanted
    sources = {name.rpartition(".")[2]: source for name, source in _runner.sources_of(f"{_runner.PACKAGE}.{step}").items()}
    assert sources == {name: (UTILS / f"{name}.py").read_text() for name in wanted}


def test_imports_are_read_in_every_form_at_the_top_and_not_below() -> None:
    source = (
        "from PACKAGE import (  # noqa: F401, why\n    _a,  # this, that\n    _b as other,\n)\nfrom PACKAGE import _c, _d as more  # noqa\n"
        "from PACKAGE._e import (\n    one,\n    two,\n)\nfrom elsewhere import _f\nif True:\n    from PACKAGE import _g\n"
    )
    found = _runner._imported(source.replace("PACKAGE", _runner.PACKAGE))
    assert [name.rpartition(".")[2] for name in found] == ["_a", "_b", "_c", "_d", "_e"]


@pytest.mark.parametrize(
    ("options", "managers"),
    [
        ({"manager": "systemd", "name": "x"}, {"_service_systemd"}),
        ({"service": {"manager": "supervisor"}}, {"_service_supervisor"}),
        (
            {"checks": [{"dependencies": [{"service": {"manager": "compose"}}, {"manager": "systemd"}]}]},
            {"_service_compose", "_service_systemd"},
        ),
        ({"service": {}, "manager": None}, set()),
        ({"manager": "unheard-of"}, set()),
    ],
)
def test_a_piped_step_has_only_the_managers_that_its_options_name(options: dict[str, t.Any], managers: set[str]) -> None:
    given = _runner.part_of(_managers, _managers.named_in(options))
    piped = {name.rpartition(".")[2] for name in _runner.sources_of(f"{_runner.PACKAGE}._step_service_control", given)}
    assert {name for name in piped if name.startswith("_service_")} == managers
    assert ("_docker" in piped) == ("_service_compose" in managers)


def test_a_piped_look_has_only_the_kinds_that_it_is_asked_for_and_runs_with_them() -> None:
    step, given = f"{_runner.PACKAGE}._step_health_info", {**_runner.part_of(_kinds, ["memory", "disk", "memory"])}
    piped = {name.rpartition(".")[2] for name in _runner.sources_of(step, given)}
    assert {name for name in piped if name.startswith("_check_")} == {"_check_disk", "_check_memory"}
    assert not piped & {"_http", "_resp", "_somabrain"}
    params = {name: rule.get("default") for name, rule in _step_health_info.ARGUMENT_SPEC.items()}
    checks = [{"kind": "disk"}, {"kind": "memory"}]
    script = _runner.piped_script(step, dict(params, checks=checks), False, given)
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=script, capture_output=True, text=True, timeout=20, check=False)
    result = _runner.result_between_marks(done.stdout)
    assert result is not None, done.stderr
    # What is piped is compiled for this Python; another one has to make it from the sources.
    foreign = script.replace("MAGIC_NUMBER ==", "b'another' ==")
    assert foreign != script
    other = subprocess.run([sys.executable, "-I", "-S", "-"], input=foreign, capture_output=True, text=True, timeout=20, check=False)
    told = _runner.result_between_marks(other.stdout)
    assert told is not None, other.stderr
    assert [one["kind"] for one in told["checks"]] == [one["kind"] for one in result["checks"]]
    assert [(one["kind"], one["findings"] != []) for one in result["checks"]] == [("disk", True), ("memory", True)]


def test_a_module_comes_from_the_cache_and_a_changed_one_does_not(tmp_path: Path) -> None:
    """In a process of its own, since what this one imports is what the other tests use."""
    package = tmp_path / "ansible_collections/somabrain/incident_response/plugins"
    for name in ("module_utils", "plugin_utils"):
        (package / name).mkdir(parents=True)
    (package / "plugin_utils/_bytecode.py").write_text((UTILS.parent / "plugin_utils/_bytecode.py").read_text())
    (package / "module_utils/_word.py").write_text("WORD = 'old'\n")
    prefix = "ansible_collections.somabrain.incident_response.plugins"
    script = (
        f"import {prefix}.plugin_utils._bytecode as b\nb.install()\nimport {prefix}.module_utils._word as w\n"
        "print(w.WORD, b.code_of(w.__name__).co_consts[0])"
    )
    env = {"PYTHONPATH": str(tmp_path), "PATH": ""}

    def told() -> str:
        return subprocess.run(
            [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()

    assert told() == "old old"
    cached = list((package / "module_utils/__pycache__").glob("_word.*.pyc"))
    assert len(cached) == 1
    # The same bytes in the cache under the same time and size of the source: it is the cache that is read.
    cached[0].write_bytes(cached[0].read_bytes().replace(b"old", b"own"))
    assert told() == "own own"
    (package / "module_utils/_word.py").write_text("WORD = 'changed'\n")
    assert told() == "changed changed"


def test_every_kind_can_be_piped_by_its_name() -> None:
    for kind, module in _kinds.KINDS.items():
        namespace: dict[str, object] = {}
        exec(_runner.part_of(_kinds, [kind])[_kinds.__name__], namespace)
        assert namespace["KINDS"] == {kind: module}


@pytest.mark.parametrize("name", sorted(path.stem for path in (UTILS.parent / "action").glob("[a-z]*.py")))
def test_every_action_knows_what_to_pipe(name: str) -> None:
    action = importlib.import_module(f"ansible_collections.somabrain.incident_response.plugins.action.{name}").ActionModule
    params = {"manager": "systemd", "checks": [{"kind": "disk"}], "target": {"balancer": "haproxy"}}
    given = object.__new__(action).sources(params) if hasattr(action, "sources") else {}
    for module, source in given.items():
        compile(source, module, "exec")
    step = getattr(action, "STEP", None)
    assert step is None or step.__name__ in _runner.sources_of(step.__name__, given)
