# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a database may be restored to a time, and whether it is as it should be afterwards. Plain data in, Health out."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.load import time_text

Raw = t.Mapping[str, t.Any]
# Nothing listens there.
DOWN = "08001"
# State that forbids a restore -> code of the refusal.
CODES = {
    "target_unusable": "bad_input",
    "shut_out": "credentials_refused",
    "live_unclear": "health_unknown",
    "no_data_dir": "bad_input",
    "no_server_programs": "bad_input",
    "repository_unusable": "backup_missing",
    "no_stanza": "backup_missing",
    "no_backup": "backup_missing",
    "label_missing": "backup_missing",
    "before_first_backup": "backup_missing",
    "standby": "not_this_component",
    "wrong_identity": "wrong_identity",
    "other_system": "wrong_identity",
    "wal_gap": "wal_gap",
    "no_room": "no_room",
    "swap_unreadable": "state_not_handled",
}


def obstacle(raw: Raw, options: Raw) -> tuple[str, str]:
    """Return (state, text) of the first thing that forbids a restore, ("", "") for none. Nothing has been stopped or created by then."""
    judges = (_of_target, _of_live, _of_places, _of_role, _of_repository, _of_identity, _of_wal, _of_space)
    return next((found for found in (judge(raw, options) for judge in judges) if found[0]), ("", ""))


def _of_target(raw: Raw, options: Raw) -> tuple[str, str]:
    if raw["target_error"]:
        return "target_unusable", "target: " + str(raw["target_error"])
    if raw["target"] > raw["now"]:
        text = "target: %s is in the future; it is %s now" % (time_text(raw["target"]), time_text(raw["now"]))
        return "target_unusable", text
    return "", ""


def _of_live(raw: Raw, options: Raw) -> tuple[str, str]:
    """Only a server where nothing listens is down; a login without rights would report existing rows as missing."""
    live = raw["live"]
    state = str(live.get("sqlstate") or "")
    if state.startswith("28") or state == "42501":
        return "shut_out", "the live database denies us what a restore needs to see: %s" % live["error"]
    if live["error"] and state != DOWN:
        return "live_unclear", "it is unclear whether the live database is up or down: %s" % live["error"]
    if live.get("may_switch") is False:
        return "shut_out", "this login may not call pg_switch_wal(), which gets the last commits into the archive"
    if live.get("may_promote") is False and options.get("mode") == "swap":
        return "shut_out", "this login may not call pg_promote(), which makes the restored copy ready to replace the live database"
    lacks = _lacking(live.get("lacks") or {}, options)
    if lacks:
        text = "this login lacks rights to %s: %s%s"
        return "shut_out", text % (counted(len(lacks), "tables"), one_line(", ".join(lacks[:5]), 200), ", ..." if lacks[5:] else "")
    return "", ""


def _lacking(lacks: t.Mapping[str, str], options: Raw) -> list[str]:
    """Return which right to which table is missing: to read those that are compared, to insert into those that are named."""
    named = {name if "." in name else "public." + name for name in options.get("tables") or []}
    inserts = bool(named) and options.get("mode") != "swap"
    wanted = {name: right for name, right in lacks.items() if (not named or name in named) and (right != "INSERT" or inserts)}
    return ["%s on %s" % (right, name) for name, right in sorted(wanted.items())]


def _of_places(raw: Raw, options: Raw) -> tuple[str, str]:
    if not raw["data_dir"]:
        return "no_data_dir", "the data directory is unknown, because the server does not report it: %s" % raw["live"].get("error")
    side, data = (str(path).rstrip("/") + "/" for path in raw["places"])
    if side.startswith(data) or data.startswith(side):
        return "no_data_dir", "side_dir %s and the live data directory %s overlap" % (side[:-1], data[:-1])
    if not raw["bin_dir"]:
        return "no_server_programs", "the PostgreSQL server programs were not found: set bin_dir"
    return "", ""


def _of_role(raw: Raw, options: Raw) -> tuple[str, str]:
    if raw["standby"]:
        return "standby", "this is a standby: its data come from its primary"
    return "", ""


def _of_repository(raw: Raw, options: Raw) -> tuple[str, str]:
    info, (state, text) = raw["info"], raw["chosen"]
    if info["error"]:
        return str(info["state"]), "pgBackRest: %s" % info["error"]
    if info["state"] != "ok":
        return str(info["state"]), "stanza %s: %s" % (one_line(options["stanza"], 40), info.get("message") or info["state"])
    return str(state), str(text)


def _of_identity(raw: Raw, options: Raw) -> tuple[str, str]:
    backup, pinned = raw["backup"], str(options["system_identifier"])
    there = str(raw["live"].get("system_identifier") or raw["control"].get("Database system identifier") or "")
    if pinned and there and there != pinned:
        return "wrong_identity", "the live database has the system identifier %s, but %s is pinned" % (there, pinned)
    wanted = pinned or there
    if not wanted:
        return "other_system", "no system identifier is known to compare the backup with: pin one"
    if backup["system_identifier"] != wanted:
        return "other_system", "backup %s has the system identifier %s, the live database has %s" % (
            backup["label"],
            backup["system_identifier"],
            wanted,
        )
    return "", ""


