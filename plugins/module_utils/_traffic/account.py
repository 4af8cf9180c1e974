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
# Numbers that only grow until they are reset. sent: requests given to a server (sessions in TCP mode), each attempt; again: of those, the
# attempts that did not count; answered: final answers; good: 2xx; rejected: 4xx; upgraded: 1xx, a switch to another protocol or a word
# before the answer; failed: 5xx and refused connections; closed: ended by the server without a whole answer; cut: of those, in the
# middle of one; refused: connections that failed, of the failed; aborted: given up by the client; mute: ended with no status at all.
GROWING = ("sent", "again", "answered", "good", "rejected", "upgraded", "failed", "refused", "closed", "cut", "aborted", "mute")
# Numbers of this moment. open: requests at a server; queued: requests that wait for one.
MOMENT = ("open", "queued")
# Percentage points, and standard deviations, by which a share reached may miss the share meant.
POINTS, DEVIATIONS = 2.0, 3.3


def grown(begin: Counted, end: Counted) -> dict[str, int]:
    """Return what each number grew by; numbers that were reset in between count from zero.

    An attempt that is made again at another server may be counted twice as such, but what was answered was sent.
    """
    reset = any(end[key] < begin[key] for key in GROWING)
    more = {key: end[key] - (0 if reset and key in GROWING else begin[key]) for key in (*GROWING, *MOMENT)}
    return dict(more, sent=max(more["sent"] - more["again"], more["answered"] + more["refused"] if more["again"] else 0))


def account_of(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any], names: t.Sequence[str]) -> t.Optional[Account]:
    """Return what became of the requests between two states of a pool, of the servers *names*; None if the balancer does not count.

    {sent, errors, good, rejected, aborted, upgraded, interim, more}: more is how many more requests are open or queued than at the
    beginning; upgraded how many of them went on in another protocol; interim that some got a word before their answer, so that nobody
    knows how many did. What failed, was refused, or was given up, before it got a server, is part of it: no server counts that.
    """
    deltas = _deltas(begin, end)
    unplaced = _unplaced(begin.get("whole"), end.get("whole"), list(deltas.values()))
    own = of_servers(begin, end, names)
    if own is None:
        return None
    sent = sum(unplaced[key] for key in ("refused", "aborted", "failed", "rejected")) + max(0, own["queued"] + unplaced["queued"])
    return {
        "sent": own["sent"] + sent, "errors": own["errors"] + unplaced["refused"] + unplaced["failed"], "good": own["good"],
        "rejected": own["rejected"] + unplaced["rejected"], "upgraded": own["upgraded"], "interim": own["interim"],
        "aborted": own["aborted"] + unplaced["aborted"], "more": own["open"] + own["queued"] + unplaced["queued"],
    }  # fmt: skip


def of_servers(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any], names: t.Sequence[str]) -> t.Optional[Account]:
    """Return what became of the requests that the servers *names* got; None if the balancer does not count."""
    deltas = _deltas(begin, end)
    mine = [deltas[name] for name in names if name in deltas]
    if not mine:
        return None
    total = {key: sum(one[key] for one in mine) for key in (*GROWING, *MOMENT)}
    # What ended with no answer at all: the client gave up, or the connection broke, which is counted once or twice by version.
    silent = sum(max(0, one["sent"] - one["open"] - one["answered"] - one["refused"]) for one in mine)
    broken = max(min(total["closed"], silent + total["cut"]), (total["closed"] + 1) // 2)
    # A switch to another protocol is the last word of a server, so that there are no more of them than requests without an answer.
    last = max(0, total["sent"] - total["answered"] - total["refused"])
    interim = total["upgraded"] > last
    return dict(total, errors=total["failed"] + broken, interim=interim, upgraded=0 if interim else total["upgraded"])


def _deltas(begin: t.Mapping[str, t.Any], end: t.Mapping[str, t.Any]) -> dict[str, dict[str, int]]:
    before = {one["name"]: one["counted"] for one in begin["servers"] if one["counted"]}
    return {one["name"]: grown(before.get(one["name"], one["counted"]), one["counted"]) for one in end["servers"] if one["counted"]}


def _unplaced(begin: t.Optional[Counted], end: t.Optional[Counted], servers: t.Sequence[Counted]) -> dict[str, int]:
    """Return what the pool counted by itself: requests that no server ever got, and answers that the balancer gave itself."""
    if not begin or not end:
        return dict.fromkeys(("refused", "aborted", "failed", "rejected", "queued"), 0)
    pool = grown(begin, end)
    own = {key: pool[key] - sum(one[key] for one in servers) for key in GROWING}
    # A connection that was refused or broke gets a 5xx of the balancer, too, and is counted as such.
    said = max(0, own["failed"] - own["refused"] - pool["refused"] - pool["closed"])
    mute = max(0, own["mute"] - pool["aborted"])
    return {
        "refused": max(0, own["refused"]), "aborted": max(0, own["aborted"]), "failed": said + mute,
        "rejected": max(0, own["rejected"]), "queued": pool["queued"],
    }  # fmt: skip


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
    sent = {name: one["sent"] for name, one in _deltas(begin, end).items()}
    every = sum(max(0, one) for one in sent.values())
    mine = sum(max(0, sent[name]) for name in names if name in sent)
    return (100.0 * mine / every if every else None), every


def tolerance(share: float, number: int) -> float:
    """Return by how many percentage points the share of *number* requests may miss *share*."""
    part = min(max(share / 100.0, 0.0), 1.0)
    return POINTS + DEVIATIONS * 100.0 * math.sqrt(part * (1 - part) / max(number, 1))
