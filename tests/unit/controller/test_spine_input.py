# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wrong type in any variable of the spine is named in one line before anything is begun; the next command has what it needs."""

from __future__ import annotations

import errno
import json
import os
import sys
import typing as t
from pathlib import Path

import pytest
from ansible import constants, context
from ansible.errors import AnsibleError

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _input, _spine
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._specs import free_texts, options_of

FREE = free_texts(_input.specs())


class Templar:
    """Gives values back as they are, and proves by raising that free text never comes here."""

    def template(self, value: t.Any) -> t.Any:
        assert "FREE TEXT" not in str(value)
        return value


def texts_of(**given: t.Any) -> list[str]:
    _values, reasons = _input.typed_variables(given, Templar())
    assert {one["code"] for one in reasons} <= {"bad_input"}
    return [str(one["text"]) for one in reasons]


PATIENCE = {"passes": 3, "window": 1.0, "timeout": 60, "interval": 0.1}
WINDOW = {"start": "2026-12-24T12:00:00Z", "end": "2026-12-24T14:00:00Z"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"remediation_budget": "lots"},
        {"remediation_budget": {"attempts": "many"}},
        {"remediation_budget": {"attempts": 0}},
        {"remediation_budget": {"tries": 2}},
        {"remediation_patience": {**PATIENCE, "passes": "x"}},
        {"remediation_patience": {**PATIENCE, "passes": 0}},
        {"remediation_patience": {**PATIENCE, "timeout": float("inf")}},
        {"remediation_patience": {"passes": 3}},
        {"remediation_freeze_windows": [{**WINDOW, "start": "2026-12-24T12:00:00"}]},
        {"remediation_freeze_windows": [{"start": WINDOW["end"], "end": WINDOW["start"]}]},
        {"remediation_freeze_windows": "never"},
        {"remediation_freeze_windows": [{"start": WINDOW["start"]}]},
        {"remediation_lease_seconds": "soon"},
        {"remediation_lease_seconds": 1},
        {"remediation_lease_seconds": float("nan")},
        {"remediation_takeover": "perhaps"},
        {"remediation_takeover_wait": -1},
        {"remediation_ladder": [{"after_attempts": "two", "page": "x"}]},
        {"remediation_evidence_max_bytes": "8 MB"},
        {"remediation_approval_seconds": 0},
        {"remediation_state_dir": "relative/path"},
        {"remediation_reason": {"a": "dictionary"}},
        {"remediation_operator": ["a", "list"]},
    ],
    ids=str,
)
def test_a_wrong_value_is_named_by_its_variable_in_one_line(wrong: dict[str, t.Any]) -> None:
    (name,) = wrong
    texts = texts_of(**wrong)
    assert len(texts) == 1
    assert name in texts[0]
    assert "\n" not in texts[0]


def test_good_values_pass_with_their_types() -> None:
    values, reasons = _input.typed_variables(
        {
            "remediation_lease_seconds": "60",
            "remediation_takeover": "yes",
            "remediation_patience": PATIENCE,
            "remediation_freeze_windows": [WINDOW],
        },
        Templar(),
    )
    assert reasons == []
    assert (values["remediation_lease_seconds"], values["remediation_takeover"]) == (60.0, True)
    assert _input.seconds_to_verify(values) == pytest.approx(61.4)


def test_free_text_is_looked_at_and_never_templated() -> None:
    assert texts_of(**dict.fromkeys(FREE, "FREE TEXT {{ 7 * 7 }}")) == []


@pytest.mark.parametrize("name", [*FREE, "incident_title"])
@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% set x = 1 %}", "{# x #}"])
def test_template_markers_in_free_text_are_refused(name: str, text: str) -> None:
    reasons = _spine.input_reasons({name: text, "remediation_free_text": ["incident_title"]})
    assert [one["code"] for one in reasons] == ["template_in_input"]


@pytest.mark.parametrize("text", ["50 % of {hosts}", "a { b } c", "#1", ""])
def test_braces_alone_are_plain_text(text: str) -> None:
    assert _spine.input_reasons({"remediation_reason": text}) == []


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% set x = 1 %}"])
def test_a_sentence_for_a_remedy_is_refused_where_it_was_typed_and_not_where_a_playbook_gives_it(text: str) -> None:
    own, given = options_of("traffic_scaling"), {"traffic_scaling_skip_warm_up": text}
    assert [one["code"] for one in _spine.input_reasons(given, given, own)] == ["template_in_input"]
    assert _spine.input_reasons(given, {}, own) == []


