# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Working copies of git for tests: made by git, owned by whom a test wants, told on standard commands only."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
import typing as t
from pathlib import Path

# Who a working copy belongs to: where we are root, somebody else.
OWNER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgSign=false", "-c", "core.hooksPath=/dev/null")


def open_to_all() -> Path:
    """Return a new directory, in memory where that can be, that everybody gets through to; pytest closes its own to others."""
    made = Path(tempfile.mkdtemp(prefix="git-copy-", dir="/dev/shm" if os.path.isdir("/dev/shm") else "/tmp"))
    made.chmod(0o777)
    return made


class Copy:
    """A working copy in *folder* on the branch main."""

    def __init__(self, folder: Path, owner: str = OWNER) -> None:
        self.folder, self.owner = folder, owner
        folder.mkdir()
        self.give()
        self.git("init", "-q", "-b", "main", ".")

    def give(self) -> None:
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self.owner)
            for path in [self.folder, *self.folder.rglob("*")]:
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def git(self, *words: str, check: bool = True) -> str:
        user = self.owner if os.geteuid() == 0 else None
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}
        command = ["git", *IDENTITY, *words]
        done = subprocess.run(command, cwd=self.folder, user=user, env=environment, capture_output=True, timeout=30, check=False)
        assert not check or done.returncode == 0, (words, done.stderr)
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, files: t.Mapping[str, bytes | str | None], mode: int = 0o644) -> None:
        """Write files (bytes), links (text) or take them away (None)."""
        for name, content in files.items():
            path = self.folder / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if isinstance(content, str):
                path.symlink_to(content)
            else:
                path.write_bytes(content)
                path.chmod(mode)
        self.give()

    def commit(self, files: t.Mapping[str, bytes | str | None], mode: int = 0o644) -> str:
        """Commit files and return the commit."""
        self.write(files, mode)
        self.git("add", "-A", "-f", "--", *files)
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def held(self) -> dict[str, tuple[int, bytes]]:
        """Return mode and bytes of everything in the working copy but .git."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if name.partition("/")[0] != ".git" and not (path.is_dir() and not path.is_symlink()):
                content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
                found[name] = (path.lstat().st_mode, content)
        return found
