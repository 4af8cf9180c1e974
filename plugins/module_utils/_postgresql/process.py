# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the host of a cluster knows: its processes, lock file, control file, WAL, modes and owners.

The postmaster and its children have the data directory as working directory and run a program named postgres: that identifies them,
whatever the lock file says. Loaders only: they return plain data, {} where nothing can be read, and never raise.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
import stat
import struct
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.starting import is_nobodys
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wal import parse_segment, segment_name
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import process_facts
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import parent_of, pids
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import run

Raw = t.Dict[str, t.Any]

PROGRAMS = ("postgres", "postmaster")
LOCK_FILE = "postmaster.pid"
# Tolerance in seconds: PostgreSQL writes whole seconds, and a little after its start.
SAME_START = 3.0
# A server has one backend for each client; no more than this are listed.
MOST_ORPHANS = 50
# The most paths of another owner that are listed, and seconds to look for them.
MOST_WRONG = 200
WALK_SECONDS = 2.0
# The most that is read of a process title.
TITLE_BYTES = 400
# What only PostgreSQL writes, the ones first that a start cannot do without.
FOLDERS = (
    "global", "pg_wal", "pg_xact", "base", "pg_multixact", "pg_logical", "pg_replslot", "pg_subtrans", "pg_twophase", "pg_commit_ts",
    "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp", "pg_tblspc",
)  # fmt: skip
_SEGMENT = re.compile(r"[0-9A-F]{24}\Z")
# The title of a process that lets a client in: "postgres: app somabrain [local] startup waiting".
_LOGIN = re.compile(r"postgres: .*\S \S+ (?:authentication|initializing|startup)(?: waiting)?$")
_RECOVERING = re.compile(r"startup\s+(?:recovering|waiting for)\s+(?P<segment>[0-9A-F]{24})")


def load_processes(data_dir: str) -> Raw:
    """Return {postmaster, backends, orphans, startup, logins, idle, unseen} of the cluster in *data_dir*.

    A process is {pid, start_time_ticks, started_at, process_state, title}; postmaster and startup are {} where there is none. ``orphans``
    are backends whose postmaster is gone; ``logins`` let a client in, ``idle`` hold a transaction open; ``unseen``: a postgres process is
    running whose working directory we may not see.
    """
    found, unseen = _of_cluster(data_dir)
    titled = {pid: one for pid, one in found.items() if one["title"].startswith("postgres: ")}
    heads = [one for pid, one in found.items() if pid not in titled and parent_of(pid) not in found]
    orphans = [one for pid, one in titled.items() if parent_of(pid) not in found]
    clients = _clients_of(titled.values())
    others = [one for one in titled.values() if one not in clients["logins"]]
    startup = next((one for one in others if re.search(r"(?:^|[: ])startup\b", one["title"])), {})
    return {
        "postmaster": heads[0] if heads else {},
        "backends": len(titled),
        "orphans": sorted(orphans, key=lambda one: int(one["pid"]))[:MOST_ORPHANS],
        "startup": dict(startup, **redo_of(startup)) if startup else {},
        "unseen": unseen,
        **clients,
    }


def _clients_of(titled: t.Iterable[Raw]) -> t.Dict[str, t.List[Raw]]:
    """Return {logins, idle} by the titles of processes."""
    found = list(titled)
    logins = [one for one in found if _LOGIN.match(one["title"])]
    return {"logins": logins[:MOST_ORPHANS], "idle": [one for one in found if one["title"].endswith("idle in transaction")][:MOST_ORPHANS]}


def at_work_in(folder: str) -> list[int]:
    """Return every process, of whatever program, whose working directory is *folder*."""
    return [pid for pid in pids() if works_in(pid, folder)]


def _of_cluster(data_dir: str) -> tuple[dict[int, Raw], bool]:
    found: dict[int, Raw] = {}
    unseen = False
    for pid in pids():
        if _read(pid, "comm", 64).strip().decode("utf-8", "replace") not in PROGRAMS:
            continue
        works_here = works_in(pid, data_dir)
        facts = process_facts(pid)
        if works_here is None and facts and facts["process_state"] != "Z":
            unseen = True
        if works_here and facts and facts["process_state"] != "Z" and program_of(pid) in (None, *PROGRAMS):
            found[pid] = dict(facts, pid=pid, title=title_of(pid))
    return found, unseen


def works_in(pid: int, folder: str) -> t.Optional[bool]:
    """Return whether *folder* is the working directory of a process; None where we may not see it."""
    try:
        there = os.stat("/proc/%d/cwd" % pid)
    except PermissionError:
        return None
    except OSError:
        return False
    try:
        here = os.stat(folder)
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def program_of(pid: int) -> t.Optional[str]:
    """Return the name of the program that a process runs, None where we may not see it."""
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid)).replace(" (deleted)", "")
    except OSError:
        return None


