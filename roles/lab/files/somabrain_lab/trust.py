# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a path can be changed by somebody else: each part of it is judged, not its last one alone.

What root runs and reads for itself lies in folders that only root can write.
"""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path


class Part(t.NamedTuple):
    """One part of a path, as it is on disk."""

    path: str
    uid: int
    gid: int
    mode: int


def load_parts(path: Path) -> list[Part]:
    """Return the parts of *path* that exist, from the root on, without following links."""
    found = []
    for part in [*reversed(path.parents), path]:
        try:
            facts = os.lstat(part)
        except FileNotFoundError:
            break
        found.append(Part(str(part), facts.st_uid, facts.st_gid, facts.st_mode))
    return found


def judge_parts(parts: t.Sequence[Part], last: str, uid: int, gid: int) -> str:
    """Return why somebody other than root and *uid* could change the folder *last*, or what is in it; "" where nobody can."""
    for part in parts:
        if part.uid not in (0, uid):
            return f"{part.path} belongs to user {part.uid}"
        if stat.S_ISLNK(part.mode) and part.path == last:
            return f"{part.path} is a symlink"
        if stat.S_ISLNK(part.mode) or (stat.S_ISDIR(part.mode) and part.mode & stat.S_ISVTX and part.path != last):
            # Root's own link leads where root says; in a folder like /tmp only the owner of a part can replace it.
            continue
        if not stat.S_ISDIR(part.mode):
            return f"{part.path} is not a directory"
        others = part.mode & stat.S_IWOTH or (part.mode & stat.S_IWGRP and part.gid not in {0, gid})
        if others:
            return f"{part.path} can be changed by others (mode {stat.S_IMODE(part.mode):o}, group {part.gid})"
    return ""


def why_not(path: Path) -> str:
    """Return why *path* is not ours alone, "" where it is; of links on the way, what they lead to is judged too."""
    uid, gid = os.geteuid(), os.getegid()
    real = Path(os.path.realpath(path.parent)) / path.name
    return judge_parts(load_parts(path), str(path), uid, gid) or judge_parts(load_parts(real), str(real), uid, gid)


def open_new(path: Path, mode: int) -> t.IO[str]:
    """Return a new, empty file at *path* for writing; what lies there is removed, a link too, and never followed."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "w", encoding="utf-8")
