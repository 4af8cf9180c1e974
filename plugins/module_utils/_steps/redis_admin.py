# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_admin``: exactly one act of a short list on a running Redis; none can remove a key or change a role."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.act import connected, info_of, setting_of, tell
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.attempt import load_attempt
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import SYSTEM_SHARE
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REACH
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import load_service
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason

CHOICES = (
    "kill_script", "save", "rewrite_aof", "set_maxmemory", "isolate", "release", "pause_writers", "resume_writers", "persist",
    "see_gone", "see_up",
)  # fmt: skip
ARGUMENT_SPEC: dict[str, t.Any] = dict(
    REACH,
    action={"type": "str", "required": True, "choices": list(CHOICES)},
    value={"type": "int", "default": 0},
    max_bytes={"type": "int", "default": 0},
    settings={"type": "dict", "default": {}},
    service={"type": "dict", "default": {}},
    log_file={"type": "str", "default": ""},
    timeout={"type": "float", "default": 30.0},
    stage={"type": "str", "choices": ["act", "undo"], "default": "act"},
)
# act -> (INFO field while it runs, field of its result, command); both wait for a child process of Redis.
CHILDREN = {
    "save": ("rdb_bgsave_in_progress", "rdb_last_bgsave_status", ("BGSAVE",)),
    "rewrite_aof": ("aof_rewrite_in_progress", "aof_last_bgrewrite_status", ("BGREWRITEAOF",)),
}
# Replicas first: a full sync now would empty one. With this delay Redis waits for more replicas and does not send the copy.
ISOLATION = {
    "repl-diskless-sync": "yes", "repl-diskless-sync-delay": "2147483647", "save": "", "auto-aof-rewrite-percentage": "0",
}  # fmt: skip
# Kept as the configuration says; neither can remove a key.
PERSISTENCE = ("save", "appendonly")
POLL = 0.05
TALK_SECONDS = 3.0
# A process that has ended for longer does not come up by itself.
MOMENT = 0.7
MEGABYTE = 1024 * 1024


def run(params: Params, check: bool) -> Result:
    """Return {changed, before, after, seconds, stage, say}. Raises StepError if Redis refuses the act or it does not end in time."""
    begun = time.monotonic()
    if params["action"] in SEEN:
        seconds = round(time.monotonic() - begun, 3)
        return dict(SEEN[params["action"]](params, check), action=params["action"], diff={}, seconds=seconds, stage=params["stage"])
    with connected(params, params["timeout"]) as redis:
        result = ACTS[params["action"]](redis, params, check)
    difference = {"before": result["before"], "after": result["after"]}
    return dict(result, action=params["action"], diff=difference, seconds=round(time.monotonic() - begun, 3), stage=params["stage"])


def _kill_script(redis: Connection, params: Params, check: bool) -> Result:
    busy = _busy(redis)
    if not busy:
        return {"changed": False, "before": {"busy": False}, "after": {"busy": False}, "say": ["no script keeps Redis busy"]}
    if check:
        return {"changed": True, "before": {"busy": True}, "after": {"busy": False}, "say": ["would kill the script that keeps Redis busy"]}
    reply = redis.ask("SCRIPT", "KILL")
    if isinstance(reply, ErrorReply) and reply.code != "UNKILLABLE":
        # SCRIPT KILL does not kill functions.
        reply = redis.ask("FUNCTION", "KILL")
    if isinstance(reply, ErrorReply) and reply.code == "UNKILLABLE":
        raise StepError(
            "the script has already written data and cannot be killed without losing it: wait for it, or escalate", code="UNKILLABLE"
        )
    if isinstance(reply, ErrorReply) and _busy(redis):
        raise StepError("Redis refuses to kill the script: %s" % one_line(reply, 120), code=reply.code)
    while _busy(redis):
        time.sleep(POLL)
    return {"changed": True, "before": {"busy": True}, "after": {"busy": False}, "say": ["killed the script that kept Redis busy"]}


def _busy(redis: Connection) -> bool:
    reply = redis.ask("PING")
    return isinstance(reply, ErrorReply) and reply.code == "BUSY"


