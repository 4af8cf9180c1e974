# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at the root of the waits, and what may be done about each: tables of sessions as PostgreSQL tells them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.locks import (
    CANCEL,
    NONE,
    TERMINATE,
    allowed,
    judge,
    raw_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import SqlError

RIGHTS = {"user": "watch", "superuser": False, "sees_all": True, "may_signal": True, "version": 150018, "standby": False}
TX = "idle in transaction"


def session(pid: int, *blocked_by: int, wait: float = 0.0, **given: t.Any) -> dict[str, t.Any]:
    """A client that runs a statement; one that is blocked waits for *wait* seconds."""
    row = {
        "pid": pid, "backend_start": "2026-01-01 00:00:00+00", "query_start": "2026-01-01 00:01:00+00", "state": "active", "user": "app",
        "database": "soma", "application": "api", "backend_type": "client backend", "leader": None, "superuser": False,
        "replication": False, "same_role": False, "itself": False, "transaction_seconds": 90.0,
        "state_seconds": 60.0, "wait_seconds": wait if blocked_by else None, "waits": bool(blocked_by), "blocked_by": list(blocked_by),
        "prepared": [], "query": "update t set x = 'SECRET' where id = %d" % pid,
    }  # fmt: skip
    return dict(row, **given)


def prepared(gid: str = "g", held: str = "ExclusiveLock", wanted: str = "ShareLock") -> dict[str, t.Any]:
    return {"gid": gid, "owner": "app", "database": "soma", "held": held, "wanted": wanted, "age_seconds": 7.0}


def judged(*sessions: dict[str, t.Any], **rules: t.Any) -> dict[str, t.Any]:
    found = judge({"sessions": list(sessions), "rights": RIGHTS, "error": ""}, rules)
    assert "SECRET" not in repr(found)
    assert all(len(line) <= 100 and line.isprintable() for line in found["table"])
    return found


def roots(found: dict[str, t.Any]) -> list[tuple[t.Any, list[int], float]]:
    return [(one["pid"] or one["gid"], one["blocked"], one["longest_wait_seconds"]) for one in found["roots"]]


TREES = [
    pytest.param([], [], id="nobody waits"),
    pytest.param([session(1), session(2, 1, wait=5)], [(1, [2], 5.0)], id="one behind one"),
    pytest.param([session(1), session(2, 1, wait=5), session(3, 2, wait=9)], [(1, [2, 3], 9.0)], id="the one in between is no root"),
    pytest.param(
        [session(1), session(2, 1, wait=5), session(3, 1, 2, wait=4)], [(1, [2, 3], 5.0)], id="who waits ahead in the queue is no root"
    ),
    pytest.param(
        [session(1), session(2, 1, wait=5), session(3), session(4, 3, wait=8)],
        [(3, [4], 8.0), (1, [2], 5.0)],
        id="two trees, longest first",
    ),
    pytest.param([session(1), session(2), session(3, 1, 2, wait=5)], [(1, [3], 5.0), (2, [3], 5.0)], id="two roots of one"),
    pytest.param([session(2, 1, wait=5)], [], id="the blocker has ended meanwhile"),
    pytest.param([session(1, 9, wait=3), session(2, 1, wait=5)], [], id="a blocker that itself waits, for one that has ended, is no root"),
    pytest.param([session(2, 0, wait=5, prepared=[prepared()])], [("g", [2], 5.0)], id="a prepared transaction"),
    pytest.param([session(2, 0, wait=5)], [("?", [2], 5.0)], id="a prepared transaction that ended while we looked"),
    pytest.param(
        [session(2, 0, wait=5, prepared=[prepared("other", "AccessShareLock", "ShareLock"), prepared()])],
        [("g", [2], 5.0)],
        id="a prepared transaction whose lock is compatible blocks nobody",
    ),
    pytest.param(
        [session(1), session(10, 1, wait=6, leader=2), session(2), session(3, 2, wait=4)],
        [(1, [2, 3], 6.0)],
        id="a parallel worker that waits is its leader waiting",
    ),
    pytest.param([session(2), session(10, 2, wait=4, leader=2)], [], id="a worker behind its own leader is no wait for another"),
]


@pytest.mark.parametrize(("sessions", "expected"), TREES)
def test_roots(sessions: list[dict[str, t.Any]], expected: list[tuple[t.Any, list[int], float]]) -> None:
    assert roots(judged(*sessions)) == expected


def test_a_circle_is_left_to_postgresql_and_has_no_root() -> None:
    found = judged(session(1, 2, wait=1), session(2, 1, wait=1), session(3, 1, wait=2))
    assert (found["roots"], found["circles"], found["waiting"]) == ([], [[1, 2]], 3)
    assert "in a circle: 1, 2" in found["table"]


def test_a_circle_behind_a_root_has_that_root() -> None:
    found = judged(session(9), session(1, 2, 9, wait=1), session(2, 1, wait=3))
    assert (roots(found), found["circles"]) == ([(9, [1, 2], 3.0)], [[1, 2]])


