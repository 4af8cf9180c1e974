# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``backup_proof``: restores the newest backup to the end of its WAL in a directory of its own, queries it, and removes it.

Its result has the form of ``health_info``, so that one report serves both. It neither needs nor touches the live database.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import wal as restore_wal
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import SqlError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import target as engine
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import known_answers, left
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.load import RESTORE_OPTIONS, load_restore
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.side import SideInstance
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.swap import links_outside
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import is_full
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import run as run_program
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

# Every cluster has this database; nothing of an application is in it.
MAINTENANCE = "postgres"
_NOT_HERE = ("target", "label", "data_dir")
ARGUMENT_SPEC: dict[str, t.Any] = dict(
    {name: rule for name, rule in RESTORE_OPTIONS.items() if name not in _NOT_HERE},
    max_age={"type": "float", "default": 93600.0},
    amcheck={"type": "bool", "default": True},
    timeout={"type": "float", "default": 3600.0},
)
Checks = t.List[t.Dict[str, t.Any]]


def run(params: Params, check: bool) -> Result:
    """Return {changed, health, checks, subject, proven, seconds, facts, say} with one check for each thing that a backup must prove.

    Raises StepError where a restore must not be tried, as for lack of space.
    """
    begun, named = time.monotonic(), str(params["database"])
    params = dict(params, database=database_of(params))
    end = begun + params["timeout"]
    wanted = dict(params, target="", label="", data_dir="")
    raw = load_restore(wanted, min(60.0, left(end)))
    checks, backup = _seen(raw, params), raw["backup"]
    if backup is not None and raw["wal"].get("whole") and not check:
        _judge_room(raw, params)
        try:
            checks += _tried(wanted, raw, end)
        except OSError as error:
            raise refused("no_room" if is_full(error) else "state_not_handled", one_line(error, 160)) from None
    result = _result(checks, raw, check, round(time.monotonic() - begun, 3))
    if not named and not params["known_answers"]:
        result["say"].append("no database and no known answer is named: what the application needs was not looked for")
    return result


def database_of(params: Params) -> str:
    """Return the database to query. Raises StepError where answers are known and nobody says of which database."""
    if not params["database"] and params["known_answers"]:
        raise refused("bad_input", "backup_verification_database names no database, so it is unknown where the known answers hold")
    return str(params["database"] or MAINTENANCE)


def _judge_room(raw: t.Mapping[str, t.Any], params: Params) -> None:
    """Raise StepError where the restore does not fit."""
    free, needed = raw["space"]["side_free"], raw["space"]["side_needed"]
    if free is not None and free < needed:
        raise refused("no_room", "side_dir %s has %d bytes free but needs %d" % (one_line(params["side_dir"], 80), free, needed))
    if not raw["bin_dir"]:
        raise refused("bad_input", "the PostgreSQL server programs were not found: set bin_dir")


def check_of(name: str, finding: Finding, seconds: float = 0.0, **facts: t.Any) -> dict[str, t.Any]:
    """Return one check in the form of ``health_info``."""
    return dict(Health((finding,), facts=facts).as_dict(), name=name, kind="backup", seconds=round(seconds, 3))


def _finding(name: str, good: t.Optional[bool], text: str) -> Finding:
    state = State.UNKNOWN if good is None else State.WELL if good else State.SICK
    return Finding(name, state, one_line(text, 240))


def _seen(raw: t.Mapping[str, t.Any], params: Params) -> Checks:
    """Return the checks that need no restore: repository, age, identity, WAL."""
    info, backup = raw["info"], raw["backup"]
    if backup is None:
        why = info["error"] or raw["chosen"][1] or info.get("message") or info["state"]
        return [check_of("backup", _finding("backup", False, "there is nothing to restore from: %s" % why))]
    age, wal = raw["now"] - backup["stop"], raw["wal"]
    said = "%s is %.1f hours old, %.1f are allowed" % (backup["label"], age / 3600, params["max_age"] / 3600)
    checks = [check_of("backup age", _finding("age", age <= params["max_age"], said), age_seconds=round(age, 1), label=backup["label"])]
    missing = list(wal.get("missing") or [])
    text = "%d segments since the backup, none missing" % wal["checked"] if wal["whole"] else "the archive lacks %s" % ", ".join(missing)
    checks.append(check_of("backup wal", _finding("wal", bool(wal["whole"]), wal["error"] or text), missing=missing))
    wanted = params["system_identifier"] or raw["live"].get("system_identifier")
    if wanted and wanted != backup["system_identifier"]:
        text = "the backup has the system identifier %s, expected is %s" % (backup["system_identifier"], wanted)
        checks.append(check_of("backup identity", _finding("identity", False, text)))
    return checks


