# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger of the keeper: leases, attempts, hash-chained journal, runs, verified states, things with an end.

One SQLite file in a 0700 directory, synchronous=FULL. Every public method is one transaction,
so that a process killed at any point leaves either all of its record or none.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pwd
import shutil
import sqlite3
import tempfile
import typing as t
import urllib.parse

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import without_url_secrets
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.trusted import judge_path, load_path, owners

Row = t.Dict[str, t.Any]
FILE = "ledger.sqlite"
RESERVE = "reserve"
# Bytes kept free inside the ledger file, so that a disk that fills up during a run does not stop its records.
ROOM = 131072
# Seconds to wait for other runs' transactions: one keeper may serve many hosts at once, on a slow disk.
WAIT = 30.0
SCHEMA_VERSION = 1
SCHEMA = """
create table if not exists meta(name text primary key, value text);
create table if not exists lease(
  host text, component text, run_id text, token integer, owner text, controller text,
  taken_at real, beat_at real, ends_at real, phase text, acting_until real, primary key(host, component));
create table if not exists journal(
  seq integer primary key, run_id text, at real, kind text, body text, prev text, hash text);
create table if not exists run(
  run_id text primary key, host text, component text, remedy text, owner text, opened_at real, closed_at real, outcome text);
create table if not exists attempt(host text, component text, action text, run_id text, at real);
create table if not exists verified(
  host text, component text, kind text, body text, at real, run_id text, primary key(host, component, kind));
create table if not exists obligation(
  id integer primary key, host text, component text, kind text, body text, run_id text, begun_at real, ends_at real, ended_at real);
create index if not exists attempt_of on attempt(host, component, action, at);
create index if not exists journal_of on journal(run_id);
insert or ignore into meta values('token', '0'), ('schema', '1');
"""


