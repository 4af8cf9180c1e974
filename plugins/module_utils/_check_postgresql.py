# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``postgresql``: asks a server by its own protocol whether it accepts, and by a real log-in where one is given.

Without ``login`` or ``query`` no credential is used: a request for a password already proves an accepting server.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import socket
import struct
import subprocess
import tempfile
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._http import Failed, connect, read_secret
from ansible_collections.somabrain.incident_response.plugins.module_utils._reach import judge_latency, judge_unreached
from ansible_collections.somabrain.incident_response.plugins.module_utils._text import one_line, redact

OPTIONS: dict[str, t.Any] = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 5432},
    "user": {"type": "str", "default": "postgres"},
    "database": {"type": "str", "default": "postgres"},
    "password": {"type": "str", "default": "", "no_log": True},
    "password_file": {"type": "path", "default": ""},
    "tls": {"type": "bool", "default": False},
    "login": {"type": "bool", "default": False},
    "query": {"type": "str", "default": ""},
    "expect": {"type": "str", "default": ""},
    "psql": {"type": "path", "default": "psql"},
    "max_latency_ms": {"type": "float", "default": 0},
}
_IDENTITY = "SELECT pg_postmaster_start_time()::text || ' ' || pg_is_in_recovery()::text || ' ' || current_setting('server_version')"
_MAX_REPLY = 65536
# SQLSTATE -> (state word, health, sentence). Starting up and shutting down pass by themselves: never interrupt them.
_SQLSTATES: dict[str, tuple[str, State, str]] = {
    "57P03": ("rejecting", State.UNKNOWN, "is up and rejects connections for now"),
    "57P01": ("rejecting", State.UNKNOWN, "is being stopped by an administrator"),
    "57P02": ("rejecting", State.UNKNOWN, "is restarting after a crash of one of its processes"),
    "53300": ("too_many_connections", State.SICK, "has no connection left"),
    "3D000": ("no_database", State.SICK, "lacks the database"),
    "57014": ("slow_query", State.SICK, "did not finish the query in time"),
}
# The client libraries hand on what the server says at log-in as text only, and it is English unless lc_messages is set.
_WORDINGS = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "Peer authentication failed": "28000",
    "no pg_hba.conf entry": "28000",
    "does not exist": "3D000",
    "too many clients": "53300",
    "remaining connection slots": "53300",
    "the database system is": "57P03",
    "timeout expired": "57014",
}


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return ``{error, detail, sqlstate, message, accepting, seconds, login: {...}}``; total deadline in seconds."""
    begun = time.monotonic()
    raw: dict[str, t.Any] = {"error": "", "detail": "", "sqlstate": "", "message": "", "accepting": False, "login": {}}
    try:
        with _connected(options, deadline) as sock:
            sock.settimeout(max(0.01, begun + deadline - time.monotonic()))
            sock.sendall(_startup(options))
            raw.update(_reply(_Messages(sock, begun + deadline)))
            with contextlib.suppress(OSError):
                sock.sendall(b"X\x00\x00\x00\x04")
    except Failed as failed:
        raw.update(error=failed.error, detail=failed.detail)
    except socket.timeout:
        raw.update(error="timeout")
    except (OSError, EOFError) as error:
        raw.update(error="closed", detail=one_line(error, 80))
    except ValueError as error:
        raw.update(error="garbage", detail=one_line(error, 80))
    raw["seconds"] = time.monotonic() - begun
    if raw["accepting"] and (options["login"] or options["query"]):
        raw["login"] = _log_in(options, max(0.1, deadline - raw["seconds"]))
    return raw


def _connected(options: t.Mapping[str, t.Any], deadline: float) -> socket.socket:
    if not options["host"].startswith("/"):
        sock = connect(options["host"], options["port"], deadline)
        return _with_tls(sock, deadline) if options["tls"] else sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(deadline)
    try:
        sock.connect(os.path.join(options["host"], f".s.PGSQL.{options['port']}"))
    except OSError as error:
        sock.close()
        refused = {FileNotFoundError: "no_socket", ConnectionRefusedError: "refused", socket.timeout: "connect_timeout"}
        raise Failed(refused.get(type(error), "unreachable"), error) from None
    return sock


def _with_tls(sock: socket.socket, deadline: float) -> socket.socket:
    import ssl  # only here: a probe without TLS need not load it

    sock.settimeout(deadline)
    sock.sendall(struct.pack("!ii", 8, 80877103))
    if sock.recv(1) != b"S":
        sock.close()
        raise Failed("tls", "the server offers no TLS")
    # The wire probe sends no secret; the log-in verifies by the client library's own rules.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock)


def _startup(options: t.Mapping[str, t.Any]) -> bytes:
    pairs = ("user", options["user"], "database", options["database"], "application_name", "somabrain-health")
    body = struct.pack("!i", 196608) + b"".join(word.replace("\0", "").encode() + b"\0" for word in pairs) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


class _Messages:
    """Reads protocol messages of a socket until the absolute *end* (monotonic seconds)."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock, self._end, self._got = sock, end, 0

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            left = self._end - time.monotonic()
            if left <= 0:
                raise socket.timeout("deadline is over")
            self._sock.settimeout(left)
            more = self._sock.recv(count - len(data))
            if not more:
                raise EOFError("closed in the middle of a message" if data else "closed without a word")
            data += more
        return data

    def next(self) -> tuple[bytes, bytes]:
        """Return (type, body); ValueError for what is no PostgreSQL message, EOFError, socket.timeout."""
        kind = self._exactly(1)
        if kind not in b"RESKZNv":
            raise ValueError(f"it begins with {kind!r}")
        length = struct.unpack("!i", self._exactly(4))[0]
        self._got += length
        if length < 4 or self._got > _MAX_REPLY:
            raise ValueError("a message of an impossible length")
        return kind, self._exactly(length - 4)


