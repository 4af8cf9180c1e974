# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of refusals: every code and case that is used exists, none is unused, and the page in docs is made from it."""

from __future__ import annotations

import importlib.util
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.guard import judge_before
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason, refusal, with_commands
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _become
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import PLAYBOOKS

ROOT = Path(__file__).resolve().parents[3]
PYTHON = [path for path in (ROOT / "plugins").rglob("*.py") if path.name != "catalogue.py" and "modules" not in path.parts]
YAML = [path for folder in ("tasks", "vars", "defaults", "faults") for path in (ROOT / "roles").glob(f"*/{folder}/**/*.yml")]
WORDS = [(code, "", one.unblock, one.command) for code, one in REASONS.items()] + [
    (code, name, case.unblock + case.text, case.command) for code, one in REASONS.items() for name, case in one.cases.items()
]
CASES = {(code, case) for code, one in REASONS.items() for case in one.cases}
PLACEHOLDERS = {"again", "graph", "token", *PLAYBOOKS}


def mappings(node: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """Yield every mapping in a parsed YAML document."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings(value)


def named() -> list[tuple[str, str, str, dict[str, t.Any]]]:
    """Return (file, code, case, the whole mapping) of every refusal that a role or a drill names in YAML."""
    found = []
    for path in YAML:
        for one in mappings(yaml.safe_load(path.read_text())):
            refusals = [value for key, value in one.items() if str(key).endswith("_refusals") and isinstance(value, dict)]
            entries = [{"code": entry} if isinstance(entry, str) else entry for each in refusals for entry in each.values()]
            given = [each for each in [one, *entries] if isinstance(each.get("code"), str)]
            found += [(str(path.relative_to(ROOT)), str(each["code"]), str(each.get("case", "")), each) for each in given]
    return [one for one in found if "{{" not in one[1] + one[2]]


def test_every_code_and_case_that_a_role_or_a_drill_names_exists() -> None:
    wrong = [(name, code, case) for name, code, case, _x in named() if code not in REASONS or (case and case not in REASONS[code].cases)]
    assert wrong == []
    assert len(named()) > 50


def test_every_case_is_used_and_gets_what_it_fills_in() -> None:
    python = "\n".join(path.read_text() for path in PYTHON)
    used = {(code, case) for _name, code, case, _given in named()}
    used |= {(code, case) for code, case in CASES if re.search(rf'reason\("{code}".*case=.*"{case}"', python)}
    used |= {("bad_input", case) for case in _become.WORDS}
    assert sorted(CASES - used) == []
    for name, code, case, given in named():
        said = "" if not case else REASONS[code].cases[case].unblock + REASONS[code].cases[case].text
        wanted = set(re.findall(r"\{(\w+)\}", said))
        assert wanted <= set(given.get("values") or {}), f"{name}: {code}/{case} needs values for {wanted}"


def worded(given: t.Mapping[str, t.Any]) -> bool:
    """Return whether a refusal in YAML brings a sentence of its own; a text that is all template is what somebody found."""
    text = re.sub(r"\{\{.*?\}\}", "", str(given.get("text") or ""), flags=re.DOTALL)
    return "unblock" in given or bool(re.search(r"\w+ \w+", text))


def test_no_role_words_a_refusal_itself() -> None:
    tasks = [one for path in YAML for one in mappings(yaml.safe_load(path.read_text()))]
    refusing = [one[key] for one in tasks for key in one if str(key).endswith("remediation_refuse") and isinstance(one[key], dict)]
    assert len(refusing) > 10
    assert [given for given in [*refusing, *(entry[3] for entry in named())] if worded(given)] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"code": "exit_loop"}, False),
        ({"code": "exit_loop", "text": "{{ seen.text }}; {{ copied.text }}"}, False),
        ({"code": "exit_loop", "text": "{{ state }}: {{ found }}"}, False),
        ({"code": "exit_loop", "text": "it exits again"}, True),
        ({"code": "exit_loop", "text": "{{ name }} exits again"}, True),
        ({"code": "exit_loop", "unblock": ""}, True),
    ],
)
def test_a_sentence_of_its_own_is_seen(given: dict[str, str], expected: bool) -> None:
    assert worded(given) is expected


def test_every_code_that_python_names_exists() -> None:
    codes = [code for path in PYTHON for code in re.findall(r"\breason\(\s*\"([a-z_]+)\"", path.read_text())]
    assert set(codes) <= set(REASONS)
    assert len(codes) > 20


@pytest.mark.parametrize("code", REASONS)
def test_every_code_is_used_somewhere(code: str) -> None:
    uses = [path for path in [*PYTHON, *YAML] if "faults" not in path.parts and re.search(rf"\b{code}\b", path.read_text())]
    assert uses, f"nothing refuses with {code}"


@pytest.mark.parametrize(("code", "case", "words", "command"), WORDS, ids=[f"{code}-{case}" for code, case, *_words in WORDS])
def test_every_wording_says_something_and_its_command_can_be_filled_in(code: str, case: str, words: str, command: str) -> None:
    assert words or command
    assert set(re.findall(r"\{(\w+)\}", command)) <= PLACEHOLDERS
    if not case:
        assert REASONS[code].means
        assert command
        assert "{" not in words.replace("{{, {% or {#", "")


def test_every_playbook_of_a_command_exists() -> None:
    assert [name for name in PLAYBOOKS.values() if not (ROOT / f"playbooks/{name}.yml").is_file()] == []
    assert {"history", "verify", "rollback", "recover_redis"} <= set(PLAYBOOKS)


def test_the_page_in_the_documents_is_made_from_the_catalogue() -> None:
    spec = importlib.util.spec_from_file_location("reasons_page", ROOT / "scripts/lib/reasons_page.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (ROOT / "docs/reasons.md").read_text() == made.page(REASONS), "docs/reasons.md is stale: run scripts/reasons"


def test_a_case_takes_the_place_of_the_general_wording_and_its_words_are_filled_in() -> None:
    told = reason("credentials_refused", "why", case="variables", values={"variables": "user and {x}"})
    assert told["unblock"] == "correct user and {x}; a restart does not fix a password"
    assert told["next_command"] == REASONS["credentials_refused"].command
    assert reason("no_room", "", case="keep_lock_file")["text"].startswith("the lock file")
    with pytest.raises(KeyError):
        reason("no_room", "", case="no_such_case")


@pytest.mark.parametrize(
    ("given", "code", "text", "unblock"),
    [
        ("exit_loop", "exit_loop", "odd: it exits", REASONS["exit_loop"].unblock),
        ({"code": "exit_loop"}, "exit_loop", "odd: it exits", REASONS["exit_loop"].unblock),
        ({}, "state_not_handled", "odd: it exits", REASONS["state_not_handled"].unblock),
        ({"code": "exit_loop", "unblock": "own words"}, "exit_loop", "odd: it exits", "own words"),
        ({"code": "exit_loop", "text": "own text", "unblock": ""}, "exit_loop", "odd: own text", REASONS["exit_loop"].unblock),
        (
            {"code": "bad_input", "case": "check_not_chosen", "values": {"names": "a, b"}},
            "bad_input",
            "odd: redis_clearing_name must name one of redis_clearing_checks: a, b",
            REASONS["bad_input"].unblock,
        ),
    ],
)
def test_a_remedy_names_a_refusal_by_code_case_and_values(given: t.Any, code: str, text: str, unblock: str) -> None:
    before = {"health": "sick", "state": "odd", "findings": [{"state": "sick", "text": "it exits"}]}
    to_do, (told,) = judge_before(before, {"odd": given})
    assert (to_do, told["code"], told["text"], told["unblock"]) == (False, code, text, unblock)


def test_a_state_that_is_named_as_its_code_is_not_said_twice() -> None:
    before = {"health": "sick", "state": "exit_loop", "findings": [{"state": "sick", "text": "it exits"}]}
    assert judge_before(before, {"exit_loop": "exit_loop"})[1][0]["text"] == "it exits"


def test_an_entry_keeps_only_what_says_something() -> None:
    assert refusal({"code": "no_room", "case": "", "unblock": None, "other": 1}) == {"code": "no_room"}


def test_next_commands_are_filled_in_once() -> None:
    (filled,) = with_commands([{"code": "x", "next_command": "{again} {other}"}], {"again": "run '{history}'", "history": "no"})
    assert filled["next_command"] == "run '{history}' {other}"
