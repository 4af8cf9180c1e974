# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a fault file that only PostgreSQL and its backups know."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import psycopg

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import become

from .. import steps
from ..errors import DrillError
from ..target import until
from .scene import Scene
from .target import Link

PAGE = 8192
ARRIVED = re.compile(r"[0-9A-F]{24}-[0-9a-f]{40}(\.\w+)?|[0-9A-F]{8}\.history")


def sql(scene: Scene, given: t.Any) -> None:
    """sql: STATEMENT, or a list: each in a transaction of its own, by who looks after the cluster."""
    for statement in [given] if isinstance(given, str) else given:
        scene.target.ask(statement)


def hold(scene: Scene, given: t.Any) -> None:
    """hold: {sql, then, user}: a session of the application that took these statements stays; with *then* it works on that."""
    link = session(scene, given.get("user", ""))
    for statement in given["sql"]:
        link.execute(statement)
    if given.get("then"):
        threading.Thread(target=_for_ever, args=(link, given["then"]), daemon=True).start()
        until(lambda: _state(scene, link) == "active", 10, "the session that is to hold a lock does not work")


def wait_behind(scene: Scene, statement: t.Any) -> None:
    """wait_behind: STATEMENT: a session of the application sends it and has to wait for a lock."""
    link = session(scene, "")
    threading.Thread(target=_for_ever, args=(link, statement), daemon=True).start()
    asked = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    until(lambda: scene.target.ask(asked, link.info.backend_pid) == [("Lock",)], 10, "the session does not wait for a lock")


def session(scene: Scene, user: str) -> Link:
    """Return a session without a time limit that the scene holds open."""
    link = scene.target.connect(user or scene.target.client, 0)
    link.execute("SET application_name = 'drill-held'")
    scene.held.append(link)
    return link


def _for_ever(link: Link, statement: str) -> None:
    with contextlib.suppress(psycopg.Error):
        link.execute(t.cast(t.Any, statement))


def _state(scene: Scene, link: Link) -> t.Any:
    found = scene.target.ask("SELECT state FROM pg_stat_activity WHERE pid = %s", link.info.backend_pid)
    return found[0][0] if found else None


def prepare(scene: Scene, statement: t.Any) -> None:
    """prepare: STATEMENT: its transaction is prepared for a commit that nobody sends; no session belongs to it."""
    with contextlib.closing(scene.target.connect(scene.target.client)) as link:
        for words in ("BEGIN", statement, "PREPARE TRANSACTION 'drill'"):
            link.execute(words)


def fill_connections(scene: Scene, _given: t.Any) -> None:
    """fill_connections: the application opens sessions until no more are given."""
    with contextlib.suppress(psycopg.OperationalError):
        for _turn in range(1000):
            session(scene, "")
        raise DrillError("PostgreSQL gives a thousand sessions")


def read(scene: Scene, _given: t.Any) -> None:
    """read: the application reads all rows of the drill, whatever comes of it."""
    with contextlib.suppress(psycopg.Error), contextlib.closing(scene.target.connect(scene.target.client)) as link:
        link.execute("SELECT count(value) FROM drill_rows")


def stop(scene: Scene, _given: t.Any) -> None:
    """stop: the manager shuts it down."""
    scene.target.stop()


def until_down(scene: Scene, _given: t.Any) -> None:
    """until_down: wait until no process of the cluster is left."""
    until(lambda: not scene.target.processes() and not scene.target.pid, 20, "PostgreSQL does not go down")


def end(scene: Scene, _given: t.Any) -> None:
    """end: every process of the cluster is killed."""
    scene.target.end()


def name_other(scene: Scene, _given: t.Any) -> None:
    """name_other: postmaster.pid is of an hour ago, and what has that pid now is no postmaster."""
    # As the same user: PostgreSQL takes a process of somebody else for nobody.
    other = subprocess.Popen(["sleep", "3600"], start_new_session=True, preexec_fn=become(scene.target.os_user), cwd="/")
    scene.endings += [other.kill, other.wait]
    path = scene.target.data_dir / "postmaster.pid"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([f"{other.pid}\n", lines[1], f"{int(lines[2]) - 3600}\n", *lines[3:]]), encoding="utf-8")


