# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at PostgreSQL means: tables of what was seen, and the state, health and acts that follow."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.judge import STATES, judge_postgres
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.log import config_fault, read_log
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.options import LIMITS
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.process import judge_lock
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.queries import digest_of

GB = 2**30
WAIT = ["wait"]
POSTMASTER = {"pid": 7, "start_time_ticks": 70, "process_state": "S", "title": "postgres -D /data"}
NOBODY = {"postmaster": {}, "backends": 0, "orphans": [], "startup": {}, "unseen": False}
DISK = {
    "path": "/data",
    "device": 1,
    "holds": ["data", "wal"],
    "free_bytes": 90 * GB,
    "used_share": 0.1,
    "free_inodes": 10**6,
    "read_only": False,
}
SETTINGS = {
    "max_connections": "100", "superuser_reserved_connections": "3", "data_checksums": "on", "archive_mode": "on",
    "data_directory": "/data",
}  # fmt: skip
DATABASE = {"name": "soma", "xid_age": 100, "multixact_age": 0, "checksum_failures": 0, "deadlocks": 0, "hits": 99000, "reads": 1000}
ANSWERS: dict[str, t.Any] = {
    "server": [{"started_at": "2026-01-01", "in_recovery": False, "version": "15.18", "system_identifier": "42", "settings": SETTINGS}],
    "sessions": [{"clients": 5, "active": 1, "idle_in_transaction": 0, "waiting_for_locks": 0}],
    "long": [], "prepared": [], "senders": [], "slots": [], "tablespaces": [], "extensions": [],
    "receiver": [{"standby": False, "receiver": None}],
    "archiver": [{"failing": False, "archived": 9, "failed": 0}],
    "backlog": [{"waiting": 0}], "wal": [{"files": 3, "bytes": 3 * 2**24}], "shared": [{"checksum_failures": 0}],
    "databases": [DATABASE],
    "lock_waits": [], "lock_rights": [{"user": "soma", "superuser": True}],
}  # fmt: skip
CRASHED = {"ok": True, "state": "in production", "system_identifier": "42", "segment_bytes": 2**24, "error": ""}
WAS_STANDBY = dict(CRASHED, state="shut down in recovery")
SHUT_DOWN = dict(CRASHED, state="shut down")
QUIET_LOG = {"lines": {}, "started": True, "ready": True, "redo": [], "fault": {}}


def wire(error: str = "", sqlstate: str = "", accepting: bool = False) -> dict[str, t.Any]:
    return {"error": error, "detail": "", "sqlstate": sqlstate, "message": "", "accepting": accepting, "seconds": 0.001}


def up(**answers: t.Any) -> dict[str, t.Any]:
    """A look at a healthy primary, with other answers to what is given."""
    return {
        "stands_on": "target", "wire": wire(accepting=True), "login": {"ok": True, "sqlstate": "", "message": ""},
        "answers": {**copy.deepcopy(ANSWERS), **answers}, "service": {}, "data_dir": "/data", "owned": None,
        "processes": dict(NOBODY, postmaster=POSTMASTER), "lock": {"verdict": "live", "pid": 7}, "disks": [DISK], "settings": SETTINGS,
    }  # fmt: skip


def standby(**receiver: t.Any) -> dict[str, t.Any]:
    told = {"standby": True, "receiver": "streaming", "lag_bytes": 0, "last_commit_seconds": 900.0}
    return up(server=[dict(ANSWERS["server"][0], in_recovery=True)], receiver=[dict(told, **receiver)])


def down(error: str = "refused", **given: t.Any) -> dict[str, t.Any]:
    """A look at a cluster that was killed, on its own machine, changed by what is given."""
    look = dict(up(), wire=wire(error), login={}, answers={}, processes=NOBODY, lock={"verdict": "dead", "pid": 7})
    files = {"exists": True, "entries": 24, "version": True, "control": True, "base": True}
    seen = {"contents": files, "standby": [], "access": {"wrong": []}, "control": CRASHED, "wal": {"missing": ""}, "log": QUIET_LOG}
    return {**look, **seen, "config": {}, "redo": {}, **given}