def title_of(pid: int) -> str:
    """Return the command line of a process, where PostgreSQL shows what the process does."""
    return one_line(_read(pid, "cmdline", TITLE_BYTES).replace(b"\0", b" ").strip(), 200)


def _read(pid: int, name: str, limit: int) -> bytes:
    try:
        with open("/proc/%d/%s" % (pid, name), "rb") as file:
            return file.read(limit)
    except OSError:
        return b""


def redo_of(startup: t.Mapping[str, t.Any]) -> Raw:
    """Return {segment, mark} of a startup process: the WAL file that it replays, and counters that change while it works."""
    recovering = _RECOVERING.search(str(startup["title"]))
    fields = _read(int(startup["pid"]), "stat", 4096).rpartition(b")")[2].split()
    io = re.findall(rb"^(?:rchar|read_bytes|write_bytes): (\d+)", _read(int(startup["pid"]), "io", 4096), re.M)
    mark = [word.decode() for word in [*fields[11:13], *io]]
    segment = recovering.group("segment") if recovering else ""
    return {"segment": segment, "mark": [segment, *mark]}


def load_lock(data_dir: str, processes: t.Mapping[str, t.Any]) -> Raw:
    """Return what postmaster.pid says and whose process that is: {pid, started_at, port, socket_dir, status, verdict, holder, names_it}.

    ``names_it``: whether it names the postmaster that runs; None where none does.

    The verdict is ``none`` (no such file), ``live`` (of this cluster), ``dead``, ``stranger`` (proven by start time, program and working
    directory, and no process of this cluster is running), ``zombie`` (ended, but never reaped by its parent), ``nobodys`` (it names no
    process, and nothing has this cluster open), else ``doubt``.
    """
    try:
        with open(os.path.join(data_dir, LOCK_FILE), "rb") as file:
            lines = file.read(4096).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return {"verdict": "none"}
    except OSError as error:
        return {"verdict": "doubt", "text": "it cannot be read: %s" % error.strerror}
    lines += [""] * 8
    lock: Raw = {
        "pid": _number(lines[0].lstrip("-")), "data_dir": one_line(lines[1]), "started_at": _number(lines[2]), "port": _number(lines[3]),
        "socket_dir": one_line(lines[4]), "status": one_line(lines[7].strip(), 20),
    }  # fmt: skip
    if not lock["pid"] and not (processes.get("unseen") or processes.get("postmaster") or processes.get("orphans")):
        lock["nobodys"] = is_nobodys(data_dir, at_work_in(data_dir))
    holder = holder_of(lock["pid"], data_dir)
    head = processes.get("postmaster") or {}
    names_it = lock["pid"] in pids_of(int(head["pid"])) if head else None
    return dict(lock, holder=holder, names_it=names_it, verdict=judge_lock(lock, holder, processes))


def pids_of(pid: int) -> set[int]:
    """Return the pid of a process in every namespace that it is in: in a container PostgreSQL writes down another than we see."""
    found = re.search(rb"^NSpid:([\s\d]+)$", _read(pid, "status", 8192), re.M)
    return {pid, *(int(word) for word in (found.group(1).split() if found else []))}


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"\s*\d{1,18}\s*", text) else 0


def holder_of(pid: int, data_dir: str) -> Raw:
    """Return {pid, program, title, works_here, started_at, ...} of the process that has *pid* now, {} when there is none."""
    facts = process_facts(pid) if pid else {}
    if not facts:
        return {}
    return dict(facts, pid=pid, program=program_of(pid), title=title_of(pid), works_here=works_in(pid, data_dir))


def judge_lock(lock: t.Mapping[str, t.Any], holder: t.Mapping[str, t.Any], processes: t.Mapping[str, t.Any]) -> str:
    """Return live, dead, stranger, zombie, nobodys or doubt. Pure."""
    alive = bool(processes.get("postmaster") or processes.get("orphans"))
    if not lock["pid"]:
        return _nobodys(lock, alive)
    if holder and holder["works_here"] and holder["program"] in PROGRAMS:
        return "live"
    if alive or processes.get("unseen"):
        # A process of this cluster runs, or may run, under another pid (another namespace, a removed file).
        return "doubt"
    if not holder:
        return "dead"
    if holder["process_state"] == "Z":
        return "zombie"
    other_start = lock["started_at"] and abs(float(holder["started_at"]) - lock["started_at"]) > SAME_START
    proven = holder["works_here"] is False and holder["program"] is not None and other_start
    return "stranger" if proven else "doubt"


