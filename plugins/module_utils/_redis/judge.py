# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a look at Redis: one state of ``STATES`` ("" if unknown), its health, and the acts that it allows.

- up: well. With a failing rewrite, an unwritable directory or a missing replica it is sick, and only that is acted on.
- auth: unknown, no act. We are locked out; a restart does not fix a password.
- loading: unknown, wait. Its data is neither there nor lost, and a restart would start over.
- busy_script: sick, kill the script (a script that has written cannot be killed: wait).
- misconf_rdb, misconf_aof: sick, rescue first, then the cause, then a save. A restart would lose what was never saved.
- oom: sick, raise the limit if the operator left room, otherwise a person finds the big keys. Never flush, never evict.
- readonly_replica: well if it is meant to be one and its link is up; we never promote it, never write to it.
- hung: sick, SIGCONT first, then restart (it cannot serve a rescue copy); waits while the kernel holds it (D).
- down_clean: sick, start; only if everything that it would load was judged good. If its start command deletes its data, a copy is
  made before (rescue_dump) and loaded after (reload), as with every start or restart of such a Redis.
- down_crash_loop: sick, the cause first if the log names a disk problem, reset the start limit once, start.
- down_bad_file: sick, hold, then mend: nothing starts on its files before good ones are chosen and installed. The same holds for a
  Redis that its manager keeps restarting on such files, whether a look finds it dead, loading, or in between.
- up_but_empty: sick, isolate (its next save overwrites the good file, its next sync empties the replicas), then mend.
- up_but_wrong: sick, no act.
- down_start_fails: sick, no act. Something seen beforehand would end the start: a file that Redis may not read or that a newer one wrote,
  an include that is missing.
- port_taken: sick, no act. Another process has its port.
- no_mount: sick, no act. The disk with the data is not mounted; a start would serve an empty directory.
- owned_elsewhere: sick, no act. A container has its port, so the unit and the data directory of this machine are not this Redis.
- doubtful_dir: sick, no act. Nothing proves that the data directory is the one of this Redis, so nothing in it is changed.
- doubtful_settings: sick, no act. Its start command takes settings from where they cannot be read before it runs.
- would_follow: sick, no act. It was a master, and a start would make it a replica and replace its data.
- start_empties: sick, no act. Its start command empties it once it runs, so that a start would not keep what it loads.
- replicas_unseen: sick, no act. Its dump may lack the last writes, and a replica that may have them would take the dump after a start.
- down_would_evict: sick, no act. Its data take far more memory than maxmemory, whose policy would remove keys right after the start.
- failing_over: unknown, wait. Sentinel is deciding which Redis is the master.
- failed_over: sick, no act. Sentinel has another master; this Redis would serve old data beside it.

