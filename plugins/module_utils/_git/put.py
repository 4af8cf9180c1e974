# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes single files of a working copy, each by one rename, and removes others; the copy's owner cannot redirect us out of it.

A file keeps its owner, group and rights; a new one gets those that the plan found for it, else those of its folder. What is neither as it
was nor as it shall be is left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.look import EXEC, LINK, content_of, kind_of, state_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._git.run import native
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import FOLDER, below, facts_of, give

# A fixed name, so that the next run after a kill finds what was left.
PART = ".somabrain-return.part"

State = t.Tuple[str, str]
Rights = t.Sequence[int]


class Around(t.NamedTuple):
    """Of the folders above the files: (user, group, mode) of those that were there, and which may go when they become empty."""

    rights: t.Mapping[str, Rights]
    removable: t.Collection[str]


class Disturbed(Exception):
    """Someone else changed a file since; it was left as it is."""


class Wanted(t.NamedTuple):
    """What a name shall be: git's mode ("" for nothing), its bytes, and (user, group, mode), None for those that its place suggests."""

    mode: str
    content: bytes = b""
    rights: t.Optional[Rights] = None

    @property
    def state(self) -> State:
        return (self.mode, hashlib.sha256(self.content).hexdigest()) if self.mode else ("", "")


def rights_of(facts: os.stat_result) -> list[int]:
    return [facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)]


def put(top: int, name: str, wanted: Wanted, known: t.Sequence[State], around: Around) -> bool:
    """Make *name* what is wanted; return whether that changed it. Raises Disturbed if it is none of *known*, OSError."""
    now = state_of(top, name)
    if now == wanted.state:
        _tidy(top, name)
        # It went by an attempt that was killed before it came to the folders; a name that never was leaves them alone.
        if not wanted.mode and any(one[0] for one in known):
            _remove_empty(top, name, around.removable)
        return False
    if now not in [tuple(one) for one in known]:
        raise Disturbed("someone else changed %s since; it was left as it is" % one_line(name, 80))
    if not wanted.mode:
        _take_out(top, name)
        _remove_empty(top, name, around.removable)
        return True
    _make_folders(top, name, around.rights)
    with below(top, native(name)) as (folder, last):
        _write(folder, last, wanted)
    return True


def _tidy(top: int, name: str) -> None:
    """Remove what a killed attempt left beside *name* and beside the folders above it."""
    parts = name.split("/")
    for index in range(len(parts)):
        path = "/".join([*parts[:index], PART])
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), below(top, native(path)) as (folder, dummy):
            _clear(folder)


def _clear(folder: int) -> None:
    try:
        os.unlink(PART, dir_fd=folder)
    except IsADirectoryError:
        os.rmdir(PART, dir_fd=folder)
    except FileNotFoundError:
        return


def _take_out(top: int, name: str) -> None:
    with below(top, native(name)) as (folder, last):
        os.unlink(last, dir_fd=folder)
        os.fsync(folder)
    _tidy(top, name)


def _remove_empty(top: int, name: str, removable: t.Collection[str]) -> None:
    """Remove those of the *removable* folders above *name* that hold nothing any more."""
    parent = name.rpartition("/")[0]
    while parent in removable:
        try:
            with below(top, native(parent)) as (folder, last):
                os.rmdir(last, dir_fd=folder)
        except FileNotFoundError:
            pass
        except OSError:
            return
        parent = parent.rpartition("/")[0]


def _make_folders(top: int, name: str, folders: t.Mapping[str, Rights]) -> None:
    parts = name.split("/")[:-1]
    for index in range(1, len(parts) + 1):
        path = "/".join(parts[:index])
        if facts_of(top, native(path)) is not None:
            continue
        with below(top, native(path)) as (folder, last):
            rights = folders.get(path) or rights_of(os.fstat(folder))
            _clear(folder)
            os.mkdir(PART, 0o700, dir_fd=folder)
            made = os.open(PART, FOLDER, dir_fd=folder)
            try:
                give(made, (rights[0], rights[1], rights[2]))
            finally:
                os.close(made)
            os.rename(PART, last, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)


def _write(folder: int, last: str, wanted: Wanted) -> None:
    there = _facts(last, folder)
    if there is not None and stat.S_ISDIR(there.st_mode):
        # What it held has been taken out; where something is left the rename is refused.
        with contextlib.suppress(OSError):
            os.rmdir(last, dir_fd=folder)
        there = None
    rights = wanted.rights or suggested(wanted.mode, there, os.fstat(folder))
    _clear(folder)
    if wanted.mode == LINK:
        os.symlink(os.fsdecode(wanted.content), PART, dir_fd=folder)
        with contextlib.suppress(PermissionError):
            os.chown(PART, rights[0], rights[1], dir_fd=folder, follow_symlinks=False)
    else:
        _write_file(folder, wanted.content, rights)
    os.rename(PART, last, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)


def _write_file(folder: int, content: bytes, rights: Rights) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(PART, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        give(file.fileno(), (rights[0], rights[1], rights[2] & 0o777))
        os.fsync(file.fileno())


def suggested(mode: str, there: t.Optional[os.stat_result], folder: os.stat_result) -> list[int]:
    """Return the rights for what comes: those of the file in whose place it comes, else what the folder lets others do."""
    if there is not None and stat.S_ISREG(there.st_mode):
        user, group, bits = rights_of(there)
        return [user, group, bits | (bits & 0o444) >> 2 if mode == EXEC else bits & ~0o111]
    bits = (folder.st_mode & 0o755 & (0o777 if mode == EXEC else 0o666)) | 0o600
    return [folder.st_uid, folder.st_gid, bits]


def _facts(last: str, folder: int) -> t.Optional[os.stat_result]:
    try:
        return os.stat(last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def blocked(top: int, name: str, leaving: t.Collection[str]) -> str:
    """Return what blocks a file *name* and is not in *leaving*, "" for nothing."""
    parts = name.split("/")
    for index in range(1, len(parts)):
        parent = "/".join(parts[:index])
        if kind_of(facts_of(top, native(parent))) not in ("", "040000"):
            return "" if parent in leaving else parent
    facts = facts_of(top, native(name))
    if facts is None or name in leaving:
        return ""
    return _inside(top, name, leaving) if stat.S_ISDIR(facts.st_mode) else name


def _inside(top: int, name: str, leaving: t.Collection[str]) -> str:
    """Return the first thing in the folder *name* that is not leaving; empty folders block nothing."""
    with below(top, native(name) + "/.") as (folder, dummy):
        inside = sorted(os.listdir(folder))
    for one in inside:
        path = name + "/" + os.fsencode(one).decode("utf-8", "surrogateescape")
        kind = kind_of(facts_of(top, native(path)))
        found = _inside(top, path, leaving) if kind == "040000" else "" if path in leaving else path
        if found:
            return found
    return ""


def kept(top: int, name: str) -> tuple[State, t.Optional[list[int]], bytes]:
    """Return (state, rights, bytes) of what lies at *name* now; nothing is (("", ""), None, b"")."""
    facts = facts_of(top, native(name))
    kind = kind_of(facts)
    if facts is None or kind in ("040000", "other"):
        return ("" if kind != "other" else kind, ""), None, b""
    content = content_of(top, name)
    return (kind, hashlib.sha256(content).hexdigest()), rights_of(facts), content