class Words(Templar):
    """Works out the one template that these tests use, and fails on any other."""

    def template(self, value: t.Any) -> t.Any:
        if "{{ nowhere }}" in str(value):
            raise AnsibleError("'nowhere' is undefined")
        return json.loads(json.dumps(value).replace("{{ folder }}", self.folder))

    def __init__(self, folder: str) -> None:
        self.folder = folder


@pytest.mark.parametrize("given", [["{{ folder }}/kill"], "{{ folder }}/kill", "{{ folder }}/none,{{ folder }}/kill"], ids=str)
def test_a_kill_switch_is_found_however_its_path_is_written(given: t.Any, tmp_path: Path) -> None:
    known = {"remediation_kill_switch_files": given}
    assert _spine.kill_switch(known, Words(str(tmp_path))) == ""
    (tmp_path / "kill").touch()
    assert _spine.kill_switch(known, Words(str(tmp_path))) == f"{tmp_path}/kill on the controller"


@pytest.mark.parametrize("given", [["{{ nowhere }}/kill"], {"a": "b"}], ids=str)
def test_a_kill_switch_that_cannot_be_worked_out_counts_as_set(given: t.Any) -> None:
    assert "cannot be templated" in _spine.kill_switch({"remediation_kill_switch_files": given}, Words("/"))


def test_the_path_of_the_outcome_file_is_worked_out() -> None:
    assert _spine.resolved({"remediation_outcome_file": "{{ folder }}/o.json"}, Words("/x"))["remediation_outcome_file"] == "/x/o.json"
    assert _spine.resolved({"remediation_outcome_file": "{{ nowhere }}/o.json"}, Words("/x"))["remediation_outcome_file"] == ""


GIVEN = [
    (["x_target=2026-11-25T10:00:00Z"], ["-e", "x_target=2026-11-25T10:00:00Z"]),
    (["remediation_approval=abc"], []),
    (["a=1 remediation_approval=abc b='two words'"], ["-e", "a=1 b='two words'"]),
    (['{"remediation_approval": "abc"}'], []),
    (['{"remediation_takeover": true, "tables": ["a", "b"]}'], ["-e", '{"tables": ["a", "b"]}']),
    (['{"tables":["a"]}', "n=2"], ["-e", '{"tables":["a"]}', "-e", "n=2"]),
    (["@/etc/vars.yml"], ["-e", "@/etc/vars.yml"]),
    (["db_password=hunter22"], ["-e", "db_password=[redacted]"]),
    (["{not: [json"], []),
    ([], []),
]


@pytest.mark.parametrize(("given", "kept"), GIVEN, ids=lambda value: " ".join(value)[:30] or "nothing")
def test_the_next_command_has_the_variables_of_this_run_but_for_those_said_once(
    given: list[str], kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"extra_vars": given})
    assert _spine.given_variables() == kept


LOGIN = {
    "become": True, "become_ask_pass": True, "remote_user": "bob", "private_key_file": "/k", "ssh_common_args": "-o X",
    "vault_ids": ("prod@/x",), "vault_password_files": ("/v",), "forks": 5, "connection": "ssh", "become_method": "sudo",
}  # fmt: skip
SAME_LOGIN = "--become --ask-become-pass --user bob --private-key /k --ssh-common-args '-o X' --vault-password-file /v --vault-id prod@/x"


