# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queries about a server, its clients and what is expected of it, all for one session."""

from __future__ import annotations

import hashlib
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import loaded, locks
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import Query, identifier

# The most of one kind that are listed.
MOST = 20
QUERY_CHARACTERS = 2000

_SERVER = """
SELECT pg_postmaster_start_time()::text AS started_at, pg_is_in_recovery() AS in_recovery, current_setting('server_version') AS version,
  (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
  (SELECT jsonb_agg(DISTINCT sourcefile) FROM pg_settings WHERE sourcefile IS NOT NULL) AS config_files,
  (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline, (SELECT redo_lsn::text FROM pg_control_checkpoint()) AS redo_lsn,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn()::text END AS lsn,
  (SELECT jsonb_agg(DISTINCT coalesce('role ' || r.rolname, 'database ' || d.datname, 'all roles'))
    FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS c(setting)
    LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
    WHERE lower(c.setting) IN ('synchronous_commit=off', 'synchronous_commit=false', 'synchronous_commit=no', 'synchronous_commit=0'))
    AS off_for,
  (SELECT count(*) FROM pg_class WHERE relpersistence = 'u' AND relkind IN ('r', 'p')) AS unlogged,
  (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN ('data_directory', 'config_file', 'hba_file', 'ident_file',
    'data_checksums', 'fsync', 'synchronous_commit', 'max_connections', 'superuser_reserved_connections', 'archive_mode', 'port'
    )) AS settings,
  (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only') AS read_only
"""
_SESSIONS = """
SELECT count(*) AS total, count(*) FILTER (WHERE backend_type = 'client backend') AS clients,
  count(*) FILTER (WHERE state = 'active') AS active, count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
  count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting_for_locks
FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()
"""
_LONG = """
SELECT pid, usename AS login, datname AS database, application_name AS application, state, wait_event_type, backend_start::text,
  query_start::text, round(extract(epoch FROM clock_timestamp() - CASE WHEN state = 'active' THEN query_start ELSE state_change END), 1)
    AS seconds,
  round(extract(epoch FROM clock_timestamp() - xact_start), 1) AS transaction_seconds,
  query_id::text AS queryid, left(query, %(characters)d) AS query
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND ((state = 'active' AND clock_timestamp() - query_start > make_interval(secs => :'query'))
    OR (state LIKE 'idle in transaction%%' AND clock_timestamp() - state_change > make_interval(secs => :'query'))
    OR (state = 'idle' AND clock_timestamp() - state_change > make_interval(secs => :'idle')))
ORDER BY 9 DESC NULLS LAST LIMIT %(most)d
"""
_PREPARED = """
SELECT gid, database, owner, round(extract(epoch FROM clock_timestamp() - prepared), 1) AS seconds
FROM pg_prepared_xacts ORDER BY prepared LIMIT %d
"""
_SENDERS = """
SELECT application_name AS application, state, sync_state, round(extract(epoch FROM replay_lag), 1) AS lag_seconds,
  pg_wal_lsn_diff(sent_lsn, replay_lsn) AS lag_bytes
FROM pg_stat_replication ORDER BY 1 LIMIT %d
"""
_RECEIVER = """
SELECT pg_is_in_recovery() AS standby, (SELECT status FROM pg_stat_wal_receiver) AS receiver,
  pg_last_wal_receive_lsn()::text AS received, pg_last_wal_replay_lsn()::text AS replayed,
  pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS lag_bytes,
  CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END AS paused,
  round(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 1) AS last_commit_seconds
"""
_SLOTS = """
SELECT slot_name AS name, slot_type AS kind, active, wal_status,
  pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn) AS kept_bytes
FROM pg_replication_slots ORDER BY 5 DESC NULLS LAST LIMIT %d
"""
_ARCHIVER = """
SELECT archived_count AS archived, failed_count AS failed, last_archived_wal AS last_archived, last_failed_wal AS last_failed,
  last_archived_time::text AS archived_at, last_failed_time::text AS failed_at,
  round(extract(epoch FROM clock_timestamp() - last_archived_time), 1) AS archived_seconds,
  coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing
FROM pg_stat_archiver
"""
_BACKLOG = """
SELECT count(*) AS waiting, round(extract(epoch FROM clock_timestamp() - min(modification)), 1) AS oldest_seconds
FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'
"""
# Who gets default_transaction_read_only, by ALTER DATABASE or ALTER ROLE, and whether that role may write to a table here.
_READ_ONLY = """
SELECT d.datname AS database, r.rolname AS login, lower(split_part(c.setting, '=', 2)) AS value, r.rolname = current_user AS own,
  CASE WHEN r.oid IS NOT NULL THEN EXISTS (SELECT FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE t.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    AND has_schema_privilege(r.oid, n.oid, 'usage') AND has_table_privilege(r.oid, t.oid, 'insert')) END AS may_write
FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS c(setting)
LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE c.setting LIKE 'default_transaction_read_only=%' AND (s.setdatabase = 0 OR d.datname = current_database()) LIMIT 100
"""
_WAL = "SELECT count(*) AS files, sum(size) AS bytes FROM pg_ls_waldir()"
_DATABASES = """
SELECT d.datname AS name, age(d.datfrozenxid) AS xid_age, mxid_age(d.datminmxid) AS multixact_age, s.checksum_failures, s.deadlocks,
  s.blks_hit AS hits, s.blks_read AS reads, extract(epoch FROM s.checksum_last_failure)::float8 AS checksum_failed_at
FROM pg_database d LEFT JOIN pg_stat_database s ON s.datid = d.oid WHERE d.datallowconn ORDER BY 2 DESC LIMIT 100
"""
_SHARED = """
SELECT checksum_failures, extract(epoch FROM checksum_last_failure)::float8 AS checksum_failed_at FROM pg_stat_database WHERE datid = 0
"""
_TABLESPACES = "SELECT spcname AS name, pg_tablespace_location(oid) AS path FROM pg_tablespace WHERE pg_tablespace_location(oid) <> ''"
_TOP = """
SELECT queryid::text, calls, round(total_exec_time::numeric, 1) AS total_ms, round(mean_exec_time::numeric, 2) AS mean_ms, rows,
  left(query, %d) AS query
FROM %s.pg_stat_statements ORDER BY total_exec_time DESC LIMIT 10
"""
_EXTENSIONS = """
SELECT e.extname AS name, n.nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"""


