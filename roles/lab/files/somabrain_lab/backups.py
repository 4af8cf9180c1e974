# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's backups: a pgBackRest stanza with its repository in the lab's directory, and the first full backup."""

from __future__ import annotations

import shutil
import subprocess
import threading
import typing as t

from .cluster import SUPERUSER, as_user
from .layout import Layout

STANZA = "lab"
CONFIGURATION = """[global]
repo1-path={lab}/backups
repo1-retention-full=2
repo1-bundle=y
start-fast=y
compress-type=lz4
compress-level=1
log-level-file=off
log-level-console=warn
lock-path={lab}/run
spool-path={lab}/run

[{stanza}]
pg1-path={lab}/postgres
pg1-port={port}
pg1-socket-path={lab}/run
pg1-user={user}
"""
# Kept inside the cluster, so that a recreated cluster is backed up again.
STAMP = "postgres/somabrain-backup.stamp"


def wanted(layout: Layout) -> bool:
    """Return whether this lab has backups: they are wanted, and pgBackRest is installed."""
    return bool(layout.settings["backups"] and shutil.which("pgbackrest"))


def configuration(layout: Layout, port: int) -> dict[str, tuple[str, int]]:
    """Return pgBackRest's own file: name to text and mode; nothing without backups."""
    text = CONFIGURATION.format(lab=layout.dir, stanza=STANZA, port=port, user=SUPERUSER)
    return {"etc/pgbackrest.conf": (text, 0o644)} if wanted(layout) else {}


def archiving(layout: Layout) -> list[str]:
    """Return the lines of the cluster's configuration that archive WAL into the repository."""
    if not wanted(layout):
        return []
    command = f"pgbackrest --config={layout.dir}/etc/pgbackrest.conf --stanza={STANZA} archive-push %p"
    return ["archive_mode = on", f"archive_command = '{command}'"]


class First:
    """The first full backup of a cluster, taken while the rest of the lab starts."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.problem = layout, ""
        self.due = wanted(layout) and not (layout.dir / STAMP).exists()
        self._thread = threading.Thread(target=self._work)
        if self.due:
            self._thread.start()

    def end(self) -> list[str]:
        """Wait for the backup, and return sentences for the user."""
        if self.layout.settings["backups"] and not wanted(self.layout):
            return ["pgbackrest is not installed: this lab has no backups (scripts/setup installs it)"]
        if self.due:
            self._thread.join()
        return [f"the first backup failed: {self.problem}"] if self.problem else []

    def _work(self) -> None:
        # A recreated cluster keeps its stanza, with the new system identifier. The WAL of the backup arrives a moment later;
        # waiting for it would take longer than everything else.
        created = self._run("--no-online", "stanza-create") or self._run("--no-online", "stanza-upgrade")
        if created and self._run("--type=full", "--no-archive-check", "backup"):
            self.layout.write(STAMP, "once\n", 0o600)
            self.problem = ""

    def _run(self, *words: str) -> bool:
        command = ["pgbackrest", f"--config={self.layout.dir}/etc/pgbackrest.conf", f"--stanza={STANZA}", *words]
        options: dict[str, t.Any] = {"capture_output": True, "text": True, "cwd": self.layout.dir, "timeout": 120}
        try:
            done = subprocess.run(command, check=False, **options, **as_user(self.layout))
        except (OSError, subprocess.SubprocessError) as error:
            self.problem = str(error)
            return False
        self.problem = " ".join((done.stderr or done.stdout).split())[-300:] if done.returncode else ""
        return done.returncode == 0
