# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the data files of a stopped Redis, read-only and in place, before anything may start it.

The verdict is that of the worst file that Redis would load: valid; tail_cut (only the end of the last incremental file is bad); damaged;
missing (a needed file is missing while others exist); empty (no data at all); unjudged. See ``rdb/data.py`` for what lies beside them.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import is_rdb, name_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import (
    OutOfTime,
    Scan,
    goes_on_after,
    run_tool,
    scan_rdb,
    scan_resp,
    tool,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import open_regular

FileResult = t.Dict[str, t.Any]
Settings = t.Mapping[str, t.Any]

WORST_FIRST = ("damaged", "missing", "newer", "outdated", "unjudged", "tail_cut", "valid")
# Above this size Redis' own checker runs first: it is several times faster than Python.
LARGE = 32 * 1024 * 1024
MANIFEST_BYTES = 1024 * 1024
_OK_UP_TO = re.compile(rb"size=\d+, ok_up_to=(\d+),")


class Refused(Exception):
    """A file may not be read: it is missing, a link, or not a regular file. ``verdict`` is what that means for the data."""

    def __init__(self, verdict: str, detail: str) -> None:
        super().__init__(detail)
        self.verdict = verdict


class _Part(t.NamedTuple):
    """A line of a manifest: the file's name, its type (b, h or i) and its number."""

    name: str
    kind: str
    number: int


def judge_files(data_dir: str, settings: Settings, deadline: float) -> dict[str, t.Any]:
    """Return {verdict, source, proof, files, expected_keys, detail, seconds} of what Redis would load from *data_dir*.

    *settings* are those of redis.conf (appendonly, appenddirname, appendfilename, dbfilename), {} if unknown;
    *deadline* is in seconds. Never raises.
    """
    begun = time.monotonic()
    try:
        directory = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, ValueError) as error:
        why = one_line(getattr(error, "strerror", None) or error, 80)
        return _result("unjudged", "", [], "cannot open the data directory: %s" % why, begun)
    try:
        source, files, detail = _judge(directory, settings, begun + deadline)
    except OSError as error:
        source, files, detail = "", [entry("", "", 0, "unjudged", one_line(error, 100))], "cannot read the data directory"
    finally:
        os.close(directory)
    return _result(combined(files), source, files, detail, begun)


def fingerprint(data_dir: str, settings: Settings) -> list[t.Any]:
    """Return names, sizes and times of everything in the data directory; the same list means the same verdict."""
    seen: list[t.Any] = []
    for path in (data_dir, os.path.join(data_dir, name_in(settings, "appenddirname"))):
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    facts = entry.stat(follow_symlinks=False)
                    seen.append([entry.path, facts.st_size, facts.st_mtime_ns, facts.st_ino])
        except OSError:
            seen.append([path])
    return sorted(seen)


