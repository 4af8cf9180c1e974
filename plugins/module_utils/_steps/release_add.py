# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``release_add``: make a release of a directory, named by its content and complete from the start. Selects nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import tree
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.identity import short

ARGUMENT_SPEC: dict[str, t.Any] = {
    "src": {"type": "path", "required": True},
    "releases_dir": {"type": "path", "required": True},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed, release, path, stage, say}. Raises StepError where the source cannot be read or there is no room."""
    source, base = params["src"], params["releases_dir"]
    try:
        release = tree.content_id(source)
        path = os.path.join(base, release)
        there = os.path.isdir(path)
        if there and tree.content_id(path) != release:
            raise StepError("%s exists, but its content does not match its name; move it away" % one_line(path, 160))
        if not there and not check:
            _place(source, base, release)
    except (tree.NotReadable, OSError, shutil.Error) as error:
        raise StepError("%s cannot become a release: %s" % (one_line(source, 80), one_line(error, 160))) from None
    verb = "already exists" if there else "would be added" if check else "added"
    say = ["release %s: %s" % (short(release), verb)]
    return {"changed": not there, "release": release, "path": path, "stage": params["stage"], "say": say}


def _place(source: str, base: str, release: str) -> None:
    """Copy beside its place, and rename once the copy is proven identical. Raises OSError."""
    os.makedirs(base, exist_ok=True)
    half = tempfile.mkdtemp(dir=base, prefix=".adding-")
    try:
        copy = os.path.join(half, release)
        shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns(*tree.LEFT_OUT))
        if tree.content_id(copy) != release:
            raise OSError("it changed during the copy")
        os.rename(copy, os.path.join(base, release))
    finally:
        shutil.rmtree(half)
