# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a PostgreSQL that accepts our login: which limits it exceeds, and which of them is its state. Pure functions.

A limit exceeded is sick where writes are lost, blocked or soon will be; whatever only slows the server is a warning.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.reach import judge_latency
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.facts import page_fault

Facts = t.Mapping[str, t.Any]
Options = t.Mapping[str, t.Any]
Findings = t.List[Finding]
GB = 2.0**30
MANY_WAITING, MANY_TIMES_FASTER = 10, 6


def judge_running(facts: Facts, options: Options) -> tuple[str, tuple[Finding, ...]]:
    """Return (state of the worst sick finding, "" for none; all findings, the sick ones first in that order)."""
    found: list[tuple[str, Finding]] = []
    for state, judge in JUDGES:
        found += [(state, finding) for finding in judge(facts, options)]
    sick = [(state, finding) for state, finding in found if finding.state is State.SICK]
    rest = [finding for _state, finding in found if finding.state is not State.SICK]
    return (sick[0][0] if sick else ""), (*(finding for _state, finding in sick), *rest)


def _role(facts: Facts, options: Options) -> Findings:
    wanted = options["expected_role"]
    if wanted == "any" or facts["role"] == wanted:
        return []
    text = "it is a %s but must be a %s" % (facts["role"] or "server of unknown role", wanted)
    advice = "; no run promotes it" if facts["role"] == "standby" else ""
    return [Finding("role", State.SICK if facts["role"] else State.UNKNOWN, text + advice)]


def _corrupt(facts: Facts, options: Options) -> Findings:
    found = []
    failures = facts["checksums"]["failures"]
    if failures:
        found.append(Finding("checksums", State.SICK, "%s failed the checksum" % counted(failures, "pages")))
    if facts["checksums"].get("past"):
        text = "%s failed the checksum before the proven repair, none since" % counted(facts["checksums"]["past"], "pages")
        found.append(_warning(text))
    wrong = [one["index"] for one in facts["known_answers"] if one["right"] is False]
    unread = [one for one in facts["known_answers"] if one["right"] is None]
    if wrong:
        text = "%d of %d known answers are wrong" % (len(wrong), len(facts["known_answers"]))
        found.append(Finding("known_answers", State.SICK, text, {"wrong": wrong}))
    if page_fault(facts):
        found.append(Finding("pages", State.SICK, "PostgreSQL cannot read pages of its data"))
    elif unread:
        state = State.SICK if unread[0].get("sqlstate") == "42P01" else State.UNKNOWN
        found.append(Finding("known_answers", state, "a known answer could not be checked: %s" % unread[0]["error"]))
    if facts["known_answers"] and not any(one.state is not State.WELL for one in found):
        found.append(Finding("known_answers", State.WELL, "all %s are right" % counted(len(facts["known_answers"]), "known answers")))
    return found


def _tablespaces(facts: Facts, options: Options) -> Findings:
    lost = facts["lost_tablespaces"]
    text = "the directory of its tablespace %s is gone, empty, or not mounted: its tables cannot be read"
    return [Finding("tablespace", State.SICK, text % " and ".join(lost[:3]))] if lost else []


def _disks(facts: Facts, options: Options) -> Findings:
    found = []
    for disk in facts["disks"]:
        over = disk["used_share"] is not None and disk["used_share"] > options["max_disk_share"]
        if over or disk["read_only"]:
            text = "the disk of %s is %s" % (
                " and ".join(disk["holds"]), "mounted read-only" if disk["read_only"] else "%.0f %% full" % (disk["used_share"] * 100),
            )  # fmt: skip
            found.append(Finding("disk", State.SICK, text + _why_wal_stays(facts), {"path": disk["path"]}))
    return found


