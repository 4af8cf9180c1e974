# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The classification that comes with the collection: what evidence makes P0 to P3, with which reasons, and what stays unknown."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import evidence_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.severity import override_of, severity_of
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._rules import load_rules

Component = t.Dict[str, t.Any]
RULES = load_rules()
NOW = 1_800_000_000.0


def one(words: str, host: str = "one", **more: t.Any) -> Component:
    """Return a component from "class health state"; its kind and name are those of the class."""
    kind, health, *state = words.split()
    check = {"database": "postgresql"}.get(kind, kind)
    return {"name": kind, "class": kind, "kind": check, "host": host, "health": health, "state": "".join(state), "text": "as seen", **more}


WELL = [one("api well up"), one("working_memory well up"), one("database well accepting"), one("long_term_memory well up")]
# 300 requests between two samples, none of which failed, and quick ones.
QUIET = {
    "error": "", "up": True, "over_seconds": 2.0, "requests": 300, "errors": 0, "error_rate": 0.0, "statuses": {"200": 300},
    "latency_seconds": {"p50": 0.01, "p95": 0.02, "p99": 0.03, "mean": 0.01}, "memory_bytes": 10**8, "sums": {}, "rates": {},
}  # fmt: skip


def with_metrics(**changed: t.Any) -> dict[str, t.Any]:
    return {"one": {"host": {"metrics": {"api": {**QUIET, **changed}}, "changes": []}, "checks": []}}


def judged(*changed: Component, looked: t.Any = None, baseline: t.Any = None) -> dict[str, t.Any]:
    """Return the severity of a service that is well but for *changed*, which replaces components of its class and host."""
    places = {(item["class"], item["host"]) for item in changed}
    components = [item for item in WELL if (item["class"], item["host"]) not in places] + list(changed)
    evidence = evidence_of(with_metrics() if looked is None else looked, components, [], baseline, NOW)
    return severity_of(evidence, RULES)


def rules_of(severity: dict[str, t.Any]) -> list[str]:
    return [reason["rule"] for reason in severity["reasons"]]