ACTS = [
    ({}, CANCEL, "is running"),
    ({"state": "fastpath function call"}, CANCEL, "is running"),
    ({"state": TX}, TERMINATE, "a cancel has no effect"),
    ({"state": TX + " (aborted)"}, TERMINATE, "a cancel has no effect"),
    ({"state": "idle"}, NONE, "advisory lock"),
    ({"state": "disabled"}, NONE, "track_activities"),
    ({"state": None}, NONE, "track_activities"),
    ({"superuser": True}, NONE, "superuser"),
    ({"superuser": None}, NONE, "superuser"),
    ({"replication": True}, NONE, "replication"),
    ({"itself": True}, NONE, "our own session"),
    ({"backend_type": None}, NONE, "pg_monitor"),
    ({"backend_type": "walsender"}, NONE, "walsender"),
    ({"backend_type": "logical replication worker"}, NONE, "is not a client"),
    ({"backend_type": "autovacuum worker", "query": "autovacuum: VACUUM t (to prevent wraparound)"}, NONE, "prevents wraparound"),
    ({"backend_type": "autovacuum worker", "query": "autovacuum: VACUUM t"}, NONE, "autovacuum worker is not a client"),
    ({"application": "pgBackRest [backup]"}, NONE, "application matches pgbackrest*"),
    ({"application": "pg_dump"}, NONE, "pg_dump*"),
    ({"application": "PG_BaseBackup"}, NONE, "pg_basebackup*"),
    ({"application": "alembic"}, NONE, "alembic*"),
    ({"application": "django-migrate"}, NONE, "*migrat*"),
    ({"application": "somabrain-remediation"}, NONE, "somabrain-remediation"),
    ({"user": "Replicator"}, NONE, "user matches *replicat*"),
    ({"user": "billing"}, NONE, "user matches BILL*"),
    ({"application": "etl 7"}, NONE, "application matches etl ?"),
    ({"query": 'UPDATE "django_migrations" SET x = 1'}, NONE, "migration"),
    ({"query": "create unique  index\nconcurrently i on t (x)"}, NONE, "invalid"),
    ({"query": "REINDEX (VERBOSE) TABLE CONCURRENTLY t"}, NONE, "invalid"),
    ({"query": "select 'alembic_version'"}, CANCEL, "is running"),
]


@pytest.mark.parametrize(("given", "action", "why"), ACTS)
def test_what_each_root_allows(given: dict[str, t.Any], action: str, why: str) -> None:
    rules = {"off_limits_users": ["BILL*"], "off_limits_applications": ["etl ?"]}
    found = allowed(session(1, **given), rules, RIGHTS)
    assert found[0] == action
    assert why in found[1]


@pytest.mark.parametrize(
    ("rights", "given", "action"),
    [
        ({"may_signal": False}, {}, NONE),
        ({"may_signal": False}, {"same_role": True}, CANCEL),
        ({"may_signal": False, "superuser": True}, {}, CANCEL),
        ({}, {"superuser": True}, NONE),
    ],
)
def test_no_act_without_the_right_to_it(rights: dict[str, t.Any], given: dict[str, t.Any], action: str) -> None:
    assert allowed(session(1, **given), {}, {**RIGHTS, **rights})[0] == action


def test_hostile_names_and_texts_are_told_as_plain_lines() -> None:
    evil = "\x1b[31m{{ lookup('pipe','id') }}\nroot: yes \u202e" + "x" * 300
    found = judged(session(1, application=evil, user=evil, query='select "' + evil), session(2, 1, wait=3, application=evil))
    assert "\x1b" not in repr(found["roots"])
    assert found["roots"][0]["query"] == 'select "?"'


def test_a_failed_statement_is_not_shown() -> None:
    [root] = judged(session(1, state=TX + " (aborted)", query="SECRET is no sql"), session(2, 1, wait=3))["roots"]
    assert root["query"] == ""
    assert len(root["fingerprint"]) == 12


def test_the_table_is_a_tree_and_is_cut_aloud() -> None:
    table = judged(session(1, state=TX), session(2, 1, wait=5), session(3, 2, wait=4))["table"]
    assert table[0] == "1 api of app, idle in transaction 90 s: blocks 2, longest 5 s"
    assert table[3:] == ["  `- 2 api waits 5 s", "    `- 3 api waits 4 s"]
    many = judged(session(1), *(session(pid, *range(1, pid), wait=5) for pid in range(2, 300)))["table"]
    assert (len(many), many[-1]) == (41, "... 261 lines more")


LATE = SqlError("57014", "no answer in time")
Answer = t.Union[t.List[t.Dict[str, t.Any]], SqlError]


@pytest.mark.parametrize(("waits", "rights"), [(LATE, [RIGHTS]), ([], LATE), ([], [])])
def test_no_answer_is_not_no_waits(waits: Answer, rights: Answer) -> None:
    found = judge(raw_of({"lock_waits": waits, "lock_rights": rights}))
    assert found["error"]
    assert found["roots"] == []


def test_an_empty_answer_is_no_waits() -> None:
    found = judge(raw_of({"lock_waits": [], "lock_rights": [RIGHTS]}))
    assert (found["error"], found["waiting"], found["roots"]) == ("", 0, [])
