# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a service is rolled back, and to what, by what was seen and by what once passed verification."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.rollback import (
    has_database,
    judge_record,
    judge_rollback,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.catalogue import REASONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refusal
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import rollback_plan

OLD, GOOD, BAD = ("a" * 64, "b" * 64, "c" * 64)
HEADS = {"alembic": ["0009"]}
CONFIG = {"commit": "1" * 40, "tree": "t1", "branch": "main"}


def found(health: str, state: str, text: str = "what was seen", **facts: t.Any) -> dict[str, t.Any]:
    return {"health": health, "state": state, "findings": [{"name": "x", "state": health, "text": text}], "facts": facts}


def release(running: str = BAD, health: str = "well", **facts: t.Any) -> dict[str, t.Any]:
    there = {"there": True, "intact": True, "names": [], "detail": ""}
    known = dict.fromkeys((OLD, GOOD, BAD), there)
    given = {"running": running, "selected": running, "names": [], "known": known, "named": {}, "migrations": "", "reference": "", **facts}
    return found(health, "known", **given)


def configuration(state: str = "clean", health: str = "well", **facts: t.Any) -> dict[str, t.Any]:
    return found(health, state, **{"commit": "2" * 40, "tree": "t2", "changed_count": 0, "changed": [], "drift_sha256": "", **facts})


def seen(application: dict[str, t.Any] | None = None, **checks: t.Any) -> dict[str, t.Any]:
    return {"application": application or found("sick", "erroring"), "release": release(), **checks}


def records(*releases: str, **more: t.Any) -> dict[str, t.Any]:
    """Return what the ledger has: the first is the newest."""
    return {
        f"release:{one}": {
            "release": one,
            "names": [],
            "at": 100.0 - place,
            "run_id": "r",
            "migrations": HEADS,
            "configuration": CONFIG,
            **more,
        }
        for place, one in enumerate(releases)
    }


def heads(now: dict[str, t.Any] | None = None, health: str = "well") -> dict[str, t.Any]:
    return found(health, "known", heads=HEADS if now is None else now)


