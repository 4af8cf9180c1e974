# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads everything about one PostgreSQL cluster that can be read without changing it; judges nothing.

It asks the server over its socket and, where the probe runs on the target, reads its processes, files, disks and log.
"""

from __future__ import annotations

import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import durability, process, starting
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import settings as postgresql_settings
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.log import config_fault, last_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.options import with_defaults
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.programs import find_binaries
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import SqlError, ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.queries import (
    expectations_in,
    other_databases,
    questions,
    top_statements,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.settings import log_patterns, value_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wire import knock, place_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.published import load_container_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.published import sentence as container_text
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import (
    last_start,
    load_service,
    logs_of,
    said_since,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import log as log_file
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.owners import POSTGRESQL, load_owners
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import parent_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import find, run

Raw = t.Dict[str, t.Any]
Options = t.Mapping[str, t.Any]

# Between the two looks at a replay of WAL.
BETWEEN = 0.2
LOG_LINES = 400
# With less than this free, what fills a disk is looked for.
SCARCE = 64 << 20
# Data directory -> (position of its replay, since when): a wait looks many times.
_MOVES: dict[str, tuple[t.Any, float]] = {}


def load_postgres(options: Options, deadline: float, total: float) -> Raw:
    """Return what can be seen of the cluster that *options* name, within *total* seconds; the knock takes at most *deadline* of them.

    Keys: stands_on, wire (of ``knock``), answers ({name: rows, or {sqlstate, text}}), login ({ok, sqlstate, message}; {} where it was not
    tried), locks, and from the target itself service, data_dir, processes, lock, disks, and of a cluster that does not accept control, wal,
    access, config, log, standby, contents. Raises StepError for a bad service name only.
    """
    options, clock = with_defaults(options), Clock(total)
    raw: Raw = {"stands_on": options.get("stands_on") or "target", "answers": {}, "login": {}}
    raw["knocked_at"] = time.time()
    raw["wire"] = _knock(options, min(deadline, clock.left))
    # Peer authentication may accept psql as os_user although it rejected our own user.
    if raw["wire"]["accepting"] or raw["wire"]["sqlstate"].startswith("28"):
        raw.update(_asked(options, clock))
    if raw["login"].get("ok"):
        raw["wire"].update(accepting=True, sqlstate="", message="")
    if raw["stands_on"] == "target":
        raw.update(_surroundings(options, raw, clock))
    return raw


def _knock(options: Options, deadline: float) -> Raw:
    """Knock as the user that peer authentication accepts, so that not every look logs a rejected login; else as ourselves."""
    begun, user, place = time.monotonic(), str(options["os_user"]), place_of(options)
    program = find("pg_isready", [str(options["bin_dir"])] if options["bin_dir"] else [])
    if program and user and os.geteuid() == 0 and place.startswith("/"):
        words = [program, "-q", "-h", place, "-p", str(options["port"]), "-U", str(options["user"]), "-d", str(options["database"])]
        if run([*words, "-t", str(max(1, int(deadline)))], deadline, user=user).rc == 0:
            seconds = time.monotonic() - begun
            return {"error": "", "detail": "", "sqlstate": "", "message": "", "accepting": True, "seconds": seconds}
    return knock(options, max(0.5, deadline - (time.monotonic() - begun)))


def _asked(options: Options, clock: Clock) -> Raw:
    where = dict(options, host=place_of(options))
    try:
        answers = ask(where, questions(options), max(0.5, clock.left))
        installed = answers["extensions"] if isinstance(answers["extensions"], list) else []
        schemas = [str(one["schema"]) for one in installed if one["name"] == "pg_stat_statements"]
        if schemas:
            answers.update(ask(where, {"top": top_statements(schemas[0])}, max(0.5, clock.left)))
        for database in other_databases(options):
            answers.update(_asked_elsewhere(where, options, database, clock))
    except SqlError as error:
        return {"login": {"ok": False, "sqlstate": error.sqlstate, "message": str(error)}}
    return {"login": {"ok": True, "sqlstate": "", "message": ""}, "answers": {name: _plain(one) for name, one in answers.items()}}


def _asked_elsewhere(where: Raw, options: Options, database: str, clock: Clock) -> dict[str, t.Any]:
    wanted = expectations_in(options, database)
    try:
        return dict(ask(dict(where, database=database), wanted, max(0.5, clock.left)))
    except SqlError as error:
        return dict.fromkeys(wanted, error)


def _plain(answer: t.Any) -> t.Any:
    return {"sqlstate": answer.sqlstate, "text": str(answer)} if isinstance(answer, SqlError) else answer


def rows_of(raw: Options, name: str) -> list[dict[str, t.Any]]:
    """Return the rows of an answer, [] where there is none."""
    answer = raw["answers"].get(name)
    return answer if isinstance(answer, list) else []


def _surroundings(options: Options, raw: Raw, clock: Clock) -> Raw:
    settings = (rows_of(raw, "server") or [{}])[0].get("settings") or {}
    named = postgresql_settings.load_file(str(options["config_file"])).get("data_directory", {}).get("value")
    data_dir = str(options["data_dir"] or settings.get("data_directory") or named or "")
    around: Raw = {"data_dir": data_dir, "service": dict(options["service"] or {}), "settings": settings}
    if "state" not in around["service"]:
        around["service"] = load_service(around["service"], max(0.3, min(3.0, clock.left)))
    contained = _container(options, around)
    if not data_dir:
        return dict(around, owners=contained)
    around["processes"] = process.load_processes(data_dir)
    around["lock"] = process.load_lock(data_dir, around["processes"])
    if around["lock"].get("names_it") is False:
        # It may have been restarted between the two looks.
        around["processes"] = process.load_processes(data_dir)
        around["lock"] = process.load_lock(data_dir, around["processes"])
    around["owned"] = _owned(around["processes"]["postmaster"], around["service"])
    around["disks"] = _disks(data_dir, raw)
    around["lost_tablespaces"] = starting.load_lost_tablespaces(data_dir)
    around["effective"] = _effective(options, around)
    around["owners"] = _owners(options, around) + contained
    if not raw["login"].get("ok"):
        around.update(_of_the_silent(options, around, clock))
        return around
    around["unlogged_files"] = durability.load_unlogged(data_dir)
    around["missing_library"] = starting.missing_library(around["effective"], bin_dir_of(options, around))
    around["unusable_key"] = starting.unusable_key(around["effective"], data_dir)
    if options["data_dir"]:
        own, started_at = str(settings.get("data_directory") or ""), (rows_of(raw, "loaded") or [{}])[0].get("started_at")
        around["misnamed"] = starting.answers_elsewhere(data_dir, own, around["processes"], around["lock"], started_at)
    return around


def _effective(options: Options, around: Raw) -> Raw:
    """Return the settings of the files, the start command and the environment, as they are or would be at the next start."""
    pid = int(around["processes"]["postmaster"].get("pid") or 0)
    words = postgresql_settings.words_of(pid) if pid else []
    words = words or postgresql_settings.start_words(around["data_dir"], str(around["service"].get("start_command") or ""))
    config_file = str(around["settings"].get("config_file") or options["config_file"])
    environment = postgresql_settings.environment_of(pid) if pid else dict(around["service"].get("variables") or {})
    return postgresql_settings.load_settings(around["data_dir"], config_file, words, environment)


def _owners(options: Options, around: Raw) -> list[dict[str, str]]:
    """Return who else owns the cluster; *former_owners* are those of whom only files are left."""
    effective = around["effective"]
    config = "\n".join(lines_of(str(effective["config_file"])))
    values = {name: str(one["value"]) for name, one in effective["settings"].items()}
    found = load_owners(POSTGRESQL, around["data_dir"], config=config, settings=values, unit=str(around["service"].get("name") or ""))
    return [one for one in found if one["owner"] not in options["former_owners"]]


def _container(options: Options, around: Raw) -> list[dict[str, str]]:
    """Return as an owner the container that has the port of a cluster whose own service does not run, [] for none."""
    if around["service"].get("state") in (None, "running", "starting"):
        return []
    written_at = log_file.changed_at(os.path.join(around["data_dir"], "global", "pg_control")) if around["data_dir"] else 0.0
    found, port = load_container_on(int(options["port"]), written_at), int(options["port"])
    return [{"owner": "Docker", "evidence": container_text(found, port), "command": found["command"]}] if found else []


def lines_of(path: str) -> list[str]:
    """Return the lines of a text file, [] where it cannot be read."""
    return log_file.tail_of(path, 1 << 20).decode("utf-8", "replace").splitlines() if path else []


def _owned(postmaster: Options, service: Options) -> t.Optional[bool]:
    """Return whether the postmaster is the process of the service or its descendant; None where either cannot be seen."""
    if not postmaster or not service.get("exists") or not service.get("reachable"):
        return None
    # A service has no process for a moment between two of them.
    if not service.get("pid"):
        return False if service.get("state") in ("stopped", "failed") else None
    pid = int(postmaster["pid"])
    while pid > 1 and pid != service["pid"]:
        pid = parent_of(pid)
    return bool(pid == service["pid"])


def _disks(data_dir: str, raw: Raw) -> list[Raw]:
    """Return the disks of data, WAL and tablespaces, each file system once."""
    places = [("data", data_dir), ("wal", os.path.join(data_dir, "pg_wal"))]
    places += [("tablespace %s" % one_line(one["name"], 40), str(one["path"])) for one in rows_of(raw, "tablespaces")]
    found: dict[t.Any, Raw] = {}
    for name, path in places:
        disk = process.load_disk(os.path.realpath(path))
        if disk:
            seen = found.setdefault(disk["device"], dict(disk, holds=[]))
            seen["holds"].append(name)
    return list(found.values())


def _of_the_silent(options: Options, around: Raw, clock: Clock) -> Raw:
    """Look at a cluster that accepts no connection: what would a start find, and what did the last one log."""
    data_dir = around["data_dir"]
    # Without root we cannot become another user: the owner of the files counts.
    access = process.load_access(data_dir, str(options["os_user"]) if os.geteuid() == 0 else "")
    control: Raw = {}
    folder = bin_dir_of(options, around)
    if folder:
        control = process.load_control(folder, data_dir, max(0.5, min(5.0, clock.left)))
    log = _with_changes(_log(options, around, clock), data_dir)
    running = around["processes"]["postmaster"]
    wal = process.load_wal(data_dir, control)
    return {
        **({} if running else _of_a_start(around, wal, control)),
        "ended": _ended(data_dir, around, control, wal),
        "unmounted": starting.load_unmounted(data_dir),
        "lost_wal": starting.load_lost_wal(data_dir),
        "misnamed": "" if running else starting.misnamed(options, around["effective"], data_dir, starting.version_of(folder, clock.left)),
        "bin_dir": folder,
        "contents": _contents(data_dir),
        "standby": [name for name in ("standby.signal", "recovery.signal") if os.path.exists(os.path.join(data_dir, name))],
        "access": access,
        "control": control,
        "wal": wal,
        "log": log,
        "config": _config(options, around, access, folder, log, clock) if not running else {},
        "redo": _redo(data_dir, around["processes"], log),
    }


def _ended(data_dir: str, around: Raw, control: Raw, wal: Raw) -> Raw:
    """Return how a cluster had run before it went down, or as far as files tell it of one that runs and is silent."""
    if around["processes"]["postmaster"]:
        return durability.load_ran_with(data_dir, around["effective"])
    return durability.load_end(data_dir, around["effective"], control, wal)


def _of_a_start(around: Raw, wal: Raw, control: Raw) -> Raw:
    """Return what is in the way of a start: who holds its port, what fills its disks."""
    data_dir, own = around["data_dir"], [int(one["pid"]) for one in around["processes"]["orphans"]]
    for disk in around["disks"]:
        if disk["free_bytes"] < SCARCE:
            disk["largest"] = starting.largest_files(disk["path"], os.path.realpath(data_dir))
    last = starting.last_lsn_of(str(wal.get("folder") or ""), int(control.get("segment_bytes") or 0))
    return {"port_holder": starting.load_port_holder(around["effective"], own), "slots": starting.load_slots(data_dir, last)}


def bin_dir_of(options: Options, around: Options) -> str:
    """Return the directory with the programs of this cluster's version, "" for none."""
    version = (lines_of(os.path.join(around["data_dir"], "PG_VERSION")) or [""])[0].strip()
    return find_binaries(str(options["bin_dir"]), version)


