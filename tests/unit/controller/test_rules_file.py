# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of rules: what is added or replaced by it, and how each mistake in it is named by file and line."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import evidence_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.rules import CLASSES, CONDITIONS, LEVELS
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.severity import severity_of
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._rules import DEFAULT, load_rules
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import PLAYBOOKS

# The runbook's incident types (rows 6-17) and common patterns (114-118).
TYPES = [
    "working_memory_unavailable", "long_term_memory_loss", "memory_corruption", "cognitive_performance", "api_outage",
    "partial_functionality", "authentication_failures", "rate_limiting", "audit_trail", "database_connectivity", "message_queue",
    "monitoring_blindness",
]  # fmt: skip
PATTERNS = ["memory_timeout", "lock_contention", "error_spike_after_deployment", "authentication_failures", "gradual_degradation"]
QUEUE = """rules:
  - id: queue_slow
    severity: P2
    text: the queue is slow
    when:
      - component: {class: queue, state: slow}
"""
PATTERN = "patterns:\n  - {id: a, name: A, command: %s, any_of: [when: [nothing_looks_at: x]]}\n"


def own(tmp_path: Path, text: str) -> str:
    path = tmp_path / "rules.yml"
    path.write_text(text)
    return str(path)


# What a wrong file is read beside: as much as it needs of the rules of the collection.
BESIDE = """severities:
  - {level: P0, name: Critical, respond_within_seconds: 1}
  - {level: P1, name: High, respond_within_seconds: 1}
  - {level: P2, name: Medium, respond_within_seconds: 1}
  - {level: P3, name: Low, respond_within_seconds: 1}
types:
  - {id: message_queue, name: Queue, any_of: [when: [component: {class: queue}]]}
  - {id: api_outage, name: Outage, any_of: [when: [component: {class: api}]]}
"""


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("beside") / "default.yml"
    path.write_text(BESIDE)
    return str(path)


def problem(path: str, beside: str) -> str:
    with pytest.raises(StepError) as caught:
        load_rules(path, PLAYBOOKS, beside)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_rules_of_the_collection_are_right_and_name_only_playbooks_that_exist() -> None:
    rules = load_rules("", PLAYBOOKS)
    assert [one["id"] for one in rules["types"]] == TYPES
    assert [one["id"] for one in rules["patterns"]] == PATTERNS
    assert [(one["level"], one["respond_within_seconds"]) for one in rules["severities"]] == list(zip(LEVELS, (900, 3600, 14400, 86400)))
    assert {one["severity"] for one in rules["rules"]} == set(LEVELS)
    assert all(one["suffers"] and one["stands_on"] in CLASSES for entries in rules["depends"].values() for one in entries)
    # They travel to a step as JSON.
    assert json.loads(json.dumps(rules)) == rules


def test_every_condition_is_described_where_the_rules_are() -> None:
    head = Path(DEFAULT).read_text().partition("severities:\n")[0]
    page = (Path(DEFAULT).parents[3] / "docs/triage-rules.md").read_text()
    for kind, options in CONDITIONS.items():
        assert all(word in head for word in (kind, *options)), kind
        assert f"`{kind}`" in page


def test_a_rule_is_added_and_one_of_the_same_id_is_replaced(tmp_path: Path) -> None:
    rules = load_rules(own(tmp_path, QUEUE + QUEUE.partition("\n")[2].replace("queue_slow", "api_slow").replace("P2", "P3")))
    usual = load_rules()
    assert len(rules["rules"]) == len(usual["rules"]) + 1
    by_id = {one["id"]: one for one in rules["rules"]}
    assert (by_id["queue_slow"]["severity"], by_id["api_slow"]["severity"], by_id["api_slow"]["text"]) == ("P2", "P3", "the queue is slow")
    assert rules["types"] == usual["types"]
    seen = [{"name": "kafka", "class": "queue", "kind": "tcp", "host": "one", "health": "sick", "state": "slow", "text": "lag"}]
    assert [one["rule"] for one in severity_of(evidence_of({}, seen), rules)["reasons"]] == ["queue_down", "queue_slow", "api_slow"]


def test_a_rule_can_be_switched_off(tmp_path: Path) -> None:
    text = "rules:\n  - {id: disk_full, severity: P2, text: x, enabled: false, when: [nothing_looks_at: x]}\n"
    assert "disk_full" not in [one["id"] for one in load_rules(own(tmp_path, text))["rules"]]


def test_response_times_types_patterns_and_dependencies_change_the_same_way(tmp_path: Path) -> None:
    text = """severities:
  - {level: P2, name: Medium, respond_within_seconds: 7200}
types:
  - {id: message_queue, name: Queue, any_of: [when: [component: {class: queue, hosts: 2}]]}
patterns:
  - {id: lag, name: Lag, command: "{restart_service}", any_of: [{when: [type: {id: message_queue}]}]}
depends:
  - {class: api, stands_on: queue, symptoms: degraded, suffers: nobody}
  - {class: service, stands_on: queue, suffers: the publisher}
"""
    rules, usual = load_rules(own(tmp_path, text), PLAYBOOKS), load_rules()
    assert [one["respond_within_seconds"] for one in rules["severities"]] == [900, 3600, 7200, 86400]
    assert next(one for one in rules["types"] if one["id"] == "message_queue")["any_of"][0]["when"][0]["component"]["hosts"] == 2
    assert rules["patterns"][-1]["command"] == "{restart_service}"
    assert len(rules["depends"]["api"]) == len(usual["depends"]["api"])
    queue = next(one for one in rules["depends"]["api"] if one["stands_on"] == "queue")
    assert (queue["symptoms"], queue["suffers"]) == (["degraded"], "nobody")
    assert rules["depends"]["service"][0]["where"] == "anywhere"


