# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts rows that a live database lacks back into it from a side instance, in one transaction; and removes exactly these rows again.

Existing rows stay as they are. Counts are checked before the commit: all of the rows are inserted, or none.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import SqlError, Where, identifier
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import (
    Difference,
    Table,
    parents_first,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.stream import (
    SAME_TEXT,
    Session,
    copied_out,
    session,
)

_TOLD = re.compile(r"somabrain (\S+) (-?\d+)")
LOCK_SECONDS = 10


class Inserted(t.NamedTuple):
    """The rows inserted into one table: hash of key to hash of row."""

    table: Table
    keys: t.Mapping[str, str]


def put_in(side: Where, live: Where, differences: t.Mapping[str, Difference], tables: t.Mapping[str, Table], kept: str, end: float) -> int:
    """Insert the missing rows of *differences* (by table) into *live*; return how many. Raises SqlError, and then nothing was inserted.

    Their hashes are in the file *kept*, synced to disk, before the commit.
    """
    wanted = [one for one in parents_first(list(tables.values())) if differences[one.full_name].keys]
    if not wanted:
        return 0
    with session(live, end) as to:
        to.say(SAME_TEXT + "BEGIN;\nSET LOCAL lock_timeout = '%ds';\n" % LOCK_SECONDS)
        for number, table in enumerate(wanted):
            _fill(side, to, table, differences[table.full_name].keys, "somabrain_%d" % number, end)
            _insert(to, table, len(differences[table.full_name].keys), number)
        write_kept(kept, [Inserted(table, differences[table.full_name].keys) for table in wanted])
        to.say("COMMIT;\n\\echo somabrain committed 1")
        told = dict(_TOLD.findall("\n".join(to.finish())))
    if told.get("committed") != "1":
        raise SqlError("", "the transaction was not committed")
    return sum(int(told["t%d" % number]) for number in range(len(wanted)))


def _fill(side: Where, to: Session, table: Table, keys: t.Mapping[str, str], temporary: str, end: float) -> None:
    """Copy the rows whose hash is in *keys* into a temporary table of the session."""
    columns = ", ".join(identifier(name) for name in table.columns)
    picked = ", ".join("x." + identifier(name) for name in table.columns)
    to.say("CREATE TEMP TABLE %s ON COMMIT DROP AS SELECT %s FROM %s LIMIT 0;" % (temporary, columns, table.sql))  # noqa: S608
    to.say("COPY %s (%s) FROM STDIN;" % (temporary, columns))
    query = "SELECT %s, %s FROM %s x" % (table.hash_of_key(), picked, table.sql)  # noqa: S608 - names of the catalogue
    with copied_out(side, query, end) as lines:
        to.rows(line.partition(b"\t")[2] for line in lines if line.partition(b"\t")[0].decode("ascii") in keys)
    to.say("\\.")


def _insert(to: Session, table: Table, wanted: int, number: int) -> None:
    """Insert the rows of the temporary table; fail the session unless all *wanted* rows were inserted."""
    columns = ", ".join(identifier(name) for name in table.columns)
    into = "INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM somabrain_%d" % (table.sql, columns, columns, number)  # noqa: S608
    to.say("WITH came AS (%s ON CONFLICT DO NOTHING RETURNING 1) SELECT count(*) AS came FROM came \\gset" % into)  # noqa: S608
    to.say("SELECT :came <> %d AS wrong \\gset" % wanted)
    text = "not all %d rows can be inserted into %s: other rows now use their keys or unique values" % (wanted, table.full_name)
    to.say("\\if :wrong\nDO $somabrain$BEGIN RAISE EXCEPTION %s; END$somabrain$;\n\\endif" % _quoted("%", text))
    to.say("\\echo somabrain t%d :came" % number)
    for column, sequence in sorted(table.sequences.items()):
        # Forward only: a sequence that is already beyond the rows stays as it is.
        most = "(SELECT max(%s) AS most FROM %s) AS x, %s AS s" % (identifier(column), table.sql, sequence)  # noqa: S608
        to.say("SELECT setval(%s::regclass, most) FROM %s WHERE most > s.last_value \\g /dev/null" % (_literal(sequence), most))  # noqa: S608


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(form: str, text: str) -> str:
    return "%s, %s" % (_literal(form), _literal(text.replace("$somabrain$", "")))


def write_kept(path: str, inserted: t.Sequence[Inserted]) -> None:
    """Write which rows are about to be inserted; completely on disk, or not at all. Raises OSError."""
    descriptor = os.open(path + ".part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for one in inserted:
            json.dump({"schema": one.table.schema, "name": one.table.name, "keys": dict(one.keys)}, file)
            file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_kept(path: str) -> list[dict[str, t.Any]]:
    """Return the kept hashes, [] without the file. Raises OSError, ValueError."""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]
    return []


def take_out(live: Where, kept: t.Sequence[t.Mapping[str, t.Any]], tables: t.Mapping[str, Table], end: float) -> tuple[int, int]:
    """Delete the kept rows that have not changed since; return (deleted, left: changed or gone since). Raises SqlError."""
    by_name = {"%s.%s" % (one["schema"], one["name"]): one["keys"] for one in kept}
    wanted = [one for one in reversed(parents_first(list(tables.values()))) if one.full_name in by_name]
    total = sum(len(by_name[one.full_name]) for one in wanted)
    with session(live, end) as to:
        to.say(SAME_TEXT + "BEGIN;\nSET LOCAL lock_timeout = '%ds';\n" % LOCK_SECONDS)
        for number, table in enumerate(wanted):
            to.say("CREATE TEMP TABLE somabrain_%d (k text, r text) ON COMMIT DROP;\nCOPY somabrain_%d FROM STDIN;" % (number, number))
            to.rows(("%s\t%s\n" % pair).encode("ascii") for pair in sorted(by_name[table.full_name].items()))
            to.say("\\.\nANALYZE somabrain_%d;" % number)
            same = "%s = b.k AND %s = b.r" % (table.hash_of_key(), table.hash_of_row())
            gone = "DELETE FROM %s AS x USING somabrain_%d AS b WHERE %s RETURNING 1" % (table.sql, number, same)  # noqa: S608
            to.say("WITH went AS (%s) SELECT count(*) AS went FROM went \\gset" % gone)  # noqa: S608
            to.say("\\echo somabrain t%d :went" % number)
        to.say("COMMIT;\n\\echo somabrain committed 1")
        told = dict(_TOLD.findall("\n".join(to.finish())))
    deleted = sum(int(told.get("t%d" % number, 0)) for number in range(len(wanted)))
    return deleted, total - deleted
