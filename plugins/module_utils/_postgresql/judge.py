# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a look at PostgreSQL: one state of ``STATES`` ("" where none can be told), its health, and the acts that it allows.

- accepting, standby: well, each in its place. A standby is never promoted from here.
- rejecting, crash_recovery: unknown, wait: it starts, stops, or replays its WAL, which passes by itself and is never interrupted.
- recovery_stuck: sick, no act. A replay that stands still is looked into by a person; a restart would begin it again.
- hung: sick, SIGCONT first, then a bounded restart through its manager; waits while the kernel holds it (D).
- lock_file_gone: sick, restart: PostgreSQL ends by itself within a minute of it.
- auth, no_database: unknown and sick, no act: a restart cures no credentials.
- too_many_connections, blocked, archiver_failing, wal_filling, wraparound, prepared, audit_gap: sick, no act of this remedy.
- standby_lagging, wrong_role: sick, no act.
- up_corrupt: sick, scope: find out what is damaged before anything else.
- down_clean, down_crashed: sick, start; after a crash PostgreSQL recovers by itself.
- down_orphans: sick, end the backends that outlived their postmaster by TERM, then start.
- pid_stale: sick, the lock file names a living stranger (or what its parent never collects), proven: it is moved aside, then start.
  Of any other ended process PostgreSQL's own start takes care. pid_in_doubt: no act.
- down_disk_full, down_permission, down_bad_config: sick, remove that cause, then start. Of several causes all are named.
- down_no_wal, down_bad_control, down_panic: sick, keep_copy: a start would fail or destroy evidence; whoever goes on has a cold copy.
- down_data_missing, down_restoring: sick, no act.
- down_start_fails: sick, no act: its last start ended for a reason that is not mended from here.

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

Raw = t.Mapping[str, t.Any]
Facts = t.Mapping[str, t.Any]

STATES = (
    "accepting", "standby", "rejecting", "crash_recovery", "recovery_stuck", "hung", "lock_file_gone", "auth", "no_database",
    "too_many_connections", "blocked", "archiver_failing", "wal_filling", "wraparound", "prepared", "audit_gap", "standby_lagging",
    "wrong_role", "up_corrupt", "down_clean", "down_crashed", "down_orphans", "pid_stale", "pid_in_doubt", "down_disk_full",
    "down_permission", "down_bad_config", "down_no_wal", "down_bad_control", "down_panic", "down_data_missing", "down_restoring",
    "down_start_fails",
)  # fmt: skip
# SQLSTATE -> (state word, health, sentence). Starting up and shutting down pass by themselves: never interrupt them.
SQLSTATES: dict[str, tuple[str, State, str]] = {
    "57P03": ("rejecting", State.UNKNOWN, "is up and rejects connections for now"),
    "57P01": ("rejecting", State.UNKNOWN, "is being stopped by an administrator"),
    "57P02": ("rejecting", State.UNKNOWN, "is restarting after a crash of one of its processes"),
    "53300": ("too_many_connections", State.SICK, "has no connection left"),
    "3D000": ("no_database", State.SICK, "lacks the database"),
    "57014": ("slow_query", State.SICK, "did not finish the query in time"),
}
SILENT = ("refused", "no_socket", "timeout", "connect_timeout", "closed")
# What may be the last that is left of the data is copied before a person goes on with it.
COPIED = ("down_no_wal", "down_bad_control", "down_panic")
# A start writes its lock file, and a little WAL at the end of a recovery.
LITTLE_ROOM = 1 << 20
SEGMENT_BYTES = 16 << 20
FEW_INODES = 8


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
        verdict = _not_let_in(raw, facts, options, what)
    wrong = postgresql_facts.mismatches(identity, options["expected_identity"]) + (["service"] if raw.get("owned") is False else [])
    findings = (Finding("state", verdict.health, verdict.text), *more)
    if wrong:
        findings += (Finding("identity", State.SICK, "another cluster is there than the one expected: %s differs" % ", ".join(wrong)),)
    return Health(findings, verdict.state, identity, () if wrong else verdict.actions, dict(facts, identity_mismatch=bool(wrong)))


