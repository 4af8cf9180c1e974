# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a look at PostgreSQL: one state of ``STATES`` ("" where it is unknown), its health, and the acts that it allows.

- accepting, standby: well where that role is expected. A run never promotes a standby.
- rejecting, crash_recovery: unknown, wait: it starts, stops, or replays its WAL. That ends without help; never interrupt it.
- recovery_stuck: sick, no act. A person looks into a replay that has stalled; a restart would begin it again.
- hung: sick, SIGCONT first, then a bounded restart through its manager; wait while the kernel blocks it (D).
- lock_file_gone: sick, restart: without its lock file, or with one that does not name it, PostgreSQL exits within a minute.
- auth, no_database: unknown and sick, no act: a restart does not fix credentials.
- read_only, too_many_connections, blocked, archiver_failing, wal_filling, wraparound, prepared, audit_gap: sick, no act of this remedy.
- standby_lagging, wrong_role: sick, no act.
- up_corrupt: sick, scope: find out what is damaged before anything else.
- down_clean, down_crashed: sick, start; after a crash PostgreSQL replays its WAL on that start.
- down_orphans: sick, end the backends that outlived their postmaster (SIGTERM), then start.
- pid_stale: sick, the lock file names a process proven to be unrelated (or a zombie): move the file aside, then start.
  PostgreSQL's own start handles a file that names any other ended process. pid_in_doubt: no act.
- down_disk_full, down_permission, down_bad_config: sick, remove that cause, then start. Several causes are all named.
- down_no_wal, down_bad_control, down_panic: sick, keep_copy: a start would fail or destroy evidence; a person continues from a cold copy.
- down_data_missing, down_restoring: sick, no act.
- tablespace_missing: sick, no act, up or down: the directory of a tablespace holds nothing (not mounted?).
- owned_elsewhere: sick, no act: Patroni or another manager starts, stops and fails it over.
- down_not_ours: sick, no act: as down_permission, where a run gives no file away: a second name, a link, no data_dir in the inventory.
- misnamed: sick, no act: the variables name another port, directory or version than the cluster has.
- logins_wait: sick, no act: the server makes a process for each login, and that waits; a restart would end every session.
- port_taken: sick, no act: another process holds the port or the socket that it needs.
- down_start_fails: sick, start: its last start failed for a reason that cannot be seen to hold still, so one start is allowed.

Silence seen from the controller is unknown: the network may be what is down.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.reach import judge_unreached
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import facts as postgresql_facts
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.options import with_defaults
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.running import judge_running
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wire import address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.owners import sentence as owners_sentence
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.port import holder_text

Raw = t.Mapping[str, t.Any]
Facts = t.Mapping[str, t.Any]

STATES = (
    "accepting", "standby", "rejecting", "crash_recovery", "recovery_stuck", "hung", "lock_file_gone", "auth", "no_database",
    "read_only", "too_many_connections", "blocked", "archiver_failing", "wal_filling", "wraparound", "prepared", "audit_gap",
    "standby_lagging",
    "wrong_role", "up_corrupt", "down_clean", "down_crashed", "down_orphans", "pid_stale", "pid_in_doubt", "down_disk_full",
    "down_permission", "down_bad_config", "down_no_wal", "down_bad_control", "down_panic", "down_data_missing", "down_restoring",
    "down_start_fails", "owned_elsewhere", "port_taken",
    "misnamed", "down_not_ours", "tablespace_missing", "logins_wait",
)  # fmt: skip
# SQLSTATE -> (state word, health, sentence). Starting up and shutting down end without help: never interrupt them.
SQLSTATES: dict[str, tuple[str, State, str]] = {
    "57P03": ("rejecting", State.UNKNOWN, "is up but rejects connections for now"),
    "57P01": ("rejecting", State.UNKNOWN, "is being stopped by an administrator"),
    "57P02": ("rejecting", State.UNKNOWN, "is restarting after a crash of one of its processes"),
    "53300": ("too_many_connections", State.SICK, "has no connection left"),
    "3D000": ("no_database", State.SICK, "does not have the database"),
    "57014": ("slow_query", State.SICK, "did not finish the query in time"),
}
SILENT = ("refused", "no_socket", "timeout", "connect_timeout", "closed")
# This may be the last copy of the data, so it is copied before a person continues.
COPIED = ("down_no_wal", "down_bad_control", "down_panic")
# A start writes its lock file, and a little WAL at the end of a recovery.
LITTLE_ROOM = 1 << 20
SEGMENT_BYTES = 16 << 20
FEW_INODES = 8
MANY_READY = 16
# Kinds of lines that name a cause outside of the data.
OUTSIDE = {"no_space", "permission", "no_memory", "limit"}
# The kernel counts the start of a process in hundredths of a second since the boot, which itself is a whole second.
SAME_MOMENT = 2.0
# Acts that do not get in the way of another manager.
UNOWNED = {"wait", "scope"}


