# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the remedies of a host need follows from the variables that their roles have anyway."""

from __future__ import annotations

import importlib.util
import json
import typing as t
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _needs

ALL = list(_needs.ROLES_USED)


def asked(**given: t.Any) -> _needs.Asked:
    """The variables as they are given; a default that is a template stands for one that is not set."""
    values = _needs.values_for(given)
    return _needs.Asked(lambda name: None if "{{" in str(values.get(name)) else values.get(name))


@pytest.mark.parametrize(
    ("known", "roles"),
    [
        ({}, []),
        ({"redis_recovery_port": 6379}, ["redis_recovery"]),
        ({"groups": {"redis": ["b"]}, "group_names": [], "redis_recovery_port": 6379}, []),
        ({"groups": {"redis": ["a"]}, "group_names": ["redis"]}, ["redis_recovery"]),
        ({"groups": {"somabrain_api": ["a"]}, "group_names": ["somabrain_api"]}, ["service_restart"]),
        ({"service_restart_name": "a", "rollback_releases_dir": "/srv/releases"}, ["service_restart", "rollback"]),
        ({"service_restart_manager": "compose"}, ["service_restart", "rollback"]),
        ({"group_names": ["postgresql"], "groups": {"postgresql": ["a"]}}, ["database_recovery"]),
        ({"database_recovery_port": 1, "database_restore_side_dir": "/side"}, ["database_recovery", "database_restore"]),
    ],
)
def test_a_remedy_is_meant_for_the_hosts_of_its_group_or_where_there_is_none_for_those_with_its_variables(
    known: dict[str, t.Any], roles: list[str]
) -> None:
    assert _needs.roles_of(known) == roles


def test_the_default_of_a_role_is_worked_out_by_the_variables_of_the_host() -> None:
    loader = DataLoader()
    for given, file in (({}, ""), ({"database_recovery_password_file": "/p"}, "/p")):
        known = {"database_unblock_user": "watcher", **given}
        asked_for = _needs.asked_of(known, Templar(loader, variables=known))
        login = _needs.needs_of(["database_unblock"], asked_for)["checks"][0]
        assert (login.get("password_file", ""), login["user"], asked_for.broken) == (file, "watcher", [])


def test_redis_needs_its_service_its_password_room_for_copies_and_the_file_to_give_up() -> None:
    needs = _needs.needs_of(
        ["redis_recovery"],
        asked(
            redis_recovery_password_file="/s", redis_recovery_rescue_dir="/r", redis_recovery_data_dir="/d", redis_recovery_make_room=["/f"]
        ),
    )
    assert needs["checks"] == [
        {"name": "Redis service (redis_recovery_service)", "kind": "service", "manager": "systemd", "service": "redis-server"},
        {"name": "Redis log-in", "kind": "redis", "host": "127.0.0.1", "port": 6379, "password_file": "/s"},
    ]
    assert needs["rooms"] == [{"path": "/r", "variable": "redis_recovery_rescue_dir", "beside": "/d"}]
    assert needs["reserves"] == [{"path": "/f", "variable": "redis_recovery_make_room"}]
    assert needs["root_for"] == ["systemd lets only root start and stop redis-server"]
    assert needs["collections"] == []


def test_postgresql_logs_in_on_the_machine_as_the_user_of_the_database() -> None:
    needs = _needs.needs_of(["database_recovery"], asked())
    login = needs["checks"][1]
    assert (login["login"], login["host"], login["os_user"], login["look_from"]) == (True, "", "postgres", "target")
    assert "psql" in needs["tools"]


def test_every_credential_of_a_service_is_tried() -> None:
    given = {
        "service_restart_service": "api", "service_restart_url": "http://127.0.0.1:1/status", "service_restart_token_file": "/t",
        "service_restart_dependencies": [{"name": "redis", "kind": "redis", "password_file": "/s"}],
        "rollback_database": {"host": "db1", "user": "u", "password_file": "/p"}, "rollback_config_repository": "/etc/api",
    }  # fmt: skip
    needs = _needs.needs_of(["service_restart", "rollback"], asked(**given))
    files = {check.get("token_file") or check.get("password_file") for check in needs["checks"]}
    assert files == {None, "/t", "/s", "/p"}
    assert "git" in needs["tools"]


