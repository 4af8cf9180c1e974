# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When it began, what changed, who is at work and what was seen before: each with its source, and none of it made up."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage import changes, history, onset, plain, seen

NOW = 1_800_000_000.0
AT = plain.rfc3339


def clock(skew: float) -> dict[str, t.Any]:
    return {"name": "clock", "kind": "clock", "health": "well", "facts": {"skew": skew}}


def sick(kind: str, state: str, **facts: t.Any) -> dict[str, t.Any]:
    return {"name": kind, "kind": kind, "health": "sick", "state": state, "facts": facts, "findings": []}


@pytest.mark.parametrize(
    ("check", "look", "at", "source"),
    [
        (sick("redis", "down_clean", ended={"last_ended_at": NOW - 300}), {}, NOW - 300, "service manager"),
        (sick("application", "crashed", last_ended_at=NOW - 90), {}, NOW - 90, "service manager"),
        (sick("service", "failed", last_ended_at=None, manager="systemd"), {"host": {"boot_at": NOW - 600}}, NOW - 600, "boot"),
        # Another manager may have started before the boot was noticed, and says nothing of it.
        (sick("service", "failed", last_ended_at=None, manager="supervisor"), {"host": {"boot_at": NOW - 600}}, None, ""),
        (sick("service", "failed"), {"host": {"boot_at": NOW - 600}}, None, ""),
        (sick("postgresql", "blocked", locks={"longest_wait_seconds": 42}), {}, NOW - 42, "lock"),
        (sick("postgresql", "recovery_stuck", redo={"still_seconds": 60}), {}, NOW - 60, "replay"),
        # A process that hangs has not ended: the last time that it did says nothing.
        (sick("redis", "hung", ended={"last_ended_at": NOW - 300}), {}, None, ""),
        # The clock of the host is wrong by a known time.
        (sick("redis", "down_clean", ended={"last_ended_at": NOW + 40}), {"checks": [clock(60.0)]}, NOW - 20, "service manager"),
        (sick("postgresql", "blocked", locks={"longest_wait_seconds": 42}), {"checks": [clock(60.0)]}, NOW - 42, "lock"),
        # It is wrong by an unknown time: a time in the future is none.
        (sick("redis", "down_clean", ended={"last_ended_at": NOW + 4000}), {}, None, ""),
        (sick("redis", "down_clean", ended={"last_ended_at": "x"}), {}, None, ""),
        (sick("redis", "down_clean", ended={"last_ended_at": 12}), {}, None, ""),
        (dict(sick("redis", "down_clean", ended={"last_ended_at": NOW - 5}), health="well"), {}, None, ""),
    ],
)
def test_since_when_a_check_is_what_it_is(check: dict[str, t.Any], look: dict[str, t.Any], at: t.Optional[float], source: str) -> None:
    since = onset.since_of(check, look, NOW)
    assert since["at"] == AT(at)
    assert source in since["source"]
    assert bool(since["source"]) is (at is not None)
    assert since["text"]


def test_a_wrong_clock_is_said() -> None:
    since = onset.since_of(sick("redis", "down_clean", ended={"last_ended_at": NOW + 40}), {"checks": [clock(60.0)]}, NOW)
    assert "its clock is 60 s ahead" in since["text"]
    later = onset.since_of(sick("redis", "down_clean", ended={"last_ended_at": NOW + 4000}), {}, NOW)
    assert "future" in later["text"]


def finding(at: t.Optional[float], **more: t.Any) -> dict[str, t.Any]:
    since = {"at": AT(at), "source": "its service manager" if at else "", "text": "x"}
    return {"component": "redis", "class": "working_memory", "host": "h", "state": "down_clean", "health": "sick", "since": since, **more}


def proven(at: float) -> dict[str, t.Any]:
    return {"ledger": {"verified": {"redis": {"redis": {"at": at, "run_id": "r1"}}, "postgresql": {"x": {"at": NOW - 1}}}}}