def _reply(messages: _Messages) -> dict[str, t.Any]:
    while True:
        kind, body = messages.next()
        if kind == b"E":
            fields = {part[:1]: part[1:].decode("utf-8", "backslashreplace") for part in body.split(b"\0") if part}
            return {"sqlstate": one_line(fields.get(b"C", ""), 5), "message": one_line(redact(fields.get(b"M", "")), 120)}
        # A request for a password ends the probe; "authentication ok" may still be followed by an error.
        if (kind == b"R" and body[:4] != b"\0\0\0\0") or kind == b"Z":
            return {"accepting": True}


def _log_in(options: t.Mapping[str, t.Any], deadline: float) -> dict[str, t.Any]:
    password, problem = str(options["password"] or ""), ""
    if options["password_file"] and not password:
        password, problem, _warning = read_secret(options["password_file"])
    if problem:
        return {"ok": False, "sqlstate": "", "message": f"password_file {one_line(options['password_file'], 80)}: {problem}"}
    queries = [_IDENTITY, options["query"]] if options["query"] else [_IDENTITY]
    try:
        psycopg = importlib.import_module("psycopg")
    except ImportError:
        return _by_psql(options, password, queries, deadline)
    return _by_psycopg(psycopg, options, password, queries, deadline)


def _session(deadline: float) -> str:
    return f"-c statement_timeout={int(deadline * 1000)} -c default_transaction_read_only=on -c application_name=somabrain-health"


def _by_psycopg(psycopg: t.Any, options: t.Mapping[str, t.Any], password: str, queries: list[str], deadline: float) -> dict[str, t.Any]:
    try:
        with psycopg.connect(
            host=options["host"], port=options["port"], user=options["user"], dbname=options["database"], password=password or None,
            connect_timeout=max(2, int(deadline)), options=_session(deadline), sslmode="require" if options["tls"] else "prefer",
        ) as connection:  # fmt: skip
            rows = [connection.execute(query).fetchone() for query in queries]
    except psycopg.Error as error:
        return {"ok": False, "sqlstate": error.sqlstate or _sqlstate_in(str(error)), "message": _message_of(str(error))}
    return {"ok": True, "answers": ["" if not row else "" if row[0] is None else str(row[0]) for row in rows]}


