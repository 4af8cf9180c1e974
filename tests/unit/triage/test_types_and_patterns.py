# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incident types and the common patterns of the runbook: what confirms each, what denies it, and what leaves it unknown."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import Evidence, evidence_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.incident_types import types_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.patterns import patterns_of
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._rules import load_rules

RULES = load_rules()
NOW = 1_800_000_000.0
METRICS = {
    "error": "", "up": True, "over_seconds": 2.0, "requests": 300, "errors": 0, "error_rate": 0.0, "statuses": {"200": 300},
    "latency_seconds": {"p95": 0.02}, "sums": {"somabrain_rate_limited_total": 5.0}, "rates": {"somabrain_rate_limited_total": 0.0},
}  # fmt: skip
CHECKS = [
    {
        "name": "postgres",
        "kind": "postgresql",
        "findings": [{"name": "audit", "state": "well", "text": "12 audit rows"}],
    },
    {"name": "redis", "kind": "redis", "findings": [{"name": "state", "state": "well", "text": "it answers"}]},
]
USUAL = {"api": {"latency_ms": {"now": 10.0, "median": 9.0, "unusual": ""}, "memory_bytes": {"now": 2.0e8, "median": 1.9e8, "unusual": ""}}}


def one(words: str, host: str = "one", **more: t.Any) -> dict[str, t.Any]:
    kind, health, *state = words.split()
    check = {"database": "postgresql"}.get(kind, kind)
    return {"name": kind, "class": kind, "kind": check, "host": host, "health": health, "state": "".join(state), "text": "as seen", **more}


def finding(kind: str, name: str, state: str) -> dict[str, t.Any]:
    return {"name": kind, "kind": kind, "findings": [{"name": name, "state": state, "text": "y"}]}


WELL = [
    one("api well up"), one("working_memory well up"), one("database well accepting"), one("long_term_memory well up"),
    one("endpoint well up", "edge"), one("monitoring well up"), one("queue well open"),
]  # fmt: skip


def seen(
    *changed: dict[str, t.Any],
    metrics: t.Any = None,
    logs: t.Sequence[str] = ("all is well",),
    checks: t.Any = ...,
    changes: t.Any = (),
    baseline: t.Any = ...,
) -> Evidence:
    """Return evidence in which everything was looked at and is well, but for what is given."""
    places = {(item["class"], item["host"]) for item in changed}
    components = [item for item in WELL if (item["class"], item["host"]) not in places] + list(changed)
    host = {"metrics": {"api": {**METRICS, **(metrics or {})}}, "changes": [], "logs": {"api": {"lines": list(logs)}}}
    looked = {"one": {"host": host, "checks": CHECKS if checks is ... else checks}}
    return evidence_of(looked, components, list(changes), USUAL if baseline is ... else baseline, NOW)


def types(evidence: Evidence) -> dict[str, t.Any]:
    return {item["id"]: item for item in types_of(evidence, RULES)}


def patterns(evidence: Evidence) -> dict[str, t.Any]:
    return {item["id"]: item for item in patterns_of(evidence, RULES)}


def test_where_all_was_looked_at_and_is_well_each_is_denied_but_what_nothing_looks_at() -> None:
    found = types(seen())
    unknown = {name: item["evidence"] for name, item in found.items() if item["verdict"] == "unknown"}
    assert {item["verdict"] for item in found.values()} == {"denied", "unknown"}
    assert {name: lines[0] for name, lines in unknown.items()} == {
        "memory_corruption": "nothing looks at: memories that are wrong although their stores are well",
        "rate_limiting": "nothing looks at: a bypass of the rate limits",
    }
    assert all(item["evidence"] for item in found.values())
    assert {item["verdict"] for item in patterns(seen()).values()} == {"denied"}


def test_where_nothing_was_looked_at_each_is_unknown_and_says_so() -> None:
    nothing = evidence_of({}, [], [], None, NOW)
    for item in [*types_of(nothing, RULES), *patterns_of(nothing, RULES)]:
        assert item["verdict"] == "unknown", item
        assert item["evidence"]
        assert all(line.startswith(("nothing looks at: ", "not known: ")) for line in item["evidence"])
    assert types(nothing)["message_queue"]["evidence"] == ["nothing looks at: the message queue (Kafka)"]


