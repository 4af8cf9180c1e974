# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run on a database reports about itself: what it proved, what it lost, and the command that takes it back. Pure functions.

A play may run a role twice for one host, and what the first run registered is still there in the second. So each result carries the
``run_id`` of the run that made it, and only the results of this run count.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.command import module_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.durability import COMMITS, KEYS, judge_loss
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.left import reserve_gone

Raw = t.Mapping[str, t.Any]

NOTHING = "nothing to put back"
CUTOVER = "postgresql_cutover"
# Directories of the cluster, wherever they are; and no path that climbs.
_CLUSTER = re.compile(r"[.][.]/|/pg_|/base/|/global/")


def of_run(result: t.Any, run_id: str) -> Raw:
    """Return *result* where the run *run_id* registered it, {} otherwise."""
    return result if isinstance(result, dict) and run_id and result.get("run_id") == run_id else {}


# Recovery ----------------------------------------------------------------------------------------


def seen(probe: Raw, before: Raw, known: Raw) -> dict[str, t.Any]:
    """Return {is_well, text, start_is_blocked, verified, loss} of the last look.

    ``is_well`` is about PostgreSQL alone, not what uses it. *before*: the look before the first act; *known*: what the ledger remembers.
    """
    checks = [check for check in probe.get("checks") or [] if check.get("name") == "postgresql"]
    findings = checks[0].get("findings") if checks else []
    return {
        "is_well": any(check.get("health") == "well" for check in checks),
        "text": findings[0]["text"] if findings else "the state of PostgreSQL is unknown",
        "start_is_blocked": _start_is_blocked(probe),
        "verified": _verified(probe),
        "loss": judge_loss((probe.get("facts") or {}).get("durable") or {}, _ended(before), known),
    }


def _ended(before: Raw) -> Raw:
    """Return how the cluster had run before it went down, or what it said while it ran, {} for unknown."""
    facts = before.get("facts") or {}
    return facts.get("ended") or facts.get("durable") or {}


def _start_is_blocked(probe: Raw) -> bool:
    """Return whether the cause that keeps PostgreSQL from starting is still there."""
    actions = set(probe.get("actions") or [])
    only_starts = "start" in actions and actions <= {"reset_failed", "start"}
    is_down = str(probe.get("state") or "").startswith(("down_", "pid_"))
    return probe.get("health") == "sick" and is_down and not only_starts


def _verified(probe: Raw) -> dict[str, t.Any]:
    if probe.get("health") != "well" or probe.get("facts") is None:
        return {}
    identity = probe.get("identity") or {}
    durable = probe["facts"].get("durable") or {}
    verified: dict[str, t.Any] = {"system_identifier": identity.get("system_identifier"), "timeline": probe["facts"].get("timeline")}
    if durable.get("lsn"):
        verified["lsn"] = durable["lsn"]
    if durable.get("fsync"):
        verified["durable"] = {key: durable.get(key) for key in (*KEYS, "off_for")}
    if probe["facts"].get("config_loaded_at"):
        verified["config_loaded_at"] = probe["facts"]["config_loaded_at"]
    proven = (probe["facts"].get("checksums") or {}).get("proven")
    return {"postgresql": dict(verified, pages_proven=proven) if proven else verified}


def pages_proven(last: Raw, scope: t.Any, rebuilt: t.Any, run_id: str) -> dict[str, float]:
    """Return {database: time of the last check of all pages that found nothing}: what the ledger remembers, and what this run proved."""
    found = dict((last or {}).get("pages_proven") or {})
    for result in (scope, rebuilt):
        found.update(of_run(result, run_id).get("proven") or {})
    return found


def only_counted(probe: Raw, scope: Raw) -> bool:
    """Return whether nothing but the server's counter speaks of damage, and a check of all that could be damaged found none."""
    checks = [check for check in probe.get("checks") or [] if check.get("name") == "postgresql"]
    sick = {str(one.get("name")) for check in checks for one in check.get("findings") or [] if one.get("state") == "sick"}
    return scope.get("verdict") == "none" and not scope.get("unchecked") and bool(scope.get("proven")) and sick == {"state", "checksums"}