def _why_wal_stays(facts: Facts) -> str:
    """Return what retains WAL, the usual reason for a full disk."""
    slots = [one for one in facts["replication"]["slots"] if not one["active"] and (one["kept_bytes"] or 0) > GB / 16]
    reasons = ["unused slot %s keeps %.1f GB" % (one["name"], one["kept_bytes"] / GB) for one in slots[:2]]
    archiver = facts["archiver"]
    if archiver["failing"] or (archiver["waiting"] or 0) > 16:
        reasons.append("%s are waiting for the archiver" % counted(archiver["waiting"] or 0, "WAL files"))
    return "; " + "; ".join(reasons) if reasons else ""


def _read_only(facts: Facts, options: Options) -> Findings:
    if not facts["read_only"]:
        return []
    text = "every new session is read-only, so writes fail: default_transaction_read_only is on, and %s" % facts["read_only"]
    return [Finding("read_only", State.SICK, text)]


def _archiver(facts: Facts, options: Options) -> Findings:
    archiver = facts["archiver"]
    if not archiver["failing"]:
        return _stuck(archiver, options)
    waiting = "" if archiver["waiting"] is None else ", %s are waiting" % counted(archiver["waiting"], "WAL files")
    text = "archiving fails (last at %s: %s)%s" % (archiver["failed_at"], archiver["last_failed"], waiting)
    return [Finding("archiver", State.SICK, text)]


def _stuck(archiver: Facts, options: Options) -> Findings:
    """A command that hangs neither fails nor archives. While many files wait, less time without one archived is enough to tell."""
    limit = options["max_archive_seconds"] / (MANY_TIMES_FASTER if (archiver["waiting"] or 0) >= MANY_WAITING else 1)
    if not archiver["on"] or archiver["stuck_seconds"] is None:
        return []
    waiting = counted(archiver["waiting"] or 0, "WAL files")
    if archiver["stuck_seconds"] <= limit:
        # Its counts begin again with a start: until one file is archived, or one fails, nobody knows whether archiving works.
        text = "archiving is not proven: %s wait, and the server has archived none since its start"
        is_fresh = archiver["archived"] == 0 and archiver["failed"] == 0
        return [Finding("archiver", State.UNKNOWN, text % waiting)] if is_fresh else []
    text = "archiving makes no progress: %s wait, and none has been archived for %.0f s (archive_command hangs, or is empty)"
    return [Finding("archiver", State.SICK, text % (waiting, archiver["stuck_seconds"]))]


def _wraparound(facts: Facts, options: Options) -> Findings:
    if facts["xid_age"] is None or facts["xid_age"] <= options["max_xid_age"]:
        return []
    worst = max(facts["databases"], key=lambda one: one["xid_age"] or 0)
    text = "database %s is %d transactions old, %d allowed: PostgreSQL stops writes at 2146 million; let VACUUM run" % (
        worst["name"], facts["xid_age"], options["max_xid_age"],
    )  # fmt: skip
    return [Finding("wraparound", State.SICK, text)]


def _connections(facts: Facts, options: Options) -> Findings:
    seen = facts["connections"]
    if seen["share"] is None:
        return []
    text = "%s of %s connections used (%s reserved), %s active" % (seen["used"], seen["limit"], seen["reserved"], seen["active"])
    return [Finding("connections", State.SICK if seen["share"] > options["max_connections_share"] else State.WELL, text)]


def _locks(facts: Facts, options: Options) -> Findings:
    locks = facts["locks"]
    if locks["error"]:
        return [Finding("warning", State.WELL, "lock waits could not be seen: %s" % one_line(locks["error"], 100))]
    roots = [root for root in locks["roots"] if root["longest_wait_seconds"] > options["max_block_seconds"]]
    if not roots:
        return []
    first = roots[0]
    who = "prepared transaction %s" % first["gid"] if first["gid"] else "session %s of %s" % (first["pid"], first["user"])
    text = "%s blocks %s, the longest for %.0f s" % (who, counted(first["blocked_count"], "sessions"), first["longest_wait_seconds"])
    return [Finding("locks", State.SICK, text, {"roots": len(roots)})]


