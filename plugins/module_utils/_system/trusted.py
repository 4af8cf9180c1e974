# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a path is ours from the root down: no part of it, and no link on the way, can be changed by another user.

``load_path`` reads the parts and never raises; ``judge_path`` decides over them as plain data.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import typing as t

Part = t.Dict[str, t.Any]
# As many links as Linux itself follows.
LINKS = 40


def load_path(path: str) -> list[Part]:
    """Return {path, kind, uid, mode, group_is_mine} of each part of *path* that exists, from the root down, links followed one by one.

    kind: dir, link, other, missing (the rest does not exist either), unreadable, or loop.
    """
    parts: list[Part] = [_part("/")]
    rest, at, links = _names(os.path.abspath(path)), "/", 0
    while rest:
        at = os.path.join(at, rest.pop(0))
        parts.append(_part(at))
        if parts[-1]["kind"] == "link":
            links += 1
            if links > LINKS:
                return parts + [dict(parts[-1], kind="loop")]
            target = os.path.normpath(os.path.join(os.path.dirname(at), os.readlink(at)))
            rest, at = _names(target) + rest, "/"
        elif parts[-1]["kind"] != "dir":
            break
    return parts


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _part(path: str) -> Part:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return {"path": path, "kind": "missing", "uid": 0, "mode": 0, "group_is_mine": False}
    except OSError:
        return {"path": path, "kind": "unreadable", "uid": 0, "mode": 0, "group_is_mine": False}
    kind = "link" if stat.S_ISLNK(found.st_mode) else "dir" if stat.S_ISDIR(found.st_mode) else "other"
    mine = bool(found.st_mode & stat.S_IWGRP) and _is_private_group(found.st_gid, found.st_uid)
    return {"path": path, "kind": kind, "uid": found.st_uid, "mode": stat.S_IMODE(found.st_mode), "group_is_mine": mine}


def _is_private_group(gid: int, uid: int) -> bool:
    """Return whether a group is its owner's own, as distributions give one to each user: of the same name, without other members."""
    with contextlib.suppress(KeyError, OSError):
        user, group = pwd.getpwuid(uid).pw_name, grp.getgrgid(gid)
        return group.gr_name == user and set(group.gr_mem) <= {user}
    return False


def owners() -> list[int]:
    """Return the users that may own a part: root, the running user, and who became it by sudo."""
    by_sudo = os.environ.get("SUDO_UID", "")
    return sorted({0, os.geteuid(), *([int(by_sudo)] if by_sudo.isdigit() else [])})


def judge_path(parts: t.Sequence[Part], allowed: t.Collection[int]) -> str:
    """Return what is wrong with the first part that another user can change, with its fix; "" where there is none."""
    for part in parts:
        wrong = _judge(part, allowed)
        if wrong:
            return wrong
    return ""


def _judge(part: Part, allowed: t.Collection[int]) -> str:
    path, kind, mode = part["path"], part["kind"], part["mode"]
    if kind == "missing":
        return ""
    if kind == "loop":
        return "%s is a link that leads to itself: remove it" % path
    if kind == "unreadable":
        return "%s cannot be read by this user: let it search every directory above" % path
    if part["uid"] not in allowed:
        what = "a link" if kind == "link" else "a directory" if kind == "dir" else "a file"
        return "%s is %s of user %s, who can change it: chown it to this user, or choose another place" % (path, what, part["uid"])
    open_to = mode & (stat.S_IWOTH | (0 if part["group_is_mine"] else stat.S_IWGRP))
    if kind == "dir" and open_to and not mode & stat.S_ISVTX:
        return "%s has mode %04o, so others can change what is in it: chmod go-w it, or choose another place" % (path, mode)
    return ""