@pytest.mark.parametrize(
    ("name", "changed", "more"),
    [
        ("working_memory_unavailable", one("working_memory sick down_clean"), {}),
        ("working_memory_unavailable", one("working_memory unknown loading"), {}),
        ("working_memory_unavailable", one("working_memory sick oom"), {}),
        ("long_term_memory_loss", one("long_term_memory sick down"), {}),
        ("long_term_memory_loss", one("endpoint sick no_ltm", kind="round_trip"), {}),
        ("long_term_memory_loss", None, {"metrics": {"sums": {"somabrain_memory_circuit_breaker_state": 1.0}}}),
        ("memory_corruption", one("working_memory sick down_bad_file"), {}),
        ("memory_corruption", one("database sick up_corrupt"), {}),
        ("memory_corruption", None, {"checks": [finding("redis", "known_answers", "sick")]}),
        ("cognitive_performance", one("api sick slow"), {}),
        ("cognitive_performance", None, {"metrics": {"latency_seconds": {"p95": 0.7}}}),
        ("cognitive_performance", None, {"baseline": {"api": {"latency_ms": {"now": 90.0, "median": 9.0, "unusual": "more"}}}}),
        ("api_outage", one("api sick hung"), {}),
        ("partial_functionality", one("endpoint sick error"), {}),
        ("partial_functionality", one("api sick stopped", host="two"), {}),
        ("authentication_failures", None, {"metrics": {"statuses": {"200": 100, "401": 200}}}),
        ("authentication_failures", None, {"logs": ["403 Invalid Token for tenant %d" % number for number in range(5)]}),
        ("rate_limiting", None, {"metrics": {"statuses": {"200": 100, "429": 200}}}),
        ("rate_limiting", None, {"metrics": {"rates": {"somabrain_rate_limited_total": 8.0}}}),
        ("rate_limiting", one("endpoint unknown rate_limited"), {}),
        ("audit_trail", one("database sick audit_gap"), {}),
        ("audit_trail", None, {"checks": [finding("data_reconciliation", "audit", "sick")]}),
        ("database_connectivity", one("database sick down_crashed"), {}),
        ("database_connectivity", one("database unknown crash_recovery"), {}),
        ("message_queue", one("queue sick down"), {}),
        ("monitoring_blindness", one("monitoring sick down"), {}),
        ("monitoring_blindness", None, {"metrics": {"error": "timed out"}}),
    ],
)  # fmt: skip
def test_each_type_is_confirmed_by_its_evidence(name: str, changed: t.Optional[dict[str, t.Any]], more: dict[str, t.Any]) -> None:
    found = types(seen(*([changed] if changed else []), **more))[name]
    assert found["verdict"] == "confirmed", found
    assert found["evidence"]


@pytest.mark.parametrize(
    ("name", "changed", "more", "said"),
    [
        ("working_memory_unavailable", one("working_memory unknown not_seen", text="cannot be reached"), {}, "cannot be reached"),
        ("api_outage", one("api unknown not_seen"), {}, "not known: api on one is unknown (not_seen)"),
        ("database_connectivity", one("database unknown auth"), {}, "database on one is unknown (auth)"),
        ("audit_trail", None, {"checks": []}, "nothing looks at: audit (no check reports it)"),
        ("audit_trail", None, {"checks": [finding("postgresql", "audit", "unknown")]}, "postgresql on one: y"),
        ("cognitive_performance", None, {"baseline": None}, "the latency against the baseline: there is no baseline"),
        ("cognitive_performance", None, {"metrics": {"over_seconds": None}}, "it is known only since the process started"),
        # Our own password may be what is wrong.
        ("authentication_failures", one("working_memory unknown auth"), {}, "nothing looks at: whether others than triage"),
        ("authentication_failures", None, {"logs": []}, "the log of api on one: no line was read"),
        ("monitoring_blindness", one("api sick stopped"), {"metrics": {"error": "refused"}}, ""),
    ],
)  # fmt: skip
def test_a_type_that_could_not_be_looked_at_is_unknown_and_not_denied(
    name: str, changed: t.Optional[dict[str, t.Any]], more: dict[str, t.Any], said: str
) -> None:
    found = types(seen(*([changed] if changed else []), **more))[name]
    # Metrics of a service that is down prove nothing about the monitoring.
    assert found["verdict"] == ("unknown" if said else "denied"), found
    assert any(said in line for line in found["evidence"]), found


