# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hashed copy of a data directory: made beside its name, read again, and only then given its name.

The copy holds what the directory held and nothing more; its manifest (sha256, mode, owner and time of each file) lies beside it
as ``<copy>.manifest.json``. Links are never followed, and what is no plain data refuses the copy. The original is only read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import is_full

CHUNK = 1024 * 1024
# Space to leave free on the copy's file system for other writers.
MARGIN_BYTES = 64 * 1024 * 1024
MANIFEST = ".manifest.json"
MANIFEST_BYTES = 64 * 1024 * 1024
PARTIAL = ".partial"
MOST_ENTRIES = 20000
MOST_LEVELS = 8
# What put_back of redis_install needs, and what the file system keeps for itself: no start loads either.
ASIDE = ("before-", "lost+found")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class CopyRefused(Exception):
    """No copy was made and no part of it is left; ``code`` is one of the catalogue of refusals."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Tree(t.NamedTuple):
    """What a directory holds, as seen at one moment: facts by relative name; ``strange`` has the reasons against a copy."""

    top: os.stat_result
    files: dict[str, os.stat_result]
    folders: dict[str, os.stat_result]
    skipped: list[str]
    strange: list[str]


def copy_tree(source: str, dest: str, end: float, live: bool = False) -> dict[str, t.Any]:
    """Copy directory *source* to *dest*; return {path, source, files, folders, bytes, sha256, consistent, skipped}.

    *files* is a list of {name, bytes, sha256, mode, uid, gid, mtime}; *end* is a monotonic time. With *live* files may change
    meanwhile (then ``consistent`` is False), else that refuses the copy. A whole copy that is already there is taken as it is.
    Raises CopyRefused.
    """
    dest = os.path.abspath(dest)
    with _folder(source) as top:
        before = load_tree(top, end)
        _judge_tree(before)
        earlier = None if live else _earlier(source, dest, before, end)
        if earlier:
            return earlier
        _judge_place(dest, before)
        made = _made(top, dest, before, end, live)
        after = load_tree(top, end)
    consistent = made["same"] and _marks(before) == _marks(after)
    if not consistent and not live:
        _remove(dest + PARTIAL)
        raise CopyRefused("state_not_handled", "the data directory changed during the copy: something is writing to %s" % _shown(source))
    return _named(source, dest, before, made["files"], consistent)


def same_copy(source: str, places: t.Iterable[str], end: float) -> t.Optional[dict[str, t.Any]]:
    """Return what ``copy_tree`` returned for the first of *places* that holds a whole copy of *source* as it is now, None for none.

    Raises CopyRefused.
    """
    with _folder(source) as top:
        tree = load_tree(top, end)
        return next((found for found in (_earlier(source, place, tree, end) for place in places) if found), None)


def verify_copy(dest: str, end: t.Optional[float] = None) -> list[str]:
    """Read the copy again; return how it differs from its manifest, [] where it does not. Raises CopyRefused when *end* is over."""
    limit = end if end is not None else float("inf")
    manifest = _load_manifest(dest)
    if manifest is None:
        return ["there is no manifest that can be read: %s" % _shown(dest + MANIFEST)]
    try:
        with _folder(dest) as top:
            return _differences(top, manifest, limit)
    except CopyRefused as error:
        if error.code == "bad_input":
            return [error.text]
        raise


def load_tree(top: int, end: float) -> Tree:
    """Return what lies below the open directory *top*. Raises CopyRefused for what cannot be listed in time."""
    tree = Tree(os.fstat(top), {}, {}, [], [])
    _list(top, "", tree, end)
    return tree


def _list(folder: int, prefix: str, tree: Tree, end: float) -> None:
    for name in sorted(os.listdir(folder)):
        _in_time(end)
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not prefix and name.startswith(ASIDE) and stat.S_ISDIR(facts.st_mode):
            tree.skipped.append(name)
            continue
        _enter(folder, prefix + name, facts, tree, end)


def _enter(folder: int, path: str, facts: os.stat_result, tree: Tree, end: float) -> None:
    name = path.rpartition("/")[2]
    if not path.isprintable():
        tree.strange.append("a name that is no plain text: %s" % one_line(path, 80))
    elif stat.S_ISSOCK(facts.st_mode):
        # A socket is an address, not data.
        tree.skipped.append(path)
    elif stat.S_ISREG(facts.st_mode):
        tree.files[path] = facts
    elif not stat.S_ISDIR(facts.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(facts.st_mode) else "no regular file"
        tree.strange.append("%s is %s" % (one_line(path, 80), kind))
    elif path.count("/") >= MOST_LEVELS or len(tree.files) + len(tree.folders) > MOST_ENTRIES:
        tree.strange.append("it is deeper or holds more than any data directory of Redis: %s" % one_line(path, 80))
    else:
        tree.folders[path] = facts
        with _opened(name, folder, path) as inner:
            _list(inner, path + "/", tree, end)


def open_below(top: int, path: str, flags: int, mode: int = 0o600) -> int:
    """Open *path* below the open directory *top*, where no part of it may be a link; return the descriptor. Raises OSError."""
    *folders, name = path.split("/")
    at = top
    try:
        for folder in folders:
            inner = os.open(folder, _FOLDER, dir_fd=at)
            if at != top:
                os.close(at)
            at = inner
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
    finally:
        if at != top:
            os.close(at)


@contextlib.contextmanager
def _opened(name: str, folder: int, path: str) -> t.Iterator[int]:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        raise CopyRefused("data_damaged", "cannot open the directory %s: %s" % (one_line(path, 80), error.strerror)) from None
    try:
        yield inner
    finally:
        os.close(inner)


@contextlib.contextmanager
def _folder(path: str) -> t.Iterator[int]:
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = one_line(getattr(error, "strerror", None) or error, 80)
        raise CopyRefused("bad_input", "cannot open the directory %s: %s" % (_shown(path), why)) from None
    try:
        yield top
    finally:
        os.close(top)


def _judge_tree(tree: Tree) -> None:
    """Raise CopyRefused for a tree with anything but plain data of one owner."""
    if tree.strange:
        raise CopyRefused("data_damaged", "the data directory contains files that are not Redis data: %s" % "; ".join(tree.strange[:3]))
    owners: dict[int, str] = {} if tree.top.st_uid == 0 else {tree.top.st_uid: "the directory"}
    for name, facts in [*tree.folders.items(), *tree.files.items()]:
        owners.setdefault(facts.st_uid, one_line(name, 80))
    if len(owners) > 1:
        whose = ", ".join("%s belongs to user %d" % (name, uid) for uid, name in list(owners.items())[:3])
        raise CopyRefused("data_damaged", "the data directory holds files of several owners: %s" % whose)


def _judge_place(dest: str, tree: Tree) -> None:
    """Raise CopyRefused where the copy has no place: its name is taken, its parent is not ours, no space."""
    for path in (dest, dest + PARTIAL):
        if os.path.lexists(path):
            raise CopyRefused("bad_input", "%s already exists and is not a complete copy of this data" % _shown(path))
    parent = os.path.dirname(dest)
    try:
        os.makedirs(parent, mode=0o700, exist_ok=True)
        facts, space = os.lstat(parent), os.statvfs(parent)
    except OSError as error:
        raise _unwritable(parent, error) from None
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise CopyRefused("bad_input", "%s must be a directory that we own and nobody else can write to" % _shown(parent))
    needed, free = sum(one.st_size for one in tree.files.values()) + MARGIN_BYTES, space.f_bavail * space.f_frsize
    if free < needed:
        raise CopyRefused("no_room", "a copy of the data needs %d bytes and %s has %d free" % (needed, _shown(parent), free))
    if space.f_files and space.f_favail < len(tree.files) + len(tree.folders) + 16:
        raise CopyRefused("no_room", "%s has no inodes left for a copy of the data" % _shown(parent))


def _made(top: int, dest: str, tree: Tree, end: float, live: bool) -> dict[str, t.Any]:
    """Write the partial copy; return {files, same}. Raises CopyRefused, and then nothing is left."""
    partial = dest + PARTIAL
    try:
        os.mkdir(partial, 0o700)
    except OSError as error:
        raise _unwritable(partial, error) from None
    try:
        with _folder(partial) as to:
            return _copy_all(top, to, tree, end, live)
    except OSError as error:
        _remove(partial)
        raise _unwritable(partial, error) from None
    except BaseException:
        _remove(partial)
        raise


def _copy_all(top: int, to: int, tree: Tree, end: float, live: bool) -> dict[str, t.Any]:
    for name in sorted(tree.folders):
        os.mkdir(name, 0o700, dir_fd=to)
    files, same = [], True
    for name, facts in sorted(tree.files.items()):
        one = _copy_one(top, to, name, facts, end, live)
        same = same and one is not None and one["same"]
        if one is not None:
            files.append(one["file"])
    for name in sorted(tree.folders, reverse=True):
        _dress(to, name, tree.folders[name])
    _dress(to, ".", tree.top)
    return {"files": files, "same": same}


def _copy_one(top: int, to: int, name: str, seen: os.stat_result, end: float, live: bool) -> t.Optional[dict[str, t.Any]]:
    """Copy one file and read the copy again; return {file, same}, None if it has disappeared meanwhile."""
    reader = _open_file(top, name, live)
    if reader is None:
        return None
    try:
        facts = os.fstat(reader)
        if not stat.S_ISREG(facts.st_mode) or (facts.st_ino != seen.st_ino and not live):
            raise CopyRefused("state_not_handled", "%s was replaced while it was copied" % one_line(name, 80))
        writer = open_below(to, name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            done, digest = _stream(reader, writer, name, facts.st_size, end)
            _dress_open(writer, facts)
            os.fsync(writer)
            _read_again(writer, name, done, digest, end)
        finally:
            os.close(writer)
        same = done == facts.st_size and _mark(os.fstat(reader)) == _mark(facts) == _mark(seen)
    finally:
        os.close(reader)
    return {"file": _entry(name, facts, done, digest), "same": same}


def _open_file(top: int, name: str, live: bool) -> t.Optional[int]:
    try:
        return open_below(top, name, _READ)
    except FileNotFoundError:
        if live:
            return None
        raise CopyRefused("state_not_handled", "%s disappeared while the data was copied" % one_line(name, 80)) from None
    except OSError as error:
        raise CopyRefused("data_damaged", "%s cannot be opened: %s" % (one_line(name, 80), error.strerror)) from None


def _stream(reader: int, writer: int, name: str, size: int, end: float) -> tuple[int, str]:
    """Write at most *size* bytes; return how many there were, and their sha256."""
    digest, left = hashlib.sha256(), size
    while left:
        _in_time(end)
        try:
            chunk = os.read(reader, min(CHUNK, left))
        except OSError as error:
            text = "%s cannot be read at byte %d: %s" % (one_line(name, 80), size - left, error.strerror)
            raise CopyRefused("data_damaged", text) from None
        if not chunk:
            break
        digest.update(chunk)
        left -= len(chunk)
        _write(writer, chunk)
    return size - left, digest.hexdigest()


def _write(writer: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(writer, view) :]


def _read_again(writer: int, name: str, size: int, digest: str, end: float) -> None:
    # From the disk, as far as the kernel lets go of what it has just written.
    os.posix_fadvise(writer, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(writer, 0, os.SEEK_SET)
    found, count = _digest(writer, end)
    if (found, count) != (digest, size):
        text = "the copy of %s does not match what was written: do not trust its disk" % one_line(name, 80)
        raise CopyRefused("data_damaged", text)


def _digest(descriptor: int, end: float) -> tuple[str, int]:
    digest, count = hashlib.sha256(), 0
    for chunk in iter(lambda: os.read(descriptor, CHUNK), b""):
        _in_time(end)
        digest.update(chunk)
        count += len(chunk)
    return digest.hexdigest(), count


def _dress_open(descriptor: int, facts: os.stat_result) -> None:
    """Give a copy the owner, mode and time of its original; only root may give files away."""
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, facts.st_uid, facts.st_gid)
    os.fchmod(descriptor, facts.st_mode & 0o777)
    os.utime(descriptor, ns=(facts.st_mtime_ns, facts.st_mtime_ns))


def _dress(to: int, name: str, facts: os.stat_result) -> None:
    inner = open_below(to, name, _FOLDER)
    try:
        _dress_open(inner, facts)
        os.fsync(inner)
    finally:
        os.close(inner)


def _entry(name: str, facts: os.stat_result, size: int, digest: str) -> dict[str, t.Any]:
    return {
        "name": name, "bytes": size, "sha256": digest, "mode": "%04o" % (facts.st_mode & 0o777),
        "uid": facts.st_uid, "gid": facts.st_gid, "mtime": facts.st_mtime,
    }  # fmt: skip


def _named(source: str, dest: str, tree: Tree, files: list[dict[str, t.Any]], consistent: bool) -> dict[str, t.Any]:
    """Write the manifest and give the partial copy its name; return the manifest."""
    manifest = {
        "path": dest, "source": os.path.abspath(source), "files": files, "folders": sorted(tree.folders),
        "bytes": sum(one["bytes"] for one in files), "sha256": whole_digest(files), "consistent": consistent, "skipped": tree.skipped,
    }  # fmt: skip
    try:
        _write_manifest(dest, manifest)
        os.rename(dest + PARTIAL, dest)
        sync_folder(os.path.dirname(dest))
    except OSError as error:
        _remove(dest + PARTIAL)
        raise _unwritable(dest, error) from None
    return manifest


def whole_digest(files: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Return one sha256 for all *files*: of their lines of digest and name, sorted by name."""
    lines = ["%s  %s\n" % (one["sha256"], one["name"]) for one in sorted(files, key=lambda one: str(one["name"]))]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _write_manifest(dest: str, manifest: t.Mapping[str, t.Any]) -> None:
    path = dest + MANIFEST
    descriptor = os.open(path + PARTIAL, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + PARTIAL, path)