def _unreached(raw: Raw, what: str) -> t.Optional[Health]:
    """Return the Health of what was not reached, None where there is something to judge: an answer, or silence seen from beside it."""
    error = raw["wire"]["error"]
    if not error or (error in SILENT and raw["stands_on"] == "target"):
        return None
    return judge_unreached(error, raw["wire"]["detail"], {"stands_on": raw["stands_on"]}, what)


def _running(raw: Raw, options: Raw, facts: Facts, what: str) -> tuple[Verdict, tuple[Finding, ...]]:
    state, findings = judge_running(facts, options)
    role = facts["role"] or "server"
    if raw.get("lock") and raw["lock"]["verdict"] == "none" and raw["processes"]["postmaster"]:
        text = "%s serves, and its lock file is gone: it will end by itself within a minute" % what
        return Verdict("lock_file_gone", State.SICK, text, ("restart",)), findings
    well = "standby" if role == "standby" else "accepting"
    text = "%s accepts connections, %s of version %s" % (what, role, facts["server_version"] or "?")
    if not state:
        return Verdict(well, State.WELL, text), findings
    first = next(finding for finding in findings if finding.state is State.SICK)
    return Verdict(state, State.SICK, first.text, ("scope",) if state == "up_corrupt" else ()), findings


def judge_refusal(sqlstate: str, message: str, what: str) -> Verdict:
    """Return what it means that the server of *what* turned us away with *sqlstate*. What shuts us out (28xxx) is unknown."""
    default = ("refusing", State.UNKNOWN, "refuses us")
    if sqlstate.startswith("28"):
        default = ("auth", State.UNKNOWN, "answers and shuts us out: look after the credentials")
    word, state, sentence = SQLSTATES.get(sqlstate, default)
    text = "%s %s" % (what, sentence) + (": %s" % message if message else "")
    return Verdict(word, state, text, ("wait",) if word == "rejecting" else ())


def _not_let_in(raw: Raw, facts: Facts, options: Raw, what: str) -> Verdict:
    if raw["wire"]["accepting"] and not raw["login"].get("sqlstate"):
        return Verdict("", State.UNKNOWN, "%s accepts connections, but could not be asked: %s" % (what, raw["login"].get("message", "")))
    if raw["wire"]["accepting"] and raw["login"]["sqlstate"] == "57014":
        return Verdict("", State.UNKNOWN, "%s accepts connections, but nothing was answered in time" % what)
    if facts["sqlstate"]:
        verdict = judge_refusal(facts["sqlstate"], facts["message"], what)
        return _recovering(verdict, facts, options, what) if verdict.state == "rejecting" else verdict
    if not raw.get("data_dir"):
        return _without_data_dir(raw, what)
    if raw["processes"]["postmaster"]:
        return _mute(raw, facts, options, what)
    return _down(raw, facts, what)


def _recovering(verdict: Verdict, facts: Facts, options: Raw, what: str) -> Verdict:
    """Return what a server that rejects does: does it replay, and does that go on."""
    redo = facts["redo"]
    if not redo.get("segment"):
        return verdict
    where = "%s replays its WAL (%s)" % (what, redo["lsn"] or redo["segment"])
    if redo["still_seconds"] > options["max_redo_still_seconds"]:
        text = "%s and has not moved for %.0f s; it is not interrupted" % (where, redo["still_seconds"])
        return Verdict("recovery_stuck", State.SICK, text)
    moves = {True: ", and that goes on", False: ", not moved for %.0f s" % redo["still_seconds"], None: ""}[redo["advances"]]
    return Verdict("crash_recovery", State.UNKNOWN, where + moves, ("wait",))