class Verdict(t.NamedTuple):
    """The main judgement: state, health, one sentence, the acts allowed."""

    state: str
    health: State
    text: str
    actions: tuple[str, ...] = ()


def judge_postgres(raw: Raw, options: Raw) -> Health:
    """Return the Health of what ``load_postgres`` saw. Pure; *options* are its expectations and limits."""
    options = with_defaults(options)
    what = "PostgreSQL at %s" % address_of(options)
    facts = dict(postgresql_facts.facts_of(raw, options), address=address_of(options))
    identity = postgresql_facts.identity_of(raw, options)
    unreached = _unreached(raw, what)
    if unreached is not None:
        return Health(unreached.findings, unreached.state, identity, (), facts)
    more: tuple[Finding, ...] = ()
    if raw["login"].get("ok"):
        verdict, more = _running(raw, options, facts, what)
    else:
        verdict = _not_logged_in(raw, facts, options, what)
    verdict = _owned(verdict, raw.get("owners") or [], what)
    wrong = postgresql_facts.mismatches(identity, options["expected_identity"]) + (["service"] if raw.get("owned") is False else [])
    findings = (Finding("state", verdict.health, verdict.text), *more)
    if wrong:
        text = "this is not the expected cluster: %s differs%s" % (", ".join(wrong), _of_no_service(raw))
        findings += (Finding("identity", State.SICK, text),)
    other = postgresql_facts.is_other_since(identity, options)
    if other:
        text = "this is another cluster (%s) than at the last proven look (%s)"
        findings += (Finding("identity", State.SICK, text % (identity["system_identifier"], options["known_identifier"])),)
    told = dict(facts, identity_mismatch=bool(wrong or other), other_since=other and not wrong)
    return Health(findings, verdict.state, identity, () if wrong or other else verdict.actions, told)


def _of_no_service(raw: Raw) -> str:
    name = (raw.get("service") or {}).get("name") if raw.get("owned") is False else ""
    text = "; its process is not one of %s: correct database_recovery_service, or find out who started it"
    return text % one_line(name, 80) if name else ""


def _unreached(raw: Raw, what: str) -> t.Optional[Health]:
    """Return the Health of what was not reached, None where there is something to judge: an answer, or silence seen from beside it."""
    error = raw["wire"]["error"]
    if not error or (error in SILENT and raw["stands_on"] == "target"):
        return None
    return judge_unreached(error, raw["wire"]["detail"], {"stands_on": raw["stands_on"]}, what)


def _running(raw: Raw, options: Raw, facts: Facts, what: str) -> tuple[Verdict, tuple[Finding, ...]]:
    state, findings = judge_running(facts, options)
    role = facts["role"] or "server"
    if raw.get("misnamed"):
        return Verdict("misnamed", State.SICK, "%s answers, but %s" % (what, raw["misnamed"])), findings
    gone = _lock_file_gone(raw)
    if gone:
        text = "%s is serving, but its lock file %s: it will exit within a minute" % (what, gone)
        return Verdict("lock_file_gone", State.SICK, text, ("restart",)), findings
    well = "standby" if role == "standby" else "accepting"
    text = "%s accepts connections, %s of version %s" % (what, role, facts["server_version"] or "?")
    if not state:
        return Verdict(well, State.WELL, text), findings
    first = next(finding for finding in findings if finding.state is State.SICK)
    return Verdict(state, State.SICK, first.text, ("scope",) if state == "up_corrupt" else ()), findings


def _lock_file_gone(raw: Raw) -> str:
    """Return what is wrong with the lock file of a server that runs: it stops itself once the file does not name it any more."""
    lock = raw.get("lock") or {}
    if not lock or not raw["processes"]["postmaster"]:
        return ""
    if lock["verdict"] == "none":
        return "is gone"
    if lock.get("names_it") is False:
        return "names process %d instead of it" % lock["pid"] if lock["pid"] else "is empty"
    return ""


