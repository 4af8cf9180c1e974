# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_cutover``: moves a restored copy into the live database, by rows or by directories, and back out."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.programs import find_binaries
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC, SqlError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import swap
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import target as engine
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import (
    Difference,
    Table,
    choose_tables,
    compare,
    left,
    load_tables,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.put_in import put_in, read_kept, take_out
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.written import judge_written, load_written
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.act import make_private
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_restore import side_of, tablespaces_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    CONNECT_SPEC,
    mode={"type": "str", "choices": ["insert_missing", "swap"], "required": True},
    state={"type": "str", "choices": ["done", "put_back"], "default": "done"},
    folder={"type": "path", "required": True},
    tables={"type": "list", "elements": "str", "default": []},
    expected={"type": "dict", "default": {}},
    tolerance={"type": "float", "default": 0.0},
    fire_triggers={"type": "bool", "default": False},
    kept_file={"type": "path", "default": ""},
    data_dir={"type": "path", "default": ""},
    bin_dir={"type": "path", "default": ""},
    run_id={"type": "str", "required": True},
    about={"type": "dict", "default": {}},
    compared_at={"type": "dict", "default": {}},
    timeout={"type": "float", "default": 600.0},
    stage={"type": "str", "choices": ["act", "undo"], "default": "act"},
)


def run(params: Params, check: bool) -> Result:
    """Return {changed, inserted, removed, left, tables, moved, before_dir, since, loss, kept_file, run_id, seconds, stage, say}.

    Raises StepError; then all rows are as they were, and the same call finishes a swap of directories, or ``put_back`` reverses it.
    """
    begun = time.monotonic()
    acts = {"insert_missing": {"done": _insert, "put_back": _take_out}, "swap": {"done": _swap, "put_back": _back}}
    nothing: Result = {"inserted": 0, "removed": 0, "left": 0, "tables": [], "moved": 0, "before_dir": "", "since": 0.0, "loss": {}}
    nothing.update(kept_file=params["kept_file"], run_id=params["run_id"])
    try:
        done = acts[params["mode"]][params["state"]](params, check, begun + params["timeout"])
    except (engine.Refused, swap.Unfit) as error:
        raise refused(error.code, str(error)) from None
    except SideFailed as error:
        raise refused("data_damaged", str(error)) from None
    except SqlError as error:
        raise StepError("PostgreSQL: %s; nothing was changed" % error, sqlstate=error.sqlstate) from None
    except (OSError, ValueError) as error:
        text = "%s: %s" % (one_line(getattr(error, "filename", "") or params["folder"], 80), getattr(error, "strerror", "") or error)
        raise refused("state_not_handled", text) from None
    return dict(nothing, **done, seconds=round(time.monotonic() - begun, 3), stage=params["stage"])


# Rows --------------------------------------------------------------------------------------------


def _insert(params: Params, check: bool, end: float) -> Result:
    tables = _judged_tables(params, end)
    if not params["kept_file"]:
        raise engine.Refused("bad_input", "kept_file names no file for the hashes of the inserted rows")
    if check:
        return {"changed": True, "say": ["would insert the missing rows of %s" % one_line(", ".join(sorted(tables)), 160)]}
    make_private(os.path.dirname(params["kept_file"]))
    if os.path.lexists(params["kept_file"]):
        raise engine.Refused(
            "state_not_handled", "%s already exists: this run has inserted rows before" % one_line(params["kept_file"], 100)
        )
    with engine.held(params["folder"]), side_of(params, params["folder"], _binaries(params), {}, end) as side:
        where = side.where(params["database"])
        results, differences = compare(where, params, sorted(tables), end)
        _judge_counts(results, params)
        inserted = put_in(where, params, differences, tables, params["kept_file"], end)
    return _rows_result(results, differences, inserted)


