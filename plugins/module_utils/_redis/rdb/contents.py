# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what is in sound data files before a start: keys, removals since an earlier look, and since when Redis wrote to them.

Bounded in time and memory: what takes too long is not counted, and stays unknown (None).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.effects import (
    FRAME,
    TIMES,
    Effect,
    effect_of,
    is_left,
    lasts_anew,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import name_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import CHUNK, OutOfTime
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.words import worded
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.mend import preamble_length
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import HEAD_BYTES, Broken, Cursor
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import open_regular

# A start must not wait longer for this, in seconds.
MOST_SECONDS = 2.0
MOST_KEYS = 1_000_000
_REMOVAL = re.compile(rb"(?i)\*(\d{1,7})\r\n\$(?:3\r\ndel|6\r\nunlink|6\r\ngetdel)\r\n")
_OVERLAP = 64
_CTIME = re.compile(rb"\xfa\x05ctime\xc2(.{4})", re.S)
# The replication history that it is of, and the place in it, where it had replicas.
_HISTORY = re.compile(rb"\xfa\x07repl-id\x28([0-9a-f]{40})")
_PLACE = re.compile(rb"\xfa\x0brepl-offset(?:\xc0(.)|\xc1(..)|\xc2(.{4})|[\x01-\x14](\d{1,20}))", re.S)
# The memory that Redis used when it wrote an RDB.
USED = re.compile(rb"\xfa\x08used-mem(?:\xc0(.)|\xc1(..)|\xc2(.{4})|[\x01-\x14](\d{1,20}))", re.S)

Name = t.Tuple[bytes, bytes]


class _Uncounted(Exception):
    """The keys cannot be counted: a command may touch any of them, or there are too many."""


class _Keys:
    """The keys that commands leave, each with the time when it expires (None for never). More than there are, never fewer."""

    def __init__(self) -> None:
        self.there: dict[Name, t.Optional[float]] = {}
        # Keys that may be gone: the last element was perhaps taken out.
        self.unsure: set[Name] = set()
        # The least that a key takes in memory: the bytes that set it. What changes it later is not counted.
        self.sizes: dict[Name, int] = {}
        # The number of writes, the bytes of all of them and of the shortest one.
        self.writes = self.bytes = self.shortest = 0

    def take(self, words: t.Sequence[bytes], db: bytes) -> None:
        """Follow one command."""
        effect, took = effect_of(words), _bytes_of(words)
        self.writes, self.bytes, self.shortest = self.writes + 1, self.bytes + took, min(self.shortest or took, took)
        if effect.wild or len(self.there) > MOST_KEYS:
            raise _Uncounted
        if effect.emptied:
            self.there = {} if effect.emptied == "all" else {name: end for name, end in self.there.items() if name[0] != db}
        if words[0].lower() == b"rename" and len(words) == 3:
            self._rename((db, words[1]), (db, words[2]))
            return
        for key in effect.removes:
            self.there.pop((db, key), None)
        for key in effect.sets:
            self.there[db, key] = _end_of(words)
            self.sizes[db, key] = sum(len(word) for word in words[1:]) // len(effect.sets)
            self.unsure.discard((db, key))
        self._change(words, db, effect)
        if words[0].lower() in (b"pexpireat", b"expireat"):
            self.there[db, words[1]] = _number(words[2:3], 1000.0 if words[0][:1] in b"pP" else 1.0)

    def _rename(self, old: Name, new: Name) -> None:
        """Give a key another name, with its time; one whose setting was not seen may be gone by now."""
        known = old in self.there and old not in self.unsure
        self.there[new] = self.there.pop(old, None)
        (self.unsure.discard if known else self.unsure.add)(new)

    def _change(self, words: t.Sequence[bytes], db: bytes, effect: Effect) -> None:
        """Take in keys whose old value counts, or whose new one is not known."""
        changed = {(db, key) for key in [*effect.changes, *effect.stores]}
        for name in changed:
            self.there.setdefault(name, None)
        for name in changed if lasts_anew(words) else {(db, key) for key in effect.stores}:
            self.there[name] = _end_of(words) if words[0].lower() == b"set" else None
        if is_left(words):
            self.unsure -= changed
        elif words[0].lower() not in TIMES:
            self.unsure |= changed

    def least_bytes(self) -> float:
        """Return how few bytes a write takes: where each made a key of its own, as many as it took here; else those of the shortest."""
        alike = self.writes and self.writes == sum(name in self.there for name in self.sizes)
        return self.bytes / self.writes if alike else self.shortest

    def alive(self, now: float) -> t.Tuple[int, int]:
        """Return how many have not expired, and the least memory that they take in bytes."""
        names = [name for name, end in self.there.items() if end is None or end > now]
        return len(names), sum(self.sizes.get(name, 0) for name in names)

    def sure(self, now: float) -> int:
        """Return how many of those that have not expired are certainly there."""
        return sum((end is None or end > now) and name not in self.unsure for name, end in self.there.items())


def _bytes_of(words: t.Sequence[bytes]) -> int:
    """Return how many bytes a command takes in an append-only file."""
    return 3 + len(str(len(words))) + sum(len(word) + len(str(len(word))) + 5 for word in words)


def _end_of(words: t.Sequence[bytes]) -> t.Optional[float]:
    """Return when the key of a SET expires; an append-only file has absolute times only."""
    for unit, scale in ((b"pxat", 1000.0), (b"exat", 1.0)):
        at = next((index for index, word in enumerate(words) if index > 2 and word.lower() == unit), 0)
        if at:
            return _number(words[at + 1 : at + 2], scale)
    return None


def _number(words: t.Sequence[bytes], scale: float) -> t.Optional[float]:
    return int(words[0]) / scale if words and words[0].isdigit() else None


def load_contents(
    data_dir: str, settings: t.Mapping[str, t.Any], judged: t.Mapping[str, t.Any], known_bytes: int, most: float
) -> dict[str, t.Any]:
    """Return {keys, sure, removed, written_at, memory, missing_writes} of the files that were *judged*, {} where there are none.

    Of a dump also {history, offset} of its replication, where it had replicas.

    keys: the most that a start loads, of files that are all valid; sure: the least of an append-only file; removed: keys that commands
    removed beyond the first *known_bytes* of an append-only file; written_at: when Redis wrote the dump, or the base; memory: bytes
    that the data take in memory at least; missing_writes: the most writes that are in fewer bytes than *known_bytes*. None is unknown.
    Takes *most* seconds, never raises.
    """
    loaded = ("rdb",) if judged.get("source") == "rdb" else ("base", "incremental", "aof")
    files = [one for one in judged.get("files") or [] if one["kind"] in loaded]
    end, folder = time.monotonic() + min(most, MOST_SECONDS), _folder_of(data_dir, settings, judged)
    paths = [os.path.join(folder, one["name"]) for one in files if one["bytes"]]
    if not paths:
        return {}
    found: dict[str, t.Any] = {"keys": None, "removed": None, "written_at": None, "memory": None, "missing_writes": None}
    with contextlib.suppress(OSError):
        found["written_at"], said = _head_of(paths[0])
        if judged.get("source") == "rdb":
            return dict(found, keys=judged.get("expected_keys"), removed=0, memory=said, **_replicated(paths[0]))
        with contextlib.suppress(OutOfTime):
            found["removed"] = _removed(paths, known_bytes, end)
        if judged.get("verdict") == "valid":
            with contextlib.suppress(OutOfTime, _Uncounted, Broken):
                found["keys"], least, each, found["sure"] = _keys_in(paths, end)
                found["missing_writes"] = _missing_writes(known_bytes - sum(one["bytes"] for one in files), each)
                # What the base says holds as long as nothing was removed since.
                found["memory"] = max(least, said or 0 if found["removed"] == 0 else 0)
    return found


def _folder_of(data_dir: str, settings: t.Mapping[str, t.Any], judged: t.Mapping[str, t.Any]) -> str:
    """Return the folder with the files: that of the append-only files where a manifest names them."""
    if any(one["kind"] == "manifest" for one in judged.get("files") or []):
        return os.path.join(data_dir, name_in(settings, "appenddirname"))
    return data_dir


def _missing_writes(missing: int, each: float) -> t.Optional[int]:
    """Return the most writes that *missing* bytes can have held, None where no write shows how short one is."""
    if missing <= 0:
        return 0
    return int(-(-missing // each)) if each else None


def _open(path: str) -> t.BinaryIO:
    return os.fdopen(open_regular(path), "rb")


def _head_of(path: str) -> t.Tuple[t.Optional[float], t.Optional[int]]:
    """Return when an RDB at the head of a file was written, and the memory that Redis used then; None for what it does not say."""
    with _open(path) as file:
        head = file.read(1024)
    at = _CTIME.search(head)
    return float(int.from_bytes(at.group(1), "little")) if at else None, _counted(USED.search(head))


def _counted(found: t.Optional[t.Match[bytes]]) -> t.Optional[int]:
    """Return the number that one of the groups of a note has: in one, two or four bytes, or as text."""
    raw = next((group for group in found.groups() if group is not None), b"") if found else b""
    return None if not found else int(raw) if found.group(4) else int.from_bytes(raw, "little")


def _replicated(path: str) -> dict[str, t.Any]:
    """Return {history, offset}: the replication history that a dump is of and the place in it; {} where its Redis had no replica."""
    with _open(path) as file:
        head = file.read(1024)
    history, place = _HISTORY.search(head), _counted(_PLACE.search(head))
    return {"history": history.group(1).decode(), "offset": place} if history and place is not None else {}


def _removed(paths: t.Sequence[str], known_bytes: int, end: float) -> int:
    """Return how many keys commands removed beyond the first bytes of all files together. Raises OutOfTime."""
    count, skip = 0, known_bytes
    for path in paths:
        with _open(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(size, max(0, skip)))
            skip, tail = skip - size, b""
            for chunk in iter(lambda: file.read(CHUNK), b""):
                if time.monotonic() > end:
                    raise OutOfTime
                text = tail + chunk
                count += sum(int(one.group(1)) - 1 for one in _REMOVAL.finditer(text) if one.end() > len(tail))
                tail = text[-_OVERLAP:]
    return count


def _keys_in(paths: t.Sequence[str], end: float) -> t.Tuple[int, int, float, int]:
    """Return how many keys the files leave at most, the least memory that they take, how few bytes a write takes, and the least of keys.

    Raises OutOfTime, _Uncounted, Broken.
    """
    keys = _Keys()
    for path in paths:
        with _open(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = _base(file, size, keys, end)
            db = b"0"
            for words in worded(file, start, size, end):
                name = words[0].lower()
                if name == b"select":
                    db = words[-1]
                elif name not in FRAME:
                    keys.take(words, db)
    now = time.time()
    return (*keys.alive(now), keys.least_bytes(), keys.sure(now))


def _base(file: t.BinaryIO, size: int, keys: _Keys, end: float) -> int:
    """Take in the RDB at the head of a file; return where the commands begin."""
    length = preamble_length(file, size, end)
    if length is None:
        raise _Uncounted
    database, cursor = 0, Cursor(file, size, end)
    cursor.go(HEAD_BYTES)
    for turn, item in enumerate(iter(cursor.item, None) if length else ()):
        if item.kind == "eof" or len(keys.there) > MOST_KEYS:
            break
        cursor.tick(turn)
        database = item.value if item.kind == "select" else database
        if item.kind == "key":
            keys.there.setdefault((b"%d" % database, item.value), None)
            keys.sizes.setdefault((b"%d" % database, item.value), item.length)
    return length


def still_due(known: int, last: t.Mapping[str, t.Any], contents: t.Mapping[str, t.Any]) -> int:
    """Return how many of the keys *known* at the *last* proven look {at} have to be in the files still, -1 if unknown.

    What a command removed since is not missing. What Redis wrote in one piece after that time is what it had: then no earlier number
    says anything.
    """
    at, written = float(last.get("at") or 0), contents.get("written_at")
    if known < 0 or (at and written and written > at):
        return -1
    return max(0, known - int(contents.get("removed") or 0))


def due_at_start(known: int, last: t.Mapping[str, t.Any], contents: t.Mapping[str, t.Any], empty_below_share: float) -> int:
    """Return how many keys a start has to find, -1 if unknown: as ``still_due``, but where it would count as emptied a person decides."""
    due, keys = still_due(known, last, contents), contents.get("keys")
    return known if due < 0 and keys is not None and keys < known * empty_below_share else due
