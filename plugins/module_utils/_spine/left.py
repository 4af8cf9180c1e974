# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is still held, paused, stopped or turned off when a run ends: {what, text, command} of each. Plain data in and out, never raises.

It comes from three places: the open obligations of the ledger, what the remedy passes, and what the last look reports as ``facts.left``.
Commands may have the placeholders of `reasons.with_commands`.
"""

from __future__ import annotations

import json
import shlex
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.command import module_on
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.guard import PASSIVE

Left = t.Dict[str, str]
Rows = t.Sequence[t.Mapping[str, t.Any]]
# What a remedy or a look reports is kept in the ledger under this kind, so that later runs and reconcile know it too.
REPORTED = "left/"
NOTHING = "nothing to put back"
HELD = "the service manager may still be kept from starting %s by itself"
UNREAD = {
    "what": "unknown",
    "text": "the ledger could not be read at the end, so what this run still holds, paused or stopped is unknown",
    "command": "{history}",
}


def entries(given: t.Any) -> list[Left]:
    """Return what is *given* as a list of {what, text, command}; a sentence alone counts too, anything else is shown as it is."""
    if given in (None, "", (), [], {}):
        return []
    return [_entry(one) for one in (given if isinstance(given, (list, tuple)) else [given]) if one not in (None, "", [], {})]


def _entry(one: t.Any) -> Left:
    known = one if isinstance(one, t.Mapping) else {"text": one}
    text = one_line(redact(str(known.get("text") or known.get("what") or json.dumps(one, default=str))), 400)
    what = one_line(known.get("what") or "left", 60)
    return {"what": what, "text": text, "command": one_line(redact(str(known.get("command") or "")), 4000)}


def reported(look: t.Mapping[str, t.Any]) -> t.Optional[list[Left]]:
    """Return what the checks of a look report as left (``facts.left``), None where no check says anything about it."""
    checks = [one for one in [look, *(look.get("checks") or [])] if isinstance(one, t.Mapping)]
    facts = [one["facts"] for one in checks if isinstance(one.get("facts"), t.Mapping)]
    said = [entries(one["left"]) for one in facts if one.get("left") is not None]
    return merged(*said) if said else None


def of_obligation(row: t.Mapping[str, t.Any], run_id: str = "") -> Left:
    """Return how an open obligation of the ledger is shown; *run_id*: the run that shows it, whose own it need not name."""
    body = row.get("body") or {}
    own = entries(body.get("left") or [])
    name = (body.get("vars") or {}).get("service_manager_name") or row["component"]
    text = own[0]["text"] if own else HELD % name if row["kind"] == "service_manager" else "%s of %s" % (row["kind"], row["component"])
    text += " (since %s%s)" % (_clock(row["begun_at"]), "" if row["run_id"] == run_id else ", run %s" % row["run_id"])
    text += "; reconcile.yml ends it after %s" % _clock(row["ends_at"]) if row.get("ends_at") else ""
    what = str(row["kind"])[len(REPORTED) :] if str(row["kind"]).startswith(REPORTED) else str(row["kind"])
    return {"what": what, "text": text, "command": (own[0]["command"] if own else "") or _command(row, body)}


def _command(row: t.Mapping[str, t.Any], body: t.Mapping[str, t.Any]) -> str:
    """Return what ends an obligation that names no command: a hold by its manager; the rest by reconcile, now or as marked by a person."""
    manager = str(body.get("tasks_from") or "").partition("/")[0]
    if row["kind"] != "service_manager" or not manager:
        return (
            "{reconcile}"
            if row.get("ends_at")
            else "{reconcile} -e " + shlex.quote(json.dumps({"remediation_settled": [row.get("id", 0)]}))
        )
    options = {key[len("service_manager_") :]: value for key, value in (body.get("vars") or {}).items() if value}
    options.update(manager=manager, action="release")
    return "{ansible} -m somabrain.incident_response.service_control -a " + shlex.quote(json.dumps(options, sort_keys=True))


def _clock(at: t.Optional[float]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at or 0))


def acts_of(dead: t.Mapping[str, t.Any]) -> list[str]:
    """Return the acts that a dead run {begun} began; a wait is none."""
    return [str(action) for action in dead.get("begun") or [] if action not in PASSIVE]


def of_dead_run(dead: t.Mapping[str, t.Any]) -> list[Left]:
    """Return what a dead run began {run_id, owner, begun} and nobody has put back since; [] where it began nothing."""
    begun = acts_of(dead)
    if not begun:
        return []
    text = "run %s of %s died after it began %s; it put nothing back: a file that it replaced or moved aside has %s in its name"
    words = (dead.get("run_id"), dead.get("owner"), ", ".join(begun), dead.get("run_id"))
    return [{"what": "dead_run", "text": one_line(redact(text % words), 400), "command": "{history}"}]


def merged(*lists: t.Iterable[Left]) -> list[Left]:
    """Return the entries of all lists, each once."""
    return list({(one["what"], one["text"]): one for some in lists for one in some}.values())


def all_left(owed: Rows, passed: t.Any, look: t.Mapping[str, t.Any], run_id: str, *, recovered: bool) -> list[Left]:
    """Return all that is left: what the remedy *passed*, what the last *look* reports, and the open obligations *owed*."""
    said = merged(entries(passed), reported(look) or [])
    over = to_keep(owed, passed, look, recovered=recovered)[1]
    known = {one["what"] for one in said}
    still = [of_obligation(row, run_id) for row in owed if row["kind"] not in over]
    return said + [one for one in still if one["what"] not in known]


def to_keep(owed: Rows, passed: t.Any, look: t.Mapping[str, t.Any], *, recovered: bool) -> tuple[list[Left], list[str]]:
    """Return (reported entries that the ledger does not have yet, kinds in the ledger that are over).

    What was reported earlier is over once a look that reports such things, or a remedy that acted and *recovered*, does not list it.
    """
    kinds = {str(row["kind"]) for row in owed}
    said = reported(look)
    now = merged(entries(passed), said or [])
    over = {kind for kind in kinds if kind.startswith(REPORTED)} - {REPORTED + one["what"] for one in now}
    knows = said is not None or (passed is not None and recovered)
    return [one for one in now if not kinds & {one["what"], REPORTED + one["what"]}], sorted(over) if knows else []


def reserve_gone(paths: t.Sequence[str], size: t.Any = 0) -> dict[str, str]:
    """Return what is left when files were deleted for room: nothing more can be given up. The command makes *size* bytes again."""
    text = "what was given up for room is gone: %s; make it again, or nothing can be given up next time" % ", ".join(map(str, paths))
    again = module_on("ansible.builtin.command", {"argv": ["fallocate", "-l", str(int(size or 0) or "1G"), str(paths[0])]})
    return {"what": "reserve_gone", "text": text, "command": again}


def undo_beside(undo: str, left: t.Sequence[Left]) -> str:
    """Return the undo of a run; "nothing to put back" is not said where something is left."""
    return "" if left and undo.strip().rstrip(".").lower().startswith(NOTHING) else undo