@pytest.mark.parametrize(
    ("level", "rule", "changed"),
    [
        ("", "", []),
        # The API on every host, or on one of two.
        ("P0", "api_down", [one("api sick not_listening")]),
        ("P0", "api_down", [one("api sick stopped"), one("api sick hung", "two")]),
        ("P2", "one_of_several", [one("api sick stopped"), one("api well up", "two")]),
        ("P1", "api_impaired", [one("api sick degraded")]),
        ("P1", "api_impaired", [one("api sick erroring")]),
        ("P2", "api_slow", [one("api sick slow")]),
        ("P2", "api_slow", [one("api sick leaking")]),
        # Its stores.
        ("P1", "working_memory_down", [one("working_memory sick down_clean")]),
        ("P1", "working_memory_down", [one("working_memory sick misconf_rdb")]),
        ("P1", "store_starting", [one("working_memory unknown loading")]),
        ("P2", "one_store_of_several", [one("working_memory sick down_clean"), one("working_memory well readonly_replica", "two")]),
        ("P1", "long_term_memory_down", [one("long_term_memory sick down")]),
        ("P1", "database_down", [one("database sick down_crashed")]),
        ("P1", "database_down", [one("database sick read_only")]),
        ("P2", "database_impaired", [one("database sick blocked")]),
        ("P2", "database_impaired", [one("database sick archiver_failing")]),
        ("P2", "one_database_of_several", [one("database sick hung"), one("database well standby", "two")]),
        # Redis is well where it runs, and the API cannot use it.
        ("P1", "store_out_of_reach", [one("working_memory well up"), one("working_memory sick down", "two", kind="dependency")]),
        ("P2", "data_does_not_match", [one("database sick", kind="data_reconciliation")]),
        # Damage.
        ("P0", "data_damaged", [one("working_memory sick down_bad_file")]),
        ("P0", "data_damaged", [one("working_memory sick up_but_empty")]),
        ("P0", "data_damaged", [one("database sick up_corrupt")]),
        # In front of it and beside it.
        ("P0", "no_server_takes_traffic", [one("balancer sick no_server_up")]),
        ("P1", "clients_kept_out", [one("balancer sick clients_kept_out")]),
        ("P2", "balancer_not_as_it_was", [one("balancer sick reverted")]),
        ("P1", "clients_kept_out", [one("balancer sick maintenance_left")]),
        ("P1", "queue_down", [one("queue sick down")]),
        ("P2", "other_service", [one("service sick stopped")]),
        ("P2", "release_altered", [one("service sick altered", kind="release")]),
        ("P3", "configuration_drift", [one("service sick", kind="configuration")]),
        ("P2", "blind", [one("monitoring sick down")]),
        ("P2", "some_endpoints", [one("endpoint sick error"), one("endpoint well up", "two"), one("endpoint well up", "three")]),
        ("P1", "half_of_endpoints", [one("endpoint sick error"), one("endpoint sick hung", "two"), one("endpoint well up", "three")]),
        ("P1", "memory_not_recalled", [one("endpoint sick no_ltm", kind="round_trip")]),
        ("P2", "disk_full", [one("host sick full", kind="disk")]),
        ("P2", "memory_short", [one("host sick", kind="memory")]),
        ("P3", "machine", [one("host sick", kind="clock")]),
        # What is sick and has no rule is not nothing.
        ("P3", "", [one("host sick odd", kind="something")]),
        ("P2", "working_memory_impaired", [one("working_memory sick up")]),
        ("P1", "api_impaired", [one("api sick dependency_slow")]),
        ("P1", "api_starting", [one("api unknown starting")]),
        # What cannot be seen.
        ("P1", "api_unseen", [one("api unknown unreachable")]),
        ("P1", "api_unseen", [one("api unknown")]),
        ("P2", "one_unseen_of_several", [one("api unknown not_seen", kind="expected"), one("api well up", "two")]),
        ("P2", "api_turns_us_away", [one("api unknown auth")]),
        ("P2", "store_unseen", [one("database unknown unreachable")]),
        ("P3", "something_unseen", [one("host unknown", kind="disk")]),
    ],
)  # fmt: skip
def test_the_worst_rule_that_holds_decides_and_is_a_reason(level: str, rule: str, changed: list[Component]) -> None:
    severity = judged(*changed)
    assert (severity["level"], severity["judged"], severity["override"]) == (level, level, None)
    assert severity["name"] == {"P0": "Critical", "P1": "High", "P2": "Medium", "P3": "Low", "": ""}[level]
    assert rules_of(severity) == [] if not level else rule in rules_of(severity)
    assert all(reason["level"] >= level and reason["text"] for reason in severity["reasons"])


@pytest.mark.parametrize(
    ("level", "rule", "changed"),
    [
        ("", "", {}),
        ("P0", "most_requests_fail", {"errors": 200, "error_rate": 0.67}),
        ("P1", "high_error_rate", {"errors": 20, "error_rate": 0.067}),
        ("", "", {"errors": 3, "error_rate": 0.01}),
        ("P1", "slow_by_far", {"latency_seconds": {"p95": 0.9}}),
        ("P2", "rate_limiting", {"statuses": {"200": 200, "429": 100}}),
    ],
)
def test_metrics_decide_where_they_are_over_a_window(level: str, rule: str, changed: dict[str, t.Any]) -> None:
    severity = judged(looked=with_metrics(**changed))
    assert severity["level"] == level
    assert rule in rules_of(severity) if rule else rules_of(severity) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"error": "connection refused"},
            "the error rate of api on one: its metrics could not be read: connection refused; it could make this P0",
        ),
        (
            {"errors": 9, "error_rate": 0.9, "over_seconds": None},
            "90 %: it is known only since the process started, which says little of now",
        ),
        ({"errors": 9, "error_rate": 0.9, "requests": 10}, "10 requests in 2 s are too few to tell (20 are needed)"),
        ({"errors": None, "error_rate": None}, "the error rate of api on one: its metrics do not say"),
        ({"error_rate": float("nan")}, "the error rate of api on one: its metrics do not say"),
        ({"error_rate": 40.0}, "its metrics say 40.0, which is no share"),
        ({"error_rate": True}, "its metrics do not say"),
        ({"error_rate": "0.9"}, "its metrics do not say"),
        ({"requests": 0, "errors": 0, "error_rate": None}, "the error rate of api on one: there was no request"),
    ],
)
def test_a_number_that_is_not_known_is_named_and_decides_nothing(changed: dict[str, t.Any], said: str) -> None:
    severity = judged(looked=with_metrics(**changed))
    assert severity["level"] == ""
    assert any(said in line for line in severity["unknown"]), severity["unknown"]


