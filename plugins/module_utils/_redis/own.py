# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data directory of a Redis as an open descriptor, and why it may not be given to the user of Redis.

No part of its path is followed where it is a link, so what is judged is what is changed, even where somebody renames things meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import FOLDER

# What our own recovery and the file system leave there as root.
_LEFT = re.compile(r"(?:before-[\w-]+|lost\+found)\Z")
_LINK = "%s is a link or no directory, and nothing is given away through a link: name the directory that it leads to"
_MOST = 10_000


class Unfit(Exception):
    """The directory may not be given away; the text says why."""


@contextlib.contextmanager
def opened(path: str, uid: t.Optional[int]) -> t.Iterator[int]:
    """Yield the open directory *path*. Raises Unfit for a link in it, and where others than root and *uid* can change it."""
    if not path.startswith("/"):
        raise Unfit("%s is no absolute path" % one_line(path or '""', 80))
    here, at = os.open("/", FOLDER), "/"
    try:
        for name in [one for one in os.path.normpath(path).split("/") if one]:
            _judge_above(at, os.fstat(here), uid)
            at = os.path.join(at, name)
            below = _entered(here, name, at)
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def _entered(here: int, name: str, at: str) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=here)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Unfit(_LINK % one_line(at, 100)) from None
        raise Unfit("%s cannot be opened: %s" % (one_line(at, 100), error.strerror)) from None


def _judge_above(at: str, facts: os.stat_result, uid: t.Optional[int]) -> None:
    if facts.st_uid not in (0, os.geteuid(), uid):
        raise Unfit("%s belongs to user %d, who can put another directory there" % (one_line(at, 100), facts.st_uid))
    if facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX:
        text = "%s has mode %04o, so others can put another directory there"
        raise Unfit(text % (one_line(at, 100), stat.S_IMODE(facts.st_mode)))


def judge_owners(path: str, owner: int, entries: t.Sequence[t.Tuple[str, int]], uid: t.Optional[int]) -> str:
    """Return why the directory of *owner* with *entries* (name, owner) is not only that of *uid* (None: not known), "" where it is."""
    wanted = owner if uid is None else uid
    if owner not in (0, wanted):
        return "%s belongs to user %d, and Redis runs as user %d" % (one_line(path, 100), owner, wanted)
    others = sorted((name, one) for name, one in entries if one != wanted and not (one == 0 and _LEFT.match(name)))
    if not others:
        return ""
    names = ", ".join("%s (user %d)" % (one_line(name, 40), one) for name, one in others[:3])
    return "%s holds what belongs to others than user %d: %s" % (one_line(path, 100), wanted, names)


def load_entries(descriptor: int) -> t.List[t.Tuple[str, int]]:
    """Return (name, owner) of what is in an open directory. Raises OSError."""
    with os.scandir(descriptor) as found:
        return [(one.name, one.stat(follow_symlinks=False).st_uid) for one, _turn in zip(found, range(_MOST))]


def objection(descriptor: int, path: str, uid: t.Optional[int]) -> str:
    """Return why the open directory may not be given to *uid*, "" where it may. Raises OSError."""
    return judge_owners(path, os.fstat(descriptor).st_uid, load_entries(descriptor), uid)


def why_not(path: str, uid: t.Optional[int]) -> str:
    """Return why the directory *path* may not be given to user *uid*, "" where it may. Never raises."""
    try:
        with opened(path, uid) as descriptor:
            return objection(descriptor, path, uid)
    except Unfit as error:
        return str(error)
    except (OSError, ValueError) as error:
        return "%s cannot be read: %s" % (one_line(path, 100), one_line(error, 80))
