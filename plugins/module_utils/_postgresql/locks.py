# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who waits for whom in PostgreSQL: reads the waits, and judges which sessions are at their root.

``psql.ask`` runs all ``QUERIES`` together, ``raw_of`` turns the answers into plain data, ``judge`` names the roots: sessions that block
others and wait for none. Query texts become fingerprints here; no literal leaves this file.
"""

from __future__ import annotations

import fnmatch
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.fingerprint import fingerprint
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import Query, Row, SqlError

# Sessions that no run ends, by application_name; case does not matter.
OFF_LIMITS_APPLICATIONS = (
    "pgbackrest*", "pg_basebackup*", "pg_dump*", "pg_restore*", "pg_receivewal*", "pg_recvlogical*", "pg_rewind*", "barman*", "wal-g*",
    "alembic*", "flyway*", "liquibase*", "*migrat*", "somabrain-remediation",
)  # fmt: skip
OFF_LIMITS_USERS = ("*replicat*", "*backup*", "pgbackrest*", "barman*", "*migrat*")
# Where migration tools record their work: a session that uses one is a migration, whatever its application_name.
MIGRATION_TABLES = ("alembic_version", "django_migrations", "schema_migrations", "flyway_schema_history", "databasechangelog")
# Lock mode -> the modes that conflict with it.
CONFLICTS = {
    "AccessShareLock": "AccessExclusiveLock",
    "RowShareLock": "ExclusiveLock AccessExclusiveLock",
    "RowExclusiveLock": "ShareLock ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock",
    "ShareUpdateExclusiveLock": "ShareUpdateExclusiveLock ShareLock ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock",
    "ShareLock": "RowExclusiveLock ShareUpdateExclusiveLock ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock",
    "ShareRowExclusiveLock": "RowExclusiveLock ShareUpdateExclusiveLock ShareLock ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock",
    "ExclusiveLock":
        "RowShareLock RowExclusiveLock ShareUpdateExclusiveLock ShareLock ShareRowExclusiveLock ExclusiveLock AccessExclusiveLock",
    "AccessExclusiveLock":
        "AccessShareLock RowShareLock RowExclusiveLock ShareUpdateExclusiveLock ShareLock ShareRowExclusiveLock ExclusiveLock "
        "AccessExclusiveLock",
}  # fmt: skip
CANCEL, TERMINATE, NONE = "cancel", "terminate", "none"
# A longer tree is cut, and says so.
TABLE_LINES = 40

# pg_blocking_pids returns the leader for a parallel worker, and 0 for a prepared transaction, which we find by the locks it holds.
# `waitstart` exists since 14 (before, a wait counts from the start of its statement), `leader_pid` since 13: missing ones are null.
_WAITS = """
WITH locks AS MATERIALIZED (
  SELECT *, to_jsonb(l) ->> 'waitstart' AS since,
    ROW(locktype, database, relation, page, tuple, virtualxid, transactionid, classid, objid, objsubid)::text AS target FROM pg_locks AS l
), waits AS MATERIALIZED (
  SELECT pid, pg_blocking_pids(pid) AS blocked_by, min(since::timestamptz) AS since FROM locks WHERE NOT granted GROUP BY pid
), prepared AS MATERIALIZED (
  SELECT waiting.pid, jsonb_agg(jsonb_build_object('gid', x.gid, 'owner', x.owner, 'database', x.database, 'wanted', waiting.mode,
    'held', holding.mode, 'age_seconds', extract(epoch FROM clock_timestamp() - x.prepared))) AS by
  FROM locks AS waiting
  JOIN locks AS holding ON holding.target = waiting.target AND holding.granted AND holding.pid IS NULL
  JOIN locks AS own ON own.virtualtransaction = holding.virtualtransaction AND own.locktype = 'transactionid' AND own.pid IS NULL
  JOIN pg_prepared_xacts AS x ON x.transaction = own.transactionid
  WHERE NOT waiting.granted GROUP BY waiting.pid
), meant AS (
  SELECT pid FROM waits UNION SELECT unnest(blocked_by) FROM waits
  UNION SELECT (to_jsonb(a) ->> 'leader_pid')::int FROM pg_stat_activity AS a JOIN waits USING (pid)
)
SELECT a.pid, a.backend_start::text, a.query_start::text, a.state, a.usename AS user, a.datname AS database,
  a.application_name AS application, a.backend_type, (to_jsonb(a) ->> 'leader_pid')::int AS leader,
  r.rolsuper AS superuser, r.rolreplication AS replication,
  pg_has_role(a.usesysid, 'USAGE') AS same_role, a.pid = pg_backend_pid() AS itself,
  extract(epoch FROM clock_timestamp() - a.xact_start) AS transaction_seconds,
  extract(epoch FROM clock_timestamp() - a.state_change) AS state_seconds,
  extract(epoch FROM clock_timestamp()
    - CASE WHEN current_setting('server_version_num')::int < 140000 THEN a.query_start ELSE waits.since END) AS wait_seconds,
  waits.pid IS NOT NULL AS waits,
  coalesce(waits.blocked_by, '{}') AS blocked_by, coalesce(prepared.by, '[]') AS prepared, left(a.query, 16384) AS query