@pytest.mark.parametrize(
    ("generation", "path", "body"),
    [
        ("v1", "/recall", {"query": "access", "top_k": 1}),
        ("v2", "/memory/recall", {"query": "access", "top_k": 1, "tenant": "t", "namespace": "canary"}),
        ("", "", None),
    ],
)
def test_a_token_is_tried_where_the_api_asks_for_it(generation: str, path: str, body: t.Any) -> None:
    """Its health answers without one: a wrong token was called ready."""
    given = {"service_restart_service": "api", "service_restart_url": "http://127.0.0.1:1/health", "service_restart_token_file": "/t",
             "service_restart_round_trip": generation, "service_restart_tenant": "t"}  # fmt: skip
    found = {check["name"]: check for check in _needs.needs_of(["service_restart"], asked(**given))["checks"]}
    tried = found.get("API token", {})
    assert (tried.get("url", ""), tried.get("body"), bool(tried)) == (path and "http://127.0.0.1:1" + path, body, bool(path))
    assert found["API"]["url"].endswith("/health")
    api = {"url": "http://127.0.0.1:1", "token_file": "/t", "tenant": "t", **({"profile": generation} if path else {"profile": "none"})}
    below = [check for check in _needs.needs_of(["redis_recovery"], asked(redis_recovery_api=api))["checks"] if check["kind"] == "http"]
    assert [(check["url"], check["token_file"]) for check in below] == [("http://127.0.0.1:1" + (path or "/health"), "/t")]


def test_a_rollback_needs_to_know_which_release_runs() -> None:
    given = {"service_restart_service": "shop", "rollback_releases_dir": "/srv/releases", "rollback_current": "/srv/current"}
    wanted = {"name": "release that runs", "kind": "release", "manager": "systemd", "service": "shop"}
    assert _needs.needs_of(["rollback"], asked(**given))["checks"] == [
        {**wanted, "releases_dir": "/srv/releases", "current": "/srv/current"}
    ]
    of_compose = _needs.needs_of(["rollback"], asked(**given, service_restart_manager="compose"))
    assert (of_compose["checks"], of_compose["tools"]) == ([], ["docker compose"])


@pytest.mark.parametrize(
    ("role", "given", "names"),
    [
        ("rollback", {"service_restart_manager": "compose"}, ["community.docker"]),
        ("rollback", {"service_restart_manager": "kubernetes"}, ["kubernetes.core"]),
        ("rollback", {"service_restart_manager": "systemd"}, []),
        ("service_restart", {"service_restart_manager": "compose"}, []),
        ("service_restart", {"service_restart_manager": "kubernetes"}, ["kubernetes.core"]),
        ("traffic_scaling", {"traffic_scaling_manager": "compose"}, []),
        ("traffic_scaling", {"traffic_scaling_manager": "compose", "traffic_scaling_replicas": 3}, ["community.docker"]),
        ("redis_recovery", {}, []),
    ],
)
def test_a_collection_is_needed_where_an_act_of_the_remedy_uses_it(role: str, given: dict[str, t.Any], names: list[str]) -> None:
    assert [one["name"] for one in _needs.collections_of(role, asked(**given))] == names


def test_a_collection_that_is_missing_or_too_old_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spec:
        submodule_search_locations: t.ClassVar[list[str]] = [str(tmp_path)]

    found: dict[str, t.Any] = {"spec": None}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found["spec"])
    command = "ansible-galaxy collection install 'community.docker:>=3.6.0'"
    assert _needs.problem_with("community.docker", (3, 6)) == f"community.docker is not installed on the controller: {command}"
    found["spec"] = Spec()
    for version, problem in (("3.5.2", f"community.docker 3.5.2 on the controller is too old: {command}"), ("3.6.0", ""), ("10.0.1", "")):
        (tmp_path / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": version}}))
        assert _needs.problem_with("community.docker", (3, 6)) == problem
    # A checkout has no manifest and is what its owner makes of it.
    (tmp_path / "MANIFEST.json").unlink()
    assert _needs.problem_with("community.docker", (3, 6)) == ""


def test_a_variable_that_cannot_be_worked_out_is_told_and_the_rest_is_looked_at() -> None:
    def work_out(name: str) -> t.Any:
        raise KeyError(name)

    broken = _needs.Asked(work_out)
    assert _needs.needs_of(ALL, broken)["checks"]
    assert all("cannot be worked out" in text for text in broken.broken)