def _owned(verdict: Verdict, owners: t.Sequence[t.Mapping[str, str]], what: str) -> Verdict:
    """Return the verdict on a cluster that another manager starts, stops and fails over: no run does that beside it."""
    # What holds the port is then the store itself, and to stop that would be wrong.
    is_theirs = verdict.state == "port_taken" and any(one["owner"] == "Docker" for one in owners)
    if not owners or (set(verdict.actions) <= UNOWNED and not is_theirs):
        return verdict
    return Verdict("owned_elsewhere", State.SICK, "%s; %s" % (verdict.text, owners_sentence(owners)))


def judge_refusal(sqlstate: str, message: str, what: str) -> Verdict:
    """Return what it means that *what* rejected us with *sqlstate*. Rejected credentials (28xxx) are unknown."""
    default = ("refusing", State.UNKNOWN, "rejected our connection")
    if sqlstate == "3D000" and "is missing" in message:
        # The catalogue has the database, the disk does not.
        return Verdict("down_data_missing", State.SICK, "%s has lost the files of the database: %s" % (what, message))
    if sqlstate == "57P03" and "is not accepting connections" in message:
        text = "%s is a standby that takes no connections (hot_standby is off): nothing more can be seen of it" % what
        return Verdict("standby", State.UNKNOWN, text)
    if sqlstate.startswith("28"):
        default = ("auth", State.UNKNOWN, "rejected our credentials: check user and password")
    word, state, sentence = SQLSTATES.get(sqlstate, default)
    text = "%s %s" % (what, sentence) + (": %s" % message if message else "")
    return Verdict(word, state, text, ("wait",) if word == "rejecting" else ())


def _not_logged_in(raw: Raw, facts: Facts, options: Raw, what: str) -> Verdict:
    if raw["wire"]["accepting"] and not raw["login"].get("sqlstate"):
        return Verdict("", State.UNKNOWN, "%s accepts connections, but could not be queried: %s" % (what, raw["login"].get("message", "")))
    if raw["wire"]["accepting"] and raw["login"]["sqlstate"] == "57014":
        return Verdict("", State.UNKNOWN, "%s accepts connections, but did not answer a query in time" % what)
    if facts["sqlstate"]:
        verdict = judge_refusal(facts["sqlstate"], facts["message"], what)
        return _recovering(verdict, facts, options, what) if verdict.state == "rejecting" else verdict
    if not raw.get("data_dir"):
        return _without_data_dir(raw, what)
    if raw["processes"]["postmaster"]:
        return _mute(raw, facts, options, what)
    return _misnamed(raw, what) or _down(raw, facts, what)


def _misnamed(raw: Raw, what: str) -> t.Optional[Verdict]:
    """Return in what the variables contradict the cluster that lies there: it is not the one that is meant, or they are wrong."""
    text = raw.get("misnamed")
    return Verdict("misnamed", State.SICK, "%s does not answer, and %s" % (what, text)) if text else None


def _recovering(verdict: Verdict, facts: Facts, options: Raw, what: str) -> Verdict:
    """Return whether a server that rejects connections is replaying WAL, and whether the replay advances."""
    redo = facts["redo"]
    if not redo.get("segment"):
        return verdict
    where = "%s is replaying its WAL (%s)" % (what, redo["lsn"] or redo["segment"])
    if redo["still_seconds"] > options["max_redo_still_seconds"]:
        text = "%s and has not advanced for %.0f s; it is not interrupted" % (where, redo["still_seconds"])
        return Verdict("recovery_stuck", State.SICK, text)
    moves = {True: " and advances", False: " and has not advanced for %.0f s" % redo["still_seconds"], None: ""}[redo["advances"]]
    return Verdict("crash_recovery", State.UNKNOWN, where + moves, ("wait",))


def _without_data_dir(raw: Raw, what: str) -> Verdict:
    if raw["wire"]["error"] in ("timeout", "connect_timeout"):
        actions = ("continue",) if raw["service"].get("pid") else ()
        return Verdict("hung", State.SICK, "%s accepts connections but does not answer" % what, actions)
    return Verdict("", State.UNKNOWN, "%s does not answer, and its data directory is not known: set data_dir" % what)