def _contents(data_dir: str) -> Raw:
    """Return {exists, entries, version, control, base}: whether there is a cluster at all."""
    try:
        names = os.listdir(data_dir)
    except OSError as error:
        return {"exists": os.path.isdir(data_dir), "entries": None, "error": one_line(error.strerror, 80)}
    return {
        "exists": True,
        "entries": len(names),
        "version": "PG_VERSION" in names,
        "control": os.path.exists(os.path.join(data_dir, "global", "pg_control")),
        "base": "base" in names,
    }


def _log(options: Options, around: Raw, clock: Clock) -> Raw:
    """Return what was written of the last start, to whichever of log files, journal and output."""
    effective, began, said = around["effective"], None, b""
    if options["service"].get("manager"):
        start = _quietly(last_start, options["service"], max(0.3, min(2.0, clock.left))) or {}
        began = start.get("began")
        lines = _quietly(said_since, options["service"], start, max(0.3, min(2.0, clock.left))) if began else None
        said = "\n".join(one["text"] for one in lines or []).encode()
        said = said or _quietly(logs_of, options["service"], LOG_LINES, max(0.3, min(2.0, clock.left))) or b""
    patterns = [str(options["log_file"]), *log_patterns(around["data_dir"], effective)]
    paths = dict.fromkeys(path for path in (log_file.newest(one) for one in patterns if one) if path)
    texts = [(log_file.written_at(path), log_file.tail_of(path).decode("utf-8", "replace")) for path in paths]
    locale = value_of(effective, "lc_messages")
    return last_of(texts, said.decode("utf-8", "replace"), began, locale)