def recovery_outcome(acts: Raw, run_id: str, data_dir: str, service: Raw) -> dict[str, t.Any]:
    """Return {put_back, undo, left}: the acts of this run that left something to put back, and the commands that do it.

    *acts*: ``restore_config`` and ``move_pid_aside`` as the step returned them, ``fix_permission`` with ``files`` as they were before
    and the ``record`` of all of them, ``make_room`` with the ``files`` that it deleted.
    """
    config, aside, access = (of_run(acts.get(name), run_id) for name in ("restore_config", "move_pid_aside", "fix_permission"))
    undo: dict[str, list[str]] = {}
    if config.get("changed"):
        undo["restore_config"] = [_on_target("mv", config["broken"], config["file"])]
    if aside.get("changed"):
        # A live server has a lock file of its own by now, so it has to be down.
        stop = module_on("service_control", dict(service, action="stop"))
        undo["move_pid_aside"] = [stop, _on_target("mv", aside["aside"], data_dir + "/postmaster.pid")]
    if access.get("files"):
        back = {"action": "put_access_back", "data_dir": data_dir, "record": access.get("record")}
        few = [command for file in access["files"] for command in _access_of(file)]
        undo["fix_permission"] = [module_on("postgresql_admin", back)] if access.get("record") else few
    room = of_run(acts.get("make_room"), run_id)
    deleted = room.get("files") or []
    return {
        "put_back": list(undo),
        "undo": " && ".join(text for texts in undo.values() for text in texts) or NOTHING,
        "left": [reserve_gone(deleted, room.get("bytes"))] if deleted else [],
    }


def _on_target(*words: str) -> str:
    return module_on("ansible.builtin.command", {"argv": list(words)})


def _access_of(file: Raw) -> list[str]:
    owners = "%s:%s" % (file["owner"], file["group"])
    return [_on_target("chown", owners, str(file["path"])), _on_target("chmod", str(file["mode"]), str(file["path"]))]


def not_to_remove(files: t.Sequence[Raw], own: t.Sequence[str]) -> list[str]:
    """Return which of *files* ({item, stat} as the stat module returns them) are no regular file or may be the cluster's, below *own*."""
    inside = tuple(folder + "/" for folder in own)
    wrong = [file["item"] for file in files if _is_special(file.get("stat") or {})]
    wrong += [file["item"] for file in files if file["item"].startswith(inside) or _CLUSTER.search(file["item"])]
    return list(dict.fromkeys(wrong))


def _is_special(stat: Raw) -> bool:
    return bool(stat.get("exists")) and not stat.get("isreg")


# Restore -----------------------------------------------------------------------------------------

WAS_NOT_SWAPPED = "the directories from before are back in their places"
RESTORE_HARMLESS: Raw = {
    **dict.fromkeys(("restore_beside", "promote", "backup"), "the restored data lie beside the database, which was not changed"),
    "insert_missing": "rows were only added: those that were there stay as they were",
}


def restore_outcome(acts: Raw, run_id: str, interrupted: Raw) -> dict[str, t.Any]:
    """Return {done, plan, folder, put_back, loss, harmless} of a restore.

    *acts*: done, restored, approved, inserted, swapped and back, as registered; *interrupted*: the swap of a dead run that
    this one finishes.
    ``put_back`` is the mode to take back ("" for none), ``plan`` what was approved, ``folder`` where the restored data are.
    """
    names = ("done", "restored", "inserted", "swapped", "back")
    done, restored, inserted, swapped, back = (of_run(acts.get(name), run_id) for name in names)
    put_back = _to_put_back(swapped, inserted, back)
    return {
        "done": dict(done),
        "plan": _approved_plan(restored, acts.get("approved"), run_id),
        "folder": restored.get("folder") or interrupted.get("folder") or "",
        "put_back": put_back,
        "loss": _loss_of_swap(swapped, interrupted) if put_back == "swap" else {},
        # Once it was begun, a swap that did not say how it ended may have lost what its plan says.
        "harmless": {**RESTORE_HARMLESS, **({"swap": WAS_NOT_SWAPPED} if back.get("moved") else {})},
    }


