# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries PostgreSQL through psql: rows as plain data, values bound, no secret and no statement in the process list.

One session runs many queries in one process. A failed query does not stop the others.
"""

from __future__ import annotations

import json
import os
import typing as t
import uuid

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import read_secret
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import NOT_ALLOWED, NOT_FOUND, Ran, find, run

Row = t.Dict[str, t.Any]
Value = t.Union[str, int, float, bool]
Where = t.Mapping[str, t.Any]

# How to reach a cluster; as root we run psql as `os_user`, which peer authentication accepts.
CONNECT_SPEC: dict[str, t.Any] = {
    "host": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 5432},
    "user": {"type": "str", "default": "postgres"},
    "database": {"type": "str", "default": "postgres"},
    "password_file": {"type": "path", "default": ""},
    "tls": {"type": "bool", "default": False},
    "os_user": {"type": "str", "default": "postgres"},
    "psql": {"type": "path", "default": "psql"},
}
# At login the client libraries pass on the server's message as text only, in English unless lc_messages is set.
WORDINGS = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "Peer authentication failed": "28000",
    "no pg_hba.conf entry": "28000",
    'role "': "28000",
    "does not exist": "3D000",
    "too many clients": "53300",
    "remaining connection slots": "53300",
    "the database system is": "57P03",
    "No such file or directory": "08001",
    "Connection refused": "08001",
    "timeout expired": "57014",
}


# Set in the session, not at login: what the server itself sets for a login (reset_val) stays visible.
READ_ONLY = "SET default_transaction_read_only = on;\n\\if :ERROR\n\\quit\n\\endif\n"


class SqlError(Exception):
    """A query or the login failed. ``sqlstate`` is "" where the client gave none; the text is one line without secrets."""

    def __init__(self, sqlstate: str, text: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class Query(t.NamedTuple):
    """One statement: ``sql`` with ``:'name'`` for each of *values*. With *plain* it returns no rows (CHECKPOINT, REINDEX, SET)."""

    sql: str
    values: t.Mapping[str, Value] = {}
    plain: bool = False


def ask(where: Where, queries: t.Mapping[str, Query], deadline: float, *, writes: bool = False) -> dict[str, t.Union[list[Row], SqlError]]:
    """Run all *queries* in one session; return the rows of each, or its SqlError, by name.

    Raises SqlError where the login failed. *deadline* is in seconds, for all queries. Without *writes* the session is read-only.
    """
    mark = "mark-" + uuid.uuid4().hex
    script = "".join(_asked(name, query, mark) for name, query in queries.items())
    done = _session(where, script if writes else READ_ONLY + script, deadline, writes)
    answers: dict[str, t.Union[list[Row], SqlError]] = {}
    for part in done.out.split(mark + " ")[1:]:
        head, _line, text = part.partition("\n")
        name, _space, state = head.partition(" ")
        answers[name] = _answer(state, text, queries[name])
    if not answers:
        raise _login_failed(where, done)
    late = SqlError("57014", "no answer in time") if done.timed_out else SqlError("08006", "the session ended before the query ran")
    return {name: answers.get(name, late) for name in queries}


def rows(where: Where, sql: str, deadline: float, values: t.Optional[t.Mapping[str, Value]] = None, *, writes: bool = False) -> list[Row]:
    """Return the rows of one query. Raises SqlError."""
    answer = ask(where, {"only": Query(sql, values or {})}, deadline, writes=writes)["only"]
    if isinstance(answer, SqlError):
        raise answer
    return answer


def execute(where: Where, sql: str, deadline: float, values: t.Optional[t.Mapping[str, Value]] = None) -> None:
    """Run one statement that returns no rows, outside any transaction of ours. Raises SqlError."""
    answer = ask(where, {"only": Query(sql, values or {}, plain=True)}, deadline, writes=True)["only"]
    if isinstance(answer, SqlError):
        raise answer


def program(where: Where, words: t.Sequence[str], deadline: float) -> Ran:
    """Run another PostgreSQL client program with the credentials and os_user of *where*. Raises SqlError."""
    environment = {name: value for name, value in _environment(where, deadline, True).items() if name != "PGOPTIONS"}
    return run(words, deadline, user=str(where["os_user"]), env=environment, secrets={"PGPASSFILE": _passfile(where)})


def identifier(name: str) -> str:
    """Return *name* quoted as an identifier. Names from outside are checked against the catalogue all the same."""
    return '"' + name.replace('"', '""').replace("\0", "") + '"'


def _asked(name: str, query: Query, mark: str) -> str:
    """Return what psql reads for one query; its answer follows a line with the mark, its name and its SQLSTATE."""
    bound = "".join("\\set %s %s\n" % (key, _word(value)) for key, value in query.values.items())
    sql = query.sql.strip().rstrip(";")
    shown = "\\echo %s %s :SQLSTATE\n\\if :ERROR\n\\echo :LAST_ERROR_MESSAGE\n" % (mark, name)
    if query.plain:
        return bound + sql + ";\n" + shown + "\\endif\n"
    # One JSON text, held in a variable: its state comes first, and data cannot imitate a separator of psql.
    asked = "WITH asked AS (%s\n) SELECT coalesce(jsonb_agg(to_jsonb(asked)), '[]')::text AS answer FROM asked\n\\gset\n" % sql  # noqa: S608 - the statements are the collection's own, values are bound
    return bound + asked + shown + "\\else\n\\echo :answer\n\\endif\n"


def _word(value: Value) -> str:
    """Return *value* as one quoted word of the psql language."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    escaped = text.replace("\0", "").replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return "'" + escaped + "'"


