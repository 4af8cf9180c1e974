# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files below an open directory, without following links: nobody who can write there can lead us out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def below(top: int, path: str, make: bool = False) -> t.Iterator[tuple[int, str]]:
    """Yield (descriptor of the folder, name) of *path* below the open directory *top*; no part is ever a link. Raises OSError."""
    *folders, name = path.split("/")
    opened = [top]
    try:
        for folder in folders:
            if make:
                make_folder(opened[-1], folder)
            opened.append(os.open(folder, FOLDER, dir_fd=opened[-1]))
        yield opened[-1], name
    finally:
        for descriptor in opened[1:]:
            os.close(descriptor)


def make_folder(parent: int, name: str) -> None:
    """Create a directory of our own if it does not exist. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fsync(parent)


def make_private(path: str) -> None:
    """Make a directory and those above it that are missing, all of them closed to others (0700). Raises OSError.

    ``os.makedirs`` gives its mode to the last one only, and another remedy would refuse the open one above it.
    """
    parent = os.path.dirname(path.rstrip("/"))
    if parent and not os.path.isdir(parent):
        make_private(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)


def open_regular(path: str, top: t.Optional[int] = None) -> int:
    """Return the descriptor of a regular file, opened for reading and never through a link. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=top)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


def facts_of(top: int, path: str) -> t.Optional[os.stat_result]:
    """Return the stat of *path*, None where nothing is there."""
    try:
        with below(top, path) as (folder, name):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextlib.contextmanager
def opened_folder(path: str) -> t.Iterator[int]:
    """Yield the open directory *path*. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_new(top: int, path: str, content: bytes, owner: t.Optional[tuple[int, int, int]] = None) -> None:
    """Write a small file and its directory to the disk. Raises OSError."""
    with below(top, path, make=True) as (folder, name):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if owner:
                give(descriptor, owner)
            os.fsync(descriptor)
        os.fsync(folder)


def is_full(error: OSError) -> bool:
    """Return whether *error* says that the disk or the quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def give(descriptor: int, owner: tuple[int, int, int]) -> None:
    """Set (user, group, mode) of an open file; only root may give it away. Raises OSError."""
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, owner[0], owner[1])
    os.fchmod(descriptor, owner[2])
