# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_restore``: restores to a time beside the live database, inspects the result, and plans what a run could do with it.

It queries the live database, writes a commit there and has its WAL archived; nothing else of it changes.
"""

from __future__ import annotations

import os
import shutil
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import SqlError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import target as engine
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import (
    compare,
    known_answers,
    left,
    load_tables,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.judge import CODES, obstacle
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.load import (
    RESTORE_OPTIONS,
    load_restore,
    time_text,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.side import SideInstance
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.swap import (
    JOURNAL,
    Unfit,
    judge_places,
    links_outside,
    load_tablespaces,
    plan_moves,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import is_full
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.owners import sentence
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    RESTORE_OPTIONS,
    state={"type": "str", "choices": ["restored", "promoted", "absent"], "default": "restored"},
    mode={"type": "str", "choices": ["", "insert_missing", "swap"], "default": ""},
    tables={"type": "list", "elements": "str", "default": []},
    tolerance={"type": "float", "default": 0.0},
    folder={"type": "path", "default": ""},
    run_id={"type": "str", "default": ""},
    keep_seconds={"type": "float", "default": 86400.0},
    archive_timeout={"type": "float", "default": 60.0},
    timeout={"type": "float", "default": 1800.0},
    stage={"type": "str", "choices": ["act", "undo"], "default": "act"},
)
CODES_OF_SIDE = {"target_not_reached": "wal_gap", "no_server": "bad_input"}


def run(params: Params, check: bool) -> Result:
    """Return {changed, folder, backup, stop, answers, tables, plans, removed, run_id, seconds, stage, say, table}.

    ``promoted`` ends the recovery of the restored data, so that they can replace the live ones; ``absent`` removes them. Raises StepError.
    """
    begun = time.monotonic()
    act = {"restored": _restored, "promoted": _promoted, "absent": _absent}[params["state"]]
    try:
        done = act(params, check, begun + params["timeout"])
    except (engine.Refused, Unfit) as error:
        raise refused(error.code, str(error)) from None
    except SideFailed as error:
        raise refused(CODES_OF_SIDE.get(error.code, "data_damaged"), str(error)) from None
    except SqlError as error:
        raise StepError("PostgreSQL: %s" % error, sqlstate=error.sqlstate) from None
    except OSError as error:
        code = "no_room" if is_full(error) else "state_not_handled"
        raise refused(code, "%s: %s" % (one_line(error.filename or params["side_dir"], 80), error.strerror)) from None
    nothing: Result = {"removed": [], "plans": [], "tables": [], "run_id": params["run_id"]}
    return dict(nothing, **done, seconds=round(time.monotonic() - begun, 3), stage=params["stage"])


def _restored(params: Params, check: bool, end: float) -> Result:
    raw = dict(load_restore(params, min(60.0, left(end))), database=params["database"])
    state, text = obstacle(raw, params)
    if state:
        raise refused(CODES[state], "%s: %s" % (state, text))
    folder = engine.folder_of(params, raw, "restore")
    if check:
        say = "would restore %s to %s in %s" % (raw["backup"]["label"], time_text(raw["target"]), folder)
        return {"changed": True, "folder": folder, "say": [one_line(say, 240)]}
    removed = engine.sweep(params["side_dir"], params["keep_seconds"], time.time(), folder)
    if not raw["live"]["error"]:
        engine.hand_over_wal(params, raw, end)
        raw = engine.reload_wal(params, raw, end)
    engine.judge_wal(raw["wal"], raw["target"])
    with engine.held(folder):
        done, fresh = _made(params, raw, folder, end)
        return dict(_looked_at(params, raw, folder, done, end), changed=fresh, removed=removed)


def _made(params: Params, raw: t.Mapping[str, t.Any], folder: str, end: float) -> tuple[dict[str, t.Any], bool]:
    """Return (manifest of the restore in *folder*, whether this run made it)."""
    known = engine.manifest_of(folder)
    if known.get("state") in ("restored", "promoted"):
        return known, False
    return engine.restore(params, raw, folder, params["run_id"], end), True


def _looked_at(params: Params, raw: t.Mapping[str, t.Any], folder: str, done: dict[str, t.Any], end: float) -> Result:
    """Start a side instance on the restored data, query it and compare it with live."""
    strange = links_outside(os.path.join(folder, engine.DATA), folder)
    if strange:
        raise engine.Refused("data_damaged", "the restored data have links that point outside: %s" % "; ".join(strange[:3]))
    with side_of(params, folder, raw["bin_dir"], raw["live"].get("least"), end) as side:
        stop = dict(side.stop_point(), lsn=side.state["lsn"], last_commit=side.state["last_commit"], timeline=side.state["timeline"])
        answers = known_answers(side.where(params["database"]), params["known_answers"], left(end))
        tables = [] if raw["live"]["error"] else _compared(side.where(params["database"]), params, end)
        counted_seconds = side.seconds
    wrong = ["%s: %s" % (one["name"], one["text"]) for one in answers if not one["right"]]
    if wrong:
        raise engine.Refused("data_damaged", "the restored database is not as expected: %s" % "; ".join(wrong[:3]))
    raw = dict(raw, beside_tables=not raw["live"]["error"] and _beside(params, end))
    plans = engine.plans_of(raw, tables, params, _why_not_swap(raw, folder))
    engine.write_manifest(folder, dict(done, stop=stop))
    backup = {key: raw["backup"][key] for key in ("label", "type", "stop", "bytes", "system_identifier")}
    say = "restored %s to %s beside the live database in %s; it stops %s" % (
        backup["label"], time_text(raw["target"]), folder, _stop_text(stop),
    )  # fmt: skip
    return {
        "folder": folder, "backup": backup, "stop": stop, "answers": answers, "tables": tables, "plans": plans,
        "restore_seconds": done.get("restore_seconds", 0.0), "side_seconds": counted_seconds, "target": time_text(raw["target"]),
        "say": [one_line(say, 240)], "table": engine.table_lines(tables) if tables else [],
    }  # fmt: skip


def _compared(restored: t.Mapping[str, t.Any], params: Params, end: float) -> list[dict[str, t.Any]]:
    """Compare all tables, since a swap concerns all; where rows are only to be put back, the named ones."""
    if params["mode"] == "insert_missing":
        return compare(restored, params, params["tables"], end)[0]
    tables = compare(restored, params, [], end)[0]
    full = [name if "." in name else "public." + name for name in params["tables"]]
    absent = [name for name in full if name not in {one["table"] for one in tables}]
    return tables + (compare(restored, params, absent, end)[0] if absent else [])


def _beside(params: Params, end: float) -> bool:
    """Return whether the database postgres, which many leave empty, has tables of its own, or may have."""
    if params["database"] == "postgres":
        return False
    try:
        return bool(load_tables(dict(params, database="postgres"), left(end)))
    except SqlError:
        return True


def _stop_text(stop: t.Mapping[str, t.Any]) -> str:
    if stop.get("transaction"):
        return "%s the transaction %s of %s" % (stop["where"], stop["transaction"], stop["time"])
    return "at %s" % stop["lsn"]


def side_of(params: Params, folder: str, bin_dir: str, least: t.Any, end: float) -> SideInstance:
    """Return a side instance on the data restored in *folder*."""
    paused = engine.manifest_of(folder).get("state") != "promoted"
    return SideInstance(
        bin_dir, os.path.join(folder, engine.DATA), params["os_user"], end, user=params["user"], pauses=paused,
        least=least, keep_log=os.path.join(folder, "side.log"),
    )  # fmt: skip


def _why_not_swap(raw: t.Mapping[str, t.Any], folder: str) -> str:
    data = os.path.join(folder, engine.DATA)
    if raw["owners"]:
        return sentence(raw["owners"])
    if raw["live"].get("may_promote") is False:
        return "this login may not call pg_promote()"
    try:
        live = load_tablespaces(raw["data_dir"]) if os.path.isdir(raw["data_dir"]) else {}
        judge_places(plan_moves(raw["data_dir"], data, tablespaces_of(live, load_tablespaces(data)), "x"))
    except (Unfit, OSError) as error:
        return str(error)
    return ""


def tablespaces_of(live: t.Mapping[str, str], side: t.Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return {live, side} by oid of the tablespaces that both have; one that live no longer has stays where it was restored."""
    return {oid: {"live": live[oid], "side": side[oid]} for oid in sorted(set(live) & set(side))}


