# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every state that a remedy's tree knows has the playbook that recovers it, or the sentence of its refusal."""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.judge import BY_HTTP, BY_ITS_RELEASE
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import service as kind_service
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kinds import KINDS
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.reach import TURNED_AWAY, UNREACHED
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.judge import SQLSTATES
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.judge import STATES as POSTGRESQL
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.running import JUDGES
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import STATES as REDIS
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import remedy
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._spine import PLAYBOOKS

ROOT = Path(__file__).resolve().parents[3]
UTILS = ROOT / "plugins/module_utils"
GROUPS = {"redis": ["h"], "postgresql": ["h"], "somabrain_api": ["h"], "somabrain_balancer": ["h"]}
CLASSES = {"redis": "working_memory", "postgresql": "database", "application": "api", "balancer": "balancer"}


def words_in(path: str, *names: str) -> set[str]:
    """Return the words that the verdicts (calls of *names*) in a file of the code have as their state."""
    calls = [node for node in ast.walk(ast.parse((UTILS / path).read_text())) if isinstance(node, ast.Call)]
    named = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id in names and node.args]
    return {node.args[0].value for node in named if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)}


def states() -> list[tuple[str, str]]:
    """Return (kind, state) of every state that the code knows."""
    by_http = {word for word, _health, _acts in BY_HTTP.values()}
    reached = {found[0] for found in UNREACHED.values()} | {found[0] for found in TURNED_AWAY.values()}
    lower = {found[0] for error, found in UNREACHED.items() if error != "endless"}
    known = {
        "redis": set(REDIS),
        "postgresql": {*POSTGRESQL, *(word for word, _judge in JUDGES), *(found[0] for found in SQLSTATES.values()), *lower},
        "application": words_in("_checks/application/judge.py", "Found") | by_http | set(BY_ITS_RELEASE) | reached
        | {"starting", "stopping", "paused", "unhealthy"},
        "balancer": words_in("_traffic/judge.py", "Verdict"),
        "slots": words_in("_traffic/slots.py", "Slots") - {"fit"}, "replicas": words_in("_service/replicas.py", "Verdict"),
        "service": {*kind_service.HEALTH_OF, *kind_service.ACTIONS},
        "http": reached | {"up", "degraded", "slow", "error", "redirect", "other_service", "too_large", "bad_input"},
        "round_trip": reached | {"not_acknowledged", "not_recalled", "no_ltm", "other_service", "error", "redirect", "bad_input", "slow"},
        "release": {"known", "unknown", "other", "altered", "not_selected"},
        "configuration": {"clean", "missing", "unknown", "unfinished", "detached", "other_commit", "drifted"},
        "migrations": {"known", "same", "other_heads", "unknown"},
        "tcp": lower | {"open", "unexpected", "silent"},
        "disk": {"full"},
    }  # fmt: skip
    return sorted((kind, state) for kind, found in known.items() for state in found)


def component(kind: str, state: str, **more: t.Any) -> dict[str, t.Any]:
    return {
        "name": kind,
        "kind": kind,
        "state": state,
        "class": CLASSES.get(kind, "service"),
        "host": "h",
        "health": "sick",
        "facts": {},
        **more,
    }


@pytest.mark.parametrize(("kind", "state"), states())
def test_every_state_that_the_code_knows_has_a_playbook_or_says_why_none_fits(kind: str, state: str) -> None:
    assert state in remedy.TABLE[kind], "a state without a row"
    made = remedy.remedy_of(component(kind, state))
    assert made["remedy"]["playbook"] or made["none"]


def test_the_code_knows_as_many_states_as_this_test_expects_at_least() -> None:
    found = states()
    assert len([one for one in found if one[0] == "application"]) > 45
    assert len([one for one in found if one[0] == "balancer"]) > 20


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_check_has_a_table(kind: str) -> None:
    assert kind in remedy.TABLE


def rows() -> list[tuple[str, str, remedy.Row]]:
    return [(kind, state, row) for kind, found in remedy.TABLE.items() for state, row in found.items()]


@pytest.mark.parametrize(("kind", "state", "row"), rows())
def test_a_row_names_what_there_is(kind: str, state: str, row: remedy.Row) -> None:
    assert not row.playbook or row.playbook in PLAYBOOKS and row.playbook in remedy.PLAYBOOKS
    assert not row.code or row.code in REASONS and (not row.case or row.case in REASONS[row.code].cases)


