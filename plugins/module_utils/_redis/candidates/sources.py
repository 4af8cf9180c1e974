# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Candidates that do not come from the data directory: backups, earlier rescue copies, replicas, and the running server itself."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.act import connected, setting_of, tell
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.make import Bench, Facts, blank, tried
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.recipes import (
    HEAD_BYTES,
    WHOLE,
    Recipe,
    Unbuildable,
    copy_bytes,
    memory_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.transfer import (
    copy_functions,
    copy_keys,
    fetch_rdb,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import keys_of, parse_info
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import is_rdb, taken_at
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.salvage import Salvaged
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import sha256_of, tool
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import version_of

TALK_SECONDS = 5.0
# The share of a server's memory that its keys may take in an RDB.
SPACE_FACTOR = 1.2
# Above this, keys are not read one by one if that can be avoided: a server waits only five seconds before it sends all of them.
MANY_KEYS = 300_000
CHANGES = "rdb_changes_since_last_save"
EMPTYING = ("cmdstat_flushall", "cmdstat_flushdb")


def without_data(binds: t.Mapping[str, str]) -> Recipe:
    """Return the recipe for a Redis without any data, for when nothing can be loaded."""
    return Recipe("empty", "wire", "older", lambda out, until: WHOLE, 0, 0, binds=binds)


def from_file(name: str, path: str, end: float) -> Recipe:
    """Return the recipe for an RDB on this host; a problem with it is reported when it is tried."""
    try:
        with open(path, "rb") as file:
            head, facts = file.read(HEAD_BYTES), os.fstat(file.fileno())
            digest = sha256_of(file, end)
    except OSError as error:
        why = "%s cannot be read: %s" % (one_line(path, 80), error.strerror)
        return Recipe(name, "rdb", "older", lambda out, until: _no(why), 0, 0)
    if not is_rdb(head):
        return Recipe(name, "rdb", "older", lambda out, until: _no("%s is not an RDB" % one_line(path, 80)), 0, 0)
    last = taken_at(head) or facts.st_mtime
    binds = {"file": digest}
    return Recipe(name, "rdb", "older", lambda out, until: _read(path, out), facts.st_size, memory_of(head, facts.st_size), last, binds)


def _no(why: str) -> Salvaged:
    raise Unbuildable(why)


def _read(path: str, out: t.BinaryIO) -> Salvaged:
    with open(path, "rb") as file:
        copy_bytes(file, out)
    return WHOLE


def from_server(name: str, params: Params, bench: Bench) -> tuple[Facts, dict[str, str]]:
    """Return (the candidate with the keys of the running Redis that *params* name, its INFO). Changes nothing there."""
    try:
        with connected(params, min(TALK_SECONDS, max(0.1, bench.end - time.monotonic()))) as redis:
            info = parse_info(str(tell(redis, "INFO", "all")))
            diskless = setting_of(redis, "repl-diskless-sync")
        _check_version(info, bench.program)
    except StepError as error:
        return blank(name, "server", one_line(error, 160)), {}
    recipe = _recipe(name, params, info)
    # Replication would make it write a file, unless it sends straight from memory.
    may_send = name != "live" and diskless == "yes" and _linked(info) and bool(tool("cli"))
    sent = recipe._replace(kind="rdb", write=lambda out, until: _sent(params, out, until))
    if may_send and (keys_of(info) or 0) > MANY_KEYS:
        facts = tried(bench, sent)
    else:
        facts = tried(bench, recipe, lambda redis, until: _carried(params, redis, until))
        if not facts["exact"] and may_send:
            facts = tried(bench, sent)
    return dict(facts, moves=True, in_step=_in_step(info), exact=True, detail=facts["detail"] or _where(info)), info


def _recipe(name: str, params: Params, info: t.Mapping[str, str]) -> Recipe:
    used = int(float(info.get("used_memory") or 0))
    binds = {"server": info.get("run_id", "")}
    if name != "live":
        binds["address"] = str(params["socket"] or "%s:%s" % (params["host"], params["port"]))
    return Recipe(name, "wire", "server", lambda out, until: WHOLE, int(used * SPACE_FACTOR), used, _last_write(info), binds)


def _check_version(info: t.Mapping[str, str], program: str) -> None:
    """Raise StepError if this server is too old to load what the side instance saves."""
    words = (info.get("valkey_version") or info.get("redis_version", "")).split(".")
    theirs = tuple(int(word) for word in words[:2] if word.isdigit())
    ours = version_of(program)
    if len(theirs) == 2 and theirs[0] < ours[0]:
        text = "it runs version %s, which cannot load what a side instance of %d.%d saves; set redis_recovery_server" % (
            one_line(".".join(words), 20), *ours,
        )  # fmt: skip
        raise StepError(text)


def _linked(info: t.Mapping[str, str]) -> bool:
    return info.get("role") != "slave" or info.get("master_link_status") == "up"


def _in_step(info: t.Mapping[str, str]) -> bool:
    """Return whether a replica holds a complete state of its master, not the first part of a new one."""
    return info.get("loading", "0") == "0" and info.get("master_sync_in_progress", "0") == "0"


def _last_write(info: t.Mapping[str, str]) -> float:
    down = info.get("master_link_down_since_seconds", "")
    return time.time() - (int(down) if down.isdigit() and not _linked(info) else 0)


def _where(info: t.Mapping[str, str]) -> str:
    if info.get("role") != "slave":
        return ""
    text = "replica of %s:%s, link %s" % (info.get("master_host", "?"), info.get("master_port", "?"), info.get("master_link_status", "?"))
    return one_line(text, 160)


def was_emptied(info: t.Mapping[str, str]) -> bool:
    """Return whether a server has run a command that empties a database since it started."""
    return any(info.get(name, "").startswith("calls=") for name in EMPTYING)


def _sent(params: Params, out: t.BinaryIO, end: float) -> Salvaged:
    # The file that we have open, whatever it is called.
    fetch_rdb(dict(params, redis_cli=tool("cli")), "/proc/%d/fd/%d" % (os.getpid(), out.fileno()), end)
    return WHOLE


def _carried(params: Params, target: Connection, end: float) -> Salvaged:
    """Copy key by key from the server that *params* name. Raises StepError, RespError, OutOfTime, Unbuildable."""
    with connected(params, max(0.1, end - time.monotonic())) as source:
        before = parse_info(str(tell(source, "INFO", "all")))
        moved = copy_keys(source, target, end)
        copy_functions(source, target)
        after = parse_info(str(tell(source, "INFO", "all")))
    if moved.failed:
        raise Unbuildable("%d keys could not be copied: %s" % (moved.failed, moved.refused))
    still = before.get(CHANGES) == after.get(CHANGES)
    detail = "%d of %s keys copied one by one" % (moved.copied, keys_of(before))
    return WHOLE._replace(kept=moved.copied, exact=still, detail=detail if still else detail + " while clients kept writing")