def test_log_words_below_the_number_deny_nothing_else_and_stay_literal() -> None:
    nasty = "authentication failed $(reboot) {{ 7*7 }} \x1b[2J password=hunter2"
    assert types(seen(logs=[nasty] * 4))["authentication_failures"]["verdict"] == "denied"
    found = types(seen(logs=[nasty] * 5))["authentication_failures"]
    assert found["evidence"] == [
        "the log of api on one has 5 lines such as: authentication failed $(reboot) {{ 7*7 }} \\x1b[2J password=[redacted]"
    ]


RELEASE = {"at": "2027-01-15T07:00:00Z", "kind": "release", "host": "one", "what": "somabrain", "text": "2 -> 3", "source": "the ledger"}


@pytest.mark.parametrize(
    ("name", "command", "changed", "more"),
    [
        ("memory_timeout", "{recover_redis}", one("working_memory sick hung"), {}),
        ("memory_timeout", "{recover_all}", one("long_term_memory sick hung"), {}),
        ("lock_contention", "{unblock_database}", one("database sick blocked"), {}),
        ("error_spike_after_deployment", "{rollback}", one("api sick crashed"), {"changes": [RELEASE]}),
        ("error_spike_after_deployment", "{rollback}", None, {"changes": [RELEASE], "metrics": {"errors": 60, "error_rate": 0.2}}),
        ("authentication_failures", "", None, {"metrics": {"statuses": {"403": 300}}}),
        ("gradual_degradation", "{restart_service}", one("api sick leaking"), {}),
        (
            "gradual_degradation", "{restart_service}", None,
            {"baseline": {"api": {"latency_ms": {"now": 90.0, "median": 9.0}, "memory_bytes": {"now": 9e8, "median": 2e8}}}},
        ),
    ],
)  # fmt: skip
def test_each_pattern_is_confirmed_with_the_playbook_that_fits(
    name: str, command: str, changed: t.Optional[dict[str, t.Any]], more: dict[str, t.Any]
) -> None:
    found = patterns(seen(*([changed] if changed else []), **more))
    assert (found[name]["verdict"], found[name]["command"]) == ("confirmed", command)
    assert bool(found[name]["none"]) is (command == "")
    # Nothing is proposed for what was not confirmed.
    assert all(item["command"] == item["none"] == "" for item in found.values() if item["verdict"] != "confirmed")


@pytest.mark.parametrize(
    ("at", "verdict"),
    [
        ("2027-01-15T07:59:00Z", "confirmed"), ("2027-01-15T06:01:00Z", "confirmed"), ("2027-01-15T05:59:00Z", "denied"),
        ("2027-01-15T09:00:00Z", "unknown"), (NOW - 60, "confirmed"), (None, "unknown"), ("yesterday", "unknown"),
        ("2027-01-15T07:59:00", "unknown"), ("9999-12-31T23:59:59-23:59", "unknown"),
    ],
)  # fmt: skip
def test_a_release_counts_only_where_it_was_before_the_trouble(at: t.Any, verdict: str) -> None:
    # NOW is 2027-01-15T08:00:00Z.
    found = patterns(seen(one("api sick crashed"), changes=[dict(RELEASE, at=at)]))["error_spike_after_deployment"]
    assert found["verdict"] == verdict


def test_a_release_that_could_not_be_looked_for_leaves_it_open() -> None:
    host = {"changes": [], "unseen": [{"what": "releases", "why": "the ledger cannot be read"}]}
    evidence = evidence_of({"one": {"host": host}}, [one("api sick crashed")], [], None, NOW)
    found = patterns(evidence)["error_spike_after_deployment"]
    assert found["verdict"] == "unknown"
    assert "not known: a release within 120 minutes: one: the ledger cannot be read" in found["evidence"]