@pytest.mark.parametrize("text", ["", "---\n", "# nothing yet\n", "rules: []\n"])
def test_a_file_without_rules_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load_rules(own(tmp_path, text)) == load_rules()


def test_each_severity_has_to_be_described(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="severities: P3 not described; each of P0 to P3 has to be"):
        load_rules("", (), own(tmp_path, BESIDE.replace("  - {level: P3, name: Low, respond_within_seconds: 1}\n", "")))


WRONG = [
    # (line that replaces one of QUEUE, its number, line that is named, what is said)
    (2, "  - id: Queue-Slow", 2, "id is 'Queue-Slow'; write lower case letters, digits and _ (60 at most), a letter first"),
    (3, "    severity: P4", 3, "severity is 'P4'; write one of: P0, P1, P2, P3"),
    (3, "    severty: P2", 3, "unknown key 'severty' (did you mean severity?); known are: id, severity, text, when, enabled"),
    (3, "    severity:", 3, "an entry of rules has no 'severity'; write one of: P0, P1, P2, P3"),
    (3, "    severity: P1\n    enabled: yes", 4, "enabled is 'yes'; write true or false"),
    (4, "    text: 12", 4, "text is the number 12; write a sentence of at most 400 characters, in quotes where it has a colon"),
    (4, "    text: ''", 4, "text is ''; write a sentence of at most 400 characters"),
    (6, "      - component: {class: redis, state: slow}", 6, "class is 'redis'; write one of: api, working_memory"),
    (6, "      - component: {class: queu}", 6, "(did you mean queue?)"),
    (6, "      - component: {class: queue, helth: sick}", 6, "unknown key 'helth' (did you mean health?)"),
    (6, "      - component: {class: queue, health: ill}", 6, "health is 'ill'; write one of: well, sick, unknown"),
    (6, "      - component: {class: queue, hosts: 0}", 6, "hosts is the number 0; write any, all, some (at least one, not all) or a"),
    (6, "      - component: {class: queue, hosts: 1.5}", 6, "hosts is the number 1.5; write any, all, some"),
    (6, "      - component: {class: queue, state: []}", 6, "state is empty; it needs at least one entry"),
    (6, "      - component: {class: queue, state: [slow, 3]}", 6, "state is the number 3; write a name"),
    (6, "      - component: {state: slow}", 6, "component has no 'class'; write one or a list of: api"),
    (6, "      - component: queue", 6, "component must be a mapping with: class, health"),
    (6, "      - metric: {name: error_rate}", 6, "metric needs exactly one of: above, below"),
    (6, "      - metric: {name: error_rate, above: 1, below: 2}", 6, "metric needs exactly one of: above, below"),
    (6, "      - metric: {name: error_rate, above: much}", 6, "above is 'much'; write a number"),
    (6, "      - metric: {name: error_rate, above: .inf}", 6, "above is '.inf'; write a number"),
    (6, "      - metric: {name: error_rate, above: 1e99}", 6, "above is the number 1e+99; write a number"),
    (6, "      - endpoints: {share_at_least: 50}", 6, "share_at_least is the number 50; write a share from 0 to 1 (0.05 is 5 %)"),
    (6, "      - count: {class: any, at_least: -1}", 6, "at_least is the number -1; write a whole number of 0 or more"),
    (6, "      - count: {class: any, at_least: true}", 6, "at_least is the boolean true; write a whole number"),
    (6, "      - host: {resource: disk, above: 0.9}", 6, "resource is 'disk'; write one of: disk_used_share"),
    (6, "      - type: {id: message_que}", 6, "no type is called message_que (did you mean message_queue?)"),
    (6, "      - pattern: {id: nothing}", 6, "no pattern is called nothing"),
    (6, "      - component: {class: queue}\n        type: {id: message_queue}", 6, "a condition has exactly one of: component"),
    (6, "      - component", 6, "a condition has exactly one of: component"),
    (6, "      - expression: a > b", 6, "unknown key 'expression'; known are: component"),
    (6, "      - nothing_looks_at: {a: b}", 6, "nothing_looks_at is a mapping; write a sentence"),
    (5, "    when: {}", 5, "when must be a list (lines that begin with '- '); it is a mapping"),
    (1, "rulez:", 1, "unknown key 'rulez' (did you mean rules?); known are: severities, rules, depends, types, patterns"),
]  # fmt: skip