FROM pg_stat_activity AS a JOIN meant USING (pid) LEFT JOIN waits USING (pid) LEFT JOIN prepared USING (pid)
LEFT JOIN pg_roles AS r ON r.oid = a.usesysid
"""
_RIGHTS = """
SELECT current_user AS user, me.rolsuper AS superuser, pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all,
  pg_has_role('pg_signal_backend', 'USAGE') AS may_signal, current_setting('server_version_num')::int AS version,
  pg_is_in_recovery() AS standby, pg_postmaster_start_time()::text AS started,
  (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier
FROM pg_roles AS me WHERE me.rolname = current_user
"""
QUERIES: dict[str, Query] = {"lock_waits": Query(_WAITS), "lock_rights": Query(_RIGHTS)}


def raw_of(answers: t.Mapping[str, t.Union[t.List[Row], SqlError]]) -> dict[str, t.Any]:
    """Return {sessions, rights, error} of the answers to ``QUERIES``; after an error the sessions are unknown, not none."""
    waits, rights = answers["lock_waits"], answers["lock_rights"]
    if isinstance(waits, SqlError) or isinstance(rights, SqlError) or not rights:
        failed = next((one for one in (waits, rights) if isinstance(one, SqlError)), None)
        return {"sessions": [], "rights": {}, "error": str(failed or "our own role is not in pg_roles")}
    return {"sessions": waits, "rights": rights[0], "error": ""}


def judge(raw: t.Mapping[str, t.Any], rules: t.Optional[t.Mapping[str, t.Any]] = None) -> dict[str, t.Any]:
    """Return {waiting, longest_wait_seconds, roots, circles, table, error} of what ``raw_of`` gave.

    *rules* may have `off_limits_applications` and `off_limits_users`, patterns in addition to the built-in ones. A root has pid (0 for a
    prepared transaction), backend_start, query_start, state, user, database, application, backend_type, gid, age_seconds,
    blocked (pids, all that wait behind it), blocked_count, longest_wait_seconds, fingerprint, query (without data), action and why
    (why that action, or why none). The root with the longest wait behind it comes first.
    """
    sessions = _by_pid(raw.get("sessions") or [])
    edges = {pid: _blockers(one, sessions) for pid, one in sessions.items()}
    waiting = {pid: one for pid, one in sessions.items() if one["waits"]}
    behind = _behind(edges)
    at_root = [key for key in behind if isinstance(key, str) or not (edges[key] or key in waiting)]
    roots = [_root(key, sessions, behind[key], rules or {}, raw.get("rights") or {}) for key in at_root]
    roots.sort(key=lambda root: (-root["longest_wait_seconds"], root["pid"], root["gid"]))
    found: dict[str, t.Any] = {
        "waiting": len(waiting),
        "longest_wait_seconds": max([_seconds(one) for one in waiting.values()], default=0.0),
        "roots": roots,
        "circles": _circles(edges, behind),
        "error": str(raw.get("error") or ""),
    }
    return dict(found, table=_table(found, sessions, edges))


# A blocker: the pid of a session, or the gid of a prepared transaction.
Key = t.Union[int, str]


def _by_pid(rows: t.Sequence[Row]) -> dict[int, Row]:
    """Return the sessions by pid; a parallel worker that waits is its leader waiting."""
    sessions = {int(row["pid"]): dict(row) for row in rows}
    for pid, row in list(sessions.items()):
        leader = sessions.get(row.get("leader") or pid, row)
        if leader is not row:
            leader["blocked_by"] = list(leader["blocked_by"]) + list(row["blocked_by"])
            leader["prepared"] = list(leader["prepared"]) + list(row["prepared"])
            leader["waits"] = leader["waits"] or row["waits"]
            leader["wait_seconds"] = max(_seconds(leader), _seconds(row))
            del sessions[pid]
    return sessions


def _blockers(session: Row, sessions: t.Mapping[int, Row]) -> set[Key]:
    """Return whom a session waits for, without sessions that have ended since and without itself (its parallel workers)."""
    keys: set[Key] = {pid for pid in session["blocked_by"] if pid in sessions and pid != session["pid"]}
    conflicting = [one for one in session["prepared"] if one["held"] in CONFLICTS.get(one["wanted"], one["held"]).split()]
    keys |= {str(one["gid"]) for one in conflicting}
    if 0 in session["blocked_by"] and not conflicting:
        keys.add("?")
    return keys


def _behind(edges: t.Mapping[int, t.Set[Key]]) -> dict[Key, set[int]]:
    """Return all sessions that wait for each blocker, directly or not."""
    direct: dict[Key, set[int]] = {}
    for pid, keys in edges.items():
        for key in keys:
            direct.setdefault(key, set()).add(pid)
    behind = {}
    for key in direct:
        found: set[int] = set()
        ahead = list(direct[key])
        while ahead:
            pid = ahead.pop()
            if pid not in found:
                found.add(pid)
                ahead += direct.get(pid, ())
        behind[key] = found
    return behind


def _circles(edges: t.Mapping[int, t.Set[Key]], behind: t.Mapping[Key, t.Set[int]]) -> list[list[int]]:
    """Return the sessions that wait for each other in a circle; PostgreSQL resolves those itself after deadlock_timeout."""
    circles: list[list[int]] = []
    for pid in sorted(pid for pid in edges if pid in behind.get(pid, ())):
        if not any(pid in circle for circle in circles):
            circles.append(sorted(other for other in behind[pid] if pid in behind.get(other, ())))
    return circles


def _root(key: Key, sessions: t.Mapping[int, Row], behind: t.Set[int], rules: t.Mapping[str, t.Any], rights: Row) -> dict[str, t.Any]:
    behind_it = {
        "blocked": sorted(behind),
        "blocked_count": len(behind),
        "longest_wait_seconds": max([_seconds(sessions[pid]) for pid in behind], default=0.0),
    }
    return dict(_session(sessions[key], rules, rights) if isinstance(key, int) else _prepared(key, sessions.values()), **behind_it)


def _session(row: Row, rules: t.Mapping[str, t.Any], rights: Row) -> dict[str, t.Any]:
    action, why = allowed(row, rules, rights)
    # The last statement of a failed transaction may not be SQL at all, so none of it is shown.
    short, text = fingerprint(str(row.get("query") or ""))
    # An idle session with a lock of its own has no transaction.
    age = next((row[name] for name in ("transaction_seconds", "state_seconds") if row.get(name) is not None), 0)
    return {
        "pid": int(row["pid"]),
        "gid": "",
        "backend_start": str(row.get("backend_start") or ""),
        "query_start": str(row.get("query_start") or ""),
        "state": str(row.get("state") or ""),
        "user": one_line(row.get("user") or "", 64),
        "database": one_line(row.get("database") or "", 64),
        "application": one_line(row.get("application") or "", 64),
        "backend_type": str(row.get("backend_type") or ""),
        "age_seconds": round(float(age), 1),
        "fingerprint": short,
        "query": "" if row.get("state") == "idle in transaction (aborted)" else text,
        "action": action,
        "why": why,
    }


def _prepared(gid: str, waiting: t.Iterable[Row]) -> dict[str, t.Any]:
    found = [one for row in waiting for one in row["prepared"] if one["gid"] == gid]
    one = found[0] if found else {}
    return {
        "pid": 0, "gid": one_line(gid, 80), "backend_start": "", "query_start": "", "state": "prepared",
        "user": one_line(one.get("owner") or "", 64), "database": one_line(one.get("database") or "", 64), "application": "",
        "backend_type": "prepared transaction", "age_seconds": round(float(one.get("age_seconds") or 0), 1), "fingerprint": "",
        "query": "", "action": NONE,
        "why": "its coordinator must end a prepared transaction (COMMIT PREPARED or ROLLBACK PREPARED); no run does",
    }  # fmt: skip


def allowed(row: Row, rules: t.Mapping[str, t.Any], rights: Row) -> tuple[str, str]:
    """Return the act that a root allows and why: cancel, terminate, or none and why it is off limits."""
    against = _off_limits(row, rules) or _no_right(row, rights)
    if against:
        return NONE, against
    state = str(row.get("state") or "")
    if state in ("active", "fastpath function call"):
        return CANCEL, "its statement is running: a cancel ends it, and its client rolls back the transaction"
    if state.startswith("idle in transaction"):
        return TERMINATE, "it is idle in a transaction, where a cancel has no effect"
    if state == "idle":
        return NONE, "it is idle outside a transaction and holds an advisory lock, which it took on purpose"
    return NONE, "its state cannot be seen (track_activities is off)"


def _off_limits(row: Row, rules: t.Mapping[str, t.Any]) -> str:
    kind, query = str(row.get("backend_type") or ""), str(row.get("query") or "")
    if not kind:
        return "we cannot see it: grant pg_monitor to our role"
    if kind == "autovacuum worker" and "to prevent wraparound" in query:
        return "an autovacuum that prevents wraparound: without it the database stops accepting writes"
    if kind != "client backend":
        return "a %s is not a client" % one_line(kind, 40)
    if row.get("itself"):
        return "it is our own session"
    if row.get("superuser") is not False:
        return "a session of a superuser"
    if row.get("replication"):
        return "a session of a replication role"
    return _named_off_limits(row, rules) or _doing_off_limits(query)


def _named_off_limits(row: Row, rules: t.Mapping[str, t.Any]) -> str:
    given = (
        ("application", OFF_LIMITS_APPLICATIONS + tuple(rules.get("off_limits_applications") or ())),
        ("user", OFF_LIMITS_USERS + tuple(rules.get("off_limits_users") or ())),
    )
    for name, patterns in given:
        word = str(row.get(name) or "").lower()
        found = next((pattern for pattern in patterns if fnmatch.fnmatchcase(word, pattern.lower())), None)
        if found:
            return "its %s matches %s, which is off limits" % (name, one_line(found, 60))
    return ""


def _doing_off_limits(query: str) -> str:
    shape = fingerprint(query, 4000).text.lower()
    if any(name in shape for name in MIGRATION_TABLES):
        return "it runs a migration"
    if " index concurrently" in shape or shape.startswith("reindex") and " concurrently" in shape:
        return "it builds an index concurrently: a cancel would leave an invalid index behind"
    return ""


def _no_right(row: Row, rights: Row) -> str:
    if rights.get("superuser") or rights.get("may_signal") or row.get("same_role"):
        return ""
    return "our role may not end it: grant it pg_signal_backend"


def _seconds(session: Row) -> float:
    """Return how long a session has waited; one that just began to wait has no start time yet."""
    return round(max(0.0, float(session.get("wait_seconds") or 0.0)), 1) if session["waits"] else 0.0


def _table(found: t.Mapping[str, t.Any], sessions: t.Mapping[int, Row], edges: t.Mapping[int, t.Set[Key]]) -> list[str]:
    """Return the waits as a tree: each root, what it is, and who waits behind it."""
    lines: list[str] = []
    for root in found["roots"]:
        lines += [line for line in describe(root) if line]
        lines += _branches(root["pid"] or root["gid"], sessions, edges)
    lines += ["in a circle: %s" % ", ".join(str(pid) for pid in circle) for circle in found["circles"]]
    cut = lines[:TABLE_LINES] + ["... %s more" % counted(len(lines) - TABLE_LINES, "lines")] if len(lines) > TABLE_LINES else lines
    return [one_line(line, 100) for line in cut]


def describe(root: t.Mapping[str, t.Any]) -> list[str]:
    """Return three lines about a root: who it is and what it blocks, its statement, and what a run may do."""
    who = "prepared transaction %s" % root["gid"] if not root["pid"] else "%d %s" % (root["pid"], root["application"] or "(no name)")
    blocks = "blocks %d, longest %.0f s" % (root["blocked_count"], root["longest_wait_seconds"])
    statement = "  %s: %s" % (root["fingerprint"], root["query"]) if root["fingerprint"] else ""
    head = "%s of %s, %s %.0f s: %s" % (who, root["user"] or "?", root["state"] or "?", root["age_seconds"], blocks)
    return [head, statement, "  %s: %s" % (root["action"], root["why"])]


def _branches(root: Key, sessions: t.Mapping[int, Row], edges: t.Mapping[int, t.Set[Key]]) -> list[str]:
    """Return who waits behind *root* as lines of a tree, each session once, as near to the root as it waits."""
    depth: dict[Key, int] = {root: 0}
    after: dict[Key, list[int]] = {}
    ahead: list[Key] = [root]
    for key in ahead:
        after[key] = sorted(pid for pid, keys in edges.items() if key in keys and pid not in depth)
        depth.update(dict.fromkeys(after[key], depth[key] + 1))
        ahead += after[key]
    lines, waiting = [], list(reversed(after[root]))
    while waiting:
        pid = waiting.pop()
        row = sessions[pid]
        name = one_line(row.get("application") or row.get("backend_type") or "?", 40)
        lines.append("%s`- %d %s waits %.0f s" % ("  " * min(depth[pid], 12), pid, name, _seconds(row)))
        waiting += reversed(after[pid])
    return lines