class Ledger:
    """The open ledger. Use `open_ledger`; times are seconds since the epoch, handed in."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        db.row_factory = sqlite3.Row
        # A damaged byte must show as a broken chain, not stop the reading.
        db.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")

    @contextlib.contextmanager
    def transaction(self) -> t.Iterator[None]:
        """Hold the write lock; commit all or nothing."""
        self.db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self.db.execute("rollback")
            raise
        self.db.execute("commit")

    def rows(self, query: str, *values: t.Any) -> list[Row]:
        return [dict(row) for row in self.db.execute(query, values)]

    def row(self, query: str, *values: t.Any) -> t.Optional[Row]:
        found = self.rows(query, *values)
        return found[0] if found else None

    # Journal ---------------------------------------------------------------------------------

    def append(self, run_id: str, kind: str, body: t.Mapping[str, t.Any], now: float) -> str:
        """Add one record to the chain (inside a transaction) and return its hash."""
        last = self.row("select seq, hash from journal order by seq desc limit 1") or {"seq": 0, "hash": ""}
        record = {"seq": last["seq"] + 1, "run_id": run_id, "at": now, "kind": kind, "prev": last["hash"]}
        record["body"] = json.dumps(without_url_secrets(body), sort_keys=True)
        digest = record_hash(record)
        self.db.execute(
            "insert into journal values(?,?,?,?,?,?,?)",
            (record["seq"], run_id, now, kind, record["body"], record["prev"], digest),
        )
        return digest

    def journal_of(self, run_id: str) -> list[Row]:
        return [dict(row, body=json.loads(row["body"])) for row in self.rows("select * from journal where run_id=? order by seq", run_id)]

    def broken_at(self) -> t.Optional[int]:
        """Return the sequence number of the first record that breaks the chain, None when it is whole."""
        previous, expected = "", 1
        for row in self.db.execute("select * from journal order by seq"):
            if row["seq"] != expected or row["prev"] != previous or row["hash"] != record_hash(dict(row)):
                return expected
            previous, expected = row["hash"], expected + 1
        return None

    # Leases ----------------------------------------------------------------------------------

    def lease(self, host: str, component: str) -> t.Optional[Row]:
        held = self.row("select * from lease where host=? and component=?", host, component)
        return dict(held, controller=json.loads(held["controller"])) if held else None

    def leases(self) -> list[Row]:
        return [dict(held, controller=json.loads(held["controller"])) for held in self.rows("select * from lease")]

    def grant(self, lease: t.Mapping[str, t.Any], now: float) -> int:
        """Write the lease of a new run (inside a transaction) and return its fencing token, larger than any before."""
        token = int((self.row("select value from meta where name='token'") or {"value": 0})["value"]) + 1
        self.db.execute("update meta set value=? where name='token'", (str(token),))
        self.db.execute(
            "insert or replace into lease values(?,?,?,?,?,?,?,?,?,?,?)",
            (
                lease["host"], lease["component"], lease["run_id"], token, lease["owner"], json.dumps(lease["controller"]),
                now, now, lease["ends_at"], "open", None,
            ),
        )  # fmt: skip
        self.enter(lease, now)
        return token

    def enter(self, run: t.Mapping[str, t.Any], now: float) -> None:
        """List a run (inside a transaction), with or without a lease, until it is closed; again where it waited for a dead one."""
        row = (run["run_id"], run["host"], run["component"], run["remedy"], run["owner"], now)
        self.db.execute("insert or ignore into run values(?,?,?,?,?,?,null,null)", row)

    def renew(self, lease: t.Mapping[str, t.Any], phase: str, ends_at: float, acting_until: t.Optional[float], now: float) -> bool:
        """Beat under the fencing token (inside a transaction); False when the lease is no longer this run's."""
        done = self.db.execute(
            "update lease set phase=?, beat_at=?, ends_at=max(ends_at, ?), acting_until=?"
            " where host=? and component=? and token=? and run_id=?",
            (phase, now, ends_at, acting_until, lease["host"], lease["component"], lease["token"], lease["run_id"]),
        )
        return done.rowcount == 1

    def release(self, lease: t.Mapping[str, t.Any]) -> bool:
        """Release the lease (inside a transaction); False when it was not this run's."""
        done = self.db.execute(
            "delete from lease where host=? and component=? and token=? and run_id=?",
            (lease["host"], lease["component"], lease["token"], lease["run_id"]),
        )
        return done.rowcount == 1

    def abandon(self, held: t.Mapping[str, t.Any], proof: str, by: str, now: float) -> None:
        """Record (inside a transaction) that the run holding this lease is dead, and release its lease."""
        self.append(held["run_id"], "abandoned", {"proof": proof, "by": by, "phase": held["phase"]}, now)
        self.db.execute("update run set closed_at=?, outcome='abandoned' where run_id=? and closed_at is null", (now, held["run_id"]))
        self.release(held)

    def plans(self, run_id: str) -> list[Row]:
        """Return the plans of a run that were approved by a person or accepted by limits set beforehand, oldest first."""
        return [dict(row["body"], kind=row["kind"]) for row in self.journal_of(run_id) if row["kind"] in ("approved", "accepted")]

    def losses(self, since: float) -> list[Row]:
        """Return {host, component, run_id, at, text} of what runs that were closed after *since* declared as lost, newest first."""
        runs = self.rows(
            "select r.run_id, r.host, r.component, r.closed_at at, j.body from run r join journal j on j.run_id=r.run_id and j.kind='close'"
            # A replica that was ended takes no cache from those that stay, and a database is none.
            " where r.closed_at > ? and r.outcome in ('recovered', 'recovered_with_loss') and r.remedy not like '%traffic_scaling'"
            " and r.remedy not like '%database\\_%' escape '\\'"
            " order by r.closed_at desc limit 20",
            since,
        )
        found = [(row, json.loads(row.pop("body")).get("loss") or {}) for row in runs]
        return [dict(row, text=str(loss.get("text") or "")) for row, loss in found if _is_told(loss)]

    def unsettled(self, host: str, component: str) -> Row:
        """Return the last plan {run_id, plan, text, loss} that a dead run started and no later run has reported, {} for none."""
        rows = self.unreported(host, component)
        found = [dict(plan, run_id=row["run_id"]) for row in rows for plan in self.plans(row["run_id"])]
        return found[-1] if found else {}

    def unreported(self, host: str, component: str) -> list[Row]:
        """Return {run_id, owner} of the dead runs of a component, oldest first, since one of it ended well."""
        return self.rows(
            "select r.run_id, r.owner from run r where r.host=?1 and r.component=?2 and r.outcome='abandoned' and r.opened_at >"
            " (select coalesce(max(opened_at), 0) from run where host=?1 and component=?2"
            "  and outcome in ('recovered', 'recovered_with_loss', 'nothing_to_do')) order by r.opened_at",
            host, component,
        )  # fmt: skip

    # Attempts, verified states, obligations ---------------------------------------------------

    def attempts(self, host: str, component: str, since: float, action: t.Optional[str] = None) -> list[Row]:
        """Return the attempts since a time, oldest first, with the outcome of their runs, and whether these ended by asking (`asked`)."""
        rows = self.rows(
            "select a.action, a.run_id, a.at, r.outcome, r.owner from attempt a left join run r using(run_id)"
            " where a.host=? and a.component=? and a.at>=? order by a.at",
            host, component, since,
        )  # fmt: skip
        return [dict(row, asked=self._asked(row)) for row in rows if action is None or row["action"] == action]

    def _asked(self, attempt: Row) -> bool:
        """Return whether the run of an attempt was refused only because a person has to choose a plan."""
        if attempt["outcome"] != "refused":
            return False
        closed = [row["body"] for row in self.journal_of(attempt["run_id"]) if row["kind"] == "close"]
        codes = [str(one.get("code")) for body in closed for one in body.get("reasons") or []]
        return bool(codes) and codes[0].startswith("approval_")

    def last_verified(self, host: str, component: str) -> Row:
        """Return the last verified states of a component by kind: {kind: {at, run_id, ...body}}."""
        rows = self.rows("select kind, body, at, run_id from verified where host=? and component=?", host, component)
        return {row["kind"]: dict(json.loads(row["body"]), at=row["at"], run_id=row["run_id"]) for row in rows}

    def verified_of(self, host: str) -> dict[str, Row]:
        """Return the last verified states of each component of a host: {component: what last_verified returns}."""
        rows = self.rows("select distinct component from verified where host=? order by component", host)
        return {row["component"]: self.last_verified(host, row["component"]) for row in rows}

    def owed(self, host: t.Optional[str] = None) -> list[Row]:
        """Return the things begun and not yet ended (`ends_at` is None for protections, which never expire)."""
        rows = self.rows("select * from obligation where ended_at is null order by id")
        return [dict(row, body=json.loads(row["body"])) for row in rows if host is None or row["host"] == host]

    def abandoned_runs(self) -> set[str]:
        """Return the ids of runs that died and left something that has not ended yet."""
        rows = self.rows(
            "select distinct r.run_id from run r join obligation o on o.run_id=r.run_id where o.ended_at is null and r.outcome='abandoned'"
        )
        return {str(row["run_id"]) for row in rows}

    def owe(self, run: t.Mapping[str, t.Any], kind: str, body: t.Mapping[str, t.Any], ends_at: t.Optional[float], now: float) -> None:
        """Record (inside a transaction) something that must be ended later."""
        self.db.execute(
            "insert into obligation(host, component, kind, body, run_id, begun_at, ends_at) values(?,?,?,?,?,?,?)",
            (run["host"], run["component"], kind, json.dumps(without_url_secrets(dict(body))), run["run_id"], now, ends_at),
        )

    def settle(self, host: str, component: str, kind: str, now: float) -> list[int]:
        """Mark (inside a transaction) the obligations of one kind as ended; return their ids."""
        found = self.rows("select id from obligation where host=? and component=? and kind=? and ended_at is null", host, component, kind)
        self.db.executemany("update obligation set ended_at=? where id=?", [(now, row["id"]) for row in found])
        return [int(row["id"]) for row in found]

    def revive(self, run_id: str) -> list[int]:
        """Owe again (inside a transaction) what acts of a run marked as ended; return the ids."""
        settled = [one for row in self.journal_of(run_id) if row["kind"] in ("begin", "part") for one in row["body"].get("settled", ())]
        self.db.executemany("update obligation set ended_at=null where id=?", [(one,) for one in settled])
        return settled


