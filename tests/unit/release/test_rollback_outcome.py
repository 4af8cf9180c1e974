# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollback looks at, keeps and tells for its undo: tables of what the role gives its tasks."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._release import outcome

GIVEN: dict[str, t.Any] = {
    **dict.fromkeys(outcome.PASSED, ""), "stage": "assess", "purpose": "roll_back", "release": "", "manager": "systemd",
    "repository": "", "path": ".", "rescue_dir": "/r", "database": {},
}  # fmt: skip
PLAN = {"release": "b" * 64, "configuration": {"commit": "1" * 40}}
LEDGER: dict[str, t.Any] = {f"release:{number}": {"release": str(number), "at": number} for number in (3, 9, 1, 7, 5, 2)}
LEDGER["application"] = {"restarts": 1}


def release(given: dict[str, t.Any], plan: t.Mapping[str, t.Any] | None = None) -> dict[str, t.Any]:
    return outcome.checks_of({**GIVEN, **given}, PLAN if plan is None else plan, LEDGER, {})[0]


RELEASE: dict[str, tuple[dict[str, t.Any], dict[str, t.Any]]] = {
    "the first look": ({}, {"read_project": True, "ids": ["9", "7", "5", "3", "2"], "words": [], "wanted": ""}),
    "the first look to record": ({"purpose": "record"}, {"read_project": False, "ids": ["9", "7", "5", "3", "2"]}),
    "a release by name": ({"release": "v1"}, {"words": ["v1"]}),
    "while acting": ({"stage": "act"}, {"read_project": False, "ids": [], "wanted": "b" * 64}),
    "afterwards": ({"stage": "verify"}, {"read_project": False, "ids": [], "wanted": "b" * 64}),
    "after a failure": ({"stage": "undo"}, {"read_project": False, "ids": [], "wanted": ""}),
}


