# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data files that lie beside those which a start would load: settings changed at run time leave newer data where nothing reads them.

``load_stores`` lists every set of data in the directory; ``judge_stores`` says whether another one is newer than what would be loaded.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
import typing as t
import zlib

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import is_rdb, name_in, taken_at
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import SMALL, OutOfTime
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import HEAD_BYTES, Broken, Cursor
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import FOLDER, open_regular

# More keys than this are compared by a sample.
MOST_KEYS = 200_000
# What Redis or this collection leaves behind unfinished, or keeps as a copy.
_PASSING = re.compile(r"temp-|before-|\.|nodes\.conf\Z")
# A part of an append-only file, the one included that is not in the manifest before the first rewrite has ended.
_PART = re.compile(r"\.\d+\.(?:base|incr)\.(?:rdb|aof)\Z|\Atemp-.*\.incr\Z")
Settings = t.Mapping[str, t.Any]


class Store(t.NamedTuple):
    """One set of data: ``kind`` rdb or aof; ``name`` of its file or directory; when it was ``written``; when an RDB was ``taken``.

    ``file`` is the stem of the names in a directory; ``hollow``: there is no key in it.
    """

    kind: str
    name: str
    bytes: int
    written: float
    taken: t.Optional[float] = None
    file: str = ""
    hollow: bool = False

    @property
    def last(self) -> float:
        """Return up to when it holds what was written."""
        return self.taken or self.written


def load_stores(directory: int, settings: Settings) -> t.List[Store]:
    """Return every set of data in the open directory. Raises OSError where it cannot be read."""
    found = []
    for name in sorted(os.listdir(directory)):
        if _PASSING.match(name) and name not in (name_in(settings, "dbfilename"), name_in(settings, "appendfilename")):
            continue
        facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
        one = _folder(directory, name) if stat.S_ISDIR(facts.st_mode) else _file(directory, name, facts)
        found += [one] if one else []
    return found


def _file(directory: int, name: str, facts: os.stat_result) -> t.Optional[Store]:
    if not stat.S_ISREG(facts.st_mode) or not facts.st_size:
        return None
    try:
        with os.fdopen(open_regular(name, directory), "rb") as file:
            head = file.read(1024)
            hollow = is_rdb(head) and _keyless(file, facts.st_size)
    except OSError:
        return None
    if name.endswith(".aof") or (head[:1] == b"*" and name.endswith(".aof.bak")):
        return Store("aof", name, facts.st_size, facts.st_mtime)
    return Store("rdb", name, facts.st_size, facts.st_mtime, taken_at(head), hollow=hollow) if is_rdb(head) else None


def _keyless(file: t.BinaryIO, size: int) -> bool:
    """Return whether an RDB ends before its first database."""
    cursor = Cursor(file, size, time.monotonic() + 1)
    cursor.go(HEAD_BYTES)
    with contextlib.suppress(Broken, OutOfTime):
        return next(item.kind for item in iter(cursor.item, None) if item.kind != "aux") == "eof"
    return False


def _folder(directory: int, name: str) -> t.Optional[Store]:
    """Return the append-only directory *name*, None for any other directory."""
    try:
        inner = os.open(name, FOLDER, dir_fd=directory)
    except OSError:
        return None
    try:
        facts = {one: os.stat(one, dir_fd=inner, follow_symlinks=False) for one in os.listdir(inner)}
        files = {one: seen for one, seen in facts.items() if _PART.search(one) and stat.S_ISREG(seen.st_mode)}
        hollow = all(_is_hollow(inner, one, seen.st_size) for one, seen in files.items())
    finally:
        os.close(inner)
    manifest = next((one[: -len(".manifest")] for one in sorted(facts) if one.endswith(".manifest")), "")
    if not manifest and not files:
        return None
    stem = manifest or _PART.split(max(files))[0]
    written = max((seen.st_mtime for seen in files.values()), default=0.0)
    return Store("aof", name, sum(seen.st_size for seen in files.values()), written, file=stem, hollow=hollow)


def _is_hollow(folder: int, name: str, size: int) -> bool:
    if not size:
        return True
    with contextlib.suppress(OSError), os.fdopen(open_regular(name, folder), "rb") as file:
        return is_rdb(file.read(9)) and name.endswith(".rdb") and _keyless(file, size)
    return False


