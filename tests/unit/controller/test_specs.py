# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is given to a role has to be what the role declares: a boolean that is text, a list that is text, a sentence that is a template."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _nested, _specs

ROOT = Path(__file__).parents[3]
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


HEALTHY: dict[str, t.Any] = {"kind": "redis", "host": "h", "port": "{{ x }}"}
NESTED = [
    ("database_recovery_limits", {"max_disk_shar": 0.9}, "no key max_disk_shar; did you mean max_disk_share?"),
    ("database_recovery_limits", {"max_disk_share": "90%"}, "max_disk_share is '90%'; write a number"),
    ("database_recovery_limits", {"max_disk_share": 90}, "from 0 to 1"),
    ("database_recovery_expected_identity", {"system_identifer": "7"}, "no key system_identifer; did you mean system_identifier?"),
    ("redis_recovery_expected_identity", {"rol": "master"}, "did you mean role?"),
    ("database_recovery_known_answers", [{"query": "SELECT true", "expect": True}], "[0].expect is True"),
    ("database_recovery_known_answers", [{"query": "SELECT 1.50", "expect": 1.5}], "[0].expect is 1.5; put text in quotes"),
    ("database_recovery_known_answers", [{"query": "SELECT true"}], "[0] has neither expect nor sha256"),
    ("database_restore_live_answers", [{"query": "SELECT 1", "expected": "1"}], "no key expected; did you mean expect?"),
    ("backup_verification_known_answers", [{"expect": "1"}], "[0].query is missing"),
    ("database_recovery_audit", {"table": "a"}, "column is missing"),
    ("database_recovery_api", {"url": "http://h", "profil": "v1"}, "did you mean profile?"),
    ("redis_recovery_api", {"url": "http://h", "profile": "v3"}, "choose one of v1, v2"),
    ("redis_recovery_api", {"profile": "v1"}, "url is missing"),
    ("redis_recovery_known_keys", [{"key": "a", "exists": "perhaps"}], "write true or false"),
    ("redis_recovery_sentinels", [{"host": "a", "port": 0}], "port is 0; write a number from 1 to 65535"),
    ("service_restart_dependencies", ["redis"], "write a mapping"),
    ("service_restart_dependencies", [{**HEALTHY, "kind": "reddis"}], "kind is 'reddis'; choose one of"),
    ("service_restart_also_verify", [{**HEALTHY, "prt": 1}], "[0] has no key prt; did you mean port?"),
    ("health_verification_checks", [HEALTHY, {"kind": "tcp", "port": "http", "host": "h"}], "[1].port is 'http'; write a number"),
    ("health_verification_checks", [{"kind": "postgresql", "deep": True, "known_answers": [{"query": "x"}]}], "neither expect nor sha256"),
    ("redis_recovery_evidence", [{"name": "x", "kind": "file", "pth": "/x"}], "did you mean path?"),
    ("traffic_scaling_probes", {"probe_pth": "/x"}, "did you mean probe_path?"),
    ("service_restart_deadlines", {"restart": -1}, "write 0 or more"),
    ("database_recovery_deadlines", {"start": -1}, "start is -1; write 0 or more"),
    ("database_recovery_port", 70000, "write a number from 1 to 65535"),
    ("database_recovery_stop_timeout", "-1", "write 0 or more"),
    ("database_recovery_max_sick_share", 1.5, "from 0 to 1"),
    ("database_recovery_data_dir", "pg/data", "write an absolute path"),
    ("redis_recovery_rescue_dir", "rescue", "write an absolute path"),
    ("service_restart_url", "127.0.0.1:9696/health", "write it as http://HOST:PORT/PATH"),
    ("service_restart_url", "http://127.0.0.1:99999/health", "out of range"),
    ("service_restart_ltm_url", "9595", "write it as http://HOST:PORT/PATH"),
    ("health_verification_base_url", "api.example", "write it as http://HOST:PORT/PATH"),
    ("health_verification_checks", [{"kind": "http", "url": "localhost/x"}], "[0].url is 'localhost/x'; write it as http://HOST:PORT/PATH"),
    ("service_restart_patience", {"timeout": 5}, "passes is missing"),
    ("release_record_patience", {"passes": 3, "window": 1.0, "timeout": 5}, "interval is missing"),
    ("redis_recovery_patience", {"passes": 1}, "window is missing"),
    ("service_restart_deadlines", {"restart": 30}, "force is missing"),
]


@pytest.mark.parametrize(("name", "value", "part"), NESTED, ids=str)
def test_what_does_not_fit_inside_of_a_variable_is_named_with_its_key(name: str, value: t.Any, part: str) -> None:
    ((found, text),) = _specs.wrong_values({name: value}, _specs.all_options())
    assert found == name
    assert text.startswith(name)
    assert part in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_recovery_api", {}),
        ("database_recovery_api", {"url": "{{ x }}", "timeout": 5}),
        ("database_recovery_limits", {"max_disk_share": "{{ x }}"}),
        ("database_recovery_limits", "{{ x }}"),
        ("database_recovery_expected_identity", {"system_identifier": 7190, "role": "primary"}),
        ("database_recovery_known_answers", [{"name": "n", "query": "SELECT 1", "expect": 1}, {"query": "x", "expect": ""}, "{{ x }}"]),
        ("service_restart_dependencies", [HEALTHY, "{{ x }}", {"kind": "{{ x }}", "anything": 1}]),
        ("redis_recovery_accept_keys", -1),
        ("redis_recovery_mend_data_dir", True),
        ("lab_dir", "lab"),
        ("service_restart_url", ""),
        ("service_restart_url", "http://{{ x }}:9696/health"),
        ("service_restart_url", "https://[::1]:9696/health?deep=1"),
        ("service_manager_supervisor_url", "unix:///run/supervisor.sock"),
    ],
    ids=str,
)
def test_what_fits_inside_of_a_variable_or_is_known_only_later_passes(name: str, value: t.Any) -> None:
    assert _specs.wrong_values({name: value}, _specs.all_options()) == []


OPEN = {
    "lab_release_faults",
    "service_manager_only",
    "service_restart_manager_options",
    "service_restart_gates",
    "service_restart_ltm_gates",
    "traffic_scaling_baseline",
}


def test_every_mapping_says_what_is_in_it() -> None:
    """What is listed as open is of the lab, between roles, or judged by a manager of its own."""
    options = {name: one for name, one in _specs.all_options().items() if "dict" in (one.get("type"), one.get("elements"))}
    silent = {name for name, one in options.items() if not _nested.keys_of(name, one) and not _nested.CHECKS.match(name)}
    assert silent == OPEN


def shipped() -> list[str]:
    return sorted(str(path) for folder in ("roles/*/defaults", "inventories/*/group_vars") for path in ROOT.glob(folder + "/*.yml"))


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path[-60:])
def test_every_default_and_inventory_fits(path: str) -> None:
    given = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    assert _specs.wrong_values(given, _specs.all_options()) == []


@pytest.mark.parametrize(
    ("services", "part"),
    [("memory", "write a list"), (["memory"], "[0] is 'memory'; write a mapping"), ([{"service": "ltm"}], "[0].name is missing")],
)
def test_the_services_of_recover_all_are_judged_before_anything_is_done(services: t.Any, part: str) -> None:
    ((name, text),) = _specs.wrong_values({"recover_all_services": services}, _specs.known_options())
    assert name == "recover_all_services"
    assert part in text
