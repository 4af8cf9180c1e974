# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a fault file that only releases know."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from .. import steps
from ..errors import DrillError
from ..service import steps as of_service
from .scene import Scene

ROOT = Path(__file__).resolve().parents[5]


def record(scene: Scene, _given: t.Any) -> None:
    """record: what runs is recorded as verified, by the playbook that a deployment calls."""
    target = scene.target
    given = {"remediation_state_dir": str(scene.work / "ledger"), **scene.variables}
    words = [str(Path(sys.executable).parent / "ansible-playbook"), str(ROOT / "playbooks/record_release.yml")]
    words += [word for one in target.inventories for word in ("-i", one)]
    done = subprocess.run(
        [*words, "--limit", target.host, "-e", json.dumps(given)], cwd=ROOT, env={**os.environ, **target.environment, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DrillError(f"what runs could not be recorded: {done.stdout[-300:]}")


def deploy(scene: Scene, given: t.Any) -> None:
    """deploy: {faults: RULES, migrations: reversible}: another release, with faults of its own, is selected and started."""
    scene.select(_another(scene, given))


def point(scene: Scene, given: t.Any) -> None:
    """point: {faults: RULES}: another release, with faults of its own, is selected for the next start; the API is left alone."""
    scene.point(_another(scene, given))


def _another(scene: Scene, given: t.Any) -> str:
    source = scene.work / "incoming"
    shutil.copytree(scene.kept, source, symlinks=True)
    (source / "faults.json").write_text(json.dumps(given["faults"]), encoding="utf-8")
    if given.get("migrations"):
        (source / "release.json").write_text(json.dumps({"migrations": given["migrations"]}), encoding="utf-8")
    for path in (source, *source.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return scene.add("bad", source)


def remove_release(scene: Scene, name: t.Any) -> None:
    """remove_release: good: its directory goes."""
    shutil.rmtree(scene.target.releases / scene.releases[str(name)])


def alter_release(scene: Scene, name: t.Any) -> None:
    """alter_release: good: a file of it gets one line more."""
    with next((scene.target.releases / scene.releases[str(name)]).rglob("practice.py")).open("a", encoding="utf-8") as file:
        file.write("# altered\n")


def name_release(scene: Scene, given: t.Any) -> None:
    """name_release: {NAME: good}: a name means a release from now on."""
    for name, release in given.items():
        path = scene.target.releases / str(name)
        path.unlink(missing_ok=True)
        path.symlink_to(scene.releases[str(release)])
        scene.names.append(path)


def migrate(scene: Scene, head: t.Any) -> None:
    """migrate: HEAD: the schema of the database is at another migration."""
    scene.migrated = scene.migrated or scene.head()
    scene.be_at(str(head))


def commit(scene: Scene, rules: t.Any) -> None:
    """commit: RULES: the configuration, which the API reads at each request, is committed with these faults; the first time it is made."""
    if not scene.configuration.is_there:
        scene.configuration.begin(scene.target.faults)
    scene.configuration.write(rules)
    scene.configuration.commit()


def drift(scene: Scene, rules: t.Any) -> None:
    """drift: RULES: somebody changes the configuration in place, and commits nothing."""
    scene.configuration.write(rules)
    scene.drifted = scene.configuration.file.read_text(encoding="utf-8")


def detach(scene: Scene, _given: t.Any) -> None:
    """detach: the working copy of the configuration is on no branch any more."""
    scene.configuration.git("checkout", "-q", "--detach")


def shallow(scene: Scene, _given: t.Any) -> None:
    """shallow: the working copy of the configuration has its last commit alone, as a clone of depth 1."""
    scene.configuration.make_shallow(scene.work / "clone")


def commits(scene: Scene, count: t.Any) -> None:
    """commits: COUNT: the branch of the configuration has so many commits by now: none was rewritten, and none made in vain."""
    if scene.configuration.commits != int(count):
        raise DrillError(f"the configuration has {scene.configuration.commits} commits, not {count}")


def patch_kept(scene: Scene, _given: t.Any) -> None:
    """patch_kept: what nobody had committed is in a patch that brings it back, and out of the working copy."""
    if scene.configuration.patched(scene.work / "patched") != scene.drifted:
        raise DrillError("the patch does not bring back what was not committed")
    if scene.configuration.file.read_text(encoding="utf-8") == scene.drifted:
        raise DrillError("what was not committed is still in the working copy")


WORDS: steps.Words = {
    **of_service.WORDS,
    **{
        step.__name__: step
        for step in (
            alter_release, commit, commits, deploy, detach, drift, migrate, name_release, patch_kept, point, record, remove_release,
            shallow,
        )
    },
}  # fmt: skip