def _is_told(loss: t.Mapping[str, t.Any]) -> bool:
    """Return whether a run says that something is lost; not where it only cannot rule that out, and all that was known is there."""
    known, present = loss.get("known_before"), loss.get("present_after")
    if loss.get("suspected") is False and known is not None and present is not None and present >= known:
        return False
    return bool(loss) and (loss.get("count") != 0 or bool(loss.get("text")))


def record_hash(record: t.Mapping[str, t.Any]) -> str:
    """Return the SHA-256 that chains a journal record to the one before it."""
    parts = [record["seq"], record["run_id"], record["at"], record["kind"], record["body"], record["prev"]]
    return hashlib.sha256(json.dumps(parts, default=repr).encode()).hexdigest()


@contextlib.contextmanager
def open_ledger(state_dir: str, check: bool) -> t.Iterator[Ledger]:
    """Open the ledger, made when missing; in check mode nothing on disk changes. Raises StepError when it cannot be used."""
    _refuse_changeable(state_dir)
    try:
        with contextlib.ExitStack() as stack:
            yield Ledger(stack.enter_context(_to_read(state_dir) if check else _to_write(state_dir)))
    except (sqlite3.Error, OSError) as error:
        text = "the ledger in %s cannot be used: %s" % (state_dir, error)
        damaged, foreign, full = isinstance(error, _Damaged), isinstance(error, _Foreign), _is_full(error)
        more = {"state_dir": state_dir}
        why = reason("ledger_unusable", text, values=more, case="damaged" if damaged else "foreign" if foreign else "full" if full else "")
        hint = "" if damaged or foreign else "; set remediation_state_dir to a directory on a disk with free space"
        raise StepError(text + hint, reasons=[why], stage="guard") from error


