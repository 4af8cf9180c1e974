# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``data_reconciliation``: what no longer matches after a recovery: the outbox, the ids of two stores, the audit trail.

Ids are compared as hashes and reported as counts; contents never leave this file.

C(data_reconciliation): see M(somabrain.incident_response.data_reconciliation_info).
"""

from __future__ import annotations

import functools
import hashlib
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC, SqlError, identifier, rows
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.stream import copied_out
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    RespError,
    address_of,
    log_in,
    password_of,
)

CLASS = "database"
ASIDE = True
OPTIONS: dict[str, t.Any] = dict(
    CONNECT_SPEC,
    outbox={"type": "dict", "default": {}},
    audit={"type": "dict", "default": {}},
    stores={"type": "list", "elements": "dict", "default": []},
    redis={"type": "dict", "default": {}},
)
REDIS = {"host": "127.0.0.1", "port": 6379, "socket": "", "username": "", "password": "", "password_file": "", "db": 0}
MOST_IDS = 1000000
BATCH = 1000
_NAME = re.compile(r"[A-Za-z_][\w$]{0,62}(?:\.[A-Za-z_][\w$]{0,62})?\Z")
Raw = t.Dict[str, t.Any]


def load(options: dict[str, t.Any], deadline: float) -> Raw:
    """Return {outbox, audit, stores}, each with its own ``error``, within *deadline* seconds in total."""
    end = time.monotonic() + max(0.2, deadline - 0.2)
    raw: Raw = {"outbox": {}, "audit": {}, "stores": []}
    if options["outbox"]:
        raw["outbox"] = _kept(lambda: load_outbox(options, end))
    if options["audit"]:
        raw["audit"] = _kept(lambda: load_audit(options, end))
    for pair in options["stores"]:
        raw["stores"].append(dict(_kept(functools.partial(load_pair, options, pair, end)), name=one_line(pair.get("name") or "pair", 60)))
    return raw


def _kept(look: t.Callable[[], Raw]) -> Raw:
    """Return what *look* finds, or why it failed."""
    try:
        return dict(look(), error="")
    except (SqlError, RespError, ValueError, KeyError, re.error) as error:
        return {"error": one_line(error, 160)}


def _named(text: t.Any) -> str:
    """Return a table or column of the inventory as quoted SQL. Raises ValueError for anything but a plain name."""
    if not _NAME.match(str(text)):
        raise ValueError("%s is not a plain table or column name" % one_line(text, 60))
    return ".".join(identifier(part) for part in str(text).split("."))


def load_outbox(options: t.Mapping[str, t.Any], end: float) -> Raw:
    """Return the number of rows by status of the outbox. Raises SqlError, ValueError."""
    given = options["outbox"]
    table, column = _named(given.get("table", "outbox_events")), _named(given.get("column", "status"))
    query = "SELECT %s::text AS status, count(*) AS count FROM %s GROUP BY 1" % (column, table)  # noqa: S608 - plain names only
    return {"counts": {one_line(row["status"], 40): int(row["count"]) for row in rows(options, query, _left(end))}}


def load_audit(options: t.Mapping[str, t.Any], end: float) -> Raw:
    """Return {gap_minutes}: the longest time without an audit row within the last hours, now included. Raises SqlError, ValueError."""
    given = options["audit"]
    table, column = _named(given["table"]), _named(given.get("column", "created_at"))
    seen = "SELECT %s::timestamptz AS at FROM %s WHERE %s > now() - :'hours'::interval" % (column, table, column)  # noqa: S608
    edges = "SELECT now() - :'hours'::interval AS at UNION ALL SELECT now() UNION ALL %s" % seen
    gaps = "SELECT extract(epoch FROM at - lag(at) OVER (ORDER BY at))::float8 / 60 AS gap FROM (%s) AS edges" % edges  # noqa: S608
    query = "SELECT max(gap) AS gap, count(*) - 2 AS rows FROM (%s) AS gaps" % gaps  # noqa: S608 - plain names only
    [row] = rows(options, query, _left(end), {"hours": "%f hours" % float(given.get("hours", 24))})
    return {"gap_minutes": round(float(row["gap"]), 1), "rows": int(row["rows"])}


def load_pair(options: t.Mapping[str, t.Any], pair: t.Mapping[str, t.Any], end: float) -> Raw:
    """Return {redis, database, only_redis, only_database} of one pair {name, pattern, regex, query}. Raises as its loaders do."""
    wanted = re.compile(str(pair["regex"]).encode())
    if wanted.groups < 1:
        raise ValueError("the regex of a pair needs one capturing group")
    there = {_mark(found.group(1)) for key in _keys(options, pair, end) for found in [wanted.match(key)] if found}
    here: set[bytes] = set()
    with copied_out(options, "SELECT id::text FROM (%s) AS asked(id)" % str(pair["query"]).rstrip("; "), end) as lines:  # noqa: S608
        for line in lines:
            here.add(_mark(line.rstrip(b"\n")))
            if len(here) > MOST_IDS:
                raise ValueError("more than %d ids" % MOST_IDS)
    return {"redis": len(there), "database": len(here), "only_redis": len(there - here), "only_database": len(here - there)}


def _mark(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=12).digest()


def _keys(options: t.Mapping[str, t.Any], pair: t.Mapping[str, t.Any], end: float) -> t.Iterator[bytes]:
    given = dict(REDIS, **options["redis"])
    with Connection(address_of(given), _left(end)) as redis:
        refused = log_in(redis, given["username"], password_of(given))
        if refused:
            raise ValueError("Redis rejected our credentials: %s" % one_line(refused, 80))
        redis.ask("SELECT", given["db"])
        cursor, count = "0", 0
        while True:
            cursor, keys = redis.ask("SCAN", cursor, "MATCH", str(pair["pattern"]), "COUNT", BATCH)
            for key in keys:
                yield key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogateescape")
            count += len(keys)
            if str(cursor) == "0" or count > MOST_IDS:
                return


def _left(end: float) -> float:
    return max(0.2, end - time.monotonic())


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Judge each part against its limits; a part without a limit is well. What could not be read is unknown."""
    findings: list[Finding] = []
    if raw["outbox"]:
        findings += _of_outbox(raw["outbox"], options["outbox"])
    for one, given in zip(raw["stores"], options["stores"]):
        findings.append(_of_pair(one, given))
    if raw["audit"]:
        findings.append(_of_audit(raw["audit"], options["audit"]))
    return Health(tuple(findings), facts=dict(raw))


