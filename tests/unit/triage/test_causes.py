# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen becomes components, each thing once; and findings, cause before symptom."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import causes, seen

NOW = 1_800_000_000.0
GROUPS = {"redis": ["h"], "postgresql": ["h"], "somabrain_api": ["h"], "memory_service": ["h"], "somabrain_balancer": []}
FROM_BELOW = ["dependency_down", "dependency_slow", "dependency_unknown", "degraded", "slow", "erroring", "error", "hung"]
FROM_OUTSIDE = ["down", "hung", "error", "degraded", "slow", "no_server_up"]
DEPENDS = {
    "api": [
        {
            "class": "api", "stands_on": "working_memory", "symptoms": FROM_BELOW, "where": "anywhere", "kinds": [],
            "suffers": "the API answers without working memory", "still_works": "recall from the long-term memory",
        },
        {"class": "api", "stands_on": "database", "symptoms": FROM_BELOW, "suffers": "the API cannot write", "still_works": ""},
        {"class": "api", "stands_on": "long_term_memory", "symptoms": FROM_BELOW, "suffers": "nothing new is kept"},
        {"class": "api", "stands_on": "host", "where": "same_host", "kinds": ["memory"], "symptoms": ["oom"], "suffers": "no memory"},
    ],
    "endpoint": [{"stands_on": group, "symptoms": FROM_OUTSIDE} for group in ("api", "working_memory", "long_term_memory")],
    "balancer": [{"stands_on": "api", "symptoms": FROM_OUTSIDE}],
    "working_memory": [{"stands_on": "host", "where": "same_host", "kinds": ["disk"], "symptoms": ["misconf_rdb"], "suffers": "no save"}],
}  # fmt: skip
HTTP = "http://127.0.0.1:9696/health"
ASKED = [
    {"name": "redis", "kind": "redis", "host": "127.0.0.1", "port": 6379, "service": {"manager": "supervisor", "name": "redis"}},
    {"name": "redis_program", "kind": "service", "service": "redis"},
    {"name": "postgres", "kind": "postgresql", "host": "127.0.0.1", "port": 5432},
    {"name": "postgresql", "kind": "postgresql", "host": "/run/lab", "port": "5432"},
    {"name": "api", "kind": "http", "url": "http://localhost:9696/health"},
    {"name": "somabrain", "kind": "application", "service": "api", "url": HTTP},
    {"name": "memory_service", "kind": "http", "url": "http://127.0.0.1:9595/health"},
]


def check(name: str, kind: str, health: str = "well", state: str = "", text: str = "", **more: t.Any) -> dict[str, t.Any]:
    findings = [{"name": "x", "state": health, "text": text or "%s is %s" % (name, health), "data": {}}]
    return {"name": name, "kind": kind, "health": health, "state": state, "findings": findings, "facts": {}, "seconds": 0.1, **more}


def app(health: str = "well", state: str = "up", **dependencies: str) -> dict[str, t.Any]:
    down = {name: word for name, word in dependencies.items() if word != "well"}
    text = "it depends on " + "; ".join("%s, which is %s: it hangs" % one for one in down.items()) if down else ""
    return check(
        "somabrain", "application", health, state, text, facts={"dependencies": dependencies, "hand_over": {}}, identity={"pid": 7}
    )