class _Damaged(OSError):
    """A ledger that was there and is not what it was. It is never replaced: what earlier runs hold would be forgotten."""


class _Foreign(OSError):
    """A state directory that is another user's, or that others may change."""


def _is_full(error: Exception) -> bool:
    return "disk is full" in str(error) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def _refuse_changeable(state_dir: str) -> None:
    """Raise StepError where another user can change a part of the way to the ledger, or a link on it."""
    wrong = judge_path(load_path(state_dir), owners())
    if wrong:
        text = "remediation_state_dir %s is not private: %s" % (state_dir, wrong)
        raise StepError(text, reasons=[reason("bad_input", text, case="state_dir")], stage="guard")


@contextlib.contextmanager
def _to_write(state_dir: str) -> t.Iterator[sqlite3.Connection]:
    with contextlib.closing(_connect_to_write(state_dir)) as db:
        yield db


@contextlib.contextmanager
def _to_read(state_dir: str) -> t.Iterator[sqlite3.Connection]:
    """Yield the ledger opened read-only, empty where there is none, or a copy where a crash left a journal to roll back."""
    path = os.path.join(state_dir, FILE)
    try:
        os.stat(path)
    except FileNotFoundError:
        _refuse_without_its_ledger(state_dir)
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            db.executescript(SCHEMA)
            yield db
        return
    _refuse_foreign(state_dir)
    _refuse_empty(path)
    with contextlib.ExitStack() as stack:
        db = stack.enter_context(contextlib.closing(_connect_to_read(path)))
        if not _is_readable(db):
            db = stack.enter_context(_rolled_back_copy(path))
        _refuse_newer(db)
        yield db


def _is_readable(db: sqlite3.Connection) -> bool:
    """Return whether reading needs no writing: False where a dead process left a journal that has to be rolled back first."""
    try:
        db.execute("select count(*) from sqlite_master")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error) and "unable to open" not in str(error):
            raise
        return False
    return True


@contextlib.contextmanager
def _rolled_back_copy(path: str) -> t.Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(prefix="somabrain-ledger-") as directory:
        stamp: t.Any = None
        # Copied again if another process rolled it back or wrote to it during the copy.
        while stamp is None or stamp != _stamp(path):
            stamp = _stamp(path)
            for name in (path, path + "-journal"):
                copy = os.path.join(directory, os.path.basename(name))
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(copy)
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy2(name, copy)
        with contextlib.closing(sqlite3.connect(os.path.join(directory, FILE), isolation_level=None)) as db:
            yield db