def _rows_result(results: list[dict[str, t.Any]], differences: t.Mapping[str, Difference], inserted: int) -> Result:
    say = ["inserted %s in one transaction; existing rows are as they were" % counted(inserted, "missing rows")] if inserted else []
    rows = [dict(one, inserted=differences[one["table"]].missing) for one in results]
    return {"changed": inserted > 0, "inserted": inserted, "tables": rows, "say": say or ["no row is missing"]}


def _judged_tables(params: Params, end: float) -> dict[str, Table]:
    """Return the named tables of live. Raises Refused for a table where inserting is not safe."""
    if not params["tables"]:
        raise engine.Refused("bad_input", "name the tables whose missing rows to insert")
    tables, unknown = choose_tables(load_tables(params, left(end)), params["tables"])
    if unknown:
        raise engine.Refused("bad_input", "live has no table %s" % one_line(", ".join(unknown), 120))
    for table in tables:
        if not table.key:
            raise engine.Refused("bad_input", "%s has no primary key, so its missing rows are unknown" % one_line(table.full_name, 80))
        if table.triggers and not params["fire_triggers"]:
            text = "%s has triggers that an insert would fire: set fire_triggers if you want that"
            raise engine.Refused("state_not_handled", text % one_line(table.full_name, 80))
    return {table.full_name: table for table in tables}


def _judge_counts(results: t.Sequence[t.Mapping[str, t.Any]], params: Params) -> None:
    """Raise Refused where the number of missing rows is no longer the approved one."""
    for one in results:
        if one["missing"] is None or not one["exact"]:
            raise engine.Refused("state_not_handled", "%s cannot be compared: %s" % (one["table"], one["note"]))
        wanted = params["expected"].get(one["table"])
        slack = params["tolerance"] if params["tolerance"] >= 1 else params["tolerance"] * int(wanted or 0)
        if wanted is not None and abs(int(one["missing"]) - int(wanted)) > slack:
            text = "%s now lacks %d rows, but %d were approved" % (one["table"], one["missing"], int(wanted))
            raise engine.Refused("approval_stale", text)


def _take_out(params: Params, check: bool, end: float) -> Result:
    kept = read_kept(params["kept_file"])
    count = sum(len(one["keys"]) for one in kept)
    if not count:
        return {"changed": False, "say": ["nothing was inserted, so there is nothing to delete"]}
    if check:
        return {"changed": True, "say": ["would delete the %d rows that were inserted" % count]}
    there = load_tables(params, left(end))
    tables = {name: there[name] for name in ("%s.%s" % (one["schema"], one["name"]) for one in kept) if name in there}
    removed, stays = take_out(params, kept, tables, end)
    say = ["deleted %s that this run had inserted" % counted(removed, "rows")]
    say += ["left %s that changed or disappeared since then" % counted(stays, "rows")] if stays else []
    return {"changed": removed > 0, "removed": removed, "left": stays, "say": say}


# Directories -------------------------------------------------------------------------------------


def _swap(params: Params, check: bool, end: float) -> Result:
    folder, journal = params["folder"], swap.load_journal(params["folder"])
    if journal and journal["state"] == "installed":
        return _swap_result(journal, 0)
    if journal and journal["state"] == "putting_back":
        raise engine.Refused("state_not_handled", "this swap is being undone: finish that first")
    _judge_users(params["data_dir"] if not journal else journal["data_dir"], folder)
    if not journal or journal["state"] == "put_back":
        journal = _planned(params)
        journal["about"] = _with_late_rows(params, end)
        if not check:
            side = os.path.join(folder, engine.DATA)
            swap.keep_configuration(params["data_dir"], side)
            swap.mark_history(side)
            swap.save_json(os.path.join(folder, swap.JOURNAL), journal)
    if check:
        return {"changed": True, "before_dir": journal["before_dir"], "say": ["would swap the directories"]}
    moved = swap.forward(journal["moves"])
    swap.save_json(os.path.join(folder, swap.JOURNAL), dict(journal, state="installed"))
    return _swap_result(journal, moved)


