# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what decides a restore to a time: the live server, the repository, its WAL, free space. Changes nothing, never raises."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import programs, wal
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC, Query, SqlError, ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import pgbackrest, side
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import known_answers, left
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.swap import Unfit, load_journal
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.settings import load_settings
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import tail_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.owners import POSTGRESQL, load_owners

Raw = t.Dict[str, t.Any]
RESTORE_OPTIONS: dict[str, t.Any] = dict(
    CONNECT_SPEC,
    **pgbackrest.REPO_SPEC,
    target={"type": "str", "default": ""},
    label={"type": "str", "default": ""},
    data_dir={"type": "path", "default": ""},
    bin_dir={"type": "path", "default": ""},
    side_dir={"type": "path", "required": True},
    system_identifier={"type": "str", "default": ""},
    known_answers={"type": "list", "elements": "dict", "default": []},
    space_factor={"type": "float", "default": 1.2},
)
_TARGET = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(Z|z|[+-]\d\d:?\d\d)?\Z")
_LIVE = """SELECT pg_is_in_recovery() AS in_recovery, system_identifier::text AS system_identifier,
 (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline, current_setting('data_directory') AS data_directory,
 extract(epoch FROM pg_postmaster_start_time())::float8 AS started_at, current_setting('server_version_num')::int / 10000 AS version,
 (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes,
 (SELECT jsonb_object_agg(name, setting::int) FROM pg_settings WHERE name IN ('max_connections', 'max_worker_processes',
  'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction')) AS least,
 (SELECT jsonb_agg(datname) FROM pg_database WHERE NOT datistemplate AND datallowconn) AS databases,
 (SELECT count(*) FROM pg_largeobject_metadata) AS large_objects,
 has_function_privilege('pg_switch_wal()', 'execute') AS may_switch,
 has_function_privilege('pg_promote(boolean, integer)', 'execute') AS may_promote,
 (SELECT jsonb_object_agg(r.name, r.lacks) FROM (SELECT n.nspname || '.' || c.relname AS name,
   CASE WHEN NOT has_schema_privilege(n.oid, 'usage') THEN 'USAGE' WHEN NOT has_table_privilege(c.oid, 'select') THEN 'SELECT'
        WHEN NOT has_table_privilege(c.oid, 'insert') THEN 'INSERT' END AS lacks
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence IN ('p', 'u')
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%') AS r WHERE r.lacks IS NOT NULL) AS lacks
 FROM pg_control_system()"""


def parse_target(text: str) -> tuple[float, str]:
    """Return (seconds since the epoch, what is wrong) for an RFC 3339 time; it must have a zone. Pure."""
    found = _TARGET.match(text.strip())
    if not found:
        return 0.0, "%s is not a time: give it as 2026-11-25T10:05:00Z" % (one_line(text, 40) or "an empty target")
    if not found.group(4):
        return 0.0, "%s has no time zone, so it is ambiguous: add Z or an offset such as +01:00" % one_line(text, 40)
    zone = "+0000" if found.group(4) in "Zz" else found.group(4).replace(":", "")
    try:
        moment = datetime.datetime.strptime("%s %s %s" % (found.group(1), found.group(2), zone), "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return 0.0, "%s is not a valid time" % one_line(text, 40)
    return moment.timestamp() + float("0.%s" % (found.group(3) or "0")), ""


def time_text(epoch: float) -> str:
    """Return a time in the format of PostgreSQL, in UTC."""
    moment = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".") + "+00"


def load_restore(options: t.Mapping[str, t.Any], deadline: float) -> Raw:
    """Return what ``judge_restore`` judges, within *deadline* seconds in total."""
    end, (target, wrong) = time.monotonic() + deadline, parse_target(str(options["target"]))
    live = load_live(options, min(5.0, deadline))
    data_dir = str(options["data_dir"] or live.get("data_directory") or "")
    binaries = programs.find_binaries(str(options["bin_dir"]), str(live.get("version") or ""))
    raw: Raw = {"now": time.time(), "target": target, "target_error": wrong, "live": live, "data_dir": data_dir, "bin_dir": binaries}
    raw["control"] = side.load_control(binaries, data_dir, str(options["os_user"]), left(end)) if binaries and data_dir else {}
    raw["places"] = [os.path.realpath(str(options["side_dir"])), os.path.realpath(data_dir) if data_dir else ""]
    raw["standby"] = bool(live.get("in_recovery")) or bool(data_dir and os.path.exists(os.path.join(data_dir, "standby.signal")))
    raw["owners"] = _owners(data_dir)
    raw["interrupted"] = load_interrupted(str(options["side_dir"]))
    raw.update(load_repository(options, raw, end))
    return raw