def _stamp(path: str) -> dict[str, int]:
    return {name: os.stat(name).st_mtime_ns for name in (path, path + "-journal") if os.path.exists(name)}


def _connect_to_write(state_dir: str) -> sqlite3.Connection:
    os.makedirs(state_dir, mode=0o700, exist_ok=True)
    _refuse_foreign(state_dir)
    path = os.path.join(state_dir, FILE)
    try:
        return _prepared(path)
    except (sqlite3.OperationalError, OSError) as error:
        if not _is_full(error) or not spend_reserve(state_dir):
            raise
        return _prepared(path)


def _prepared(path: str) -> sqlite3.Connection:
    if not os.path.lexists(path):
        _refuse_without_its_ledger(os.path.dirname(path))
        _make(path)
    _refuse_empty(path)
    db = sqlite3.connect(path, isolation_level=None, timeout=WAIT)
    try:
        _prepare(db)
    except BaseException:
        db.close()
        raise
    return db


def _make(path: str) -> None:
    """Make an empty ledger (0600) beside *path* and give it that name once it is complete: a half-made one is never seen."""
    handle, half = tempfile.mkstemp(dir=os.path.dirname(path), prefix="." + FILE)
    os.close(handle)
    try:
        with contextlib.closing(sqlite3.connect(half, isolation_level=None)) as db:
            db.execute("pragma synchronous=full")
            db.executescript("begin immediate;" + SCHEMA + "commit;")
        # Another run may have made it in the meantime.
        with contextlib.suppress(FileExistsError):
            os.link(half, path)
    finally:
        for name in (half, half + "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def _refuse_empty(path: str) -> None:
    if os.stat(path).st_size == 0:
        raise _Damaged("%s is empty, so what runs did and hold is lost" % FILE)


def _refuse_without_its_ledger(state_dir: str) -> None:
    """Raise _Damaged where runs left their files and the ledger is gone."""
    for name in ("outcomes", "evidence"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if os.listdir(os.path.join(state_dir, name)):
                raise _Damaged("%s is missing, while %s/ shows that runs were recorded there" % (FILE, name))


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("pragma synchronous=full")
    if db.execute("select count(*) from sqlite_master where name='obligation'").fetchone()[0] == 0:
        raise _Damaged("%s is not a ledger of this collection" % FILE)
    _refuse_newer(db)
    if db.execute("pragma freelist_count").fetchone()[0] * db.execute("pragma page_size").fetchone()[0] < ROOM // 2:
        _touch(db, ROOM)
    # If a write fails, it fails here, before anything was promised.
    _touch(db, 16)


def _touch(db: sqlite3.Connection, size: int) -> None:
    db.execute("begin immediate")
    db.execute("insert or replace into meta values('touched', randomblob(?))", (size,))
    db.execute("commit")


def _refuse_newer(db: sqlite3.Connection) -> None:
    version = db.execute("select value from meta where name='schema'").fetchone()[0]
    if int(version) > SCHEMA_VERSION:
        raise sqlite3.DatabaseError("it was written by a newer release of this collection (schema %s)" % version)


def spend_reserve(state_dir: str) -> bool:
    """Free the reserve file for the ledger, so that a full disk does not stop the recovery of a full disk."""
    try:
        os.unlink(os.path.join(state_dir, RESERVE))
    except OSError:
        return False
    return True


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "uid %d" % uid


def _refuse_foreign(state_dir: str) -> None:
    found = os.stat(state_dir)
    if found.st_uid != os.geteuid():
        raise _Foreign("it belongs to %s, and this run works as %s" % (_user(found.st_uid), _user(os.geteuid())))
    if found.st_mode & 0o022:
        raise _Foreign("others may write to it (mode %04o)" % (found.st_mode & 0o7777))


def _connect_to_read(path: str) -> sqlite3.Connection:
    return sqlite3.connect("file:%s?mode=ro" % urllib.parse.quote(path), uri=True, isolation_level=None, timeout=WAIT)
