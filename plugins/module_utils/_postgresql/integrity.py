# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a cluster is damaged: pg_amcheck checks every table and index. Damaged indexes can be rebuilt from their tables.

pg_amcheck exits with 2 where it found damage, and with 1 where it could not check.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.mend import keep
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.programs import find_binaries
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import (
    SqlError,
    execute,
    identifier,
    program,
    rows,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wire import place_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import NOT_FOUND, Ran, find

Where = t.Mapping[str, t.Any]
Damage = t.Dict[str, t.Any]

MOST = 50
_DAMAGED = re.compile(r'^(?P<kind>heap table|btree index) "(?P<name>.+)"(?:, block (?P<block>\d+).*)?:$', re.M)
_ABSENT = re.compile(r'skipping database "(?P<name>.+)": amcheck is not installed')
_FILE = """
SELECT n.nspname AS schema, c.relname AS name, pg_relation_filepath(c.oid) AS file, current_setting('data_directory') AS data_dir,
  (SELECT t.relname FROM pg_class t WHERE t.oid = i.indrelid) AS table_name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
WHERE current_database() || '.' || n.nspname || '.' || c.relname = :'name' AND n.nspname NOT IN ('pg_catalog', 'pg_toast')
"""
_BEFORE = """
SELECT extract(epoch FROM clock_timestamp())::float8 AS now, (SELECT count(*) FROM pg_class c JOIN pg_am a ON a.oid = c.relam
  WHERE c.relkind = 'i' AND a.amname <> 'btree') AS unchecked
"""


def check(where: Where, databases: t.Sequence[str], clock: Clock) -> Damage:
    """Return what ``verdict_of`` gives for what pg_amcheck finds in *databases*."""
    damaged: list[Damage] = []
    proven: dict[str, float] = {}
    unchecked = 0
    for database in dict.fromkeys(databases):
        begun = _before(where, database, clock)
        done = _amcheck(where, database, clock)
        absent = _ABSENT.search(done.err + done.out)
        if done.timed_out or done.rc not in (0, 2) or absent:
            why = (
                "the extension amcheck is missing (CREATE EXTENSION amcheck)" if absent else one_line(done.err or "no answer in time", 120)
            )
            return verdict_of("unknown", damaged, "database %s could not be checked: %s" % (one_line(database, 60), why))
        found = read(done.out, database)
        if done.rc == 2 and not found:
            return verdict_of("unknown", damaged, "pg_amcheck found damage but did not name it")
        damaged += found
        unchecked += begun["unchecked"]
        if not found:
            proven[database] = begun["now"]
    return dict(judge(damaged), proven=proven, unchecked=unchecked)


def _before(where: Where, database: str, clock: Clock) -> Damage:
    """Return {now, unchecked}: the server's time, and how many indexes there are that no amcheck can check."""
    try:
        return rows(dict(where, database=database), _BEFORE, max(1.0, clock.left))[0]
    except (SqlError, IndexError):
        return {"now": 0.0, "unchecked": 1}


def _amcheck(where: Where, database: str, clock: Clock) -> Ran:
    program_file = find("pg_amcheck", [find_binaries(str(where["bin_dir"]))])
    if not program_file:
        return Ran(NOT_FOUND, "", "pg_amcheck was not found: set bin_dir")
    words = [program_file, "--no-password", "--heapallindexed"]
    words += ["-h", place_of(where), "-p", str(where["port"]), "-U", str(where["user"]), "-d", database]
    return program(where, words, max(1.0, clock.left))


def read(text: str, database: str) -> list[Damage]:
    """Return the relations that the report of pg_amcheck names, each once."""
    found: dict[str, Damage] = {}
    for match in _DAMAGED.finditer(text):
        kind = "index" if match.group("kind") == "btree index" else "heap"
        one = found.setdefault(match.group("name"), {"kind": kind, "name": match.group("name"), "database": database, "blocks": 0})
        one["blocks"] += 1
    return list(found.values())[:MOST]


def judge(damaged: t.Sequence[Damage]) -> Damage:
    """Return the verdict on what is damaged. Pure."""
    names = ", ".join("%s %s" % (one["kind"], one_line(one["name"], 80)) for one in damaged[:5])
    if not damaged:
        return verdict_of("none", [], "pg_amcheck found no damaged table and no damaged index")
    verdict = "heap" if any(one["kind"] == "heap" for one in damaged) else "index"
    return verdict_of(verdict, damaged, "%s damaged: %s" % (counted(len(damaged), "relations"), names))


def verdict_of(verdict: str, damaged: t.Sequence[Damage], text: str) -> Damage:
    """Return {verdict, damaged: [{kind, name, database, blocks}], text, code, plan, proven, unchecked}; none, index, heap or unknown.

    ``proven`` is the server's time, for each database, at which a check began that found nothing; ``unchecked`` counts the indexes that
    amcheck cannot check. ``code`` is the reason for a refusal; ``plan`` is what an approval allows, {} unless only indexes are damaged.
    """
    code = "data_missing" if verdict == "none" else "data_damaged"
    plan = _reindex_plan(damaged, text) if verdict == "index" else {}
    return {"verdict": verdict, "damaged": list(damaged), "text": text, "code": code, "plan": plan, "proven": {}, "unchecked": 0}


def _reindex_plan(damaged: t.Sequence[Damage], text: str) -> Damage:
    """Nothing is lost: an index holds nothing that its table does not hold."""
    return {
        "name": "reindex", "text": "%s; each is copied and rebuilt from its table, which is locked against writes meanwhile" % text,
        "loss": {"count": 0, "unit": "rows", "exact": True}, "binds": {"damaged": sorted(one["name"] for one in damaged)},
    }  # fmt: skip


def reindex(where: Where, damaged: t.Sequence[Damage], folder: str, clock: Clock) -> list[dict[str, t.Any]]:
    """Rebuild each damaged index after copying its file to *folder*; return the copies. Raises StepError."""
    kept = []
    for one in damaged:
        there = dict(where, database=one["database"])
        try:
            found = rows(there, _FILE, max(1.0, clock.left), {"name": one["name"]})
            if one["kind"] != "index" or len(found) != 1:
                raise StepError("%s is not an index that a run may rebuild" % one_line(one["name"], 100))
            kept += keep([os.path.join(str(found[0]["data_dir"]), str(found[0]["file"]))], folder)
            name = "%s.%s" % (identifier(str(found[0]["schema"])), identifier(str(found[0]["name"])))
            execute(there, "REINDEX INDEX %s" % name, max(1.0, clock.left))
        except SqlError as error:
            raise StepError("index %s could not be rebuilt: %s" % (one_line(one["name"], 100), error)) from None
    return kept
