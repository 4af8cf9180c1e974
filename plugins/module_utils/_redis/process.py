# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the target itself shows of a Redis: its process, its configuration file, its data directory, its log.

Loaders only: they return plain data, {} or None where nothing can be read, and never raise.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.lines import (
    changes_saved,
    own_text,
    replicas_in,
    role_in,
    said_at,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import log as log_file
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.port import listeners, sockets_of

Options = t.Mapping[str, t.Any]

# How many scripts of one start command are read.
SCRIPTS = 3
STARTED, READY = "Redis is starting", "eady to accept connections"
# Kind -> what Redis writes; bad_file means that Redis rejects its own data.
SAVED_AT_END = ("Saving the final RDB snapshot", "DB saved on disk", "ready to exit, bye bye")
SYNCED, REWRITTEN = "Calling fsync() on the AOF file", "Background AOF rewrite finished successfully"
# With appendfsync always, what it could not write was never acknowledged.
ENDED_ITSELF = "fsync policy is 'always'. Exiting"
# Kinds that a later write of the same file makes up for.
WRITES = frozenset(["no_space", "read_only", "permission", "fork", "out_of_memory", "save_failed", "write_failed"])
_OF_AOF = re.compile(r"AOF|append[ -]?only")
# A replica became a master by command; a master or replica got another master.
PROMOTED, DEMOTED = "MASTER MODE enabled", ("REPLICAOF ", "SLAVE OF ")
SOLVED, REWROTE_CONFIG = "AOF write error looks solved", "CONFIG REWRITE executed with success"
LOG_LINES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("bad_file", re.compile(r"Bad file format reading the append only file|Unexpected end of file reading the append only")),
    ("bad_file", re.compile(r"Short read or OOM loading DB|Wrong signature trying to load DB|Can't handle RDB format|Wrong RDB checksum")),
    ("bad_file", re.compile(r"Fatal error loading the DB|Internal error in RDB|Invalid AOF manifest")),
    ("bad_file", re.compile(r"AOF file .* doesn't exist|AOF loading aborted")),
    ("bad_file", re.compile(r"Error reading the append only file|Unknown command .* reading the append only file|RDB CRC error")),
    ("no_space", re.compile(r"No space left on device")),
    ("read_only", re.compile(r"Read-only file system")),
    # Not where it only wants to listen, or to write its log.
    ("permission", re.compile(r"^(?!.*(?:[Uu]nix socket|listening socket|[Pp]id ?file|PID file|log file|ACL)).*Permission denied")),
    ("fork", re.compile(r"fork: Cannot allocate memory")),
    ("out_of_memory", re.compile(r"Out Of Memory allocating")),
    ("port_in_use", re.compile(r"Address already in use")),
    ("no_address", re.compile(r"Cannot assign requested address")),
    ("configuration", re.compile(r"FATAL CONFIG FILE ERROR|Bad directive|Can't chdir")),
    ("save_failed", re.compile(r"Background saving error|Error trying to save the DB, can't exit")),
    ("write_failed", re.compile(r"Short write while writing to the AOF|Error writing to the AOF|AOF write error(?! looks)|Write error")),
    ("write_failed", re.compile(r"Fail(?:ed)? to fsync the AOF|fsync of the AOF file|to the AOF file on disk")),
    ("crashed", re.compile(r"REDIS BUG REPORT START|Redis \S+ crashed by signal")),
)


def read_start(path: str, limit: int = 65536) -> bytes:
    """Return the first *limit* bytes of a regular file, b"" if there is none."""
    # Opening a pipe would wait for its writer, and a directory cannot become a file object.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(descriptor, limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def load_process(service: Options, pid_file: str, options: Options, info: Options) -> dict[str, t.Any]:
    """Return {pid, process_state, start_time_ticks, name, uid, found_by} of this Redis' process, {} where none is found."""
    written = read_start(pid_file, 32).strip().decode("ascii", "replace")
    for found_by, pid in [("info", info.get("process_id")), ("service", service.get("pid")), ("pid_file", written)]:
        facts = process_facts(pid)
        # A pid of another pid namespace, or a reused one, belongs to a stranger here.
        if "redis" in facts.get("name", "") or "valkey" in facts.get("name", ""):
            return dict(facts, found_by=found_by)
    return _process_by_title(options)