def rejecting(**redo: t.Any) -> dict[str, t.Any]:
    told = {"segment": "0" * 24, "lsn": "0/5000000", "process_state": "R", "advances": True, "still_seconds": 0.0}
    look = down("", redo=dict(told, **redo) if redo or redo is None else {}, processes=dict(NOBODY, postmaster=POSTMASTER))
    return dict(look, wire=wire(sqlstate="57P03"))


def hung(state: str = "S", error: str = "timeout") -> dict[str, t.Any]:
    return down(
        error, processes=dict(NOBODY, postmaster=dict(POSTMASTER, process_state=state)), lock={"verdict": "live", "status": "ready"}
    )


def failed(kind: str) -> dict[str, t.Any]:
    return down(log=dict(QUIET_LOG, lines={kind: "FATAL: " + kind}, fatal="FATAL: " + kind, ready=False))


def said(*kinds: str) -> dict[str, t.Any]:
    return down(log=dict(QUIET_LOG, lines=dict.fromkeys(kinds, "PANIC: x"), fatal="PANIC: x", ready=False))


def login_waits(started_at: float) -> dict[str, t.Any]:
    """A server that made a process at that time for a login; we had knocked at 100."""
    waiting = {"pid": 9, "started_at": started_at, "title": "postgres: soma soma [local] startup waiting"}
    look = hung()
    return dict(look, knocked_at=100.5, processes=dict(look["processes"], logins=[waiting], idle=[dict(waiting, pid=8)]))


def root(seconds: float) -> dict[str, t.Any]:
    """One session that is blocked by another for so long."""
    usual = {
        "state": "active", "user": "soma", "database": "soma", "application": "app", "backend_type": "client backend", "superuser": False,
        "replication": False, "same_role": True, "itself": False, "query_seconds": 9, "transaction_seconds": 9, "state_seconds": 9,
        "backend_start": "x", "query_start": "y", "leader": None, "prepared": [], "query": "UPDATE t SET a = 'private'",
    }  # fmt: skip
    blocker = dict(usual, pid=1, waits=False, blocked_by=[], wait_seconds=None)
    return up(lock_waits=[blocker, dict(usual, pid=2, waits=True, blocked_by=[1], wait_seconds=seconds)])


def stuck(waiting: int, seconds: float, archived: float | None = None) -> dict[str, t.Any]:
    """An archiver for which files wait, the first of them for so long."""
    return up(backlog=[{"waiting": waiting, "oldest_seconds": seconds}], archiver=[{"failing": False, "archived_seconds": archived}])


def counted_at(at: float, **given: t.Any) -> dict[str, t.Any]:
    """A database in which checksums failed, the last of them then."""
    return up(databases=[dict(DATABASE, checksum_failures=3, checksum_failed_at=at, **given)])


def setting(database: str | None, login: str | None = None, value: str = "on", **given: t.Any) -> dict[str, t.Any]:
    """A default_transaction_read_only of a database or a role."""
    return {"database": database, "login": login, "value": value, "own": False, "may_write": None, **given}


