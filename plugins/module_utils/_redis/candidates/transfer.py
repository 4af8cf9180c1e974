# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gets the keys out of a running Redis: as one RDB by replication, or key by key into another Redis.

Replication makes some servers rewrite their dump file, so only a server that sends straight from memory is asked for it, or one where
a fresh dump does no harm. Key by key always works, even on a replica that has lost its master, and writes nothing on the source.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, ErrorReply, password_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime, tool
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.prints import REPLY_BYTES, as_bytes, scan, sizes_of

# Keys per request; few, since values may be large.
BATCH = 100
GONE, LASTS = -2, -1


class Moved(t.NamedTuple):
    """Keys by what happened to them: copied, already there and left alone, gone in between, failed; ``refused`` is the first refusal."""

    copied: int
    there: int
    gone: int
    failed: int
    refused: str


def fetch_rdb(params: Params, path: str, end: float) -> None:
    """Make the Redis that *params* name (host, port, socket, username, password, redis_cli, timeout) send its keys into the file *path*.

    *end* is a monotonic time. Raises StepError.
    """
    program = shutil.which(params["redis_cli"]) or tool("cli")
    if not program:
        raise StepError("redis-cli is not installed on this host: install redis-tools")
    where = ["-s", params["socket"]] if params["socket"] else ["-h", params["host"], "-p", str(params["port"])]
    user = ["--user", params["username"]] if params["username"] else []
    password = password_of(params)
    secret = {"REDISCLI_AUTH": password} if password else {}
    try:
        done = subprocess.run(
            [program, "--no-auth-warning", *where, *user, "--rdb", path],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            timeout=max(0.1, end - time.monotonic()), env=dict(os.environ, **secret),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise StepError("the rescue copy did not finish within %d s; raise timeout" % params["timeout"], error="timeout") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout[-2000:].decode("utf-8", "replace").splitlines() if line.strip()]
        raise StepError("redis-cli --rdb failed: %s" % one_line(redact(lines[-1] if lines else "no reason given"), 160), error="copy")


def copy_keys(source: Connection, target: Connection, end: float) -> Moved:
    """Copy every key that *target* does not have yet, with its time to live. Raises RespError, OutOfTime.

    A key that is already in *target* stays as it is, whatever its value.
    """
    total = Moved(0, 0, 0, 0, "")
    source.max_bytes = REPLY_BYTES
    for db in sizes_of(source):
        if isinstance(target.ask("SELECT", db), ErrorReply):
            return total._replace(failed=total.failed + 1, refused="the target has no database %d" % db)
        for keys in scan(source, db, end):
            for index in range(0, len(keys), BATCH):
                if time.monotonic() > end:
                    raise OutOfTime
                total = summed([total, _copy_some(source, target, keys[index : index + BATCH])])
    return total


def copy_functions(source: Connection, target: Connection) -> None:
    """Copy the function libraries, if both servers support them. Raises RespError."""
    dump = source.ask("FUNCTION", "DUMP")
    if isinstance(dump, (str, bytes)) and not isinstance(dump, ErrorReply):
        target.ask("FUNCTION", "RESTORE", dump, "APPEND")


def _copy_some(source: Connection, target: Connection, keys: t.Sequence[bytes]) -> Moved:
    replies = source.ask_all([command for key in keys for command in (("DUMP", key), ("PTTL", key))])
    restores, unread = _restores(keys, replies)
    answers = target.ask_all(restores) if restores else []
    errors = [answer for answer in answers if isinstance(answer, ErrorReply)]
    wrong = [error for error in errors if error.code != "BUSYKEY"]
    written = Moved(len(answers) - len(errors), len(errors) - len(wrong), 0, len(wrong), _first(wrong))
    return summed([unread, written])


def _restores(keys: t.Sequence[bytes], replies: t.Sequence[t.Any]) -> tuple[list[tuple[t.Any, ...]], Moved]:
    """Return (the commands that write *keys*, given the *replies* to DUMP and PTTL of each; the keys that could not be read)."""
    restores: list[tuple[t.Any, ...]] = []
    errors: list[ErrorReply] = []
    gone = 0
    for key, dump, life in zip(keys, replies[::2], replies[1::2]):
        wrong = [reply for reply in (dump, life) if isinstance(reply, ErrorReply)]
        if wrong:
            errors.append(wrong[0])
        elif dump is None or life == GONE:
            gone += 1
        else:
            restores.append(("RESTORE", key, 0 if life == LASTS else max(1, life), as_bytes(dump)))
    return restores, Moved(0, 0, gone, len(errors), _first(errors))


def _first(errors: t.Sequence[ErrorReply]) -> str:
    return one_line(errors[0], 120) if errors else ""


def summed(all_moved: t.Sequence[Moved]) -> Moved:
    """Return the sum of *all_moved*, with the first refusal."""
    copied, there, gone, failed = (sum(int(moved[index]) for moved in all_moved) for index in range(4))
    return Moved(copied, there, gone, failed, next((moved.refused for moved in all_moved if moved.refused), ""))