def _promoted(params: Params, check: bool, end: float) -> Result:
    raw = load_restore(params, min(60.0, left(end)))
    folder = params["folder"]
    known = engine.manifest_of(folder)
    if known.get("state") == "promoted":
        return {"changed": False, "folder": folder, "say": ["the restored data are ready to replace live"]}
    if known.get("state") != "restored":
        raise engine.Refused("state_not_handled", "%s holds no complete restore" % one_line(folder, 80))
    if check:
        return {"changed": True, "folder": folder, "say": ["would end the recovery of the restored data"]}
    with engine.held(folder):
        with side_of(params, folder, raw["bin_dir"], raw["live"].get("least"), end) as side:
            state = side.promote()
        engine.write_manifest(folder, dict(known, state="promoted", new_timeline=state["timeline"]))
    return {"changed": True, "folder": folder, "say": ["ended the recovery of the restored data: they can replace live"]}


def _absent(params: Params, check: bool, end: float) -> Result:
    folder = params["folder"]
    if os.path.lexists(os.path.join(folder, JOURNAL)):
        raise engine.Refused("state_not_handled", "%s belongs to a swap and is needed to undo it" % one_line(folder, 80))
    if not os.path.isdir(folder) or os.path.dirname(os.path.realpath(folder)) != os.path.realpath(params["side_dir"]):
        return {"changed": False, "folder": folder, "say": ["nothing to remove"]}
    if not check:
        with engine.held(folder):
            shutil.rmtree(folder)
    return {"changed": True, "folder": folder, "say": [one_line("removed %s" % folder, 200)]}
