# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The id of a release directory: the SHA-256 of its whole content, which names it and proves it unchanged."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import typing as t

# Python writes these when a release runs; they do not belong to it.
LEFT_OUT = frozenset(["__pycache__"])
DESCRIPTOR = "release.json"
CHUNK = 1 << 20


class NotReadable(Exception):
    """The directory cannot be read as a release: gone, out of time, or with something in it that is neither file, link nor directory."""


def content_id(folder: str, out_of_time: t.Callable[[], bool] = lambda: False, without: t.Collection[str] = ()) -> str:
    """Return the id of what *folder* holds: paths, content, whether a file is executable, and where links point.

    What is named in *without* and lies directly in *folder* is not part of it. Raises NotReadable.
    """
    total = hashlib.sha256()
    left_out = frozenset(os.fsencode(name) for name in without)
    try:
        for name, kind, digest in _entries(os.fsencode(folder), b"", out_of_time):
            if name.split(b"/", 1)[0] in left_out:
                continue
            # Lengths keep two adjacent names from being read as one.
            total.update(b"%s %d:%s %d:%s\n" % (kind, len(name), name, len(digest), digest))
    except OSError as error:
        raise NotReadable("%s cannot be read: %s" % (folder, error.strerror)) from None
    return total.hexdigest()


def latest(folder: str, most: int = 3) -> list[str]:
    """Return the files in *folder* that were changed last, latest first, by their path in it: what a service wrote into its release."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if one not in LEFT_OUT]
        for name in files:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):
                found.append((-os.lstat(path).st_mtime, os.path.relpath(path, folder)))
    return [path for _at, path in sorted(found)[:most]]


def _entries(top: bytes, inside: bytes, out_of_time: t.Callable[[], bool]) -> t.Iterator[tuple[bytes, bytes, bytes]]:
    with os.scandir(os.path.join(top, inside)) as listed:
        found = sorted(listed, key=lambda one: one.name)
    for one in found:
        if out_of_time():
            raise NotReadable("%s could not be read in time" % os.fsdecode(top))
        name = os.path.join(inside, one.name)
        if one.is_symlink():
            yield name, b"l", os.readlink(one.path)
        elif one.is_dir():
            if os.fsdecode(one.name) not in LEFT_OUT:
                yield name, b"d", b""
                yield from _entries(top, name, out_of_time)
        elif stat.S_ISREG(one.stat(follow_symlinks=False).st_mode):
            kind = b"x" if one.stat(follow_symlinks=False).st_mode & 0o100 else b"f"
            yield name, kind, _digest(one.path, out_of_time)
        else:
            raise NotReadable("%s is neither a file, a link nor a directory" % os.fsdecode(one.path))


def _digest(path: bytes, out_of_time: t.Callable[[], bool]) -> bytes:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            found.update(chunk)
            if out_of_time():
                raise NotReadable("%s could not be read in time" % os.fsdecode(path))
    return found.digest()


def migrations_of(folder: str) -> str:
    """Return what the release's own ``release.json`` says of its migrations, "" where it says nothing."""
    try:
        with open(os.path.join(folder, DESCRIPTOR), encoding="utf-8") as file:
            return str(json.loads(file.read(65536)).get("migrations") or "")
    except (OSError, ValueError, AttributeError):
        return ""
