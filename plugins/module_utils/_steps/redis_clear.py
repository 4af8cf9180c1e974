# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_clear``: removes exactly the keys of a list whose values have not changed since, or puts them back.

For each batch it pauses writers, watches the keys and keeps their values on disk. Then the whole batch is removed in one
transaction or, if anything changed in between, not at all.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.act import connected, info_of, make_private, tell
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.clear import Keeper, read_kept, read_list
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, ErrorReply
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.integrity import MOST_DUMP, digest_of_dump
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REACH
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.prints import as_bytes
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    REACH,
    state={"type": "str", "choices": ["cleared", "put_back"], "default": "cleared"},
    db={"type": "int", "default": 0},
    list_file={"type": "path", "default": ""},
    list_sha256={"type": "str", "default": ""},
    kept_file={"type": "path", "required": True},
    redis_run_id={"type": "str", "default": ""},
    pause_ms={"type": "int", "default": 2000},
    timeout={"type": "float", "default": 120.0},
    stage={"type": "str", "choices": ["act", "undo"], "default": "act"},
)
BATCH = 100
TRIES = 5
PERSISTS = -1


class Batch(t.NamedTuple):
    """What became of some keys: removed, left because their value changed, already gone."""

    removed: int
    left: int
    gone: int


def run(params: Params, check: bool) -> Result:
    """Return {changed, removed, left, gone, restored, there, kept_file, seconds, stage, say}. Raises StepError."""
    begun = time.monotonic()
    done = _clear(params, check) if params["state"] == "cleared" else _put_back(params, check)
    counts = dict({"removed": 0, "left": 0, "gone": 0, "restored": 0, "there": 0}, **done)
    return dict(counts, kept_file=params["kept_file"], seconds=round(time.monotonic() - begun, 3), stage=params["stage"])


def _clear(params: Params, check: bool) -> Result:
    digests = read_list(params["list_file"], params["list_sha256"])
    keys = sorted(digests)
    if check:
        return {"changed": bool(keys), "say": ["would remove %d keys of db %d" % (len(keys), params["db"])]}
    make_private(os.path.dirname(params["kept_file"]))
    total = Batch(0, 0, 0)
    with connected(params, params["timeout"]) as redis, Keeper(params["kept_file"]) as kept:
        _check_server(redis, params)
        tell(redis, "SELECT", params["db"])
        redis.max_bytes = MOST_DUMP
        for start in range(0, len(keys), BATCH):
            some = _clear_some(redis, kept, params, {key: digests[key] for key in keys[start : start + BATCH]})
            total = Batch(*(one + other for one, other in zip(total, some)))
    left = ["left %d keys whose value has changed since" % total.left] if total.left else []
    say = "removed %d keys of db %d, their values are kept in %s" % (total.removed, params["db"], params["kept_file"])
    return dict(total._asdict(), changed=total.removed > 0, say=[one_line(say, 240), *left])


def _check_server(redis: Connection, params: Params) -> None:
    """Raise StepError unless this is exactly the process that was checked, and a master."""
    info = dict(info_of(redis, "server"), **info_of(redis, "replication"))
    if info.get("run_id") != params["redis_run_id"] or info.get("role") != "master":
        text = "a different Redis answers than the one we checked, or it is no longer a master; nothing was removed"
        raise StepError("wrong_identity: " + text, reasons=[reason("wrong_identity", text)])


def _clear_some(redis: Connection, kept: Keeper, params: Params, digests: t.Mapping[bytes, str]) -> Batch:
    for _try in range(TRIES):
        try:
            done = _try_batch(redis, kept, params, digests)
        finally:
            # The pause ends by itself; ending it at once is a courtesy, even after a connection error.
            with contextlib.suppress(Exception):
                redis.ask("CLIENT", "UNPAUSE")
        if done is not None:
            return done
    raise StepError("the keys change too often to be removed in one transaction; stop their writers, then run again")


def _try_batch(redis: Connection, kept: Keeper, params: Params, digests: t.Mapping[bytes, str]) -> t.Optional[Batch]:
    """Remove the keys that still have the value of the list, all or none; None if one of them changed in between."""
    tell(redis, "CLIENT", "PAUSE", params["pause_ms"], "WRITE")
    tell(redis, "WATCH", *digests)
    same, gone = [], 0
    for key, digest in digests.items():
        dump, life = redis.ask_all([("DUMP", key), ("PTTL", key)])
        if isinstance(dump, ErrorReply) or isinstance(life, ErrorReply):
            raise StepError("Redis refused to return a value: %s" % one_line(dump if isinstance(dump, ErrorReply) else life, 120))
        gone += dump is None
        if dump is not None and life == PERSISTS and digest_of_dump(as_bytes(dump)) == digest:
            same.append(key)
            kept.keep(params["db"], key, as_bytes(dump))
    kept.sync()
    # In one packet: paused writers come after it, and the watch notices earlier ones.
    commands: list[tuple[t.Any, ...]] = [("CLIENT", "UNPAUSE"), ("MULTI",), ("UNLINK", *same), ("EXEC",)]
    replies = redis.ask_all(commands if same else [("CLIENT", "UNPAUSE"), ("UNWATCH",)])
    if not same:
        return Batch(0, len(digests) - gone, gone)
    if replies[-1] is None:
        return None
    if isinstance(replies[-1], ErrorReply) or not isinstance(replies[-1], list):
        refused = next((one for one in replies if isinstance(one, ErrorReply)), "no answer")
        raise StepError("Redis refuses to remove the keys: %s" % one_line(refused, 140))
    return Batch(int(replies[-1][0]), len(digests) - gone - len(same), gone)


def _put_back(params: Params, check: bool) -> Result:
    """Restore what was kept, except keys that exist again: they were written since."""
    dumps: set[tuple[int, bytes]] = set()
    restored = there = 0
    if not os.path.lexists(params["kept_file"]):
        # Values are on disk before any key is removed.
        return {"changed": False, "say": [one_line("there is no %s, so nothing was removed" % params["kept_file"], 240)]}
    if check:
        count = len({(db, key) for db, key, dummy in read_kept(params["kept_file"])})
        return {"changed": bool(count), "say": ["would put %d keys back" % count]}
    with connected(params, params["timeout"]) as redis:
        for db, key, dump in read_kept(params["kept_file"]):
            if (db, key) in dumps:
                continue
            dumps.add((db, key))
            tell(redis, "SELECT", db)
            reply = redis.ask("RESTORE", key, 0, dump)
            if isinstance(reply, ErrorReply) and reply.code != "BUSYKEY":
                text = "Redis refuses to take a key back: %s; %d were put back" % (one_line(reply, 120), restored)
                raise StepError(text, code=reply.code)
            restored += not isinstance(reply, ErrorReply)
            there += isinstance(reply, ErrorReply)
    also = ["%d keys exist again and stay as they are" % there] if there else []
    say = "put %d keys back from %s" % (restored, params["kept_file"])
    return {"changed": restored > 0, "restored": restored, "there": there, "say": [one_line(say, 240), *also]}
