# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is given to a role has to be what the role declares: a boolean that is text, a list that is text, a sentence that is a template."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _specs

BOOL: dict[str, t.Any] = {"type": "bool"}
BOOLEANS = sorted(name for name, option in _specs.all_options().items() if option.get("type") == "bool")


def wrong(value: t.Any, **option: t.Any) -> list[str]:
    return [text for _name, text in _specs.wrong_values({"a_b": value}, {"a_b": option})]


@pytest.mark.parametrize("name", BOOLEANS)
@pytest.mark.parametrize("value", ["perhaps", "", "y", "t", "FALSE!", None, 2, 0.5, ["false"], {}])
def test_what_is_no_boolean_is_refused_by_the_name_of_its_variable(name: str, value: t.Any) -> None:
    ((found, text),) = _specs.wrong_values({name: value}, _specs.all_options())
    assert found == name
    assert text.startswith(name + " is ")
    assert text.endswith("write true or false")


@pytest.mark.parametrize("value", ["true", "True", "no", "No", "off", "on", "yes", "0", "1", True, False, 0, 1, "{{ x }}"])
def test_a_boolean_in_any_spelling_is_one(value: t.Any) -> None:
    assert wrong(value, **BOOL) == []


def test_the_booleans_that_were_taken_as_true_are_among_them() -> None:
    assert {"redis_recovery_mend_data_dir", "database_recovery_mend_data_dir", "service_restart_working_memory"} <= set(BOOLEANS)


@pytest.mark.parametrize(
    ("value", "option", "part"),
    [
        ("a,b", {"type": "list"}, "as JSON"),
        ("[1, 2]", {"type": "list"}, "as JSON"),
        ("a=1", {"type": "dict"}, "mapping"),
        ([1], {"type": "dict"}, "mapping"),
        ({"a": 1}, {"type": "list"}, "list"),
        ("soon", {"type": "int"}, "number"),
        ("1.5", {"type": "int"}, "whole"),
        (True, {"type": "float"}, "boolean"),
        ("nan", {"type": "float"}, "finite"),
        (float("inf"), {"type": "float"}, "finite"),
        ({"a": 1}, {"type": "str"}, "plain text"),
        (True, {"type": "str"}, "quotes"),
        (["/x"], {"type": "path"}, "plain text"),
        ("c", {"type": "str", "choices": ["a", "b"]}, "a_b"),
        ([{"n": "x"}], {"type": "list", "elements": "dict", "options": {"n": {"type": "int"}}}, "a_b"),
        ({"n": 1, "m": 2}, {"type": "dict", "options": {"n": {"type": "int"}}}, "a_b"),
        ({}, {"type": "dict", "options": {"n": {"type": "int", "required": True}}}, "a_b"),
    ],
)
def test_a_value_of_a_wrong_type_is_named_in_one_line(value: t.Any, option: dict[str, t.Any], part: str) -> None:
    (text,) = wrong(value, **option)
    assert part in text
    assert "a_b" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("value", "option"),
    [
        ("5", {"type": "int"}),
        (5, {"type": "str"}),
        ("1e3", {"type": "float"}),
        (datetime.date(2026, 11, 25), {"type": "str"}),
        (None, {"type": "str"}),
        ("{{ [1] }}", {"type": "list"}),
        ({"a": "{{ b }}"}, {"type": "dict", "options": {"a": {"type": "int"}}}),
        ([], {"type": "list"}),
        ("anything", {"type": "raw"}),
        (True, {"type": "raw"}),
    ],
)
def test_a_value_that_fits_or_is_known_only_later_passes(value: t.Any, option: dict[str, t.Any]) -> None:
    assert wrong(value, **option) == []


def test_a_secret_of_a_wrong_type_is_not_shown() -> None:
    ((_name, text),) = _specs.wrong_values({"lab_redis_password": ["SECRET"]}, _specs.all_options())
    assert "SECRET" not in text


FREE = sorted(_specs.free_texts(_specs.all_options()))


def test_sentences_of_people_are_declared_as_free_text() -> None:
    assert {
        "remediation_reason",
        "remediation_approval",
        "traffic_scaling_skip_warm_up",
        "traffic_scaling_cold",
        "rollback_release",
    } <= set(FREE)


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% set x = 1 %}", "{# x #}"])
def test_template_markers_in_any_free_text_are_found(name: str, text: str) -> None:
    assert _specs.template_in({name: text}, _specs.all_options()) == [(name, text)]


def test_free_text_inside_a_list_is_found_too() -> None:
    given = {"remediation_freeze_windows": [{"start": "{{ not free text }}", "reason": "{{ x }}"}]}
    assert _specs.template_in(given, _specs.all_options()) == [("remediation_freeze_windows", "{{ x }}")]


@pytest.mark.parametrize("text", ["50 % of {hosts}", "a { b } c", "#1", ""])
def test_braces_alone_are_plain_text(text: str) -> None:
    assert _specs.template_in({"remediation_reason": text}, _specs.all_options()) == []


def test_a_role_without_specs_or_with_broken_ones_declares_nothing(tmp_path: Path) -> None:
    assert _specs.options_of(str(tmp_path)) == {}
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/argument_specs.yml").write_text("argument_specs: [")
    _specs.options_of.cache_clear()
    assert _specs.options_of(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("service_restart_url", "http://u:SECRET@h/", "service_restart_token_file"),
        ("health_verification_base_url", "http://u:SECRET@h/", ""),
        ("service_manager_supervisor_url", "http://u:SECRET@127.0.0.1:9001", "service_manager_supervisor_password"),
        ("redis_recovery_also_verify", [{"kind": "http", "url": "https://SECRET@h/"}], "redis_recovery_password_file"),
        ("service_restart_url", "http://u:{{ SECRET }}@h/", "service_restart_token_file"),
        ("database_recovery_api", {"url": "http://h/?token=SECRET"}, "database_recovery_password_file"),
        ("traffic_scaling_servers", {"a": {"url": "http://u:SECRET@h/"}}, ""),
    ],
)
def test_credentials_in_a_url_are_refused_by_the_name_of_the_variable_and_not_shown(name: str, value: t.Any, instead: str) -> None:
    ((found, text),) = _specs.wrong_values({name: value}, _specs.all_options())
    assert (found, name in text, instead in text, "SECRET" in text) == (name, True, True, False)
