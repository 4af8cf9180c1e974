# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door of plain modules runs the step that a task names, and a step goes the cheapest way that its connection allows."""

from __future__ import annotations

import importlib
import types
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.somabrain.incident_response.plugins.action.health_info import ActionModule as HealthAction
from ansible_collections.somabrain.incident_response.plugins.action.step import ActionModule
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import PACKAGE, StepAction

ROUTES = yaml.safe_load((Path(__file__).resolve().parents[3] / "meta/runtime.yml").read_text())["plugin_routing"]["modules"]
ROUTED = sorted(name for name, route in ROUTES.items() if route["action_plugin"].endswith(".step"))
FRONTS = sorted(name for name, route in ROUTES.items() if route["action_plugin"].endswith(".health_info"))


def spec_of(name: str) -> dict[str, t.Any]:
    return dict(importlib.import_module(f"{PACKAGE}._steps.{name}").ARGUMENT_SPEC)


class Become:
    """As on ansible-core 2.18: without the attribute `pipelining`."""

    def __init__(self, name: str, **given: t.Any) -> None:
        self.name = name
        vars(self).update(given)


def door(action: str, **connection: t.Any) -> t.Any:
    task = types.SimpleNamespace(action=action, args={}, check_mode=False)
    return ActionModule(
        task=task, connection=types.SimpleNamespace(**connection), play_context=None, loader=None, templar=None, shared_loader_obj=None
    )


@pytest.mark.parametrize("name", ROUTED)
@pytest.mark.parametrize("prefix", ["", "somabrain.incident_response."])
def test_the_door_runs_the_step_that_the_task_names(name: str, prefix: str) -> None:
    assert door(prefix + name).STEP.__name__ == f"{PACKAGE}._steps.{name}"


def test_the_door_itself_is_not_a_module() -> None:
    with pytest.raises(AnsibleActionFail, match="step is not a module"):
        door("somabrain.incident_response.step")


@pytest.mark.parametrize("name", ROUTED)
def test_what_the_controller_alone_judges_goes_to_no_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepAction, "on_controller", lambda *_: {"way": "controller"})
    monkeypatch.setattr(StepAction, "on_target", lambda *_: {"way": "target"})
    way = "controller" if name in ("access_report", "rollback_plan") else "target"
    assert door(name).execute({}, {}, {}) == {"way": way}


@pytest.mark.parametrize(
    ("become", "way"),
    [
        (None, "piped"),
        (Become("sudo"), "piped"),
        (Become("su"), "shipped"),
        (Become("sudo", pipelining=True), "piped"),
        (Become("x", pipelining=False), "shipped"),
    ],
    ids=["none", "sudo on 2.18", "su on 2.18", "sudo", "a plugin without pipelining"],
)
@pytest.mark.parametrize("piping", [True, False])
def test_a_step_is_piped_where_connection_and_become_take_it(
    become: t.Any, way: str, piping: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepAction, "_piped", lambda *_: {"way": "piped"})
    monkeypatch.setattr(StepAction, "_shipped", lambda *_: {"way": "shipped"})
    action = door("redis_admin", transport="ssh", become=become, has_pipelining=piping)
    assert action.on_target({}, {})["way"] == (way if piping else "shipped")


@pytest.mark.parametrize("name", FRONTS)
def test_a_module_that_documents_one_kind_is_a_look_of_health_info_at_one_check(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {option: rule.get("default") for option, rule in spec_of(name).items()}
    monkeypatch.setattr(HealthAction, "validate_argument_spec", lambda _self, _spec: (None, dict(given, host="10.0.0.7", passes=3)))
    action = HealthAction(
        task=types.SimpleNamespace(action=f"somabrain.incident_response.{name}", args={}),
        connection=None, play_context=None, loader=None, templar=None, shared_loader_obj=None,
    )  # fmt: skip
    options = action.options()
    (check,) = look.validated(options["checks"], options["probe_timeout"])
    assert sorted(options) == sorted(spec_of("health_info"))
    assert (options["passes"], check["host"], check["kind"]) == (3, "10.0.0.7", name.partition("_")[0])
    found = {
        "name": check["name"],
        "kind": check["kind"],
        "health": "sick",
        "state": "x",
        "findings": [{"name": "a", "state": "sick", "text": "b"}],
    }
    told = action.finish({"checks": [found], "facts": {}, "passes": 0, "proven": False}, {}, {})
    assert told["findings"] == found["findings"]
    assert told["say"][0].endswith(" is sick (x): b")


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            {"kind": "redis", "state": "loading", "facts": {"loading_eta_seconds": 7, "loaded_perc": 41.2}},
            "still loading: 41 %, about 7 s left",
        ),
        ({"kind": "redis", "state": "loading", "facts": {"loading_eta_seconds": None}}, "now loading: unknown"),
        ({"kind": "postgresql", "state": "crash_recovery", "facts": {"redo": {"lsn": "0/5A"}}}, "still replaying WAL, now at 0/5A"),
        ({"kind": "postgresql", "state": "crash_recovery", "facts": {}}, "now crash_recovery: unknown"),
        ({"kind": "disk", "state": "", "facts": {}}, "now unknown"),
    ],
)
def test_a_long_wait_shows_how_far_it_is(found: dict[str, t.Any], line: str) -> None:
    action = object.__new__(HealthAction)
    action._host = "db1"
    shown = action.progress({"state": found["state"], "health": "unknown", "checks": [found]}, 10.0, 60.0)
    assert line in shown
    assert shown.startswith("db1: ")
    assert "waited 10 of 60 s" in shown


@pytest.mark.parametrize("name", FRONTS)
def test_a_module_that_documents_one_kind_may_be_called_without_any_option(name: str) -> None:
    given = ArgumentSpecValidator(spec_of(name)).validate({})
    assert given.error_messages == []
    (check,) = importlib.import_module(f"{PACKAGE}._steps.{name}").as_health_info(given.validated_parameters)["checks"]
    assert look.validated([check], 3.0)