def log(*lines: str, **more: t.Any) -> dict[str, t.Any]:
    return {"host": {"logs": {"redis": {"lines": list(lines), **more}}}}


@pytest.mark.parametrize(
    ("findings", "look", "expected"),
    [
        ([finding(NOW - 300)], {}, (NOW - 300, NOW - 300, NOW - 300)),
        ([finding(NOW - 300)], proven(NOW - 900), (NOW - 300, NOW - 900, NOW - 300)),
        # Of several the first; what is unknown has no time.
        ([finding(NOW - 10), finding(NOW - 300), finding(None)], {}, (NOW - 300, NOW - 300, NOW - 300)),
        ([finding(None)], proven(NOW - 900), (None, NOW - 900, NOW)),
        ([finding(None)], {}, (None, None, NOW)),
        # A later proof contradicts what the manager says.
        ([finding(NOW - 300)], proven(NOW - 100), (None, NOW - 100, NOW)),
        ([finding(NOW - 300, health="unknown")], {}, (None, None, None)),
        ([], {}, (None, None, None)),
        # The last line of its log, where that names its zone.
        ([finding(None)], log("1:M 15 Jan 2027 07:55:00.000 # bye"), (None, None, NOW)),
        ([finding(None)], log("2027-01-15T07:55:00Z bye", "no time"), (NOW - 300, NOW - 300, NOW - 300)),
        ([finding(None)], log(to=NOW - 60), (NOW - 60, NOW - 60, NOW - 60)),
        ([finding(None, state="hung")], log(to=NOW - 60), (None, None, NOW)),
    ],
)  # fmt: skip
def test_when_it_began(findings: list[dict[str, t.Any]], look: dict[str, t.Any], expected: tuple[t.Optional[float], ...]) -> None:
    made = onset.onset_of(findings, {"h": look}, NOW)
    assert (made["at"], made["earliest"], made["latest"]) == tuple(map(AT, expected))
    assert bool(made["source"]) is (expected[0] is not None)
    assert made["text"]


@pytest.mark.parametrize(
    ("given", "at", "text"),
    [
        ("2027-01-15T07:50:00Z", "2027-01-15T07:50:00Z", "10 min ago"), ("2027-01-15T08:50:00+01:00", "2027-01-15T07:50:00Z", "ago"),
        ("2027-01-15T09:00:00Z", "2027-01-15T09:00:00Z", "future"), ("2027-01-15 07:50:00", None, "time zone"), ("\x1b[2J", None, "\\x1b"),
    ],
)  # fmt: skip
def test_the_alert_is_told_apart_from_the_onset(given: str, at: t.Optional[str], text: str) -> None:
    made = onset.alert_of(given, NOW)
    assert made is not None
    assert made["at"] == at
    assert text in made["text"]
    assert onset.alert_of("", NOW) is onset.alert_of(None, NOW) is None


def run(run_id: str, ago: float, outcome: t.Optional[str], *acts: str, **more: t.Any) -> dict[str, t.Any]:
    closed = None if outcome is None else NOW - ago + 5
    return {
        "run_id": run_id, "host": "h", "component": "redis", "remedy": "redis_recovery", "owner": "alice", "opened_at": NOW - ago,
        "closed_at": closed, "outcome": outcome, "acts": list(acts), "codes": [], **more,
    }  # fmt: skip


def ledger(*runs: dict[str, t.Any], **more: t.Any) -> dict[str, t.Any]:
    return {"h": {"ledger": {"runs": list(runs), **more}}, "same keeper": {"ledger": {"runs": list(runs), **more}}}


REDIS = {"name": "redis", "class": "working_memory", "kind": "redis", "host": "h", "health": "sick", "checks": ["redis"]}
DAY = 86400.0


