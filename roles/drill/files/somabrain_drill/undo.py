# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The undo that an outcome prints, done as it says, and the copy that came before the first change: what came of both."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

from .runs import ROOT, Player, Ran
from .target import hashes

COMMAND = "ansible "
LONGEST = 120


@dataclasses.dataclass
class Undone:
    """The exit code of the printed undo (None: none was printed), what it said, which files then differed, what is wrong with the copy."""

    code: t.Optional[int]
    text: str = ""
    differ: t.Tuple[str, ...] = ()
    copy: str = ""


def replay(player: Player, ran: Ran, before: t.Mapping[str, t.Any]) -> Undone:
    """Do what the outcome of *ran*, which has put data in place, prints as its undo; *before* is what there was before its first run."""
    aside = player.target.data_dir / f"before-{ran.outcome['run_id']}"
    # What served until it was stopped went on writing until then: what counts are the files that were put aside.
    served = before["process"] != (0, 0)
    was = moved(aside) if served else data_of(before, player.target.data_dir)
    copy = judged_copy(player.scene.work / "rescue" / ran.outcome["run_id"], aside, {} if served else was)
    # The last line is the command: it stops Redis and brings the files back.
    printed = (str(ran.outcome.get("undo") or "").splitlines() or [""])[-1]
    if not printed.startswith(COMMAND):
        return Undone(None, printed, copy=copy)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, **player.target.environment, "PATH": path}
    done = subprocess.run(
        ["/bin/sh", "-c", printed], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST,
        check=False, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    now = data_of(hashes(player.target.data_dir), player.target.data_dir)
    now = only_files(now) if served else now
    differ = {path for path in {*was, *now} if was.get(path) != now.get(path)}
    return Undone(done.returncode, (done.stdout + done.stderr)[-400:], tuple(sorted(differ)), copy)


def data_of(found: t.Mapping[str, t.Any], folder: Path) -> dict[str, t.Any]:
    """Return those of *found* that lie in *folder*, by relative name, without what was put aside there."""
    inside = {path[len(str(folder)) + 1 :]: facts for path, facts in found.items() if path.startswith(f"{folder}/")}
    return {path: facts for path, facts in inside.items() if not path.startswith("before-")}


def moved(aside: Path) -> dict[str, t.Any]:
    """Return the files that were put aside, by the name that they had."""
    return only_files(data_of(hashes(aside / "old"), aside / "old"))


def only_files(found: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return those that have a digest: folders have none."""
    return {path: facts for path, facts in found.items() if not facts.endswith(" ")}


def judged_copy(folder: Path, aside: Path, was: t.Mapping[str, t.Any]) -> str:
    """Return what is wrong with the copy that a run keeps in *folder*, "" where its manifest is older than the first change and true."""
    manifest = folder / "copy.manifest.json"
    try:
        files = {one["name"]: one["sha256"] for one in json.loads(manifest.read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError) as error:
        return f"there is no copy with a manifest from before the first change: {error}"
    changes = [path.lstat().st_ctime_ns for path in aside.rglob("*")]
    if not changes or manifest.stat().st_mtime_ns > min(changes):
        return "the manifest of the copy is younger than the first change"
    if was and files != {path: facts.rpartition(" ")[2] for path, facts in only_files(was).items()}:
        return "the manifest of the copy does not tell the files that there were"
    wrong = [name for name, digest in files.items() if _digest(folder / "copy" / name) != digest]
    return f"the copy differs from its manifest: {', '.join(wrong)}" if wrong else ""


def _digest(path: Path) -> str:
    with contextlib.suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""