def _with_changes(log: Raw, data_dir: str) -> Raw:
    """Add {wal_changed, control_changed, cause_changed}: whether they changed since, so that what the log says of them is past."""
    places = {"wal_changed": "pg_wal", "control_changed": "global/pg_control"}
    changed = {name: log_file.changed_at(os.path.join(data_dir, path)) > log["written_at"] > 0 for name, path in places.items()}
    named = [*re.findall('"([^"]+)"', str(log["fatal"])), str(log["fault"].get("file") or "")]
    cause = any(log_file.changed_at(os.path.join(data_dir, path)) >= log["at"] > 0 for path in named if path)
    return dict(log, **changed, cause_changed=cause)


def _quietly(call: t.Callable[..., t.Any], *given: t.Any) -> t.Any:
    """Return what *call* returns, None where the manager or the name is not known."""
    try:
        return call(*given)
    except (StepError, OSError, ValueError, KeyError):
        return None


def _config(options: Options, around: Raw, access: Raw, folder: str, log: Raw, clock: Clock) -> Raw:
    """Return {file, line, text} of the first fault of the configuration, {} where PostgreSQL itself finds none."""
    file = str(around["effective"]["config_file"])
    if folder and access:
        # With -C it reads its configuration, prints one setting and exits before it touches any data.
        words = [
            os.path.join(folder, "postgres"),
            "-D",
            around["data_dir"],
            "-c",
            "config_file=" + file,
            "-c",
            "lc_messages=C",
            "-C",
            "data_directory",
        ]
        done = run(words, max(0.5, min(5.0, clock.left)), user=str(access["user"]))
        fault = config_fault(done.err, lines_of) if done.rc and not done.timed_out else {}
        if fault or not os.path.exists(file):
            return fault or {"file": one_line(file, 120), "line": 0, "text": "the configuration file does not exist"}
    missing = starting.missing_library(around["effective"], folder)
    if missing:
        return missing
    fault = log["fault"]
    # Only a start reads pg_hba.conf: what the last one said counts until that file changes.
    return fault if fault and not log["ready"] and log_file.changed_at(fault["file"]) < log["at"] else {}


