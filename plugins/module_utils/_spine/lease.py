# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judgement over leases: who may act on (host, component) now. Plain data in, verdict out."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason

Verdict = t.Dict[str, t.Any]


def judge_lease(
    held: t.Optional[t.Mapping[str, t.Any]],
    *,
    now: float,
    processes: t.Sequence[int] = (),
    controller_dead: bool = False,
    takeover: bool = False,
) -> Verdict:
    """Return {take: bool, proof: str, reason: dict | None} for a lease that is *held* (or None).

    processes: living processes of the holder on this machine; controller_dead: its controller is provably gone;
    takeover: a person ordered it. A run is provably dead when none of its processes is alive here and either its lease
    has expired, or its controller is gone and the deadline of its last act has passed.
    """
    if held is None:
        return {"take": True, "proof": "", "reason": None}
    if takeover:
        return {"take": True, "proof": "taken over on a person's order", "reason": None}
    if not processes and now >= held["ends_at"]:
        return {"take": True, "proof": "its lease expired and none of its processes is alive on the keeper", "reason": None}
    if processes or not controller_dead:
        return {"take": False, "proof": "", "reason": _held_by(held, now, processes)}
    if held["acting_until"] and now < held["acting_until"]:
        left = round(held["acting_until"] - now, 1)
        text = "run %s died during %s; its act may continue for another %s s" % (held["run_id"], held["phase"], left)
        return {"take": False, "proof": "", "reason": reason("dead_run_acting", text, retry_after=left)}
    return {"take": True, "proof": "its controller process is gone and none of its acts is still running", "reason": None}


def _held_by(held: t.Mapping[str, t.Any], now: float, processes: t.Sequence[int]) -> t.Dict[str, t.Any]:
    age, left = round(now - held["taken_at"]), max(0, round(held["ends_at"] - now))
    text = "run %s by %s has held the lease on %s of %s for %s s (now at %s); the lease ends in %s s unless renewed" % (
        held["run_id"], held["owner"], held["component"], held["host"], age, held["phase"], left,
    )  # fmt: skip
    if processes:
        text += "; its processes are alive on the keeper: %s" % ", ".join(map(str, processes))
    holder = {key: held[key] for key in ("run_id", "owner", "taken_at", "ends_at", "phase")}
    # By the act that holds it: a restoration can be stepped back by a word.
    act = str(held["phase"]).rpartition(" ")[2]
    return reason("lease_held", text, case="restore" if act == "restore" else "", holder=holder, retry_after=left)
