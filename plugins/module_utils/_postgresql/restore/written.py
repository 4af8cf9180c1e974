# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many rows a stopped PostgreSQL wrote since a comparison, according to its WAL.

A count made before the stop is not final: clients write until the stop.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.process import load_control
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import Query, SqlError, Where, ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import run

# In this order: a transaction that wrote before `lsn` and is not `running` ended before the comparison, which therefore saw it.
_NOW = {
    "lsn": Query("SELECT pg_current_wal_insert_lsn()::text AS lsn"),
    "running": Query(
        "SELECT backend_xid::text AS xid, query = '<insufficient privilege>' AS hidden FROM pg_stat_activity"
        " UNION ALL SELECT transaction::text, false FROM pg_prepared_xacts"
    ),
}
_LSN = re.compile(r"[0-9A-F]{1,8}/[0-9A-F]{1,8}\Z")
_LINE = re.compile(r"rmgr: (\w+) .*?tx: +(\d+), .*?desc: (\w+)(.*)")
_SHUTDOWN = re.compile(r"lsn: ([0-9A-F]+/[0-9A-F]+), .*desc: CHECKPOINT_SHUTDOWN .*\n\Z")
_RELATION = re.compile(r"\brel \d+/\d+/(\d+) ")
# Relation files below this number belong to the catalogue.
_FIRST_OWN = 16384
_ROWS = frozenset(["INSERT", "UPDATE", "HOT_UPDATE", "DELETE"])
_WHOLE_TABLE = frozenset([("Standby", "LOCK"), ("Storage", "CREATE"), ("Storage", "TRUNCATE"), ("Heap", "TRUNCATE")])
# The most WAL since a comparison that is read.
_MOST_BYTES = 64 << 20


def load_now(live: Where, deadline: float) -> dict[str, t.Any]:
    """Return the WAL position of a running server: {lsn, running: [transactions]}; lsn is "" where we may not see all. Never raises."""
    try:
        output = ask(live, _NOW, deadline)
    except SqlError:
        output = {}
    lsn, running = output.get("lsn"), output.get("running")
    if not isinstance(lsn, list) or not isinstance(running, list) or any(one["hidden"] for one in running):
        return {"lsn": "", "running": []}
    return {"lsn": str(lsn[0]["lsn"]), "running": [int(one["xid"]) for one in running if one["xid"]]}


def load_written(bin_dir: str, data_dir: str, lsn: str, deadline: float) -> t.Optional[str]:
    """Return what ``pg_waldump`` says of the WAL from *lsn* to the shutdown of a stopped server, None where that is unknown."""
    control = load_control(bin_dir, data_dir, deadline)
    end = str(control.get("redo_lsn") or "")
    if control.get("state") != "shut down" or not _LSN.match(lsn) or not _LSN.match(end):
        return None
    words = [os.path.join(bin_dir, "pg_waldump"), "--path", os.path.join(data_dir, "pg_wal"), "--timeline", str(control["timeline"])]
    output = run([*words, "--start", lsn], deadline, cap=_MOST_BYTES).out
    # pg_waldump ends with an error at the end of the WAL, so only its last record shows whether it read all.
    last = _SHUTDOWN.search(output)
    return output if last and len(output) < _MOST_BYTES and place_of(last.group(1)) == place_of(end) else None


def place_of(lsn: str) -> int:
    """Return an LSN (``0/1526D50``) as a number of bytes."""
    high, _slash, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def judge_written(text: t.Optional[str], running: t.Collection[int]) -> t.Optional[int]:
    """Return an upper bound of the rows written and committed according to ``pg_waldump``; None where that is unknown.

    A *running* transaction that committed since may have rows before *text*; one that locked or replaced a whole table shows none.
    """
    if text is None:
        return None
    rows: dict[int, t.Optional[int]] = {}
    committed: set[int] = set()
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found:
            return None
        kind, transaction, what, rest = found.group(1), int(found.group(2)), found.group(3), found.group(4)
        if kind == "Transaction" and what.startswith("COMMIT"):
            committed |= _ended_by(transaction, what, rest)
        elif (kind, what) in _WHOLE_TABLE:
            rows[transaction] = None
        elif kind in ("Heap", "Heap2") and rows.get(transaction, 0) is not None:
            rows[transaction] = (rows.get(transaction) or 0) + _rows_of(what, rest)
    counts = [None if one in running else rows.get(one, 0) for one in committed]
    return None if None in counts else sum(count or 0 for count in counts)


def _rows_of(what: str, rest: str) -> int:
    relation = _RELATION.search(rest)
    if relation and int(relation.group(1)) < _FIRST_OWN:
        return 0
    # Releases before 16 write `5 tuples`, later ones `ntuples: 5`.
    several = re.search(r"(\d+) tuples|ntuples: (\d+)", rest) if what == "MULTI_INSERT" else None
    return int(several.group(1) or several.group(2)) if several else int(what in _ROWS)


def _ended_by(transaction: int, what: str, rest: str) -> set[int]:
    """Return the transactions that one commit record ends: its own or the prepared one that it names, and their subtransactions."""
    parts = re.search(r"subxacts: ([\d ]+)", rest)
    prepared = re.match(r" (\d+):", rest) if what == "COMMIT_PREPARED" else None
    whole = int(prepared.group(1)) if prepared else transaction
    return {whole, *(int(name) for name in (parts.group(1).split() if parts else ()))}