def damage_page(scene: Scene, given: t.Any) -> None:
    """damage_page: {block, bytes}: of a block of the drill's table that many bytes become other ones, on disk and while it is shut down."""
    scene.target.ask("CHECKPOINT")
    name = str(scene.target.ask("SELECT pg_relation_filepath('drill_rows')")[0][0])
    scene.target.stop()
    steps.damage(scene, {"file": name, "at": int(given["block"]) * PAGE + int(given.get("offset", 0)), "bytes": given["bytes"]})
    scene.target.start()
    until(scene.target.answers, 20, "PostgreSQL does not start on the damaged page")


def checkpoint_behind(scene: Scene, _given: t.Any) -> None:
    """checkpoint_behind: from here on writes go to later WAL files than the one a recovery has to begin with."""
    scene.target.ask("CHECKPOINT")
    scene.target.ask("SELECT pg_switch_wal()")


def switch_until_down(scene: Scene, _given: t.Any) -> None:
    """switch_until_down: one WAL file after the other is begun, with rows in each, until the server goes down over it."""
    with contextlib.suppress(psycopg.Error):
        for _turn in range(100):
            scene.ledger.write(20)
            scene.target.ask("SELECT pg_switch_wal()")
        raise DrillError("there is always room for another WAL file")
    until(lambda: not scene.target.processes(), 20, "PostgreSQL does not go down on the full disk")


def lose_wal(scene: Scene, _given: t.Any) -> None:
    """lose_wal: every WAL file of the cluster is gone, as by somebody who needed room."""
    for path in (scene.target.data_dir / "pg_wal").glob("0*"):
        path.unlink()


def empty(scene: Scene, _given: t.Any) -> None:
    """empty: the data directory is there and has nothing in it."""
    for path in scene.target.data_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def age(scene: Scene, transactions: t.Any) -> None:
    """age: COUNT: so many transactions pass, that a vacuum against wraparound begins on the drill's table and takes long."""
    work = "DO $$ BEGIN FOR n IN 1..{} LOOP BEGIN INSERT INTO passed VALUES (n); EXCEPTION WHEN others THEN NULL; END; END LOOP; END $$"
    with contextlib.closing(scene.target.connect(seconds=60)) as link:
        link.execute("CREATE TEMP TABLE passed (n int)")
        for _turn in range(int(transactions) // 5000):
            link.execute(t.cast(t.Any, work.format(5000)))
    asked = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'autovacuum: VACUUM%drill_rows (to prevent wraparound)'"
    until(lambda: bool(scene.target.ask(asked)), 120, "no vacuum against wraparound begins")


def until_archiver_fails(scene: Scene, _given: t.Any) -> None:
    """until_archiver_fails: wait until the archiver has failed."""
    asked = "SELECT failed_count > 0 FROM pg_stat_archiver"
    until(lambda: scene.target.ask(asked) == [(True,)], 30, "the archiver does not fail")


def pause_standby(scene: Scene, _given: t.Any) -> None:
    """pause_standby: the standby takes WAL and applies none."""
    scene.servers["replica"].ask("SELECT pg_wal_replay_pause()")


def backup(scene: Scene, kind: t.Any) -> None:
    """backup: full, diff or incr: a backup into the drill's repository."""
    scene.pgbackrest(f"--type={kind or 'full'}", "backup")
    # It is known to the second when a backup ended: what comes next is later.
    time.sleep(1.1)


def mark(scene: Scene, name: t.Any) -> None:
    """mark: NAME: <NAME> in the variables of a run is this moment, with its zone; a later transaction is archived after it."""
    time.sleep(0.05)
    scene.marks[str(name)] = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    time.sleep(0.05)
    scene.ledger.write(10)


def archive(scene: Scene, _given: t.Any) -> None:
    """archive: the current WAL file is closed and has arrived in the repository."""
    name = str(scene.target.ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0][0])
    scene.target.ask("SELECT pg_switch_wal()")
    until(lambda: any(path.name.startswith(name) for path in archived(scene)), 30, f"WAL file {name} does not arrive in the repository")


