# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API's neighbours: Postgres, Redis and the long-term memory, each of which may be away."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import time
import typing as t

import psycopg
from psycopg import sql

from . import config, redis_client

# What a neighbour that is away can raise; the API answers on without it, as SomaBrain does.
AWAY = (OSError, http.client.HTTPException, redis_client.RedisRefused, psycopg.Error, ValueError)


class Database:
    """A few connections to Postgres, opened when wanted. Raises psycopg.Error."""

    def __init__(self, settings: config.Settings) -> None:
        self._audit = (settings["audit_table"], settings["audit_time_column"])
        self._login = {
            "host": "127.0.0.1",
            "port": settings["ports"]["postgres"],
            "dbname": settings["database"],
            "user": settings["database_user"],
            "password": config.secret(settings, "postgres_password"),
            "connect_timeout": 2,
            "application_name": "somabrain-lab-api",
        }
        self._idle: queue.LifoQueue[psycopg.Connection[t.Any]] = queue.LifoQueue()

    @contextlib.contextmanager
    def connection(self) -> t.Iterator[psycopg.Connection[t.Any]]:
        """Lend a connection that works; a broken one is not lent again."""
        link = self._lent() or psycopg.connect(**self._login, autocommit=True)
        try:
            yield link
        except BaseException:
            link.close()
            raise
        self._idle.put(link)

    def _lent(self) -> t.Optional[psycopg.Connection[t.Any]]:
        while True:
            try:
                link = self._idle.get_nowait()
            except queue.Empty:
                return None
            with contextlib.suppress(psycopg.Error):
                # One round trip of 0.1 ms saves the first request after a restart of Postgres.
                link.execute("SELECT 1")
                return link
            link.close()

    def rows(self, statement: t.Any, *values: t.Any) -> list[tuple[t.Any, ...]]:
        """Return the rows of one statement."""
        with self.connection() as link:
            cursor = link.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def record(self, event: t.Mapping[str, t.Any]) -> None:
        """Write one event as outbox row and audit row, in one statement, so both or neither."""
        table, column = self._audit
        statement = sql.SQL(
            "WITH sent AS (INSERT INTO outbox_events (topic, payload, status, dedupe_key, tenant_id)"
            " VALUES ('soma.audit', %s, 'sent', %s, %s) ON CONFLICT (dedupe_key) DO NOTHING RETURNING 1)"
            " INSERT INTO {} ({}, event_id, tenant_id, action, details) SELECT now(), %s, %s, %s, %s FROM sent"
        ).format(sql.Identifier(table), sql.Identifier(column))
        details = json.dumps(event)
        key, tenant = event["id"], event["tenant"]
        self.rows(statement, details, key, tenant, key, tenant, event["action"], details)

    def pending(self) -> int:
        """Return the number of outbox rows that were not sent."""
        return int(self.rows("SELECT count(*) FROM outbox_events WHERE status = 'pending'")[0][0])


class LongTermMemory:
    """The memory service over HTTP; *tries* calls with growing pauses, as SomaBrain's client does."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(self, path: str, body: t.Mapping[str, t.Any], pauses: t.Sequence[float] = ()) -> dict[str, t.Any]:
        """Return the answer; raises OSError or HTTPException after the last try. Pauses are in seconds."""
        for pause in pauses:
            try:
                return self._once(path, body)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(pause)
        return self._once(path, body)

    def _once(self, path: str, body: t.Mapping[str, t.Any], timeout: float = 2.0) -> dict[str, t.Any]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            link.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = link.getresponse()
            found = json.loads(answer.read())
        finally:
            link.close()
        if answer.status != 200:
            raise ConnectionError(f"memory service answered {answer.status}")
        return t.cast(t.Dict[str, t.Any], found)

    def up(self, timeout: float = 2.0) -> bool:
        """Return whether it says that it is well; one that hangs is waited for so many seconds."""
        try:
            return self._once("/health", {}, timeout).get("ok") is True
        except (OSError, http.client.HTTPException, ValueError):
            return False


class AuditTrail:
    """Audit events go to Postgres; while Postgres is down they wait only in Redis."""

    BUFFER = "soma:audit:buffer"

    def __init__(self, database: Database, redis: redis_client.RedisClient) -> None:
        self.database, self.redis = database, redis
        self._waiting = True

    def write(self, event: t.Mapping[str, t.Any]) -> bool:
        """Record one event; return False if it only waits in Redis, or was dropped."""
        try:
            self.database.record(event)
            self._replay()
            return True
        except AWAY:
            self._waiting = True
        with contextlib.suppress(*AWAY):
            self.redis("RPUSH", self.BUFFER, json.dumps(event))
        return False

    def _replay(self) -> None:
        """Send waiting events, oldest first; an event leaves Redis only after Postgres has it."""
        with contextlib.suppress(*AWAY):
            while self._waiting:
                oldest = self.redis("LINDEX", self.BUFFER, 0)
                self._waiting = oldest is not None
                if oldest is not None:
                    self.database.record(json.loads(oldest))
                    self.redis("LREM", self.BUFFER, 1, oldest)
