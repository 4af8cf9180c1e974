# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of a PostgreSQL cluster: a copy of it to break, a second cluster as decoy, a standby and backups where the fault wants them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import typing as t
from pathlib import Path

import psycopg

from .. import scene
from ..errors import DrillError, Skipped
from ..redis import target as redis_target
from ..scene import aside, mount_small, unmount
from ..target import hashes, start_ticks, until
from .target import Link, Target
from .writers import CREATE, DIGEST, Ledger

# What the drill sets on top of the cluster's own configuration; a fault's settings come after it.
BASE: t.Mapping[str, t.Any] = {"archive_mode": "off", "autovacuum": "off", "max_prepared_transactions": 5}
QUIET = "-c archive_mode=off -c autovacuum=off -c checkpoint_timeout=1d"
SMALL = "40m"
LARGEST = 2 << 30
STANZA = "drill"
PGBACKREST = """[global]
repo1-path={work}/repo
repo1-retention-full=9
start-fast=y
compress-type=none
log-level-file=off
log-level-console=warn
lock-path={work}/locks
spool-path={work}/locks

[{stanza}]
pg1-path={data}
pg1-port={port}
pg1-socket-path={address}
pg1-user={user}
"""


def copy(folder: Path, to: Path) -> None:
    """Copy a cluster that is shut down, with owners and modes."""
    subprocess.run(["cp", "-a", "--", str(folder), str(to)], check=True, timeout=300)


class Server:
    """A cluster of the drill's own in *folder*, on a private socket and a free port."""

    def __init__(self, target: Target, folder: Path, port: int) -> None:
        self.target, self.folder, self.port, self.data = target, folder, port, folder / "data"
        options = f"{QUIET} -p {port} -k {folder} -c listen_addresses=127.0.0.1"
        target.run(target.program("pg_ctl"), "-D", str(self.data), "-l", str(folder / "log"), "-w", "-t", "30", "-o", options, "start")
        self.pid = int((self.data / "postmaster.pid").read_text().split()[0])

    def connect(self) -> Link:
        return psycopg.connect(host=str(self.folder), port=self.port, user=self.target.user, dbname=self.target.database, autocommit=True)

    def ask(self, statement: str) -> list[tuple[t.Any, ...]]:
        with contextlib.closing(self.connect()) as link:
            cursor = link.execute(t.cast(t.Any, statement))
            return cursor.fetchall() if cursor.description else []

    def facts(self) -> tuple[t.Any, ...]:
        """Return what must not change: pid, start time, the digest of the rows, the hashes of data and configuration."""
        places = [self.data / name for name in ("base", "postgresql.conf", "postgresql.auto.conf", "pg_hba.conf")]
        files = {path: text for path, text in hashes(*places).items() if "pg_internal" not in path}
        return self.pid, start_ticks(self.pid), self.ask(DIGEST), files

    def end(self) -> None:
        with contextlib.suppress(DrillError):
            self.target.run(self.target.program("pg_ctl"), "-D", str(self.data), "-m", "immediate", "-w", "stop")