@pytest.mark.parametrize(
    ("args", "playbook"),
    [
        ("somabrain.incident_response.recover_redis", "somabrain.incident_response.verify_health"),
        ("playbooks/recover-redis.yml", "playbooks/verify-health.yml"),
        (str(_spine.FOLDER) + "/recover_redis.yml", str(_spine.FOLDER) + "/verify-health.yml"),
    ],
)
def test_a_next_command_is_called_and_logs_in_as_this_run_was(args: str, playbook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": [args], "inventory": ("a,", "/etc/my hosts"), "subset": "db*", **LOGIN})
    monkeypatch.chdir(Path(_spine.FOLDER).parent)
    filled = _spine.commands({}, "db 1")
    where = "-i a, -i '/etc/my hosts' " + SAME_LOGIN
    assert filled["verify_health"] == f"ansible-playbook {playbook} {where} -l 'db 1'"
    assert filled["again"] == f"ansible-playbook {args} {where} -l 'db*'"
    # By path, what lies beside the playbooks is used again, whatever is installed.
    beside = f"--playbook-dir {os.path.dirname(args)} " if "/" in args else ""
    assert filled["ansible"] == f"ansible 'db 1' -i a, -i '/etc/my hosts' {beside}{SAME_LOGIN}"


@pytest.mark.parametrize(("typed", "shown"), [("hosts.yml", "hosts.yml"), ("{here}/hosts.yml", "{here}/hosts.yml")])
def test_an_inventory_is_named_as_it_was_typed(typed: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ansible makes every path whole.
    monkeypatch.setattr(context, "CLIARGS", {"args": ["a.yml"], "inventory": (f"{tmp_path}/hosts.yml",)})
    monkeypatch.setattr(sys, "argv", ["ansible-playbook", "a.yml", "-i", typed.format(here=tmp_path)])
    monkeypatch.chdir(tmp_path)
    assert _spine.commands({}, "")["verify_health"].endswith(f" -i {shown.format(here=tmp_path)}")


def test_a_next_command_is_not_limited_to_a_host_that_its_playbook_does_not_work_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": ["a.yml"], "inventory": ("a,",)})

    def limit(playbook: str, host: str, **variables: t.Any) -> str:
        groups = {"redis": ["db1"], "somabrain_api": ["api1", "api2"]}
        return _spine.commands({"groups": groups, **variables}, host)[playbook].partition(" -l ")[2]

    assert [limit("recover_redis", "api1"), limit("recover_redis", "db1"), limit("restart_service", "api1,api2")] == [
        "",
        "db1",
        "api1,api2",
    ]
    # Nothing is known of the hosts: no such group, or a variable names others; and some playbooks work on any host.
    assert [limit("recover_database", "api1"), limit("recover_redis", "api1", recover_redis_hosts="stores")] == ["api1", "api1"]
    assert [limit("verify_health", "api1"), _spine.commands({}, "api1")["recover_redis"].partition(" -l ")[2]] == ["api1", "api1"]


def test_the_hosts_of_each_playbook_are_those_of_its_file() -> None:
    for playbook, words in _spine.WORKS_ON.items():
        assert "{{ %s | default('%s') }}" % words in (Path(_spine.FOLDER) / f"{playbook}.yml").read_text()


def test_where_the_configuration_names_the_inventory_no_other_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {"args": ["a.yml"]})
    monkeypatch.setattr(constants, "DEFAULT_HOST_LIST", [str(tmp_path / "none")])
    assert _spine.commands({}, "db1")["ansible"] == "ansible db1 -i INVENTORY"
    monkeypatch.setattr(constants, "DEFAULT_HOST_LIST", [str(tmp_path)])
    assert _spine.commands({}, "db1")["ansible"] == "ansible db1"


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "no_room"), (errno.EDQUOT, "no_room"), (errno.EACCES, "bad_input"), (errno.EROFS, "bad_input")]
)
def test_an_outcome_file_that_cannot_be_written_has_a_code_and_the_refusal_is_still_said(
    number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: str, content: bytes) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(_spine, "write_durably", fails)
    result = _spine.refused_run([reason("bad_input", "x is wrong")], {"remediation_outcome_file": str(tmp_path / "o.json")}, hosts=["h"])
    assert [one["code"] for one in result["outcome"]["reasons"]] == ["bad_input", code]
    last = result["outcome"]["reasons"][-1]
    assert os.strerror(number) in last["text"]
    assert last["unblock"]
    assert last["next_command"]


def test_the_outcome_file_of_a_part_does_not_stand_for_the_whole(tmp_path: Path) -> None:
    known = {"remediation_outcome_file": str(tmp_path / "out.json")}
    outcome = {"outcome": "nothing_to_do", "green": True, "host": "lab", "component": "redis"}
    assert _spine.write_outcome_file(outcome, {**known, "__remediation_part": True}) == str(tmp_path / "out-redis.json")
    assert _spine.write_outcome_file(outcome, known) == str(tmp_path / "out.json")