def _approved_plan(restored: Raw, approved: t.Any, run_id: str) -> Raw:
    guard = approved if isinstance(approved, dict) and of_run(approved.get("run"), run_id) else {}
    name = (guard.get("verdict") or {}).get("plan")
    return next((plan for plan in restored.get("plans") or [] if plan["name"] == name), {})


def _to_put_back(swapped: Raw, inserted: Raw, back: Raw) -> str:
    if swapped.get("before_dir") and not back.get("moved"):
        return "swap"
    return "insert_missing" if (inserted.get("inserted") or 0) > 0 and not back.get("changed") else ""


def _loss_of_swap(swapped: Raw, interrupted: Raw) -> dict[str, t.Any]:
    """A swap that a dead run began has its loss in its own journal."""
    written = (interrupted.get("about") or {}).get("loss")
    return dict(swapped.get("loss") or {} if written is None else written)


COMPARED = "the rows of both databases were compared, and the write-ahead log shows none written after that"


def restore_about(plan: Raw, compared: Raw, target: str) -> dict[str, t.Any]:
    """Return what the journal of a swap keeps: the rows that only live had, counted right before its stop, else as the plan said.

    Without a plan the count is unknown (None).
    """
    planned = plan.get("loss") or {}
    is_compared = compared.get("extra") is not None
    # What the plan could not see (other databases, large objects), no later look saw either.
    is_whole = is_compared and planned.get("count") is not None and bool(compared.get("exact"))
    count = compared["extra"] + compared["differing"] if is_whole else None if is_compared else planned.get("count")
    # What live wrote since the plan was made is in no count.
    exact = is_whole and planned.get("exact")
    text = "the database went back to %s; the rows written since then are only in the kept directory" % target
    loss = {"count": count if plan else None, "unit": "rows", "exact": bool(plan and exact), "approved": True, "text": text}
    return {"loss": dict(loss, witness=COMPARED if loss["exact"] else "")}


def restore_verified(probe: Raw, done: Raw, target: str, stanza: str) -> dict[str, t.Any]:
    """Return what is remembered of a restore that was proven, {} for any other look."""
    if probe.get("stage") != "verify" or probe.get("health") != "well":
        return {}
    return {"database_restore": {"target": target, "stanza": stanza, "mode": done.get("mode")}}


def restore_undo(outcome: Raw, run_id: str, reach: Raw, kept: str, service: Raw) -> str:
    """Return the command that takes a restore back; data written since a swap are then in its folder. *service*: PostgreSQL's own."""
    folder = outcome["folder"]
    if outcome["put_back"] == "swap":
        put_back = module_on(CUTOVER, {"mode": "swap", "state": "put_back", "folder": folder, "run_id": run_id})
        stop, start = (module_on("service_control", dict(service, action=action)) for action in ("stop", "start"))
        return " && ".join([stop, put_back, start])
    if outcome["put_back"] == "insert_missing":
        more = {"mode": "insert_missing", "state": "put_back", "folder": folder, "kept_file": kept, "run_id": run_id}
        return module_on(CUTOVER, dict(reach, **more))
    return NOTHING


# Unblock -----------------------------------------------------------------------------------------


def unblock_outcome(done: t.Any, run_id: str) -> dict[str, t.Any]:
    """Return {ended, loss, harmless, undo} of the sessions that this run ended, as the step returned them."""
    sessions = of_run(done, run_id).get("sessions") or []
    ended = sum(session.get("done") in ("cancelled", "terminated", "still_blocking") for session in sessions)
    if not ended:
        return {"ended": 0, "loss": {}, "harmless": {"unblock": "no session was ended"} if of_run(done, run_id) else {}, "undo": NOTHING}
    text = "no committed work was lost; the uncommitted work of %d blocking transactions was rolled back, and their clients got an error"
    loss = {"count": 0, "exact": True, "unit": COMMITS, "witness": text % ended}
    undo = "a cancelled statement or a terminated session cannot be put back; its client got SQLSTATE 57014 or 57P01 and may retry"
    return {"ended": ended, "loss": loss, "harmless": {}, "undo": undo}