@pytest.mark.parametrize(
    ("runs", "count", "helped"),
    [
        ([], None, ""),
        ([run("a", 5 * DAY, "recovered", "start"), run("b", 2 * DAY, "recovered", "fix_cause", "start")], 3, "start helped twice"),
        ([run("a", 5 * DAY, "recovered", "restart"), run("b", 2 * DAY, "recovered", "start")], 3, "restart helped once, start helped once"),
        # A refusal and the approval after it are one time.
        ([run("a", DAY, "refused"), run("b", DAY - 60, "recovered_with_loss", "mend")], 2, "mend helped once"),
        # The last one did not end well: this is still the same time.
        ([run("a", DAY, "recovered", "start"), run("b", 600, "failed", "start")], 2, "start helped once"),
        ([run("a", 600, "refused")], 1, ""),
        ([run("a", 8 * DAY, "recovered", "start")], None, ""),
        ([run("a", DAY, "nothing_to_do"), run("b", DAY, "rehearsed", "start"), run("c", 5, None)], None, ""),
        ([run("a", 99, "failed", "start"), run("b", 90, "nothing_to_do"), run("c", 60, "recovered", "start")], 3, "start helped once"),
        ([run("a", DAY, "recovered", "start", host="k")], None, ""),
        ([run("a", DAY, "recovered", "start", remedy="database_recovery", component="postgresql")], None, ""),
    ],
)  # fmt: skip
def test_what_was_seen_before_and_what_helped(runs: list[dict[str, t.Any]], count: t.Optional[int], helped: str) -> None:
    found = history.before(ledger(*runs), [REDIS, dict(REDIS, health="well", host="h")], NOW)
    assert [one["count"] for one in found] == ([] if count is None else [count])
    if found:
        assert found[0]["helped"] == helped
        assert "in 7 days" in found[0]["text"]


