# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PostgreSQL cluster that a drill breaks, and how to talk to it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import typing as t
from pathlib import Path

import psycopg

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask as service_ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import become

from .. import target
from ..errors import DrillError
from ..target import until

Link = psycopg.Connection[t.Any]
PROGRAMS = "/usr/lib/postgresql/*/bin"


@dataclasses.dataclass(frozen=True)
class Target(target.Target):
    """One cluster of one inventory host. *client* is who an application logs in as, *user* who looks after the cluster."""

    address: str = ""
    user: str = "postgres"
    client: str = "postgres"
    database: str = "postgres"
    password_file: str = ""
    os_user: str = "postgres"
    bin_dir: str = ""

    @property
    def outside(self) -> list[Path]:
        # Its manager holds the log open: it is emptied, not moved.
        return [path for path in (self.config_file,) if self.data_dir not in path.parents]

    def connect(self, user: str = "", seconds: float = 10.0, database: str = "") -> Link:
        """Return a session whose statements take effect one by one and may each take *seconds*. Raises psycopg.Error."""
        secret = Path(self.password_file).read_text(encoding="utf-8").strip() if self.password_file else None
        return psycopg.connect(
            host=self.address, port=self.port, user=user or self.user, dbname=database or self.database, password=secret, autocommit=True,
            connect_timeout=2, application_name="drill", options=f"-c statement_timeout={int(seconds * 1000)}",
        )  # fmt: skip

    def ask(self, statement: str, *values: t.Any, seconds: float = 30.0) -> list[tuple[t.Any, ...]]:
        """Return the rows of one statement of who looks after the cluster. Raises psycopg.Error."""
        with contextlib.closing(self.connect(seconds=seconds)) as link:
            cursor = link.execute(t.cast(t.Any, statement), values or None)
            return cursor.fetchall() if cursor.description else []

    def answers(self) -> bool:
        """Return whether an application gets an answer within two seconds."""
        with contextlib.suppress(psycopg.Error), contextlib.closing(self.connect(self.client, 2)) as link:
            return link.execute("SELECT 1").fetchone() == (1,)
        return False

    def program(self, name: str) -> str:
        """Return the path of one of PostgreSQL's own programs. Raises DrillError."""
        folders = [Path(self.bin_dir)] if self.bin_dir else sorted(Path("/").glob(PROGRAMS[1:]), reverse=True)
        found = [folder / name for folder in folders if os.access(folder / name, os.X_OK)]
        if not found:
            raise DrillError(f"there is no {name}: set database_recovery_bin_dir")
        return str(found[0])

    def run(self, *words: str, seconds: float = 60.0) -> str:
        """Run a program as the user of the cluster and return what it printed. Raises DrillError where it fails."""
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=seconds, check=False, cwd="/", preexec_fn=become(self.os_user),
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "PGUSER": self.user},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DrillError(f"{Path(words[0]).name} takes longer than {seconds:.0f} s") from None
        if done.returncode:
            raise DrillError(f"{Path(words[0]).name} failed: {' '.join((done.stderr or done.stdout).split())[-300:]}")
        return done.stdout

    def processes(self) -> list[int]:
        """Return every process of this cluster, also those that its postmaster left behind."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                program, folder = Path(os.readlink(process / "exe")).name, os.readlink(process / "cwd")
                found += [int(process.name)] if program == "postgres" and folder == str(self.data_dir) else []
        return found

    def kill(self) -> None:
        """Kill the postmaster alone; its children find out by themselves."""
        pid = self.pid
        if pid:
            os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid != pid or not pid, 10, f"{self.host}: process {pid} does not end")

    def end(self) -> None:
        """Kill every process of the cluster, hung or not."""
        self.kill()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.processes(), 20, f"{self.host}: processes {self.processes()} do not end")

    def stop(self) -> None:
        """Shut down as its manager does, so that what is put aside is whole; kill it where that fails."""
        with contextlib.suppress(StepError):
            service_ask.manager_of(self.service).stop(self.service, 60)
        if self.processes():
            self.end()


def of_lab(folder: Path, described: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the cluster of the lab in *folder*; *described* is what its lab.json says."""
    return {
        "port": int(described["ports"]["postgres"]),
        "data_dir": folder / "postgres",
        "config_file": folder / "postgres/postgresql.conf",
        "log_file": folder / "logs/postgres.out",
        "service": {"manager": "supervisor", "name": "postgres", "supervisor_url": f"unix://{folder}/supervisor.sock", "scope": "system"},
        "address": str(folder / "run"),
        "client": {"v1": "soma", "v2": "somabrain"}[described["profile"]],
        "database": "somabrain",
        "os_user": described["user"],
    }
