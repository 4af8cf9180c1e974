# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL clusters on private sockets, archiving into a pgBackRest repository of their own, for the tests that restore."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

BINARIES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
USER = "postgres"
STANZA = "demo"
PORT = 5432


def missing() -> str:
    """Return what is not installed here, "" for nothing."""
    if not BINARIES:
        return "PostgreSQL's server is not installed"
    return "" if shutil.which("pgbackrest") else "pgbackrest is not installed"


def owner() -> t.Optional[str]:
    return USER if os.geteuid() == 0 else None


class BackedCluster:
    """A throw-away cluster in *folder*: data, socket, repository and configuration of pgBackRest, all private."""

    def __init__(self, folder: Path, *words: str, binaries: str = "") -> None:
        self.folder, self.binaries, self.words = folder, binaries or BINARIES[-1], words
        self.data, self.socket, self.repo, self.config = (folder / name for name in ("data", "s", "repo", "pgbackrest.conf"))

    def run(self, *words: str, text: str = "", check: bool = True) -> str:
        program = words[0] if words[0] in ("pgbackrest", "mkdir") else os.path.join(self.binaries, words[0])
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGTZ": "UTC"}
        done = subprocess.run(
            [program, *words[1:]], user=owner(), group=owner(), extra_groups=[] if owner() else None, cwd="/", env=env, input=text,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, (words, done.stdout[-800:], done.stderr[-800:])
        return done.stdout

    def create(self) -> BackedCluster:
        for name in ("s", "repo", "lock", "log"):
            (self.folder / name).mkdir()
        settings = {"lock-path": self.folder / "lock", "log-path": self.folder / "log", "repo1-path": self.repo, "compress-type": "none"}
        settings.update({"start-fast": "y", "log-level-file": "off", "repo1-retention-full": 9, "archive-timeout": 30})
        text = "[global]\n" + "".join(f"{name}={value}\n" for name, value in settings.items())
        self.config.write_text(f"{text}[{STANZA}]\npg1-path={self.data}\npg1-port={PORT}\npg1-socket-path={self.socket}\n")
        if owner():
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, USER, USER)
        self.run("initdb", "--no-sync", "-D", str(self.data), "-U", "postgres", "--auth=trust", *self.words)
        push = f"pgbackrest --config={self.config} --stanza={STANZA} archive-push %p"
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(f"port={PORT}\nunix_socket_directories='{self.socket}'\nlisten_addresses=''\narchive_mode=on\n")
            file.write(f"archive_command='{push}'\nfsync=off\nmax_wal_size=64MB\nshared_buffers=16MB\n")
        return self

    def start(self) -> BackedCluster:
        self.run("pg_ctl", "-w", "-D", str(self.data), "-l", str(self.folder / "log/pg.log"), "start")
        return self

    def stop(self, mode: str = "fast") -> None:
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-w", "-m", mode, "-D", str(self.data), "stop", check=False)

    def backrest(self, *words: str) -> str:
        return self.run("pgbackrest", f"--config={self.config}", f"--stanza={STANZA}", *words)

    def backup(self, kind: str = "full") -> str:
        self.backrest(f"--type={kind}", "backup")
        return sorted(path.name for path in (self.repo / "backup" / STANZA).iterdir() if path.name[:1].isdigit())[-1]

    def sql(self, *statements: str, database: str = "postgres") -> str:
        words = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.socket), "-p", str(PORT), "-U", "postgres"]
        return self.run(*words, "-d", database, *[part for one in statements for part in ("-c", one)]).strip()

    def moment(self) -> str:
        """Return the time between what was committed and what is to come, with its zone."""
        time.sleep(0.02)
        told = self.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        time.sleep(0.02)
        return told

    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def where(self, **more: t.Any) -> dict[str, t.Any]:
        """Return how the steps reach it and its repository."""
        return dict(
            {"host": str(self.socket), "port": PORT, "stanza": STANZA, "pgbackrest_config": str(self.config), "data_dir": str(self.data),
             "os_user": USER if owner() else "", "bin_dir": self.binaries}, **more,
        )  # fmt: skip

    def archive(self) -> list[Path]:
        """Return the WAL segments in its archive, the oldest first."""
        return sorted(self.repo.glob(f"archive/{STANZA}/*/*/*-*"))

    def hashes(self) -> dict[str, str]:
        """Return the sha256 of what a stopped cluster is made of."""
        files = [path for path in sorted(self.data.rglob("*")) if path.is_file() and not path.is_symlink()]
        return {str(path.relative_to(self.data)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@contextlib.contextmanager
def backed(*words: str) -> t.Iterator[BackedCluster]:
    """Yield a running cluster with a stanza and no backup yet. Words are for initdb.

    Its folder is none of pytest's: each pytest that starts closes those to the user of the server.
    """
    folder = Path(tempfile.mkdtemp(prefix="pg-farm-"))
    folder.chmod(0o755)
    cluster = BackedCluster(folder, *words)
    try:
        cluster.create().start()
        cluster.backrest("stanza-create")
        yield cluster
    finally:
        cluster.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
        # Where root keeps its ledger no other user may change a part of the path.
        shutil.rmtree(f"{folder}-ledger", ignore_errors=True)
