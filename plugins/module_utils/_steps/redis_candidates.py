# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_candidates``: try, count and judge every set of data that a damaged or emptied Redis can be restored from.

It copies the data directory first, with digests, and reads only that copy from then on. A running server is only read.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates import sources
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.choice import (
    BESIDE,
    choice_of,
    current,
    kind_of,
    loss_of,
    ordered,
    plans_of,
    table_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.make import (
    Bench,
    Facts,
    compared,
    related,
    tried,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.recipes import (
    HEAD_BYTES,
    Recipe,
    open_plain,
    recipes_of,
    version_in,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files import scan
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import EXPECTATIONS, REACH
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.place import is_roots
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.contents import due_at_start, load_contents
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.data import judge_data, with_saves
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import find_server, version_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.below import is_full
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.copies import CopyRefused, copy_tree
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import SideFailed

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    REACH,
    data_dir={"type": "str", "default": ""},
    settings={"type": "dict", "default": {}},
    work_dir={"type": "path", "required": True},
    run_id={"type": "str", "required": True},
    timeout={"type": "float", "default": 1800.0},
    redis_server={"type": "str", "default": ""},
    alive={"type": "bool", "default": False},
    backups={"type": "list", "elements": "str", "default": []},
    unappended={"type": "dict", "default": {}},
    replicas={"type": "list", "elements": "dict", "default": [], "options": REACH},
    accept_loss={
        "type": "dict",
        "default": {},
        "options": {"tail_bytes": {"type": "int", "default": 0}, "share": {"type": "float", "default": 0.0}},
    },
    stage={"type": "str", "choices": ["assess", "act", "undo"], "default": "act"},
    **{name: EXPECTATIONS[name] for name in ("known_keys", "last_known_keys", "last_known", "empty_below_share")},
)
MOST_BACKUPS, MOST_REPLICAS, MOST_RESCUES = 8, 8, 3
SHOWN = (
    "name", "path", "sha256", "bytes", "keys", "expires", "last_write", "loss", "superset", "risk", "proof", "error", "seconds",
    "lineage", "dropped", "dropped_bytes", "detail", "known_wrong", "wrong_keys",
)  # fmt: skip


def run(params: Params, check: bool) -> Result:
    """Return {changed, copy, candidates, choice, plans, table, verdict, seconds, say}.

    Raises StepError with one of the codes no_room, bad_input, data_damaged, data_missing, state_not_handled.
    """
    begun = time.monotonic()
    end = begun + params["timeout"]
    folder = _judge_places(params)
    try:
        program = find_server(params["redis_server"])
        # The tools beside the server know what it can load.
        scan.PREFERRED[:] = [folder for folder in [os.path.dirname(program)] if is_roots(folder)]
        if check:
            return _rehearsed(params, folder)
        _make_private(params["work_dir"])
        _make_private(folder)
        found = _try_all(params, folder, program, end)
    except SideFailed as error:
        raise _refused("no_room" if error.code == "no_room" else "bad_input", str(error)) from None
    except CopyRefused as error:
        raise _refused(error.code, error.text) from None
    except OSError as error:
        raise _refused("no_room" if is_full(error) else "bad_input", "%s: %s" % (one_line(folder, 80), error.strerror)) from None
    except OutOfTime:
        raise _refused("state_not_handled", "ran out of time examining the data; raise redis_recovery_deadlines") from None
    return dict(found, changed=True, stage=params["stage"], seconds=round(time.monotonic() - begun, 3))


def _refused(code: str, text: str, **more: t.Any) -> StepError:
    return StepError(text, code=code, reasons=[reason(code, text)], **more)


def _judge_places(params: Params) -> str:
    """Return the directory of the run. Raises StepError for unusable places."""
    run_id = re.sub(r"[^\w.-]", "", params["run_id"]).strip(".")[:60]
    if not run_id:
        raise _refused("bad_input", "run_id must contain letters or digits")
    if not os.path.isabs(params["work_dir"]):
        raise _refused("bad_input", "the work directory must be an absolute path: set redis_recovery_rescue_dir")
    if not params["data_dir"] and not params["alive"]:
        raise _refused("bad_input", "the data directory is not known: set redis_recovery_data_dir")
    if params["data_dir"]:
        work, data = os.path.realpath(params["work_dir"]), os.path.realpath(params["data_dir"])
        if os.path.commonpath([work, data]) in (work, data):
            raise _refused("bad_input", "the work directory and the data directory must not overlap: set redis_recovery_rescue_dir")
    return os.path.join(params["work_dir"], run_id)


def _rehearsed(params: Params, folder: str) -> Result:
    say = ["would copy %s to %s and try every candidate made from it" % (one_line(params["data_dir"], 80), one_line(folder, 80))]
    none = {"name": "", "superset": False, "certain": False, "by": "person", "loss": {}, "why": "nothing was tried"}
    return {
        "changed": True, "copy": {}, "verdict": "", "candidates": [], "choice": none, "plans": [], "table": [], "seconds": 0.0,
        "stage": params["stage"], "say": say,
    }  # fmt: skip


def _make_private(path: str) -> None:
    """Create a directory (0700), or check that the existing one is ours and closed to others. Raises StepError."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        facts = os.lstat(path)
    except OSError as error:
        code = "no_room" if is_full(error) else "bad_input"
        raise _refused(code, "cannot create the work directory %s: %s" % (one_line(path, 80), error.strerror)) from None
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise _refused("bad_input", "the work directory %s must be a directory with mode 0700 that belongs to us" % one_line(path, 80))


def _try_all(params: Params, folder: str, program: str, end: float) -> Result:
    copy, judged, recipes, notes = _from_files(params, folder, end)
    notes = notes + _older_writer(copy, version_of(program)) + _not_tried(params)
    owner = _owner(params["data_dir"]) or (os.geteuid(), os.getegid())
    bench = Bench(program, folder, owner, end, params["known_keys"] or [], {}, time.time() + params["timeout"])
    candidates: list[Facts] = []
    for recipe in recipes + _backups(params, end):
        if not {one["name"] for one in candidates if not one["error"]} & set(recipe.unless):
            candidates.append(tried(bench, recipe))
    servers = _servers(params, bench)
    candidates += servers["candidates"]
    if copy and not candidates and judged.get("verdict") == "empty":
        # There is nothing to repair. Otherwise Redis would stay down whatever a person decides.
        candidates.append(tried(bench, sources.without_data({"files": copy["sha256"]})))
    params = dict(params, last_known_keys=judged.get("due", params["last_known_keys"]), missing_writes=judged.get("missing_writes"))
    options = dict(
        params,
        snapshots=_is_snapshot(judged, params),
        unsaved=params["unappended"].get("unsaved"),
        verdict=judged.get("verdict", ""),
        emptied=_emptied(candidates, servers, params),
        crooked=_crooked(judged),
    )
    found = {"copy": _short(copy), "verdict": judged.get("verdict", ""), "judged": judged.get("files") or [], "notes": notes}
    if all(one["error"] for one in candidates):
        raise _none(candidates, found, judged)
    _doubt(candidates, judged)
    _relate(bench, candidates, options)
    for one in candidates:
        # While the server runs, every write changes its files and what the others lack.
        one["moves"] = bool(one["moves"] or params["alive"])
    return dict(found, **_result(params, candidates, options, found))


def _is_snapshot(judged: t.Mapping[str, t.Any], params: Params) -> bool:
    """Return whether the files of a stopped server are a dump, which lacks what was written after it."""
    return judged.get("source") == "rdb" and not params["alive"]


def _doubt(candidates: list[Facts], judged: t.Mapping[str, t.Any]) -> None:
    """Doubt every candidate if the newest data cannot be loaded: nothing shows what the others lack."""
    if judged.get("verdict") == "outdated" and not any(kind_of(one["name"]) in BESIDE and not one["error"] for one in candidates):
        for one in candidates:
            one["doubt"] = one["doubt"] or "values"


def _from_files(params: Params, folder: str, end: float) -> tuple[dict[str, t.Any], dict[str, t.Any], list[Recipe], list[str]]:
    """Copy the data directory and judge the copy. Return (copy, judgement, recipes, notes). Raises CopyRefused, OutOfTime."""
    if not params["data_dir"]:
        return {}, {}, [], []
    copy = copy_tree(params["data_dir"], os.path.join(folder, "copy"), end, live=params["alive"])
    judged = judge_data(copy["path"], params["settings"], max(1.0, end - time.monotonic()))
    log = params["unappended"]
    judged = with_saves(judged, copy["path"], params["settings"], float(log.get("at") or 0), str(log.get("why") or ""))
    known = params["last_known"]
    contents = load_contents(copy["path"], params["settings"], judged, int(known.get("bytes") or 0), end - time.monotonic())
    judged["missing_writes"] = contents.get("missing_writes")
    judged["due"] = due_at_start(params["last_known_keys"], known, contents, float(params["empty_below_share"]))
    recipes, notes = recipes_of(copy["path"], judged, params["settings"], end)
    # A running server keeps changing its files: no plan can be bound to them.
    binds = {} if params["alive"] else {"files": copy["sha256"]}
    return copy, judged, [one._replace(binds=binds) for one in recipes], notes


def _older_writer(copy: t.Mapping[str, t.Any], ours: tuple[int, int]) -> list[str]:
    """Return a note if an older Redis than the side instances wrote the data: it cannot load what they save."""
    for one in copy.get("files") or []:
        if one["name"].endswith(".rdb") and one["bytes"]:
            with open_plain(os.path.join(copy["path"], one["name"])) as file:
                version = version_in(file.read(HEAD_BYTES))
            if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) < ours[0]:
                text = "%s was written by Redis %s, candidates are saved by %d.%d: if the server is older, set redis_recovery_server"
                return [one_line(text % (one_line(one["name"], 60), version, *ours), 240)]
    return []


def _owner(data_dir: str) -> t.Optional[tuple[int, int]]:
    try:
        facts = os.stat(data_dir) if data_dir else None
    except OSError:
        return None
    return (facts.st_uid, facts.st_gid) if facts else None


def _named(params: Params) -> list[str]:
    """Return the backups that the patterns name, each once."""
    return list(dict.fromkeys(path for pattern in params["backups"] or [] for path in sorted(glob.glob(pattern)) or [pattern]))


def _not_tried(params: Params) -> list[str]:
    """Return a note for backups and replicas beyond those that are tried: the best may be among them."""
    backups, replicas = len(_named(params)), len(params["replicas"] or [])
    notes = []
    if backups > MOST_BACKUPS:
        notes.append("only the %d latest of %d backups are tried: name others in redis_recovery_backups" % (MOST_BACKUPS, backups))
    if replicas > MOST_REPLICAS:
        notes.append("only the first %d of %d replicas are tried: redis_recovery_replicas says which" % (MOST_REPLICAS, replicas))
    return notes


def _backups(params: Params, end: float) -> list[Recipe]:
    """Return the recipes for the given backups (a * matches several) and for earlier rescue copies, latest first."""
    rescues = glob.glob(os.path.join(glob.escape(params["work_dir"]), "redis-*.rdb"))
    made = []
    for stem, paths, most in (("backup", _named(params), MOST_BACKUPS), ("rescue", rescues, MOST_RESCUES)):
        latest = sorted(paths, key=lambda path: (-_mtime(path), path))[:most]
        made += [sources.from_file("%s_%d" % (stem, number), path, end) for number, path in enumerate(latest, 1)]
    return made


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _servers(params: Params, bench: Bench) -> dict[str, t.Any]:
    """Return {candidates, emptied} of the running servers: this one, if it runs, and its replicas."""
    found: list[Facts] = []
    emptied = False
    if params["alive"]:
        live, facts = sources.from_server("live", params, bench)
        emptied = sources.was_emptied(facts)
        found.append(live)
    for number, replica in enumerate((params["replicas"] or [])[:MOST_REPLICAS], 1):
        asked = {name: replica.get(name) or spec.get("default") for name, spec in REACH.items()}
        if not asked["password"] and not asked["password_file"]:
            asked.update({name: params[name] for name in ("username", "password", "password_file")})
        found.append(sources.from_server("replica_%d" % number, dict(asked, timeout=params["timeout"]), bench)[0])
    return {"candidates": found, "emptied": emptied}


def _emptied(candidates: list[Facts], servers: dict[str, t.Any], params: Params) -> bool:
    """Return whether the server's counters or the end of its files show a command that empties a database; drop a stale one."""
    flush = next((one for one in candidates if one["name"] == "before_flush"), None)
    if flush is None or flush["error"]:
        return bool(servers["emptied"])
    after = max((one["keys"] for one in candidates if one["lineage"] == "files" and one is not flush and not one["error"]), default=0)
    usual = params["last_known_keys"] if params["last_known_keys"] > 0 else flush["keys"]
    # An emptied Redis keeps running: what clients added since does not make the flush stale.
    if not params["alive"] and after >= usual * params["empty_below_share"]:
        # Enough was written after it: it is history, not today's mistake.
        candidates.remove(flush)
        return bool(servers["emptied"])
    return True


def _crooked(judged: t.Mapping[str, t.Any]) -> str:
    """Return what is wrong with an existing manifest, "" for nothing."""
    return next((str(one["detail"]) for one in judged.get("files") or [] if one["kind"] == "manifest" and one["verdict"] == "damaged"), "")


def _relate(bench: Bench, candidates: list[Facts], options: t.Mapping[str, t.Any]) -> None:
    """Fill in how the candidates relate to each other, and what each would lose."""
    related(candidates, bench.prints, {one["name"] for one in current(candidates, options)})
    compared(candidates, bench.prints, ordered(candidates, options)[0]["name"])
    for one in candidates:
        one["loss"] = loss_of(one, candidates, options) if not one["error"] else {}


def _result(params: Params, candidates: list[Facts], options: t.Mapping[str, t.Any], found: Result) -> Result:
    choice = choice_of(candidates, options)
    best = ordered(candidates, options)
    rows = best + [one for one in candidates if one["error"]]
    copied = found["copy"]
    say = ["copied %d files, %d bytes, to %s" % (copied["count"], copied["bytes"], one_line(copied["path"], 80))] if copied else []
    say += found["notes"] + ["%s: %s" % (one["name"], _sentence(one)) for one in rows]
    who = "chosen by policy" if choice["by"] == "policy" else "a person must choose; recommended"
    say.append("%s: %s, %s" % (who, choice["name"], choice["why"]))
    return {
        "candidates": [{key: one[key] for key in SHOWN} for one in rows], "choice": choice, "plans": plans_of(candidates, options),
        "table": table_of(candidates, options), "say": [one_line(line, 240) for line in say],
    }  # fmt: skip


def _sentence(one: t.Mapping[str, t.Any]) -> str:
    if one["error"]:
        return "does not load: %s" % one["error"]
    detail = "; %s" % one["detail"] if one["detail"] else ""
    return "%d keys in %.1f s%s" % (one["keys"], one["seconds"], detail)


def _short(copy: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the facts of a copy without the list of files, which is in its manifest."""
    if not copy:
        return {}
    return dict({key: copy[key] for key in ("path", "bytes", "sha256", "consistent")}, count=len(copy["files"]))


def _none(candidates: list[Facts], found: Result, judged: dict[str, t.Any]) -> StepError:
    errors = ["%s does not load: %s" % (one["name"], one["error"]) for one in candidates]
    if any("are free" in one["error"] for one in candidates):
        return _refused("no_room", "no candidate could be tried: %s" % errors[0], **found)
    code = "data_missing" if judged.get("verdict") == "empty" and not candidates else "data_damaged"
    text = "found no data that Redis could load: set redis_recovery_backups or redis_recovery_replicas"
    shown = [{key: one[key] for key in SHOWN} for one in candidates]
    return _refused(code, text, candidates=shown, say=[one_line(line, 240) for line in found["notes"] + errors], **_without_notes(found))


def _without_notes(found: Result) -> Result:
    return {key: value for key, value in found.items() if key != "notes"}