def _child(redis: Connection, params: Params, check: bool) -> Result:
    running, status, command = CHILDREN[params["action"]]
    before = _persistence(redis, status)
    word = " ".join(command)
    if check:
        return {"changed": True, "before": before, "after": before, "say": ["would run %s" % word]}
    _wait_for_children(redis)
    reply = redis.ask(*command)
    if isinstance(reply, ErrorReply) and "in progress" not in reply:
        raise StepError("Redis refuses %s: %s" % (word, one_line(reply, 140)), code=reply.code)
    _wait_for_children(redis)
    after = _persistence(redis, status)
    if after[status] != "ok":
        raise StepError("%s failed: read the Redis log, and check disk space and the permissions of the data directory" % word, **after)
    return {"changed": True, "before": before, "after": after, "say": ["%s succeeded" % word]}


def _persistence(redis: Connection, status: str) -> dict[str, t.Any]:
    info = info_of(redis, "persistence")
    names = (status, "rdb_changes_since_last_save", "rdb_last_save_time")
    return {name: int(info[name]) if info.get(name, "").isdigit() else info.get(name) for name in names}


def _wait_for_children(redis: Connection) -> None:
    """Wait until no child of Redis saves or rewrites; the connection's deadline ends the wait."""
    while True:
        info = info_of(redis, "persistence")
        names = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")
        if not any(info.get(name) == "1" for name in names):
            return
        time.sleep(POLL)