WELL = found("well", "up")
CHANGED = {GOOD: {"there": True, "intact": False, "detail": "changed"}}
CASES: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], dict[str, t.Any], str]] = {
    # name: (checks, verified, wanted, state)
    "a bad release goes back to the newest verified one": (seen(), records(GOOD, OLD), {}, "to_roll_back"),
    "what passed verification, and is well, stays": (seen(WELL, release=release(GOOD)), records(GOOD, OLD), {}, "verified"),
    "what passed verification is left alone": (seen(release=release(GOOD)), records(GOOD, OLD), {}, "same_release"),
    "what passed verification, and its configuration is broken": (
        seen(found("sick", "bad_config"), release=release(GOOD)), records(GOOD, OLD), {}, "bad_config"),
    "even when that is asked for": (seen(release=release(GOOD)), records(GOOD, OLD), {"what": "application"}, "same_release"),
    "silent once, which a release that is well may be": (seen(found("sick", "unsteady")), records(GOOD, OLD), {}, "unsteady"),
    "late, which a release that is well may be": (seen(found("sick", "slow")), records(GOOD, OLD), {}, "slow"),
    "silent once, and a person names the release": (seen(found("sick", "unsteady")), records(GOOD, OLD), {"release": GOOD}, "to_roll_back"),
    "silent once, and verified": (seen(found("sick", "unsteady"), release=release(GOOD)), records(GOOD, OLD), {}, "same_release"),
    "a person may name another one": (seen(release=release(GOOD)), records(GOOD, OLD), {"release": OLD}, "to_roll_back"),
    "by the beginning of its id": (seen(), records(GOOD, OLD), {"release": OLD[:8]}, "to_roll_back"),
    "but not by fewer digits": (seen(), records(GOOD, OLD), {"release": OLD[:7]}, "unknown_release"),
    "a well one that was never recorded is asked about": (seen(WELL), records(GOOD), {}, "not_asked"),
    "and goes back when that is named": (seen(WELL), records(GOOD), {"release": GOOD}, "to_roll_back"),
    "nothing was ever recorded": (seen(), {}, {}, "no_verified_release"),
    "other things were recorded": (seen(), {"application": {"restarts": 1}}, {}, "no_verified_release"),
    "never verified": (seen(), records(GOOD), {"release": OLD}, "unknown_release"),
    "there, but never verified": (seen(release=release(named={OLD: OLD})), records(GOOD), {"release": OLD}, "never_verified"),
    "a tag that means another one now": (
        seen(release=release(named={"api:1": BAD})), records(GOOD, names=["api:1"]), {"release": "api:1"}, "tag_moved"
    ),
    "a tag that means the same": (
        seen(release=release(named={"api:1": GOOD})), records(GOOD, names=["api:1"]), {"release": "api:1"}, "to_roll_back"
    ),
    "a tag that is gone, and was recorded": (
        seen(release=release(named={"api:1": ""})), records(GOOD, names=["api:1"]), {"release": "api:1"}, "to_roll_back"
    ),
    "gone from the target": (
        seen(release=release(known={GOOD: {"there": False, "intact": None, "detail": "gone"}})), records(GOOD), {}, "release_missing"
    ),
    "changed on the target": (
        seen(release=release(known={GOOD: {"there": True, "intact": False, "detail": "changed"}})), records(GOOD), {}, "release_altered"
    ),
    "too large to be read in time": (
        seen(release=release(known={GOOD: {"there": True, "intact": None, "detail": "slow"}})), records(GOOD), {}, "release_unknown"
    ),
    "in a cluster nobody can tell": (
        seen(release=release(known={GOOD: {"there": None, "intact": None, "detail": ""}})), records(GOOD), {}, "to_roll_back"
    ),
    "which release runs is unknown": (seen(release=release("", health="unknown")), records(GOOD), {}, "release_unknown"),
    "what it stands on comes first": (seen(found("sick", "dependency_down")), records(GOOD), {"release": GOOD}, "dependency_down"),
    "a store has no releases here": (seen(found("unknown", "stateful")), records(GOOD), {"release": GOOD}, "stateful"),
    "nobody knows the name": (
        seen(found("unknown", "unknown_service"), release=release("", health="unknown")), records(GOOD), {}, "unknown_service"
    ),
    "a removed container is brought back": (
        seen(found("unknown", "unknown_service"), release=release(BAD)), records(GOOD), {}, "to_roll_back"
    ),
    "unknown is not acted on": (seen(found("unknown", "starting")), records(GOOD), {}, "starting"),
    "unless a person names the release": (seen(found("unknown", "starting")), records(GOOD), {"release": GOOD}, "to_roll_back"),
    "Compose could not make its container anew": (
        seen(release=release(project={"problem": "it cannot read them"})), records(GOOD), {}, "not_selectable"),
    "which is no matter of its configuration alone": (
        seen(release=release(GOOD, project={"problem": "x"}), configuration=configuration()), records(GOOD), {"what": "both"},
        "to_roll_back"),
    "a container that would be configured otherwise is told": (
        seen(release=release(project={"problem": "", "differs": ["+A"]})), records(GOOD), {}, "to_roll_back"),
    "several containers are not one": (seen(found("unknown", "several"), release=release("")), records(GOOD), {}, "several"),
    "its manager would not start it again": (seen(found("sick", "hung", barred="it is masked")), records(GOOD), {}, "not_startable"),
    "not even a named release": (seen(found("well", "up", barred="it is masked")), records(GOOD), {"release": GOOD}, "not_startable"),
    "which is no matter of what stays": (
        seen(found("well", "up", barred="it is masked"), release=release(GOOD)), records(GOOD), {}, "verified"),
    "a container gets its network anew": (
        seen(found("sick", "not_startable", barred="no network", manager="compose")), records(GOOD), {}, "to_roll_back"),
    "the database is another's": (seen(), records(GOOD), {"what": "database"}, "database"),
    "the same schema": (seen(migrations=heads()), records(GOOD), {}, "to_roll_back"),
    "a migration since": (seen(migrations=heads({"alembic": ["0010"]})), records(GOOD), {}, "irreversible_migration"),
    "that its release calls reversible": (
        seen(migrations=heads({"alembic": ["0010"]}), release=release(migrations="reversible")), records(GOOD), {}, "to_roll_back"
    ),
    "a word that is none": (
        seen(migrations=heads({"alembic": ["0010"]}), release=release(migrations="yes")), records(GOOD), {}, "irreversible_migration"
    ),
    "a schema that cannot be read": (seen(migrations=heads(health="unknown")), records(GOOD), {}, "migrations_unknown"),
    "a schema that was not recorded": (seen(migrations=heads()), records(GOOD, migrations=None), {}, "migrations_unknown"),
    "a database that has lost its tables": (seen(migrations=heads({})), records(GOOD), {}, "migrations_unknown"),
    "a database that never had them": (seen(migrations=heads({})), records(GOOD, migrations={}), {}, "to_roll_back"),
    "a restore goes on": (seen(), records(GOOD), {"beside": [{"component": "postgresql"}]}, "restore_pending"),
    "another component's run does not matter": (seen(), records(GOOD), {"beside": [{"component": "redis"}]}, "to_roll_back"),
    "its configuration was changed since": (
        seen(release=release(GOOD), configuration=configuration()), records(GOOD), {}, "to_roll_back"
    ),
    "the same content under another commit is no difference": (
        seen(release=release(GOOD), configuration=configuration(tree="t1")), records(GOOD), {}, "same_release"
    ),
    "nobody committed it": (
        seen(release=release(GOOD), configuration=configuration("drifted", tree="t1", changed_count=1)), records(GOOD), {}, "to_roll_back"
    ),
    "well all the same": (seen(WELL, release=release(GOOD), configuration=configuration()), records(GOOD), {}, "not_asked"),
    "detached": (seen(configuration=configuration("detached", "unknown")), records(GOOD), {}, "configuration_detached"),
    "in the middle of a merge": (seen(configuration=configuration("unfinished", "unknown")), records(GOOD), {}, "configuration_unfinished"),
    "no configuration is known": (seen(), records(GOOD), {"what": "configuration"}, "no_configuration"),
    "none was recorded": (seen(configuration=configuration()), records(GOOD, configuration=None), {"what": "both"}, "no_configuration"),
    "where none was recorded the release goes back alone": (
        seen(configuration=configuration()), records(GOOD, configuration=None), {}, "to_roll_back"
    ),
    "a link that leads elsewhere than to the verified one that runs": (
        seen(WELL, release=release(GOOD, selected=BAD)), records(GOOD), {}, "not_selected"),
    "which is sick, and is started anew": (seen(release=release(GOOD, selected=BAD)), records(GOOD), {}, "to_roll_back"),
    "which is not to be touched": (
        seen(WELL, release=release(GOOD, selected=BAD), configuration=configuration(tree="t1")), records(GOOD),
        {"what": "configuration"}, "verified"),
    "and is gone from its place": (
        seen(WELL, release=release(GOOD, selected=BAD, known={GOOD: {"there": False, "detail": "gone"}})), records(GOOD), {},
        "release_missing"),
    "well, but its files were changed since": (seen(WELL, release=release(GOOD, known=CHANGED)), records(GOOD, OLD), {}, "release_altered"),
    "sick, and its files were changed since": (seen(release=release(GOOD, known=CHANGED)), records(GOOD, OLD), {}, "release_altered"),
    "its files were changed since, and another one is named": (
        seen(release=release(GOOD, known=CHANGED)), records(GOOD, OLD), {"release": OLD}, "to_roll_back"),
    "its files were changed since, as its configuration was": (
        seen(release=release(GOOD, known=CHANGED), configuration=configuration()), records(GOOD), {}, "release_altered"),
    "well, and its files were removed under it": (
        seen(WELL, release=release(GOOD, known={GOOD: {"there": False, "detail": "gone"}})), records(GOOD), {}, "release_missing"),
    "well, and its files could not be read in time": (
        seen(WELL, release=release(GOOD, known={GOOD: {"there": True, "intact": None, "detail": "slow"}})), records(GOOD), {},
        "release_unknown"),
    "well, and its schema cannot be read": (
        seen(WELL, release=release(GOOD), migrations=heads(health="unknown")), records(GOOD), {}, "migrations_unknown"),
    "a clone without the commit": (
        seen(configuration=configuration(returns={"1" * 40: "its clone is shallow"})), records(GOOD), {}, "configuration_unfit"),
    "whose configuration is as it was": (
        seen(configuration=configuration(tree="t1", returns={"1" * 40: "x"})), records(GOOD), {}, "to_roll_back"),
    "another owner's": (seen(configuration=configuration("unknown", "unknown")), records(GOOD), {}, "configuration_unknown"),
    "on no branch, but as it was": (seen(configuration=configuration("detached", tree="t1")), records(GOOD), {}, "to_roll_back"),
    "the only verified one runs": (seen(release=release(GOOD)), records(GOOD), {"what": "both"}, "no_configuration"),
}  # fmt: skip