def _planned(params: Params) -> swap.Journal:
    """Return the journal of a swap that is about to begin. Raises Refused, Unfit where it must not."""
    folder, data = params["folder"], os.path.realpath(params["data_dir"])
    known = engine.manifest_of(folder)
    if known.get("state") != "promoted":
        raise engine.Refused(
            "state_not_handled", "the restore in %s is not ready to replace live: end its recovery first" % one_line(folder, 80)
        )
    side = os.path.join(folder, engine.DATA)
    live = swap.load_tablespaces(data) if os.path.isdir(data) else {}
    moves = swap.plan_moves(data, side, tablespaces_of(live, swap.load_tablespaces(side)), params["run_id"])
    swap.judge_places(moves)
    return {
        "state": "staged", "run_id": params["run_id"], "moves": moves, "data_dir": data, "before_dir": moves[0]["to"], "since": time.time(),
        "target": known.get("target"), "stanza": known.get("stanza"), "label": known.get("label"), "about": params["about"],
    }  # fmt: skip


def _with_late_rows(params: Params, end: float) -> dict[str, t.Any]:
    """Return what the journal keeps; its loss includes the rows that live wrote between the comparison and its stop."""
    about, at = dict(params["about"]), params["compared_at"]
    if not at or not about.get("loss"):
        return about
    text = load_written(_binaries(params), params["data_dir"], str(at.get("lsn") or ""), left(end))
    late = judge_written(text, {int(one) for one in at.get("running") or []})
    return dict(about, loss=later_loss(about["loss"], late))


def later_loss(loss: t.Mapping[str, t.Any], late: t.Optional[int]) -> dict[str, t.Any]:
    """Return *loss* plus *late* rows, an upper bound; the count is None where either is unknown."""
    if late == 0:
        return dict(loss)
    known = late is not None and str(loss.get("count")).isdigit()
    words = "%s written between the count and the stop" % (counted(late, "rows") if late else "an unknown number of rows was")
    count = int(loss["count"]) + (late or 0) if known else None
    return dict(loss, count=count, exact=False, witness="", text="%s; %s" % (loss.get("text") or "", words))


def _swap_result(journal: swap.Journal, moved: int) -> Result:
    say = "the restored data are now in %s; the old data are in %s" % (journal["data_dir"], journal["before_dir"])
    kept = {"before_dir": journal["before_dir"], "since": journal["since"], "loss": journal["about"].get("loss") or {}}
    return dict(kept, changed=moved > 0, moved=moved, say=[one_line(say, 240)])


def _back(params: Params, check: bool, end: float) -> Result:
    folder, journal = params["folder"], swap.load_journal(params["folder"])
    if not journal or journal["state"] == "put_back":
        return {"changed": False, "say": ["nothing to put back: no directory of this restore is in use"]}
    _judge_users(journal["data_dir"], folder)
    if check:
        return {"changed": True, "say": ["would put the old directories back"]}
    path = os.path.join(folder, swap.JOURNAL)
    swap.save_json(path, dict(journal, state="putting_back"))
    moved = swap.backward(journal["moves"])
    swap.save_json(path, dict(journal, state="put_back"))
    say = "put the old directories back; the restored ones are in %s again" % one_line(folder, 100)
    return {"changed": moved > 0, "moved": moved, "say": [say]}


def _judge_users(data_dir: str, folder: str) -> None:
    """Raise Refused where a process uses either directory: the directory of a running server is never moved."""
    places = [os.path.realpath(path) for path in (data_dir, os.path.join(folder, engine.DATA))]
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            at = os.readlink("/proc/%s/cwd" % name)
        except OSError:
            continue
        if any(at == place or at.startswith(place + "/") for place in places):
            raise engine.Refused("state_not_handled", "process %s is using %s: stop the server first" % (name, one_line(at, 80)))


def _binaries(params: Params) -> str:
    found = find_binaries(params["bin_dir"])
    if not found:
        raise engine.Refused("bad_input", "the PostgreSQL server programs were not found: set bin_dir")
    return found