def _of_wal(raw: Raw, options: Raw) -> tuple[str, str]:
    wal = raw["wal"]
    if wal["error"] and wal["whole"] is None:
        return "repository_unusable", "the archive cannot be listed: %s" % wal["error"]
    if wal["error"]:
        return "wal_gap", "no WAL path leads on from backup %s: %s" % (raw["backup"]["label"], wal["error"])
    if not wal["whole"] and not wal["last_at"] > raw["target"]:
        more = " and %d more" % (wal["lost"] - len(wal["missing"])) if wal["lost"] > len(wal["missing"]) else ""
        text = "the archive lacks %s%s, which a recovery from %s to the target needs"
        return "wal_gap", text % (", ".join(wal["missing"]), more, raw["backup"]["label"])
    if raw["live"]["error"] and wal["last_at"] < raw["target"]:
        text = "the archive ends with %s, archived at %s, before the target, and the server that has more does not answer: %s"
        return "wal_gap", text % (wal["last"] or "nothing", time_text(wal["last_at"]), raw["live"]["error"])
    return "", ""


def _of_space(raw: Raw, options: Raw) -> tuple[str, str]:
    for name, what in (("side", "side_dir %s" % one_line(options["side_dir"], 60)), ("repository", "the repository")):
        free, needed = raw["space"]["%s_free" % name], raw["space"]["%s_needed" % name]
        if free is not None and free < needed:
            return "no_room", "%s has %d bytes free but needs %d" % (what, free, needed)
    return "", ""


def judge_restore(raw: Raw, options: Raw) -> Health:
    """Before the act: sick, with the possible acts or the state that forbids them. With ``done``: whether the result is proven."""
    facts = facts_of(raw)
    if raw["interrupted"]:
        return _interrupted(raw, facts)
    if options["done"]:
        return _after(raw, options, facts)
    state, text = obstacle(raw, options)
    if state:
        facts["identity_mismatch"] = state == "wrong_identity"
        return Health((Finding("restore", State.SICK, text, {"code": CODES[state]}),), state, _identity(raw), (), facts)
    if _same(options["last"], raw, options) and not options["again"]:
        text = "this restore (to %s) has already been carried out and proven" % time_text(raw["target"])
        return Health((Finding("restore", State.WELL, text),), "restored", _identity(raw), (), facts)
    way = (raw["backup"]["label"], counted(raw["wal"]["checked"], "segments"), time_text(raw["target"]))
    findings = [Finding("restore", State.SICK, "backup %s and %s of WAL lead to %s" % way)]
    if not raw["wal"]["whole"]:
        findings.append(Finding("warning", State.SICK, "the archive lacks %s, after the target" % ", ".join(raw["wal"]["missing"])))
    return Health(tuple(findings), "restore_wanted", _identity(raw), ("restore_beside", "cut_over"), facts)


def _interrupted(raw: Raw, facts: dict[str, t.Any]) -> Health:
    one = raw["interrupted"]
    if one["state"] == "unreadable":
        return Health((Finding("restore", State.SICK, str(one["text"])),), "swap_unreadable", _identity(raw), (), facts)
    text = "run %s began a swap of directories and did not finish it" % one.get("run_id")
    return Health((Finding("restore", State.SICK, text),), "swap_interrupted", {"folder": one["folder"]}, ("finish_swap",), facts)


def _after(raw: Raw, options: Raw, facts: dict[str, t.Any]) -> Health:
    live, done = raw["live"], options["done"]
    identity = dict(_identity(raw), started_at=live.get("started_at"))
    if live["error"]:
        # A server that is starting is neither well nor sick.
        state = State.UNKNOWN if live.get("sqlstate") == "57P03" else State.SICK
        return Health((Finding("live", state, "the live database does not answer: %s" % live["error"]),), "down", identity, (), facts)
    findings = [_of_recovery(live)]
    findings += [_of_answer(one) for one in live["answers"]] + _of_backup(raw, done)
    return Health(tuple(findings), "restored", identity, (), facts)


def _of_recovery(live: Raw) -> Finding:
    if live["in_recovery"]:
        return Finding("live", State.SICK, "the live database is in recovery and accepts no writes")
    return Finding("live", State.WELL, "the live database accepts connections and writes")


def _of_answer(one: Raw) -> Finding:
    if one["right"]:
        return Finding(str(one["name"]), State.WELL, "%s: the known answer" % one["name"])
    state = State.UNKNOWN if one["right"] is None else State.SICK
    return Finding(str(one["name"]), state, "%s: %s" % (one["name"], one["text"]))


def _of_backup(raw: Raw, done: Raw) -> list[Finding]:
    """After a swap the database has a new timeline, which only a new backup covers."""
    if not done.get("wants_backup"):
        return []
    since = float(done.get("since") or 0)
    fresh = [one for one in raw["info"]["backups"] if not one["error"] and one["type"] == "full" and one["start"] >= int(since)]
    if fresh:
        return [Finding("backup", State.WELL, "the new full backup is %s" % fresh[-1]["label"])]
    return [Finding("backup", State.UNKNOWN, "there is no full backup since the swap: make one now; the swap was not undone for that")]


def _same(last: Raw, raw: Raw, options: Raw) -> bool:
    return bool(last) and last.get("target") == time_text(raw["target"]) and last.get("stanza") == options["stanza"]


def _identity(raw: Raw) -> dict[str, t.Any]:
    there = str(raw["live"].get("system_identifier") or raw["control"].get("Database system identifier") or "")
    return {"system_identifier": there}


def facts_of(raw: Raw) -> dict[str, t.Any]:
    """Return the facts for plans and outcomes."""
    kept = ("label", "type", "start", "stop", "bytes", "system_identifier")
    live = {key: value for key, value in raw["live"].items() if key not in ("answers", "least", "lacks")}
    return {
        "live": live,
        "target": time_text(raw["target"]) if raw["target"] else "",
        "data_dir": raw["data_dir"],
        "backup": {key: raw["backup"][key] for key in kept} if raw["backup"] else {},
        "backups": len(raw["info"].get("backups") or []),
        "wal": raw["wal"],
        "space": raw["space"],
        "interrupted": raw["interrupted"],
    }