def _limited(value: float, limit: t.Any) -> State:
    return State.SICK if limit is not None and value > float(limit) else State.WELL


def _of_outbox(seen: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> list[Finding]:
    if seen["error"]:
        return [Finding("outbox", State.UNKNOWN, "the outbox cannot be read: %s" % seen["error"])]
    found = []
    for status, limit in (("pending", given.get("max_pending")), ("failed", given.get("max_failed"))):
        count = seen["counts"].get(given.get(status, status), 0)
        found.append(Finding("outbox " + status, _limited(count, limit), "outbox: %s %s" % (counted(count, "rows"), status)))
    return found


def _of_pair(seen: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> Finding:
    if seen["error"]:
        return Finding(seen["name"], State.UNKNOWN, "%s cannot be compared: %s" % (seen["name"], seen["error"]))
    text = "%s: %d ids only in Redis, %d only in the database" % (seen["name"], seen["only_redis"], seen["only_database"])
    limits = (_limited(seen["only_redis"], given.get("max_only_redis")), _limited(seen["only_database"], given.get("max_only_database")))
    return Finding(seen["name"], State.SICK if State.SICK in limits else State.WELL, text)


def _of_audit(seen: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> Finding:
    if seen["error"]:
        return Finding("audit", State.UNKNOWN, "the audit trail cannot be read: %s" % seen["error"])
    text = "audit: the longest gap of the last %s hours is %.1f minutes" % (given.get("hours", 24), seen["gap_minutes"])
    return Finding("audit", _limited(seen["gap_minutes"], given.get("max_gap_minutes")), text)