def look(*checks: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {"checks": list(checks), "asked": ASKED, "host": {"processes": []}, "at": NOW, "ledger": {"runs": []}, **more}


def components(*checks: dict[str, t.Any], **more: t.Any) -> list[dict[str, t.Any]]:
    return seen.components_of({"h": look(*checks, **more)}, GROUPS, NOW)


def found(*checks: dict[str, t.Any], **more: t.Any) -> list[tuple[str, list[str]]]:
    findings = causes.findings_of(components(*checks, **more), DEPENDS)
    return [(one["component"], [symptom["component"] for symptom in one["symptoms"]]) for one in findings]


WELL = [
    check("redis", "redis", state="up"), check("redis_program", "service", state="running"),
    check("postgres", "postgresql", state="accepting"), check("postgresql", "postgresql", state="accepting"),
    check("api", "http", state="up"), app(redis="well", postgres="well", long_term_memory="well"),
    check("memory_service", "http", state="up"), check("disk", "disk"), check("clock", "clock"),
    check("endpoint /metrics", "http", state="up"),
]  # fmt: skip


def instead(*checks: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return the checks of a host on which all is well but *checks*."""
    others = {one["name"]: one for one in checks}
    return [others.pop(one["name"], one) for one in WELL] + list(others.values())


def test_each_thing_is_one_component_whatever_looks_at_it() -> None:
    made = {one["name"]: (one["class"], one["checks"]) for one in components(*WELL)}
    assert made == {
        "h": ("host", []), "redis": ("working_memory", ["redis", "redis_program"]), "postgres": ("database", ["postgres", "postgresql"]),
        "somabrain": ("api", ["somabrain", "api"]), "memory_service": ("long_term_memory", ["memory_service"]), "disk": ("host", ["disk"]),
        "clock": ("host", ["clock"]), "endpoint /metrics": ("endpoint", ["endpoint /metrics"]),
    }  # fmt: skip
    assert found(*WELL) == []


def test_without_the_options_of_the_checks_they_are_one_all_the_same_where_there_is_one_of_a_class() -> None:
    made = seen.components_of({"h": dict(look(*WELL), asked=None)}, GROUPS, NOW)
    assert [one["name"] for one in made if one["class"] in ("api", "working_memory")] == ["redis", "somabrain"]


def test_the_worst_check_of_a_thing_decides_and_of_several_the_one_that_knows_most() -> None:
    [one] = [one for one in components(*instead(app("sick", "hung"), check("api", "http", "sick", "hung"))) if one["class"] == "api"]
    assert (one["health"], one["state"], one["kind"]) == ("sick", "hung", "application")
    checks = instead(app("unknown", "manager_unreachable"), check("api", "http", "sick", "down"))
    [one] = [one for one in components(*checks) if one["class"] == "api"]
    assert (one["health"], one["state"], one["kind"], one["name"]) == ("sick", "down", "http", "somabrain")


REDIS_DOWN = check("redis", "redis", "sick", "down_clean")
POSTGRES_DOWN = check("postgres", "postgresql", "sick", "down_crashed")
LOCKED_OUT = check("redis", "redis", "unknown", "auth")
NO_SERVER = check("pool", "balancer", "sick", "no_server_up")
NOT_MADE = check("memory round trip", "round_trip", "unknown", "", "not made: redis is not well", facts={"left_out": True})
API_BY_REDIS = app("sick", "dependency_down", redis="sick", postgres="well", long_term_memory="well")


@pytest.mark.parametrize(
    ("checks", "causes_with_symptoms"),
    [
        # The cause is seen, and the API says itself that this is why.
        (instead(REDIS_DOWN, API_BY_REDIS), [("redis", ["somabrain"])]),
        # The API answers 200 without memory: one finding.
        (instead(REDIS_DOWN), [("redis", [])]),
        # Its look says that what it depends on is well, so it has a fault of its own.
        (instead(REDIS_DOWN, app("sick", "hung", redis="well")), [("redis", []), ("somabrain", [])]),
        # It ended for a reason of its own, whatever else is down.
        (instead(REDIS_DOWN, app("sick", "exit_loop")), [("redis", []), ("somabrain", [])]),
        # Its look knows of no dependency; a hang is explained by what hangs below, an end is not.
        (instead(REDIS_DOWN, app("sick", "hung")), [("redis", ["somabrain"])]),
        # Each cause has what suffers from it.
        (
            instead(REDIS_DOWN, POSTGRES_DOWN, app("sick", "dependency_down", redis="sick", postgres="sick")),
            [("postgres", ["somabrain"]), ("redis", ["somabrain"])],
        ),
        # Only the API knows of it: what it sees is the finding.
        (
            [one for one in WELL if one["name"] not in ("memory_service", "somabrain")]
            + [app("sick", "dependency_down", redis="well", long_term_memory="sick")],
            [("long_term_memory", ["somabrain"])],
        ),
        # A store that is well by its own look, and not as the API sees it: that is between the two.
        (instead(API_BY_REDIS), [("redis", ["somabrain"])]),
        # Locks below make the API silent, although its light look at the database is well.
        (
            instead(check("postgresql", "postgresql", "sick", "blocked"), app("sick", "dependency_slow", postgres="well")),
            [("postgres", ["somabrain"])],
        ),
        # What is unknown makes nothing sick, and explains what is unknown because of it.
        (instead(LOCKED_OUT, app("sick", "hung")), [("somabrain", []), ("redis", [])]),
        (instead(LOCKED_OUT, app("unknown", "dependency_unknown", redis="unknown")), [("redis", ["somabrain"])]),
        # From outside everything of a service that is down fails.
        (
            instead(app("sick", "crashed"), check("endpoint /metrics", "http", "sick", "down"), NO_SERVER),
            [("somabrain", ["endpoint /metrics", "pool"])],
        ),
        (instead(check("endpoint /metrics", "http", "sick", "error")), [("endpoint /metrics", [])]),
        # The machine has no memory left, and the API was killed for it; another machine's memory is none of its business.
        (instead(check("memory", "memory", "sick"), app("sick", "oom")), [("memory", ["somabrain"])]),
        (instead(check("disk", "disk", "sick", "full"), app("sick", "oom")), [("disk", []), ("somabrain", [])]),
        # A check that was not made because of another.
        (
            instead(REDIS_DOWN, NOT_MADE),
            [("redis", ["memory round trip"])],
        ),
    ],
)  # fmt: skip
def test_a_symptom_is_in_no_finding_of_its_own(checks: list[dict[str, t.Any]], causes_with_symptoms: list[tuple[str, list[str]]]) -> None:
    assert found(*checks) == causes_with_symptoms


def test_a_host_that_cannot_be_reached_is_the_cause_of_what_is_not_seen_on_it() -> None:
    looked = {"h": {"unreachable": True, "msg": "No route to host \x1b[31m"}, "k": dict(look(check("disk", "disk")), asked=[])}
    groups = dict(GROUPS, redis=["h", "k"])
    made = seen.components_of(looked, groups, NOW)
    [finding] = causes.findings_of(made, DEPENDS)
    assert (finding["component"], finding["health"], finding["state"]) == ("h", "unknown", "unreachable")
    assert [one["component"] for one in finding["symptoms"]] == ["redis", "postgresql", "api", "memory_service"]
    assert {one["health"] for one in finding["symptoms"]} == {"unknown"}
    assert finding["remedy"]["playbook"] == "check_access"
    assert "\x1b" not in finding["text"]
    unseen = seen.unseen_of(looked, groups, made, NOW)
    assert ("redis", "k") in {(one["what"], one["host"]) for one in unseen}
    assert not any(one["host"] == "h" and one["what"] == "redis" for one in unseen)


@pytest.mark.parametrize("broken", [{"failed": True, "msg": "timed out"}, {}, None, "x", {"checks": "x", "host": []}, []])
def test_a_look_that_failed_or_returned_nothing_is_unknown(broken: t.Any) -> None:
    made = seen.components_of({"h": broken}, GROUPS, NOW)
    assert {one["health"] for one in made} == {"unknown"}
    assert {one["name"] for one in made} == {"h", "redis", "postgresql", "api", "memory_service"}
    assert len(causes.findings_of(made, DEPENDS)) == 1


def test_a_service_that_recover_all_starts_has_that_command() -> None:
    checks = instead(check("memory_service", "http", "sick", "down"))
    [finding] = causes.findings_of(components(*checks), DEPENDS)
    assert (finding["remedy"]["playbook"], "recover-all starts" in finding["none"]) == ("", True)
    services = [{"name": "memory", "service": "ltm", "url": "http://localhost:9595/health"}, None]
    [finding] = causes.findings_of(components(*checks, services=services), DEPENDS)
    assert finding["remedy"]["command"] == "{recover_all}"


def test_of_two_looks_of_one_kind_the_deeper_one_is_the_state() -> None:
    deep = check("postgresql", "postgresql", "sick", "down_crashed", facts={"data_dir": "/x", "control": {}})
    checks = instead(check("postgres", "postgresql", "sick", "down"), deep)
    [one] = [one for one in components(*checks) if one["class"] == "database"]
    assert (one["state"], one["name"], one["checks"]) == ("down_crashed", "postgresql", ["postgresql", "postgres"])


def server(name: str, weight: int, up: bool = True) -> dict[str, t.Any]:
    return {"name": name, "weight": weight, "initial": 100, "up": up, "admin": "ready", "backup": False, "closed": not weight}


@pytest.mark.parametrize(
    ("servers", "state", "playbook"),
    [
        ([server("api1", 100), server("api2", 100), server("spare", 0)], "open", None),
        ([server("api1", 0), server("api2", 0), server("spare", 100)], "short", "restore_traffic"),
        ([server("api1", 100), server("api2", 100, up=False), server("spare", 0)], "server_down", ""),
        ([server("api1", 50), server("spare", 50)], "short", "restore_traffic"),
        # What is no state of a pool is left as its check judged it.
        ([], "open", None),
        ([{"name": "x"}], "open", None),
        ("x", "open", None),
    ],
)
def test_a_pool_whose_own_servers_get_no_requests_is_named(servers: t.Any, state: str, playbook: t.Optional[str]) -> None:
    pool = check("balancer", "balancer", "well", "open", facts={"servers": servers, "maintenance": {"on": False}})
    asked = [*ASKED, {"name": "balancer", "kind": "balancer", "pool": "api", "spare": ["spare"], "main": [], "overflow": ""}]
    made = components(*WELL, pool, asked=asked)
    [one] = [one for one in made if one["class"] == "balancer"]
    assert one["state"] == state
    findings = causes.findings_of(made, DEPENDS)
    assert [finding["remedy"]["playbook"] for finding in findings] == ([] if playbook is None else [playbook])


def full(path: str, free: int) -> dict[str, t.Any]:
    return check("disk", "disk", "sick", "full", facts={"paths": [{"path": path, "used_share": 0.999, "free_bytes": free}]})


def store(path: str, free: int, state: str = "misconf_rdb") -> dict[str, t.Any]:
    return check("redis", "redis", "sick", state, facts={"persistence": {"dir": path}, "disk": {"free_bytes": free}, "log": {}})


@pytest.mark.parametrize(
    ("disk", "redis", "causes_with_symptoms"),
    [
        (full("/data", 4096), store("/data/redis", 4096), [("disk", ["redis"])]),
        # That file system is another one.
        (full("/data", 4096), store("/srv/redis", 4096), [("disk", []), ("redis", [])]),
        (full("/", 90 << 30), store("/data/redis", 4096), [("disk", []), ("redis", [])]),
        # It says nothing of space.
        (full("/data", 1 << 22), store("/data/redis", 1 << 22), [("disk", []), ("redis", [])]),
        (full("/data", 4096), store("/data/redis", 4096, "down_clean"), [("disk", []), ("redis", [])]),
    ],
)
def test_a_full_disk_is_the_cause_of_a_store_that_has_no_space(
    disk: dict[str, t.Any], redis: dict[str, t.Any], causes_with_symptoms: list[tuple[str, list[str]]]
) -> None:
    assert found(*instead(disk, redis)) == causes_with_symptoms
    if causes_with_symptoms == [("disk", ["redis"])]:
        [finding] = causes.findings_of(components(*instead(disk, redis)), DEPENDS)
        assert finding["remedy"]["playbook"] == "recover_redis"


def test_of_several_stores_on_other_hosts_only_one_that_must_be_meant_is_a_cause() -> None:
    api = dict(look(app("sick", "hung")), asked=[])
    down, up = dict(look(REDIS_DOWN), asked=[]), dict(look(check("redis", "redis", state="up")), asked=[])

    def causes_in(looked: dict[str, t.Any]) -> list[str]:
        return [one["component"] for one in causes.findings_of(seen.components_of(looked, {}, NOW), DEPENDS)]

    assert causes_in({"a": api, "r1": down}) == ["redis"]
    assert causes_in({"a": api, "r1": down, "r2": up}) == ["redis", "somabrain"]
    assert causes_in({"a": dict(api, checks=[API_BY_REDIS]), "r1": down, "r2": up}) == ["redis"]


def test_a_replica_without_its_master_is_a_symptom_of_that_master() -> None:
    replica = check("redis", "redis", "sick", "readonly_replica", facts={"role": "replica", "master": "r1:6379"})
    looked = {"r1": dict(look(REDIS_DOWN), asked=[]), "r2": dict(look(replica), asked=[])}
    [finding] = causes.findings_of(seen.components_of(looked, {}, NOW), DEPENDS)
    assert (finding["host"], [one["host"] for one in finding["symptoms"]]) == ("r1", ["r2"])


def test_a_thousand_endpoints_on_each_of_three_hosts_take_no_time() -> None:
    ends = [check("endpoint /%d" % index, "http", "sick", "down") for index in range(1000)]
    asked = [{"name": one["name"], "url": "http://127.0.0.1:9696/%d" % index} for index, one in enumerate(ends)]
    looked = {"h%d" % host: look(app("sick", "crashed"), *ends, asked=[*ASKED, *asked]) for host in range(3)}
    begun = time.process_time()
    findings = causes.findings_of(seen.components_of(looked, GROUPS, NOW), DEPENDS)
    assert len(findings) == 3
    # A fraction of a second, unless the machine is busy with something else; with every pair of them compared it was minutes.
    assert time.process_time() - begun < 15


def test_many_endpoints_are_one_symptom() -> None:
    ends = [check("endpoint /%d" % index, "http", "sick", "down") for index in range(40)]
    [finding] = causes.findings_of(components(*instead(app("sick", "crashed"), *ends)), DEPENDS)
    assert [one["component"] for one in finding["symptoms"]] == ["40 endpoints"]


@pytest.mark.parametrize(
    "depends",
    [
        {"api": ["working_memory"]}, {"api": "working_memory"}, {"api": {"stands_on": "working_memory"}},
        [{"class": "api", "stands_on": "working_memory"}], {"api": [{"on": "working_memory", "symptoms": ["hung"]}]},
        {"api": ["working_memory"], "working_memory": ["api"]},
    ],
)  # fmt: skip
def test_the_data_on_what_stands_on_what_is_read_in_its_spellings_and_a_circle_in_it_ends(depends: t.Any) -> None:
    findings = causes.findings_of(components(*instead(REDIS_DOWN, app("sick", "hung"))), depends)
    assert [one["component"] for one in findings] == ["redis"]


@pytest.mark.parametrize("depends", [None, [], "x", {"api": None}, {"api": [None, 5]}, {5: {"on": {}}}, {"api": [{"stands_on": "redis"}]}])
def test_without_such_data_only_what_a_look_says_is_claimed(depends: t.Any) -> None:
    findings = causes.findings_of(components(*instead(REDIS_DOWN, app("sick", "hung"))), depends)
    assert [one["component"] for one in findings] == ["redis", "somabrain"]
    findings = causes.findings_of(components(*instead(REDIS_DOWN, API_BY_REDIS)), depends)
    assert [one["component"] for one in findings] == ["redis"]


NO_WORKING_MEMORY = "the API answers without working memory; still works: recall from the long-term memory"


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        (instead(REDIS_DOWN, API_BY_REDIS), [NO_WORKING_MEMORY]),
        # The API need not show it.
        (instead(REDIS_DOWN), [NO_WORKING_MEMORY]),
        # An API that does not suffer is not said to, where the data does not say that it hides it.
        (instead(POSTGRES_DOWN), []),
        (instead(POSTGRES_DOWN, app("sick", "dependency_down", postgres="sick")), ["the API cannot write"]),
        (instead(app("sick", "crashed")), ["every user of the API"]),
        (instead(check("endpoint /metrics", "http", "sick", "error")), ["callers of endpoint /metrics"]),
        (instead(check("redis", "redis", "unknown", "auth")), []),
        # Nothing of the API runs, so nothing of it goes on.
        (instead(REDIS_DOWN, dict(API_BY_REDIS, identity={})), ["the API answers without working memory"]),
    ],
)
def test_whom_it_concerns_and_what_still_works(checks: list[dict[str, t.Any]], said: list[str]) -> None:
    made = components(*checks)
    assert causes.impact_of(causes.findings_of(made, DEPENDS), made, DEPENDS) == said


def test_of_several_only_those_that_are_not_well_are_counted() -> None:
    looked = {"a": dict(look(app("sick", "crashed")), asked=[]), "b": dict(look(app()), asked=[])}
    made = seen.components_of(looked, {}, NOW)
    assert causes.impact_of(causes.findings_of(made, {}), made, {}) == ["users of the API: 1 of 2 are not well"]


@pytest.mark.parametrize("name", ["\x1b[2J", "{{ 7*7 }}", "\u202ex", "$(reboot)", "<script>", "x" * 5000])
def test_hostile_names_stay_literal_and_short(name: str) -> None:
    [one] = [one for one in components(check(name, "tcp", "sick", name, name)) if one["kind"] == "tcp"]
    assert all(value.isprintable() and len(value) <= 300 for value in (one["name"], one["state"], one["text"]))


@pytest.mark.parametrize(
    "checks",
    [
        [None, 5, "x", []], [{}], [{"name": None, "kind": None, "health": None}], [{"kind": "no such kind", "health": "sick"}],
        [{"kind": "redis", "health": "sick", "state": 5, "facts": "x", "findings": {"a": 1}, "seconds": "nan", "actions": 7}],
        [{"kind": "application", "health": "odd", "facts": {"dependencies": [1], "hand_over": "x", "answered": {"url": "::"}}}],
        [{"kind": "disk", "health": "sick", "state": "full", "facts": {"paths": [None, {"path": None, "used_share": "x"}]}}],
    ],
)  # fmt: skip
def test_nothing_that_a_sick_host_returns_raises(checks: list[t.Any]) -> None:
    looked: dict[t.Any, t.Any] = {
        "h": {"checks": checks, "host": {"boot_at": "x", "changes": 5}, "asked": [None, {"name": 5}], "at": "never"},
        5: None,
    }
    made = seen.components_of(looked, {"redis": "h"}, NOW)
    findings = causes.findings_of(made, DEPENDS)
    assert findings
    assert causes.impact_of(findings, made, DEPENDS) is not None
    assert seen.unseen_of(looked, {"redis": "h"}, made, NOW)
    assert all("facts" not in one for one in seen.shown(made))