def _answer(state: str, text: str, query: Query) -> t.Union[list[Row], SqlError]:
    if state.strip() != "00000":
        return SqlError(state.strip()[:5], message_of(text))
    if query.plain:
        return []
    try:
        return t.cast("list[Row]", json.loads(text))
    except ValueError:
        return SqlError("", "psql did not return JSON: %s" % one_line(text, 80))


def _session(where: Where, script: str, deadline: float, writes: bool) -> Ran:
    words, settings = session_of(where, deadline, writes)
    return run(words, max(0.1, deadline), stdin=script, **settings)


def session_of(where: Where, deadline: float, writes: bool) -> tuple[list[str], dict[str, t.Any]]:
    """Return the words and the settings ({user, env, secrets}) of a psql that reads a script from its input. Raises SqlError."""
    program = where["psql"] if os.sep in str(where["psql"]) else find(str(where["psql"]))
    if not program:
        raise SqlError("", "psql was not found: install postgresql-client, or set psql to its path")
    words = [program, "-X", "-q", "-A", "-t", "-w", "-f", "-", "-p", str(where["port"]), "-U", str(where["user"])]
    words += ["-d", str(where["database"])] + (["-h", str(where["host"])] if where["host"] else [])
    env, secrets = _environment(where, deadline, writes), {"PGPASSFILE": _passfile(where)}
    return words, {"user": str(where["os_user"]), "env": env, "secrets": secrets}


def _environment(where: Where, deadline: float, writes: bool) -> dict[str, str]:
    millis = int(deadline * 1000)
    options = "-c statement_timeout=%d -c lock_timeout=%d -c client_min_messages=error -c timezone=UTC" % (
        millis, millis,
    )  # fmt: skip
    return {
        "PGOPTIONS": options,
        "PGCONNECT_TIMEOUT": str(max(2, int(deadline))),
        "PGSSLMODE": "require" if where.get("tls") else "prefer",
        "PGAPPNAME": "somabrain-remediation",
        "PGCLIENTENCODING": "UTF8",
    }


def _passfile(where: Where) -> str:
    """Return the text of psql's password file. Raises SqlError for a secret that cannot be read."""
    password, problem = str(where.get("password") or ""), ""
    if not password and where.get("password_file"):
        password, problem = read_secret(str(where["password_file"]))
    if problem:
        raise SqlError("", "password_file %s: %s" % (one_line(where["password_file"], 200), problem))
    return "*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n" if password else ""


def _login_failed(where: Where, done: Ran) -> SqlError:
    if done.timed_out:
        return SqlError("57014", "no answer in time")
    if done.rc in (NOT_FOUND, NOT_ALLOWED):
        return SqlError("", one_line(done.err, 160))
    detail = next((line.partition("DETAIL:")[2] for line in done.err.splitlines() if "DETAIL:" in line), "")
    missing = " (%s)" % one_line(detail.strip(), 100) if detail.rstrip(".").endswith("is missing") else ""
    return SqlError(sqlstate_in(done.err), message_of(done.err) + missing)


def message_of(text: str) -> str:
    """Return the first line of an error without secrets."""
    return one_line(redact(text.strip().partition("\n")[0]), 160)


def sqlstate_in(text: str) -> str:
    """Return the SQLSTATE for the wording of a failed login, "" for none."""
    # What a server says about a file of its own is not about the way to it.
    answered = "FATAL:" in text
    return next((state for wording, state in WORDINGS.items() if wording in text and not (answered and state == "08001")), "")