def _tried(params: t.Mapping[str, t.Any], raw: t.Mapping[str, t.Any], end: float) -> Checks:
    """Restore, start, query, and remove the restored data in any case. Raises OSError."""
    engine.sweep(params["side_dir"], 0.0, time.time(), purpose="verify")
    folder = engine.folder_of(params, raw, "verify-%d" % os.getpid())
    with engine.held(folder):
        try:
            return _asked(params, raw, folder, end)
        except (engine.Refused, SideFailed, SqlError) as error:
            return [check_of("backup restore", _finding("restore", False, str(error)))]
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _asked(params: t.Mapping[str, t.Any], raw: t.Mapping[str, t.Any], folder: str, end: float) -> Checks:
    begun = time.monotonic()
    done = engine.restore(params, raw, folder, "", end)
    strange = links_outside(os.path.join(folder, engine.DATA), folder)
    if strange:
        raise engine.Refused("data_damaged", "the restored data have links that point outside: %s" % "; ".join(strange[:3]))
    data = os.path.join(folder, engine.DATA)
    with SideInstance(raw["bin_dir"], data, params["os_user"], end, user=params["user"], pauses=False) as side:
        checks = [_reached(side, raw, time.monotonic() - begun, done)]
        answers = known_answers(side.where(params["database"]), params["known_answers"], left(end))
        for one in answers:
            checks.append(check_of("backup answer " + one["name"], _finding(one["name"], one["right"], one["text"] or "the known answer")))
        if params["amcheck"]:
            checks += _amchecked(side, params, end)
    return checks


def _reached(side: SideInstance, raw: t.Mapping[str, t.Any], seconds: float, done: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Judge whether it replayed all WAL: a recovery that meets a gap ends early without an error."""
    size = int(raw["wal"].get("segment_bytes") or restore_wal.SEGMENT_BYTES)
    last, at = restore_wal.parse_segment(raw["wal"]["last"], size)[1], restore_wal.segment_of(str(side.state["lsn"]), size)
    # The end of the last segment is the start of the next one; a segment may end in zeros.
    text = "restored in %.1f s, serving after %.1f s, up to %s" % (done["restore_seconds"], seconds, side.state["lsn"])
    early = "the replay stopped at %s, before segment %s" % (side.state["lsn"], raw["wal"]["last"])
    finding = _finding("restore", at >= last, text if at >= last else early)
    return check_of("backup restore", finding, seconds, restore_seconds=done["restore_seconds"], bytes=raw["backup"]["bytes"])


def _amchecked(side: SideInstance, params: t.Mapping[str, t.Any], end: float) -> Checks:
    """Have pg_amcheck check every table and index of the side instance; exit code 2 means corruption."""
    where, begun = side.where(params["database"]), time.monotonic()
    words = [os.path.join(side.bin_dir, "pg_amcheck"), "--all", "--install-missing", "-h", str(where["host"]), "-p", str(where["port"])]
    if not os.access(words[0], os.X_OK):
        return []
    ran = run_program([*words, "-U", str(where["user"])], left(end), user=str(params["os_user"]))
    told = one_line((ran.out.strip() or ran.err.strip() or "no output").splitlines()[0], 160)
    # Without the extension on this host nothing was checked, and nothing is wrong.
    if ran.rc == 1 and "amcheck" in ran.err and "not available" in ran.err:
        return []
    good = True if ran.ok else False if ran.rc == 2 else None
    return [check_of("backup amcheck", _finding("amcheck", good, "no corruption found" if good else told), time.monotonic() - begun)]


def _result(checks: Checks, raw: t.Mapping[str, t.Any], check: bool, seconds: float) -> Result:
    health = Health(tuple(Finding(one["name"], State(one["health"]), one["findings"][0]["text"]) for one in checks))
    word, bad = health.health.value, [one for one in health.findings if one.state is not State.WELL]
    say = ["the newest backup is %s%s" % (word, ": it restores and answers" if word == "well" and not check else "")]
    if check:
        say = ["would restore the newest backup to a directory of its own; it looks %s" % word]
    with contextlib.suppress(KeyError, TypeError):
        say[0] += " (%s)" % raw["backup"]["label"]
    return {
        "changed": False, "health": word, "state": "", "checks": checks, "subject": "", "proven": word == "well", "passes": 1, "looks": 1,
        "seconds": seconds, "facts": {"backup": raw["backup"] or {}, "wal": raw["wal"]}, "findings": [], "actions": [], "identity": {},
        "stage": "verify", "say": say + ["%s: %s" % (one.name, one.text) for one in bad],
    }  # fmt: skip
