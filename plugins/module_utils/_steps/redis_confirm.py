# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_confirm``: is what fails a named check corrupt, for certain, and nowhere whole? Removes nothing.

The check fails twice, some time apart, and again on a side instance loaded from the rescue copy; no backup and no replica passes it.
"""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.act import connected, info_of, make_private, tell
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.clear import write_list
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import RespError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import replication_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.integrity import (
    SCOPE_SPEC,
    digest_of_scope,
    digests_of,
    look,
    rules_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REACH
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import find_server
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.witness import (
    Witness,
    ask,
    ask_rdb,
    ask_replica,
    backups_of,
    judge_confirmed,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

REPLICA_OPTIONS: dict[str, t.Any] = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 6379},
    "socket": {"type": "str", "default": ""},
    "username": {"type": "str", "default": ""},
    "password_file": {"type": "str", "default": "", "no_log": False},
}
ARGUMENT_SPEC: dict[str, t.Any] = dict(
    REACH,
    **SCOPE_SPEC,
    rescue={"type": "path", "required": True},
    work_dir={"type": "path", "required": True},
    run_id={"type": "str", "required": True},
    redis_run_id={"type": "str", "default": ""},
    again_after={"type": "float", "default": 30.0},
    backups={"type": "list", "elements": "str", "default": []},
    replicas={"type": "list", "elements": "dict", "default": [], "options": REPLICA_OPTIONS},
    ask_own_replicas={"type": "bool", "default": True},
    redis_server={"type": "str", "default": ""},
    data_dir={"type": "str", "default": ""},
    max_failing={"type": "int", "default": 100000},
    tolerance={"type": "float", "default": 0.0},
    timeout={"type": "float", "default": 600.0},
    stage={"type": "str", "choices": ["assess", "act"], "default": "act"},
)
LIST = "failing.jsonl"
Keys = t.List[bytes]


class Heard(t.NamedTuple):
    """Everything checked: how many keys failed first, the second look, the rescue copy, all other copies; digests of what still fails."""

    first: int
    again: Witness
    copy: Witness
    others: list[Witness]
    digests: dict[bytes, str]


def run(params: Params, check: bool) -> Result:
    """Return {changed, confirmed, list{path, sha256, keys}, witnesses, plans, table, stage, say}. Raises StepError."""
    begun = time.monotonic()
    rules_of(params)
    if check:
        say = "would check again after %d s, and check the rescue copy, backups and replicas" % params["again_after"]
        return {"changed": False, "confirmed": False, "list": {}, "plans": [], "table": [], "stage": params["stage"], "say": [say]}
    end = begun + params["timeout"]
    folder = os.path.join(params["work_dir"], os.path.basename(params["run_id"]))
    make_private(params["work_dir"])
    make_private(folder)
    heard = _ask_all(params, folder, end)
    code, text = judge_confirmed(heard.first, heard.again, heard.copy, heard.others)
    table = table_of(heard)
    if code:
        raise StepError("%s: %s" % (code, text), reasons=[reason(code, text)], table=table, stage=params["stage"])
    path = os.path.join(folder, LIST)
    made = {"path": path, "keys": len(heard.digests), "sha256": write_list(path, heard.digests)}
    name = one_line(params["name"], 60)
    say = "%d keys fail %s twice and in the rescue copy too, and no backup or replica has good values" % (len(heard.digests), name)
    return {
        "changed": True, "confirmed": True, "list": made,
        "witnesses": [one.as_dict() for one in (heard.again, heard.copy, *heard.others)],
        "plans": [plan_of(params, made)], "table": table,
        "seconds": round(time.monotonic() - begun, 3), "stage": params["stage"], "say": [say],
    }  # fmt: skip


def _ask_all(params: Params, folder: str, end: float) -> Heard:
    first, replicas, pid = _first(params, end)
    time.sleep(max(0.0, min(params["again_after"], end - time.monotonic())))
    with connected(params, max(0.1, end - time.monotonic())) as redis:
        _check_server(info_of(redis, "server"), params)
        again, keys = ask(redis, "second look", params, first)
        failing = sorted(keys)
        tell(redis, "SELECT", params["db"])
        digests = digests_of(redis, failing)
    try:
        server = find_server(params["redis_server"], pid)
    except SideFailed as error:
        raise StepError("%s" % error, reasons=[reason("health_unknown", str(error))]) from None
    owner = _owner(params["data_dir"])
    copy, dummy = ask_rdb("rescue copy", params["rescue"], params, failing, folder, server, owner, end)
    others = [_backup(path, params, failing, folder, server, owner, end) for path in _backups(params)]
    others += [ask_replica(one, params, failing, end) for one in replicas]
    return Heard(len(first), again, copy, others, digests)


def _first(params: Params, end: float) -> tuple[Keys, list[dict[str, t.Any]], int]:
    """Return the keys that fail now, all replicas to check, and the process id of the server. Raises StepError."""
    try:
        with connected(params, max(0.1, end - time.monotonic())) as redis:
            server = info_of(redis, "server")
            _check_server(server, params)
            found = look(redis, params, end - 1.0, params["max_failing"])
            own = replication_of({"info": info_of(redis, "replication")})["replicas"]
    except RespError as error:
        raise StepError("the keys could not be checked: %s" % one_line(error, 120)) from None
    if not found.whole or found.unread:
        text = "only %d keys could be checked, %d could not be read: the pattern is not fully covered" % (found.looked, found.unread)
        raise StepError("health_unknown: " + text, reasons=[reason("health_unknown", text)])
    named = {(one["host"], int(one["port"])) for one in params["replicas"]}
    reached = {"socket": "", "username": params["username"], "password_file": params["password_file"]}
    more = [dict(reached, host=one["ip"], port=int(one["port"] or 0)) for one in own if params["ask_own_replicas"]]
    replicas = params["replicas"] + [one for one in more if (one["host"], one["port"]) not in named]
    return sorted(found.failing), replicas, int(server.get("process_id") or 0)


def _check_server(server: t.Mapping[str, str], params: Params) -> None:
    if params["redis_run_id"] and server.get("run_id") != params["redis_run_id"]:
        text = "a different Redis answers than the one we checked"
        raise StepError("wrong_identity: " + text, reasons=[reason("wrong_identity", text)])


def _owner(data_dir: str) -> t.Optional[tuple[int, int]]:
    try:
        facts = os.stat(data_dir)
    except (OSError, ValueError):
        return None
    return facts.st_uid, facts.st_gid


def _backups(params: Params) -> list[str]:
    paths, empty = backups_of(params["backups"])
    if empty:
        text = "no backup found at %s: correct or remove that entry" % one_line(empty[0], 120)
        raise StepError("bad_input: " + text, reasons=[reason("bad_input", text)])
    return paths


def _backup(path: str, params: Params, keys: Keys, folder: str, server: str, owner: t.Optional[tuple[int, int]], end: float) -> Witness:
    return ask_rdb("backup %s" % one_line(path, 60), path, params, keys, folder, server, owner, end)[0]


def table_of(heard: Heard) -> list[str]:
    """Return what each copy has, as lines of at most 100 columns. Pure."""
    rows = [("first look", heard.first, 0, 0, "")]
    rows += [(one.name, one.bad, one.good, one.gone, one.error) for one in (heard.again, heard.copy, *heard.others)]
    lines = ["%-44s %8s %8s %8s  %s" % ("asked", "failing", "good", "gone", "")]
    lines += ["%-44s %8d %8d %8d  %s" % (one_line(name, 44), bad, good, gone, one_line(error, 24)) for name, bad, good, gone, error in rows]
    return [line.rstrip() for line in lines]


def plan_of(params: Params, made: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the plan: what would be removed, bound to process, pattern and check, and without tolerance to the list itself. Pure."""
    about = (made["keys"], one_line(params["pattern"], 60), params["db"], one_line(params["name"], 60))
    binds = {"redis_run_id": params["redis_run_id"], "db": params["db"], "pattern": params["pattern"], "check": digest_of_scope(params)}
    if not params["tolerance"]:
        binds["list_sha256"] = made["sha256"]
    return {
        "name": "clear", "text": "remove %d keys of %s in db %d that fail %s; their values are kept and can be put back" % about,
        "loss": {"count": made["keys"], "unit": "keys", "exact": True}, "binds": binds, "counts": {"failing": made["keys"]},
        "tolerance": params["tolerance"],
    }  # fmt: skip
