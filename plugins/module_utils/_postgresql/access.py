# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the files of a cluster that is down back to the user it runs as, and takes that back. No link is followed, no second name changed.

Each file is opened below the data directory and judged again right before its change.
"""

from __future__ import annotations

import json
import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.process import load_access
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import below, make_private, opened_folder

MOST, SECONDS = 1_000_000, 30.0
RECORD = "access.json"
# The files that a result lists; the record has all of them.
LISTED = 20
File = t.Dict[str, t.Any]


def fix_access(data_dir: str, user: str, rescue: str, run_id: str, check: bool) -> Result:
    """Set owner and mode of everything that keeps PostgreSQL from its files. Raises StepError where something must not be given away."""
    seen = load_access(data_dir, user if os.geteuid() == 0 else "", MOST, SECONDS)
    wrong = _judged(data_dir, seen)
    record = os.path.join(rescue, run_id, RECORD) if rescue else ""
    if len(wrong) > LISTED and not record:
        text = "%s have a wrong owner or mode: set database_recovery_rescue_dir, so that they can be put back"
        raise StepError(text % counted(len(wrong), "files"))
    before = [{key: one[key] for key in ("path", "owner", "group", "mode")} for one in wrong]
    if before and not check:
        _write(record, before)
        _each(data_dir, before, lambda facts, one: _wanted(facts, seen, one["path"] == data_dir))
    say = "owner and mode of %s %s those that PostgreSQL needs" % (counted(len(before), "files"), "would be" if check else "are")
    told = record if before and not check else ""
    return {"changed": bool(before), "files": before[:LISTED], "count": len(before), "record": told, "say": [say]}


def _judged(data_dir: str, seen: t.Mapping[str, t.Any]) -> t.List[File]:
    """Return what is wrong. Raises StepError where a file may be somebody else's."""
    wrong: t.List[File] = seen.get("wrong") or []
    doubtful = [one["path"] for one in wrong if one.get("shared") or one.get("linked")]
    if doubtful or seen.get("led"):
        text = "%s is reached by a link, or has a second name: nothing was given away"
        raise StepError(text % one_line((doubtful or [data_dir])[0], 120))
    return wrong


def put_access_back(data_dir: str, files: t.Sequence[File], record: str, check: bool) -> Result:
    """Set owner and mode as *record* has them, or *files* where there is no record."""
    before = _read(record) if record else list(files)
    if before and not check:
        _each(data_dir, before, lambda facts, one: (int(one["owner"]), int(one["group"]), int(str(one["mode"]), 8)))
    return {"changed": bool(before), "count": len(before), "say": ["owner and mode of %s are as they were" % counted(len(before), "files")]}


def _wanted(facts: os.stat_result, seen: t.Mapping[str, t.Any], top: bool) -> t.Tuple[int, int, int]:
    """Return (user, group, mode) that PostgreSQL needs: it does not start on a data directory that others may enter."""
    mode = stat.S_IMODE(facts.st_mode)
    needs = 0o700 if stat.S_ISDIR(facts.st_mode) else 0o600
    return int(seen["uid"]), int(seen["gid"]), 0o700 if top else mode | needs


def _each(data_dir: str, files: t.Sequence[File], wanted: t.Callable[[os.stat_result, File], t.Tuple[int, int, int]]) -> None:
    path = data_dir
    try:
        with opened_folder(data_dir) as top:
            for one in files:
                path = str(one["path"])
                with below(top, os.path.relpath(path, data_dir)) as (folder, name):
                    _set(folder, name, one, wanted)
    except FileNotFoundError:
        raise StepError("%s is gone: look again" % one_line(path, 120)) from None
    except OSError as error:
        raise StepError("%s: %s" % (one_line(path, 120), error.strerror or error)) from None


def _set(folder: int, name: str, one: File, wanted: t.Callable[[os.stat_result, File], t.Tuple[int, int, int]]) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISDIR(facts.st_mode) and (not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1):
            raise StepError("%s is not a regular file any more: nothing further was changed" % one_line(one["path"], 120))
        uid, gid, mode = wanted(facts, one)
        if (facts.st_uid, facts.st_gid) != (uid, gid):
            os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _write(record: str, files: t.Sequence[File]) -> None:
    if not record:
        return
    try:
        make_private(os.path.dirname(record))
        with open(os.open(record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
            json.dump(list(files), file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StepError("how the files were cannot be kept in %s: %s" % (one_line(record, 120), error.strerror)) from None


def _read(record: str) -> t.List[File]:
    try:
        with open(os.open(record, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
            return list(json.load(file))
    except (OSError, ValueError):
        raise StepError("%s, which says how the files were, cannot be read" % one_line(record, 120)) from None