def archived(scene: Scene) -> list[Path]:
    """Return the WAL files and histories that have arrived in the repository."""
    return sorted(path for path in (scene.work / "repo/archive").rglob("0000*") if ARRIVED.fullmatch(path.name))


def lose_archived(scene: Scene, _given: t.Any) -> None:
    """lose_archived: the newest WAL file that has arrived in the repository is gone from it."""
    archived(scene)[-1].unlink()


def damage_backup(scene: Scene, pattern: t.Any) -> None:
    """damage_backup: PATTERN: the largest file of the newest backup that matches has other bytes in its middle."""
    found = sorted((scene.work / "repo/backup").glob(f"*/2*/{pattern}"), key=lambda path: path.stat().st_size)
    if not found:
        raise DrillError(f"no file {pattern} in a backup")
    with found[-1].open("r+b") as file:
        file.seek(found[-1].stat().st_size // 2)
        file.write(b"\xa5" * 64)


def expire(scene: Scene, _given: t.Any) -> None:
    """expire: every backup but the newest is expired."""
    scene.pgbackrest("--repo1-retention-full=1", "expire")


def tablespace(scene: Scene, _given: t.Any) -> None:
    """tablespace: the drill's table moves to a tablespace outside of the data directory."""
    folder = scene.folder("tablespace")
    scene.target.ask(f"CREATE TABLESPACE drill LOCATION '{folder}'")
    scene.target.ask("ALTER TABLE drill_rows SET TABLESPACE drill")


def forget(scene: Scene, share: t.Any) -> None:
    """forget: SHARE: of the drill's rows from before the last mark that share is deleted by mistake; nobody acknowledged that."""
    moment = list(scene.marks.values())[-1]
    statement = "DELETE FROM drill_rows WHERE ('x' || substr(md5(id), 1, 4))::bit(16)::int < %s AND at < %s"
    scene.target.ask(statement, int(65536 * float(share)), moment)


def pair_with_redis(scene: Scene, _given: t.Any) -> None:
    """pair_with_redis: the lab's Redis gets a key for each row that there is now; they are gone after the drill."""
    keys = [f"drill-pair:{row[0]}" for row in scene.target.ask("SELECT id FROM drill_rows")]
    redis = scene.lab_redis()
    for key in keys:
        redis.ask("SET", key, "1")
    scene.endings.append(lambda: redis.ask("DEL", *keys))


def only_live_archived(scene: Scene, _given: t.Any) -> None:
    """only_live_archived: the repository has WAL of the live database's one timeline, and nothing that is newer than its own."""
    newest = str(scene.target.ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0][0])
    strange = [path.name for path in archived(scene) if path.name[:24] > newest or ".history" in path.name]
    if strange:
        raise DrillError(f"somebody else archived {', '.join(strange)}; the live database writes {newest}")


def wake(scene: Scene, _given: t.Any) -> None:
    """wake: a server stopped by `freeze` goes on."""
    os.kill(scene.target.pid, signal.SIGCONT)


WORDS: steps.Words = {
    **steps.WORDS,
    **{
        step.__name__: step
        for step in (
            age, archive, backup, checkpoint_behind, damage_backup, damage_page, empty, end, expire, fill_connections, forget, hold,
            lose_archived, lose_wal, mark, name_other, only_live_archived, pair_with_redis, pause_standby, prepare, read, sql, stop,
            switch_until_down, tablespace, until_archiver_fails, until_down, wait_behind, wake,
        )
    },
}  # fmt: skip
