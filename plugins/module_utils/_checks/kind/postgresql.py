# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``postgresql``: asks a server in its own protocol whether it accepts connections, and logs in where a login is given.

Without ``login`` or ``query`` it uses no credentials: a request for a password already proves that the server accepts connections. With
``deep`` it looks as ``postgresql_health_info`` does, with all of its options.

C(postgresql): C(host) (or a socket directory), C(port), C(user), C(database), C(password_file) or C(password), C(tls), C(login), C(query)
with C(expect) as the known answer, C(psql), C(max_latency_ms). Without C(login) and C(query) no credential is used. With C(deep) it looks
as M(somabrain.incident_response.postgresql_health_info) does, with all options of that module, and spends C(answer_timeout) seconds on
the first answer.
"""

from __future__ import annotations

import importlib
import json
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.reach import judge_latency, judge_unreached
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import read_secret
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.facts import refuse_pins
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.judge import judge_postgres, judge_refusal
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.load import load_postgres
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.options import PG_OPTIONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import (
    CONNECT_SPEC,
    Query,
    SqlError,
    ask,
    message_of,
    sqlstate_in,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.queries import known_answer, refuse_commands
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wire import address_of, knock

PLAYBOOK = "recover-database.yml"
CLASS = "database"
OPTIONS: dict[str, t.Any] = {
    **CONNECT_SPEC,
    **PG_OPTIONS,
    "host": {"type": "str", "default": "127.0.0.1"},
    # By default the user that runs the checks logs in.
    "os_user": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "login": {"type": "bool", "default": False},
    "query": {"type": "str", "default": ""},
    "expect": {"type": "str", "default": ""},
    "deep": {"type": "bool", "default": False},
    "answer_timeout": {"type": "float", "default": 3.0},
}
_IDENTITY = (
    "SELECT pg_postmaster_start_time()::text || ' ' || pg_is_in_recovery()::text || ' ' || current_setting('server_version') AS answer"
)
# What waits for a lock, as far as this role sees it (its own sessions always), in the form of ``_postgresql.locks``.
_LOCKS = """
WITH waiting AS (
  SELECT pid, extract(epoch FROM clock_timestamp() - query_start) AS seconds, pg_blocking_pids(pid) AS behind
  FROM pg_stat_activity WHERE wait_event_type = 'Lock'
), root AS (SELECT unnest(behind) AS pid FROM waiting EXCEPT SELECT pid FROM waiting)
SELECT json_build_object('longest_wait_seconds', coalesce((SELECT max(seconds) FROM waiting), 0), 'roots', coalesce((
  SELECT json_agg(json_build_object('pid', pid, 'gid', CASE pid WHEN 0 THEN '?' ELSE '' END, 'user', coalesce(usename, '?'),
    'blocked_count', (SELECT count(*) FROM waiting))) FROM root LEFT JOIN pg_stat_activity USING (pid)), '[]'))::text AS answer
"""


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return ``{error, detail, sqlstate, message, accepting, seconds, login: {...}}``; with ``deep`` what ``load_postgres`` returns.

    *deadline* in seconds is total. Raises StepError for a known answer that is not plain SQL.
    """
    if options["deep"]:
        refuse_commands(options["known_answers"])
        refuse_pins(options["expected_identity"])
        return load_postgres(options, min(float(options["answer_timeout"]), deadline), deadline - 0.1)
    raw = dict(knock(options, deadline), login={})
    # On its socket a server turns away every other user than the one it is asked as; psql runs as that one.
    raw["accepting"] = raw["accepting"] or (bool(options["os_user"]) and str(raw["sqlstate"]).startswith("28"))
    if raw["accepting"] and (options["login"] or options["query"]):
        raw["login"] = _log_in(options, max(0.1, deadline - raw["seconds"]))
    return raw


def _log_in(options: t.Mapping[str, t.Any], deadline: float) -> dict[str, t.Any]:
    refuse_commands([{"query": options["query"]}])
    queries = [_IDENTITY, known_answer(options["query"])] if options["query"] else [_IDENTITY]
    if options["os_user"]:
        return _by_psql(options, queries, deadline)
    try:
        psycopg = importlib.import_module("psycopg")
    except ImportError:
        return _by_psql(options, queries, deadline)
    return _by_psycopg(psycopg, options, queries, deadline)


def _by_psycopg(psycopg: t.Any, options: t.Mapping[str, t.Any], queries: list[str], deadline: float) -> dict[str, t.Any]:
    password, problem = str(options["password"] or ""), ""
    if options["password_file"] and not password:
        password, problem = read_secret(options["password_file"])
    if problem:
        return _refused("", f"password_file {one_line(options['password_file'], 80)}: {problem}")
    session = f"-c statement_timeout={int(deadline * 1000)} -c default_transaction_read_only=on -c application_name=somabrain-health"
    try:
        with psycopg.connect(
            host=options["host"], port=options["port"], user=options["user"], dbname=options["database"], password=password or None,
            connect_timeout=max(2, int(deadline)), options=session, sslmode="require" if options["tls"] else "prefer",
        ) as connection:  # fmt: skip
            rows = [connection.execute(query).fetchone() for query in queries]
            locks = _locks_by(psycopg, connection)
    except psycopg.Error as error:
        return _refused(error.sqlstate or sqlstate_in(str(error)), message_of(str(error)))
    return {"ok": True, "answers": ["" if not row or row[0] is None else str(row[0]) for row in rows], "locks": locks}


