# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns the raw look at a PostgreSQL cluster into plain facts. Pure functions; no literal of a query and no value of a row gets through."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import loaded, locks, settings
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.fingerprint import fingerprint
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import SqlError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.queries import digest_of

Raw = t.Mapping[str, t.Any]
Facts = t.Dict[str, t.Any]

FILES = ("config_file", "hba_file", "ident_file")
PINS = ("system_identifier", "role", "port", "pid", "data_dir")
# With fewer reads than this, the share of cache hits means nothing.
FEW_READS = 10_000
ON = ("on", "true", "yes", "1", "t", "y")
SERVICE = (
    "manager", "name", "state", "pid", "exists", "reachable", "start_limit_hit", "restarts", "oom_killed", "exit_code", "signal", "detail",
    "last_ended_at",
)  # fmt: skip


def rows(raw: Raw, name: str) -> list[dict[str, t.Any]]:
    """Return the rows of an answer, [] where there is none."""
    answer = raw["answers"].get(name)
    return answer if isinstance(answer, list) else []


def one(raw: Raw, name: str) -> dict[str, t.Any]:
    """Return the one row of an answer, {} where there is none."""
    return (rows(raw, name) or [{}])[0]


def number(value: t.Any) -> t.Optional[int]:
    """Return *value* as an int, None where it is not a number."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def role_of(raw: Raw) -> str:
    """Return primary, standby, or "" where neither is known."""
    recovering = one(raw, "server").get("in_recovery")
    if recovering is not None:
        return "standby" if recovering else "primary"
    if raw.get("standby"):
        return "standby"
    state = str((raw.get("control") or {}).get("state") or "")
    return "standby" if state in ("shut down in recovery", "in archive recovery") else "primary" if state else ""


def identity_of(raw: Raw, options: Raw) -> Facts:
    """Return {system_identifier, pid, start_time, role, port, data_dir}: what distinguishes this cluster and process from others."""
    server, control = one(raw, "server"), raw.get("control") or {}
    process = (raw.get("processes") or {}).get("postmaster") or {}
    return {
        "system_identifier": str(server.get("system_identifier") or control.get("system_identifier") or ""),
        "pid": process.get("pid"),
        "start_time": process.get("start_time_ticks") or server.get("started_at"),
        "role": role_of(raw),
        "port": number(options["port"]),
        "data_dir": one_line((server.get("settings") or {}).get("data_directory") or raw.get("data_dir") or "", 200),
    }


def mismatches(identity: Raw, expected: Raw) -> list[str]:
    """Return the names that *expected* pins to another value than the one seen; a value not seen is no mismatch."""
    pinned = [name for name in PINS if expected.get(name) not in (None, "")]
    return [name for name in pinned if identity.get(name) not in (None, "") and str(identity[name]) != str(expected[name])]


def is_other_since(identity: Raw, options: Raw) -> bool:
    """Return whether this is another cluster than at the last proven look, and nobody has said that it is meant."""
    before, now = str(options.get("known_identifier") or ""), str(identity.get("system_identifier") or "")
    return bool(before and now) and before != now and not (options.get("expected_identity") or {}).get("system_identifier")


def refuse_pins(expected: Raw) -> None:
    """Raise StepError for a pin that nothing is compared with."""
    unknown = sorted(str(name) for name in expected if name not in PINS)
    if unknown:
        raise StepError("expected_identity has no %s: it knows %s" % (one_line(", ".join(unknown), 80), ", ".join(PINS)))


def facts_of(raw: Raw, options: Raw) -> Facts:
    """Return everything that was seen, in the shape that RETURN of the module describes."""
    facts: Facts = {
        "address": "",
        "role": role_of(raw),
        "sqlstate": raw["wire"]["sqlstate"] or raw["login"].get("sqlstate", ""),
        "message": raw["wire"]["message"] or raw["login"].get("message", ""),
        "connection": connection_of(raw),
        "latency_ms": round(raw["wire"]["seconds"] * 1000, 1),
        "not_seen": {name: answer["text"] for name, answer in raw["answers"].items() if isinstance(answer, dict)},
        **_of_settings(raw, options),
        **_of_processes(raw),
        **_of_files(raw, options),
    }
    return dict(facts, **_of_the_server(raw, options)) if raw["login"].get("ok") else facts


def _of_settings(raw: Raw, options: Raw) -> Facts:
    server = one(raw, "server")
    settings, known = server.get("settings") or {}, raw.get("settings") or {}
    files = {str(settings[key]) for key in FILES if settings.get(key)} | set(server.get("config_files") or [])
    proven, loaded_at, broken = loaded.judge_loaded(one(raw, "loaded"), sorted(files))
    return {
        "server_version": one_line(server.get("version") or "", 40),
        "started_at": server.get("started_at"),
        "in_recovery": server.get("in_recovery"),
        "timeline": server.get("timeline"),
        "durable": {
            **{key: settings.get(key) for key in ("fsync", "synchronous_commit")},
            **{key: server.get(key) for key in ("off_for", "lsn", "redo_lsn", "timeline", "system_identifier")},
            "unlogged_tables": server.get("unlogged"),
            "in_recovery": server.get("in_recovery"),
            "unlogged_files": raw.get("unlogged_files"),
        },
        "ended": raw.get("ended") or {},
        "data_dir": one_line(raw.get("data_dir") or "", 200),
        "config_file": one_line(known.get("config_file") or options["config_file"], 200),
        "config_files": proven,
        "config_loaded_at": loaded_at,
        "config_broken": [*broken, *(raw[name] for name in ("missing_library", "unusable_key") if raw.get(name))],
        "bin_dir": raw.get("bin_dir", ""),
    }


def _of_processes(raw: Raw) -> Facts:
    process, service = raw.get("processes") or {}, raw.get("service")
    return {
        "process": process.get("postmaster") or {},
        "backends": process.get("backends"),
        "orphans": process.get("orphans") or [],
        "lock_file": raw.get("lock") or {},
        "service": {key: service.get(key) for key in SERVICE} if service else {},
        "owned": raw.get("owned"),
        "owners": raw.get("owners") or [],
    }


def _of_files(raw: Raw, options: Raw) -> Facts:
    log = raw.get("log") or {}
    return {
        **{name: raw.get(name) or {} for name in ("access", "config", "contents", "control", "redo")},
        "disks": raw.get("disks") or [],
        "data_dir_given": bool(options["data_dir"]),
        "unmounted": raw.get("unmounted") or {},
        "lost_tablespaces": raw.get("lost_tablespaces") or [],
        "lost_wal": raw.get("lost_wal") or "",
        "port_holder": raw.get("port_holder") or {},
        "slots": raw.get("slots") or [],
        "final": bool(raw.get("service")) and raw["service"].get("state") in ("stopped", "failed") and not raw["wire"]["accepting"],
        "log": {key: log.get(key) for key in ("lines", "fatal", "ready", "started", "wal_changed", "control_changed", "cause_changed")},
        "signal_files": raw.get("standby") or [],
        "wal": dict(raw.get("wal") or {}, **_wal_in(raw)),
    }


def connection_of(raw: Raw) -> str:
    """Return accepting, rejecting or silent."""
    return "accepting" if raw["wire"]["accepting"] else "rejecting" if raw["wire"]["sqlstate"] else "silent"


def _wal_in(raw: Raw) -> Facts:
    row = one(raw, "wal")
    return {"files": number(row["files"]), "bytes": number(row["bytes"])} if row else {}


def _of_the_server(raw: Raw, options: Raw) -> Facts:
    databases = [_database(row) for row in rows(raw, "databases")]
    ages = [row["xid_age"] for row in databases if row["xid_age"] is not None]
    return {
        "connections": _connections(raw),
        "sessions": _sessions(raw),
        "prepared": [_prepared(row) for row in rows(raw, "prepared")],
        "replication": _replication(raw),
        "archiver": _archiver(raw),
        "checksums": _checksums(raw, options),
        "databases": databases,
        "read_only": read_only_of(raw, options),
        "xid_age": max(ages) if ages else None,
        "cache_hit_share": _cache(rows(raw, "databases")),
        "top_queries": _top(raw),
        "locks": locks.judge(locks.raw_of(_lock_answers(raw)), {}),
        "audit": {"rows": number(one(raw, "audit").get("rows")), **options["audit"]} if options["audit"] else {},
        "known_answers": [_known(raw, index, wanted) for index, wanted in enumerate(options["known_answers"])],
    }


def _lock_answers(raw: Raw) -> dict[str, t.Any]:
    answers = {name: raw["answers"].get(name, {"sqlstate": "", "text": "the query did not run"}) for name in locks.QUERIES}
    return {name: SqlError(one["sqlstate"], one["text"]) if isinstance(one, dict) else one for name, one in answers.items()}


def _connections(raw: Raw) -> Facts:
    counts, settings = one(raw, "sessions"), one(raw, "server").get("settings") or {}
    limit, reserved = number(settings.get("max_connections")), number(settings.get("superuser_reserved_connections"))
    # Our own session counts too.
    used = None if counts.get("clients") is None else int(counts["clients"]) + 1
    free = limit - (reserved or 0) if limit is not None else None
    counted = {key: number(counts.get(key)) for key in ("active", "idle_in_transaction", "waiting_for_locks")}
    share = round(used / free, 4) if used is not None and free else None
    return dict(counted, used=used, limit=limit, reserved=reserved, share=share)


def _sessions(raw: Raw) -> Facts:
    found: Facts = {"long": [], "idle_in_transaction": [], "idle": []}
    for row in rows(raw, "long"):
        state = str(row["state"])
        kind = "long" if state == "active" else "idle" if state == "idle" else "idle_in_transaction"
        shape = fingerprint(str(row["query"] or ""))
        found[kind].append({
            "pid": row["pid"], "login": one_line(row["login"] or "", 60), "database": one_line(row["database"] or "", 60),
            "application": one_line(row["application"] or "", 60), "seconds": row["seconds"],
            "transaction_seconds": row["transaction_seconds"], "wait_event_type": row["wait_event_type"],
            "backend_start": row["backend_start"], "query_start": row["query_start"], "queryid": row["queryid"],
            "fingerprint": shape.short, "query": shape.text if state == "active" else "",
        })  # fmt: skip
    return found


def _prepared(row: Raw) -> Facts:
    return {
        "gid": one_line(row["gid"], 80), "database": one_line(row["database"], 60), "owner": one_line(row["owner"], 60),
        "seconds": row["seconds"],
    }  # fmt: skip


def _replication(raw: Raw) -> Facts:
    row = one(raw, "receiver")
    streams = row.get("receiver") == "streaming"
    lag = row.get("last_commit_seconds")
    # While a primary writes nothing its last commit grows older: once all is replayed, that is not lag.
    if streams and (number(row.get("lag_bytes")) or 0) == 0:
        lag = 0.0
    senders = [dict(row, application=one_line(row["application"], 60)) for row in rows(raw, "senders")]
    slots = [dict(row, name=one_line(row["name"], 64)) for row in rows(raw, "slots")]
    seen = {"streams": streams, "lag_seconds": lag, "lag_bytes": number(row.get("lag_bytes")), "paused": bool(row.get("paused"))}
    standby = seen if row.get("standby") else {}
    return {"standby": standby, "senders": senders, "slots": slots}


def _archiver(raw: Raw) -> Facts:
    row, settings = one(raw, "archiver"), one(raw, "server").get("settings") or {}
    on = settings.get("archive_mode") not in (None, "off")
    return {
        "on": on, "failing": bool(on and row.get("failing")), "waiting": number(one(raw, "backlog").get("waiting")),
        "stuck_seconds": _stuck(raw), "archived_at": row.get("archived_at"),
        "failed_at": row.get("failed_at"), "archived": number(row.get("archived")),
        "failed": number(row.get("failed")), "last_archived": one_line(row.get("last_archived") or "", 60),
        "last_failed": one_line(row.get("last_failed") or "", 60),
    }  # fmt: skip


def _stuck(raw: Raw) -> t.Optional[float]:
    """Return for how many seconds a file has waited without one being archived, None for none that waits."""
    if one(raw, "server").get("in_recovery"):
        return None
    ages = [one(raw, "backlog").get("oldest_seconds"), one(raw, "archiver").get("archived_seconds")]
    return min(float(age) for age in ages if age is not None) if ages[0] is not None else None


def read_only_of(raw: Raw, options: Raw) -> str:
    """Return why writes of the application fail by default, in words, "" where they do not (or this cannot be seen). Pure.

    What ALTER ROLE says counts for a role that may write to tables here, or is *app_user*; it comes before ALTER DATABASE, and that before
    the configuration.
    """
    server, found = one(raw, "server"), rows(raw, "read_only")
    if server.get("in_recovery"):
        return ""
    roles = _app_roles(found, str(options.get("app_user") or ""))
    caught = [login for login, value in roles.items() if value in ON]
    if caught:
        return "role %s has it from ALTER ROLE" % one_line(caught[0], 60)
    # A role that writes all the same speaks for itself only: of the others nothing is known but where the application's role is.
    return "" if roles and options.get("app_user") else _read_only_for_all(raw, server, found)


def _app_roles(found: t.Sequence[Raw], app: str) -> dict[str, str]:
    """Return {role of the application: its own setting}."""
    roles = [row for row in found if row["login"] and (row["login"] == app if app else row["may_write"])]
    # With both, the setting for the database counts.
    return {row["login"]: row["value"] for row in sorted(roles, key=lambda row: bool(row["database"]))}


def _read_only_for_all(raw: Raw, server: Raw, found: t.Sequence[Raw]) -> str:
    of_all = [row for row in found if not row["login"]]
    if of_all:
        # The setting of a database comes before that of ALTER ROLE ALL.
        first = max(of_all, key=lambda row: bool(row["database"]))
        named = (
            "database %s has it from ALTER DATABASE" % one_line(first["database"], 60) if first["database"] else "ALTER ROLE ALL says so"
        )
        return named if first["value"] in ON else ""
    # What our own role has hides the setting of the cluster.
    own = any(row["own"] for row in found)
    return "it is set for the whole cluster (%s)" % _place_of(raw) if server.get("read_only") in ON and not own else ""


def _place_of(raw: Raw) -> str:
    place = settings.place_of(raw.get("effective") or {}, "default_transaction_read_only")
    return "in its configuration" if place == "the default" else place


def _database(row: Raw) -> Facts:
    return {
        "name": one_line(row["name"], 64), "xid_age": number(row["xid_age"]), "multixact_age": number(row["multixact_age"]),
        "checksum_failures": number(row["checksum_failures"]), "deadlocks": number(row["deadlocks"]),
    }  # fmt: skip


def _checksums(raw: Raw, options: Raw) -> Facts:
    """Return {on, failures, past, failed_in, proven}: the server counts for ever, so what was counted before a proof is ``past``."""
    setting = (one(raw, "server").get("settings") or {}).get("data_checksums")
    if setting != "on":
        return {"on": None if setting is None else False, "failures": None, "past": 0, "failed_in": [], "proven": {}}
    proven = {str(name): float(at) for name, at in (options["pages_proven"] or {}).items()}
    failed = _failed_checksums(raw, proven)
    new, past = ([one for one in failed if one[2] is wanted] for wanted in (False, True))
    names = [name for name, _count, _past in new if name]
    return {
        "on": True, "failures": sum(one[1] for one in new), "past": sum(one[1] for one in past), "failed_in": names, "proven": proven,
    }  # fmt: skip


def _failed_checksums(raw: Raw, proven: t.Mapping[str, float]) -> list[tuple[str, int, bool]]:
    """Return (database, failures, whether they are past) where there are any; "" for the relations that all databases share."""
    counted = [(row, proven.get(str(row["name"]))) for row in rows(raw, "databases")]
    # Any database has the shared ones too.
    counted += [(row, max(proven.values(), default=None)) for row in rows(raw, "shared")]
    found = [(one_line(row.get("name") or "", 64), number(row.get("checksum_failures")) or 0, _is_past(row, at)) for row, at in counted]
    return [one for one in found if one[1]]


def _is_past(row: Raw, proven_at: t.Optional[float]) -> bool:
    failed_at = row.get("checksum_failed_at")
    return proven_at is not None and failed_at is not None and float(failed_at) <= proven_at


def _cache(databases: t.Sequence[Raw]) -> t.Optional[float]:
    hits, reads = (sum(number(row[key]) or 0 for row in databases) for key in ("hits", "reads"))
    return round(hits / (hits + reads), 4) if hits + reads > FEW_READS else None


def _top(raw: Raw) -> Facts:
    answer = raw["answers"].get("top")
    if answer is None:
        return {"there": False, "text": "pg_stat_statements is not installed in this database", "queries": []}
    if not isinstance(answer, list):
        return {"there": None, "text": one_line(answer["text"], 160), "queries": []}
    return {"there": True, "text": "", "queries": [_statement(row) for row in answer]}


def _statement(row: Raw) -> Facts:
    shape = fingerprint(str(row["query"] or ""))
    counts = {key: row[key] for key in ("queryid", "calls", "total_ms", "mean_ms", "rows")}
    return dict(counts, fingerprint=shape.short, query=shape.text)


def _known(raw: Raw, index: int, wanted: Raw) -> Facts:
    """Return {index, database, right, error}: right is None without an answer. The answer itself is never shown."""
    answer = raw["answers"].get("known_%d" % index)
    found: Facts = {"index": index, "database": wanted["database"], "right": None, "error": ""}
    if isinstance(answer, list) and answer:
        digest = str(wanted["sha256"]).lower() or digest_of(str(wanted["expect"]))
        return dict(found, right=answer[0].get("sha256") == digest)
    return dict(
        found, error=one_line((answer or {}).get("text") or "the query did not run", 160), sqlstate=(answer or {}).get("sqlstate", "")
    )


def page_fault(facts: Raw) -> bool:
    """Return whether a known answer failed because the server could not read its data (data_corrupted, index_corrupted)."""
    states = {str(one.get("sqlstate") or "") for one in facts.get("known_answers") or []}
    texts = facts["not_seen"].values()
    return bool(states & {"XX001", "XX002"}) or any(re.search("invalid page|could not read block", text) for text in texts)
