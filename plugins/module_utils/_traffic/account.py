# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hold what a balancer sent against what was answered, and the share that servers got against the share that was meant. Pure.

A request can end in more ways than an answer: it waits, in a queue or at a server; its client gives up; its connection breaks. Each place
where the balancer counts is part of the account, so that a request that never comes back does not count as one that went well.
"""

from __future__ import annotations

import math
import typing as t

Counted = t.Mapping[str, int]
Account = t.Dict[str, t.Any]
# Numbers that only grow until they are reset. sent: requests given to a server (sessions in TCP mode); answered: final answers;
# good: 2xx; rejected: 4xx; upgraded: 1xx; failed: 5xx and refused connections; closed: ended by the server without a whole answer; cut: of
# those, in the middle of one; refused: connections that failed, of the failed; aborted: given up by the client.
GROWING = ("sent", "answered", "good", "rejected", "upgraded", "failed", "refused", "closed", "cut", "aborted")
# Numbers of this moment. open: requests at a server; queued: requests that wait for one.
MOMENT = ("open", "queued")
# Percentage points, and standard deviations, by which a share reached may miss the share meant.
POINTS, DEVIATIONS = 2.0, 3.3


def grown(begin: Counted, end: Counted) -> dict[str, int]:
    """Return what each number grew by; numbers that were reset in between count from zero."""
    reset = any(end[key] < begin[key] for key in GROWING)
    return {key: end[key] - (0 if reset and key in GROWING else begin[key]) for key in (*GROWING, *MOMENT)}


def account_of(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any], names: t.Sequence[str]) -> t.Optional[Account]:
    """Return what became of the requests between two states of a pool, of the servers *names*; None if the balancer does not count.

    {sent, errors, good, rejected, aborted, upgraded, more}: more is how many more requests are open or queued than at the beginning.
    What failed, or was given up, before it got a server (in the queue of the pool) is part of it.
    """
    before = {one["name"]: one["counted"] for one in begin["servers"] if one["counted"]}
    deltas = {one["name"]: grown(before.get(one["name"], one["counted"]), one["counted"]) for one in end["servers"] if one["counted"]}
    mine = [deltas[name] for name in names if name in deltas]
    if not mine:
        return None
    total = {key: sum(one[key] for one in mine) for key in (*GROWING, *MOMENT)}
    unplaced = _unplaced(begin.get("whole"), end.get("whole"), list(deltas.values()))
    # What ended with no answer at all: the client gave up, or the connection broke, which is counted once or twice by version.
    silent = sum(max(0, one["sent"] - one["open"] - one["answered"] - one["refused"]) for one in mine)
    broken = max(min(total["closed"], silent + total["cut"]), (total["closed"] + 1) // 2)
    return {
        "sent": total["sent"] + unplaced["refused"] + unplaced["aborted"] + max(0, total["queued"] + unplaced["queued"]),
        "errors": total["failed"] + broken + unplaced["refused"],
        "good": total["good"], "rejected": total["rejected"], "upgraded": total["upgraded"],
        "aborted": total["aborted"] + unplaced["aborted"],
        "more": total["open"] + total["queued"] + unplaced["queued"],
    }  # fmt: skip


def _unplaced(begin: t.Optional[Counted], end: t.Optional[Counted], servers: t.Sequence[Counted]) -> dict[str, int]:
    """Return what the pool counted by itself: requests that no server ever got."""
    if not begin or not end:
        return {"refused": 0, "aborted": 0, "queued": 0}
    pool = grown(begin, end)
    own = {key: max(0, pool[key] - sum(one[key] for one in servers)) for key in ("refused", "aborted")}
    return dict(own, queued=pool["queued"])


def waiting(state: t.Mapping[str, t.Any], names: t.Sequence[str]) -> t.Optional[int]:
    """Return how many requests are open at the servers *names*, or queued, now; None if the balancer does not say."""
    known = [one for one in state["servers"] if one["name"] in names]
    if not known or any(one["sessions"] is None for one in known):
        return None
    queued = sum((one["counted"] or {}).get("queued", 0) for one in known) + (state.get("whole") or {}).get("queued", 0)
    return int(sum(one["sessions"] for one in known) + queued)


def overdue(more: int, sent: int, seconds: float, patience: float) -> float:
    """Return how many of the *more* open requests are not explained by *sent* requests in *seconds*, each of which may take *patience*."""
    usual = sent / max(seconds, 0.1) * patience
    return max(0.0, more - usual - 3 - 2 * math.sqrt(usual))


def reached(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any], names: t.Sequence[str]) -> tuple[t.Optional[float], int]:
    """Return the share, in percent, that the servers *names* got of all that the pool's servers got, and of how many."""
    before = {one["name"]: one["counted"] for one in begin["servers"] if one["counted"]}
    sent = {one["name"]: grown(before.get(one["name"], one["counted"]), one["counted"])["sent"] for one in end["servers"] if one["counted"]}
    every = sum(max(0, one) for one in sent.values())
    mine = sum(max(0, sent[name]) for name in names if name in sent)
    return (100.0 * mine / every if every else None), every


def tolerance(share: float, number: int) -> float:
    """Return by how many percentage points the share of *number* requests may miss *share*."""
    part = min(max(share / 100.0, 0.0), 1.0)
    return POINTS + DEVIATIONS * 100.0 * math.sqrt(part * (1 - part) / max(number, 1))