def _redo(data_dir: str, processes: Raw, log: Raw) -> Raw:
    """Return {segment, lsn, process_state, advances, still_seconds} of a replay in progress, {} for none.

    ``advances`` is None where one look is not enough to know.
    """
    startup = processes["startup"]
    if not startup:
        return {}
    time.sleep(BETWEEN)
    after = process.redo_of(dict(startup, title=process.title_of(int(startup["pid"]))))
    now, progress = time.monotonic(), log["redo"]
    mark = [startup["pid"], after["mark"], progress]
    before = _MOVES.get(data_dir)
    moved = after["mark"] != startup["mark"] or (before is not None and before[0] != mark)
    if before is None or moved:
        _MOVES[data_dir] = (mark, now)
    still = 0.0 if moved else max(now - _MOVES[data_dir][1], _logged_still(progress))
    return {
        "segment": after["segment"], "lsn": progress[-1][1] if progress else "", "process_state": startup["process_state"],
        "advances": True if moved else False if still else None, "still_seconds": round(still, 1),
    }  # fmt: skip


def _logged_still(progress: t.Sequence[t.Tuple[float, str]]) -> float:
    """Return for how long the server's own progress lines have shown the same position."""
    return progress[-1][0] - progress[0][0] if len(progress) > 1 and progress[0][1] == progress[-1][1] else 0.0