@pytest.mark.parametrize(("checks", "verified", "wanted", "state"), CASES.values(), ids=list(CASES))
def test_the_first_rule_that_holds_decides(checks: t.Any, verified: t.Any, wanted: t.Any, state: str) -> None:
    verdict = judge_rollback(checks, verified, wanted)
    assert verdict.word == state, verdict.text
    assert bool(verdict.plan) is (state in ("to_roll_back", "not_selected"))
    assert (verdict.health == "well") is (state == "verified")
    assert verdict.text


@pytest.mark.parametrize(
    ("manager", "reference", "told"), [("compose", "shop:live", True), ("compose", f"shop@{GOOD}", False), ("systemd", "shop:live", False)]
)
def test_a_container_that_is_gone_is_not_made_again_of_a_bad_tag(manager: str, reference: str, told: bool) -> None:
    gone = dict(found("unknown", "unknown_service", manager=manager), findings=[{"name": "a", "state": "unknown", "text": "no container"}])
    verdict = judge_rollback(seen(gone, release=release("", health="unknown")), records(GOOD, reference=reference), {})
    assert (verdict.word, f"docker tag {GOOD} shop:live" in verdict.text) == ("unknown_service", told), verdict.text


def test_what_the_next_start_would_take_is_selected_without_a_restart() -> None:
    well = judge_rollback(seen(WELL, release=release(GOOD, selected=BAD)), records(GOOD), {})
    assert (well.plan["actions"], well.plan["application"], well.plan["selected"]) == (["select"], False, BAD)
    assert f"the next start would take {BAD[:12]}" in well.text
    boxed = {**WELL, "facts": {"manager": "compose"}}
    assert (
        f"the next container would take {BAD[:12]}"
        in judge_rollback(seen(boxed, release=release(GOOD, selected=BAD)), records(GOOD), {}).text
    )
    sick = judge_rollback(seen(release=release(GOOD, selected=BAD)), records(GOOD), {}).plan
    assert (sick["actions"], sick["application"], sick["release"]) == (["switch"], True, GOOD)