@pytest.mark.parametrize(("at", "line", "named", "said"), WRONG)
def test_a_wrong_rule_is_named_by_file_and_line_with_what_would_be_right(
    tmp_path: Path, at: int, line: str, named: int, said: str, beside: str
) -> None:
    lines = QUEUE.splitlines()
    if at == 5:
        lines = lines[:5]
    lines[at - 1] = line
    path = own(tmp_path, "\n".join(lines) + "\n")
    text = problem(path, beside)
    assert text.startswith(f"{path}:{named}: ")
    assert said in text


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("- a\n- b\n", 1, "the file is a list; it must be a mapping with some of: severities, rules"),
        ("just words\n", 1, "the file is 'just words'; it must be a mapping"),
        ("rules: text\n", 1, "rules must be a list (lines that begin with '- '); it is 'text'"),
        ("rules:\n  - id: [\n", 3, "not YAML: "),
        ("rules:\n  - {{ id }}\n", 2, "a key must be a word; if this is text with braces, put it in quotes"),
        ("rules:\n\t- id: x\n", 2, "not YAML: "),
        ("rules: &all []\ntypes: *all\n", 1, "anchors and aliases (&, *) are not allowed"),
        ("rules: []\ntypes: *all\n", 2, "anchors and aliases (&, *) are not allowed"),
        ("rules: !!python/object/apply:os.system [reboot]\n", 1, "tags (!) are not allowed"),
        ("rules: !vault x\n", 1, "tags (!) are not allowed"),
        ("rules: []\nrules: []\n", 2, "the key 'rules' is in this mapping twice (first in line 1)"),
        ("rules: []\n---\nrules: []\n", 2, "not YAML: "),
        ("rules: " + "[" * 5000 + "]" * 5000 + "\n", 1, "exceeded maximum nesting depth"),
        ("rules: " + "[" * 20 + "]" * 20 + "\n", 1, "it is nested more than 12 deep"),
        ("rules: [" + "a," * 30000 + "]\n", 1, "it has more than 20000 values"),
        ("rules:\n" + "  - {id: a}\n" * 201, 1, "rules has 201 entries; at most 200 are allowed"),
        (QUEUE + QUEUE.partition("\n")[2], 7, "queue_slow is in this file twice (first in line 2); give one of them another id"),
        (PATTERN % "'{recover_reddis}'", 2, "did you mean recover_redis?"),
        (PATTERN % "'rm -rf /'", 2, "command is 'rm -rf /'; write a playbook's name in quotes and braces"),
        ("patterns:\n  - {id: a, name: A, any_of: []}\n", 2, "any_of is empty"),
        ("types:\n  - {id: a, name: A, any_of: [when: [type: {id: api_outage}]]}\n", 2, "types cannot ask for types; only patterns"),
        ("depends:\n  - {class: api, stands_on: moon, suffers: x}\n", 2, "stands_on is 'moon'; write one of: api"),
        ("rules:\n  - {id: a, text: '\x1b[31m', severity: P9}\n", 2, "not YAML: the character U+001B is not allowed"),
        ('rules:\n  - {"\\e[31m": 1}\n', 2, "unknown key '\\x1b[31m'"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_rules_is_named_by_line(tmp_path: Path, text: str, line: int, said: str, beside: str) -> None:
    path = own(tmp_path, text)
    found = problem(path, beside)
    assert found.startswith(f"{path}:{line}: "), found
    assert said in found


def test_several_mistakes_are_named_together_and_the_rest_is_counted(tmp_path: Path, beside: str) -> None:
    entry = "  - {id: r%d, text: x, severity: P7, when: [nothing_looks_at: x]}\n"
    text = problem(own(tmp_path, "rules:\n" + "".join(entry % number for number in range(9))), beside)
    assert [":%d: severity is 'P7'" % line in text for line in (2, 3, 4, 5)] == [True, True, True, False]
    assert text.endswith("; and 6 more problems")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, beside: str) -> None:
    assert (
        problem(str(tmp_path / "none.yml"), beside)
        == f"{tmp_path}/none.yml cannot be read (No such file or directory): correct triage_rules_file"
    )
    assert problem(str(tmp_path), beside) == f"{tmp_path} cannot be read (Is a directory): correct triage_rules_file"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is not a plain file: set triage_rules_file" in problem(str(pipe), beside)
    (tmp_path / "binary").write_bytes(b"rules:\n  - \xff\xfe\n")
    assert problem(str(tmp_path / "binary"), beside) == f"{tmp_path}/binary:2: not UTF-8 text: write it in UTF-8"
    (tmp_path / "nul").write_bytes(b"rules:\n\x00\n")
    assert ":2: not YAML: " in problem(str(tmp_path / "nul"), beside)
    (tmp_path / "large").write_text("#" * 300000)
    assert "is larger than 256 KiB" in problem(str(tmp_path / "large"), beside)
    assert "cannot be read" in problem("a\0b", beside)


def test_text_with_template_marks_stays_what_it_is(tmp_path: Path) -> None:
    text = QUEUE.replace("the queue is slow", "\"{{ lookup('pipe', 'id') }}\"")
    rules: dict[str, t.Any] = load_rules(own(tmp_path, text))
    assert rules["rules"][-1]["text"] == "{{ lookup('pipe', 'id') }}"