def test_no_error_since_the_start_is_proof_without_a_window() -> None:
    severity = judged(looked=with_metrics(over_seconds=None, errors=0, error_rate=0.0))
    assert not any("error rate" in line for line in severity["unknown"])


def test_no_error_since_the_start_is_proof_also_where_no_request_came_meanwhile() -> None:
    looked = with_metrics(requests=0, errors=0, error_rate=None, since_start={"requests": 4000, "errors": 0})
    assert not any("error rate" in line for line in judged(looked=looked)["unknown"])
    looked = with_metrics(requests=0, errors=0, error_rate=None, since_start={"requests": 4000, "errors": 1})
    assert any("error rate of api on one: there was no request" in line for line in judged(looked=looked)["unknown"])


def test_what_one_reason_keeps_from_being_known_is_one_line() -> None:
    severity = judged(looked=with_metrics(error="timed out"))
    lines = [line for line in severity["unknown"] if "timed out" in line]
    assert lines == [
        "not known: the error rate of api on one: its metrics could not be read: timed out; it could make this P0",
        "not known: the latency (p95) of api on one: its metrics could not be read: timed out; it could make this P1",
        "not known: the share of answers with status 429 of api on one: its metrics could not be read: timed out; it could make this P2",
    ]
    # Where nothing of it could be worse than what is known, one line says all.
    severity = judged(one("api sick stopped"), looked=with_metrics(error="timed out"))
    lines = [line for line in severity["unknown"] if "timed out" in line]
    assert lines == [
        "not known: the error rate, the latency (p95) and the share of answers with status 429 of api on one:"
        " its metrics could not be read: timed out"
    ]


def test_what_is_not_known_is_named_beside_what_holds_with_what_it_could_make_of_it() -> None:
    severity = judged(one("working_memory sick down_clean"), looked={})
    assert severity["level"] == "P1"
    assert "not known: the error rate: no metrics were read; it could make this P0" in severity["unknown"]
    assert severity["unknown"][-1] == (
        "nothing looks at: memories that are wrong although their stores are well, signs of a security breach, the endpoints of the API,"
        " the logs of the API or the working memory (Redis) or the database (PostgreSQL), the machine"
    )
    # Nothing that could only be as bad as what is known already is called worse.
    assert not any("this P1" in line for line in severity["unknown"])


def test_of_many_the_first_are_named_and_the_rest_is_counted() -> None:
    hosts = ["h%d" % number for number in range(9)]
    many = [one("api sick stopped", host) for host in hosts] + [one("database unknown not_seen", host) for host in hosts]
    looked = {host: {"host": {"metrics": {"api": {"error": "timed out"}}}} for host in hosts}
    severity = severity_of(evidence_of(looked, many, [], None, NOW), RULES)
    assert severity["reasons"][0]["text"] == (
        "the API is down on every host: api on h0 is sick (stopped): as seen; api on h1 is sick (stopped): as seen;"
        " api on h2 is sick (stopped): as seen; and 6 more"
    )
    said = "\n".join(severity["unknown"])
    assert "of api on h0, api on h1, api on h2, and 6 more: its metrics could not be read: timed out" in said
    assert "not known: database on h0 is unknown (not_seen): as seen; database on h1 " in said
    assert "; database on h2 is unknown (not_seen): as seen; and 6 more" in said