def test_that_clients_notice_is_said_where_they_do() -> None:
    def says(state: str, manager: str) -> bool:
        return "requests fail" in judge_rollback(seen(found("sick", state, manager=manager)), records(GOOD), {}).text

    told = {one: says(*one) for one in (("erroring", "systemd"), ("erroring", "kubernetes"), ("exit_loop", "systemd"), ("hung", "compose"))}
    assert list(told.values()) == [True, False, False, True]


MATCHES: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], str]] = {
    "the release alone": ({}, {}, "release matches what passed verification (bbbbbbbbbbbb)"),
    "all of it": (
        {"configuration": configuration(tree="t1"), "migrations": heads()}, {},
        "release, configuration and schema match what passed verification (bbbbbbbbbbbb)"),
    "a schema that was migrated since": (
        {"migrations": heads({"alembic": ["0010"]})}, {}, "another one than at its verification (now 0010, then 0009)"),
    "a schema that nobody looked at": ({}, {"has_database": True}, "the schema of its database was not looked at"),
    "a database without the tables": (
        {"migrations": heads({})}, {}, "its schema is unknown: the database of rollback_database has no table"),
}  # fmt: skip


@pytest.mark.parametrize(("checks", "wanted", "text"), MATCHES.values(), ids=list(MATCHES))
def test_only_what_was_looked_at_is_said_to_match(checks: dict[str, t.Any], wanted: dict[str, t.Any], text: str) -> None:
    verdict = judge_rollback(seen(WELL, release=release(GOOD), **checks), records(GOOD), wanted)
    assert (verdict.word, text in verdict.text) == ("verified", True), verdict.text