def load_start(command: str) -> str:
    """Return a start command, and below it the text of the scripts that it runs."""
    texts = [command]
    for word in dict.fromkeys(re.findall(r"/[^\s;&|<>'\"]+", command)):
        if len(texts) <= SCRIPTS and read_start(word, 2) == b"#!":
            texts.append(read_start(word).decode("utf-8", "replace"))
    return "\n".join(texts)


def process_facts(pid: t.Any) -> dict[str, t.Any]:
    """Return what /proc says of *pid*, {} when there is no such process or only a zombie."""
    if not str(pid or "").isdigit() or int(pid) <= 0:
        return {}
    head, dummy, tail = _proc(int(pid), "stat").rpartition(b")")
    fields = tail.split()
    if len(fields) < 20 or fields[0] == b"Z":
        return {}
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    owner = re.search(rb"^Uid:\s+\d+\s+(\d+)", _proc(int(pid), "status"), re.M)
    uid = int(owner.group(1)) if owner else None
    return {"pid": int(pid), "process_state": fields[0].decode(), "start_time_ticks": int(fields[19]), "name": name, "uid": uid}


def _proc(pid: int, name: str, limit: int = 65536) -> bytes:
    try:
        with open("/proc/%d/%s" % (pid, name), "rb") as file:
            return file.read(limit)
    except OSError:
        return b""


def belongs_to(process: Options, service: Options) -> t.Optional[bool]:
    """Return whether the Redis that answers is the service's process or a child of it; None if either cannot be seen."""
    if process.get("found_by") != "info" or not service.get("exists") or not service.get("reachable"):
        return None
    # That does not make Redis a stranger: between two processes, a service has none for a moment.
    if not service.get("pid"):
        return False if service.get("state") in ("stopped", "failed") else None
    pid = int(process["pid"])
    while pid > 1 and pid != service["pid"]:
        parent = _proc(pid, "stat").rpartition(b")")[2].split()[1:2]
        pid = int(parent[0]) if parent else 0
    return bool(pid == service["pid"])


def holds_aof(process: Options, settings: Options) -> t.Optional[bool]:
    """Return whether *process* has the append-only file of *settings* open, which it has exactly while it appends to that.

    None if we may not look. A file of the same name in another directory is not the one that a start would load.
    """
    name = str(settings.get("appendfilename") or "appendonly.aof")
    folder = "/proc/%d/fd" % process["pid"] if process else ""
    try:
        links = [_leads_to(os.path.join(folder, number)) for number in os.listdir(folder)]
    except OSError:
        return None
    named = re.compile(re.escape(name) + r"(?:\.\d+\.incr\.aof)?")
    found = {os.path.dirname(link) for link in links if named.fullmatch(os.path.basename(link))}
    data = str(settings.get("dir") or "")
    if not data.startswith("/") or has_own_root(process):
        return bool(found)
    inner = os.path.join(data, str(settings.get("appenddirname") or "appendonlydir"))
    return bool(found & {os.path.realpath(data), os.path.realpath(inner)})


def has_open(process: Options, inode: int) -> t.Optional[bool]:
    """Return whether *process* has the file of that inode open; None if we may not look."""
    folder = "/proc/%d/fd" % process["pid"] if process else ""
    try:
        numbers = os.listdir(folder)
    except OSError:
        return None
    for number in numbers:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(os.path.join(folder, number)).st_ino == inode:
                return True
    return False