def _by_psql(options: t.Mapping[str, t.Any], password: str, queries: list[str], deadline: float) -> dict[str, t.Any]:
    words = [options["psql"], "-X", "-q", "-A", "-t", "-w", "-v", "VERBOSITY=verbose", "-v", "ON_ERROR_STOP=1"]
    words += ["-h", options["host"], "-p", str(options["port"]), "-U", options["user"], "-d", options["database"]]
    for query in queries:
        words += ["-c", query]
    with tempfile.TemporaryDirectory(prefix="somabrain-health-") as folder:
        passfile = os.path.join(folder, "pgpass")
        with open(os.open(passfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n")
        env = dict(os.environ, PGPASSFILE=passfile, PGOPTIONS=_session(deadline), PGCONNECT_TIMEOUT=str(max(2, int(deadline))))
        env["PGSSLMODE"] = "require" if options["tls"] else "prefer"
        try:
            done = subprocess.run(words, env=env, capture_output=True, timeout=deadline, check=False, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            return {"ok": False, "sqlstate": "", "message": "neither psycopg nor psql is there to log in with: install postgresql-client"}
        except subprocess.TimeoutExpired:
            return {"ok": False, "sqlstate": "57014", "message": "no answer in time"}
    if done.returncode:
        text = done.stderr[:2000].decode("utf-8", "backslashreplace")
        return {"ok": False, "sqlstate": _sqlstate_in(text), "message": _message_of(text)}
    answers = done.stdout.decode("utf-8", "backslashreplace").splitlines()
    return {"ok": True, "answers": [line.split("|")[0] for line in answers]}


def _message_of(text: str) -> str:
    return one_line(redact(text.strip().partition("\n")[0]), 160)


def _sqlstate_in(text: str) -> str:
    """Return the SQLSTATE in a client's error text; for errors of the log-in, which come without one, that of their wording."""
    word = re.search(r"(?:ERROR|FATAL):\s+([0-9A-Z]{5}):", text)
    if word:
        return word.group(1)
    return next((state for wording, state in _WORDINGS.items() if wording in text), "")


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Accepting is well. Rejecting (starting, recovering, stopping) is unknown: wait, never interrupt it.

    No connection left and a missing database are sick, a server that shuts us out (28xxx) is unknown (``auth``).
    """
    where = options["host"] if options["host"].startswith("/") else f"{options['host']}:{options['port']}"
    what = f"PostgreSQL at {one_line(where, 80)}"
    if raw["error"]:
        return judge_unreached(raw["error"], raw["detail"], options, what)
    facts: dict[str, t.Any] = {"message": raw["message"], "sqlstate": raw["sqlstate"]}
    if not raw["accepting"]:
        return _judge_refusal(raw["sqlstate"], raw["message"], what, facts)
    accepting = Finding("connection", State.WELL, f"{what} accepts connections")
    latency = judge_latency(raw["seconds"], options)
    if not raw["login"]:
        return Health((accepting, *latency), state="accepting", facts=facts)
    if not raw["login"]["ok"]:
        return _judge_refusal(raw["login"]["sqlstate"], raw["login"]["message"], what, facts)
    return _judge_answers(raw["login"]["answers"], options, (accepting, *latency), facts)


def _judge_refusal(sqlstate: str, message: str, what: str, facts: dict[str, t.Any]) -> Health:
    default = ("refusing", State.UNKNOWN, "refuses us")
    if sqlstate.startswith("28"):
        default = ("auth", State.UNKNOWN, "answers and shuts us out: look after the credentials")
    word, state, sentence = _SQLSTATES.get(sqlstate, default)
    text = f"{what} {sentence}" + (f": {message}" if message else "")
    return Health((Finding("connection", state, text, {"sqlstate": sqlstate}),), state=word, facts=dict(facts, sqlstate=sqlstate))


def _judge_answers(answers: list[str], options: t.Mapping[str, t.Any], findings: tuple[Finding, ...], facts: dict[str, t.Any]) -> Health:
    started, recovery, version = (answers[0].rsplit(" ", 2) if answers else ["", "", ""])[-3:]
    identity = {"started_at": started, "in_recovery": recovery}
    facts = dict(facts, server_version=one_line(version, 40), in_recovery=recovery == "true")
    word = "accepting"
    if options["query"]:
        got = answers[1] if len(answers) > 1 else ""
        right = not options["expect"] or got == options["expect"]
        word = word if right else "wrong_answer"
        # What a query returns may be private: only whether it is the known answer is told.
        text = "the query gives the known answer" if right else "the query gives another answer than the known one"
        findings = (*findings, Finding("query", State.WELL if right else State.SICK, text))
    return Health(findings, state=word, identity=identity, facts=facts)
