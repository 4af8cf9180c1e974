# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads everything about one Redis that can be read without changing it; judges nothing.

That is what Redis says over its socket and, if the probe runs on the target, what process, files, disk and log show.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.attempt import load_attempt
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    Word,
    address_of,
    log_in,
    password_of,
    speaks_tls,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import parse_info
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files import scan
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import changed_at, fingerprint
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import name_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.fit import load_misfits
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.holders import load_holders
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import with_defaults
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.place import is_roots, load_place, runs_as, unreadable
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.process import (
    as_seen_by,
    belongs_to,
    has_open,
    has_own_root,
    holds_aof,
    listens,
    load_disk,
    load_log,
    load_process,
    load_start,
    ports_of,
    read_start,
    size_of,
    works_in,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.contents import load_contents
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.data import judge_data, with_saves
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.replicas import load_replicas
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.sentinel import load_sentinel_view
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.settings import (
    Effective,
    load_effective,
    program_folder,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.written import load_written, unappended, unappended_at
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.answering import members_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.published import load_container_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import load_service
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.port import holder_text, stranger_on

Raw = t.Dict[str, t.Any]

CONFIG = (
    "dir", "dbfilename", "appendonly", "appendfsync", "appendfilename", "appenddirname", "maxmemory", "maxmemory-policy", "save", "logfile",
    "stop-writes-on-bgsave-error", "repl-diskless-sync", "aof-load-truncated", "busy-reply-threshold",
    "repl-diskless-sync-delay", "auto-aof-rewrite-percentage",
)  # fmt: skip
LOCKED_OUT = ("NOAUTH", "WRONGPASS", "NOPERM", "DENIED", "-DENIED")
# With paused writers (CLIENT PAUSE), Redis answers everything but writes.
UNANSWERED = "unanswered"
# Databases, and keys of each, whose time to live is looked at.
SAMPLED_DATABASES, SAMPLED_KEYS, SAMPLE = 8, 1024, 1024
# Values may be large; known answers are small.
KNOWN_BYTES = 16 * 1024 * 1024
# States of a service that does not run, and the time for reading why.
ENDED, ATTEMPT_SECONDS = ("stopped", "failed", "backoff"), 3.0
_JUDGED: dict[str, tuple[list[t.Any], Raw]] = {}


def load_redis(options: t.Mapping[str, t.Any], deadline: float, total: float) -> Raw:
    """Return what can be seen of the Redis that *options* name.

    The conversation takes at most *deadline* seconds; judging files (when it is down, or when asked) what is left of *total*.

    Keys: error ("" or the kind of RespError), text, connected, auth, ping, ping_seconds, info, role, config, write, known; sentinel;
    and from the target itself process, settings, disk, log, files; stands_on. Raises StepError for an unreadable password file only.
    """
    options, begun = with_defaults(options), time.monotonic()
    raw: Raw = {"stands_on": options.get("stands_on") or "target", "service": dict(options.get("service") or {})}
    watched = _watch(options, deadline, raw["stands_on"] == "target")
    raw.update(_conversation(options, deadline))
    raw["sentinel"] = watched(begun + deadline + 0.2)
    if "state" not in raw["service"]:
        raw["service"] = load_service(raw["service"], deadline) if raw["stands_on"] == "target" else {}
    if raw["stands_on"] == "target":
        raw.update(_surroundings(options, raw, begun + total))
    return raw


def _watch(options: t.Mapping[str, t.Any], deadline: float, here: bool) -> t.Callable[[float], Raw]:
    """Ask the Sentinels, if any are named, in parallel with Redis; the function returned waits for them until *end* (monotonic)."""
    if not options["sentinels"]:
        return lambda end: {}
    seen: Raw = {"asked": len(options["sentinels"]), "answers": [], "own": []}
    thread = threading.Thread(target=lambda: seen.update(load_sentinel_view(options, deadline, here)), daemon=True)
    thread.start()

    def watched(end: float) -> Raw:
        thread.join(max(0.0, end - time.monotonic()))
        return dict(seen)

    return watched


def _conversation(options: t.Mapping[str, t.Any], deadline: float) -> Raw:
    raw: Raw = {
        "error": "", "text": "", "connected": False, "auth": "", "ping": "", "ping_seconds": None,
        "info": {}, "role": [], "config": {}, "write": "", "known": [],
    }  # fmt: skip
    password, end = password_of(options), time.monotonic() + deadline
    try:
        with Connection(address_of(options), deadline) as redis:
            raw["connected"] = True
            refused = log_in(redis, str(options["username"]), password)
            raw["auth"] = one_line(refused) if refused else ""
            begun = time.monotonic()
            raw["ping"] = _said(redis.ask("PING"))
            raw["ping_seconds"] = round(time.monotonic() - begun, 6)
            # Redis also refuses a password if it has none, and everything else works.
            if raw["ping"].partition(" ")[0] not in LOCKED_OUT:
                _ask_all(redis, raw, options)
    except RespError as error:
        raw.update(error=error.kind, text=str(error), connected=error.connected or raw["connected"])
    # Redis with TLS closes a plain connection without a reply.
    if raw["error"] == "closed" and not raw["ping"] and speaks_tls(address_of(options), end - time.monotonic()):
        raw.update(error="tls", text="it speaks TLS")
    return raw


def _ask_all(redis: Connection, raw: Raw, options: t.Mapping[str, t.Any]) -> None:
    commands: list[tuple[Word, ...]] = [("INFO", "all"), ("ROLE",)]
    commands += [("CONFIG", "GET", name) for name in CONFIG]
    replies = redis.ask_all(commands)
    raw["info"] = parse_info(replies[0]) if isinstance(replies[0], str) and not isinstance(replies[0], ErrorReply) else {}
    raw["info_error"] = _refusal(replies[0])
    raw["role"] = replies[1] if isinstance(replies[1], list) else []
    for name, reply in zip(CONFIG, replies[2:]):
        if isinstance(reply, list) and len(reply) == 2 and isinstance(reply[1], str):
            raw["config"][name] = reply[1]
    if raw["ping"] == "PONG":
        raw["lives"] = _lives(redis, raw["info"])
        raw["known"] = [known_answer(redis, one) for one in options["known_keys"] or []]
    if options["write_probe"]:
        raw["write"] = _write_probe(redis)


def _keys_on(page: t.Any) -> list[t.Any]:
    """Return the keys that a reply to SCAN names, none for any other reply."""
    keys = page[1] if isinstance(page, list) and len(page) == 2 and isinstance(page[1], list) else []
    return [key for key in keys[: 2 * SAMPLED_KEYS] if isinstance(key, (str, bytes)) and not isinstance(key, ErrorReply)]


def _lives(redis: Connection, info: Raw) -> list[float]:
    """Return the seconds that some keys which expire have left, of a sample of all keys; it leaves another database selected."""
    counts = {name: re.search(r"expires=([1-9]\d{0,17})", str(value)) for name, value in info.items() if re.fullmatch(r"db\d{1,6}", name)}
    with_expiry = sorted(((int(found.group(1)), name) for name, found in counts.items() if found), reverse=True)
    found = []
    for index, (count, name) in enumerate(with_expiry):
        lives: list[float] = []
        if index < SAMPLED_DATABASES:
            # Not RANDOMKEY: with paused writers it searches for ever where all keys have expired.
            named = _keys_on(redis.ask_all([("SELECT", name[2:]), ("SCAN", "0", "COUNT", SAMPLED_KEYS)])[1])
            asked = redis.ask_all([("PTTL", key) for key in named]) if named else []
            lives = [round(life / 1000, 1) for life in asked if isinstance(life, int) and life > 0]
        found.append((count, lives))
    return weighted(found)


def weighted(parts: t.Sequence[tuple[int, list[float]]]) -> list[float]:
    """Return one sample of several (keys that expire, a sample of the seconds that they have left), each by its number of keys. Pure.

    Keys of which nothing was seen count as over: then fewer are missed, and none is called lost that was not.
    """
    total, found = sum(count for count, _lives in parts), []
    if not any(lives for _count, lives in parts):
        return []
    for count, lives in parts:
        share = -(-SAMPLE * count // total)
        ordered = sorted(lives) or [0.0]
        found += [ordered[(2 * index + 1) * len(ordered) // (2 * share)] for index in range(share)]
    return found if len(parts) > 1 else parts[0][1]


def _write_probe(redis: Connection) -> str:
    """Return accepted, the refusal, or UNANSWERED if Redis answers everything but a write."""
    try:
        # XX on a key that cannot exist: refused exactly when a write would be, and never writes.
        return _refusal(redis.ask("SET", "somabrain:probe:" + secrets.token_hex(16), "", "XX")) or "accepted"
    except RespError as error:
        if error.kind != "timeout":
            raise
        return UNANSWERED


def _said(reply: t.Any) -> str:
    return one_line(reply) if isinstance(reply, str) else one_line(repr(reply))


def _refusal(reply: t.Any) -> str:
    return one_line(reply) if isinstance(reply, ErrorReply) else ""


def known_answer(redis: Connection, wanted: t.Mapping[str, t.Any]) -> Raw:
    """Return {key, type, exists, sha256} of a known answer: of the value of a string, of DUMP without its trailer for others."""
    key = str(wanted["key"])
    redis.max_bytes = KNOWN_BYTES
    selected, kind = redis.ask_all([("SELECT", int(wanted.get("db") or 0)), ("TYPE", key)])
    if isinstance(selected, ErrorReply) or isinstance(kind, ErrorReply):
        return {"key": key, "exists": None, "sha256": "", "error": _refusal(selected) or _refusal(kind)}
    digest = ""
    if wanted.get("sha256") and kind != "none":
        value = redis.ask("GET", key) if kind == "string" else redis.ask("DUMP", key)
        if isinstance(value, (str, bytes)) and not isinstance(value, ErrorReply):
            data = value if isinstance(value, bytes) else value.encode("utf-8")
            # The last ten bytes of DUMP are a version and a checksum, which change with the version of Redis.
            digest = hashlib.sha256(data if kind == "string" else data[:-10]).hexdigest()
    return {"key": key, "exists": kind != "none", "sha256": digest, "error": ""}


def _surroundings(options: t.Mapping[str, t.Any], raw: Raw, end: float) -> Raw:
    service, running = raw["service"], raw["config"]
    start_text = load_start(_first(options["start_command"], service.get("start_command")))
    scan.PREFERRED[:] = [folder for folder in [program_folder(start_text)] if folder and is_roots(folder)]
    planned = load_effective(str(options["config_file"] or ""), start_text, str(service.get("directory") or ""))
    process = load_process(service, str(options["pid_file"]), options, raw["info"])
    # Where nothing says what the next start would use, what runs is all that is known.
    settings = dict(running, **planned.settings)
    around: Raw = {"planned": planned._asdict(), "settings": settings, "process": process, "start_text": start_text, "files": None}
    around["place"] = _place(options, raw, planned, process)
    if not process:
        around["planned"]["problems"] = planned.problems + _misfits(planned, around["place"]["uid"], start_text, service)
    # Paths that Redis names are of its own mount namespace; paths that the operator gives are of ours.
    data_dir = _first(options["data_dir"], as_seen_by(process, running.get("dir")), settings.get("dir"))
    log_file = _first(options["log_file"], as_seen_by(process, running.get("logfile")), settings.get("logfile"))
    shown = _first(options["data_dir"], running.get("dir"), settings.get("dir"))
    around["data_dir"] = shown
    around.update(_process_view(options, raw, process, settings), **_disk_view(data_dir, shown, process))
    # What a running one writes is where it says; the operator's word counts for the next start.
    around.update(_on_disk(raw, process, data_dir, dict(settings, **running)))
    around.update(_failed_start(options, raw, planned, process, log_file))
    around["log"] = _log(log_file, options, settings) if log_file and not _is_serving(raw) else {}
    around["written"] = load_written(data_dir, settings, planned.files) if data_dir else {}
    around["container"] = _container(options, service, around["written"])
    if data_dir and _wants_files(str(options["judge_files"]), raw, around):
        around.update(_before_a_start(options, raw, around, data_dir, end))
    return around


def _before_a_start(options: t.Mapping[str, t.Any], raw: Raw, around: Raw, data_dir: str, end: float) -> Raw:
    """Return {files, holders, replicas_seen}: what a start would load, who uses its files now, and what its named replicas hold."""
    settings = around["settings"]
    files = _judged(data_dir, settings, end - time.monotonic(), options)
    files = with_saves(files, data_dir, settings, unappended_at(around), unappended(around))
    down = not raw["ping"] and not around["process"]
    return {
        "files": dict(files, changed_at=changed_at(data_dir, settings), unreadable=_unreadable(data_dir, files, settings, around)),
        "holders": _holders(data_dir, raw["service"]) if down else [],
        "replicas_seen": load_replicas(options["replicas"], options) if down else [],
    }


def _misfits(planned: Effective, uid: t.Optional[int], start_text: str, service: Raw) -> list[str]:
    return load_misfits(planned.settings, planned.origins, uid, start_text, str(service.get("manager") or ""))


def _log(path: str, options: t.Mapping[str, t.Any], settings: Raw) -> Raw:
    return load_log(path, str(settings.get("loglevel") or ""), _port(options, settings))


def _container(options: t.Mapping[str, t.Any], service: Raw, written: Raw) -> Raw:
    """Return the container that has the port of a Redis whose own service does not run, {} for none."""
    if options["socket"] or service.get("state") in (None, "running", "starting"):
        return {}
    own = [float((written.get(kind) or {}).get("written_at") or 0) for kind in ("aof", "dump")]
    found = load_container_on(int(options["port"]), max(own))
    return dict(found, port=int(options["port"])) if found else {}


def _live_dir(raw: Raw, process: Raw) -> str:
    """Return the directory that a running Redis writes to, as we see it; "" where its process is not surely the one that answers."""
    if not raw["info"].get("run_id") or process.get("found_by") not in ("info", "service"):
        return ""
    return as_seen_by(process, raw["config"].get("dir")) or works_in(process)


def _gone(raw: Raw, process: Raw, live: str, settings: Raw) -> str:
    """Return what of a running Redis is no longer on its disk: dir, or aof for the file that it appends to; "" for nothing."""
    info = raw["info"]
    # In a directory that is gone, Redis cannot say where it is.
    if process and raw["config"].get("dir") == "":
        return "dir"
    if not live:
        return ""
    try:
        os.stat(live)
    except OSError as error:
        return "dir" if isinstance(error, FileNotFoundError) else ""
    if info.get("aof_enabled") != "1" or "1" in (info.get("aof_rewrite_in_progress"), info.get("aof_rewrite_scheduled")):
        return ""
    # A file that a start would load and another process has open is as good as none.
    last = load_written(live, settings, [])["aof"]
    return "aof" if has_open(process, last.get("inode") or -1) is False else ""


def _holders(data_dir: str, service: Raw) -> list[Raw]:
    """Return the servers that run in the data directory, or have a file of it open, and are not this one."""
    try:
        folder = os.stat(data_dir)
    except OSError:
        return []
    found = [one for one in load_holders(folder, []) if one["why"] == "works_in" and one["pid"] != service.get("pid")]
    # A forked child may still be saving for a server that is gone; it is not a server.
    return [one for one in found if b"-server" in read_start("/proc/%d/cmdline" % one["pid"], 200)]


def _port(options: t.Mapping[str, t.Any], settings: Raw) -> int:
    """Return the port by which a Redis names itself in its log, 0 where that is not known."""
    named = str(settings.get("port") or ("" if options["socket"] else options["port"]))
    return int(named) if named.isdigit() else 0


def _failed_start(options: t.Mapping[str, t.Any], raw: Raw, planned: Effective, process: Raw, log_file: str) -> Raw:
    """Return, for a service that does not run, why its last start failed and who holds its port."""
    service = raw["service"]
    if raw["ping"] or process or service.get("state") not in ENDED:
        return {"attempt": {}, "stranger": ""}
    named = dict(options["service"])
    attempt = load_attempt(named, log_file, planned.files, ATTEMPT_SECONDS) if "state" not in named else {}
    port = 0 if options["socket"] else _port(options, planned.settings)
    holder = stranger_on(port, "", [service.get("pid") or 0])
    return {"attempt": attempt, "stranger": holder_text(holder, port) if holder else ""}


def _place(options: t.Mapping[str, t.Any], raw: Raw, planned: Effective, process: Raw) -> Raw:
    """Return who names the data directory. A process with a root directory of its own calls the same one by another name."""
    # A hung one does not say it, and has changed into it.
    running = raw["config"].get("dir") or (works_in(process) if raw["error"] == "timeout" else "")
    inside = bool(raw["config"].get("dir")) and as_seen_by(process, running) not in ("", running) and has_own_root(process)
    uid = runs_as(process, raw["service"])
    return load_place(str(options["data_dir"] or ""), planned.settings, planned.origins.get("dir") or {}, "" if inside else running, uid)


def _unreadable(data_dir: str, files: Raw, settings: Raw, around: Raw) -> list[str]:
    inner = {"base", "incremental", "manifest"}
    folder = name_in(settings, "appenddirname")
    names = [os.path.join(folder, one["name"]) if one["kind"] in inner else one["name"] for one in files["files"] if one["name"]]
    return unreadable(data_dir, around["place"]["uid"], dict.fromkeys(os.path.dirname(name) or "." for name in names)) + unreadable(
        data_dir, around["place"]["uid"], names
    )


def _first(*values: t.Any) -> str:
    """Return the first value that is not empty, as text."""
    return str(next((value for value in values if value), ""))


def _process_view(options: t.Mapping[str, t.Any], raw: Raw, process: Raw, settings: Raw) -> Raw:
    """Return whose the process is; of a silent one also whether it holds its append-only file open and whether it listens."""
    return {
        "owned": belongs_to(process, raw["service"]),
        "aof_open": holds_aof(process, settings) if process and not raw["info"] else None,
        "listens": listens(process, options) if process and not raw["ping"] else None,
        "ports": ports_of([int(process["pid"])] if process else members_of(raw["service"])) if raw["error"] == "refused" else [],
    }


def _disk_view(data_dir: str, shown: str, process: Raw) -> Raw:
    return {"disk": dict(load_disk(data_dir, process.get("uid")), path=shown) if data_dir else {}}


def _on_disk(raw: Raw, process: Raw, data_dir: str, settings: Raw) -> Raw:
    """Return what of a Redis is on its disk: the bytes of its dump, and what of a running one is there no longer."""
    live = _live_dir(raw, process)
    name = name_in(settings, "dbfilename")
    missing = bool(live) and os.path.isdir(live) and not os.path.lexists(os.path.join(live, name))
    return {
        "dump_bytes": 0 if missing else size_of(live or data_dir, name) if live or data_dir else None,
        "gone": _gone(raw, process, live, settings),
    }


def _is_serving(raw: Raw) -> bool:
    return bool(raw["ping"] == "PONG" and raw["write"] in ("accepted", ""))


def _wants_files(when: str, raw: Raw, around: Raw) -> bool:
    """Return whether the data files are judged: always, never, or (auto) where Redis is down or dies at start after start."""
    if when != "auto":
        return when == "always"
    if not raw["ping"] and raw["error"] in ("refused", "no_socket") and not around["process"]:
        return True
    # A Redis that dies on its data again and again may be alive at this very moment.
    return not _is_serving(raw) and int(around["log"].get("failed_starts") or 0) > 1 and not around["log"]["ready"]


def _judged(data_dir: str, settings: Raw, deadline: float, options: t.Mapping[str, t.Any]) -> Raw:
    # A wait looks many times; unchanged files keep their verdict.
    now = [fingerprint(data_dir, settings), sorted((key, str(value)) for key, value in settings.items())]
    before = _JUDGED.get(data_dir)
    if before and before[0] == now and before[1]["verdict"] != "unjudged":
        return before[1]
    begun = time.monotonic()
    verdict = judge_data(data_dir, settings, deadline)
    left = deadline - (time.monotonic() - begun)
    verdict["contents"] = load_contents(data_dir, settings, verdict, int(options["last_known"].get("bytes") or 0), left)
    _JUDGED[data_dir] = (now, verdict)
    return verdict