def changed_at(data_dir: str, settings: Settings) -> float:
    """Return when a data file was last added or changed (ctime, seconds since the epoch), 0 for none."""
    newest = 0.0
    for path in (data_dir, os.path.join(data_dir, name_in(settings, "appenddirname"))):
        try:
            with os.scandir(path) as entries:
                times = [entry.stat(follow_symlinks=False).st_ctime for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError:
            continue
        newest = max([newest, *times])
    return newest


def _result(verdict: str, source: str, files: list[FileResult], detail: str, begun: float) -> dict[str, t.Any]:
    proofs = sorted({one["proof"] for one in files if one["proof"]})
    # The number of keys is known only if an RDB is the only file.
    whole = [one for one in files if one["bytes"] and one["kind"] != "manifest"]
    keys = whole[0]["keys"] if len(whole) == 1 and verdict == "valid" else None
    seconds = round(time.monotonic() - begun, 3)
    return {
        "verdict": verdict, "source": source, "proof": "+".join(proofs), "files": files, "expected_keys": keys,
        "detail": detail, "seconds": seconds,
    }  # fmt: skip


def combined(files: t.Sequence[FileResult]) -> str:
    """Return the worst verdict on *files*, empty for none."""
    seen = {one["verdict"] for one in files}
    return next((verdict for verdict in WORST_FIRST if verdict in seen), "empty")


def _judge(directory: int, settings: Settings, end: float) -> tuple[str, list[FileResult], str]:
    aof, folder, rdb = (name_in(settings, key) for key in ("appendfilename", "appenddirname", "dbfilename"))
    there = set(os.listdir(directory))
    wanted = str(settings.get("appendonly") or "").lower()
    if wanted == "no" or (not wanted and folder not in there and aof not in there):
        return "rdb", [_one(directory, rdb, "rdb", end)] if rdb in there else [], "" if rdb in there else "no data file at all"
    if folder in there and not _is_taken_over(directory, folder, aof):
        return "aof", _multi_part(directory, folder, aof, rdb in there, end), ""
    if aof in there:
        return "aof", [_one(directory, aof, "aof", end, last=True)], ""
    if rdb in there and os.stat(rdb, dir_fd=directory, follow_symlinks=False).st_size > 0:
        text = "the append-only directory is missing: on start Redis would ignore %s and come up empty" % one_line(rdb, 60)
        return "aof", [entry(folder, "directory", 0, "missing", text)], text
    return "aof", [], "no data file at all"


def _is_taken_over(directory: int, folder: str, aof: str) -> bool:
    """Return whether Redis would take over the single file of an older version: the directory for its own files is still empty."""
    try:
        if not stat.S_ISREG(os.stat(aof, dir_fd=directory, follow_symlinks=False).st_mode):
            return False
        inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return False
    try:
        return not os.listdir(inner)
    finally:
        os.close(inner)


def _multi_part(directory: int, folder: str, aof: str, has_rdb: bool, end: float) -> list[FileResult]:
    try:
        inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    except OSError:
        return [entry(folder, "directory", 0, "unjudged", "the append-only directory is a symlink or cannot be opened")]
    try:
        names = set(os.listdir(inner))
        manifest = aof + ".manifest"
        if manifest in names:
            return _by_manifest(inner, manifest, end)
        if names or has_rdb:
            return [entry(manifest, "manifest", 0, "missing", "no manifest: on start Redis would come up empty and overwrite the base")]
        return []
    finally:
        os.close(inner)


def _by_manifest(inner: int, manifest: str, end: float) -> list[FileResult]:
    try:
        descriptor, size = _open(inner, manifest)
        with os.fdopen(descriptor, "rb") as file:
            parts = parse_manifest(file.read(MANIFEST_BYTES).decode("utf-8", "replace"), manifest)
    except Refused as error:
        return [entry(manifest, "manifest", 0, error.verdict, str(error))]
    results = [entry(manifest, "manifest", size, "valid", "", "framing")]
    loaded = [part for part in parts if part[1] != "h"]
    for index, (name, kind) in enumerate(loaded):
        last = index == len(loaded) - 1 and kind == "i"
        results.append(_one(inner, name, "base" if kind == "b" else "incremental", end, last))
    return results


def parse_manifest(text: str, own_name: str) -> list[tuple[str, str]]:
    """Return [(file name, type b|h|i)] in loading order. Raises Refused for anything that Redis would not write."""
    parts: list[_Part] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            parts.append(_manifest_part(line, {own_name, *[part.name for part in parts]}))
    bases = [part for part in parts if part.kind == "b"]
    numbers = [part.number for part in parts if part.kind == "i"]
    if len(bases) > 1 or not (bases or numbers) or numbers != sorted(set(numbers)):
        raise Refused("damaged", "the manifest is empty, has two bases, or its files are out of order")
    return [(part.name, part.kind) for part in bases + [part for part in parts if part.kind != "b"]]


def _manifest_part(line: str, taken: t.Collection[str]) -> _Part:
    words = _words(line)
    fields = dict(zip(words[::2], words[1::2]))
    name, kind, number = fields.get("file", ""), fields.get("type", ""), fields.get("seq", "")
    if len(words) % 2 or kind not in ("b", "h", "i") or not number.isdigit():
        raise Refused("damaged", "the manifest has an invalid line: %s" % one_line(line, 80))
    if name in ("", ".", "..") or "/" in name or name in taken:
        raise Refused("damaged", "the manifest names a forbidden file: %s" % one_line(name, 80))
    return _Part(name, kind, int(number))


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return [line]


def _open(directory: int, name: str) -> tuple[int, int]:
    """Open a regular file of *directory* itself, never through a link. Raises Refused."""
    try:
        descriptor = open_regular(name, directory)
    except FileNotFoundError:
        raise Refused("missing", "is missing") from None
    except OSError as error:
        raise Refused("unjudged", "is a symlink or cannot be opened: %s" % one_line(error.strerror or error, 60)) from None
    return descriptor, os.fstat(descriptor).st_size


def _one(directory: int, name: str, kind: str, end: float, last: bool = False) -> FileResult:
    size = 0
    try:
        descriptor, size = _open(directory, name)
        with os.fdopen(descriptor, "rb", buffering=256 * 1024) as file:
            if time.monotonic() > end:
                raise OutOfTime
            begins_as_rdb = is_rdb(file.read(9))
            if kind == "rdb" or (kind == "base" and begins_as_rdb):
                seen = scan_rdb(file, size, end)
                return dict(entry(name, kind, size, seen["verdict"], seen["detail"], seen["proof"]), keys=seen["keys"])
            if begins_as_rdb:
                return _mixed(file, name, size, end, last)
            return _framed(file, name, kind, size, end, last)
    except Refused as error:
        return entry(name, kind, size, error.verdict, str(error))
    except OutOfTime:
        return entry(name, kind, size, "unjudged", "ran out of time checking the files; allow more time")
    except OSError as error:
        return entry(name, kind, size, "damaged", "cannot be read: %s" % one_line(error.strerror or error, 60))


def _mixed(file: t.BinaryIO, name: str, size: int, end: float, last: bool) -> FileResult:
    """Judge an old single file: an RDB followed by commands. Only Redis' own checker finds where the RDB ends."""
    good_to = _by_checker(file, end)
    if good_to is None:
        found = "its RDB part cannot be read" if tool("check-aof") else "redis-check-aof is not installed"
        return entry(name, "aof", size, "damaged" if tool("check-aof") else "unjudged", found)
    return _framed(file, name, "aof", size, end, last, good_to)


def _framed(file: t.BinaryIO, name: str, kind: str, size: int, end: float, last: bool, start: int = 0) -> FileResult:
    if size > LARGE and not start:
        # No need to read again what the checker has accepted.
        start = _by_checker(file, end) or 0
    scan = scan_resp(file, size, end, start)
    if not scan.problem:
        return dict(entry(name, kind, size, "valid", "", "framing"), keys=0 if size == 0 else None)
    verdict = "tail_cut" if last and scan.problem == "cut" and not goes_on_after(file, size, scan.failed_at, end) else "damaged"
    return dict(entry(name, kind, size, verdict, _where(scan, size), "framing"), good_to=scan.good_to, lost_bytes=size - scan.good_to)


def _where(scan: Scan, size: int) -> str:
    return "%s at byte %d; good up to byte %d of %d" % (scan.detail, scan.failed_at, scan.good_to, size)


def _by_checker(file: t.BinaryIO, end: float) -> t.Optional[int]:
    """Return up to which byte redis-check-aof (without --fix) finds the file good, None if it does not say."""
    checker = tool("check-aof")
    if not checker:
        return None
    _code, output = run_tool([checker], file.fileno(), end)
    found = _OK_UP_TO.search(output)
    return int(found.group(1)) if found else None


def entry(name: str, kind: str, size: int, verdict: str, detail: str, proof: str = "") -> FileResult:
    """Return what was found of one file."""
    return {"name": one_line(name, 120), "kind": kind, "bytes": size, "verdict": verdict, "detail": detail, "proof": proof, "keys": None}
