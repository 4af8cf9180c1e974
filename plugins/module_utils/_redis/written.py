# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the data files of a Redis that is down are all that it had: who saw it write them, until when, and what changed since.

Files that can be read to their end may still be an older copy, or cut between two commands. Each judge returns (why that is not proven,
what proves it). One of them is "", but for a file that nothing speaks against and nobody saw earlier: there the second says what speaks
for it.
"""

from __future__ import annotations

import os
import re
import stat
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import Refused, parse_manifest
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import name_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import changed_at

Facts = t.Mapping[str, t.Any]
Proof = t.Tuple[str, str]

# A manager that counts whole seconds may say the end up to one too early. Between the last byte of a file and the end of its process.
# A log counts milliseconds.
WHOLE, NEAR, NEAR_WHOLE, SLACK, TICK = 1.0, 1.1, 0.15, 0.1, 0.01
# Redis logs a save once the file is in place: after its last byte by as long as a sync takes.
SYNC_SECONDS = 1.0
# Redis puts off a write to its append-only file by two seconds at most, while the disk syncs.
LATE = 2.5
READ = "and each command in it was read, to the end of the file"
SEEN = "its append-only file is the one that was seen on %s, %d bytes then and %d now, no write to it failed, "
RECENT = "its append-only file was still written when its process ended, no write to it failed, "
SYNCED = "its log says that all it had acknowledged was in its append-only file when it ended, "
SAVED = "it ended when it was asked to, and saved its data before"
NO_LOG = "its log was not read, so nothing says whether it could write its append-only file to the end: set redis_recovery_log_file"
NO_END = "nothing says when its process ended, so nothing proves that its append-only file has all that it had"
TOUCHED = "its append-only file was changed after its process had ended"
MOVED = "its configuration changed while it ran, so nothing proves that it wrote the files that a start loads"
SHORTER = "its append-only file has %d bytes, and %d at the last proven look"
IDLE = (
    "the last write to its append-only file was about %.1f seconds before it ended, and no run saw the file earlier: if appendonly was "
    "turned off while it ran (CONFIG SET), what was written after that is lost"
)
CONFIGURED = "its configuration turns the append-only file on, no write to it failed, "
UNSYNCED = "it ended when it was asked to and did not sync its append-only file then, so that file was turned off while it ran"
OTHER_FILE = "its append-only file is not the one that was seen on %s, and its log does not say why"
UNSEEN = "its append-only file is empty or was changed after its last write, and no run saw it earlier: nothing proves that it is whole"
SNAPSHOTS = "Redis keeps its data in snapshots, and nothing shows that it saved once more before it went down"
OFF = "its append-only file was turned off while it ran: it was written last on %s, and the log says that changes came between %s and %s"
SINCE = (
    "the last write to its append-only file was about %.1f seconds before it ended: if appendonly was turned off (CONFIG SET) after that "
    "file was seen on %s, what was written since then is lost"
)
OTHER_DUMP = "it saved its data before it ended, but the dump that a start loads is not of that moment"


def load_written(data_dir: str, settings: Facts, config_files: t.Sequence[str]) -> t.Dict[str, t.Any]:
    """Return {aof, dump, config_changed_at}: of the file that Redis appends to, and of its dump, {dir, name, inode, bytes, written_at,
    changed_at}, {} for none. Never raises.
    """
    folder, aof = os.path.join(data_dir, name_in(settings, "appenddirname")), name_in(settings, "appendfilename")
    inner = _last_part(os.path.join(folder, aof + ".manifest"), aof + ".manifest")
    return {
        "aof": _file(folder, inner) if inner else _file(data_dir, aof),
        "dump": _file(data_dir, name_in(settings, "dbfilename")),
        "config_changed_at": max([changed_at(path) for path in config_files], default=0.0),
    }


def _last_part(path: str, name: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            parts = parse_manifest(file.read(1024 * 1024).decode("utf-8", "replace"), name)
    except (OSError, ValueError, Refused):
        return ""
    return next((one for one, kind in reversed(parts) if kind == "i"), "")


def _file(folder: str, name: str) -> t.Dict[str, t.Any]:
    try:
        facts = os.lstat(os.path.join(folder, name))
    except (OSError, ValueError):
        return {}
    if not stat.S_ISREG(facts.st_mode):
        return {}
    seen = {"dir": os.path.realpath(folder), "name": name, "inode": facts.st_ino, "bytes": facts.st_size}
    return dict(seen, written_at=facts.st_mtime, changed_at=facts.st_ctime)


def judge_aof(before: Facts, known: Facts) -> Proof:
    """Judge an append-only file by the first look of a run, and by what the last proven look remembered {at, file}."""
    written, log = before.get("written") or {}, before.get("log") or {}
    file, (end, latest) = written.get("aof") or {}, _end_of(before)
    unseen = _unseen(file, log, end and latest) or unappended(before)
    if unseen:
        return unseen, ""
    remembered = known.get("file") or {}
    if _same(file, remembered) or _is_kept(file, remembered, log):
        return _judge_seen(file, known, log, end, latest)
    why, speaks = (MOVED, "") if _moved(written, log, latest) else _judge_end(file, log, end, latest)
    return (OTHER_FILE % _day(known), "") if why and why != MOVED and remembered else (why, speaks)


def _end_of(before: Facts) -> t.Tuple[float, float]:
    """Return from when to when its process ended, 0 where that is not known."""
    end = float((before.get("ended") or {}).get("last_ended_at") or 0)
    return end, end + WHOLE if end == int(end) else end


def _unseen(file: Facts, log: Facts, latest: float) -> str:
    """Return what is missing to judge at all; *latest*: when its process ended at the latest, 0 if that is not known."""
    if not file or not latest:
        return NO_END
    if not log:
        return NO_LOG
    return TOUCHED if file["written_at"] > latest + SLACK else ""


def unappended(before: Facts) -> str:
    """Return how the log proves that Redis took changes which it did not append to its file, "" for nothing."""
    shown, last = _shown(before)
    return OFF % (_clock(last), _clock(shown[0]), _clock(shown[1])) if shown else ""


def unappended_at(before: Facts) -> float:
    """Return when Redis first saved changes that it had not appended to its file, as its log proves; 0 for never."""
    shown = _shown(before)[0]
    return float(shown[1]) if shown else 0.0


def _shown(before: Facts) -> t.Tuple[t.Sequence[float], float]:
    """Return (since and when of the first save of changes that came after the last write to the append-only file, that write)."""
    file, log = (before.get("written") or {}).get("aof") or {}, before.get("log") or {}
    last = float(file.get("written_at") or 0)
    return next((one for one in log.get("changes_saved") or [] if last and one[0] > last + LATE), ()), last


def _judge_seen(file: Facts, known: Facts, log: Facts, end: float, latest: float) -> Proof:
    """Judge the file that an earlier run saw: it proves that the file was written to then, and no more."""
    seen = known["file"]["bytes"]
    if not _is_kept(file, known["file"], log):
        return SHORTER % (file["bytes"], seen), ""
    if log.get("unsynced_at_end"):
        return UNSYNCED, ""
    speaks = SEEN % (_day(known), seen, file["bytes"]) + READ
    return (
        "" if log.get("synced_at_end") or _is_near(file, end, latest) else SINCE % (max(0.1, end - file["written_at"]), _day(known))
    ), speaks


def _is_near(file: Facts, end: float, latest: float) -> bool:
    """Return whether a file was still written when its process ended."""
    return bool(end - file["written_at"] <= (NEAR_WHOLE if latest > end else NEAR))


def _judge_end(file: Facts, log: Facts, end: float, latest: float) -> Proof:
    """Judge a file that nobody saw earlier by when it was written last; its process ended from *end* to *latest*."""
    if log.get("synced_at_end"):
        return "", SYNCED + READ
    if log.get("unsynced_at_end"):
        return UNSYNCED, ""
    if not file["bytes"] or file["changed_at"] > latest + SLACK:
        return UNSEEN, ""
    if _is_near(file, end, latest):
        return "", RECENT + READ
    return IDLE % max(0.1, end - file["written_at"]), CONFIGURED + READ


def _same(file: Facts, remembered: Facts) -> bool:
    return bool(remembered) and all(file.get(name) == remembered.get(name) for name in ("dir", "name", "inode"))


def _is_kept(file: Facts, remembered: Facts, log: Facts) -> bool:
    """Return whether *file* is what was *remembered* and no shorter, or what Redis itself says that it went on with after a rewrite."""
    if not remembered or file["dir"] != remembered.get("dir"):
        return False
    if _same(file, remembered):
        return bool(file["bytes"] >= remembered["bytes"])
    # An empty file after a rewrite may be one that was emptied.
    return bool(log.get("rewritten") and file["bytes"] and _number(file["name"]) > _number(str(remembered.get("name"))))


def _number(name: str) -> int:
    found = re.search(r"\.(\d{1,9})\.incr\.aof$", name)
    return int(found.group(1)) if found else 0


def _moved(written: Facts, log: Facts, latest: float) -> bool:
    """Return whether the configuration changed between the start and the end of the process, and not by Redis itself."""
    changed, began = float(written.get("config_changed_at") or 0), log.get("began_at")
    own = log.get("rewrote_config_at")
    if not changed or (own and abs(changed - own) < SYNC_SECONDS):
        return False
    return bool(changed <= latest and (began is None or changed > began + TICK))


def _day(known: Facts) -> str:
    return _clock(float(known.get("at") or 0))


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def unsaved(before: Facts) -> str:
    """Return why a dump, and whatever is made of it, may lack the last changes; "" where it does not, or where no dump counts.

    An append-only file that was switched on at run time, and written to after the last save, has them.
    """
    if (before.get("files") or {}).get("source") != "rdb":
        return ""
    written = before.get("written") or {}
    aof, dump = ((written.get(name) or {}).get("written_at") or 0 for name in ("aof", "dump"))
    return "" if aof > dump else judge_dump(before)[0]


def judge_dump(before: Facts) -> Proof:
    """Judge a dump: its Redis says when it saved for the last time before it ended, and the dump is of that moment."""
    written, log = before.get("written") or {}, before.get("log") or {}
    dump, saved = written.get("dump") or {}, log.get("saved_at")
    if not log.get("saved_at_end") or saved is None:
        return SNAPSHOTS, ""
    if not dump or not saved - SYNC_SECONDS <= dump["written_at"] <= saved + SLACK or dump["changed_at"] > saved + SYNC_SECONDS:
        return OTHER_DUMP, ""
    return (MOVED, "") if _moved(written, log, saved) else ("", SAVED)