def test_every_playbook_says_what_it_does_not_do() -> None:
    assert {name for name, (does, wont) in remedy.PLAYBOOKS.items() if not (does and wont)} == set()
    assert set(remedy.PLAYBOOKS) <= set(PLAYBOOKS)


def refusals(role: str, name: str) -> dict[str, dict[str, str]]:
    """Return the refusals of a role by state, as its variables have them."""
    found = yaml.safe_load((ROOT / "roles" / role / "vars/main.yml").read_text())[name]
    return {state: one if isinstance(one, dict) else {"code": one} for state, one in found.items()}


REFUSED = [
    ("redis", "redis_recovery", "__redis_recovery_state_refusals"),
    ("postgresql", "database_recovery", "__database_recovery_always_refused"),
    ("application", "service_restart", "__service_restart_refusals"),
    ("balancer", "traffic_scaling", "__traffic_scaling_refusals"),
]
# Of these another playbook is the answer, or the state is of another check of that role.
OTHERWISE = {("postgresql", "blocked"), ("application", "exit_loop"), ("balancer", "autoscaled"), ("balancer", "beyond_quota")}


@pytest.mark.parametrize(
    ("kind", "state", "given"),
    [
        (kind, state, given)
        for kind, role, name in REFUSED
        for state, given in refusals(role, name).items()
        if (kind, state) not in OTHERWISE
    ],
)
def test_a_state_that_a_remedy_refuses_has_the_wording_of_its_refusal(kind: str, state: str, given: dict[str, str]) -> None:
    row = remedy.TABLE[kind].get(state) or remedy.TABLE["replicas"][state]
    assert (row.code, row.case) == (given["code"], given.get("case", ""))
    assert row.playbook in ("", "check_access")


@pytest.mark.parametrize(
    ("kind", "state", "playbook"),
    [
        ("redis", "down_clean", "recover_redis"), ("redis", "hung", "recover_redis"), ("redis", "oom", "recover_redis"),
        ("redis", "up_but_empty", "recover_redis"), ("redis", "misconf_rdb", "recover_redis"), ("redis", "auth", "check_access"),
        ("redis", "port_taken", ""), ("redis", "up_but_wrong", ""), ("redis", "loading", "recover_redis"),
        ("postgresql", "down_crashed", "recover_database"), ("postgresql", "blocked", "unblock_database"),
        ("postgresql", "down_no_wal", "restore_database"), ("postgresql", "down_data_missing", "restore_database"),
        ("postgresql", "no_database", "restore_database"), ("postgresql", "archiver_failing", ""),
        ("postgresql", "pid_stale", "recover_database"),
        ("application", "hung", "restart_service"), ("application", "oom", ""), ("application", "port_taken", ""),
        ("application", "exit_loop", ""), ("application", "rollout_stuck", "rollback"),
        ("balancer", "reverted", "scale_traffic"), ("balancer", "clients_kept_out", "restore_traffic"), ("balancer", "no_server_up", ""),
        ("balancer", "maintenance_left", "reconcile"), ("configuration", "drifted", "rollback"), ("release", "other", "rollback"),
    ],
)  # fmt: skip
def test_the_playbook_that_recovers_a_state(kind: str, state: str, playbook: str) -> None:
    made = remedy.remedy_of(component(kind, state))
    assert made["remedy"]["playbook"] == playbook
    assert bool(made["none"]) or bool(playbook)
    assert made["remedy"]["command"].startswith("{%s}" % playbook) or not playbook


UNPROVEN = {"now": "sha-new", "verified": False, "other": "sha-good"}
PROVEN = {"now": "sha-good", "verified": True, "other": "sha-older-release"}


@pytest.mark.parametrize(
    ("state", "release", "command"),
    [
        ("hung", UNPROVEN, "{rollback}"), ("exit_loop", UNPROVEN, "{rollback}"), ("not_remembering", UNPROVEN, "{rollback}"),
        ("bad_config", UNPROVEN, "{rollback}"), ("hung", PROVEN, "{restart_service}"), ("hung", {}, "{restart_service}"),
        ("exit_loop", PROVEN, "{rollback} -e rollback_release=sha-older-re"), ("exit_loop", {}, ""),
        ("leaking", UNPROVEN, "{restart_service}"),
        ("dependency_down", UNPROVEN, ""),
    ],
)  # fmt: skip
def test_a_release_that_never_passed_verification_is_rolled_back(state: str, release: dict[str, t.Any], command: str) -> None:
    made = remedy.remedy_of(component("application", state, facts={"release": release}))
    assert made["remedy"]["command"] == command


