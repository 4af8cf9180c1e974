# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's releases of the API: directories named by their content, one of them selected by the link ``current``.

A release is a copy of this package. One that is meant to be bad brings faults of its own, which no restart cures.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve()
FAULTS = "faults.json"
# The collection's code that names a release.
TREE = HERE.parents[4] / "plugins/module_utils/_release/tree.py"


def content_id(folder: Path) -> str:
    """Return the name of *folder* as a release."""
    spec = importlib.util.spec_from_file_location("release_tree", TREE)
    assert spec
    assert spec.loader
    tree: t.Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tree)
    return str(tree.content_id(str(folder)))


def add(lab: Path, faults: t.Any = None, migrations: str = "") -> str:
    """Make a release of this package with *faults* of its own (rules as of ``api_faults.json``), and return its id; selects nothing."""
    base = lab / "releases"
    base.mkdir(mode=0o755, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=base, prefix=".adding-"))
    try:
        folder = half / "release"
        shutil.copytree(HERE.parent, folder / HERE.parent.name, ignore=shutil.ignore_patterns("__pycache__"))
        told = {FAULTS: faults, "release.json": {"migrations": migrations} if migrations else None}
        for name, content in told.items():
            if content:
                (folder / name).write_text(json.dumps(content) + "\n", encoding="utf-8")
        release = content_id(folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if not (base / release).exists():
            folder.rename(base / release)
        return release
    finally:
        shutil.rmtree(half)


def select(lab: Path, release: str) -> bool:
    """Point the link ``current`` to a release; return whether that is a change."""
    link, target = lab / "current", f"releases/{release}"
    if link.is_symlink() and os.readlink(link) == target:
        return False
    half = lab / ".current.new"
    half.unlink(missing_ok=True)
    half.symlink_to(target)
    half.replace(link)
    return True