def _owners(data_dir: str) -> list[dict[str, str]]:
    """Return who else starts and stops the cluster."""
    effective = load_settings(data_dir)
    values = {name: str(one["value"]) for name, one in effective["settings"].items()}
    config = tail_of(str(effective["config_file"])).decode("utf-8", "replace")
    return load_owners(POSTGRESQL, data_dir, config=config, settings=values)


def load_live(options: t.Mapping[str, t.Any], deadline: float) -> Raw:
    """Return {error, ...} of the live server and its results for the known answers."""
    end = time.monotonic() + deadline
    try:
        answer = ask(options, {"live": Query(_LIVE)}, deadline)["live"]
    except SqlError as error:
        return {"error": str(error), "sqlstate": error.sqlstate, "answers": []}
    if isinstance(answer, SqlError):
        return {"error": str(answer), "sqlstate": answer.sqlstate, "answers": []}
    return dict(answer[0], error="", sqlstate="", answers=known_answers(options, options["known_answers"], left(end)))


def load_repository(options: t.Mapping[str, t.Any], raw: Raw, end: float) -> Raw:
    """Return {info, backup, chosen, wal, space} of the backup that the restore would use."""
    info = pgbackrest.load_info(options, left(end))
    found: Raw = {"info": info, "backup": None, "chosen": ["", ""], "wal": {}, "space": {}}
    if info["error"] or info["state"] != "ok":
        return found
    backup, state, text = pgbackrest.choose_backup(info["backups"], raw["target"], str(options["label"]))
    found.update(backup=backup, chosen=[state, text])
    if backup is not None:
        found["wal"] = load_wal(options, backup, raw, end)
        found["space"] = load_space(options, backup, raw)
    return found


def load_wal(options: t.Mapping[str, t.Any], backup: t.Mapping[str, t.Any], raw: Raw, end: float) -> Raw:
    """Return {error, whole, missing, lost, checked, last, last_at, timeline} of the WAL from *backup* on."""
    size = int(raw["live"].get("segment_bytes") or raw["control"].get("Bytes per WAL segment") or wal.SEGMENT_BYTES)
    listed = pgbackrest.load_archive(options, str(backup["archive_id"]), left(end))
    if listed["error"]:
        return {"error": listed["error"], "whole": None}
    archive = wal.read_archive(listed["files"], size)
    timeline = timeline_of(raw, archive)
    history: list[tuple[int, int]] = []
    try:
        if timeline in archive.histories:
            history = wal.read_history(pgbackrest.load_history(options, str(backup["archive_id"]), timeline, left(end)), size)
        judged = wal.judge_contiguity(archive, str(backup["wal_start"]), timeline, history, size)
    except ValueError as error:
        return {"error": str(error), "whole": False, "missing": [], "lost": 0, "timeline": timeline, "last": "", "last_at": 0.0}
    return dict(judged._asdict(), error="", timeline=timeline, segment_bytes=size)


def timeline_of(raw: Raw, archive: wal.Archive) -> int:
    """Return the timeline of the live server, else the newest of the archive."""
    told = raw["live"].get("timeline") or raw["control"].get("Latest checkpoint's TimeLineID")
    return int(told) if str(told or "").isdigit() else max(wal.timelines(archive), default=1)


def load_space(options: t.Mapping[str, t.Any], backup: t.Mapping[str, t.Any], raw: Raw) -> Raw:
    """Return {side_free, side_needed, repository_free, repository_needed}; free is None where it is unknown."""
    repository = pgbackrest.repository_of(options)
    size = int(raw["live"].get("segment_bytes") or wal.SEGMENT_BYTES)
    return {
        "side_free": free_at(str(options["side_dir"])),
        "side_needed": int(int(backup["bytes"]) * float(options["space_factor"])),
        "repository_free": free_at(repository["path"]) if repository["local"] else None,
        "repository_needed": int(int(backup["repository_bytes"]) * float(options["space_factor"])) + 2 * size,
    }


def free_at(path: str) -> t.Optional[int]:
    """Return the bytes free for us at *path* or its nearest existing parent directory; None where that is unknown."""
    while path and not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    with contextlib.suppress(OSError):
        space = os.statvfs(path)
        return space.f_bavail * space.f_frsize
    return None


def load_interrupted(side_dir: str) -> Raw:
    """Return {folder, state, ...} of a swap that was begun and neither finished nor undone, {} for none."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(side_dir)):
            folder = os.path.join(side_dir, name)
            try:
                journal = load_journal(folder)
            except Unfit as error:
                return {"folder": folder, "state": "unreadable", "text": str(error)}
            if journal and journal.get("state") in ("staged", "putting_back"):
                return dict(journal, folder=folder)
    return {}
