# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_rescue``: copy all keys of a running Redis, by replication, to a checked RDB elsewhere.

Redis sends the copy straight from memory, so this works even if Redis itself can no longer write (MISCONF, full disk).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.act import (
    check_private,
    connected,
    make_private,
    setting_of,
    tell,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.transfer import fetch_rdb
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, ErrorReply
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import keys_of, parse_info
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime, scan_rdb, sha256_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REACH

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    REACH,
    dest_dir={"type": "path", "required": True},
    data_dir={"type": "str", "default": ""},
    run_id={"type": "str", "default": ""},
    timeout={"type": "float", "default": 120.0},
    force_diskless={"type": "bool", "default": True},
    redis_cli={"type": "str", "default": "redis-cli"},
    stage={"type": "str", "choices": ["assess", "act", "undo"], "default": "act"},
)
# An RDB is usually smaller than the memory its keys take.
SPACE_FACTOR = 1.2
# Redis then writes no file itself (its directory may be what is broken) and does not wait five seconds for more replicas.
DISKLESS = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0"}
TALK_SECONDS = 5.0


def run(params: Params, check: bool) -> Result:
    """Return {changed, path, bytes, sha256, keys, proven, proof, filesystem_differs, seconds, say, ...}.

    Raises StepError if there is no complete, checked copy in time; then it leaves no partial file.
    """
    begun = time.monotonic()
    end = begun + params["timeout"]
    with connected(params, min(TALK_SECONDS, params["timeout"])) as redis:
        info = parse_info(str(tell(redis, "INFO", "all")))
        data_dir = params["data_dir"] or setting_of(redis, "dir")
    differs = _judge_place(params["dest_dir"], data_dir, int(float(info.get("used_memory") or 0) * SPACE_FACTOR))
    run_id = re.sub(r"[^\w-]", "", params["run_id"] or info.get("run_id", ""))[:40]
    path = os.path.join(params["dest_dir"], "redis-%s-%s.rdb" % (run_id, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())))
    about: Result = {"changed": True, "path": path, "filesystem_differs": differs, "keys_in_server": keys_of(info), "settings_changed": {}}
    about["stage"] = params["stage"]
    if check:
        if os.path.lexists(params["dest_dir"]):
            check_private(params["dest_dir"])
        say = "would copy %s keys of Redis to %s" % (about["keys_in_server"], path)
        return dict(about, bytes=0, sha256="", keys=None, proven=False, proof="", seconds=0.0, say=[say])
    make_private(params["dest_dir"])
    with _diskless(params) as settings:
        about.update(_copied(params, path, end), settings_changed=settings)
    seconds = round(time.monotonic() - begun, 3)
    say = "rescued %s keys (%d bytes, checked by %s) to %s" % (about["keys"], about["bytes"], about["proof"], path)
    where = [] if differs else ["the rescue copy is on the same file system as the data of Redis"]
    return dict(about, proven=True, seconds=seconds, say=[one_line(say, 240), *where])


def _judge_place(dest_dir: str, data_dir: str, needed: int) -> bool:
    """Return whether *dest_dir* is on another file system than *data_dir*. Raises StepError if it has no room for *needed* bytes."""
    if not os.path.isabs(dest_dir):
        raise StepError("the rescue directory must be an absolute path: set redis_recovery_rescue_dir")
    parent = _nearest(dest_dir)
    try:
        space = os.statvfs(parent)
        differs = not data_dir or not os.path.isdir(data_dir) or os.stat(parent).st_dev != os.stat(data_dir).st_dev
    except OSError as error:
        raise StepError("cannot access the rescue directory %s: %s" % (one_line(dest_dir, 80), error.strerror)) from None
    free = space.f_bavail * space.f_frsize
    if free < needed:
        full = "" if differs else ", and Redis itself writes to it"
        raise StepError(
            "the file system of %s has %d bytes free, the rescue copy may take %d%s: set redis_recovery_rescue_dir to another one"
            % (one_line(dest_dir, 80), free, needed, full),
            free_bytes=free,
            needed_bytes=needed,
        )
    return differs


def _nearest(path: str) -> str:
    """Return *path* or the nearest existing directory above it."""
    while not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


@contextlib.contextmanager
def _diskless(params: Params) -> t.Iterator[dict[str, str]]:
    """Make Redis send the copy at once and without a file of its own; restore the settings. Yields the old values of what it changed."""
    before: dict[str, str] = {}
    if params["force_diskless"]:
        with connected(params, TALK_SECONDS) as redis:
            before = {name: setting_of(redis, name) for name in DISKLESS}
            before = {name: old for name, old in before.items() if old not in ("", DISKLESS[name]) and _set(redis, name, DISKLESS[name])}
    try:
        yield before
    finally:
        if before:
            with connected(params, TALK_SECONDS) as redis:
                for name, old in before.items():
                    _set(redis, name, old)


def _set(redis: Connection, name: str, value: str) -> bool:
    return not isinstance(redis.ask("CONFIG", "SET", name, value), ErrorReply)


def _copied(params: Params, path: str, end: float) -> Result:
    part = path + ".part"
    try:
        # Created first, so that others can never read it, whatever the umask.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        fetch_rdb(params, part, end)
        facts = _verified(part, end)
        os.rename(part, path)
        _sync_directory(os.path.dirname(path))
    except OSError as error:
        raise StepError("the rescue copy could not be written: %s" % one_line(error.strerror or error, 100)) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)
    return facts


def _verified(part: str, end: float) -> Result:
    with open(part, "rb") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
        try:
            seen, digest = scan_rdb(file, size, end), sha256_of(file, end)
        except OutOfTime:
            raise StepError("the rescue copy was made but not checked in time; raise timeout", error="timeout") from None
        if seen["verdict"] != "valid":
            raise StepError("the rescue copy was damaged (%s) and was removed" % one_line(seen["detail"], 100), error="copy")
    return {"bytes": size, "sha256": digest, "keys": seen["keys"], "proof": seen["proof"]}


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
