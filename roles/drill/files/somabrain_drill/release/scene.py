# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of a release: the lab's own one runs; those that the drill deploys are taken away in the end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import release_add, release_pin

from ..errors import DrillError
from ..service import scene
from ..target import hashes
from .repository import Repository
from .target import Target


class Scene(scene.Scene):
    """The API of a lab, whose release changes."""

    remedy = "rollback"
    target: Target

    def set(self) -> None:
        self.releases = {"good": self.target.selected()}
        self.names: list[Path] = []
        self.drifted = ""
        self.migrated = ""
        self.configuration = Repository(self.work / "configuration", self.work / "rescue")
        self.kept = self.work / "good"
        shutil.copytree(self.target.releases / self.releases["good"], self.kept, symlinks=True)
        super().set()

    @property
    def variables(self) -> dict[str, t.Any]:
        """The variables of every run: where the configuration is, once there is one."""
        return {**super().variables, **self.configuration.variables}

    def add(self, name: str, source: Path) -> str:
        """Make a directory a release that the drill calls *name*."""
        added = release_add.run({"src": str(source), "releases_dir": str(self.target.releases), "stage": "act", "leave_out": []}, False)
        self.releases[name] = str(added["release"])
        return self.releases[name]

    def select(self, release: str) -> None:
        """Let the link select a release, and restart the API on it."""
        self.point(release)
        self.target.stop()
        self.target.start()

    def point(self, release: str) -> None:
        """Let the link select a release; the API goes on with the one that it was started from."""
        given = {name: rule.get("default") for name, rule in release_pin.ARGUMENT_SPEC.items()}
        own = {"releases_dir": str(self.target.releases), "current": str(self.target.current), "release": release}
        release_pin.run({**given, **self.target.service, **own}, False)

    def head(self) -> str:
        """Return the migration that the schema of the lab's PostgreSQL is at."""
        return self._asked("SELECT version_num FROM alembic_version").strip()

    def be_at(self, head: str) -> None:
        """Let the schema be at another migration, as its own user says."""
        self._asked("UPDATE alembic_version SET version_num = :'head'", f"head={head}")

    def _asked(self, statement: str, *variables: str) -> str:
        told = json.loads((Path(self.target.lab_dir) / "lab.json").read_text(encoding="utf-8"))
        secret = (Path(self.target.lab_dir) / "secrets/postgres_password").read_text(encoding="utf-8").strip()
        user = {"v1": "soma", "v2": "somabrain"}[told["profile"]]
        words = ["psql", "-XqAt", "-h", "127.0.0.1", "-p", str(told["ports"]["postgres"]), "-U", user, "-d", "somabrain"]
        given = [word for one in ("ON_ERROR_STOP=1", *variables) for word in ("-v", one)]
        environment = {**os.environ, "PGPASSWORD": secret}
        done = subprocess.run([*words, *given], input=statement, env=environment, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise DrillError(f"the schema could not be read or changed: {done.stderr.strip()[-200:]}")
        return done.stdout

    def identity(self) -> tuple[t.Any, ...]:
        return (*super().identity(), self.target.selected(), hashes(self.configuration.top))

    def let_go(self) -> None:
        if hasattr(self, "releases"):
            self.put_back()
        super().let_go()

    def put_back(self) -> None:
        """Bring the lab's own release back, and take those of the drill away."""
        good = self.releases["good"]
        place = self.target.releases / good
        if self.kept.is_dir():
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(self.kept, place, symlinks=True)
        if self.target.selected() != good:
            self.target.faults.unlink(missing_ok=True)
            self.select(good)
        if self.migrated:
            self.be_at(self.migrated)
        for path in self.names:
            path.unlink(missing_ok=True)
        for name, release in self.releases.items():
            if name != "good" and release != good:
                shutil.rmtree(self.target.releases / release, ignore_errors=True)
