# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs one RDB in a data directory so that its Redis loads it, and puts the old files back.

Everything is a rename within ``<data_dir>/before-<run id>``: ``new`` holds the staged files, ``old`` the replaced ones, ``undone`` what a
put-back took out, ``between`` what another process wrote in between. One rename (of the dump, the append-only file or the manifest) is
the switch: before it Redis loads all of the old, after it all of the new. ``plan.json`` is written before the switch, so that after a
crash the next call can finish in either direction. No existing file is ever removed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import name_in
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import (
    FOLDER,
    below,
    facts_of,
    make_folder,
    open_regular,
    write_new,
)

PLAN = "plan.json"
_NAME = re.compile(r"[\w.@%+=:,-]{1,200}\Z")
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)

Plan = t.Dict[str, t.Any]


class Unfit(Exception):
    """The data directory or the settings do not allow an installation; ``code`` is the code of a refusal."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Seen(t.NamedTuple):
    """What a data directory holds that Redis would load or overwrite: facts by relative path, and those of the folder."""

    top: os.stat_result
    files: dict[str, os.stat_result]
    folder: t.Optional[os.stat_result]


def names_of(settings: t.Mapping[str, t.Any]) -> tuple[str, str, str]:
    """Return (appenddirname, appendfilename, dbfilename). Raises Unfit for unusable names."""
    folder, aof, rdb = (name_in(settings, key) for key in ("appenddirname", "appendfilename", "dbfilename"))
    for name in (folder, aof, rdb):
        if not _NAME.match(name) or name in (".", "..") or name.startswith("before-"):
            raise Unfit("bad_input", "the Redis settings name a forbidden file: %s" % one_line(name, 60))
    if len({folder, aof, rdb}) < 3:
        raise Unfit("bad_input", "the Redis settings give two files the same name")
    return folder, aof, rdb


def load_seen(data: int, settings: t.Mapping[str, t.Any]) -> Seen:
    """Return what the open directory *data* holds. Raises Unfit for bad names, OSError if it cannot be read."""
    folder, aof, rdb = names_of(settings)
    files = {name: facts for name in (aof, rdb) for facts in [facts_of(data, name)] if facts is not None}
    inner = facts_of(data, folder)
    if inner is not None and stat.S_ISDIR(inner.st_mode):
        with below(data, folder + "/.") as (descriptor, dummy):
            for name in sorted(os.listdir(descriptor)):
                files[folder + "/" + name] = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    return Seen(os.fstat(data), files, inner)


def plan_of(seen: Seen, settings: t.Mapping[str, t.Any]) -> Plan:
    """Return which files go, which come, and which rename is the switch. Pure; raises Unfit for anything it must not touch."""
    folder, aof, rdb = names_of(settings)
    _judge_seen(seen, folder)
    plan: Plan = {"folder": folder, "folder_existed": seen.folder is not None, "data": rdb, "main": rdb, "new": [rdb], "watched": [rdb]}
    if str(settings.get("appendonly") or "no").lower() != "yes":
        return dict(plan, layout="rdb", old=[rdb] if rdb in seen.files else [])
    plan.update(watched=[folder, aof, rdb])
    if not _is_multi_part(settings, seen):
        old = [path for path in seen.files if not path.startswith(folder + "/")]
        return dict(plan, layout="aof", data=aof, main=aof, new=[aof], watched=[aof, rdb] if seen.folder else plan["watched"], old=old)
    base, incr = next_names(aof, [path.rpartition("/")[2] for path in seen.files if path.startswith(folder + "/")])
    manifest, new = "%s/%s.manifest" % (folder, aof), [folder + "/" + base, folder + "/" + incr]
    # If there is no folder yet, all of it comes in one rename.
    come = {"new": [*new, manifest], "main": manifest} if seen.folder else {"new": [folder], "main": folder}
    return dict(plan, layout="multi_part", data=new[0], incr=new[1], manifest=manifest, old=list(seen.files), **come)


def _judge_seen(seen: Seen, folder: str) -> None:
    odd = [path for path, facts in seen.files.items() if not stat.S_ISREG(facts.st_mode)]
    if seen.folder is not None and not stat.S_ISDIR(seen.folder.st_mode):
        odd.append(folder)
    if odd:
        raise Unfit("data_damaged", "the data directory holds something that is not a regular file: %s" % one_line(", ".join(odd[:3]), 120))
    if seen.folder is not None and seen.folder.st_dev != seen.top.st_dev:
        raise Unfit("state_not_handled", "%s is a mount point, so files cannot be renamed out of it" % one_line(folder, 60))


def _is_multi_part(settings: t.Mapping[str, t.Any], seen: Seen) -> bool:
    if settings.get("multi_part") is not None:
        return str(settings["multi_part"]).lower() in ("true", "yes", "1")
    # An older Redis reads an RDB as the head of its single file, and a newer one takes that file over.
    return bool(settings.get("appenddirname")) or seen.folder is not None


def next_names(aof: str, there: t.Iterable[str]) -> tuple[str, str]:
    """Return the names of a base and an incremental file, numbered above all of those *there*."""
    pattern = re.compile(re.escape(aof) + r"\.(\d{1,18})\.(base|incr)\.(?:rdb|aof)\Z")
    numbers: dict[str, int] = {"base": 0, "incr": 0}
    for name in there:
        found = pattern.match(name)
        if found:
            numbers[found.group(2)] = max(numbers[found.group(2)], int(found.group(1)))
    return "%s.%d.base.rdb" % (aof, numbers["base"] + 1), "%s.%d.incr.aof" % (aof, numbers["incr"] + 1)


def manifest_of(base: str, incr: str) -> str:
    """Return the manifest of one base and one incremental file, as Redis writes it."""
    return "".join("file %s seq %s type %s\n" % (name, name.rsplit(".", 3)[1], kind) for name, kind in ((base, "b"), (incr, "i")))


def owner_of(seen: Seen, plan: Plan) -> tuple[int, int, int]:
    """Return (user, group, mode) for a new file: those of the file it replaces, else those that the directory suggests."""
    like = [seen.files[path] for path in [plan["main"], *plan["old"]] if path in seen.files]
    facts = like[0] if like else seen.folder or seen.top
    return facts.st_uid, facts.st_gid, facts.st_mode & 0o666


# The directories ---------------------------------------------------------------------------------


def open_before(data: int, name: str, make: bool) -> t.Optional[int]:
    """Return our open directory *name* inside *data*, None if there is none. Raises Unfit if it is not ours, OSError."""
    if make:
        make_folder(data, name)
    try:
        before = os.open(name, FOLDER, dir_fd=data)
    except FileNotFoundError:
        return None
    facts = os.fstat(before)
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        os.close(before)
        raise Unfit("bad_input", "%s in the data directory was not made by this collection" % one_line(name, 60))
    return before


def load_plan(before: int) -> t.Optional[Plan]:
    """Return the plan of an installation that has begun, None for none. Raises Unfit if it cannot be read."""
    try:
        with os.fdopen(open_regular(PLAN, before), "rb") as file:
            return t.cast(Plan, json.loads(file.read(1024 * 1024).decode("utf-8")))
    except FileNotFoundError:
        return None
    except ValueError:
        raise Unfit("data_damaged", "the plan of an earlier installation cannot be read") from None


def save_plan(before: int, plan: Plan) -> None:
    """Write the plan atomically. Raises OSError."""
    write_new(before, PLAN + ".part", json.dumps(plan, indent=1, sort_keys=True).encode())
    os.rename(PLAN + ".part", PLAN, src_dir_fd=before, dst_dir_fd=before)
    os.fsync(before)


def forget_staged(before: int) -> None:
    """Remove what an earlier attempt staged but never installed; copies only. Raises OSError."""
    if facts_of(before, "new") is not None:
        shutil.rmtree("/proc/self/fd/%d/new" % before)


# The two directions ------------------------------------------------------------------------------


def install(data: int, before: int, plan: Plan) -> None:
    """Move the staged files in and the old ones aside, from wherever an earlier attempt stopped. Raises OSError."""
    main = plan["main"]
    for path in plan["new"]:
        if path != main:
            _come(data, before, path)
    if main in plan["old"]:
        _keep(data, before, main)
    _come(data, before, main, replace=main in plan["old"])
    for path in plan["old"]:
        if path != main and facts_of(data, path) is not None:
            _move(data, path, before, _free(before, "old", path, "between"))


def put_back(data: int, before: int, plan: Plan) -> None:
    """Move the old files back and their replacements aside, from wherever an earlier attempt stopped. Raises OSError."""
    for path in sorted(plan["old"], key=lambda path: bool(path == plan["main"])):
        _restore(data, before, path)
    for path in sorted(_strays(data, plan), key=lambda path: bool(path != plan["main"])):
        _move(data, path, before, _free(before, "undone", path))


def _come(data: int, before: int, path: str, replace: bool = False) -> None:
    if facts_of(before, "new/" + path) is None:
        return
    if not replace and facts_of(data, path) is not None:
        _move(data, path, before, _free(before, "between", path))
    _move(before, "new/" + path, data, path)


def _keep(data: int, before: int, path: str) -> None:
    """Give the old file a second name in ``old``, so that it never disappears."""
    kept, there = facts_of(before, "old/" + path), facts_of(data, path)
    if there is None or facts_of(before, "new/" + path) is None:
        return
    if kept is None:
        _link(data, path, before, "old/" + path)
    elif kept.st_ino != there.st_ino:
        # Someone wrote since the interrupted attempt.
        _link(data, path, before, _free(before, "between", path))


def _restore(data: int, before: int, path: str) -> None:
    kept, there = facts_of(before, "old/" + path), facts_of(data, path)
    if kept is None:
        return
    if there is not None and there.st_ino == kept.st_ino:
        # Two names of one file: a rename from one to the other would leave both.
        with below(before, "old/" + path) as (folder, name):
            os.unlink(name, dir_fd=folder)
        return
    if there is not None:
        _put_away(data, before, path, there)
    _move(before, "old/" + path, data, path)


def _put_away(data: int, before: int, path: str, there: os.stat_result) -> None:
    """Give the replacement a second name in ``undone``, unless an interrupted attempt already did."""
    away = facts_of(before, "undone/" + path)
    if away is None or away.st_ino != there.st_ino:
        _link(data, path, before, _free(before, "undone", path))


def _strays(data: int, plan: Plan) -> t.Iterator[str]:
    """Yield what Redis would load now but not before the installation."""
    for top in plan["watched"]:
        if facts_of(data, top) is None or top in plan["old"]:
            continue
        if top == plan["folder"] and plan["folder_existed"]:
            with below(data, top + "/.") as (folder, dummy):
                inside = sorted(os.listdir(folder))
            yield from (path for path in (top + "/" + name for name in inside) if path not in plan["old"])
        else:
            yield top


def _free(before: int, place: str, path: str, other: str = "") -> str:
    """Return a free path in ``place``; if it is taken, one in ``other`` or in the next numbered place."""
    if facts_of(before, "%s/%s" % (place, path)) is None:
        return "%s/%s" % (place, path)
    name = other or place
    number = 2
    while facts_of(before, "%s-%d/%s" % (name, number, path)) is not None:
        number += 1
    return "%s-%d/%s" % (name, number, path)


def _move(source: int, path: str, target: int, to: str) -> None:
    with below(source, path) as (folder, name), below(target, to, make=True) as (other, wanted):
        os.rename(name, wanted, src_dir_fd=folder, dst_dir_fd=other)
        os.fsync(other)
        os.fsync(folder)


def _link(source: int, path: str, target: int, to: str) -> None:
    with below(source, path) as (folder, name), below(target, to, make=True) as (other, wanted):
        try:
            os.link(name, wanted, src_dir_fd=folder, dst_dir_fd=other, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without hard links there is a moment without either file; a later attempt continues from there.
            os.rename(name, wanted, src_dir_fd=folder, dst_dir_fd=other)
        os.fsync(other)
