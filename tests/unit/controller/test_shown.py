# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run with Ansible's own view shows what ours would; a view that programs read shows nothing more."""

from __future__ import annotations

import types
import typing as t

import pytest
from ansible import constants, context

from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _shown

RESULT = {
    "stage": "verify",
    "say": ["redis is sick: it is down", "\x1b[2Jforged"],
    "table": ["a row"],
    "left": [{"text": "a lease is held", "command": "ansible db1 -m x"}],
    "outcome": {"outcome": "refused", "green": False, "target": "db1/redis", "reasons": [{"code": "lease_held", "next_command": "wait"}]},
}


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(_shown, "Display", lambda: types.SimpleNamespace(display=lambda text, color=None: lines.append(text)))
    _shown.is_bare.cache_clear()
    return lines


def run_with(view: str, monkeypatch: pytest.MonkeyPatch, task: t.Any = None, **given: t.Any) -> None:
    monkeypatch.setattr(constants.config, "get_config_value", lambda name: view)
    monkeypatch.setattr(context, "CLIARGS", given)
    result = _shown.shown(RESULT, task or types.SimpleNamespace(no_log=False), {"inventory_hostname": "db1"})
    _shown.is_bare.cache_clear()
    assert result is RESULT


@pytest.mark.parametrize("view", ["default", "ansible.builtin.default", "community.general.yaml"])
def test_a_view_that_a_person_reads_has_sentences_table_what_is_left_and_the_outcome(
    view: str, screen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with(view, monkeypatch)
    text = "\n".join(screen)
    assert "db1  verify  redis is sick: it is down" in text
    assert "\x1b" not in text
    assert [line for line in screen if line in ("a row", "ansible db1 -m x", "wait")] == ["a row", "ansible db1 -m x", "wait"]
    assert "+ db1/redis  REFUSED" in text


def test_a_screen_is_shown_once_with_its_command() -> None:
    command = "ansible-playbook " + "x" * 200
    result = {"screen": [["SICK  redis is down", "sick"], [command, "command"]], "next_commands": [command], "say": []}
    assert [text for text, _colour in _shown.lines_of(result, "db1")] == ["SICK  redis is down", command]


@pytest.mark.parametrize(
    ("view", "given"),
    [
        ("somabrain.incident_response.on_call", {}),
        ("ansible.posix.json", {}),
        ("awx_display", {}),
        ("default", {"module_name": "ping"}),
    ],
)
def test_our_own_view_and_programs_get_no_second_copy(
    view: str, given: dict[str, str], screen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_with(view, monkeypatch, **given)
    assert screen == []


def test_nothing_is_shown_of_a_task_that_hides_its_result(screen: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run_with("default", monkeypatch, types.SimpleNamespace(no_log=True))
    assert screen == []
