# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify-health looks at because a remedy is meant to keep it well."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import derived

ALL = ["redis_recovery", "database_recovery", "service_restart"]
REDIS = {"name": "redis", "kind": "redis", "host": "127.0.0.1", "port": 6379, "last_known_keys": 242}


@pytest.mark.parametrize(
    ("wanted", "groups", "variables", "found"),
    [
        (ALL, {"redis": ["here"], "postgresql": ["there"]}, [], ["redis_recovery"]),
        # The group decides, whatever is set for all hosts.
        (ALL, {"redis": ["there"]}, ["redis_recovery_port"], []),
        # No such group: what is set for the host decides.
        (ALL, {}, ["redis_recovery_port", "service_restart_url"], ["redis_recovery", "service_restart"]),
        (ALL, {"redis": []}, ["redis_recovery_port"], ["redis_recovery"]),
        (ALL, {}, ["service_manager_scope"], []),
        ([], {"redis": ["here"]}, ["redis_recovery_port"], []),
    ],
)
def test_a_remedy_says_what_to_look_at_on_the_hosts_that_it_acts_on(
    wanted: list[str], groups: dict[str, list[str]], variables: list[str], found: list[str]
) -> None:
    assert derived.remedies_of(wanted, groups, "here", variables) == found


@pytest.mark.parametrize(
    ("own", "names"),
    [
        ([], ["redis"]),
        ([{"name": "cache", "kind": "redis"}], ["cache"]),
        ([{"name": "cache", "kind": "redis", "host": "localhost", "port": "6379"}], ["cache"]),
        ([{"name": "redis", "kind": "redis", "port": 6380}], ["redis", "redis (remedy)"]),
        ([{"name": "redis", "kind": "redis", "host": "10.0.0.5"}], ["redis", "redis (remedy)"]),
        ([{"name": "redis", "kind": "tcp", "host": "127.0.0.1", "port": 6379}], ["redis", "redis (remedy)"]),
        ([{"name": "redis", "kind": "redis", "socket": "/run/redis.sock"}], ["redis", "redis (remedy)"]),
    ],
)
def test_each_thing_is_looked_at_once_and_by_a_name_of_its_own(own: list[dict[str, t.Any]], names: list[str]) -> None:
    assert [one["name"] for one in derived.with_derived(own, [REDIS])] == names


def test_a_check_of_ones_own_is_completed_by_what_the_remedy_is_told() -> None:
    [check] = derived.with_derived([{"name": "cache", "kind": "redis", "port": 6379, "max_latency_ms": 5, "last_known_keys": 7}], [REDIS])
    assert (check["name"], check["max_latency_ms"], check["last_known_keys"]) == ("cache", 5, 7)
    [check] = derived.with_derived([{"name": "cache", "kind": "redis"}], [REDIS])
    assert check["last_known_keys"] == 242


def test_what_is_no_check_is_left_for_the_look_to_refuse() -> None:
    assert derived.with_derived(["redis"], [])[0] == "redis"


@pytest.mark.parametrize(
    ("sick", "expected"),
    [
        ({}, ("", [])),
        ({"a": ["redis"]}, ("recover_redis", ["a"])),
        ({"a": ["postgresql", "disk"]}, ("recover_database", ["a"])),
        ({"a": ["application"], "b": ["application"]}, ("restart_service", ["a", "b"])),
        ({"a": ["redis", "application"], "b": ["application"]}, ("recover_all", ["a", "b"])),
        ({"a": ["disk", "http", "balancer"]}, ("", [])),
        ({"c": ["redis"]}, ("", [])),
        ({"b": ["redis", "application"], "c": ["redis"]}, ("restart_service", ["b"])),
    ],
)
def test_what_is_sick_names_the_playbook_that_acts_on_it_for_the_hosts_of_its_group(sick: t.Any, expected: t.Any) -> None:
    groups = {"redis": ["a"], "postgresql": ["a"], "somabrain_api": ["a", "b"], "all": ["a", "b", "c"]}
    assert derived.repair_of(sick, groups) == expected


@pytest.mark.parametrize(
    ("kinds", "groups", "missing"),
    [
        (["application", "disk"], {"redis_servers": ["a"], "somabrain_api": ["a"]}, "redis, postgresql"),
        (["redis", "postgresql", "application"], {}, ""),
        (["application"], {"redis": ["a"], "postgresql": ["a"]}, ""),
    ],
)
def test_what_nobody_looked_at_because_no_host_is_in_its_group_is_said(kinds: list[str], groups: t.Any, missing: str) -> None:
    said = derived.not_looked_at(kinds, groups)
    assert said == (f"not looked at, since no host is in the group: {missing}" if missing else "")
