# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration in git that the API of a lab really reads: the file of its faults is a link to a file in a working copy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

from ..errors import DrillError

FOLDER, NAME = "service", "api_faults.json"
PERSON = ("-c", "user.name=drill", "-c", "user.email=drill@localhost")


class Repository:
    """The working copy in *top*; what the API reads is one file of it."""

    def __init__(self, top: Path, rescue: Path) -> None:
        self.top, self.rescue = top, rescue

    @property
    def file(self) -> Path:
        return self.top / FOLDER / NAME

    @property
    def is_there(self) -> bool:
        return (self.top / ".git").is_dir()

    @property
    def variables(self) -> dict[str, t.Any]:
        """The variables that a rollback gets for it; the patch of uncommitted changes is kept in the drill's work directory."""
        named = {"rollback_config_repository": str(self.top), "rollback_config_path": FOLDER, "rollback_rescue_dir": str(self.rescue)}
        return named if self.is_there else {}

    def git(self, *words: str) -> str:
        """Return what git prints, without anybody's settings. Raises DrillError where it fails."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        environment = {**clean, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-C", str(self.top), *PERSON, *words], env=environment, capture_output=True, text=True, timeout=20, check=False
        )
        if done.returncode:
            raise DrillError(f"git {words[0]} failed: {done.stderr.strip()[-200:]}")
        return done.stdout

    def begin(self, link: Path) -> None:
        """Make the working copy, with a folder of somebody else's in it, and let *link* lead into it."""
        (self.top / FOLDER).mkdir(parents=True)
        (self.top / "elsewhere").mkdir()
        self.git("init", "-q", "-b", "main")
        (self.top / "elsewhere/notes").write_text("not committed, and no matter of this service\n", encoding="utf-8")
        link.symlink_to(self.file)

    def write(self, rules: t.Any) -> None:
        """Let the configuration say something else, from one moment to the next."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(rules) + "\n", encoding="utf-8")
        new.chmod(0o644)
        new.replace(self.file)

    def commit(self) -> None:
        self.git("add", "--", FOLDER)
        self.git("commit", "-q", "--no-gpg-sign", "-m", "another configuration")

    def make_shallow(self, clone: Path) -> None:
        """Take every commit but the last one out of the working copy."""
        self.git("clone", "-q", "--depth", "1", f"file://{self.top}", str(clone))
        shutil.rmtree(self.top / ".git")
        (clone / ".git").rename(self.top / ".git")

    @property
    def commits(self) -> int:
        return len(self.git("rev-list", "HEAD").split())

    def patched(self, into: Path) -> str:
        """Return what the file holds where the one patch that was kept is applied to what is committed. Raises DrillError for none."""
        kept = sorted(self.rescue.rglob("drift.patch"))
        if len(kept) != 1:
            raise DrillError(f"{len(kept)} patches of what was not committed are kept, not one")
        self.git("clone", "-q", str(self.top), str(into))
        Repository(into, self.rescue).git("apply", str(kept[0]))
        return (into / FOLDER / NAME).read_text(encoding="utf-8")