def test_a_schema_that_was_not_looked_at_is_told_before_a_release_goes_back() -> None:
    plan = judge_rollback(seen(), records(GOOD), {"has_database": True}).plan
    assert len(plan["unknown"]) == 1
    assert plan["unknown"][0] in plan["text"]
    told = [judge_rollback(one, records(GOOD), {"has_database": has}).plan["unknown"] for one, has in (
        (seen(), False), (seen(migrations=heads()), True), (seen(release=release(migrations="reversible")), True),
    )]  # fmt: skip
    assert told == [[], [], []]
    [without] = judge_rollback(seen(migrations=heads({})), records(GOOD, migrations={}), {}).plan["unknown"]
    assert "has no table of Alembic or Django" in without
    recorded = judge_record(seen(WELL, release=release(GOOD), migrations=heads({})))
    assert (recorded.word, "its schema is unknown" in recorded.text) == ("verified", True)


@pytest.mark.parametrize(
    ("dependency", "has"),
    [
        ({"kind": "postgresql", "name": "db"}, True), ({"kind": "tcp", "name": "postgres"}, True), ({"kind": "tcp", "port": 5432}, True),
        ({"kind": "redis", "name": "redis"}, False), ({"kind": "http", "name": "long_term_memory", "port": 9595}, False),
    ],
)  # fmt: skip
def test_a_database_among_what_it_stands_on_is_recognised(dependency: dict[str, t.Any], has: bool) -> None:
    assert has_database([dependency]) is has


NEXT: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], dict[str, t.Any], str]] = {
    "a well one with nothing in the ledger": (seen(WELL), {}, {}, "{record_release}"),
    "a sick one with nothing in the ledger, which would not be recorded": (seen(), {}, {}, "{verify}"),
    "a well one that was never recorded": (seen(WELL), records(GOOD), {}, f"{{again}} -e rollback_release={GOOD[:12]}"),
    "only its configuration differs": (
        seen(WELL, release=release(GOOD), configuration=configuration()), records(GOOD), {}, "{again} -e rollback_what=configuration"),
    "a tag that moved": (
        seen(release=release(named={"api:1": BAD})), records(OLD, names=["api:1"]), {"release": "api:1"},
        f"{{again}} -e rollback_release={OLD[:12]}"),
    "one that is gone": (
        seen(release=release(known={GOOD: {"there": False, "detail": "gone"}})), records(GOOD, OLD), {},
        f"{{again}} -e rollback_release={OLD[:12]}"),
    "the only one, and it is gone": (
        seen(release=release(known={GOOD: {"there": False, "detail": "gone"}})), records(GOOD), {}, ""),
    "one whose files were changed": (
        seen(release=release(GOOD, known=CHANGED)), records(GOOD, OLD), {}, f"{{again}} -e rollback_release={OLD[:12]}"),
    "a word that means nothing": (seen(), records(GOOD), {"release": "nope"}, f"{{again}} -e rollback_release={GOOD[:12]}"),
}  # fmt: skip


@pytest.mark.parametrize(("checks", "verified", "wanted", "command"), NEXT.values(), ids=list(NEXT))
def test_the_next_command_names_the_release_that_the_ledger_knows(checks: t.Any, verified: t.Any, wanted: t.Any, command: str) -> None:
    assert judge_rollback(checks, verified, wanted).next == command


def test_a_cluster_is_told_the_digest_in_the_repository_that_it_came_from() -> None:
    good, bad = (f"sha256:{letter * 64}" for letter in "bc")
    checks = seen(release=release(bad, reference="other/api:2"))
    plan = judge_rollback(checks, records(good, reference="shop/api:1"), {"release": good}).plan
    assert (plan["image"], plan["image_before"]) == (f"shop/api@{good}", f"other/api@{bad}")
    never = judge_rollback(seen(release=release("shop/bad:2", reference="shop/bad:2")), records(good, reference="shop/api:1"), {}).plan
    assert never["image_before"] == "shop/bad:2"


def test_a_deployment_goes_back_by_the_revision_that_serves_where_no_new_pod_fits() -> None:
    serving = {"set": "api-one", "revision": "1", "ready": 2, "digest": GOOD, "image": "shop/api:1", "differs": ["env of container main"],
               "full": []}  # fmt: skip
    given = {"new_first": True, "full": ["quota small"], "quotas_hidden": False, "revision": "2", "set": "api-two", "serving": [serving]}
    plan = judge_rollback(seen(release=release(rollout=given)), records(GOOD), {}).plan
    assert (plan["set"], plan["set_before"], plan["revision_before"]) == ("api-one", "api-two", "2")
    assert plan["differs"] == ["env of container main"]
    assert "that revision gives its pods other settings than it has: env of container main" in plan["text"]
    stuck = judge_rollback(seen(release=release(rollout={**given, "serving": []})), records(GOOD), {})
    assert (stuck.word, "quota small" in stuck.text) == ("no_room", True)


