# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which candidates can be made from the copy of a damaged data directory, and how each is written as one file for a side instance.

The parts of an append-only file are joined into one: every Redis loads an RDB base followed by commands as a single file.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import (
    MANIFEST_BYTES,
    Refused,
    combined,
    judge_files,
    parse_manifest,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import is_rdb, name_in, taken_at
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.salvage import (
    TOLL_SHARE,
    Salvaged,
    cut_aof,
    flushes,
    rebuilt_manifest,
    salvage_aof,
    without_flush,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import CHUNK, OutOfTime, scan_rdb
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.toll import Toll
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.words import EDGE_BYTES
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.contents import USED
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.mend import preamble_length, repaired_rdb, salvage_rdb
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import HEAD_BYTES as RDB_HEAD_BYTES
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import Broken, Cursor
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import open_regular

Settings = t.Mapping[str, t.Any]
Write = t.Callable[[t.BinaryIO, float], Salvaged]

MAGIC = b"REDIS"
# Between two parts: each is written for a reader that starts in database 0.
SELECT_0 = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
WHOLE = Salvaged(0, 0, True, 0, [], None, "")
HEAD_BYTES = 1024
# How an RDB may begin, latest first.
HEADS = tuple(MAGIC + b"%04d" % version for version in range(12, 5, -1)) + (b"VALKEY080",)
# Memory that an RDB needs, as a multiple of its size: if the RDB does not say, and the most that is believed of what it says.
USUAL_GROWTH, MOST_GROWTH = 3, 30
_FLUSH = re.compile(rb"(?i)\r\nflush(?:all|db)\r\n")
_SELECTED = re.compile(rb"(?i)\$6\r\nselect\r\n\$\d{1,3}\r\n(\d{1,10})\r\n")
_VERSION = re.compile(rb"\xfa\x09redis-ver[\x01-\x20]([0-9.]{1,16})")


class Unbuildable(Exception):
    """A candidate cannot be made at all; the text is one line."""


class Recipe(t.NamedTuple):
    """How one candidate is made: ``write`` puts it into a file of ``kind`` aof or rdb. Skipped if one of ``unless`` loaded."""

    name: str
    kind: str
    lineage: str
    write: Write
    size: int
    memory: int
    last_write: t.Optional[float] = None
    binds: t.Mapping[str, str] = {}
    unless: tuple[str, ...] = ()
    settings: t.Mapping[str, str] = {}
    unproven: bool = False


class Part(t.NamedTuple):
    """One part of an append-only file."""

    path: str
    size: int
    is_rdb: bool
    good: bool
    mtime: t.Optional[float]


def recipes_of(copy: str, judged: t.Mapping[str, t.Any], settings: Settings, end: float) -> tuple[list[Recipe], list[str]]:
    """Return (the recipes for the files in the directory *copy*, notes on what was ruled out). Raises OutOfTime.

    What a start would load comes first, then the newer sets of data that lie beside it.
    """
    made, notes = _configured(copy, judged, settings, end)
    number = 0
    newer = any(one["verdict"] == "outdated" for one in judged["files"])
    for one in judged.get("others") or []:
        if one["kind"] == "rdb" and one["name"] == name_in(settings, "dbfilename") and not newer:
            # Beside an append-only file that is missing, it is the dump.
            continue
        if one["kind"] == "rdb":
            number += 1
            made = [recipe for recipe in made if recipe.name != "dump" or one["name"] != name_in(settings, "dbfilename")]
            made += rdb_recipes(os.path.join(copy, one["name"]), "other_%d" % number, "files", end)
        elif not any(recipe.kind == "aof" for recipe in made):
            more, why = _beside_aof(copy, one, settings, end)
            made, notes = made + more, notes + why
    return made, notes


def _beside_aof(copy: str, one: t.Mapping[str, str], settings: Settings, end: float) -> tuple[list[Recipe], list[str]]:
    """Return the recipes for an append-only file that the settings do not name."""
    named = {"appendonly": "yes", "appenddirname": one["name"], "appendfilename": one["file"]}
    if not one["file"]:
        named = {"appendonly": "yes", "appendfilename": one["name"]}
    seen = judge_files(copy, dict(settings, **named), max(1.0, end - time.monotonic()))
    files = [file for file in seen["files"] if file["kind"] in ("aof", "base", "incremental", "manifest")]
    worst = next((word for word in ("damaged", "missing", "tail_cut") if any(file["verdict"] == word for file in files)), "valid")
    try:
        parts, rebuilt = _parts(copy, dict(seen, files=files), dict(settings, **named))
    except Refused as error:
        return [], [one_line("%s cannot be assembled: %s" % (one["name"], error), 200)]
    made = _aof_recipes(parts, rebuilt, worst, end) if parts else []
    return [recipe._replace(name="append_only") if recipe.name == "as_is" else recipe for recipe in made], []


def _configured(copy: str, judged: t.Mapping[str, t.Any], settings: Settings, end: float) -> tuple[list[Recipe], list[str]]:
    """Return the recipes for what a start with *settings* would load, and for the dump beside it."""
    dump = os.path.join(copy, name_in(settings, "dbfilename"))
    if judged["source"] == "rdb":
        return rdb_recipes(dump, "as_is", "files", end), []
    try:
        parts, rebuilt = _parts(copy, judged, settings)
    except Refused as error:
        return rdb_recipes(dump, "dump", "older", end), [one_line("the append-only file cannot be assembled: %s" % error, 200)]
    own = [one for one in judged["files"] if one["verdict"] != "outdated"]
    made = _aof_recipes(parts, rebuilt, combined(own) if own else judged["verdict"], end) if parts else []
    return made + rdb_recipes(dump, "dump", "older", end), []


def _parts(copy: str, judged: t.Mapping[str, t.Any], settings: Settings) -> tuple[list[Part], bool]:
    """Return (the parts in their order, whether only their names gave that order). Raises Refused."""
    aof = name_in(settings, "appendfilename")
    folder = os.path.join(copy, name_in(settings, "appenddirname"))
    good = {one["name"] for one in judged["files"] if one["verdict"] in ("valid", "newer")}
    if not os.path.isdir(folder):
        path = os.path.join(copy, aof)
        return ([_part(path, aof in good)] if os.path.lexists(path) else []), False
    manifest = aof + ".manifest"
    rebuilt = manifest not in good
    if rebuilt:
        named = parse_manifest(rebuilt_manifest(os.listdir(folder), aof), manifest)
    else:
        with open_plain(os.path.join(folder, manifest)) as file:
            named = parse_manifest(file.read(MANIFEST_BYTES).decode("utf-8", "replace"), manifest)
    return [_part(os.path.join(folder, name), one_line(name, 120) in good) for name, kind in named if kind != "h"], rebuilt


def _part(path: str, good: bool) -> Part:
    try:
        with open_plain(path) as file:
            facts = os.fstat(file.fileno())
            return Part(path, facts.st_size, path.endswith(".rdb") or is_rdb(file.read(9)), good, facts.st_mtime)
    except OSError:
        return Part(path, 0, path.endswith(".rdb"), False, None)


def open_plain(path: str) -> t.BinaryIO:
    """Open a regular file that is not a link. Raises OSError."""
    return os.fdopen(open_regular(path), "rb", buffering=256 * 1024)


def _aof_recipes(parts: list[Part], rebuilt: bool, verdict: str, end: float) -> list[Recipe]:
    size = sum(part.size for part in parts) + len(parts) * len(SELECT_0)
    memory = sum(_memory(part) for part in parts)
    last = max((part.mtime for part in parts if part.mtime), default=None)

    def recipe(name: str, write: Write, *unless: str) -> Recipe:
        return Recipe(name, "aof", "files", write, size, memory, last, unless=unless)

    made = []
    if rebuilt:
        made.append(recipe("rebuilt_manifest", lambda out, until: salvaged(parts, out, until)))
    elif verdict in ("valid", "unjudged"):
        made.append(recipe("as_is", lambda out, until: joined(parts, out, until, copy_part)))
    if not rebuilt and verdict != "valid":
        made.append(recipe("cut", lambda out, until: cut_parts(parts, out, until, verdict == "tail_cut"), "as_is"))
        made += [recipe("salvage", lambda out, until: salvaged(parts, out, until), "as_is")] if verdict != "tail_cut" else []
    if _flushed(parts, end):
        made.append(recipe("before_flush", lambda out, until: before_flush(parts, out, until)))
    return made


def _flushed(parts: t.Sequence[Part], end: float) -> bool:
    for part in parts:
        with contextlib.suppress(OSError, Unbuildable), open_plain(part.path) as file:
            start = _preamble(part, file, end)
            if start < part.size and _mentions_flush(file, start) and flushes(file, part.size, end, start):
                return True
    return False


def _mentions_flush(file: t.BinaryIO, start: int) -> bool:
    """Return whether the word occurs at all: a quick look before following the commands one by one."""
    file.seek(start)
    return any(_FLUSH.search(chunk) for chunk in _overlapping(file, 16))


def _overlapping(file: t.BinaryIO, overlap: int) -> t.Iterator[bytes]:
    """Yield the rest of *file* in chunks that each begin with the last *overlap* bytes of the one before."""
    tail = b""
    for chunk in iter(lambda: file.read(CHUNK), b""):
        yield tail + chunk
        tail = chunk[-overlap:]


def _preamble(part: Part, file: t.BinaryIO, end: float) -> int:
    """Return how many bytes of a part are an RDB."""
    if not part.is_rdb or part.path.endswith(".rdb"):
        return part.size if part.is_rdb else 0
    # If the RDB at the head is broken, everything after it counts as part of it, and as dropped.
    length = preamble_length(file, part.size, end)
    return part.size if length is None else length


def joined(parts: t.Sequence[Part], out: t.BinaryIO, end: float, one_part: t.Callable[[Part, t.BinaryIO, float], Salvaged]) -> Salvaged:
    """Write all parts one after the other, each by *one_part*; return the sum. Raises OutOfTime, OSError, Unbuildable."""
    total = WHOLE
    for index, part in enumerate(parts):
        if index:
            out.write(SELECT_0)
        if part.is_rdb and index:
            raise Unbuildable("an incremental file is an RDB")
        total = added(total, one_part(part, out, end))
    _refuse_nothing(out, parts)
    return total


def _refuse_nothing(out: t.BinaryIO, parts: t.Sequence[Part]) -> None:
    if out.tell() <= (len(parts) - 1) * len(SELECT_0) and any(part.size or not part.mtime for part in parts):
        raise Unbuildable("nothing in it is intact")


def copy_part(part: Part, out: t.BinaryIO, end: float) -> Salvaged:
    """Write a part unchanged. Raises OSError."""
    with open_plain(part.path) as file:
        copy_bytes(file, out)
    return WHOLE


def salvaged(parts: t.Sequence[Part], out: t.BinaryIO, end: float) -> Salvaged:
    """Write what is intact in all parts; the loss is counted in keys. Raises OutOfTime, OSError, Unbuildable."""
    toll = Toll(_many_databases(parts))
    done = joined(parts, out, end, lambda part, to, until: salvage_part(part, to, until, toll))
    return in_keys(done, toll)


def in_keys(done: Salvaged, toll: Toll) -> Salvaged:
    """Return *done* with its loss in keys, as counted by *toll*."""
    if toll.given_up:
        return done._replace(exact=done.exact and not done.dropped, doubt=done.doubt or ("effects" if done.dropped else ""))
    count, exact = toll.total()
    if count is None:
        return done._replace(exact=False, doubt=done.doubt or "effects")
    return done._replace(dropped=count, exact=exact, unit="keys")


def _many_databases(parts: t.Sequence[Part]) -> bool:
    """Return whether the parts select more than one database; a quick look."""
    found: set[bytes] = set()
    for part in parts:
        with contextlib.suppress(OSError), open_plain(part.path) as file:
            for chunk in _overlapping(file, 32):
                found.update(_SELECTED.findall(chunk))
    return len(found) > 1


def salvage_part(part: Part, out: t.BinaryIO, end: float, toll: t.Optional[Toll] = None) -> Salvaged:
    """Write what is intact in a part. Raises OutOfTime."""
    try:
        with open_plain(part.path) as file:
            start = _preamble(part, file, end)
            if start != part.size or not part.size:
                if toll and start:
                    add_keys(toll, file, start, end)
                return salvage_aof(file, part.size, out, end, start, toll)
            done = WHOLE if part.good and copy_bytes(file, out) else _whole_rdb(file, part, out, end)
            if toll:
                _add_base(toll, file, out, done, end)
            return done
    except OSError as error:
        if toll:
            toll.given_up = True
        return _nothing_of(part, error)


def _add_base(toll: Toll, file: t.BinaryIO, out: t.BinaryIO, done: Salvaged, end: float) -> None:
    """Report to *toll* the keys in *out*, which is an RDB by now, and the keys of *file* that did not get there."""
    add_keys(toll, out, out.tell(), end)
    if done.dropped:
        first = done.regions[0] if done.regions else {"at": 0, "bytes": 0}
        file.seek(first["at"])
        toll.keys(done.dropped, done.exact, file.read(min(first["bytes"], EDGE_BYTES)))


def add_keys(toll: Toll, source: t.BinaryIO, size: int, end: float) -> None:
    """Report the keys of a sound RDB to *toll*."""
    database, position = 0, source.tell()
    cursor = Cursor(source, size, time.monotonic() + (end - time.monotonic()) * TOLL_SHARE)
    cursor.go(RDB_HEAD_BYTES)
    try:
        for turn, item in enumerate(iter(cursor.item, None)):
            if item.kind == "eof":
                break
            cursor.tick(turn)
            database = item.value if item.kind == "select" else database
            if item.kind == "key":
                toll.there(b"%d" % database, item.value)
    except (Broken, OutOfTime):
        toll.given_up = True
    source.seek(position)


def _whole_rdb(file: t.BinaryIO, part: Part, out: t.BinaryIO, end: float) -> Salvaged:
    if scan_rdb(file, part.size, end)["verdict"] in ("valid", "newer") and copy_bytes(file, out):
        return WHOLE
    mended = mended_rdb(file, part.size, out, end)
    return mended if mended is not None else salvage_rdb(file, part.size, out, end)


def _nothing_of(part: Part, error: OSError) -> Salvaged:
    why = "%s cannot be read: %s" % (one_line(os.path.basename(part.path), 80), one_line(error.strerror or error, 60))
    return Salvaged(0, 1, False, part.size, [], None, why, doubt="values")


def cut_parts(parts: t.Sequence[Part], out: t.BinaryIO, end: float, is_tail: bool = False) -> Salvaged:
    """Write everything before the first damage and count the rest as dropped. Raises OutOfTime, OSError, Unbuildable.

    If the damage *is_tail*, the loss is counted in keys.
    """
    total = WHOLE
    toll = Toll(_many_databases(parts)) if is_tail else None
    for index, part in enumerate(parts):
        if total.dropped_bytes:
            rest = salvage_part(part, t.cast(t.BinaryIO, Nowhere()), end)
            total = added(total, rest._replace(kept=0, dropped=rest.kept + rest.dropped, dropped_bytes=part.size))
            continue
        if index:
            out.write(SELECT_0)
        total = added(total, _cut_part(part, out, end, toll))
    _refuse_nothing(out, parts)
    return in_keys(total, toll) if toll else total


def _cut_part(part: Part, out: t.BinaryIO, end: float, toll: t.Optional[Toll]) -> Salvaged:
    with open_plain(part.path) as file:
        start = _preamble(part, file, end)
        if start == part.size and part.size:
            if not part.good and scan_rdb(file, part.size, end)["verdict"] not in ("valid", "newer"):
                raise Unbuildable("the base itself is damaged")
            copy_bytes(file, out)
            if toll:
                add_keys(toll, out, out.tell(), end)
            return WHOLE
        if toll and start:
            add_keys(toll, file, start, end)
        return cut_aof(file, part.size, out, end, start, toll)


def before_flush(parts: t.Sequence[Part], out: t.BinaryIO, end: float) -> Salvaged:
    """Write all parts without the last command that emptied a database. Raises OutOfTime, OSError, Unbuildable."""
    chosen = [part for part in parts if _flushed([part], end)][-1]

    def write(part: Part, to: t.BinaryIO, until: float) -> Salvaged:
        if part is not chosen:
            return salvage_part(part, to, until)
        with open_plain(part.path) as file:
            return without_flush(file, part.size, to, until, _preamble(part, file, until))

    return joined(parts, out, end, write)


def rdb_recipes(path: str, name: str, lineage: str, end: float) -> list[Recipe]:
    """Return the recipes for one RDB: unchanged if it is good, else repaired, salvaged, and unproven. Raises OutOfTime."""
    try:
        with open_plain(path) as file:
            facts = os.fstat(file.fileno())
            verdict = scan_rdb(file, facts.st_size, end)["verdict"]
            file.seek(0)
            head = file.read(HEAD_BYTES)
    except OSError:
        return []
    memory, last = memory_of(head, facts.st_size), taken_at(head) or facts.st_mtime
    good = Recipe(name, "rdb", lineage, lambda out, until: _plain_copy(path, out), facts.st_size, memory, last)
    if verdict in ("valid", "newer") or not facts.st_size:
        return [good] if facts.st_size else []
    repaired = good._replace(name="repaired_dump", write=lambda out, until: _repaired(path, out, until))
    if verdict == "unjudged":
        # Of an unknown version: that may be true, or be the damage.
        return [good, repaired._replace(unless=(name,))]
    salvaged = good._replace(name="salvaged_dump", write=lambda out, until: _salvaged(path, out, until), unless=("repaired_dump",))
    blind = good._replace(settings={"rdbchecksum": "no"}, unproven=True, unless=("repaired_dump",))
    return [repaired, blind, salvaged] if name == "as_is" else [repaired, salvaged]


def _plain_copy(path: str, out: t.BinaryIO) -> Salvaged:
    with open_plain(path) as file:
        copy_bytes(file, out)
    return WHOLE


def _repaired(path: str, out: t.BinaryIO, end: float) -> Salvaged:
    with open_plain(path) as file:
        done = mended_rdb(file, os.fstat(file.fileno()).st_size, out, end)
    if done is None:
        raise Unbuildable("no single correction makes its checksum match")
    return done


def mended_rdb(file: t.BinaryIO, size: int, out: t.BinaryIO, end: float) -> t.Optional[Salvaged]:
    """Write an RDB with its one wrong place repaired to the empty file *out*; None if its checksum does not show what was there."""
    done = repaired_rdb(file, size, out, end)
    if done is not None:
        return done
    # Only the version at the start of an RDB is variable, and the checksum shows which one it was.
    for head in HEADS:
        _empty(out)
        copy_bytes(file, out)
        out.seek(0)
        out.write(head)
        out.flush()
        if scan_rdb(out, size, end)["verdict"] in ("valid", "newer"):
            out.seek(0, os.SEEK_END)
            return WHOLE._replace(detail="repaired its first nine bytes: the checksum matches again")
    _empty(out)
    return None


def _empty(out: t.BinaryIO) -> None:
    out.seek(0)
    out.truncate()


def _salvaged(path: str, out: t.BinaryIO, end: float) -> Salvaged:
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        done = salvage_rdb(file, size, out, end)
    if not done.kept:
        raise Unbuildable("no intact entry is left in it")
    return done


def added(one: Salvaged, other: Salvaged) -> Salvaged:
    """Return the sum of two parts."""
    return Salvaged(
        one.kept + other.kept, one.dropped + other.dropped, one.exact and other.exact, one.dropped_bytes + other.dropped_bytes,
        one.regions + other.regions, other.last_write or one.last_write, "; ".join(text for text in (one.detail, other.detail) if text),
        doubt=one.doubt or other.doubt,
    )  # fmt: skip


def copy_bytes(file: t.BinaryIO, out: t.BinaryIO) -> bool:
    """Copy all of *file* to *out*; return True. Raises OSError."""
    file.seek(0)
    for chunk in iter(lambda: file.read(CHUNK), b""):
        out.write(chunk)
    return True


class Nowhere:
    """A writable file that keeps nothing."""

    def __init__(self) -> None:
        self._at = 0

    def write(self, data: bytes) -> int:
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def seek(self, at: int, whence: int = 0) -> int:
        self._at = at if not whence else self._at + at
        return self._at

    def truncate(self, size: t.Optional[int] = None) -> int:
        return self._at

    def flush(self) -> None:
        return None


def _memory(part: Part) -> int:
    if not part.is_rdb or not part.size:
        return part.size
    with open_plain(part.path) as file:
        return memory_of(file.read(HEAD_BYTES), part.size)


def memory_of(head: bytes, size: int) -> int:
    """Return the bytes of memory that the data of an RDB are expected to need, given its first bytes and its size."""
    found = USED.search(head)
    said = 0
    if found:
        raw = next(group for group in found.groups() if group is not None)
        said = int(raw) if found.group(4) else int.from_bytes(raw, "little")
    return min(said or size * USUAL_GROWTH, size * MOST_GROWTH + CHUNK)


def version_in(head: bytes) -> str:
    """Return the version of the Redis that wrote an RDB, "" if it does not say."""
    found = _VERSION.search(head)
    return found.group(1).decode("ascii") if found else ""
