# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for good copies of the keys that fail an integrity check - rescue copy and backups in side instances, replicas - and judges.

Corruption is confirmed only if the same check failed twice, fails on the rescue copy too, and no copy has a value that passes.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import stat
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
    log_in,
    password_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.integrity import MOST_BYTES, Found, check_keys, rules_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import SideInstance
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

Scope = t.Mapping[str, t.Any]

# Memory that a set of keys takes, as a multiple of its RDB file, unless known better.
MEMORY_PER_BYTE = 3
# The error of a file that holds no data at all; any other error may be ours.
NO_DATA = "refused"


class Witness(t.NamedTuple):
    """What one other copy has of the failing keys: how many that fail, that pass, that it lacks, that could not be read.

    ``error`` is "" if it could be read; ``damaged`` means that it holds no data that loads.
    """

    name: str
    bad: int = 0
    good: int = 0
    gone: int = 0
    unread: int = 0
    error: str = ""
    damaged: bool = False

    def as_dict(self) -> dict[str, t.Any]:
        return dict(self._asdict())


def heard(name: str, found: t.Iterable[Found]) -> tuple[Witness, frozenset[bytes]]:
    """Return what a copy has, and the keys that fail there too. Pure."""
    bad: set[bytes] = set()
    good = gone = unread = 0
    for one in found:
        unread += not one.read
        gone += one.read and not one.there
        good += one.read and one.there and not one.why
        if one.read and one.why:
            bad.add(one.key)
    return Witness(name, len(bad), good, gone, unread), frozenset(bad)


def ask(redis: Connection, name: str, scope: Scope, keys: t.Sequence[bytes]) -> tuple[Witness, frozenset[bytes]]:
    """Check *keys* on an open connection. Raises RespError."""
    if isinstance(redis.ask("SELECT", int(scope["db"])), ErrorReply):
        return Witness(name, gone=len(keys)), frozenset()
    return heard(name, check_keys(redis, keys, rules_of(scope)))


def ask_rdb(
    name: str, path: str, scope: Scope, keys: t.Sequence[bytes], folder: str, server: str, owner: t.Optional[tuple[int, int]], end: float
) -> tuple[Witness, frozenset[bytes]]:
    """Check *keys* in a side instance on a copy of the RDB at *path*, made below *folder* and gone afterwards. Never raises."""
    place = os.path.join(folder, "side-%d" % os.getpid())
    try:
        os.mkdir(place, 0o700)
        size = _copied(path, os.path.join(place, "dump.rdb"), owner)
        with SideInstance(server, place, end, owner, expects=size * MEMORY_PER_BYTE) as side, side.connect() as redis:
            return ask(redis, name, scope, keys)
    except SideFailed as error:
        return Witness(name, error=one_line(error, 160), damaged=error.code == NO_DATA), frozenset()
    except (OSError, RespError) as error:
        return Witness(name, error=one_line(getattr(error, "strerror", None) or error, 160)), frozenset()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _copied(path: str, dest: str, owner: t.Optional[tuple[int, int]]) -> int:
    """Copy a regular file; return its bytes. Raises OSError, also for a link or a device."""
    source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(source, "rb") as file:
        facts = os.fstat(source)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(0, "not a regular file")
        with os.fdopen(os.open(dest, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as copy:
            shutil.copyfileobj(file, copy, 1024 * 1024)
    if owner and os.geteuid() == 0:
        os.chown(dest, *owner)
    return facts.st_size


def ask_replica(one: t.Mapping[str, t.Any], scope: Scope, keys: t.Sequence[bytes], end: float) -> Witness:
    """Check *keys* on a replica {host, port, username, password_file}. Never raises."""
    where = address_of(one)
    name = "replica %s" % where
    try:
        with Connection(where, max(0.1, end - time.monotonic()), MOST_BYTES) as redis:
            refused = log_in(redis, str(one.get("username") or ""), password_of(dict(one, password="")))
            # A syncing replica answers LOADING, one without its master MASTERDOWN: neither proves anything.
            said = refused or redis.ask("PING")
            if isinstance(said, ErrorReply):
                return Witness(name, error=one_line(said, 120))
            return ask(redis, name, scope, keys)[0]
    except (RespError, StepError) as error:
        return Witness(name, error=one_line(error, 120))


def backups_of(patterns: t.Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (paths that the patterns match, newest first; patterns that match none)."""
    found: dict[str, float] = {}
    empty = []
    for pattern in patterns:
        paths = [path for path in glob.glob(pattern) if os.path.isfile(path)]
        empty += [] if paths else [pattern]
        for path in paths:
            with contextlib.suppress(OSError):
                found[path] = os.lstat(path).st_mtime
    return sorted(found, key=lambda path: -found[path]), empty


def judge_confirmed(first: int, again: Witness, copy: Witness, others: t.Sequence[Witness]) -> tuple[str, str]:
    """Return ("", "") if corruption is confirmed, else the code of the refusal and a sentence that says what is missing. Pure."""
    doubt = _doubt_again(first, again) or _doubt_copy(again, copy)
    if doubt:
        return "health_unknown", doubt
    good = ", ".join("%s has %d" % (one.name, one.good) for one in [one for one in others if one.good][:4])
    if good:
        return "state_not_handled", "good copies of failing keys exist (%s): restore them instead of deleting" % good
    silent = "; ".join([said for said in map(_silence, others) if said][:4])
    return ("health_unknown", "could not ask everyone who may have good copies: %s" % silent) if silent else ("", "")


def _doubt_again(first: int, again: Witness) -> str:
    if again.unread or again.error:
        return "%d of %d keys could not be read again: %s" % (again.unread, first, again.error or "no answer")
    return "" if again.bad else "%d keys failed and do not fail any more: not confirmed" % first


def _doubt_copy(again: Witness, copy: Witness) -> str:
    if copy.error or copy.unread:
        return "the rescue copy could not be checked: %s" % (copy.error or "%d keys could not be read there" % copy.unread)
    if copy.bad < again.bad:
        return "%d of %d keys that fail do not fail in the rescue copy: not confirmed" % (again.bad - copy.bad, again.bad)
    return ""


def _silence(other: Witness) -> str:
    """Return why a copy that may have good values could not be read, "" if it could; a damaged file has none."""
    if other.error and not other.damaged:
        return "%s: %s" % (other.name, other.error)
    return "%s: %s" % (other.name, other.error or "%d keys could not be read" % other.unread) if other.unread else ""