def _lag(facts: Facts, options: Options) -> Findings:
    standby = facts["replication"]["standby"]
    if standby and standby.get("paused"):
        text = "its replay is paused (by pg_wal_replay_pause, or at the target of a restore), so its data grow old"
        return [Finding("lag", State.SICK, text + ": find out who did that; SELECT pg_wal_replay_resume() continues it")]
    if standby:
        late = standby["lag_seconds"] is not None and standby["lag_seconds"] > options["max_lag_seconds"]
        if late or not standby["streams"]:
            how = "is %.0f s behind" % standby["lag_seconds"] if late else "receives nothing from its primary"
            return [Finding("lag", State.SICK, "this standby %s" % how)]
    late_ones = [one for one in facts["replication"]["senders"] if (one["lag_seconds"] or 0) > options["max_lag_seconds"]]
    return [_warning("standby %s is %.0f s behind" % (one["application"], one["lag_seconds"])) for one in late_ones[:2]]


def _audit(facts: Facts, options: Options) -> Findings:
    audit = facts["audit"]
    if not audit:
        return []
    if audit["rows"] is None:
        return [Finding("audit", State.UNKNOWN, "audit rows could not be counted: %s" % one_line(facts["not_seen"].get("audit", "?"), 120))]
    text = "%s in the last %.0f minutes" % (counted(audit["rows"], "audit rows"), audit["within_minutes"])
    return [Finding("audit", State.WELL if audit["rows"] else State.SICK, text)]


def _prepared(facts: Facts, options: Options) -> Findings:
    old = [one for one in facts["prepared"] if float(one["seconds"] or 0) > options["max_prepared_seconds"]]
    if not old:
        return []
    first = old[0]
    text = "prepared transaction %s is %.0f s old and holds its locks; its owner must end it" % (first["gid"], first["seconds"])
    return [Finding("prepared", State.SICK, text, {"gids": [one["gid"] for one in old]})]


def _warnings(facts: Facts, options: Options) -> Findings:
    sessions = facts["sessions"]
    found = [_warning("session %s of %s has been running a statement for %.0f s" % _who(one)) for one in sessions["long"][:2]]
    broken = [(one["file"], one["line"] or "?", one["text"]) for one in facts["config_broken"][:2]]
    found += [_warning("its configuration on disk is broken, %s line %s: %s; its next start would fail" % one) for one in broken]
    found += [
        _warning("session %s of %s has been idle in a transaction for %.0f s" % _who(one)) for one in sessions["idle_in_transaction"][:2]
    ]
    found += [
        _warning("unused slot %s keeps %.1f GB of WAL" % (one["name"], one["kept_bytes"] / GB))
        for one in facts["replication"]["slots"]
        if not one["active"] and (one["kept_bytes"] or 0) > options["max_slot_bytes"]
    ]
    share = facts["cache_hit_share"]
    if share is not None and share < options["min_cache_hit_share"]:
        found.append(_warning("only %.0f %% of reads come from the cache" % (share * 100)))
    return found


def _who(session: Facts) -> tuple[t.Any, ...]:
    return session["pid"], session["login"], session["seconds"]


def _warning(text: str) -> Finding:
    return Finding("warning", State.WELL, text)


def _latency(facts: Facts, options: Options) -> Findings:
    return list(judge_latency(facts["latency_ms"] / 1000, options))


# The worst first: the first sick one is the state.
JUDGES: tuple[tuple[str, t.Callable[[Facts, Options], Findings]], ...] = (
    ("wrong_role", _role),
    ("tablespace_missing", _tablespaces),
    ("up_corrupt", _corrupt),
    ("wal_filling", _disks),
    ("read_only", _read_only),
    ("archiver_failing", _archiver),
    ("wraparound", _wraparound),
    ("too_many_connections", _connections),
    ("blocked", _locks),
    ("standby_lagging", _lag),
    ("audit_gap", _audit),
    ("prepared", _prepared),
    ("slow", _latency),
    ("", _warnings),
)
