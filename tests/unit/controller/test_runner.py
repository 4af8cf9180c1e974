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

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import kinds
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import managers as service_managers
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_info
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _runner

UTILS = Path(__file__).resolve().parents[3] / "plugins/module_utils"


def file_of(place: str) -> Path:
    return UTILS / (place.replace(".", "/") + ".py")


def imported(path: Path) -> set[str]:
    """Return the modules of this package that a file imports anywhere, as Python itself reads it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(_runner.PACKAGE + "."):
            place = str(node.module)[len(_runner.PACKAGE) + 1 :]
            found |= {place} if file_of(place).is_file() else {f"{place}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("step", sorted(path.stem for path in (UTILS / "_steps").glob("*.py")))
def test_a_piped_step_has_all_that_it_imports_and_nothing_else(step: str) -> None:
    wanted, waiting = set(), {f"_steps.{step}"}
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting |= imported(file_of(name)) - wanted
    sources = {name[len(_runner.PACKAGE) + 1 :]: source for name, source in _runner.sources_of(f"{_runner.PACKAGE}._steps.{step}").items()}
    assert sources == {name: file_of(name).read_text() for name in wanted}


def test_imports_are_read_in_every_form_at_the_top_and_not_below() -> None:
    source = (
        "from PACKAGE._redis import (  # noqa: F401, why\n    _a,  # this, that\n    _b as other,\n)\n"
        "from PACKAGE import _c, _d as more  # noqa\n"
        "from PACKAGE._base.text import (\n    one,\n    two,\n)\nfrom elsewhere import _f\nif True:\n    from PACKAGE import _g\n"
    )
    found = _runner._imported(source.replace("PACKAGE", _runner.PACKAGE))
    assert [name[len(_runner.PACKAGE) + 1 :] for name in found] == ["_redis._a", "_redis._b", "_c", "_d", "_base.text"]


@pytest.mark.parametrize(
    ("options", "managers"),
    [
        ({"manager": "systemd", "name": "x"}, {"systemd"}),
        ({"service": {"manager": "supervisor"}}, {"supervisor"}),
        (
            {"checks": [{"dependencies": [{"service": {"manager": "compose"}}, {"manager": "systemd"}]}]},
            {"compose", "systemd"},
        ),
        ({"service": {}, "manager": None}, set()),
        ({"manager": "unheard-of"}, set(service_managers.MANAGERS)),
    ],
)
def test_a_piped_step_has_only_the_managers_that_its_options_name(options: dict[str, t.Any], managers: set[str]) -> None:
    given = _runner.part_of(service_managers, service_managers.named_in(options))
    piped = {name[len(_runner.PACKAGE) + 1 :] for name in _runner.sources_of(f"{_runner.PACKAGE}._steps.service_control", given)}
    assert {name for name in service_managers.MANAGERS if f"_service.manager.{name}" in piped} == managers
    assert ("_service.compose.docker" in piped) == ("compose" in managers)


def test_a_piped_look_has_only_the_kinds_that_it_is_asked_for_and_runs_with_them() -> None:
    step, given = f"{_runner.PACKAGE}._steps.health_info", {**_runner.part_of(kinds, ["memory", "disk", "memory"])}
    piped = {name[len(_runner.PACKAGE) + 1 :] for name in _runner.sources_of(step, given)}
    assert {name for name in piped if name.startswith("_checks.kind.")} == {"_checks.kind.disk", "_checks.kind.memory"}
    assert not piped & {"_net.client", "_redis.connection", "_checks.application.somabrain"}
    params = {name: rule.get("default") for name, rule in health_info.ARGUMENT_SPEC.items()}
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
    for kind, module in kinds.KINDS.items():
        namespace: dict[str, object] = {}
        exec(_runner.part_of(kinds, [kind])[kinds.__name__], namespace)
        assert namespace["KINDS"] == {kind: module}


@pytest.mark.parametrize("name", sorted(path.stem for path in (UTILS.parent / "action").glob("[a-z]*.py")))
def test_every_action_knows_what_to_pipe(name: str) -> None:
    action = importlib.import_module(f"ansible_collections.somabrain.incident_response.plugins.action.{name}").ActionModule
    params = {"manager": "systemd", "checks": [{"kind": "disk"}], "target": {"balancer": "haproxy"}}
    given = object.__new__(action).sources(params) if hasattr(action, "sources") else {}
    for module, source in given.items():
        compile(source, module, "exec")
    # The door has no step of its own.
    step = getattr(action, "STEP", None)
    assert step is None or step.__name__ in _runner.sources_of(step.__name__, given)