def _without_data_dir(raw: Raw, what: str) -> Verdict:
    if raw["wire"]["error"] in ("timeout", "connect_timeout"):
        actions = ("continue",) if raw["service"].get("pid") else ()
        return Verdict("hung", State.SICK, "%s accepts connections and does not answer" % what, actions)
    return Verdict("", State.UNKNOWN, "%s does not answer, and where its data are is not known: set data_dir" % what)


def _mute(raw: Raw, facts: Facts, options: Raw, what: str) -> Verdict:
    """A postmaster is there and does not answer at the address asked."""
    process, pid = facts["process"], facts["process"]["pid"]
    if process["process_state"] == "D":
        return Verdict("hung", State.UNKNOWN, "%s: the kernel holds its process %d (a disk, a mount?)" % (what, pid), ("wait",))
    if process["process_state"] == "T":
        return Verdict("hung", State.SICK, "%s: its process %d is stopped by a signal" % (what, pid), ("continue", "restart"))
    if raw["wire"]["error"] in ("timeout", "connect_timeout", "closed"):
        return Verdict("hung", State.SICK, "%s: its process %d lives and does not answer" % (what, pid), ("continue", "restart"))
    if facts["lock_file"].get("status") in ("starting", "stopping"):
        rejecting = Verdict("rejecting", State.UNKNOWN, "%s is %s" % (what, facts["lock_file"]["status"]), ("wait",))
        return _recovering(rejecting, facts, options, what)
    seen = "port %s in %s" % (facts["lock_file"].get("port"), facts["lock_file"].get("socket_dir"))
    text = "%s does not answer, but its process %d lives and listens elsewhere (%s): correct host and port" % (what, pid, seen)
    return Verdict("", State.UNKNOWN, text)


def _down(raw: Raw, facts: Facts, what: str) -> Verdict:
    service = raw["service"]
    if raw["processes"]["unseen"]:
        return Verdict("", State.UNKNOWN, "%s does not answer; whose a postgres process here is may not be seen: set become: true" % what)
    if service and not (service.get("reachable") and service.get("exists")):
        text = "%s does not answer, and its service cannot be seen: %s" % (what, one_line(service.get("detail"), 100))
        return Verdict("", State.UNKNOWN, text)
    if service and "has no process" in str(service.get("detail")):
        return Verdict("", State.UNKNOWN, "%s does not answer; %s" % (what, one_line(service.get("detail"), 120)))
    if facts["orphans"]:
        text = "its postmaster is gone and %s of it live on" % counted(len(facts["orphans"]), "backends")
        return Verdict("down_orphans", State.SICK, "%s is down: %s" % (what, text), ("end_orphans", *_start(facts)))
    hopeless = _hopeless(facts)
    if hopeless:
        actions = ("keep_copy",) if hopeless[0] in COPIED else ()
        return Verdict(hopeless[0], State.SICK, "%s is down: %s" % (what, hopeless[1]), actions)
    causes = _causes(facts)
    if causes:
        text = "; ".join(text for _state, text, _act in causes)
        acts = tuple(act for _state, _text, act in causes)
        return Verdict(causes[0][0], State.SICK, "%s is down: %s" % (what, text), (*acts, *_start(facts)) if all(acts) else ())
    failed = _failed_start(facts)
    if failed:
        return Verdict("down_start_fails", State.SICK, "%s is down: its last start failed: %s" % (what, failed))
    clean = facts["control"].get("state") in ("shut down", "shut down in recovery")
    how = "it was shut down" if clean else "it ended without a shutdown and will recover by itself"
    return Verdict("down_clean" if clean else "down_crashed", State.SICK, "%s is down: %s" % (what, how), _start(facts))


def _start(facts: Facts) -> tuple[str, ...]:
    return ("reset_failed", "start") if facts["service"].get("start_limit_hit") else ("start",)