def loaded_of(stores: t.Sequence[Store], source: str, settings: Settings) -> t.Optional[Store]:
    """Return the set of data that a start with *settings* would load, None for none. Pure."""
    folder, aof, rdb = (name_in(settings, key) for key in ("appenddirname", "appendfilename", "dbfilename"))
    if source == "rdb":
        return next((one for one in stores if one.kind == "rdb" and one.name == rdb), None)
    inside = next((one for one in stores if one.kind == "aof" and one.name == folder and one.file == aof), None)
    return inside or next((one for one in stores if one.kind == "aof" and one.name == aof), None)


def newer_than(loaded: t.Optional[Store], stores: t.Sequence[Store]) -> t.List[Store]:
    """Return the sets of data that were written after *loaded*, latest first; all that may hold a key where nothing is loaded. Pure."""
    others = [one for one in stores if one != loaded and not one.hollow]
    if loaded is not None:
        others = [one for one in others if _is_newer(one, loaded)]
    return sorted(others, key=lambda one: -one.last)


def _is_newer(one: Store, loaded: Store) -> bool:
    if one.kind == "rdb" and loaded.kind == "rdb":
        # A copy says of itself what the original says.
        same = one.last == loaded.last
        return one.last > loaded.last if not same else one.bytes != loaded.bytes and one.written > loaded.written
    if loaded.kind == "rdb":
        # A save holds what was written when it began, a whole second; its file is older than a command that came after it.
        return one.written > loaded.written or (loaded.taken is not None and int(one.written) > loaded.taken)
    # A save says its second only; whether it holds what the append-only file never had is then asked of the names in it.
    return one.written > loaded.written if one.kind == "aof" else one.last >= int(loaded.written)


def lacking(directory: int, rdb: Store, aof: t.Sequence[str], keys: int, end: float) -> t.Optional[int]:
    """Return how many keys of an RDB the files of an append-only file (paths, in their order) never name; None if it cannot be known.

    Whatever is in an RDB was written to the append-only file first, if that was on. Raises OutOfTime.
    """
    step = max(1, keys // MOST_KEYS)
    try:
        left = _keys_of(directory, rdb.name, step, end)
        for path in aof:
            if not left:
                break
            with _opened(directory, path) as file:
                if is_rdb(file.read(9)):
                    left -= set(_walked(file, step, end))
                else:
                    file.seek(0)
                    _strike(file, left, end)
    except (Broken, OSError, ValueError):
        return None
    return len(left) * step


def _opened(directory: int, path: str) -> t.BinaryIO:
    folder, dummy, name = path.rpartition("/")
    inner = os.open(folder, FOLDER, dir_fd=directory) if folder else os.dup(directory)
    try:
        return os.fdopen(open_regular(name, inner), "rb", buffering=256 * 1024)
    finally:
        os.close(inner)


def _keys_of(directory: int, path: str, step: int, end: float) -> t.Set[bytes]:
    with _opened(directory, path) as file:
        return set(_walked(file, step, end))


def _walked(file: t.BinaryIO, step: int, end: float) -> t.Iterator[bytes]:
    """Yield the names of the keys of an RDB, of every *step*-th by its hash. Leaves the file behind it. Raises Broken, OutOfTime."""
    cursor = Cursor(file, os.fstat(file.fileno()).st_size, end)
    cursor.go(HEAD_BYTES)
    for turn, item in enumerate(iter(cursor.item, None)):
        cursor.tick(turn)
        if item.kind == "eof":
            file.seek(cursor.at)
            return
        if item.kind == "key" and (step == 1 or zlib.crc32(item.value) % step == 0):
            yield item.value


def _strike(file: t.BinaryIO, left: t.Set[bytes], end: float) -> None:
    """Take every word of the commands from here on out of *left*. Raises OutOfTime, ValueError where it is no command."""
    for turn, line in enumerate(iter(file.readline, b"")):
        if turn % 4096 == 0 and time.monotonic() > end:
            raise OutOfTime
        if line[:1] == b"#":
            continue
        for _index in range(int(line[1:])):
            length = int(file.readline(SMALL)[1:])
            if length > SMALL:
                file.seek(length + 2, os.SEEK_CUR)
                continue
            left.discard(file.read(length + 2)[:-2])
        if not left:
            return


def outdated_text(loaded: t.Optional[Store], best: Store, short: t.Optional[int] = None) -> str:
    """Return what is wrong with a start while *best* lies beside *loaded*."""
    beside = "%s (last written %s)" % (one_line(best.name, 60), _clock(best.last))
    if loaded is None:
        return "a start would load nothing and ignore %s, %d bytes" % (beside, best.bytes)
    known = "; at least %d keys are only there" % short if short else ""
    return "a start would load %s (last written %s) and ignore %s, which is newer%s" % (
        one_line(loaded.name, 60), _clock(loaded.last), beside, known,
    )  # fmt: skip


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