def test_a_container_that_would_be_configured_otherwise_is_told_and_asked_about() -> None:
    checks = seen(release=release(project={"src": "/srv/shop", "problem": "", "differs": ["+A", "~B"]}))
    plan = judge_rollback(checks, records(GOOD), {}).plan
    assert (plan["differs"], plan["project_src"], "other settings than it has: +A, ~B" in plan["text"]) == (["+A", "~B"], "/srv/shop", True)
    assert judge_rollback(seen(), records(GOOD), {}).plan["differs"] == []


def test_the_plan_says_what_goes_where() -> None:
    drifted = configuration("drifted", changed_count=2, drift_sha256="d")
    plan = judge_rollback(seen(configuration=drifted), records(GOOD), {}).plan
    assert (plan["application"], plan["release"], plan["current"], plan["actions"]) == (True, GOOD, BAD, ["configure", "switch"])
    assert plan["configuration"]["commit"] == "1" * 40
    assert plan["configuration"]["drift"]["drift_sha256"] == "d"
    assert "uncommitted changes to 2 files are kept as a patch" in plan["text"]
    only = judge_rollback(seen(configuration=configuration()), records(GOOD), {"what": "configuration"}).plan
    # The configuration alone: the same release is started on it.
    assert (only["application"], only["release"], only["actions"]) == (False, BAD, ["configure", "switch"])
    alone = judge_rollback(seen(configuration=drifted), records(GOOD), {"what": "application"}).plan
    assert (alone["configuration"], alone["actions"]) == ({}, ["switch"])


RECORDS: dict[str, tuple[dict[str, t.Any], str]] = {
    "all is well": (seen(WELL, release=release(GOOD), configuration=configuration(), migrations=heads()), "verified"),
    "it is sick": (seen(release=release(GOOD)), "not_well"),
    "it may be well": (seen(found("unknown", "starting"), release=release(GOOD)), "not_well"),
    "the next start takes another": (seen(WELL, release=release(GOOD, selected=BAD)), "not_selected"),
    "its files were changed": (
        seen(WELL, release=dict(release(GOOD, health="sick", known=CHANGED), state="altered")), "release_altered"),
    "nobody committed its configuration": (seen(WELL, release=release(GOOD), configuration=configuration("drifted", changed_count=1)),
                                           "configuration_drifted"),
    "on no branch": (seen(WELL, release=release(GOOD), configuration=configuration("detached")), "configuration_detached"),
    "its schema cannot be read": (seen(WELL, release=release(GOOD), migrations=heads(health="unknown")), "not_well"),
}  # fmt: skip


@pytest.mark.parametrize(("checks", "state"), RECORDS.values(), ids=list(RECORDS))
def test_only_what_is_well_from_all_sides_is_recorded(checks: t.Any, state: str) -> None:
    assert judge_record(checks).word == state


def test_what_is_not_well_is_named_and_told_by_its_own_check_alone() -> None:
    judged = judge_record(seen(release=release(GOOD)))
    assert (judged.text, judged.next) == ("only a well release is recorded, and the application is sick", "")
    unknown = judge_record(seen(WELL, release=dict(release(GOOD), health="unknown")))
    assert (unknown.word, unknown.next) == ("not_well", "{check_access}")


def test_where_a_restart_did_not_help_either_another_verified_release_is_named() -> None:
    told = judge_rollback(seen(release=release(GOOD)), records(GOOD, OLD), {})
    assert (told.word, told.text.endswith(f"name another verified one: -e rollback_release={OLD[:12]}")) == ("same_release", True)
    assert "another" not in judge_rollback(seen(release=release(GOOD)), records(GOOD), {}).text


ALONE = ", says its manager alone (service_restart_url is empty)"
JUDGED_BY: dict[str, tuple[dict[str, t.Any], str]] = {
    "its manager": ({}, f"is well{ALONE}"),
    "the status of its answer": ({"status": 200}, "is well, by the status of its answer alone (profile none, without gates)"),
    "its answer": ({"status": 200, "profile": "v1_health"}, "is well"),
    "gates of one's own": ({"status": 200, "profile": "none"}, "is well"),
}