def _hopeless(facts: Facts) -> t.Optional[tuple[str, str]]:
    """Return (state, text) of what no start can cure, None where there is none."""
    contents, control, wal, lines = facts["contents"], facts["control"], facts["wal"], _said(facts)
    if not contents.get("exists") or contents.get("entries") == 0:
        return "down_data_missing", "its data directory %s is %s" % (facts["data_dir"], "empty" if contents.get("exists") else "not there")
    if contents.get("entries") and not (contents["version"] and contents["base"]):
        return "down_data_missing", "%s is no data directory any more: PG_VERSION or base is missing" % facts["data_dir"]
    if contents.get("entries") and (not contents["control"] or control.get("ok") is False or "bad_control" in lines):
        why = control.get("error") or lines.get("bad_control") or "it is missing"
        return "down_bad_control", "its control file is damaged (%s)" % why
    if "recovery.signal" in facts["signal_files"]:
        return "down_restoring", "a restore is under way there (recovery.signal): a start would go on with it"
    if wal.get("missing") or "no_wal" in lines:
        return "down_no_wal", "WAL that it needs is not there (%s)" % (wal.get("missing") or lines["no_wal"])
    if "panic" in lines and "no_space" not in lines:
        return "down_panic", "its last start ended in a panic: %s" % lines["panic"]
    return None


def _said(facts: Facts) -> dict[str, str]:
    """Return what the log said of a last start that failed; what was said while it still served is over."""
    log = facts["log"]
    return dict(log.get("lines") or {}) if not log.get("ready") else {}


def _causes(facts: Facts) -> list[tuple[str, str, str]]:
    """Return (state, text, act) of everything that keeps it from starting and can be removed; an empty act where it cannot be from here."""
    found: list[tuple[str, str, str]] = []
    for disk in facts["disks"]:
        if _full(disk, facts):
            holds, path = " and ".join(disk["holds"]), one_line(disk["path"], 80)
            where = "the disk of %s is full: %d bytes free in %s" % (holds, disk["free_bytes"], path)
            found.append(("down_disk_full", where, "" if disk["read_only"] else "make_room"))
    for wrong in facts["access"].get("wrong") or []:
        found.append(("down_permission", "%s: %s" % (one_line(wrong["path"], 80), wrong["problem"]), "fix_permission"))
    if facts["config"]:
        place = "%s line %s" % (facts["config"]["file"], facts["config"]["line"] or "?")
        found.append(("down_bad_config", "its configuration is broken, %s: %s" % (place, facts["config"]["text"]), "restore_config"))
    found += _lock_causes(facts)
    # One act cures all places of one kind.
    return list({act or state: (state, text, act) for state, text, act in reversed(found)}.values())[::-1]


def _full(disk: Facts, facts: Facts) -> bool:
    inodes = disk["free_inodes"]
    scarce = disk["free_bytes"] < LITTLE_ROOM or (inodes is not None and inodes < FEW_INODES) or disk["read_only"]
    segment = facts["control"].get("segment_bytes") or SEGMENT_BYTES
    return bool(scarce or ("no_space" in _said(facts) and disk["free_bytes"] < segment))


def _lock_causes(facts: Facts) -> list[tuple[str, str, str]]:
    lock = facts["lock_file"]
    if lock.get("verdict") == "stranger":
        holder = lock["holder"]
        text = "its lock file names process %d, which is %s and none of this cluster" % (holder["pid"], holder["program"])
        return [("pid_stale", text, "move_pid_aside")]
    if lock.get("verdict") == "zombie":
        text = "its lock file names process %d, which has ended and is not collected by its parent: a start would take it for alive"
        return [("pid_stale", text % lock["pid"], "move_pid_aside")]
    if lock.get("verdict") in ("doubt", "live"):
        return [("pid_in_doubt", "whose process %s in its lock file is cannot be proven" % lock.get("pid"), "")]
    return []


def _failed_start(facts: Facts) -> str:
    lines = _said(facts)
    kinds = [kind for kind in ("port_in_use", "still_in_use", "no_memory", "library") if kind in lines]
    return lines[kinds[0]] if kinds and facts["log"].get("started") else ""
