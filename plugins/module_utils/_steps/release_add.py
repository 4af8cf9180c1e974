# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``release_add``: make a release of a directory, named by its content and complete from the start. Selects nothing."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import stat
import tempfile
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import tree
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.identity import short

ARGUMENT_SPEC: dict[str, t.Any] = {
    "src": {"type": "path", "required": True},
    "releases_dir": {"type": "path", "required": True},
    "leave_out": {"type": "list", "elements": "str", "default": [".git"]},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed, release, path, stage, say}. Raises StepError where the source cannot be read or there is no room."""
    source, base = params["src"], params["releases_dir"]
    told: list[str] = []
    try:
        without = [name for name in params["leave_out"] if os.path.lexists(os.path.join(source, name))]
        release = tree.content_id(source, without=without)
        path = os.path.join(base, release)
        there = os.path.isdir(path)
        if there and tree.content_id(path) != release:
            raise StepError("%s exists, but its content does not match its name; move it away" % one_line(path, 160))
        if there:
            told = _told(_otherwise(source, path))
        elif not check:
            told = _told(_place(source, base, release, without))
    except (tree.NotReadable, OSError, shutil.Error) as error:
        raise StepError("%s cannot become a release: %s" % (one_line(source, 80), one_line(error, 160))) from None
    verb = "already exists" if there else "would be added" if check else "added"
    less = " (without %s)" % ", ".join(one_line(name, 60) for name in without) if without else ""
    say = ["release %s: %s%s" % (short(release), verb, less), *told]
    return {"changed": not there, "release": release, "path": path, "stage": params["stage"], "say": say}


def _place(source: str, base: str, release: str, without: t.Collection[str]) -> list[str]:
    """Copy all but *without* beside its place, rename the proven copy, and return what has other owners or modes. Raises OSError."""
    os.makedirs(base, exist_ok=True)
    # Nobody else can enter it, so nobody can put a link in the way of a change of owner.
    half = tempfile.mkdtemp(dir=base, prefix=".adding-")
    try:
        copy = os.path.join(half, release)
        shutil.copytree(source, copy, symlinks=True, ignore=functools.partial(_left_out, source, without))
        _give(source, copy)
        if tree.content_id(copy) != release:
            raise OSError("it changed during the copy")
        left = _otherwise(source, copy)
        os.rename(copy, os.path.join(base, release))
    finally:
        shutil.rmtree(half)
    return left


def _left_out(source: str, without: t.Collection[str], folder: str, names: t.Sequence[str]) -> set[str]:
    return {name for name in names if name in tree.LEFT_OUT or (folder == source and name in without)}


def _pairs(source: str, copy: str) -> t.Iterator[tuple[str, str, os.stat_result, os.stat_result]]:
    """Yield (name, path of the copy, facts of the original, facts of the copy) of everything in *copy*, and of itself."""
    names = ["."]
    for folder, folders, files in os.walk(copy):
        folders[:] = [name for name in folders if name not in tree.LEFT_OUT]
        names += [os.path.relpath(os.path.join(folder, name), copy) for name in folders + files]
    for name in names:
        path = os.path.join(copy, name)
        yield name, path, os.lstat(os.path.join(source, name)), os.lstat(path)


def _give(source: str, copy: str) -> None:
    """Give each copy to the owner of its original; only root may."""
    for _name, path, was, now in list(_pairs(source, copy)):
        if (was.st_uid, was.st_gid) == (now.st_uid, now.st_gid):
            continue
        with contextlib.suppress(PermissionError):
            os.chown(path, was.st_uid, was.st_gid, follow_symlinks=False)
        # A change of owner drops bits of the mode. A program that runs as its owner is not made one here.
        if not stat.S_ISLNK(was.st_mode):
            os.chmod(path, stat.S_IMODE(was.st_mode) & (0o3777 if stat.S_ISDIR(was.st_mode) else 0o777))


def _otherwise(source: str, path: str) -> list[str]:
    """Return the names that belong to somebody else than in *source*, or that have another mode."""
    return [name for name, _path, was, now in _pairs(source, path) if _rights(was) != _rights(now)]


def _rights(facts: os.stat_result) -> tuple[int, int, int]:
    return facts.st_uid, facts.st_gid, 0 if stat.S_ISLNK(facts.st_mode) else stat.S_IMODE(facts.st_mode) & 0o777


def _told(names: t.Sequence[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(one_line(name, 60) for name in names[:3]) + (", ..." if len(names) > 3 else "")
    return ["%s there with another owner or mode than in the source (%s): set them before the service runs in it"
            % (counted(len(names), "files"), shown)]  # fmt: skip