def _mute(raw: Raw, facts: Facts, options: Raw, what: str) -> Verdict:
    """Judge a postmaster that runs but does not answer at the address we asked."""
    process, pid = facts["process"], facts["process"]["pid"]
    if process["process_state"] == "D":
        return Verdict("hung", State.UNKNOWN, "%s: the kernel blocks its process %d (a disk, a mount?)" % (what, pid), ("wait",))
    if process["process_state"] == "T":
        return Verdict("hung", State.SICK, "%s: its process %d is stopped by a signal" % (what, pid), ("continue", "restart"))
    waiting = _logins_wait(raw)
    if waiting:
        return Verdict("logins_wait", State.SICK, "%s runs and takes connections, but %s" % (what, waiting))
    if raw["wire"]["error"] in ("timeout", "connect_timeout", "closed"):
        return Verdict("hung", State.SICK, "%s: its process %d runs but does not answer" % (what, pid), ("continue", "restart"))
    if facts["lock_file"].get("status") in ("starting", "stopping"):
        rejecting = Verdict("rejecting", State.UNKNOWN, "%s is %s" % (what, facts["lock_file"]["status"]), ("wait",))
        return _recovering(rejecting, facts, options, what)
    seen = "port %s in %s" % (facts["lock_file"].get("port"), facts["lock_file"].get("socket_dir"))
    text = "%s does not answer, but its process %d listens elsewhere (%s): correct host and port" % (what, pid, seen)
    return Verdict("", State.UNKNOWN, text)


def _logins_wait(raw: Raw) -> str:
    """Return why a server is not hung although a login did not end: it made a process for it, which waits. "" where it made none."""
    logins, since = raw["processes"].get("logins") or [], float(raw.get("knocked_at") or 0)
    ours = [one for one in logins if since and float(one["started_at"]) >= since - SAME_MOMENT]
    if raw["wire"]["error"] != "timeout" or not ours:
        return ""
    waits = counted(len(logins), "logins") + (" waits" if len(logins) == 1 else " wait")
    text = "%s for a lock on a system catalogue, for whatever checks them (a directory service, names of hosts), or for a processor"
    idle = ["pid %s (%s)" % (one["pid"], one_line(one["title"].partition(": ")[2], 60)) for one in raw["processes"].get("idle") or []]
    return text % waits + ("; a transaction is open in %s" % " and ".join(idle[:2]) if idle else "")


def _down(raw: Raw, facts: Facts, what: str) -> Verdict:
    """No postmaster is there: say why, and what may be done. The first that applies counts."""
    return (
        _cannot_tell(raw, what)
        or _orphaned(facts, what)
        or _beyond_a_start(facts, what)
        or _port_taken(facts, what)
        or _held_back(facts, what)
        or _failing_start(facts, what)
        or _startable(facts, what)
    )


def _cannot_tell(raw: Raw, what: str) -> t.Optional[Verdict]:
    service = raw["service"]
    detail = str(service.get("detail"))
    if raw["processes"]["unseen"]:
        text = "%s does not answer, and we may not see which cluster a postgres process here belongs to: set become: true" % what
        return Verdict("", State.UNKNOWN, text)
    if service and not (service.get("reachable") and service.get("exists")):
        return Verdict("", State.UNKNOWN, "%s does not answer, and its service cannot be seen: %s" % (what, one_line(detail, 100)))
    if "has no process" in detail:
        return Verdict("", State.UNKNOWN, "%s does not answer; %s" % (what, one_line(detail, 120)))
    return None


def _orphaned(facts: Facts, what: str) -> t.Optional[Verdict]:
    if not facts["orphans"]:
        return None
    text = "%s is down: its postmaster is gone, and %s still run" % (what, counted(len(facts["orphans"]), "backends"))
    return Verdict("down_orphans", State.SICK, text, ("end_orphans", *_start(facts)))


def _beyond_a_start(facts: Facts, what: str) -> t.Optional[Verdict]:
    state, text = _hopeless(facts)
    if not state:
        return None
    return Verdict(state, State.SICK, "%s is down: %s" % (what, text), ("keep_copy",) if state in COPIED else ())


def _held_back(facts: Facts, what: str) -> t.Optional[Verdict]:
    causes = _causes(facts)
    if not causes:
        return None
    acts = tuple(act for _state, _text, act in causes)
    text = "%s is down: %s" % (what, "; ".join(text for _state, text, _act in causes))
    return Verdict(causes[0][0], State.SICK, text, (*acts, *_start(facts)) if all(acts) else ())