def _nobodys(lock: t.Mapping[str, t.Any], alive: bool) -> str:
    # PostgreSQL refuses to start on such a file, and asks a person to remove it where no server runs.
    return "nobodys" if lock.get("nobodys") and not alive else "doubt"


def load_control(bin_dir: str, data_dir: str, deadline: float) -> Raw:
    """Return what pg_controldata reads: {ok, state, system_identifier, checksums, redo_file, timeline, segment_bytes, error}."""
    program = os.path.join(bin_dir, "pg_controldata")
    if not os.access(program, os.X_OK):
        return {}
    done = run([program, "-D", data_dir], deadline)
    shown = dict(re.findall(r"^([^:\n]+?):\s+(.*)$", done.out, re.M))
    crc = "does not match" in done.out + done.err
    if done.timed_out or not shown.get("Database system identifier"):
        return {"ok": None if done.timed_out else False, "error": one_line(done.err or "no answer in time", 160)}
    return {
        "ok": not crc,
        "error": "its checksum does not match" if crc else "",
        "state": one_line(shown.get("Database cluster state", ""), 40),
        "system_identifier": one_line(shown["Database system identifier"], 24),
        "checksums": shown.get("Data page checksum version", "0") != "0",
        "redo_file": one_line(shown.get("Latest checkpoint's REDO WAL file", ""), 24),
        "redo_lsn": one_line(shown.get("Latest checkpoint's REDO location", ""), 20),
        "timeline": _number(shown.get("Latest checkpoint's TimeLineID", "")),
        "segment_bytes": _number(shown.get("Bytes per WAL segment", "")),
        "checkpoint_at": one_line(shown.get("Time of latest checkpoint", ""), 40),
    }


def load_wal(data_dir: str, control: t.Mapping[str, t.Any]) -> Raw:
    """Return {files, bytes, ready, missing}: ``missing`` is the first segment that crash recovery needs and lacks, "" for none."""
    folder = os.path.join(data_dir, "pg_wal")
    try:
        names = sorted(name for name in os.listdir(folder) if _SEGMENT.match(name))
    except OSError as error:
        gone = isinstance(error, FileNotFoundError) and os.path.isdir(data_dir)
        return {"error": one_line(error.strerror, 80), "missing": "all of pg_wal" if gone else ""}
    status = _names(os.path.join(folder, "archive_status"))
    ready = [name for name in status if name.endswith(".ready")]
    size = int(control.get("segment_bytes") or 0)
    missing = _first_missing(folder, names, status, str(control["redo_file"]), size) if control.get("ok") and size else ""
    return {"files": len(names), "bytes": len(names) * size, "ready": len(ready), "missing": missing, "folder": os.path.realpath(folder)}


def _names(folder: str) -> t.List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _first_missing(folder: str, names: t.Sequence[str], status: t.Sequence[str], first: str, size: int) -> str:
    """Return the first segment from *first* on that is missing although it or a later one was written; recycled ones do not count.

    *status*: the names that the archiver has; it gets those of whole segments only.
    """
    places = _places([first, *names], size)
    if first not in places:
        return ""
    line, number = places[first]
    written = {at for name, (on, at) in places.items() if on == line and at >= number and _written(folder, name, at * size)}
    if number not in written:
        return first
    told = {at for on, at in _places([os.path.splitext(name)[0] for name in status], size).values() if on == line and at > number}
    while number + 1 in written:
        number += 1
    return segment_name(line, number + 1, size) if max(written | told) > number else ""


def _places(names: t.Iterable[str], size: int) -> dict[str, tuple[int, int]]:
    """Return (timeline, number) of those names that are segments of *size* bytes."""
    found = {}
    for name in names:
        with contextlib.suppress(ValueError):
            found[name] = parse_segment(name, size)
    return found


