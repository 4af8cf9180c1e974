# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which logs, metrics, files and projects follow from the checks of a host."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.look.places import asked_of, places_of

REDIS = {"name": "redis", "kind": "redis", "log_file": "/l/redis.log", "config_file": "/e/redis.conf"}
API = {"name": "api", "kind": "application", "manager": "systemd", "service": "brain", "url": "http://127.0.0.1:9696/health"}


@pytest.mark.parametrize(
    ("check", "log_file", "service"),
    [
        (REDIS, "/l/redis.log", {}),
        (dict(REDIS, log_file="", service={"manager": "systemd", "name": "redis"}), "", {"manager": "systemd", "name": "redis"}),
        (dict(REDIS, log_file="", service={"manager": "", "name": "redis"}), "", {}),
        (API, "", {"manager": "systemd", "name": "brain"}),
        (dict(API, log_file="/l/api.out"), "/l/api.out", {"manager": "systemd", "name": "brain"}),
        (
            dict(API, manager="compose", project="p", docker_socket="unix:///d"),
            "",
            {"manager": "compose", "name": "brain", "project": "p", "docker_socket": "unix:///d"},
        ),
    ],
)
def test_the_log_of_a_component_is_its_file_and_what_its_manager_kept(check: dict[str, t.Any], log_file: str, service: t.Any) -> None:
    (log,) = places_of([check])["logs"]
    assert (log["name"], log["log_file"], log["service"]) == (check["name"], log_file, service)


def test_a_check_of_the_unit_of_a_store_has_the_log_of_the_store() -> None:
    unit = {"name": "unit", "kind": "service", "manager": "systemd", "service": "redis"}
    store = dict(REDIS, log_file="", service={"manager": "systemd", "name": "redis"})
    assert [one["name"] for one in places_of([store, unit])["logs"]] == ["redis"]
    assert [one["name"] for one in places_of([store, dict(unit, service="other")])["logs"]] == ["redis", "unit"]


def test_two_checks_of_one_store_have_the_log_that_one_of_them_names_and_a_store_elsewhere_has_none_here() -> None:
    plain = {"name": "mine", "kind": "postgresql", "host": "127.0.0.1", "port": 5433}
    deep = {"name": "postgresql", "kind": "postgresql", "host": "/run/pg", "port": 5433, "log_file": "/l/pg.log"}
    (log,) = places_of([plain, deep])["logs"]
    assert (log["name"], log["log_file"]) == ("postgresql", "/l/pg.log")
    assert [one["name"] for one in places_of([plain, dict(deep, port=5434)])["logs"]] == ["mine", "postgresql"]
    assert places_of([dict(plain, host="db7")])["logs"] == []


def test_what_has_no_log_gives_none_and_a_person_adds_what_is_missing() -> None:
    assert places_of([{"name": "disk", "kind": "disk"}, {"name": "web", "kind": "http", "url": "http://a/"}, "nothing"])["logs"] == []
    own = [{"name": "proxy", "log_file": "/l/proxy.log"}, {"name": "worker", "manager": "supervisor", "supervisor_url": "unix:///s"}, 7]
    logs = places_of([], own)["logs"]
    assert [(one["name"], one["log_file"], one["service"]) for one in logs] == [
        ("proxy", "/l/proxy.log", {}),
        ("worker", "", {"manager": "supervisor", "supervisor_url": "unix:///s", "name": "worker"}),
    ]


@pytest.mark.parametrize(
    ("profile", "given", "url"),
    [
        ("v1_health", "", "http://127.0.0.1:9696/metrics"),
        ("v2_health", "", "http://127.0.0.1:9696/api/health/metrics"),
        ("none", "", "http://127.0.0.1:9696/metrics"),
        ("v1_health", "https://m:1/x", "https://m:1/x"),
    ],
)
def test_metrics_are_where_the_health_endpoint_is_or_where_a_person_says(profile: str, given: str, url: str) -> None:
    (place,) = places_of([dict(API, profile=profile, token_file="/t", tenant="ops"), REDIS], (), given)["metrics"]
    assert place == {"name": "api", "url": url, "token_file": "/t", "ca_file": "", "tenant": "ops"}


def test_files_projects_and_releases_follow_from_the_checks() -> None:
    api = dict(API, manager="compose", project="p", releases={"dir": "/r", "link": "/current"})
    places = places_of([REDIS, api, dict(api, name="other")])
    assert places["files"] == [{"name": "redis", "path": "/e/redis.conf"}]
    assert places["projects"] == [{"project": "p", "docker_socket": ""}]
    assert {one["path"] for one in places["releases"]} == {"/current"}


def test_what_was_asked_is_named_without_credentials() -> None:
    store = dict(REDIS, service={"manager": "systemd", "name": "redis"}, port=6390, password="hush")
    web = {"kind": "http", "url": "http://me:hush@a/x", "name": "web"}
    assert asked_of([store, API, web, "nothing"]) == [
        {"kind": "redis", "port": 6390, "service": {"manager": "systemd", "name": "redis"}, "name": "redis"},
        {"kind": "application", "url": API["url"], "manager": "systemd", "service": "brain", "name": "api"},
        {"kind": "http", "url": "http://[redacted]@a/x", "name": "web"},
    ]