def test_a_lock_that_no_run_ends_has_no_playbook() -> None:
    roots = [{"pid": 0, "gid": "tx", "action": "none", "why": "its coordinator must end a prepared transaction"}]
    made = remedy.remedy_of(component("postgresql", "blocked", facts={"locks": {"roots": roots}}))
    assert made["remedy"]["playbook"] == ""
    assert "prepared transaction" in made["none"]
    roots.append({"pid": 7, "action": "terminate"})
    assert (
        remedy.remedy_of(component("postgresql", "blocked", facts={"locks": {"roots": roots}}))["remedy"]["playbook"] == "unblock_database"
    )


@pytest.mark.parametrize(
    ("unit", "group", "command"),
    [
        ("redis", "working_memory", "{recover_redis}"), ("postgresql@15-main", "database", "{recover_database}"),
        ("embedder", "service", "{restart_service} -e service_restart_name=embedder"),
        ("a; rm x", "service", "{restart_service} -e 'service_restart_name=a; rm x'"),
    ],
)  # fmt: skip
def test_a_service_of_a_store_has_the_remedy_of_the_store(unit: str, group: str, command: str) -> None:
    made = remedy.remedy_of(component("service", "stopped", facts={"unit": unit}, **{"class": group}))
    assert made["remedy"]["command"] == command


def finding(kind: str, host: str = "h", **more: t.Any) -> dict[str, t.Any]:
    state = {"redis": "down_clean", "postgresql": "down_clean", "application": "crashed", "host": "unreachable"}[kind]
    one = component(kind, state, host=host, symptoms=[], **more)
    return dict(one, **remedy.remedy_of(one))


@pytest.mark.parametrize(
    ("findings", "commands"),
    [
        ([finding("redis")], [("recover_redis", "h")]),
        ([finding("redis"), finding("postgresql")], [("recover_all", "h")]),
        ([finding("redis"), finding("application")], [("recover_all", "h")]),
        # Nobody put these hosts into the groups that recover-all works on.
        ([finding("redis", "x"), finding("postgresql", "y")], [("recover_redis", "x"), ("recover_database", "y")]),
        ([finding("host"), finding("redis")], [("recover_redis", "h"), ("check_access", "h")]),
        ([finding("redis"), finding("redis")], [("recover_redis", "h")]),
        ([], []),
    ],
)  # fmt: skip
def test_what_is_run_next(findings: list[dict[str, t.Any]], commands: list[tuple[str, str]]) -> None:
    assert [(one["playbook"], one["hosts"]) for one in remedy.next_of(findings, GROUPS)] == commands


def test_a_service_that_is_gone_beside_its_store_is_recovered_in_the_same_run() -> None:
    symptom = component("application", "dependency_down", runs=False)
    one = dict(finding("redis"), symptoms=[symptom])
    assert [made["playbook"] for made in remedy.next_of([one], GROUPS)] == ["recover_all"]
    one["symptoms"] = [dict(symptom, runs=True)]
    assert [made["playbook"] for made in remedy.next_of([one], GROUPS)] == ["recover_redis"]


def test_a_sentence_names_the_playbook_to_run_again() -> None:
    made = remedy.remedy_of(component("redis", "port_taken"))
    assert re.search(r"then run recover-redis$", made["none"])


@pytest.mark.parametrize("facts", [None, [], "x", {"release": "x", "locks": [], "hand_over": 5}, {"locks": {"roots": [None, 3]}}])
@pytest.mark.parametrize("kind", ["redis", "postgresql", "application", "dependency", "disk", "strange", ""])
def test_nothing_raises(kind: str, facts: t.Any) -> None:
    for state in ("", "blocked", "dependency_down", "no such state", None):
        made = remedy.remedy_of({"kind": kind, "state": state, "facts": facts}, [{"kind": "x"}])
        assert made["none"] or made["remedy"]["playbook"]