def test_a_reason_says_what_was_seen_and_where() -> None:
    severity = judged(one("working_memory sick down_clean", text="it is down"))
    assert [(reason["rule"], reason["level"]) for reason in severity["reasons"]] == [("working_memory_down", "P1")]
    said = severity["reasons"][0]["text"]
    assert said.startswith("the working memory does not work on any host; the API may go on answering without it: ")
    assert said.endswith(": working_memory on one is sick (down_clean): it is down")


@pytest.mark.parametrize(
    ("facts", "others", "level", "open_"),
    [
        # Its word is that of what it depends on. Whether it answers, the answer of its own check says, or another look at it.
        ({"status": 200}, [], "P1", False),
        ({}, [], "P1", True),
        ({}, [one("api well up", name="health")], "P1", False),
        ({}, [one("api sick not_listening", name="health")], "P0", False),
        ({"status": 503}, [], "P1", True),
        # Its health endpoint waits for the store, and others of its endpoints answer.
        ({}, [one("api sick hung", name="health"), one("endpoint well up", name="metrics")], "P1", False),
    ],
)
def test_an_api_whose_store_is_down_is_itself_down_only_where_it_was_seen(
    facts: dict[str, t.Any], others: list[Component], level: str, open_: bool
) -> None:
    looked = {"one": {"checks": [{"name": "api", "kind": "application", "health": "sick", "facts": facts}]}}
    severity = judged(one("api sick dependency_down", text="redis is down"), one("working_memory sick hung"), *others, looked=looked)
    assert severity["level"] == level
    assert any("redis is down; it could make this P0" in line for line in severity["unknown"]) is open_


def test_an_api_that_answers_and_is_not_known_to_be_well_is_not_called_unseen() -> None:
    redis = one("working_memory unknown auth")
    api = one("api unknown dependency_unknown")
    looked = {"one": {"checks": [{"name": "api", "kind": "application", "health": "unknown", "facts": {"status": 200}}]}}
    assert judged(api, redis, looked=looked)["level"] == "P2"
    assert rules_of(judged(api, redis, looked=looked)) == ["store_unseen", "something_unseen"]
    assert judged(api, redis, looked={})["level"] == "P1"


def test_an_api_of_which_one_endpoint_answers_is_not_down() -> None:
    severity = judged(one("api sick hung"), one("endpoint well up"))
    assert (severity["level"], rules_of(severity)) == ("P1", ["api_partly_silent"])
    assert judged(one("api sick hung"), one("endpoint sick hung"))["level"] == "P0"
    assert judged(one("api sick hung"), one("endpoint well up", "two"))["level"] == "P0"


def test_slow_is_measured_against_the_baseline_where_there_is_one() -> None:
    def level(**metric: t.Any) -> t.Any:
        return judged(baseline={"api": {"latency_ms": metric}})["level"]

    assert level(now=300.0, median=80.0, unusual="more") == "P1"
    assert level(now=300.0, median=120.0, unusual="more") == "P2"
    assert level(now=300.0, median=290.0, unusual="") == ""
    # Four times of hardly anything is an ordinary day.
    assert level(now=8.0, median=2.0, unusual="") == ""
    for nonsense in ({"now": 300.0, "median": 0}, {"now": "x", "median": 1.0}, {}):
        assert level(**nonsense) == ""
    without = judged()
    assert "not known: the latency against the baseline: there is no baseline; it could make this P1" in without["unknown"]