def questions(options: t.Mapping[str, t.Any]) -> dict[str, Query]:
    """Return the queries of the main session, by the name of the answer."""
    limits = {"query": float(options["max_query_seconds"]), "idle": float(options["max_idle_seconds"])}
    asked = {
        "server": Query(_SERVER),
        "loaded": Query(loaded.QUERY),
        "sessions": Query(_SESSIONS),
        "long": Query(_LONG % {"characters": QUERY_CHARACTERS, "most": MOST}, limits),
        "prepared": Query(_PREPARED % MOST),
        "senders": Query(_SENDERS % MOST),
        "receiver": Query(_RECEIVER),
        "slots": Query(_SLOTS % MOST),
        "archiver": Query(_ARCHIVER),
        "backlog": Query(_BACKLOG),
        "wal": Query(_WAL),
        "databases": Query(_DATABASES),
        "read_only": Query(_READ_ONLY),
        "shared": Query(_SHARED),
        "tablespaces": Query(_TABLESPACES),
        "extensions": Query(_EXTENSIONS),
        **locks.QUERIES,
    }
    return dict(asked, **expectations_in(options, str(options["database"])))


def top_statements(schema: str) -> Query:
    """Return the query for the statements that took the most time. Run it only where the extension exists: an error would be logged."""
    return Query(_TOP % (QUERY_CHARACTERS, identifier(schema)))


def expectations_in(options: t.Mapping[str, t.Any], database: str) -> dict[str, Query]:
    """Return the queries for known answers and audit rows of *database*."""
    known = enumerate(options["known_answers"])
    asked = {"known_%d" % index: Query(known_digest(one["query"])) for index, one in known if _belongs(one, options, database)}
    if options["audit"] and _belongs(options["audit"], options, database):
        asked["audit"] = audit_rows(options["audit"])
    return asked


def other_databases(options: t.Mapping[str, t.Any]) -> list[str]:
    """Return the databases besides the main one that known answers or audit rows name."""
    named = [one["database"] for one in [*options["known_answers"], options["audit"]] if one and one["database"]]
    return sorted(set(named) - {str(options["database"])})


def _belongs(one: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any], database: str) -> bool:
    return str(one["database"] or options["database"]) == database


def refuse_commands(known_answers: t.Iterable[t.Mapping[str, t.Any]]) -> None:
    """Raise StepError for a query with a backslash, which begins a command of psql."""
    for index, one in enumerate(known_answers):
        if "\\" in str(one["query"]):
            raise StepError("known_answers[%d].query contains a backslash, which psql takes for a command: use chr(92) instead" % index)


def known_answer(query: str) -> str:
    """Return a query for the first column of *query*, as text in ``answer``. *query* must be a SELECT."""
    return "SELECT known.answer::text AS answer FROM (%s\n) AS known(answer)" % query.strip().rstrip(";")  # noqa: S608 - the operator's own query


def known_digest(query: str) -> str:
    """Return a query for the digest of all rows of a known answer: the rows themselves stay on the server."""
    rows = known_answer(query)
    joined = "coalesce(string_agg(answer, E'\\n'), '')"
    return "SELECT encode(sha256(convert_to(%s, 'UTF8')), 'hex') AS sha256 FROM (%s) AS answers" % (joined, rows)  # noqa: S608 - as above


def digest_of(text: str) -> str:
    """Return the digest that ``known_digest`` returns for the answer *text*."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def audit_rows(audit: t.Mapping[str, t.Any]) -> Query:
    """Return the query that counts the audit rows of the last minutes."""
    table = ".".join(identifier(part) for part in str(audit["table"]).split("."))
    sql = "SELECT count(*) AS rows FROM %s WHERE %s > now() - make_interval(secs => 60.0 * :'minutes')"
    return Query(sql % (table, identifier(str(audit["column"]))), {"minutes": float(audit["within_minutes"])})