LEASE = {"host": "h", "component": "redis", "run_id": "r9", "owner": "bob", "phase": "act", "taken_at": NOW - 30, "ends_at": NOW + 90}
HOLD = {
    "id": 4, "host": "h", "component": "redis", "kind": "service_manager", "run_id": "r1", "begun_at": NOW - 900, "ends_at": None,
    "body": {"tasks_from": "supervisor/release.yml", "vars": {"service_manager_name": "redis"}},
}  # fmt: skip
MAINTENANCE = {
    "id": 5, "host": "h", "component": "api", "kind": "traffic_scaling/maintenance/api", "run_id": "r2", "begun_at": NOW - 900,
    "ends_at": NOW + 60, "body": {"left": [{"what": "maintenance", "text": "pool api is in maintenance", "command": "{reconcile}"}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("looked", "kinds", "text"),
    [
        (ledger(), [], ""),
        (ledger(run("r9", 30, None), leases=[LEASE]), ["lease"], "run r9 of bob is at work, at act"),
        (ledger(leases=[dict(LEASE, ends_at=NOW - 60)]), ["lease"], "expired 60 s ago"),
        (ledger(run("r3", 30, None)), ["run"], "not closed"),
        (ledger(owed=[HOLD]), ["owed"], "kept from starting redis"),
        (ledger(owed=[MAINTENANCE]), ["maintenance"], "pool api is in maintenance"),
        (ledger(owed=[dict(MAINTENANCE, ends_at=NOW - 5)]), ["maintenance"], "left it behind"),
        (ledger(run("r2", 900, "abandoned"), owed=[MAINTENANCE]), ["maintenance"], "left it behind"),
        (ledger(run("r4", 600, "refused", codes=["approval_needed"])), ["approval"], "waits for the approval"),
        (ledger(run("r4", 600, "refused", codes=["approval_needed"]), run("r5", 60, "recovered", "mend")), [], ""),
        (ledger(run("r4", 3 * DAY, "refused", codes=["approval_needed"])), [], ""),
        (ledger(run("r4", 600, "refused", codes=["port_taken"])), [], ""),
        ({"h": {"ledger": {"flags": {"freeze": "/x/freeze: release\x1b[m day", "kill": None}}}}, ["freeze"], "\\x1b"),
        ({"h": {"ledger": {"runs": [None, 5, {}], "leases": "x", "owed": [{"kind": None, "body": 7}]}}}, ["run", "owed"], ""),
        ({"h": None, "k": {"ledger": []}}, [], ""),
        ({"h": {"checks": [{"name": "pool", "state": "maintenance", "health": "well"}]}}, ["maintenance"], "until a person ends it"),
    ],
)  # fmt: skip
def test_who_and_what_is_at_work(looked: dict[str, t.Any], kinds: list[str], text: str) -> None:
    found = history.at_work(looked, NOW)
    assert [one["kind"] for one in found] == kinds
    assert not text or text in found[0]["text"]


def test_a_pool_that_a_dead_run_left_in_maintenance_is_sick() -> None:
    pool = {
        "name": "balancer",
        "kind": "balancer",
        "health": "well",
        "state": "maintenance",
        "findings": [{"state": "well", "text": "pool api"}],
    }
    looked = ledger(owed=[MAINTENANCE])
    looked["h"]["checks"] = [pool]

    def judged(now: float) -> list[str]:
        return [one["state"] for one in seen.components_of(looked, {}, now) if one["health"] == "sick"]

    assert judged(NOW) == []
    assert judged(NOW + 61) == ["maintenance_left"]


def test_what_changed_newest_first_each_once_with_its_source() -> None:
    host = {
        "boot_at": NOW - 3600,
        "changes": [
            {"at": NOW - 60, "kind": "package", "what": "redis", "text": "redis was upgraded\x1b[m", "source": "dpkg"},
            {"at": NOW - 60, "kind": "package", "what": "redis", "text": "redis was upgraded\x1b[m", "source": "dpkg"},
            {"at": NOW - 3601, "kind": "reboot", "what": "h", "text": "booted", "source": "journal"},
            {"at": NOW - 9000, "kind": "unit", "what": "old"}, {"at": NOW + 900, "kind": "unit", "what": "future"}, {"at": "x"}, None,
        ],
    }  # fmt: skip
    looked: dict[str, t.Any] = ledger(run("r7", 1800, "recovered", "start"), run("r8", 900, "nothing_to_do"))
    looked["h"]["host"] = host
    looked["h"]["ledger"]["verified"] = {
        "api": {"release:abc": {"release": "abc", "at": NOW - 120, "run_id": "r6"}, "application": {"at": NOW}}
    }
    looked["h"]["checks"] = [
        {
            "name": "etc",
            "kind": "configuration",
            "state": "drifted",
            "findings": [{"name": "warning", "state": "well", "text": "etc: uncommitted"}],
        }
    ]
    found = changes.changes_of(looked, NOW)
    assert [one["kind"] for one in found] == ["configuration", "package", "release", "run", "reboot"]
    assert all(one["source"] and one["at"] and one["text"].isprintable() for one in found)
    assert "not known" in found[0]["text"]


def test_the_time_of_a_change_is_put_right_by_what_the_clock_of_its_host_is_wrong() -> None:
    change = {"at": NOW + 100, "kind": "unit", "what": "x", "text": "y", "source": "z"}
    looked = {"h": {"checks": [clock(160.0)], "host": {"changes": [change]}}}
    assert [one["at"] for one in changes.changes_of(looked, NOW)] == [AT(NOW - 60)]


@pytest.mark.parametrize("value", [None, "x", float("nan"), float("inf"), True, 1e300, -5, [], {}, "1e999"])
def test_what_is_no_time_is_none(value: t.Any) -> None:
    assert plain.moment(value) is None
    assert plain.rfc3339(plain.moment(value)) is None


SECRETS = (
    "redis://u:hunter2@h/0", "https://h/x?api_key=hunter2", "Authorization: Bearer hunter2x", "requirepass hunter2", "password=hunter2",
    "-----BEGIN PRIVATE KEY-----hunter2", "AUTH hunter2", "x?sig=hunter2 https://h/x?sig=hunter2", "https://hooks.slack.com/services/hunter2",
)  # fmt: skip


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_taken_out_whatever_else_is_skipped(text: str) -> None:
    assert plain.word(text) == one_line(redact(text), 200)
    assert plain.word("plain text of 3 words") == "plain text of 3 words"