class Scene(scene.Scene):
    """A copy of the target's cluster, with a table of the drill's rows in it."""

    component = "postgresql"
    remedy = "database_recovery"
    target: Target
    ledger: Ledger

    def set(self) -> None:
        # Sessions that steps hold open, and what else has to be ended when the drill is over.
        self.held: list[Link] = []
        self.endings: list[t.Callable[[], object]] = []
        self.marks: dict[str, str] = {}
        self.ledger = Ledger(self.work / "acknowledged.log", self.target, f"drill:{self.work.name}:")
        self._check_size()
        self.put_aside()
        self._empty_log()
        self._copy()
        self._decoy()
        self._stanza()
        self.configure({})
        self.target.start()
        until(self.target.answers, 30, f"PostgreSQL does not answer on port {self.target.port}: see {self.target.log_file}")
        self.ask_as_client(CREATE)
        if self.fault.backups:
            self.pgbackrest("--no-online", "stanza-create")
        if self.fault.replica:
            self._standby()

    def standing(self) -> dict[str, str]:
        found = super().standing()
        with contextlib.suppress(psycopg.Error):
            told = self.target.ask("SELECT name, setting FROM pg_settings", seconds=3)
            doors = self.target.ask("SELECT datname, datallowconn::text || datconnlimit FROM pg_database", seconds=3)
            found.update({f"setting {name}": str(value) for name, value in told})
            found.update({f"connections of {name}": str(value) for name, value in doors})
        return found

    def ask_as_client(self, statement: str) -> None:
        with contextlib.closing(self.target.connect(self.target.client)) as link:
            link.execute(t.cast(t.Any, statement))

    def _check_size(self) -> None:
        size = sum(path.lstat().st_size for path in self.target.data_dir.rglob("*") if path.is_file())
        if size > LARGEST:
            raise Skipped(f"the cluster has {size >> 20} MiB, too much to copy for a drill")

    def _empty_log(self) -> None:
        """Empty the log, so that no recovery reads in it what an earlier fault left; it is kept beside the drill."""
        if self.target.log_file.exists():
            shutil.copyfile(self.target.log_file, self.work / "log-before")
            os.truncate(self.target.log_file, 0)

    def _copy(self) -> None:
        """Put a copy in the place of the data; with a small disk under its WAL where the fault wants one."""
        data = self.target.data_dir
        if self.target.config_file not in self.config_aside.parents and self.config_aside.exists():
            shutil.copy2(self.config_aside, self.target.config_file)
        copy(self.data_aside, data)
        if "small_disk" in self.fault.needs:
            mount_small(self.folder("small"), SMALL)
            self.endings.append(lambda: unmount(self.small))
            self._hand_over(self.small)
            if not self.fault.backups:
                self._move_wal(data)
        if self.fault.checksums is not None and self.fault.checksums != self._has_checksums():
            self.target.run(self.target.program("pg_checksums"), "--enable" if self.fault.checksums else "--disable", "-D", str(data))

    def _move_wal(self, data: Path) -> None:
        """Put the WAL on the small disk; of that of the copy only what a cluster which was shut down has a use for."""
        redo = self._controldata(data)["Latest checkpoint's REDO WAL file"]
        wal, small = data / "pg_wal", self.small
        (small / "wal/archive_status").mkdir(mode=0o700, parents=True)
        shutil.copy2(wal / redo, small / "wal" / redo)
        for path in [small, *small.rglob("*")]:
            self._hand_over(path)
        small.chmod(0o700)
        shutil.rmtree(wal)
        wal.symlink_to(small / "wal")

    def _controldata(self, data: Path) -> dict[str, str]:
        told = self.target.run(self.target.program("pg_controldata"), "-D", str(data))
        return {name.strip(): value.strip() for name, _colon, value in (line.partition(":") for line in told.splitlines())}

    def _has_checksums(self) -> bool:
        return self._controldata(self.target.data_dir)["Data page checksum version"] != "0"

    def folder(self, name: str) -> Path:
        """Make a folder of the drill that belongs to the user of the cluster."""
        folder = self.work / name
        folder.mkdir(mode=0o700)
        self._hand_over(folder)
        return folder

    def _hand_over(self, path: Path) -> None:
        if self.target.os_user and os.geteuid() == 0:
            shutil.chown(path, self.target.os_user)

    def _decoy(self) -> None:
        folder = self.folder("decoy")
        copy(self.data_aside, folder / "data")
        decoy = self.servers["decoy"] = Server(self.target, folder, self.ports())
        decoy.ask(CREATE)
        decoy.ask("INSERT INTO drill_rows (id, value) SELECT 'decoy' || n, 'unchanged' FROM generate_series(1, 100) AS n")
        decoy.ask("VACUUM FREEZE drill_rows")
        decoy.ask("CHECKPOINT")

    def _standby(self) -> None:
        with (self.target.data_dir / "pg_hba.conf").open("a", encoding="utf-8") as file:
            file.write("local replication all trust\n")
        self.target.ask("SELECT pg_reload_conf()")
        folder = self.folder("replica")
        words = ["-h", self.target.address, "-p", str(self.target.port), "-U", self.target.user, "-D", str(folder / "data")]
        self.target.run(self.target.program("pg_basebackup"), *words, "-R", "-X", "stream", "-c", "fast")
        self.servers["replica"] = Server(self.target, folder, self.ports())
        until(
            lambda: bool(self.target.ask("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")), 20, "the standby does not stream"
        )

    def _stanza(self) -> None:
        if not self.fault.backups:
            return
        for name in ("repo", "locks", "side"):
            self.folder(name)
        target = self.target
        text = PGBACKREST.format(
            work=self.work, stanza=STANZA, data=target.data_dir, port=target.port, address=target.address, user=target.user
        )
        (self.work / "pgbackrest.conf").write_text(text, encoding="utf-8")

    def pgbackrest(self, *words: str, seconds: float = 120.0) -> str:
        """Run pgBackRest on the drill's own stanza. Raises DrillError."""
        return self.target.run("pgbackrest", f"--config={self.work}/pgbackrest.conf", f"--stanza={STANZA}", *words, seconds=seconds)

    @property
    def small(self) -> Path:
        return self.work / "small"

    def let_go(self) -> None:
        for link in getattr(self, "held", []):
            link.close()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        for end in getattr(self, "endings", []):
            end()

    @property
    def variables(self) -> dict[str, t.Any]:
        # Its own: copies that an earlier drill left would be candidates of this one.
        rescue = str(self.work / "rescue")
        given: dict[str, t.Any] = {"database_recovery_rescue_dir": rescue}
        if self.fault.backups:
            given.update(
                database_restore_stanza=STANZA,
                database_restore_pgbackrest_config=f"{self.work}/pgbackrest.conf",
                database_restore_side_dir=f"{self.work}/side",
            )
        return {**given, **super().variables}

    def lab_redis(self) -> redis_target.Target:
        """Return the Redis beside this cluster, in a lab."""
        folder = Path(self.target.lab_dir)
        part = redis_target.of_lab(folder, json.loads((folder / "lab.json").read_text(encoding="utf-8")))
        return redis_target.Target(self.target.host, self.target.inventories, self.target.lab_dir, **part)

    def places(self) -> dict[str, t.Any]:
        lab = {"<lab_redis_port>": self.lab_redis().port} if self.target.lab_dir else {}
        marks = {f"<{name}>": moment for name, moment in self.marks.items()}
        return {
            **super().places(),
            "<pgbackrest_conf>": f"{self.work}/pgbackrest.conf",
            "<repo>": f"{self.work}/repo",
            "<small>": str(self.small),
            **marks,
            **lab,
        }

    def configure(self, settings: t.Mapping[str, t.Any]) -> None:
        words = {**BASE, **self.fault.settings, **settings}
        if self.fault.backups:
            push = f"pgbackrest --config={self.work}/pgbackrest.conf --stanza={STANZA} archive-push %p"
            words = {**BASE, "archive_mode": "on", "archive_command": push, **self.fault.settings, **settings}
        place = self.target.config_file
        inside = self.target.data_dir in place.parents
        own = (self.data_aside / place.relative_to(self.target.data_dir) if inside else aside(place)).read_text(encoding="utf-8")
        place.write_text(own + "\n" + "".join(f"{word} = '{value}'\n" for word, value in words.items()), encoding="utf-8")

    def bytes(self) -> dict[str, t.Any]:
        """Return what no rehearsal and no refusal may change.

        Of a cluster that runs its rows and catalogue, since its files change by themselves; of one that does not run every byte.
        """
        same = {"process": self.target.process(), "decoy": self.decoy.facts(), **hashes(self.target.config_file)}
        if not self.target.processes():
            return {**same, **hashes(self.target.data_dir)}
        return {**same, "files": self._own_files(), "inside": self._inside()}

    def _own_files(self) -> list[str]:
        """Return which files there are that say who owns and who follows the data directory."""
        names = (
            "postmaster.pid",
            "standby.signal",
            "recovery.signal",
            "backup_label",
            "tablespace_map",
            "PG_VERSION",
            "postgresql.auto.conf",
        )
        return [name for name in names if (self.target.data_dir / name).exists()]

    def _inside(self) -> t.Any:
        looks = {
            "rows": DIGEST,
            "relations": "SELECT oid, relname, relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY oid",
            "prepared": "SELECT gid FROM pg_prepared_xacts ORDER BY gid",
            "held": "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'drill-held' ORDER BY pid",
            "timeline": "SELECT timeline_id FROM pg_control_checkpoint()",
        }
        found: dict[str, t.Any] = {}
        for name, look in looks.items():
            try:
                found[name] = self.target.ask(look, seconds=1)
            except psycopg.Error as error:
                found[name] = error.sqlstate or "no answer"
        return found