@pytest.mark.parametrize(("given", "expected"), RELEASE.values(), ids=list(RELEASE))
def test_the_release_is_wanted_only_once_a_plan_is_carried_out(given: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    check = release(given)
    assert {key: check[key] for key in expected} == expected


def test_without_a_plan_nothing_is_wanted() -> None:
    assert release({"stage": "verify"}, {})["wanted"] == ""


def test_configuration_and_schema_are_looked_at_where_they_are_named() -> None:
    given = {**GIVEN, "stage": "act", "repository": "/etc/api", "database": {"host": "db", "timeout": 3}}
    _release, configuration, migrations = outcome.checks_of(given, PLAN, {}, {"project": "shop"})
    assert _release["project"] == "shop"
    assert (configuration["kind"], configuration["repository"], configuration["wanted"]) == ("configuration", "/etc/api", "1" * 40)
    assert migrations == {"name": "migrations", "kind": "migrations", "timeout": 3, "host": "db"}
    nowhere: tuple[dict[str, t.Any], ...] = ({}, {"configuration": None}, {"configuration": {}})
    for without in nowhere:
        assert outcome.checks_of(given, without, {}, {})[1]["wanted"] == ""
    assert len(outcome.checks_of(GIVEN, PLAN, {}, {})) == 1


def test_exactly_the_release_that_was_seen_well_is_kept() -> None:
    record = {"release": "abc", "names": []}
    assert outcome.verified_of(record, {"application": {}}) == {"release:abc": record, "application": {}}
    assert outcome.verified_of({}, {"application": {}}) == {}


def test_the_note_of_another_run_is_not_believed() -> None:
    noted = {"run_id": "r1", "plan": PLAN, "memory": "sick"}
    assert outcome.note_of(noted, "r1")["plan"] == PLAN
    assert outcome.note_of(noted, "r2") == {**outcome.BLANK, "run_id": "r2"}


NAMED = {
    "manager": "systemd", "name": "api", "releases_dir": "/srv/releases", "current": "/srv/current", "pin_file": "",
    "supervisor_url": "unix:///s", "workload_kind": "StatefulSet", "repository": "/etc/api",
    "switched": True, "made": "",
}  # fmt: skip
DONE: dict[str, t.Any] = {
    "release": "new", "current": "old", "selected": "old", "select": False, "application": True, "configuration": {},
    "project_src": "/srv/shop", "compose": "docker compose up",
}  # fmt: skip
REVERT = "git -c user.name=on-call -c user.email=on-call@localhost -C /etc/api revert --no-edit cccccccccccc"
LINK = "by hand: ln -sfn /srv/releases/old /srv/current && "


@pytest.mark.parametrize(
    ("manager", "expected"),
    [
        ("systemd", {"forward": "good", "back": "bad", "seconds": 50.0}),
        ("compose", {"forward": "good", "back": "bad", "seconds": 50.0}),
        ("kubernetes", {"forward": "shop@good", "back": "shop@bad", "seconds": 170.0}),
        ("unheard-of", {"forward": "good", "back": "bad", "seconds": 50.0}),
    ],
)
def test_a_switch_is_given_the_release_as_its_manager_names_it_and_the_time_that_it_takes(manager: str, expected: dict[str, t.Any]) -> None:
    plan = {"release": "good", "current": "bad", "image": "shop@good", "image_before": "shop@bad"}
    assert outcome.switch_of(plan, manager, 180.0, 30.0) == expected


UNDO: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], str]] = {
    "nothing planned": ({"release": ""}, {}, "nothing to put back"),
    "a unit": ({}, {}, LINK + "systemctl restart api"),
    "a program": ({}, {"manager": "supervisor"}, LINK + "supervisorctl -s unix:///s restart api"),
    "a container": (
        {}, {"manager": "compose"}, "by hand: sed -i s/new/old/ /srv/shop/compose.release.yml && docker compose up",
    ),
    "a container with a file of its own": (
        {}, {"manager": "compose", "pin_file": "/p 1.yml"}, "by hand: sed -i s/new/old/ '/p 1.yml' && docker compose up",
    ),
    "a workload": ({}, {"manager": "kubernetes"}, "by hand: kubectl rollout undo statefulset/api"),
    "a workload in its own cluster and namespace": (
        {"revision_before": "7"}, {"manager": "kubernetes", "context": "prod", "namespace": "shop", "kubeconfig": "/k"},
        "by hand: kubectl --kubeconfig /k --context prod --namespace shop rollout undo statefulset/api --to-revision=7",
    ),
    "a commit that was never made": ({"application": False, "configuration": {"commit": "1"}}, {}, "nothing to put back"),
    "the configuration alone": (
        {"application": False, "configuration": {"commit": "1", "owner": "soma"}}, {"made": "c" * 40},
        f"by hand: sudo -u soma {REVERT}; then run restart-service.yml",
    ),
    "both": ({"configuration": {"commit": "1"}}, {"made": "c" * 40}, f"by hand: {REVERT} && {LINK[9:]}systemctl restart api"),
    "the configuration, and no switch was begun": (
        {"configuration": {"commit": "1"}}, {"made": "c" * 40, "switched": False}, f"by hand: {REVERT}; then run restart-service.yml",
    ),
    "only what the next start takes": (
        {"application": False, "select": True, "selected": "other"}, {}, "by hand: ln -sfn /srv/releases/other /srv/current",
    ),
    "a pin for the next container": (
        {"application": False, "select": True, "selected": "other"}, {"manager": "compose"},
        "by hand: sed -i s/new/other/ /srv/shop/compose.release.yml",
    ),
    "a link that led elsewhere than to what ran": (
        {"select": True, "current": "new", "selected": "other"}, {},
        "by hand: ln -sfn /srv/releases/other /srv/current && systemctl restart api",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("plan", "named", "expected"), UNDO.values(), ids=list(UNDO))
def test_the_undo_is_a_command_a_person_can_run(plan: dict[str, t.Any], named: dict[str, t.Any], expected: str) -> None:
    assert outcome.undo_of({**DONE, **plan}, {**NAMED, **named}) == expected


@pytest.mark.parametrize(
    ("returned", "made"),
    [
        ({"changed": True, "before": {"commit": "1"}, "after": {"commit": "2"}}, "2"),
        ({"changed": True, "before": {"commit": "1"}, "after": {"commit": "1"}}, ""),
        ({"changed": False, "before": {"commit": "1"}, "after": {"commit": "1"}}, ""),
        ({}, ""),
    ],
)
def test_only_a_commit_that_was_made_can_be_reverted(returned: dict[str, t.Any], made: str) -> None:
    assert outcome.made_of(returned) == made


ASKS: dict[str, tuple[dict[str, t.Any], str, bool]] = {
    "nothing beside the release": ({}, "well", False),
    "no working memory": ({}, "none", False),
    "memories that nothing else keeps": ({}, "unknown", True),
    "uncommitted changes": ({"configuration": {"drift": {"changed_count": 1}}}, "none", True),
    "other settings": ({"differs": ["volume /data"]}, "none", True),
    "a schema that nobody looked at": ({"unknown": ["x"]}, "none", True),
}


@pytest.mark.parametrize(("plan", "memory", "asks"), ASKS.values(), ids=list(ASKS))
def test_what_changes_beside_the_release_or_may_be_lost_is_asked_about(plan: dict[str, t.Any], memory: str, asks: bool) -> None:
    assert outcome.asks_of(plan, memory, {"pid": 1}) is asks
    assert outcome.asks_of(plan, memory, {}) is (asks and memory != "unknown")


def test_what_only_the_next_start_takes_costs_no_memory() -> None:
    facts = {"long_term_memory": "sick"}
    taken = [
        outcome.memory_of({"facts": {**facts, "plan": {"actions": [act]}}, "identity": {"pid": 1}}, True) for act in ("select", "switch")
    ]
    assert taken == ["none", "sick"]


def test_the_commits_of_all_verified_releases_are_looked_for_before_one_is_chosen() -> None:
    ledger = {f"release:{n}": {"release": str(n), "at": n, "configuration": {"commit": str(n % 2)}} for n in range(5)}
    given = {**GIVEN, "repository": "/etc/api"}
    looked = [
        outcome.checks_of({**given, **more}, {}, ledger, {})[1]["commits"] for more in ({}, {"purpose": "record"}, {"stage": "verify"})
    ]
    assert looked == [["0", "1"], [], []]


def test_before_there_is_a_plan_there_is_nothing_to_put_back() -> None:
    assert outcome.undo_of({}, NAMED) == "nothing to put back"
