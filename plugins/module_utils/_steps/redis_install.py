# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_install``: make a stopped Redis load one checked RDB, or put the old files back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates import install as engine
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import is_rdb
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.holders import load_holders
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import (
    FOLDER,
    below,
    give,
    is_full,
    open_regular,
    opened_folder,
    write_new,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "data_dir": {"type": "path", "required": True},
    "settings": {"type": "dict", "default": {}},
    "run_id": {"type": "str", "required": True},
    "rdb": {"type": "path", "default": ""},
    "sha256": {"type": "str", "default": ""},
    "state": {"type": "str", "choices": ["installed", "put_back"], "default": "installed"},
    "timeout": {"type": "float", "default": 900.0},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}
CHUNK = 1024 * 1024
# Stays free beside the file: Redis writes a little as soon as it starts.
MARGIN_BYTES = 4 * 1024 * 1024


def run(params: Params, check: bool) -> Result:
    """Return {changed, before_dir, layout, moved, installed, diff, stage, say}.

    Raises StepError if a process uses the directory, the file is not the one that was checked, or there is no room. Then either nothing
    that Redis loads has changed, or the same call finishes the work and ``put_back`` undoes it.
    """
    name = "before-" + _judge_params(params)
    try:
        with opened_folder(params["data_dir"]) as data:
            act = _installed if params["state"] == "installed" else _put_back
            return dict(act(data, name, params, check), before_dir=os.path.join(params["data_dir"], name), stage=params["stage"])
    except engine.Unfit as error:
        raise refused(error.code, str(error)) from None
    except OSError as error:
        code = "no_room" if is_full(error) else "state_not_handled"
        text = "%s: %s; run the same call again to finish, or state put_back to undo" % (one_line(params["data_dir"], 60), error.strerror)
        raise refused(code, text) from None


def _judge_params(params: Params) -> str:
    """Return the run id in a form that fits a file name. Raises StepError."""
    run_id = re.sub(r"[^\w-]", "", params["run_id"])[:64]
    if not run_id:
        raise refused("bad_input", "run_id must contain letters or digits")
    if params["state"] == "installed" and not (params["rdb"] and re.match(r"[0-9a-f]{64}\Z", params["sha256"])):
        raise refused("bad_input", "set rdb to the file and sha256 to the digest it was checked with")
    return run_id


def _installed(data: int, name: str, params: Params, check: bool) -> Result:
    with _before(data, name, make=False) as before:
        plan = engine.load_plan(before) if before is not None else None
    if plan and plan["state"] in ("staged", "installed") and plan["sha256"] != params["sha256"]:
        raise refused("state_not_handled", "this run began to install another file: put that back first")
    if plan and plan["state"] == "installed":
        return _result(plan, False, ["the chosen file is already in place"])
    seen = engine.load_seen(data, params["settings"])
    _judge_holders(seen, params["data_dir"])
    fresh = _fresh_plan(seen, params)
    if check:
        return _result(fresh, True, ["would install %s as %s" % (_short(params), fresh["data"])])
    with _before(data, name, make=True) as before:
        if before is None:
            raise refused("data_damaged", "the directory for the old files is gone; run again")
        plan = _ready(data, before, plan, fresh, params)
        engine.install(data, before, plan)
        engine.save_plan(before, dict(plan, state="installed"))
    say = "installed %s as %s; the old files are in %s" % (_short(params), plan["data"], name)
    return _result(plan, True, [one_line(say, 240)])


def _ready(data: int, before: int, plan: t.Optional[engine.Plan], fresh: engine.Plan, params: Params) -> engine.Plan:
    """Return the plan to follow: that of an interrupted attempt, else *fresh* with its files staged and checked."""
    if plan and plan["state"] == "staged":
        return plan
    if plan and plan["state"] == "putting_back":
        engine.put_back(data, before, plan)
        engine.save_plan(before, dict(plan, state="put_back"))
        fresh = _fresh_plan(engine.load_seen(data, params["settings"]), params)
    engine.forget_staged(before)
    _stage(data, before, fresh, params)
    engine.save_plan(before, fresh)
    return fresh


def _fresh_plan(seen: engine.Seen, params: Params) -> engine.Plan:
    plan = engine.plan_of(seen, params["settings"])
    owner = list(engine.owner_of(seen, plan))
    sizes = {path: facts.st_size for path, facts in seen.files.items()}
    return dict(plan, version=1, state="staged", sha256=params["sha256"], owner=owner, sizes=sizes)


def _put_back(data: int, name: str, params: Params, check: bool) -> Result:
    with _before(data, name, make=False) as before:
        plan = engine.load_plan(before) if before is not None else None
        if before is None or plan is None or plan["state"] == "put_back":
            return _result(plan or {}, False, ["nothing to put back: this run installed nothing"])
        _judge_holders(engine.load_seen(data, params["settings"]), params["data_dir"])
        if check:
            return _result(plan, True, ["would put the old files back"], back=True)
        engine.save_plan(before, dict(plan, state="putting_back"))
        engine.put_back(data, before, plan)
        engine.save_plan(before, dict(plan, state="put_back"))
    return _result(plan, True, ["put %d old files back; the files they replaced are in %s/undone" % (len(plan["old"]), name)], back=True)