def _load_manifest(dest: str) -> t.Optional[dict[str, t.Any]]:
    """Return the manifest of a copy, None where none can be read."""
    try:
        descriptor = os.open(dest + MANIFEST, _READ)
        with os.fdopen(descriptor, "rb") as file:
            found = json.loads(file.read(MANIFEST_BYTES).decode("utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and isinstance(found.get("files"), list) and all(isinstance(one, dict) for one in found["files"])
    return found if whole else None


def _earlier(source: str, dest: str, tree: Tree, end: float) -> t.Optional[dict[str, t.Any]]:
    """Return the manifest of a complete copy of the same data at *dest*, None if there is none."""
    manifest = _load_manifest(dest) if os.path.isdir(dest) and not os.path.islink(dest) else None
    if manifest is None or manifest.get("source") != os.path.abspath(source) or not manifest.get("consistent"):
        return None
    now = sorted((name, facts.st_size, facts.st_mtime) for name, facts in tree.files.items())
    then = sorted((str(one.get("name")), one.get("bytes"), one.get("mtime")) for one in manifest["files"])
    return manifest if now == then and not verify_copy(dest, end) else None


def _differences(top: int, manifest: t.Mapping[str, t.Any], end: float) -> list[str]:
    tree = load_tree(top, end)
    found = list(tree.strange)
    wanted = {str(one.get("name")): one for one in manifest["files"]}
    found += ["%s is not in the manifest" % one_line(name, 80) for name in sorted(tree.files) if name not in wanted]
    for name, one in sorted(wanted.items()):
        if name not in tree.files:
            found.append("%s is missing" % one_line(name, 80))
        else:
            found += _difference(top, name, one, end)
    if whole_digest(_digested(wanted.values())) != manifest.get("sha256"):
        found.append("the manifest does not agree with itself")
    return found


def _digested(files: t.Iterable[t.Mapping[str, t.Any]]) -> list[dict[str, str]]:
    return [{"name": str(one.get("name")), "sha256": str(one.get("sha256"))} for one in files]


def _difference(top: int, name: str, wanted: t.Mapping[str, t.Any], end: float) -> list[str]:
    try:
        descriptor = open_below(top, name, _READ)
        try:
            digest, count = _digest(descriptor, end)
        finally:
            os.close(descriptor)
    except OSError as error:
        return ["%s cannot be read: %s" % (one_line(name, 80), error.strerror)]
    return [] if (digest, count) == (wanted.get("sha256"), wanted.get("bytes")) else ["%s differs from the manifest" % one_line(name, 80)]


def sync_folder(path: str) -> None:
    """Write a directory's names to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _marks(tree: Tree) -> dict[str, tuple[int, ...]]:
    return {name: _mark(facts) for name, facts in tree.files.items()}


def _mark(facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _in_time(end: float) -> None:
    if time.monotonic() > end:
        raise CopyRefused("state_not_handled", "copying the data ran out of time; allow more")


def _unwritable(path: str, error: OSError) -> CopyRefused:
    code = "no_room" if is_full(error) else "bad_input"
    return CopyRefused(code, "the copy cannot be written to %s: %s" % (_shown(path), one_line(error.strerror or error, 80)))


def _remove(partial: str) -> None:
    shutil.rmtree(partial, ignore_errors=True)


def _shown(path: t.Any) -> str:
    return one_line(path, 80)