def _leads_to(link: str) -> str:
    """Return where a link of /proc leads, "" for one that is gone by now."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def works_in(process: Options) -> str:
    """Return the directory that *process* works in, which is its data directory; "" where that cannot be seen."""
    if not process or has_own_root(process):
        return ""
    try:
        path = os.readlink("/proc/%d/cwd" % process["pid"])
    except OSError:
        return ""
    return path if path.startswith("/") and not path.endswith(" (deleted)") else ""


def listens(process: Options, options: Options) -> t.Optional[bool]:
    """Return whether *process* is what listens at the address of *options*; None if nothing listens or we may not look."""
    if not process:
        return None
    folder = "/proc/%d/fd" % process["pid"]
    try:
        own = {os.readlink(os.path.join(folder, number)) for number in os.listdir(folder)}
    except OSError:
        return None
    there = {"socket:[%s]" % inode for inode in _listeners(int(process["pid"]), options)}
    return bool(there & own) if there else None


def ports_of(pids: t.Sequence[int]) -> list[int]:
    """Return the TCP ports on which processes of one network listen, [] where they listen nowhere or we may not look."""
    own = {inode for pid in pids for inode in sockets_of(pid) or ()}
    return sorted({int(one["port"]) for one in listeners(pids[0]) if one["inode"] in own}) if own else []


def _listeners(pid: int, options: Options) -> t.Iterator[str]:
    """Yield the inodes of what listens there, as the network namespace of *pid* has them."""
    if options.get("socket"):
        lines = [line.split() for line in _proc(pid, "net/unix", 1024 * 1024).decode("utf-8", "replace").splitlines()[1:]]
        # Flags 00010000: it accepts connections.
        yield from (words[6] for words in lines if len(words) > 7 and words[3] == "00010000" and words[7] == str(options["socket"]))
        return
    mark = ":%04X" % int(options.get("port") or 0)
    for table in ("net/tcp", "net/tcp6"):
        lines = [line.split() for line in _proc(pid, table, 1024 * 1024).decode("ascii", "replace").splitlines()[1:]]
        yield from (words[9] for words in lines if len(words) > 9 and words[3] == "0A" and words[1].endswith(mark))


def as_seen_by(process: Options, path: t.Any) -> str:
    """Return a path by which we see what *process* calls *path* (containers and sandboxed units have roots of their own), "" for none."""
    if not process or not str(path or "").startswith("/"):
        return ""
    inside = "/proc/%d/root%s" % (process["pid"], path)
    # Without the right to look into another user's process, its own pid must do as evidence that it lives among our files.
    return inside if os.path.exists(inside) else str(path) if process["found_by"] == "info" else ""


def has_own_root(process: Options) -> bool:
    """Return whether *process* sees other directories than we do: a container, or a unit with a root of its own."""
    try:
        theirs, ours = (os.stat("/proc/%s/root/." % pid) for pid in (process["pid"], "self"))
    except (OSError, KeyError):
        return False
    return (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)


def _process_by_title(options: Options) -> dict[str, t.Any]:
    # Redis writes its address into its process title: "redis-server 127.0.0.1:6379".
    mark = (":%d" % int(options.get("port") or 0)).encode()
    if options.get("socket"):
        mark = b"unixsocket:" + str(options["socket"]).encode("utf-8", "surrogateescape")
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return {}
    for pid in pids:
        words = _proc(pid, "cmdline").replace(b"\0", b" ").split()
        if len(words) > 1 and words[0].endswith((b"redis-server", b"valkey-server")) and any(word.endswith(mark) for word in words[1:3]):
            facts = process_facts(pid)
            if facts:
                return dict(facts, found_by="title")
    return {}


def load_disk(path: str, uid: t.Optional[int]) -> dict[str, t.Any]:
    """Return space, inodes and writability (for user *uid*) of the data directory, {} where it cannot be seen."""
    try:
        space, facts = os.statvfs(path), os.stat(path)
    except (OSError, ValueError):
        return {}
    read_only = bool(space.f_flag & os.ST_RDONLY)
    return {
        "path": path,
        "free_bytes": space.f_bavail * space.f_frsize,
        "total_bytes": space.f_blocks * space.f_frsize,
        "free_inodes": space.f_favail if space.f_files else None,
        "read_only": read_only,
        "mode": "%04o" % stat.S_IMODE(facts.st_mode),
        "owner": facts.st_uid,
        "writable_by_redis": False if read_only else _may_write(facts, uid),
    }


def size_of(folder: str, name: str) -> t.Optional[int]:
    """Return the bytes of a regular file, None where there is none."""
    try:
        facts = os.lstat(os.path.join(folder, name))
    except (OSError, ValueError):
        return None
    return facts.st_size if stat.S_ISREG(facts.st_mode) else None


def _may_write(facts: os.stat_result, uid: t.Optional[int]) -> t.Optional[bool]:
    # Groups and ACLs of another process are not read: only the plain cases are decided.
    if uid is None:
        return None
    if uid == 0 or facts.st_mode & 0o003 == 0o003:
        return True
    if uid == facts.st_uid:
        return facts.st_mode & 0o300 == 0o300
    return None if facts.st_mode & 0o030 == 0o030 else False


def load_log(path: str, level: str = "", port: int = 0) -> dict[str, t.Any]:
    """Return {lines: {kind: last line}, starts, ready, failed_starts, written_at, and what it says of its end} of the log's tail.

    Lines only from the last start on where one is seen; failed_starts are the last starts in a row that ended on refused data. Of a log
    that several servers share, only those of the one that serves *port*; *level*: what Redis writes down.
    """
    text = log_file.tail_of(path).decode("utf-8", "replace").replace("Valkey is starting", STARTED).replace("Valkey is now", "Redis is now")
    if not text:
        return {}
    text = own_text(text, port, STARTED)
    starts, last = text.count(STARTED), log_file.since_last(text, STARTED)
    # At these levels it says neither that it is ready nor that it saved.
    unsaid = None if level in ("warning", "nothing") else False
    # The line of the start begins before the words.
    whole = text[text.rfind("\n", 0, max(0, text.rfind(STARTED))) + 1 :]
    lines = log_file.last_of_each(last.splitlines(), LOG_LINES)
    return {
        "lines": _unmended(last, lines),
        "starts": starts,
        "ready": (READY in last or unsaid) if starts else None,
        # SHUTDOWN NOSAVE ends with the same words, but without the save.
        "saved_at_end": (all(words in last for words in SAVED_AT_END) or unsaid) if starts else None,
        "saved_at": said_at(last, SAVED_AT_END[1]),
        "promoted": last.rfind(PROMOTED) > max(last.rfind(word) for word in DEMOTED),
        "role": role_in(last),
        "changes_saved": changes_saved(last),
        # At these levels it does not say who follows it.
        "replicas": replicas_in(last) if unsaid is False else None,
        "synced_at_end": (SYNCED in last and SAVED_AT_END[2] in last) or ENDED_ITSELF in last,
        "unsynced_at_end": unsaid is False and SAVED_AT_END[2] in last and SYNCED not in last,
        "began_at": said_at(whole, STARTED) if starts else None,
        "rewritten": REWRITTEN in last,
        "rewrote_config_at": said_at(last, REWROTE_CONFIG),
        "failed_starts": _failed_starts(text),
        "written_at": log_file.written_at(path),
    }


def _unmended(last: str, lines: Options) -> dict[str, str]:
    """Return *lines* without a failed write that Redis made up for later, or that it had not acknowledged."""
    own = [] if ENDED_ITSELF not in last else ["write_failed"]
    rows = last.splitlines()
    # An append-only file and a dump are written, fail and recover each by itself.
    kept = [
        _since(SOLVED, [row for row in rows if _OF_AOF.search(row)]),
        _since(SAVED_AT_END[1], [row for row in rows if not _OF_AOF.search(row)]),
    ]
    since = log_file.last_of_each([row for part in kept for row in part], LOG_LINES)
    return {kind: line for kind, line in lines.items() if kind not in own and (kind not in WRITES or kind in since)}


def _since(words: str, rows: list[str]) -> list[str]:
    """Return those of *rows* that come after the last one with *words*, all where there is none."""
    at = max((index for index, row in enumerate(rows) if words in row), default=-1)
    return rows[at + 1 :]


def _failed_starts(text: str) -> int:
    refusals = [pattern for kind, pattern in LOG_LINES if kind == "bad_file"]
    failed = [READY not in one and any(pattern.search(one) for pattern in refusals) for one in text.split(STARTED)[1:]]
    if failed and not failed[-1] and READY not in text.rpartition(STARTED)[2]:
        # It has not come to its end yet.
        failed.pop()
    return next((index for index, one in enumerate(reversed(failed)) if not one), len(failed))