def _port_taken(facts: Facts, what: str) -> t.Optional[Verdict]:
    holder = facts["port_holder"]
    if not holder:
        return None
    text = "the socket %s is that of a postgres process (pid %s)" % (holder["socket"], holder["pid"]) if holder["socket"] else ""
    return Verdict("port_taken", State.SICK, "%s is down, and %s" % (what, text or holder_text(holder, int(holder["port"]))))


def _failing_start(facts: Facts, what: str) -> t.Optional[Verdict]:
    failed = facts["log"].get("fatal") if not facts["log"].get("ready") else ""
    if not failed or facts["log"].get("cause_changed"):
        return None
    # Whether that still holds cannot be seen, so one start is allowed.
    return Verdict("down_start_fails", State.SICK, "%s is down: its last start failed: %s" % (what, failed), _start(facts))


def _startable(facts: Facts, what: str) -> Verdict:
    clean = facts["control"].get("state") in ("shut down", "shut down in recovery")
    how = "it was shut down" if clean else "it ended without a shutdown; its next start replays its WAL"
    return Verdict("down_clean" if clean else "down_crashed", State.SICK, "%s is down: %s" % (what, how), _start(facts))


def _start(facts: Facts) -> tuple[str, ...]:
    return ("reset_failed", "start") if facts["service"].get("start_limit_hit") else ("start",)


def _hopeless(facts: Facts) -> tuple[str, str]:
    """Return (state, text) of the first thing that no start can cure, ("", "") for none."""
    found = ((state, judge(facts)) for state, judge in HOPELESS)
    return next(((state, text) for state, text in found if text), ("", ""))


def _no_data(facts: Facts) -> str:
    contents = facts["contents"]
    if facts["unmounted"]:
        return "%s has to be mounted for its data directory, and is not (%s)" % (facts["unmounted"]["point"], facts["unmounted"]["said"])
    if not contents.get("exists"):
        return "its data directory %s does not exist" % facts["data_dir"]
    if contents.get("entries") == 0:
        return "its data directory %s is empty" % facts["data_dir"]
    if contents.get("entries") and not (contents["version"] and contents["base"]):
        return "%s is no longer a data directory: PG_VERSION or base is missing" % facts["data_dir"]
    return ""


def _lost_tablespaces(facts: Facts) -> str:
    lost = facts["lost_tablespaces"]
    if facts["lost_wal"]:
        return "the directory of its WAL %s is gone, empty, or not mounted" % facts["lost_wal"]
    return "the directory of its tablespace %s is gone, empty, or not mounted" % " and ".join(lost[:3]) if lost else ""


def _bad_control(facts: Facts) -> str:
    contents, control = facts["contents"], facts["control"]
    said = "" if facts["log"].get("control_changed") else _damage_said(facts).get("bad_control")
    damaged = not contents.get("control") or control.get("ok") is False or said
    if not contents.get("entries") or not damaged:
        return ""
    return "its control file is damaged (%s)" % (control.get("error") or said or "it is missing")


def _restoring(facts: Facts) -> str:
    return (
        "a restore is in progress there (recovery.signal): a start would continue it" if "recovery.signal" in facts["signal_files"] else ""
    )


def _no_wal(facts: Facts) -> str:
    missing = facts["wal"].get("missing") or ("" if facts["log"].get("wal_changed") else _damage_said(facts).get("no_wal"))
    return "it needs WAL that is missing (%s)" % missing if missing else ""


def _panic(facts: Facts) -> str:
    said = _damage_said(facts)
    if facts["log"].get("control_changed") or facts["log"].get("wal_changed"):
        return ""
    return "its last start ended in a panic: %s" % said["panic"] if "panic" in said else ""


def _was_standby(facts: Facts) -> str:
    """Without its signal file, a cluster that was in recovery comes up as a primary of its own."""
    if facts["signal_files"] or facts["control"].get("state") not in ("shut down in recovery", "in archive recovery"):
        return ""
    return "it was a standby when it ended, and its standby.signal is gone: a start would make it a primary"


HOPELESS: tuple[tuple[str, t.Callable[[Facts], str]], ...] = (
    ("down_data_missing", _no_data),
    ("tablespace_missing", _lost_tablespaces),
    ("down_bad_control", _bad_control),
    ("down_restoring", _restoring),
    ("wrong_role", _was_standby),
    ("down_no_wal", _no_wal),
    ("down_panic", _panic),
)