@contextlib.contextmanager
def _before(data: int, name: str, make: bool) -> t.Iterator[t.Optional[int]]:
    before = engine.open_before(data, name, make)
    try:
        yield before
    finally:
        if before is not None:
            os.close(before)


def _judge_holders(seen: engine.Seen, data_dir: str) -> None:
    """Raise StepError if a process runs in the data directory or has one of its files open."""
    holders = load_holders(seen.top, seen.files.values())
    if not holders:
        return
    texts = {
        "works_in": "runs in it",
        "has_open": "has one of its files open",
        "hidden": "may run in it (set become to find out)",
    }
    one = holders[0]
    text = "%s is in use: process %d (%s) %s" % (one_line(data_dir, 60), one["pid"], one_line(one["name"], 30), texts[one["why"]])
    raise refused("state_not_handled", text + "; stop it first")


# Staging -----------------------------------------------------------------------------------------


def _stage(data: int, before: int, plan: engine.Plan, params: Params) -> None:
    """Write the new files to ``new``, with their owner, and verify the bytes. Raises StepError, OSError."""
    owner, end = tuple(plan["owner"]), time.monotonic() + params["timeout"]
    with _open_rdb(params["rdb"]) as reader:
        size = os.fstat(reader).st_size
        space = os.fstatvfs(data)
        if space.f_bavail * space.f_frsize < size + MARGIN_BYTES:
            text = "the chosen file needs %d bytes, and %s has %d free" % (size, params["data_dir"], space.f_bavail * space.f_frsize)
            raise refused("no_room", text)
        _stage_data(reader, before, "new/" + plan["data"], size, owner, params["sha256"], end)
    if plan["layout"] == "multi_part":
        manifest = engine.manifest_of(*(plan[key].rpartition("/")[2] for key in ("data", "incr")))
        write_new(before, "new/" + plan["incr"], b"", owner)
        write_new(before, "new/" + plan["manifest"], manifest.encode(), owner)
        if plan["main"] == plan["folder"]:
            _dress_folder(data, before, plan["folder"], owner)


@contextlib.contextmanager
def _open_rdb(path: str) -> t.Iterator[int]:
    try:
        reader = open_regular(path)
    except OSError as error:
        raise refused("bad_input", "the chosen file %s cannot be opened: %s" % (one_line(path, 80), error.strerror or error)) from None
    try:
        if not is_rdb(os.read(reader, 9)):
            raise refused("bad_input", "the chosen file %s is not an RDB" % one_line(path, 80))
        os.lseek(reader, 0, os.SEEK_SET)
        yield reader
    finally:
        os.close(reader)


def _stage_data(reader: int, before: int, path: str, size: int, owner: t.Any, sha256: str, end: float) -> None:
    with below(before, path, make=True) as (folder, name):
        writer = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            if _hashed(reader, end, writer) != sha256:
                raise refused("data_damaged", "the chosen file is not the one that was checked: its sha256 differs")
            give(writer, owner)
            os.fsync(writer)
            # Reads from the disk, as far as the kernel drops its cached pages.
            os.posix_fadvise(writer, 0, 0, os.POSIX_FADV_DONTNEED)
            os.lseek(writer, 0, os.SEEK_SET)
            if _hashed(writer, end) != sha256 or os.fstat(writer).st_size != size:
                raise refused("data_damaged", "reading the file back returned different bytes: do not trust this disk")
        finally:
            os.close(writer)
        os.fsync(folder)


def _hashed(reader: int, end: float, writer: t.Optional[int] = None) -> str:
    """Return the sha256 of the rest of *reader*; copy that rest to *writer* if there is one."""
    digest = hashlib.sha256()
    for chunk in iter(lambda: os.read(reader, CHUNK), b""):
        if time.monotonic() > end:
            raise refused("state_not_handled", "ran out of time installing the file; raise timeout")
        digest.update(chunk)
        view = memoryview(chunk)
        while writer is not None and view:
            view = view[os.write(writer, view) :]
    return digest.hexdigest()


def _dress_folder(data: int, before: int, folder: str, owner: t.Any) -> None:
    inner = os.open("new/" + folder, FOLDER, dir_fd=before)
    try:
        give(inner, (owner[0], owner[1], os.fstat(data).st_mode & 0o777))
        os.fsync(inner)
    finally:
        os.close(inner)


# Results -----------------------------------------------------------------------------------------


def _result(plan: engine.Plan, changed: bool, say: list[str], back: bool = False) -> Result:
    old, come = _listing(plan, "old"), _listing(plan, "come")
    diff = {"before": come if back else old, "after": old if back else come} if changed else {"before": "", "after": ""}
    return {
        "changed": changed, "layout": plan.get("layout", ""), "moved": plan.get("old", []) if changed else [],
        "installed": [] if back or not plan else [plan["data"]], "diff": diff, "say": say,
    }  # fmt: skip


def _listing(plan: engine.Plan, which: str) -> str:
    if which == "old":
        return "".join("%s %d bytes\n" % (one_line(path, 80), plan["sizes"][path]) for path in plan.get("old", []))
    return "%s sha256 %s\n" % (plan["data"], plan["sha256"]) if plan else ""


def _short(params: Params) -> str:
    return one_line(os.path.basename(params["rdb"]), 60)
