# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server wrote until its stop, by lines as pg_waldump 15 printed them: never fewer rows than were committed."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.written import judge_written, place_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_cutover import later_loss


def line(kind: str, transaction: int, what: str) -> str:
    return f"rmgr: {kind:<11} len (rec/tot):     61/    61, tx: {transaction:>10}, lsn: 0/01526810, prev 0/015267E8, desc: {what}"


OWN, CATALOGUE = ", blkref #0: rel 1663/5/16385 blk 0", ", blkref #0: rel 1663/5/1259 blk 0"
INSERT, COMMIT = "INSERT off 4 flags 0x00" + OWN, "COMMIT 2026-11-27 18:19:22.268986 UTC"


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        ([], 0),
        ([("Standby", 0, "RUNNING_XACTS nextXid 740 latestCompletedXid 739 oldestRunningXid 740")], 0),
        ([("Heap", 740, INSERT), ("Btree", 740, "INSERT_LEAF off 4" + OWN), ("Transaction", 740, COMMIT)], 1),
        ([("Heap", 740, INSERT)], 0),
        ([("Heap", 740, INSERT), ("Transaction", 740, "ABORT 2026-11-27 18:19:22.287503 UTC")], 0),
        ([("Heap", 740, "INSERT+INIT off 1 flags 0x00" + OWN), ("Transaction", 740, COMMIT)], 1),
        ([("Heap2", 740, "MULTI_INSERT+INIT 226 tuples flags 0x00" + OWN), ("Transaction", 740, COMMIT)], 226),
        ([("Heap2", 740, "MULTI_INSERT ntuples: 5, flags: 0x02" + OWN), ("Transaction", 740, COMMIT)], 5),
        ([("Heap", 740, "HOT_UPDATE off 2 xmax 729 flags 0x20" + OWN), ("Transaction", 740, COMMIT)], 1),
        ([("Heap", 740, "DELETE off 1 flags 0x00 KEYS_UPDATED " + OWN), ("Transaction", 740, COMMIT)], 1),
        ([("Heap", 740, "LOCK off 1: xid 740" + OWN), ("Transaction", 740, COMMIT)], 0),
        ([("Heap", 740, "INSERT off 9 flags 0x00" + CATALOGUE), ("Transaction", 740, COMMIT)], 0),
        ([("Heap", 741, INSERT), ("Transaction", 740, COMMIT + "; subxacts: 741 742")], 1),
        ([("Heap", 740, INSERT), ("Transaction", 0, "COMMIT_PREPARED 740: 2026-11-27 18:20:15.527336 UTC")], 1),
        ([("Heap", 740, INSERT), ("Heap", 741, INSERT), ("Transaction", 741, COMMIT), ("Transaction", 740, COMMIT)], 2),
        # It was writing when it was compared.
        ([("Transaction", 739, COMMIT)], None),
        ([("Transaction", 0, "COMMIT_PREPARED 739: 2026-11-27 18:20:15.527336 UTC")], None),
        ([("Standby", 740, "LOCK xid 740 db 5 rel 16385 "), ("Storage", 740, "CREATE base/5/16393"), ("Transaction", 740, COMMIT)], None),
        ([("Standby", 740, "LOCK xid 740 db 5 rel 16385 ")], 0),
    ],
)
def test_rows_are_counted_by_the_commits_that_ended_them(lines: list[tuple[str, int, str]], rows: t.Optional[int]) -> None:
    assert judge_written("\n".join(line(*one) for one in lines), {739}) == rows


@pytest.mark.parametrize("text", [None, "pg_waldump: something else"])
def test_what_cannot_be_read_is_unknown(text: t.Optional[str]) -> None:
    assert judge_written(text, ()) is None


def test_a_place_in_the_wal_is_a_number() -> None:
    assert place_of("2/1526D50") - place_of("1/1526D50") == 1 << 32


@pytest.mark.parametrize(
    ("late", "count", "exact"),
    [(0, 3, True), (2, 5, False), (None, None, False)],
)
def test_the_loss_never_says_less_than_was_written(late: t.Optional[int], count: t.Optional[int], exact: bool) -> None:
    told = later_loss({"count": "3", "exact": True, "unit": "rows", "text": "back to noon"}, late)
    assert (told["count"] if late != 0 else int(told["count"]), told["exact"]) == (count, exact)
    assert told["text"].startswith("back to noon")


def test_a_loss_that_is_unknown_stays_so() -> None:
    assert later_loss({"count": None, "exact": False}, 2)["count"] is None