@pytest.mark.parametrize(("facts", "text"), JUDGED_BY.values(), ids=list(JUDGED_BY))
def test_what_calls_a_release_well_is_said_where_it_is_little(facts: dict[str, t.Any], text: str) -> None:
    assert judge_record(seen(found("well", "up", **facts), release=release(GOOD))).text == f"release {GOOD[:12]} {text}"


def looked(health: str, checks: dict[str, t.Any]) -> dict[str, t.Any]:
    listed = [dict(check, name=name, kind=name) for name, check in seen(**checks).items()]
    return {
        "health": health,
        "state": "up",
        "subject": "application",
        "checks": listed,
        "say": ["seen"],
        "passes": 3,
        "proven": True,
        "looks": 3,
    }


def planned(looks: dict[str, t.Any], check: bool = False, **given: t.Any) -> dict[str, t.Any]:
    ready = {name: rule.get("default") for name, rule in rollback_plan.ARGUMENT_SPEC.items()}
    return rollback_plan.run({**ready, "seen": looks, "manager": "systemd", **given}, check)


def test_what_is_kept_as_verified_is_only_what_was_well() -> None:
    checks = {"application": WELL, "release": release(GOOD, names=["1.2"]), "configuration": configuration(), "migrations": heads()}
    record = planned(looked("well", checks), purpose="prove")["facts"]["record"]
    assert (record["release"], record["names"], record["migrations"]) == (GOOD, ["1.2"], HEADS)
    assert record["configuration"] == {"commit": "2" * 40, "tree": "t2", "branch": None, "rights": None}
    assert planned(looked("unknown", checks), purpose="prove")["facts"]["record"] == {}


def test_a_rehearsal_says_that_it_would_record() -> None:
    looks = looked("well", {"application": WELL, "release": release(GOOD)})
    said = [planned(looks, check, purpose="record")["say"] for check in (False, True)]
    assert said == [[f"release {GOOD[:12]} is well{ALONE}; it {word} recorded as verified"] for word in ("is", "would be")]


def test_after_an_act_the_look_is_handed_on_as_it_was() -> None:
    result = planned(looked("well", {"application": WELL, "release": release(GOOD)}), purpose="prove")
    assert (result["health"], result["state"], result["subject"], result["passes"], result["actions"]) == (
        "well",
        "up",
        "application",
        3,
        [],
    )
    decided = planned(looked("sick", {}), verified=records(GOOD))
    assert (decided["health"], decided["state"], decided["subject"], decided["actions"]) == ("sick", "to_roll_back", "rollback", ["switch"])
    assert decided["checks"][-1]["name"] == "rollback"


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        ("erroring", "exit_loop", True), ("degraded", "hung", True), ("hung", "crashed", True), ("rollout_stuck", "unknown_service", True),
        ("exit_loop", "erroring", False), ("erroring", "degraded", False), ("hung", "hung", False), ("stopped", "stopped", False),
        # Something else is down, or nobody can tell: that says nothing of the release.
        ("erroring", "dependency_down", False), ("up", "manager_unreachable", False), ("", "crashed", False),
    ],
)  # fmt: skip
def test_one_return_leads_only_to_what_was_better(before: str, after: str, worse: bool) -> None:
    looks = looked("sick", {"application": found("sick", after), "release": release()})
    assert planned(looks, purpose="prove", before=before)["facts"]["worse"] is worse


def test_a_look_that_lacks_a_side_is_refused() -> None:
    with pytest.raises(StepError, match="application and release"):
        planned({"checks": [], "health": "well"})


def test_every_refusal_of_the_role_has_a_code() -> None:
    import yaml

    for role in ("rollback", "release_record"):
        text = (_root() / f"roles/{role}/vars/main.yml").read_text()
        told = yaml.safe_load(text)[f"__{role}_refusals"]
        assert {refusal(one)["code"] for one in told.values()} <= set(REASONS)
        # What is refused for what was seen of the application itself, or unknown, has its own words.
    words = {case[3] for case in CASES.values()} - {
        "to_roll_back",
        "not_selected",
        "verified",
        "release_unknown",
        "migrations_unknown",
        "starting",
    }
    assert words <= set(yaml.safe_load((_root() / "roles/rollback/vars/main.yml").read_text())["__rollback_refusals"])


def _root() -> t.Any:
    from pathlib import Path

    return Path(__file__).resolve().parents[3]