def _said(facts: Facts) -> dict[str, str]:
    """Return what the log said of the last start if that failed; older lines no longer count."""
    log = facts["log"]
    return dict(log.get("lines") or {}) if not log.get("ready") else {}


def _damage_said(facts: Facts) -> dict[str, str]:
    """Return the same where it speaks of the data themselves: a file that could not be opened, or no room, looks like damage too."""
    said = _said(facts)
    return {} if _causes(facts) or set(said) & OUTSIDE else said


def _causes(facts: Facts) -> list[tuple[str, str, str]]:
    """Return (state, text, act) of every removable cause that keeps it from starting; an empty act where only a person can remove it."""
    found: list[tuple[str, str, str]] = []
    for disk in facts["disks"]:
        if _full(disk, facts):
            holds, path = " and ".join(disk["holds"]), one_line(disk["path"], 80)
            where = "the disk of %s is full: %d bytes free in %s%s" % (holds, disk["free_bytes"], path, _what_fills(disk, facts))
            found.append(("down_disk_full", where, "" if disk["read_only"] else "make_room"))
    found += [_permission_cause(wrong, facts) for wrong in facts["access"].get("wrong") or []]
    if facts["config"]:
        place = "%s line %s" % (facts["config"]["file"] or "the start command", facts["config"]["line"] or "?")
        act = "restore_config" if facts["config"]["file"] else ""
        found.append(("down_bad_config", "its configuration is broken, %s: %s" % (place, facts["config"]["text"]), act))
    found += _lock_causes(facts)
    # One act cures all places of one kind.
    return list({act or state: (state, text, act) for state, text, act in reversed(found)}.values())[::-1]


def _permission_cause(wrong: Facts, facts: Facts) -> tuple[str, str, str]:
    """Nothing is given away by the word of a configuration or a link that PostgreSQL's own user may write."""
    why = " (it has a second name)" if wrong.get("shared") else " (it lies behind a link)" if wrong.get("linked") else ""
    text = "%s: %s%s" % (one_line(wrong["path"], 80), wrong["problem"], why)
    is_safe = facts["data_dir_given"] and not why and not facts["access"].get("led")
    return ("down_permission", text, "fix_permission") if is_safe else ("down_not_ours", text, "")


def _what_fills(disk: Facts, facts: Facts) -> str:
    """Return what may fill a disk: slots that nobody reads, WAL that waits for the archiver, the largest files."""
    slots = [one for one in facts["slots"] if one["kept_bytes"] > SEGMENT_BYTES]
    said = ["replication slot %s keeps %.1f GB of WAL" % (one["name"], one["kept_bytes"] / 2.0**30) for one in slots[:2]]
    if (facts["wal"].get("ready") or 0) > MANY_READY:
        said.append("%s are waiting for the archiver" % counted(facts["wal"]["ready"], "WAL files"))
    if disk.get("largest"):
        said.append(
            "the largest files: " + ", ".join("%s (%.1f GB)" % (one["path"], one["bytes"] / 2.0**30) for one in disk["largest"][:3])
        )
    return "".join("; " + one for one in said)


def _full(disk: Facts, facts: Facts) -> bool:
    inodes = disk["free_inodes"]
    scarce = disk["free_bytes"] < LITTLE_ROOM or (inodes is not None and inodes < FEW_INODES) or disk["read_only"]
    segment = facts["control"].get("segment_bytes") or SEGMENT_BYTES
    return bool(scarce or ("no_space" in _said(facts) and disk["free_bytes"] < segment))


def _lock_causes(facts: Facts) -> list[tuple[str, str, str]]:
    lock = facts["lock_file"]
    if lock.get("verdict") == "stranger":
        holder = lock["holder"]
        text = "its lock file names process %d, which is %s and does not belong to this cluster" % (holder["pid"], holder["program"])
        return [("pid_stale", text, "move_pid_aside")]
    if lock.get("verdict") == "zombie":
        text = "its lock file names process %d, a zombie that its parent never reaps: a start would take it for alive"
        return [("pid_stale", text % lock["pid"], "move_pid_aside")]
    if lock.get("verdict") == "nobodys":
        return [("pid_stale", "its lock file names no process, and nothing has this cluster open: PostgreSQL refuses it", "move_pid_aside")]
    if lock.get("verdict") in ("doubt", "live"):
        return [("pid_in_doubt", "nothing proves whose process %s, named in its lock file, is" % lock.get("pid"), "")]
    return []