def test_an_override_replaces_the_level_and_hides_nothing() -> None:
    evidence = evidence_of({}, [*WELL, one("api sick stopped")], [], None, NOW)
    severity = severity_of(evidence, RULES, override_of("P3", "a planned test"))
    assert (severity["level"], severity["name"], severity["judged"]) == ("P3", "Low", "P0")
    assert severity["override"] == {"level": "P3", "reason": "a planned test"}
    assert "api_down" in rules_of(severity)


@pytest.mark.parametrize(
    ("level", "reason", "said"),
    [
        ("P1", "", "triage_severity=P1 needs a reason, which is recorded with it: set triage_severity_reason"),
        ("P1", "  \n", "triage_severity=P1 needs a reason, which is recorded with it: set triage_severity_reason"),
        ("", "because", "triage_severity_reason is set and triage_severity is not: set it to P0, P1, P2 or P3"),
        ("P4", "because", "triage_severity is 'P4': set it to P0, P1, P2 or P3"),
        ("high", "because", "triage_severity is 'high': set it to P0, P1, P2 or P3"),
        (1, "because", "triage_severity is '1': set it to P0, P1, P2 or P3"),
        ("\x1b[31mP0", "because", "triage_severity is '\\x1b[31mP0': set it to P0, P1, P2 or P3"),
    ],
)
def test_an_override_without_a_level_or_a_reason_is_refused(level: t.Any, reason: t.Any, said: str) -> None:
    with pytest.raises(StepError) as caught:
        override_of(level, reason)
    assert str(caught.value) == said


def test_the_reason_of_an_override_stays_literal_and_keeps_no_secret() -> None:
    assert override_of(None, None) is override_of("", "") is None
    given = override_of("P0", "{{ x }}\x1b[2J password=hunter2")
    assert given == {"level": "P0", "reason": "{{ x }}\\x1b[2J password=[redacted]"}


HOSTILE = [
    None, 7, "text", [], [None, 3, "x"], {"one": None}, {"one": {"checks": 3, "host": [1]}}, {7: {"host": {"metrics": {"api": 3}}}},
    {"one": {"checks": [None, {"name": None, "kind": 3, "findings": 5, "facts": "x"}, {"findings": [3, {"name": ["x"]}]}]}},
    {"one": {"host": {"metrics": {"a": {"error_rate": 10**400, "statuses": [3], "latency_seconds": "x", "over_seconds": "x", "sums": 3}}}}},
    {"one": {"host": {"logs": {"api": {"lines": [3, b"\xff", "x" * 10**6], "error": None}, "b": None}, "unseen": [3, {"what": 3}]}}},
    {"one": {"host": {"disks": [3, {"path": 3, "used_share": -1}], "memory": {"total_bytes": 0}, "load": {"load": [], "cores": 0}}}},
]  # fmt: skip


@pytest.mark.parametrize("looked", HOSTILE)
@pytest.mark.parametrize("components", [None, 3, [None, 3, {}], [{"class": ["x"], "health": 3, "state": {}, "host": None}]])
def test_nonsense_as_evidence_is_not_known_and_raises_nothing(looked: t.Any, components: t.Any) -> None:
    severity = severity_of(evidence_of(looked, components, 3, looked, "now", "then"), RULES)
    assert severity["level"] in ("", "P3")
    assert severity["unknown"]
    assert all(line.isprintable() and len(line) <= 600 for line in severity["unknown"])


def test_hostile_text_in_evidence_stays_literal_on_one_line() -> None:
    nasty = "$(reboot) {{ 7*7 }} <script>\x1b[2J\u202e\n" + "x" * 5000
    evidence = evidence_of({}, [one("api sick stopped", text=nasty, host=nasty, name=nasty)], [], None, NOW)
    severity = severity_of(evidence, RULES)
    assert severity["level"] == "P0"
    assert all(reason["text"].isprintable() and len(reason["text"]) <= 600 for reason in severity["reasons"])
    assert "{{ 7*7 }} <script>\\x1b[2J\\u202e\\n" in severity["reasons"][0]["text"]