def _locks_by(psycopg: t.Any, connection: t.Any) -> str:
    """Return the waits for locks, "" where this server or role cannot say: that does not fail the check."""
    try:
        row = connection.execute(_LOCKS).fetchone()
    except psycopg.Error:
        connection.rollback()
        return ""
    return str(row[0]) if row else ""


def _by_psql(options: t.Mapping[str, t.Any], queries: list[str], deadline: float) -> dict[str, t.Any]:
    begun = time.monotonic()
    try:
        found = ask(options, {"q%d" % index: Query(query) for index, query in enumerate([*queries, _LOCKS])}, deadline)
    except SqlError as error:
        return _refused(error.sqlstate, str(error))
    locks = _text_of(found.pop("q%d" % len(queries)))
    failed = next((one for one in found.values() if isinstance(one, SqlError)), None)
    if failed is not None:
        # A session cut off at the deadline has no SQLSTATE of its own.
        return _refused(failed.sqlstate or ("57014" if time.monotonic() - begun >= deadline else ""), str(failed))
    rows = [(one or [{}])[0] for one in found.values() if not isinstance(one, SqlError)]
    return {"ok": True, "answers": [str(row.get("answer") or "") for row in rows], "locks": locks}


def _text_of(rows: t.Union[list[dict[str, t.Any]], SqlError]) -> str:
    """Return the one answer of a query, "" where it failed."""
    return "" if isinstance(rows, SqlError) or not rows else str(rows[0].get("answer") or "")


def _refused(sqlstate: str, message: str) -> dict[str, t.Any]:
    return {"ok": False, "sqlstate": sqlstate, "message": message}


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Accepting is well. Rejecting (starting, recovering, stopping) is unknown: wait, never interrupt it.

    No free connection and a missing database are sick; rejected credentials (28xxx) are unknown (``auth``).
    """
    if options["deep"]:
        return judge_postgres(raw, options)
    what = f"PostgreSQL at {address_of(options)}"
    if raw["error"]:
        return judge_unreached(raw["error"], raw["detail"], options, what)
    facts: dict[str, t.Any] = {"message": raw["message"], "sqlstate": raw["sqlstate"]}
    if not raw["accepting"]:
        return _turned_away(raw["sqlstate"], raw["message"], what, facts)
    accepting = Finding("connection", State.WELL, f"{what} accepts connections")
    latency = judge_latency(raw["seconds"], options)
    if not raw["login"]:
        return Health((accepting, *latency), state="accepting", facts=facts)
    if not raw["login"]["ok"]:
        return _turned_away(raw["login"]["sqlstate"], raw["login"]["message"], what, facts)
    if raw["login"].get("locks"):
        facts["locks"] = json.loads(raw["login"]["locks"])
    return _judge_answers(raw["login"]["answers"], options, (accepting, *latency), facts)


def _turned_away(sqlstate: str, message: str, what: str, facts: dict[str, t.Any]) -> Health:
    found = judge_refusal(sqlstate, message, what)
    finding = Finding("connection", found.health, found.text, {"sqlstate": sqlstate})
    return Health((finding,), state=found.state, facts=dict(facts, sqlstate=sqlstate))


def _judge_answers(answers: list[str], options: t.Mapping[str, t.Any], findings: tuple[Finding, ...], facts: dict[str, t.Any]) -> Health:
    started, recovery, version = (answers[0].rsplit(" ", 2) if answers else ["", "", ""])[-3:]
    identity = {"started_at": started, "in_recovery": recovery}
    facts = dict(facts, server_version=one_line(version, 40), in_recovery=recovery == "true")
    word = "accepting"
    if options["query"]:
        got = answers[1] if len(answers) > 1 else ""
        right = not options["expect"] or got == options["expect"]
        word = word if right else "wrong_answer"
        # The answer may be private: only whether it is the known one is shown.
        text = "the query returns the known answer" if right else "the query returns another answer than the known one"
        findings = (*findings, Finding("query", State.WELL if right else State.SICK, text))
    return Health(findings, state=word, identity=identity, facts=facts)


def progress(state: str, facts: t.Mapping[str, t.Any]) -> str:
    """Return how far a replay of WAL is, "" for any other state."""
    redo = facts.get("redo") or {}
    return "still replaying WAL, now at %s" % (redo.get("lsn") or redo.get("segment")) if state == "crash_recovery" and redo else ""