OTHER_LOCK = {"verdict": "doubt", "pid": 9, "names_it": False}
FULL = dict(DISK, free_bytes=1000, used_share=1.0)
STRANGER = {"verdict": "stranger", "pid": 9, "holder": {"pid": 9, "program": "sleep"}}
HOLDS_PORT = {"pid": 9, "program": "nc", "user": "eve", "port": 5432, "socket": ""}
CONFIG = {"file": "/etc/postgresql.conf", "line": 12, "text": "syntax error"}
WRONG_MODE = {"wrong": [{"path": "/data", "mode": "0755", "owner": 1, "problem": "others may enter it (mode 0755)"}]}
SERVICE = {"manager": "systemd", "name": "postgresql@15-main", "exists": True, "reachable": True, "state": "failed", "pid": 0}
AUDIT = {"audit": {"table": "a", "column": "c"}}
NAMED = {"data_dir": "/data"}
PROVEN = {"pages_proven": {"soma": 10.0}}
PATRONI = [{"owner": "Patroni", "evidence": "/data/patroni.dynamic.json", "command": "patronictl list"}]
KNOWN = {"known_answers": [{"query": "SELECT 42", "expect": "42"}]}
CASES: dict[str, tuple[dict[str, t.Any], dict[str, t.Any], str, str, list[str]]] = {
    "healthy": (up(), {}, "accepting", "well", []),
    "a standby in its place": (standby(), {"expected_role": "standby"}, "standby", "well", []),
    "a standby where a primary is wanted": (standby(), {"expected_role": "primary"}, "wrong_role", "sick", []),
    "a primary where a standby is wanted": (up(), {"expected_role": "standby"}, "wrong_role", "sick", []),
    "a standby that receives nothing": (standby(receiver=None), {}, "standby_lagging", "sick", []),
    "a standby far behind": (standby(lag_bytes=9), {}, "standby_lagging", "sick", []),
    "a standby a little behind": (standby(lag_bytes=9, last_commit_seconds=2.0), {}, "standby", "well", []),
    "connections used up": (up(sessions=[{"clients": 90}]), {}, "too_many_connections", "sick", []),
    "connections within the share": (up(sessions=[{"clients": 80}]), {}, "accepting", "well", []),
    "connections not counted": (up(sessions={"sqlstate": "42501", "text": "no"}), {}, "accepting", "well", []),
    "blocked for long": (root(61), {}, "blocked", "sick", []),
    "blocked for a moment": (root(2), {}, "accepting", "well", []),
    "archiver failing": (up(archiver=[{"failing": True, "failed_at": "x"}]), {}, "archiver_failing", "sick", []),
    "nothing archived for long": (stuck(2, 91.0), {}, "archiver_failing", "sick", []),
    "nothing archived for a while": (stuck(2, 89.0), {}, "accepting", "well", []),
    "many wait and nothing is archived": (stuck(10, 16.0), {}, "archiver_failing", "sick", []),
    "a burst to archive": (stuck(500, 3.0), {}, "accepting", "well", []),
    "a slow archive that goes on": (stuck(500, 900.0, archived=5.0), {}, "accepting", "well", []),
    "archived last long ago, one file fresh": (stuck(1, 2.0, archived=9000.0), {}, "accepting", "well", []),
    "the whole cluster read-only": (up(server=[dict(ANSWERS["server"][0], read_only="on")]), {}, "read_only", "sick", []),
    "a database read-only": (up(read_only=[setting("soma")]), {}, "read_only", "sick", []),
    "a role that writes read-only": (up(read_only=[setting(None, "app", may_write=True)]), {}, "read_only", "sick", []),
    "a role that only reads read-only": (up(read_only=[setting(None, "report", may_write=False)]), {}, "accepting", "well", []),
    "another role than the application's": (
        up(read_only=[setting(None, "x", may_write=True)]), {"app_user": "app"}, "accepting", "well", []),
    "the application's role": (up(read_only=[setting(None, "app", may_write=False)]), {"app_user": "app"}, "read_only", "sick", []),
    "a database read-only but for the application": (
        up(read_only=[setting("soma"), setting("soma", "app", "off", may_write=True)]), {"app_user": "app"}, "accepting", "well", []),
    "a database read-only but for some role": (
        up(read_only=[setting("soma"), setting("soma", "app", "off", may_write=True)]), {}, "read_only", "sick", []),
    "the whole cluster read-only but for some role": (
        up(server=[dict(ANSWERS["server"][0], read_only="on")], read_only=[setting(None, "x", "off", may_write=True)]),
        {}, "read_only", "sick", []),
    "a database comes before all roles": (up(read_only=[setting(None, value="off"), setting("soma")]), {}, "read_only", "sick", []),
    "a database that writes comes before all roles": (
        up(read_only=[setting(None), setting("soma", value="off")]), {}, "accepting", "well", []),
    "all roles read-only": (up(read_only=[setting(None)]), {}, "read_only", "sick", []),
    "nothing archived since the start": (
        up(backlog=[{"waiting": 1, "oldest_seconds": 3.0}], archiver=[{"failing": False, "archived": 0, "failed": 0}]),
        {}, "accepting", "unknown", []),
    "a tablespace not mounted, up": (dict(up(), lost_tablespaces=["/ts"]), {}, "tablespace_missing", "sick", []),
    "a tablespace not mounted, down": (down(lost_tablespaces=["/ts"]), {}, "tablespace_missing", "sick", []),
    "our own role read-only": (
        up(server=[dict(ANSWERS["server"][0], read_only="on")], read_only=[setting(None, "probe", own=True)]), {}, "accepting", "well", []),
    "lock file empty": (dict(up(), lock=dict(OTHER_LOCK, pid=0)), {}, "lock_file_gone", "sick", ["restart"]),
    "lock file names another process": (dict(up(), lock=OTHER_LOCK), {}, "lock_file_gone", "sick", ["restart"]),
    "lock file of a server in a container": (dict(up(), lock=dict(OTHER_LOCK, names_it=True)), {}, "accepting", "well", []),
    "wraparound near": (up(databases=[dict(DATABASE, xid_age=1_700_000_000)]), {}, "wraparound", "sick", []),
    "disk fills": (dict(up(), disks=[dict(DISK, used_share=0.95)]), {}, "wal_filling", "sick", []),
    "disk read-only": (dict(up(), disks=[dict(DISK, read_only=True)]), {}, "wal_filling", "sick", []),
    "an old prepared transaction": (
        up(prepared=[{"gid": "g", "database": "d", "owner": "o", "seconds": 3601.0}]), {}, "prepared", "sick", []),
    "a fresh prepared transaction": (
        up(prepared=[{"gid": "g", "database": "d", "owner": "o", "seconds": 3.0}]), {}, "accepting", "well", []),
    "checksums failed": (up(shared=[{"checksum_failures": 2}]), {}, "up_corrupt", "sick", ["scope"]),
    "checksums failed before the repair": (counted_at(9.0), PROVEN, "accepting", "well", []),
    "a checksum failed since the repair": (counted_at(11.0), PROVEN, "up_corrupt", "sick", ["scope"]),
    "a checksum failed in another database": (counted_at(9.0, name="x"), PROVEN, "up_corrupt", "sick", ["scope"]),
    "a shared checksum failed before the repair": (
        up(shared=[{"checksum_failures": 2, "checksum_failed_at": 9.0}]), PROVEN, "accepting", "well", []),
    "no audit row": (up(audit=[{"rows": 0}]), AUDIT, "audit_gap", "sick", []),
    "audit rows": (up(audit=[{"rows": 3}]), AUDIT, "accepting", "well", []),
    "audit rows not counted": (up(audit={"sqlstate": "42P01", "text": "no table"}), AUDIT, "accepting", "unknown", []),
    "a known answer": (up(known_0=[{"sha256": digest_of("42")}]), KNOWN, "accepting", "well", []),
    "a wrong answer": (up(known_0=[{"sha256": digest_of("41")}]), KNOWN, "up_corrupt", "sick", ["scope"]),
    "no answer": (up(known_0={"sqlstate": "22012", "text": "division by zero"}), KNOWN, "accepting", "unknown", []),
    "a table of a known answer gone": (up(known_0={"sqlstate": "42P01", "text": "gone"}), KNOWN, "up_corrupt", "sick", ["scope"]),
    "a page that cannot be read": (up(known_0={"sqlstate": "XX001", "text": "invalid page"}), KNOWN, "up_corrupt", "sick", ["scope"]),
    "lock file gone": (dict(up(), lock={"verdict": "none"}), {}, "lock_file_gone", "sick", ["restart"]),
    "starting": (rejecting(), {}, "rejecting", "unknown", WAIT),
    "replaying": (rejecting(advances=True), {}, "crash_recovery", "unknown", WAIT),
    "replaying, still for a moment": (rejecting(advances=False, still_seconds=100.0), {}, "crash_recovery", "unknown", WAIT),
    "replay stands still": (rejecting(advances=False, still_seconds=121.0), {}, "recovery_stuck", "sick", []),
    "password wrong": (dict(down(""), wire=wire(sqlstate="28P01")), {}, "auth", "unknown", []),
    "no connection left": (dict(down(""), wire=wire(sqlstate="53300")), {}, "too_many_connections", "sick", []),
    "log-in timed out": (
        dict(down(""), wire=wire(accepting=True), login={"ok": False, "sqlstate": "57014", "message": ""}), {}, "", "unknown", []),
    "psql missing": (
        dict(down(""), wire=wire(accepting=True), login={"ok": False, "sqlstate": "", "message": "no psql"}), {}, "", "unknown", []),
    "hung": (hung(), {}, "hung", "sick", ["continue", "restart"]),
    "stopped by a signal": (hung("T"), {}, "hung", "sick", ["continue", "restart"]),
    "held by the kernel": (hung("D"), {}, "hung", "unknown", WAIT),
    "listens elsewhere": (hung(error="refused"), {}, "", "unknown", []),
    "killed": (down(), {}, "down_crashed", "sick", ["start"]),
    "stopped": (down(control=SHUT_DOWN), {}, "down_clean", "sick", ["start"]),
    "start limit reached": (
        down(service=dict(SERVICE, start_limit_hit=True)), {}, "down_crashed", "sick", ["reset_failed", "start"]),
    "service unseen": (down(service=dict(SERVICE, reachable=False, detail="no bus")), {}, "", "unknown", []),
    "wrapper": (down(service=dict(SERVICE, detail="it has no process; name the unit")), {}, "", "unknown", []),
    "another service's": (dict(hung(), owned=False), {}, "hung", "sick", []),
    "another cluster": (down(), {"expected_identity": {"system_identifier": "41"}}, "down_crashed", "sick", []),
    "seen from far": (dict(down(), stands_on="controller"), {}, "down", "unknown", []),
    "data directory unknown": (down(data_dir=""), {}, "", "unknown", []),
    "a postgres of which nothing may be seen": (down(processes=dict(NOBODY, unseen=True)), {}, "", "unknown", []),
    "orphans": (down(processes=dict(NOBODY, orphans=[{"pid": 3}])), {}, "down_orphans", "sick", ["end_orphans", "start"]),
    "lock file of a stranger": (down(lock=STRANGER), {}, "pid_stale", "sick", ["move_pid_aside", "start"]),
    "lock file in doubt": (down(lock={"verdict": "doubt", "pid": 9}), {}, "pid_in_doubt", "sick", []),
    "disk full": (down(disks=[FULL]), {}, "down_disk_full", "sick", ["make_room", "start"]),
    "disk full by the log, room since": (failed("no_space"), {}, "down_start_fails", "sick", ["start"]),
    "wrong mode, the directory by another's word": (down(access=WRONG_MODE), {}, "down_not_ours", "sick", []),
    "wrong mode behind a link of another user": (down(access=dict(WRONG_MODE, led=True)), NAMED, "down_not_ours", "sick", []),
    "a file with a second name": (
        down(access={"wrong": [dict(WRONG_MODE["wrong"][0], shared=True)]}), NAMED, "down_not_ours", "sick", []),
    "another port than the cluster's": (down(misnamed="the cluster in /data has port 5433"), {}, "misnamed", "sick", []),
    "another cluster answers": (dict(up(), misnamed="its data directory is /var/lib/postgresql/data"), NAMED, "misnamed", "sick", []),
    "its mount is absent": (down(unmounted={"point": "/data", "said": "/etc/fstab"}), {}, "down_data_missing", "sick", []),
    "wrong mode": (down(access=WRONG_MODE), NAMED, "down_permission", "sick", ["fix_permission", "start"]),
    "bad configuration": (down(config=CONFIG), {}, "down_bad_config", "sick", ["restore_config", "start"]),
    "all at once": (
        down(disks=[FULL], access=WRONG_MODE, config=CONFIG, lock=STRANGER), NAMED, "down_disk_full", "sick",
        ["make_room", "fix_permission", "restore_config", "move_pid_aside", "start"]),
    "one cause that nobody may remove": (
        down(access=WRONG_MODE, lock={"verdict": "doubt", "pid": 9}), NAMED, "down_permission", "sick", []),
    "WAL missing": (down(wal={"missing": "0" * 24}), {}, "down_no_wal", "sick", ["keep_copy"]),
    "WAL missing by the log": (failed("no_wal"), {}, "down_no_wal", "sick", ["keep_copy"]),
    "control file damaged": (down(control={"ok": False, "error": "checksum"}), {}, "down_bad_control", "sick", ["keep_copy"]),
    "panic": (failed("panic"), {}, "down_panic", "sick", ["keep_copy"]),
    "a panic that is over": (down(log=dict(QUIET_LOG, lines={"panic": "PANIC: x"})), {}, "down_crashed", "sick", ["start"]),
    "port taken": (down(port_holder=HOLDS_PORT), {}, "port_taken", "sick", []),
    "port taken by its own container": (
        down(port_holder=HOLDS_PORT, owners=[dict(PATRONI[0], owner="Docker")]), {}, "owned_elsewhere", "sick", []),
    "port taken, and not any more": (failed("port_in_use"), {}, "down_start_fails", "sick", ["start"]),
    "socket taken": (down(port_holder=dict(HOLDS_PORT, socket="/run/.s.PGSQL.5432")), {}, "port_taken", "sick", []),
    "WAL missing by the log, brought since": (
        down(log=dict(QUIET_LOG, lines={"no_wal": "PANIC", "panic": "PANIC"}, fatal="PANIC", ready=False, wal_changed=True)), {},
        "down_start_fails", "sick", ["start"]),
    "a library missing by the start command": (down(config=dict(CONFIG, file="", line=0)), {}, "down_bad_config", "sick", []),
    "lock file empty and nobody's": (down(lock={"verdict": "nobodys", "pid": 0}), {}, "pid_stale", "sick", ["move_pid_aside", "start"]),
    "data directory empty": (down(contents={"exists": True, "entries": 0}), {}, "down_data_missing", "sick", []),
    "data directory gone": (down(contents={"exists": False, "entries": None}), {}, "down_data_missing", "sick", []),
    "killed, and Patroni's": (down(owners=PATRONI), {}, "owned_elsewhere", "sick", []),
    "hung, and Patroni's": (dict(hung(), owners=PATRONI), {}, "owned_elsewhere", "sick", []),
    "replaying, and Patroni's": (dict(rejecting(), owners=PATRONI), {}, "rejecting", "unknown", WAIT),
    "healthy, and Patroni's": (dict(up(), owners=PATRONI), {}, "accepting", "well", []),
    "a wrong answer, and Patroni's": (
        dict(up(known_0=[{"sha256": digest_of("41")}]), owners=PATRONI), KNOWN, "up_corrupt", "sick", ["scope"]),
    "logins that wait for a lock on the catalogue": (login_waits(100.0), {}, "logins_wait", "sick", []),
    "a login that waited long before": (login_waits(90.0), {}, "hung", "sick", ["continue", "restart"]),
    "replay paused by a person": (standby(paused=True), {}, "standby_lagging", "sick", []),
    "a standby without its signal file": (down(control=WAS_STANDBY), {}, "wrong_role", "sick", []),
    "a standby, and a primary is wanted": (down(control=WAS_STANDBY), {"expected_role": "primary"}, "wrong_role", "sick", []),
    "a standby that was stopped": (down(control=WAS_STANDBY, standby=["standby.signal"]), {}, "down_clean", "sick", ["start"]),
    "a standby that takes no connections": (
        dict(rejecting(advances=True), wire=dict(wire(sqlstate="57P03"), message="the database system is not accepting connections")), {},
        "standby", "unknown", []),
    "a primary that is not yet consistent": (
        dict(rejecting(), wire=dict(wire(sqlstate="57P03"), message="the database system is not yet accepting connections")), {},
        "rejecting", "unknown", WAIT),
    "the files of a database are gone": (
        dict(down(""), wire=dict(wire(sqlstate="3D000"), message='database "soma" does not exist (subdirectory "base/9" is missing.)')), {},
        "down_data_missing", "sick", []),
    "the directory of its WAL is not mounted": (
        down(lost_wal="/wal", wal={"missing": "0" * 24}), {}, "tablespace_missing", "sick", []),
    "a panic for a right": (said("panic", "permission"), {}, "down_start_fails", "sick", ["start"]),
    "a panic for open files": (said("panic", "limit"), {}, "down_start_fails", "sick", ["start"]),
    "a control file that may not be read": (
        dict(said("bad_control", "permission"), access=WRONG_MODE), NAMED, "down_permission", "sick", ["fix_permission", "start"]),
    "a control file that seems damaged, and a mode that explains it": (
        dict(said("bad_control"), access=WRONG_MODE), NAMED, "down_permission", "sick", ["fix_permission", "start"]),
    "a file behind a link in the data directory": (
        down(access={"wrong": [dict(WRONG_MODE["wrong"][0], linked=True)]}), NAMED, "down_not_ours", "sick", []),
    "a cluster made anew since": (up(), {"known_identifier": "41"}, "accepting", "sick", []),
    "a cluster made anew since, and down": (down(), {"known_identifier": "41"}, "down_crashed", "sick", []),
    "a cluster made anew on purpose": (
        up(), {"known_identifier": "41", "expected_identity": {"system_identifier": "42"}}, "accepting", "well", []),
    "the cluster of the last look": (up(), {"known_identifier": "42"}, "accepting", "well", []),
    "a restore under way": (down(standby=["recovery.signal"]), {}, "down_restoring", "sick", []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_was_seen_gives_state_health_and_acts(case: str) -> None:
    raw, options, state, health, actions = CASES[case]
    seen = judge_postgres(raw, {"host": "/run", "port": 5432, **options})
    assert (seen.state, seen.health.value, list(seen.actions)) == (state, health, actions), seen.findings
    assert all("private" not in finding.text and "\n" not in finding.text for finding in seen.findings)


def test_a_cluster_that_is_not_of_the_service_named_says_which_and_what_to_correct() -> None:
    service = {"name": "postgresql@14-main.service", "exists": True, "state": "stopped"}
    seen = judge_postgres(dict(up(), owned=False, service=service), {"host": "/run", "port": 5432})
    [text] = [one.text for one in seen.findings if one.name == "identity"]
    assert "service differs; its process is not one of postgresql@14-main.service: correct database_recovery_service" in text


def test_every_state_has_a_case() -> None:
    told = {state for _raw, _options, state, _health, _actions in CASES.values()}
    assert set(STATES) - told == {"no_database"}


def test_no_look_that_acts_is_without_a_reason() -> None:
    for raw, options, _state, _health, actions in CASES.values():
        seen = judge_postgres(raw, {"host": "/run", "port": 5432, **options})
        assert not actions or seen.health.value == "sick" or actions == WAIT


def test_the_limits_are_those_of_the_operators() -> None:
    limits = {name: rule["default"] for name, rule in LIMITS.items()}
    assert (limits["max_connections_share"], limits["max_lag_seconds"], limits["max_query_seconds"]) == (0.9, 30.0, 300.0)
    assert (limits["max_idle_seconds"], limits["min_cache_hit_share"], limits["max_disk_share"]) == (3600.0, 0.9, 0.9)


HOLDER = {"pid": 9, "program": "sleep", "works_here": False, "started_at": 5000.0, "process_state": "S"}
LOCK = {"pid": 9, "started_at": 1000}


@pytest.mark.parametrize(
    ("lock", "holder", "processes", "verdict"),
    [
        (LOCK, {}, NOBODY, "dead"),
        (LOCK, HOLDER, NOBODY, "stranger"),
        (LOCK, dict(HOLDER, process_state="Z"), NOBODY, "zombie"),
        (LOCK, dict(HOLDER, program="postgres"), NOBODY, "stranger"),
        (LOCK, dict(HOLDER, program="postgres", works_here=True), NOBODY, "live"),
        (LOCK, dict(HOLDER, works_here=True), NOBODY, "doubt"),
        (LOCK, dict(HOLDER, program=None), NOBODY, "doubt"),
        (LOCK, dict(HOLDER, works_here=None), NOBODY, "doubt"),
        (LOCK, dict(HOLDER, started_at=1001.5), NOBODY, "doubt"),
        (dict(LOCK, started_at=0), HOLDER, NOBODY, "doubt"),
        (dict(LOCK, pid=0), {}, NOBODY, "doubt"),
        (dict(LOCK, pid=0, nobodys=False), {}, NOBODY, "doubt"),
        (dict(LOCK, pid=0, nobodys=True), {}, NOBODY, "nobodys"),
        (dict(LOCK, pid=0, nobodys=True), {}, dict(NOBODY, postmaster=POSTMASTER), "doubt"),
        (LOCK, HOLDER, dict(NOBODY, postmaster=POSTMASTER), "doubt"),
        (LOCK, {}, dict(NOBODY, orphans=[{"pid": 3}]), "doubt"),
        (LOCK, {}, dict(NOBODY, unseen=True), "doubt"),
    ],
)
def test_a_lock_file_is_only_stale_where_all_prove_it(
    lock: dict[str, t.Any], holder: dict[str, t.Any], processes: dict[str, t.Any], verdict: str
) -> None:
    assert judge_lock(lock, holder, processes) == verdict


START = "2026 [1] LOG:  starting PostgreSQL 15.18\n"


def test_only_the_last_start_of_a_log_counts_and_nothing_that_a_client_sent() -> None:
    old = START + "[2] PANIC:  could not locate a valid checkpoint record\n"
    sent = "[3] ERROR:  x\n[3] STATEMENT:  SELECT 'PANIC:'\n\tNo space left on device\n"
    new = START + "LOG:  database system is ready to accept connections\n" + sent
    assert read_log(old)["lines"].keys() == {"no_wal", "panic"}
    assert read_log(old + new) == {"lines": {}, "fatal": "", "started": True, "ready": True, "redo": [], "fault": {}}
    assert read_log("")["started"] is False


def test_a_replay_is_read_from_its_own_progress_lines() -> None:
    lines = [
        f"LOG:  redo in progress, elapsed time: {seconds}.00 s, current LSN: 0/{lsn}000000\n"
        for seconds, lsn in ((10, 3), (20, 4), (30, 4))
    ]
    assert read_log(START + "".join(lines))["redo"] == [[20.0, "0/4000000"], [30.0, "0/4000000"]]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('LOG:  syntax error in file "/c" line 9, near token "="', ("/c", 9)),
        ('LOG:  unrecognized configuration parameter "x" in file "/c" line 4', ("/c", 4)),
        ('CONTEXT:  line 99 of configuration file "/hba"', ("/hba", 99)),
        ('LOG:  invalid value for parameter "port": "x"\nFATAL:  configuration file "/c" contains errors', ("/c", 3)),
        ('FATAL:  configuration file "/c" contains errors', ("/c", 0)),
        ("FATAL:  could not access directory", None),
    ],
)
def test_a_fault_of_the_configuration_is_found_by_its_line(text: str, fault: tuple[str, int] | None) -> None:
    found = config_fault(text, lambda path: ["# port = 1", "port = 1", "port = x", "reports = 1"])
    assert (found.get("file"), found.get("line")) == (fault or (None, None))
