# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether waits for a lock make PostgreSQL sick, and what may be done: tables of sessions, and the state that follows."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.blocked import judge_blocked

RIGHTS = {"user": "watch", "superuser": False, "sees_all": True, "may_signal": True, "system_identifier": "7", "started": "today"}
LIMITS = {"limit_seconds": 30.0, "off_limits_users": [], "off_limits_applications": [], "expected_identity": {}}


def session(pid: int, *blocked_by: int, wait: float = 40.0, age: float = 60.0, **given: t.Any) -> dict[str, t.Any]:
    row = {
        "pid": pid, "backend_start": "b%d" % pid, "query_start": "q%d" % pid, "state": "active", "user": "app", "database": "soma",
        "application": "api", "backend_type": "client backend", "leader": None, "superuser": False, "replication": False,
        "same_role": False, "itself": False, "transaction_seconds": age, "state_seconds": 1.0,
        "wait_seconds": wait if blocked_by else None, "waits": bool(blocked_by), "blocked_by": list(blocked_by), "prepared": [],
        "query": "select 'SECRET'",
    }  # fmt: skip
    return dict(row, **given)


STATES = [
    pytest.param([], "free", "well", [], id="nobody waits"),
    pytest.param([session(1), session(2, 1, wait=30)], "free", "well", [], id="a wait within the limit"),
    pytest.param([session(1), session(2, 1)], "blocked", "sick", [1], id="a root that may be ended"),
    pytest.param([session(1, superuser=True), session(2, 1)], "blocked_off_limits", "sick", [], id="a root that may not"),
    pytest.param([session(1, superuser=True), session(2, 1), session(3), session(4, 3)], "blocked", "sick", [3], id="one of each"),
    pytest.param([session(1), session(2, 1), session(3), session(4, 3, wait=5)], "blocked", "sick", [1], id="short waits have no target"),
    pytest.param([session(1, age=3), session(2, 1)], "queueing", "sick", [], id="a root that has only just got its turn"),
    pytest.param([session(1, 2), session(2, 1)], "in_circle", "sick", [], id="a circle"),
    pytest.param([session(2, 1)], "queueing", "sick", [], id="the blocker has ended meanwhile"),
]


@pytest.mark.parametrize(("sessions", "state", "health", "targets"), STATES)
def test_states(sessions: list[dict[str, t.Any]], state: str, health: str, targets: list[int]) -> None:
    seen = judge_blocked({"sessions": sessions, "rights": RIGHTS, "error": "", "sqlstate": ""}, LIMITS)
    assert (seen.state, seen.health.value, [one["pid"] for one in seen.facts["targets"]]) == (state, health, targets)
    assert list(seen.actions) == (["unblock"] if targets else [])
    assert seen.identity == {"system_identifier": "7", "start_time": "today", "role": "primary"}
    assert "SECRET" not in repr(seen)


@pytest.mark.parametrize(
    ("raw", "state", "words"),
    [
        ({"sessions": [], "rights": {}, "error": "no answer in time", "sqlstate": "57014"}, "", "no answer in time"),
        ({"sessions": [], "rights": {}, "error": "password authentication failed", "sqlstate": "28P01"}, "auth", "password"),
        ({"sessions": [], "rights": dict(RIGHTS, sees_all=False), "error": "", "sqlstate": ""}, "", "grant it pg_monitor"),
    ],
)
def test_what_is_not_seen_is_unknown(raw: dict[str, t.Any], state: str, words: str) -> None:
    seen = judge_blocked(raw, LIMITS)
    assert (seen.health.value, seen.state, seen.actions) == ("unknown", state, ())
    assert words in seen.findings[0].text


def test_another_cluster_than_the_pinned_one_is_never_acted_on() -> None:
    raw = {"sessions": [session(1), session(2, 1)], "rights": RIGHTS, "error": "", "sqlstate": ""}
    seen = judge_blocked(raw, dict(LIMITS, expected_identity={"system_identifier": "8"}))
    assert (seen.facts["identity_mismatch"], seen.actions) == (True, ())
    # The pins of recover-database hold here too, as far as they are seen.
    same = judge_blocked(raw, dict(LIMITS, expected_identity={"system_identifier": 7, "role": "primary", "port": 5432}))
    assert (same.facts["identity_mismatch"], same.actions) == (False, ("unblock",))