def _set_maxmemory(redis: Connection, params: Params, check: bool) -> Result:
    info, wanted = info_of(redis, "memory"), int(params["value"])
    before, used = int(info["maxmemory"]), int(info["used_memory"])
    ceiling = min(int(params["max_bytes"]), int(int(info["total_system_memory"]) * SYSTEM_SHARE))
    if not wanted:
        # Just enough room to accept writes again.
        wanted = min(max(before + before // 4, used + 16 * MEGABYTE), ceiling)
    if params["stage"] == "act":
        _check_room(before, used, wanted, ceiling)
    values = {"before": {"maxmemory": before}, "after": {"maxmemory": wanted}, "used_memory": used}
    if wanted == before:
        return dict(values, changed=False, say=["maxmemory is already %d bytes" % before])
    if check:
        return dict(values, changed=True, say=["would set maxmemory from %d to %d bytes" % (before, wanted)])
    tell(redis, "CONFIG", "SET", "maxmemory", wanted)
    if setting_of(redis, "maxmemory") not in ("", str(wanted)):
        raise StepError("Redis accepted maxmemory %d but shows another value" % wanted)
    say = "set maxmemory from %d to %d bytes, until Redis restarts: write it into its configuration" % (before, wanted)
    return dict(values, changed=True, say=[say])


def _check_room(before: int, used: int, wanted: int, ceiling: int) -> None:
    if not before:
        raise StepError("maxmemory is not limited; there is nothing to raise")
    if wanted > ceiling:
        raise StepError("maxmemory %d exceeds the limit of %d bytes: set redis_recovery_maxmemory_limit" % (wanted, ceiling))
    if wanted < before or wanted <= used:
        raise StepError(
            "no room to raise maxmemory: %d bytes are set, %d used, %d allowed: set redis_recovery_maxmemory_limit, or find the big keys"
            % (before, used, ceiling)
        )


def _isolate(redis: Connection, params: Params, check: bool) -> Result:
    return _settled(redis, ISOLATION, check, "keep it from saving and from sending its data to replicas")


def _release(redis: Connection, params: Params, check: bool) -> Result:
    strange = sorted(set(params["settings"]) - set(ISOLATION))
    if strange:
        raise StepError("settings may only name what isolate sets, not %s" % one_line(", ".join(strange), 80))
    # The protection of the replicas is reverted last.
    wanted = {name: str(params["settings"][name]) for name in reversed(list(ISOLATION)) if name in params["settings"]}
    return _settled(redis, wanted, check, "release it")


def _settled(redis: Connection, wanted: t.Mapping[str, str], check: bool, purpose: str, until: str = ", until Redis restarts") -> Result:
    """Set what differs from *wanted*; a setting that Redis does not show is set too, but not reverted."""
    before = {name: setting_of(redis, name) for name in wanted}
    differ = {name: value for name, value in wanted.items() if before[name] != value}
    values: Result = {"before": before, "after": dict(before, **differ), "changed": bool(differ)}
    if not differ:
        return dict(values, say=["the settings already have these values"])
    if check:
        return dict(values, say=["would set %s to %s" % (", ".join(differ), purpose)])
    for name, value in differ.items():
        tell(redis, "CONFIG", "SET", name, value)
    return dict(values, say=["set %s to %s%s" % (", ".join(differ), purpose, until)])


def _pause_writers(redis: Connection, params: Params, check: bool) -> Result:
    seconds = max(1, params["value"])
    values: Result = {"before": {"paused": False}, "after": {"paused": True}, "changed": True}
    if check:
        return dict(values, say=["would pause writers for at most %d s" % seconds])
    tell(redis, "CLIENT", "PAUSE", seconds * 1000, "WRITE")
    return dict(values, say=["writers are paused for at most %d s" % seconds])


def _resume_writers(redis: Connection, params: Params, check: bool) -> Result:
    values: Result = {"before": {"paused": True}, "after": {"paused": False}, "changed": True}
    if not check:
        tell(redis, "CLIENT", "UNPAUSE")
    return dict(values, say=["would resume writers"] if check else ["writers resumed"])


def _see_gone(params: Params, check: bool) -> Result:
    """Raise StepError unless nothing answers there any more; a manager may call a service stopped whose process goes on."""
    end = time.monotonic() + params["timeout"]
    while not check:
        try:
            with Connection(address_of(params), 1.0) as redis:
                redis.ask("PING")
        except RespError as error:
            if error.kind in ("refused", "no_socket"):
                break
        if time.monotonic() > end:
            raise StepError("its manager says that Redis is stopped, but it still answers: find and stop that process", stopped=False)
        time.sleep(POLL)
    return {"changed": False, "before": {}, "after": {}, "say": ["Redis is gone"]}


def _persist(redis: Connection, params: Params, check: bool) -> Result:
    wanted = {name: str(params["settings"][name]) for name in PERSISTENCE if name in params["settings"]}
    return _settled(redis, wanted, check, "keep new data again, as its configuration says", "")


def _see_up(params: Params, check: bool) -> Result:
    """Raise StepError with the reason of this start as soon as it has failed; return when Redis answers, or may still come up."""
    end, dead = time.monotonic() + params["timeout"], 0.0
    while not check and time.monotonic() < end and not _answers(params):
        state = load_service(params["service"], TALK_SECONDS)
        if state.get("state") not in ("failed", "stopped", "backoff"):
            dead = 0.0
        elif dead and time.monotonic() - dead > (MOMENT if state["state"] != "backoff" else MOMENT * 3):
            raise _not_up(params)
        dead = dead or time.monotonic()
        time.sleep(2 * POLL)
    return {"changed": False, "before": {}, "after": {}, "say": []}


def _answers(params: Params) -> bool:
    try:
        with Connection(address_of(params), 1.0) as redis:
            redis.ask("PING")
    except RespError as error:
        return error.kind not in ("refused", "no_socket")
    return True


def _not_up(params: Params) -> StepError:
    why = load_attempt(params["service"], params["log_file"], [], TALK_SECONDS)
    text = "Redis was started and did not stay up: %s" % (why.get("text") or "neither its log nor its manager says why")
    return StepError(text, reasons=[reason("state_not_handled", text, case="start_failed")], started=False)


SEEN: dict[str, t.Callable[[Params, bool], Result]] = {"see_gone": _see_gone, "see_up": _see_up}
ACTS: dict[str, t.Callable[[Connection, Params, bool], Result]] = {
    "kill_script": _kill_script,
    "save": _child,
    "rewrite_aof": _child,
    "set_maxmemory": _set_maxmemory,
    "isolate": _isolate,
    "release": _release,
    "pause_writers": _pause_writers,
    "resume_writers": _resume_writers,
    "persist": _persist,
}