Silence seen from the controller is unknown: the network may be down instead.
"""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.attempt import LASTING
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import (
    LITTLE_ROOM,
    cause_of,
    facts_of,
    identity_of,
    mismatches,
    number,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import with_defaults
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.place import (
    changed_text,
    judge_mount,
    judge_place,
    moved_text,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.contents import due_at_start
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.replicas import replica_ahead, replicas_unseen
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.sentinel import facts_of_sentinels, judge_sentinels, ruling
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.settings import differences
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.published import sentence as container_text
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import trait

Raw = t.Mapping[str, t.Any]
Facts = t.Mapping[str, t.Any]

STATES = (
    "up", "auth", "loading", "busy_script", "misconf_rdb", "misconf_aof", "oom", "readonly_replica", "hung",
    "down_clean", "down_crash_loop", "down_bad_file", "up_but_empty", "up_but_wrong",
    "failing_over", "failed_over", "down_start_fails", "port_taken", "no_mount", "doubtful_dir",
    "doubtful_settings", "down_would_evict", "owned_elsewhere", "start_empties", "replicas_unseen", "would_follow",
)  # fmt: skip
# Verdicts on files that a start would not load completely; failed starts on them that count as a storm.
NOT_WHOLE = ("damaged", "missing", "outdated", "tail_cut")
# Acts that trust the data directory; any of them would go on with what lies there.
IN_DIR = frozenset(["mend", "fix_cause", "save", "start", "restart", "hold", "rewrite_aof"])
STORM = 2
# What an empty Redis uses itself.
OWN_BYTES = 1024 * 1024
# An RDB of no keys is smaller than this, whatever its notes.
EMPTY_DUMP_BYTES = 256
# The delay by which an isolated Redis never sends its data to a replica.
ENDLESS = "2147483647"
# What isolate sets, and what Redis has where its configuration does not say; of repl-diskless-sync that is "no" before version 7.
APART = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": ENDLESS, "save": "", "auto-aof-rewrite-percentage": "0"}
UNSET = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "5", "save": "", "auto-aof-rewrite-percentage": "100"}
VAIN = "a restart would end it: %s"
EMPTIES = "its start command empties it once it runs: %s"
BUSY_DIR = "process %s (%s) runs in its data directory, and two servers would write to the same files"
GONE = {
    "dir": "its data directory is not there any more, so nothing that it writes is kept: make it again for its user, then let it use that "
    "(redis-cli CONFIG SET dir), before it ends",
    "aof": "the append-only file that it writes to is not in its data directory any more, so a start would not load what it writes",
    "dump": "its dump is not there any more, so its keys are in memory only",
}
ACTS_ON_GONE: dict[str, tuple[str, ...]] = {"dir": (), "aof": ("rewrite_aof",), "dump": ("save",)}
NO_CONFIG = "; it knows no CONFIG for our user, so nothing keeps its next save from writing over a good file"
UNREAD = "its start command takes settings from %s, so what a start would load is not known"
PARTLY = "Redis still has settings of an isolation, and other ones in its configuration: %s"
ISOLATED = "Redis saves nothing and sends nothing to its replicas, so that what is missing does not spread"
# Settings that decide which data a start loads and whether new data is kept.
NOT_KEPT = ": what is written now is not kept"
MATTERS = ("dbfilename", "appendonly", "appendfilename", "appenddirname", "save")
TLS = "it speaks TLS, which is not supported: set port to a plain port, or socket to a unix socket"
UNLOADED = "keys that were kept before its last start are not loaded yet"
ACCEPT = "redis_recovery_accept_keys=%d"
OTHERS = "a command emptied it since it was last well: its %d keys are others than the %d that were known; if that is meant, set %s"
CAUSES = {
    "no_space": "its disk is full", "read_only": "its file system is read-only", "permission": "it may not read or write a path",
    "port_in_use": "its port is taken", "no_address": "an address that it is to listen on is not on this machine",
    "configuration": "its configuration is wrong", "out_of_memory": "it cannot allocate memory",
}  # fmt: skip


class Verdict(t.NamedTuple):
    """The main judgement: state, health, one sentence, the acts allowed."""

    state: str
    health: State
    text: str
    actions: tuple[str, ...] = ()


def judge_redis(raw: Raw, options: Raw) -> Health:
    """Return the Health of what ``load_redis`` saw. Pure; *options* are its expectations."""
    options = with_defaults(options)
    facts, identity = facts_of(raw, options), identity_of(raw)
    verdict = _answering(raw, options, facts) if raw["ping"] else _silent(raw, options, facts)
    verdict = _kept_over_a_start(_not_in_vain(raw, verdict), options, facts)
    verdict, facts["sentinel"] = _watched(raw, options, facts, verdict)
    findings = [Finding("state", verdict.health, verdict.text)]
    if verdict.text == "it is down":
        # For a remedy that starts Redis; a check of something that depends on Redis names no files and needs none.
        findings.append(Finding("files", verdict.health, "its files were not judged: set data_dir, or config_file"))
    extra: tuple[str, ...] = ()
    if raw["info"]:
        findings += _replication(options, facts) + _keys(raw, options, facts) + _latency(options, facts) + _restarts(options, facts)
        saving, extra = _saving(facts, verdict.state)
        set_now, restored = _set_at_run_time(raw, facts, verdict.state)
        findings, extra = findings + saving + set_now, extra + restored
        findings += _at_restart(raw, facts)
    wrong = mismatches(identity, options["expected_identity"]) + (["service"] if raw.get("owned") is False else [])
    if wrong:
        findings.append(Finding("identity", State.SICK, "a different Redis answers than the expected one: %s differs" % ", ".join(wrong)))
    actions = () if wrong else verdict.actions + tuple(act for act in extra if act not in verdict.actions)
    doubt, state = _doubts(raw, options, facts, actions)
    if doubt:
        findings, actions, verdict = [*findings, Finding("data_dir", State.SICK, doubt)], (), verdict._replace(state=state)
    return Health(tuple(findings), verdict.state, identity, actions, dict(facts, identity_mismatch=bool(wrong), **_left(raw, options)))


def _at_restart(raw: Raw, facts: Facts) -> list[Finding]:
    """Return what a restart of a Redis that runs would do to its keys, its role, or itself."""
    texts = ["a restart would lose its keys: " + EMPTIES % facts["start_empties"]] if facts["start_empties"] else []
    texts += ["a restart would lose its keys: " + deletion_text(facts)] if facts["start_deletes_data"] else []
    texts += [VAIN % problem for problem in _problems(raw)[:3]]
    planned = raw.get("planned") or {}
    if facts["role"] == "replica" and planned.get("known") and not master_in(planned["settings"]):
        texts.append("it is a replica since a change at run time: a restart would make it a master")
    return [Finding("warning", State.WELL, text) for text in texts]


def _problems(raw: Raw) -> list[str]:
    """Return what its settings have in them that would end a start."""
    return list((raw.get("planned") or {}).get("problems") or [])


def _not_in_vain(raw: Raw, verdict: Verdict) -> Verdict:
    """Return the verdict without a restart of a Redis that would not come back from it."""
    problems = _problems(raw)
    if "restart" not in verdict.actions or not problems:
        return verdict
    text = "%s; %s" % (verdict.text, VAIN % problems[0])
    return verdict._replace(text=text, actions=tuple(act for act in verdict.actions if act != "restart"))


def _left(raw: Raw, options: Raw) -> dict[str, t.Any]:
    """Return {endings, left}: what ends an isolation and a pause, and which of them is seen now; no ``left`` where that is not known."""
    config, wanted = raw.get("config") or {}, _wanted(raw)
    isolated = {"what": "isolated", "text": ISOLATED, "command": _admin(options, "release", settings=wanted)}
    paused = {"what": "writers_paused", "text": "the writers of Redis are paused", "command": _admin(options, "resume_writers")}
    endings = {"isolated": isolated, "writers_paused": paused}
    found = []
    apart = [name for name in wanted if config.get(name) == APART[name] != wanted[name]]
    if set(apart) - {"save"}:
        text = ISOLATED if config.get("repl-diskless-sync-delay") == ENDLESS else PARTLY % ", ".join(apart)
        found.append(dict(isolated, text=text))
    if raw["write"] == "unanswered":
        found.append(paused)
    # Redis refuses a write before it makes it wait, so a refusal says nothing of a pause.
    known = bool(found) or (bool(config) and raw["write"] == "accepted")
    return {"endings": endings, "left": found} if known else {"endings": endings}


def _wanted(raw: Raw) -> dict[str, str]:
    """Return what its configuration says of the settings that isolate changes."""
    planned = (raw.get("planned") or {}).get("settings") or {}
    old = str(raw["info"].get("redis_version") or "7").partition(".")[0] in ("4", "5", "6")
    unset = dict(UNSET, **({"repl-diskless-sync": "no"} if old else {}))
    return {name: str(planned.get(name) if planned.get(name) is not None else unset[name]) for name in APART}


def _admin(options: Raw, action: str, **more: t.Any) -> str:
    """Return the command of one act of redis_admin on this Redis."""
    names = ("socket", "username", "password_file") if options.get("socket") else ("host", "port", "username", "password_file")
    given = {name: options[name] for name in names if options.get(name)}
    return "{ansible} -m somabrain.incident_response.redis_admin -a " + shlex.quote(json.dumps(dict(given, action=action, **more)))


def _unread(raw: Raw) -> str:
    """Return which settings of the next start could not be read, "" where all were."""
    unread = list((raw.get("planned") or {}).get("doubts") or [])
    return UNREAD % ", ".join(unread[:3]) if unread else ""


def _doubts(raw: Raw, options: Raw, facts: Facts, actions: t.Sequence[str]) -> tuple[str, str]:
    """Return (why none of *actions* may be taken in the data directory, the state that this is), ("", "") where they may."""
    if actions and raw.get("container"):
        return container_text(raw["container"], raw["container"]["port"]), "owned_elsewhere"
    place, unread = raw.get("place") or {}, _unread(raw)
    if unread and {"start", "restart", "persist"} & set(actions):
        return unread, "doubtful_settings"
    vain = _starts_in_vain(raw, options, facts) if {"start", "restart"} & set(actions) else ("", "")
    if vain[0]:
        return vain
    if not place or not IN_DIR & set(actions):
        return "", ""
    mount = _mount_missing(raw, options)
    if mount:
        return mount, "no_mount"
    gives = "fix_cause" in actions and cause_of(facts["disk"], facts["log"].get("lines") or {}) == "permission"
    if gives or "mend" in actions:
        return judge_place(place, gives), "doubtful_dir"
    return moved_text(place), "doubtful_dir"


def _starts_in_vain(raw: Raw, options: Raw, facts: Facts) -> tuple[str, str]:
    """Return (why a start would not keep the data that it loads, the state that this is), ("", "") where it would."""
    demoted = _demoted(raw, options)
    if demoted:
        return demoted, "would_follow"
    return (EMPTIES % facts["start_empties"], "start_empties") if facts["start_empties"] else ("", "")


def _mount_missing(raw: Raw, options: Raw) -> str:
    known = str((options["last_known"] or {}).get("mount") or "")
    return judge_mount(raw["place"], raw["service"].get("mounts") or [], known)


def _set_at_run_time(raw: Raw, facts: Facts, state: str) -> tuple[list[Finding], tuple[str, ...]]:
    """Return what is set at run time and would end with the process, and the act that repairs it."""
    planned, running = raw.get("planned") or {}, _running(raw)
    if state != "up" or not planned.get("known"):
        return [], ()
    wanted, origins = planned["settings"], planned["origins"]
    found, off = _moved(raw) + _would_be_replica(raw, facts), False
    for name, (then, now) in differences(wanted, running, MATTERS).items():
        where = "%s says %s" % ((origins.get(name) or {}).get("where") or "its configuration", one_line(then, 60) or '""')
        text = "%s is %s since a change at run time, but %s" % (name, one_line(now, 60) or '""', where)
        weight, means = _weighed(name, then, now, bool(facts["persistence"]["aof_enabled"]))
        # What cannot be read cannot be set either.
        off = off or (means == NOT_KEPT and bool(raw.get("config")))
        found += [Finding("settings" if weight is State.SICK else "warning", weight, text + means)] if means else []
    return found, ("persist",) if off else ()


def _moved(raw: Raw) -> list[Finding]:
    # Of a process that is not seen, nobody knows whose directories it names.
    moved = changed_text(raw.get("place") or {}) if raw.get("process") else ""
    return [Finding("settings", State.SICK, moved + ": a start would load other files")] if moved else []


def _running(raw: Raw) -> dict[str, t.Any]:
    """Return what is set at run time; of a Redis whose CONFIG we may not ask, what INFO says of it."""
    seen = {"1": "yes", "0": "no"}.get(str(raw["info"].get("aof_enabled")))
    return dict({"appendonly": seen} if seen else {}, **(raw.get("config") or {}))


def _would_be_replica(raw: Raw, facts: Facts) -> list[Finding]:
    """Return that a master would be a replica after its next start."""
    master = master_in((raw.get("planned") or {}).get("settings") or {})
    if facts["role"] != "master" or not master:
        return []
    text = "it is a master since a change at run time, %s. If it is to stay one, take that line out (redis-cli CONFIG REWRITE does)"
    return [Finding("settings", State.SICK, text % _replaced(raw, master))]


def master_in(planned: Facts) -> str:
    """Return the master that settings name, "" for none."""
    name = str(planned.get("replicaof") or planned.get("slaveof") or "")
    return "" if name.lower().split()[:1] == ["no"] else name


def _replaced(raw: Raw, master: str) -> str:
    origins = raw["planned"].get("origins") or {}
    where = (origins.get("replicaof") or origins.get("slaveof") or {}).get("where") or "its configuration"
    return "but %s makes it a replica of %s: a start would replace its keys by those of that one" % (where, one_line(master, 60))


def _demoted(raw: Raw, options: Raw) -> str:
    """Return that a start would make a replica of what was a master, and replace its data; "" where it would not, or is meant to."""
    master, log = master_in((raw.get("planned") or {}).get("settings") or {}), raw.get("log") or {}
    was = (
        options["expected_role"] == "master"
        or log.get("promoted")
        or log.get("role") == "M"
        or options["last_known"].get("role") == "master"
    )
    if not master or not was or options["expected_role"] == "replica" or options["sentinels"]:
        return ""
    return "it was a master, " + _replaced(raw, master)


def _weighed(name: str, then: str, now: str, appends: bool) -> tuple[State, str]:
    """Return how bad it is that *name* is *now* and would be *then* after a start, and what that means; "" for nothing."""
    if name == "save":
        return (State.SICK, NOT_KEPT) if then and not now and not appends else (State.WELL, "")
    if name == "appendonly":
        return (State.SICK, NOT_KEPT) if now == "no" else (State.WELL, ": a start would not load its append-only file")
    return State.SICK, ": a start would load other files"


def _kept_over_a_start(verdict: Verdict, options: Raw, facts: Facts) -> Verdict:
    """Return the verdict with a copy of the data before a start that would delete it, and a reload after."""
    at = next((index for index, act in enumerate(verdict.actions) if act in ("start", "restart")), None)
    if at is None:
        return verdict
    files = facts["files"] or {}
    nothing = "mend" not in verdict.actions and (files.get("verdict") == "empty" or files.get("expected_keys") == 0)
    keeps = facts["start_deletes_data"] and not nothing
    if not keeps and not options["reload_from"]:
        return verdict
    actions = verdict.actions[:at] + (("rescue_dump",) if keeps else ()) + verdict.actions[at:] + ("reload",)
    text = "%s; %s" % (verdict.text, deletion_text(facts) if keeps else UNLOADED)
    return verdict._replace(text=text, actions=actions)


def deletion_text(facts: Facts) -> str:
    """Return what a start would do to the data."""
    return "its start command deletes its data: %s" % facts["start_deletion"]


def _watched(raw: Raw, options: Raw, facts: Facts, verdict: Verdict) -> tuple[Verdict, dict[str, t.Any]]:
    """Return the verdict as the Sentinels allow it, and what they say; without Sentinels the same verdict, and {}."""
    view, settings = raw.get("sentinel") or {}, raw.get("settings") or {}
    if not view.get("asked"):
        return verdict, {}
    port = number(raw["info"].get("tcp_port")) or number(settings.get("port")) or number(options["port"])
    opinion = judge_sentinels(view, str(raw["info"].get("run_id") or ""), port, str(options["sentinel_known_as"]))
    told = facts_of_sentinels(view, opinion)
    rule = ruling(opinion, facts["role"] == "replica" or bool(settings.get("replicaof") or settings.get("slaveof")))
    # A Redis that is only waited for, or locks us out, gets no act that could interfere with Sentinel.
    if rule is None or (verdict.health is State.UNKNOWN and set(verdict.actions) <= {"wait"}):
        return verdict, told
    state, health, actions = rule
    return Verdict(state, health, "%s; %s" % (opinion.text, verdict.text), actions), told


def _answering(raw: Raw, options: Raw, facts: Facts) -> Verdict:
    reply, code = str(raw["ping"]), str(raw["ping"]).partition(" ")[0].lstrip("-")
    if code in ("NOAUTH", "WRONGPASS", "NOPERM", "DENIED"):
        return Verdict("auth", State.UNKNOWN, locked_text(str(raw.get("auth") or ""), code) + "; a restart does not help")
    if (code == "LOADING" or raw["info"].get("loading") == "1") and is_storm(raw):
        return _bad_files(raw, facts)
    if code == "LOADING" or raw["info"].get("loading") == "1":
        return _loading(raw, facts)
    if code == "BUSY":
        return Verdict("busy_script", State.SICK, "a script keeps it busy", ("kill_script",))
    if raw["error"]:
        return Verdict("", State.UNKNOWN, "it answered PING and then fell silent (%s)" % raw["error"])
    if facts["role"] == "replica" or code == "MASTERDOWN":
        return _replica(code, facts)
    if "max number of clients" in reply:
        return Verdict("up", State.SICK, "it accepts no more clients (maxclients)")
    if code in ("PONG", "MISCONF"):
        return _master(raw, options, facts)
    return Verdict("", State.UNKNOWN, "it answers PING with: %s" % one_line(reply, 80))


def locked_text(answer: str, code: str) -> str:
    """Return why Redis rejects us: *answer* is that to our password, *code* that to PING."""
    if "WRONGPASS" in answer:
        return "Redis rejected our password or user as wrong (WRONGPASS): correct password_file or username"
    if code == "NOAUTH":
        return "Redis wants a password and we gave none (NOAUTH): set password_file"
    if code == "NOPERM":
        return "Redis knows our user, who may not do this (NOPERM): give that user the rights, or set username to another"
    return "Redis rejected us (%s): check password_file and username" % code


def _loading(raw: Raw, facts: Facts) -> Verdict:
    """Judge a Redis that loads: waiting is vain where its manager will end it before it is done."""
    service, left = raw["service"], facts.get("loading_eta_seconds") or -1
    limit, took = service.get("start_timeout"), number(raw["info"].get("uptime_in_seconds")) or 0
    if service.get("state") == "starting" and limit and left > 0 and took + left > float(limit) + 1:
        text = "%s, and its unit gives it %.0f s in all (TimeoutStartSec), so it never ends loading: raise that"
        return Verdict("loading", State.SICK, text % (_loading_text(facts), float(limit)))
    return Verdict("loading", State.UNKNOWN, _loading_text(facts), ("wait",))


def _loading_text(facts: Facts) -> str:
    if (facts.get("loading_eta_seconds") or -1) < 0:
        return "it is loading its data"
    return "it is loading its data: %.0f %%, about %d s left" % (facts["loaded_perc"], facts["loading_eta_seconds"])


def _replica(code: str, facts: Facts) -> Verdict:
    if facts.get("syncing"):
        return Verdict("readonly_replica", State.UNKNOWN, "it is a replica and is syncing from %s" % facts.get("master"), ("wait",))
    if code == "MASTERDOWN" or facts.get("link") != "up":
        return Verdict("readonly_replica", State.SICK, "it is a replica and its master %s is unreachable" % facts.get("master", ""))
    return Verdict("readonly_replica", State.WELL, "it is a replica of %s and its link is up" % facts.get("master"))


def _master(raw: Raw, options: Raw, facts: Facts) -> Verdict:
    """Return the first judgement that applies. Emptiness comes before MISCONF: its save would write the empty set over the good file."""
    refused = str(raw["ping"] if raw["ping"] != "PONG" else raw["write"])
    found = _unloaded(raw, options) or _empty(raw, options, facts) or _refusal(refused, facts) or _contradicted(raw, options)
    if found:
        return found
    if refused.startswith("NOREPLICAS"):
        return Verdict("up", State.SICK, "it refuses writes because too few replicas are connected")
    if not raw["info"]:
        return Verdict("up", State.UNKNOWN, "it answers PING but not INFO: %s" % (raw.get("info_error") or "the reply is empty"))
    return Verdict("up", State.WELL, "up, %s keys, PING in %.1f ms" % (facts["keys"], facts["ping_ms"] or 0))


def _unloaded(raw: Raw, options: Raw) -> t.Optional[Verdict]:
    if options["reload_from"] and raw["ping"] == "PONG" and raw["write"] in ("accepted", ""):
        return Verdict("up_but_empty", State.SICK, UNLOADED, ("reload",))
    return None


def _empty(raw: Raw, options: Raw, facts: Facts) -> t.Optional[Verdict]:
    flushed = _flushed(raw["info"])
    empty = _emptiness(options, facts, flushed)
    if not empty:
        return None
    if not raw["config"]:
        return Verdict("up_but_empty", State.SICK, empty + flushed + NO_CONFIG, ("mend", "start"))
    return Verdict("up_but_empty", State.SICK, empty + flushed, ("isolate", "mend", "start"))


def _refusal(refused: str, facts: Facts) -> t.Optional[Verdict]:
    """Return what a refused or unanswered write means: paused writers, a failed save, no memory; None where it means none of these."""
    if refused == "unanswered":
        return Verdict("up", State.UNKNOWN, "it answers everything but writes: are its writers paused (CLIENT PAUSE)?")
    misconf = _misconf(refused, facts["persistence"])
    if misconf:
        return misconf
    if not refused.startswith("OOM") and not facts["full"]:
        return None
    text = "it refuses writes at %s of %s bytes; " % (facts["used_memory"], facts["maxmemory"])
    if facts["room_bytes"]:
        return Verdict("oom", State.SICK, text + "%d bytes may be added" % facts["room_bytes"], ("raise_maxmemory",))
    return Verdict("oom", State.SICK, text + "maxmemory_limit leaves no room: find and remove the big keys")


def _contradicted(raw: Raw, options: Raw) -> t.Optional[Verdict]:
    wrong = wrong_keys(raw, options)
    text = "%d of %d known answers are wrong" % (len(wrong), len(options["known_keys"] or []))
    return Verdict("up_but_wrong", State.SICK, text) if wrong else None


def _emptiness(options: Raw, facts: Facts, flushed: str) -> str:
    keys, last, saved = facts["keys"], int(options["last_known_keys"]), facts["persistence"]
    if keys is None or last == 0:
        return ""
    if last > 0:
        # Writes after a flush hide it but bring nothing back.
        share = float(options["empty_below_share"])
        counts = bool(flushed and share)
        text = "%d keys where %d were known; if that is meant, set %s"
        if keys < last * (1.0 if counts else share):
            return text % (keys, last, ACCEPT % keys)
        return OTHERS % (keys, last, ACCEPT % keys) if counts and _flushed_since(options, facts) else ""
    # An append-only Redis ignores the dump beside it: empty next to a full dump means that its own files were missing.
    ignored = saved["aof_enabled"] or not saved["changes_since_save"]
    if keys == 0 and ignored and (saved["dump_bytes"] or 0) > EMPTY_DUMP_BYTES:
        return "no keys, although its dump has %d bytes" % saved["dump_bytes"]
    return ""


def _flushed(info: Raw) -> str:
    """Return which commands that empty a Redis ran according to INFO, "" for none."""
    ran = sorted(name[len("cmdstat_") :] for name in info if name.startswith("cmdstat_flush"))
    return "; since its start it ran %s" % " and ".join(ran) if ran else ""


def _misconf(refused: str, saved: Facts) -> t.Optional[Verdict]:
    refuses = refused.startswith("MISCONF")
    writes = "refuses writes" if refuses else "still takes writes"
    if (refuses and "AOF" in refused) or (saved["aof_enabled"] and saved["aof_ok"] is False):
        return Verdict("misconf_aof", State.SICK, "it cannot write its append-only file and %s" % writes, ("rescue", "fix_cause"))
    if refuses or (saved["rdb_ok"] is False and saved["save_configured"]):
        return Verdict("misconf_rdb", State.SICK, "it cannot save and %s" % writes, ("rescue", "fix_cause", "save"))
    return None


def wrong_answers(raw: Raw, options: Raw) -> int:
    """Return how many known answers are wrong; an unreadable answer does not count."""
    return len(wrong_keys(raw, options))


def wrong_keys(raw: Raw, options: Raw) -> list[int]:
    """Return the places, from 1, of known answers that are wrong; without those whose loss a person approved (excused_keys).

    Their names may be secret.
    """
    wrong = []
    for place, (wanted, seen) in enumerate(zip(options["known_keys"] or [], raw["known"]), 1):
        there = bool(wanted.get("sha256")) or wanted.get("exists") is not False
        other = bool(wanted.get("sha256") and seen["sha256"] != str(wanted["sha256"]).lower())
        if seen["exists"] is not None and (seen["exists"] != there or other):
            wrong.append(place)
    return [place for place in wrong if place not in (options.get("excused_keys") or [])]


def _silent(raw: Raw, options: Raw, facts: Facts) -> Verdict:
    if raw.get("stranger") and not facts["process"] and raw.get("container"):
        # To stop who holds the port would stop the store itself.
        told = container_text(raw["container"], raw["container"]["port"])
        return Verdict("owned_elsewhere", State.SICK, "it does not answer; %s" % told)
    if raw.get("stranger") and not facts["process"]:
        return Verdict("port_taken", State.SICK, "it is down and would not start: %s" % raw["stranger"])
    if raw["error"] == "timeout":
        return _mute(raw, facts["process"])
    if raw["error"] not in ("refused", "no_socket"):
        words = {"closed": "closes the connection without an answer", "tls": TLS}
        return Verdict("", State.UNKNOWN, words.get(raw["error"], str(raw["text"] or raw["error"])))
    if raw["stands_on"] != "target":
        return Verdict("", State.UNKNOWN, "connection refused as seen from the controller: look from the target")
    if facts["process"].get("process_state") in ("T", "t"):
        return _hung(facts["process"], "does not listen")
    if is_storm(raw):
        return _bad_files(raw, facts)
    if raw.get("ports"):
        text = "it listens on port %s, and not where we asked: correct host and port"
        return Verdict("", State.UNKNOWN, text % ", ".join(map(str, raw["ports"][:3])))
    if facts["process"] or raw["service"].get("state") in ("starting", "running", "stopping"):
        return Verdict("", State.UNKNOWN, "its process is running but does not listen (yet, or not here)", ("wait",))
    return _down(raw, options, facts)


def _mute(raw: Raw, process: Facts) -> Verdict:
    """Judge silence until the deadline: a hung Redis only where a process of it is seen, or its port accepted a connection."""
    here = raw["stands_on"] == "target"
    runs = here and (bool(process) or raw["service"].get("state") == "running")
    if here and raw["connected"] and not runs:
        return Verdict("", State.UNKNOWN, "something accepts connections and does not answer, but no Redis process is seen: set service")
    if here and raw.get("listens") is False:
        text = "something accepts connections and does not answer, but process %s is not what listens there: correct host and port"
        return Verdict("", State.UNKNOWN, text % process["pid"])
    if raw["connected"]:
        return _hung(process, "accepts connections and does not answer")
    if runs:
        return _hung(process, "accepts no more connections")
    return Verdict("", State.UNKNOWN, "cannot be reached in time")


def _hung(process: Facts, how: str) -> Verdict:
    state = process.get("process_state", "")
    what = {"T": "is stopped", "t": "is being traced", "D": "waits for its disk", "R": "is computing"}.get(state, "")
    text = "it %s%s" % (how, "; its process %s %s" % (process.get("pid"), what) if what else "")
    # A process in uninterruptible sleep (D) cannot be restarted either.
    allowed = {"D": ("wait",), "R": ("wait", "restart")}
    return Verdict("hung", State.SICK, text, allowed.get(state, ("continue", "restart")))


def is_storm(raw: Raw) -> bool:
    """Return whether Redis keeps being started on data that it rejects: the log says so, and the files are still damaged."""
    log, files = raw.get("log") or {}, raw.get("files") or {}
    return bool(int(log.get("failed_starts") or 0) >= STORM and not log.get("ready") and files.get("verdict") in NOT_WHOLE)


def _bad_files(raw: Raw, facts: Facts, why: str = "") -> Verdict:
    text = why or "it fails start after start because its data files are damaged or incomplete: %s" % bad_file_text(facts["files"] or {})
    limit = ("reset_failed",) if raw["service"].get("start_limit_hit") and trait(raw["service"].get("manager"), "RESETS_FAILED") else ()
    return Verdict("down_bad_file", State.SICK, text, ("hold", "mend", *limit, "start"))


def _down(raw: Raw, options: Raw, facts: Facts) -> Verdict:
    files, lines = facts["files"] or {}, facts["log"].get("lines") or {}
    verdict = files.get("verdict", "unjudged")
    vain = _vain(raw, files)
    if vain:
        return Verdict("down_start_fails", State.SICK, "it is down and would not start: %s" % vain)
    lacking = _lacking(options, files, verdict)
    if lacking:
        return _bad_files(raw, facts, lacking)
    # Redis has not yet rejected files that were put there after that start.
    changed_since = float(files.get("changed_at") or 0) > float(facts["log"].get("written_at") or 0) > 0
    if lines.get("bad_file") and not (verdict == "valid" and changed_since):
        return _bad_files(raw, facts, "it is down, and at its last start it refused its data: %s" % lines["bad_file"])
    if verdict == "unjudged":
        why = ", and its files were not judged: %s" % bad_file_text(files) if files else ""
        return Verdict("down_clean", State.SICK, "it is down" + why)
    return _before_replicas(raw, options, facts) or _startable(raw, facts, lines)


def _before_replicas(raw: Raw, options: Raw, facts: Facts) -> t.Optional[Verdict]:
    """Return why a Redis must not start before its replicas, which would take what its files have; None where it may, or is a replica."""
    if master_in((raw.get("planned") or {}).get("settings") or {}) or options["reload_from"]:
        return None
    seen = raw.get("replicas_seen") or []
    ahead = replica_ahead(seen, facts)
    if ahead:
        return _bad_files(raw, facts, ahead)
    # Where Sentinels watch, they decide which one goes on.
    unseen = "" if options["sentinels"] else replicas_unseen(seen, facts, options["last_known"].get("replicas") or [])
    return Verdict("replicas_unseen", State.SICK, unseen) if unseen else None


def _vain(raw: Raw, files: Facts) -> str:
    """Return what would end a start, as far as that is seen before it; "" for nothing."""
    problems = _problems(raw) + list(files.get("unreadable") or [])
    problems += [str(one["detail"]) for one in files.get("files") or [] if one["verdict"] == "newer"]
    problems += [BUSY_DIR % (one["pid"], one_line(one["name"], 40)) for one in (raw.get("holders") or [])[:1]]
    attempt, service = raw.get("attempt") or {}, raw["service"]
    if service.get("exists") is False and service.get("reachable"):
        text = "%s has no service %s here; a Redis of a Compose project or of Kubernetes is not handled by recover-redis"
        problems.append(text % (service.get("manager"), one_line(service.get("name"), 60)))
    if attempt.get("code") in LASTING and attempt.get("mended") is False:
        problems.append("nothing has changed since its last start ended: %s" % attempt["text"])
    return "; ".join(problems[:3])


def _lacking(options: Raw, files: Facts, verdict: str) -> str:
    """Return what the files lack of what Redis had, "" for nothing that can be seen."""
    if verdict in NOT_WHOLE:
        return "it is down and its data files are damaged or incomplete: %s" % bad_file_text(files)
    # The start is followed by a reload of what an earlier run kept; there is nothing to repair.
    if verdict == "empty" and int(options["last_known_keys"]) > 0 and not options["reload_from"]:
        return "it is down without any data file; %d keys were known" % options["last_known_keys"]
    return _fewer(options, files)


def _fewer(options: Raw, files: Facts) -> str:
    """Return how many of the keys known before are not in the files, if nothing in the files says why; "" for none.

    Snapshots lack what was not saved, and no other file has it: there only a large part counts.
    """
    contents = files.get("contents") or {}
    known, last, emptied = int(options["last_known_keys"]), options["last_known"], float(options["empty_below_share"])
    due, keys = due_at_start(known, last, contents, emptied), contents.get("keys")
    share = 1.0 if files.get("source") == "aof" else emptied
    if keys is None or due < 0 or keys >= due * share or options["reload_from"]:
        return ""
    text = "it is down, and its files have %d keys where %d were known, and nothing in them says why; if that is meant, set %s"
    return text % (keys, due, ACCEPT % keys)


def bad_file_text(files: Facts) -> str:
    """Return what is wrong with the first invalid file, or why the files were not judged."""
    bad = next((one for one in files.get("files") or [] if one["verdict"] != "valid"), None)
    if bad:
        return one_line("%s (%s): %s" % (bad["name"], bad["verdict"], bad["detail"]), 200)
    return str(files.get("detail") or "set data_dir, or config_file")


def evicted(planned: Facts, files: Facts) -> str:
    """Return why a start would remove keys of these good files at once, "" where it would not, or nothing shows that it would."""
    limit, policy = bytes_of(planned.get("maxmemory")), str(planned.get("maxmemory-policy") or "noeviction")
    memory = (files.get("contents") or {}).get("memory") or 0
    # A Redis at its limit uses a little more than that, for what is no data.
    if not limit or policy == "noeviction" or memory <= limit * 1.1 + OWN_BYTES:
        return ""
    text = "a start would remove keys: its data take at least %d bytes of memory, maxmemory is %d and maxmemory-policy %s"
    return text % (memory, limit, one_line(policy, 40))


def bytes_of(size: t.Any) -> int:
    """Return the bytes of a size as Redis writes it (4mb, 1g), 0 for anything else."""
    found = re.match(r"(\d{1,18})(b|kb?|mb?|gb?)?\Z", str(size or "").strip().lower())
    if not found:
        return 0
    unit = found.group(2) or "b"
    step = 1024 if unit.endswith("b") else 1000
    return int(int(found.group(1)) * step ** "bkmg".index(unit[0]))


def _startable(raw: Raw, facts: Facts, lines: Facts) -> Verdict:
    service = raw["service"]
    evicts = evicted((raw.get("planned") or {}).get("settings") or {}, facts["files"] or {})
    if evicts:
        return Verdict("down_would_evict", State.SICK, "it is down, and " + evicts)
    last = ("reset_failed", "start") if service.get("start_limit_hit") else ("start",)
    mend = ("fix_cause",) if _to_mend(lines, facts["disk"]) else ()
    if not _gave_up(service) and facts["log"].get("ready") is not False:
        return Verdict("down_clean", State.SICK, _down_text(service, facts["files"] or {}, bool(mend)), mend + last)
    causes = [kind for kind in CAUSES if kind in lines]
    return Verdict("down_crash_loop", State.SICK, "it does not stay up: %s" % _cause_text(raw, causes), mend + last)


def _gave_up(service: Raw) -> bool:
    # supervisor reports an exited program as failed too; only FATAL means that it gave up starting it.
    return bool(service.get("start_limit_hit")) or service.get("state") == "backoff" or service.get("result") == "fatal"


def _down_text(service: Raw, files: Facts, could_not_write: bool) -> str:
    killed = " (killed by the OOM killer)" if service.get("oom_killed") else ""
    there = "its data files are good" if files.get("verdict") == "valid" else "it has no data files"
    return "it is down%s and %s%s" % (killed, there, ", but it could not write" if could_not_write else "")


def _cause_text(raw: Raw, causes: t.Sequence[str]) -> str:
    attempt = raw.get("attempt") or {}
    return "; ".join(CAUSES[kind] for kind in causes) or str(attempt.get("text") or "its log names no cause")


def _to_mend(lines: Raw, disk: Facts) -> bool:
    """Return whether a disk problem in the log persists. A taken port may be free again, so the start itself shows that."""
    full = int(disk.get("free_bytes", 0 if "no_space" in lines else LITTLE_ROOM)) < LITTLE_ROOM
    closed = "permission" in lines and disk.get("writable_by_redis") is not True
    return bool(full or closed or ("read_only" in lines and disk.get("read_only") is not False))


def _replication(options: Raw, facts: Facts) -> list[Finding]:
    found: list[Finding] = []
    wanted = options["expected_role"]
    if wanted != "any" and facts["role"] != wanted:
        found.append(Finding("role", State.SICK, "it is a %s, but a %s is expected" % (facts["role"] or "?", wanted)))
    online = [one for one in facts["replicas"] if one["state"] == "online"]
    if len(online) < int(options["expected_replicas"]):
        found.append(Finding("replicas", State.SICK, "%d of %d replicas are online" % (len(online), options["expected_replicas"])))
    return found


def _keys(raw: Raw, options: Raw, facts: Facts) -> list[Finding]:
    unread = sum(1 for seen in raw["known"] if seen["exists"] is None)
    found = [Finding("known_answers", State.UNKNOWN, "%d known answers could not be read" % unread)] if unread else []
    if facts["role"] == "replica" and _emptiness(options, facts, ""):
        found.append(Finding("keys", State.SICK, _emptiness(options, facts, "")))
    if facts["role"] == "replica" and wrong_answers(raw, options):
        found.append(Finding("known_answers", State.SICK, "%d known answers are wrong" % wrong_answers(raw, options)))
    if raw["write"].startswith("NOPERM"):
        found.append(Finding("warning", State.WELL, "whether it takes writes was not seen: our user may not write (NOPERM)"))
    return found + _evicted_since(options, facts)


def _evicted_since(options: Raw, facts: Facts) -> list[Finding]:
    """Return the keys that went although Redis is well by its share: what evicted them is no fault of Redis, and is named."""
    keys, last, gone = facts["keys"], int(options["last_known_keys"]), int(facts["evicted"] or 0)
    if keys is None or not gone or keys >= last:
        return []
    return [Finding("warning", State.WELL, "%d keys where %d were known, and %d were evicted since its start" % (keys, last, gone))]


def _flushed_since(options: Raw, facts: Facts) -> bool:
    """Return whether a command emptied it since the last proven look, however many keys are there again."""
    before, now = options["last_known"].get("flushed"), facts["flushed"]
    # A process that was started later has counted from 0.
    return bool(before and now) and now["count"] > (before["count"] if before["run_id"] == now["run_id"] else 0)


def _latency(options: Raw, facts: Facts) -> list[Finding]:
    limit, took = float(options["max_latency_ms"]), facts["ping_ms"]
    if not limit or took is None or took <= limit:
        return []
    return [Finding("latency", State.SICK, "PING took %.0f ms, %.0f are allowed" % (took, limit))]


def _restarts(options: Raw, facts: Facts) -> list[Finding]:
    before, now = options["expected_identity"].get("restarts"), facts["restarts"]
    if before is None or now is None or int(now) <= int(before):
        return []
    return [Finding("restarts", State.SICK, "restarted %d times since %s" % (int(now) - int(before), "the last look"))]


def _saving(facts: Facts, state: str) -> tuple[list[Finding], tuple[str, ...]]:
    """Return what threatens the next save of a working Redis, and the acts against it."""
    saved, disk = facts["persistence"], facts["disk"]
    if state != "up":
        return [], ()
    if facts["gone"]:
        return [Finding("files", State.SICK, GONE[facts["gone"]])], ACTS_ON_GONE[facts["gone"]]
    if saved["aof_enabled"] and saved["aof_rewrite_ok"] is False:
        return [Finding("rewrite", State.SICK, "the last rewrite of its append-only file failed")], ("fix_cause", "rewrite_aof")
    cannot = disk.get("writable_by_redis") is False or disk.get("free_bytes") == 0
    if cannot and (saved["aof_enabled"] or saved["save_configured"]):
        return [Finding("disk", State.SICK, "its data directory is full or not writable: the next save will fail")], ("fix_cause",)
    return [], ()