def _written(folder: str, name: str, begin: int) -> bool:
    """Return whether a segment that begins at *begin* was written: the address of its first page is its own."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return len(head) == 16 and struct.unpack("=Q", head[8:])[0] == begin


def load_access(data_dir: str, user: str, most: int = MOST_WRONG, seconds: float = WALK_SECONDS) -> Raw:
    """Return {uid, gid, user, wrong, led} of the data directory for the *user* that PostgreSQL runs as.

    ``wrong``: [{path, mode, owner, group, problem, shared, linked}], at most *most*; ``linked``: it lies behind a link in the directory,
    which PostgreSQL's own user may have made; ``led``: whether a link of somebody else's leads to the directory.
    """
    try:
        entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.stat(data_dir).st_uid)
    except (KeyError, OSError):
        return {}
    # Where the directory itself is somebody else's, somebody gave away all of it.
    whole = os.stat(data_dir).st_uid != entry.pw_uid if os.path.isdir(data_dir) else False
    wrong = []
    for path, linked in _owned_paths(data_dir, seconds, whole):
        problem = _access_problem(path, entry.pw_uid, path == data_dir)
        if problem:
            wrong.append(dict(problem, path=path, **({"linked": True} if linked else {})))
    wrong += [] if whole else _unread_configs(data_dir, entry)
    return {"uid": entry.pw_uid, "gid": entry.pw_gid, "user": entry.pw_name, "wrong": wrong[:most], "led": _is_led_astray(data_dir)}


def _unread_configs(data_dir: str, entry: pwd.struct_passwd) -> t.List[Raw]:
    """Return those configuration files in the data directory that the user may not read; they may belong to anybody."""
    groups, found = os.getgrouplist(entry.pw_name, entry.pw_gid), []
    for path in glob.glob(os.path.join(glob.escape(data_dir), "*.conf")):
        with contextlib.suppress(OSError):
            facts = os.lstat(path)
            needs = 0o400 if facts.st_uid == entry.pw_uid else 0o040 if facts.st_gid in groups else 0o004
            if stat.S_ISREG(facts.st_mode) and not facts.st_mode & needs:
                shared = {"shared": True} if facts.st_nlink > 1 else {}
                mode = "%04o" % stat.S_IMODE(facts.st_mode)
                problem = "PostgreSQL may not read it (owner %d, mode %s)" % (facts.st_uid, mode)
                found.append({"mode": mode, "owner": facts.st_uid, "group": facts.st_gid, "problem": problem, "path": path, **shared})
    return found


def _owned_paths(data_dir: str, seconds: float, whole: bool) -> t.Iterator[t.Tuple[str, bool]]:
    """Yield (path, whether it lies behind a link) of what only PostgreSQL writes; with *whole* of everything there.

    Its configuration may be root's.
    """
    yield data_dir, False
    entries = sorted(_names(data_dir)) if whole else ["PG_VERSION", "postmaster.opts", LOCK_FILE]
    folders_too = [name for name in entries if os.path.isdir(os.path.join(data_dir, name)) and name not in FOLDERS]
    for name in entries:
        if name not in (*FOLDERS, *folders_too):
            yield os.path.join(data_dir, name), False
    end = time.monotonic() + seconds
    for name in (*FOLDERS, *folders_too):
        top = os.path.join(data_dir, name)
        linked = os.path.islink(top)
        if linked:
            yield os.path.realpath(top), True
        for folder, folders, files in os.walk(top):
            yield folder, linked
            yield from ((os.path.join(folder, file), linked) for file in files)
            folders[:] = [one for one in folders if not os.path.islink(os.path.join(folder, one))]
            if time.monotonic() > end:
                return
    for place in glob.glob(os.path.join(glob.escape(data_dir), "pg_tblspc", "*", "PG_*")):
        yield place, True


def _is_led_astray(data_dir: str) -> bool:
    """Return whether somebody else than root made a link on the way to the data directory."""
    path = os.path.normpath(data_dir)
    while path not in ("/", ""):
        if os.path.islink(path) and os.lstat(path).st_uid != 0:
            return True
        path = os.path.dirname(path)
    return False


def _access_problem(path: str, uid: int, top: bool) -> Raw:
    try:
        facts = os.stat(path) if top else os.lstat(path)
    except OSError:
        return {}
    if stat.S_ISLNK(facts.st_mode):
        return {}
    mode = stat.S_IMODE(facts.st_mode)
    found = {"mode": "%04o" % mode, "owner": facts.st_uid, "group": facts.st_gid}
    # A second name of a file may be somebody else's file.
    if stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1:
        found["shared"] = True
    if facts.st_uid != uid:
        return dict(found, problem="its owner is %d" % facts.st_uid)
    # PostgreSQL accepts only 0700 and 0750.
    if top and mode & 0o027:
        return dict(found, problem="others may enter it (mode %04o)" % mode)
    wanted = 0o700 if stat.S_ISDIR(facts.st_mode) else 0o600
    return dict(found, problem="its owner may not use it (mode %04o)" % mode) if mode & wanted != wanted else {}


def load_disk(path: str) -> Raw:
    """Return {path, device, free_bytes, total_bytes, used_share, free_inodes, read_only}, {} where it cannot be seen."""
    try:
        space, facts = os.statvfs(path), os.stat(path)
    except (OSError, ValueError):
        return {}
    used = space.f_blocks - space.f_bfree
    return {
        "path": path,
        "device": facts.st_dev,
        "free_bytes": space.f_bavail * space.f_frsize,
        "total_bytes": space.f_blocks * space.f_frsize,
        "used_share": round(used / (used + space.f_bavail), 4) if used + space.f_bavail else None,
        "free_inodes": space.f_favail if space.f_files else None,
        "read_only": bool(space.f_flag & os.ST_RDONLY),
    }
