# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the tables of two PostgreSQL databases by hashes of keys and rows: no row is kept, none is shown.

Both sides sort by the hash of the primary key, so one pass over two streams finds the rows that only one side has.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import (
    Query,
    Row,
    SqlError,
    Where,
    ask,
    identifier,
    rows,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.queries import digest_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.stream import copied_out

MOST_TABLES = 500
# Up to so many hashes of missing keys are kept in memory; the rest is only counted.
MOST_KEYS = 2000000
# The hash of a key and that of its row; every key sorts before that of the end.
Pair = t.Tuple[str, str]
END: Pair = ("\x7f", "")
_TABLES = """SELECT n.nspname AS schema, c.relname AS name, c.relpersistence = 'p' AS logged,
 (SELECT jsonb_agg(a.attname ORDER BY k.ord) FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(att, ord)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.att WHERE i.indrelid = c.oid AND i.indisprimary) AS key,
 (SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
 (SELECT jsonb_agg(DISTINCT pn.nspname || '.' || p.relname) FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid
  JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid <> c.oid) AS parents,
 (SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
  AND g.tgtype & 4 <> 0) AS triggers,
 (SELECT jsonb_object_agg(a.attname, pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname))
  FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  AND pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname) IS NOT NULL) AS sequences
 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence IN ('p', 'u') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
 AND n.nspname NOT LIKE 'pg\\_%'"""


class Table(t.NamedTuple):
    """One table of the catalogue; ``key`` has the columns of its primary key, () without one."""

    schema: str
    name: str
    key: t.Tuple[str, ...]
    columns: t.Tuple[str, ...]
    parents: t.Tuple[str, ...] = ()
    triggers: int = 0
    sequences: t.Mapping[str, str] = {}
    logged: bool = True

    @property
    def full_name(self) -> str:
        return "%s.%s" % (self.schema, self.name)

    @property
    def sql(self) -> str:
        return "%s.%s" % (identifier(self.schema), identifier(self.name))

    def hash_of_key(self, alias: str = "x") -> str:
        """Return the SQL for the hash of the key of a row."""
        return "md5(ROW(%s)::text)" % ", ".join("%s.%s" % (alias, identifier(name)) for name in self.key)

    def hash_of_row(self, alias: str = "x") -> str:
        """Return the SQL for the hash of all values of a row."""
        return "md5(ROW(%s)::text)" % ", ".join("%s.%s" % (alias, identifier(name)) for name in self.columns)


class Difference(t.NamedTuple):
    """How two sorted streams of (hash of key, hash of row) differ; *missing* rows are in the first and not in the second."""

    first: int
    second: int
    missing: int
    extra: int
    changed: int
    keys: t.Dict[str, str]
    digest: str


def load_tables(where: Where, deadline: float) -> dict[str, Table]:
    """Return the tables of a database by ``schema.name``. Raises SqlError."""
    return {one.full_name: one for one in (table_of(row) for row in rows(where, _TABLES, deadline))}


def table_of(row: Row) -> Table:
    """Return one row of the catalogue as a table."""
    return Table(
        str(row["schema"]), str(row["name"]), tuple(row["key"] or ()), tuple(row["columns"] or ()), tuple(row["parents"] or ()),
        int(row["triggers"] or 0), dict(row["sequences"] or {}), bool(row["logged"]),
    )  # fmt: skip


def choose_tables(tables: t.Mapping[str, Table], wanted: t.Sequence[str]) -> tuple[list[Table], list[str]]:
    """Return (the wanted tables, all where none is named; names without a table). ``name`` means ``public.name``."""
    full = [name if "." in name else "public." + name for name in wanted]
    names = list(dict.fromkeys(full)) or sorted(tables)
    return [tables[name] for name in names if name in tables], [name for name in names if name not in tables]


def parents_first(tables: t.Sequence[Table]) -> list[Table]:
    """Return *tables* in an order where each follows those its foreign keys reference, as far as possible."""
    waiting, done = list(tables), t.cast("list[Table]", [])
    names = {one.full_name for one in tables}
    while waiting:
        placed = {one.full_name for one in done}
        ready = [one for one in waiting if set(one.parents) & names <= placed] or waiting[:1]
        done += ready
        waiting = [one for one in waiting if one not in ready]
    return done


def merge(first: t.Iterable[bytes], second: t.Iterable[bytes], most: int = MOST_KEYS) -> Difference:
    """Compare two sorted streams of lines ``hash of key <tab> hash of row``. Raises ValueError for unsorted input."""
    firsts, missing, extra, changed = 0, 0, 0, 0
    keys: dict[str, str] = {}
    digest = hashlib.sha256()
    for key, ours, theirs in _side_by_side(_pairs(first), _pairs(second)):
        firsts += ours is not None
        if ours is None:
            extra += 1
        elif theirs is None:
            missing += 1
            digest.update(key.encode())
            if len(keys) < most:
                keys[key] = ours
        else:
            changed += ours != theirs
    return Difference(firsts, firsts - missing + extra, missing, extra, changed, keys, digest.hexdigest())


def _side_by_side(first: t.Iterator[Pair], second: t.Iterator[Pair]) -> t.Iterator[tuple[str, t.Optional[str], t.Optional[str]]]:
    """Yield (key, hash of the row in *first*, in *second*) in the order of keys; None where a side does not have the key."""
    one, other = next(first, END), next(second, END)
    while one is not END or other is not END:
        key = min(one[0], other[0])
        yield key, one[1] if one[0] == key else None, other[1] if other[0] == key else None
        one, other = next(first, END) if one[0] == key else one, next(second, END) if other[0] == key else other


def _pairs(lines: t.Iterable[bytes]) -> t.Iterator[Pair]:
    before = ""
    for line in lines:
        key, _tab, row = line.decode("ascii").rstrip("\n").partition("\t")
        if key <= before:
            raise ValueError("a stream of keys is not sorted")
        before = key
        yield key, row


def compare_table(side: Where, live: Where, table: Table, end: float) -> Difference:
    """Compare one table of two databases until the monotonic *end*. Raises SqlError."""
    query = 'SELECT %s COLLATE "C", %s FROM %s x ORDER BY 1' % (table.hash_of_key(), table.hash_of_row(), table.sql)  # noqa: S608 - names of the catalogue
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(copied_out(side, query, end))
        second = stack.enter_context(copied_out(live, query, end))
        return merge(first, second)


def compare(side: Where, live: Where, wanted: t.Sequence[str], end: float) -> tuple[list[dict[str, t.Any]], dict[str, Difference]]:
    """Compare the wanted tables (all where none is named); return (a result for each, with counts only; the differences by name).

    Raises SqlError where one side cannot be queried at all.
    """
    there = load_tables(side, left(end))
    tables, unknown = choose_tables(there, wanted)
    beside = load_tables(live, left(end))
    results, found = [_nothing(name, "it is missing in the restored database") for name in unknown], t.cast("dict[str, Difference]", {})
    for table in tables[:MOST_TABLES]:
        results.append(_compared(side, live, table, beside.get(table.full_name), end, found))
    results += [_nothing(table.full_name, "not compared: there are more than %d tables" % MOST_TABLES) for table in tables[MOST_TABLES:]]
    if not wanted:
        results += [_only_live(live, beside[name], end) for name in sorted(set(beside) - set(there))]
    return results, found


def _only_live(live: Where, table: Table, end: float) -> dict[str, t.Any]:
    """Count a table that was made after the target: all of its rows are only in live."""
    note = "it is missing in the restored database"
    answer = ask(live, {"rows": Query("SELECT count(*) AS count FROM %s" % table.sql)}, left(end))["rows"]  # noqa: S608 - a name of the catalogue
    if isinstance(answer, SqlError):
        return _nothing(table.full_name, str(answer))
    count = int(answer[0]["count"])
    return dict(_nothing(table.full_name, note), restored=0, live=count, missing=0, extra=count, changed=0)


def _compared(
    side: Where, live: Where, table: Table, other: t.Optional[Table], end: float, found: dict[str, Difference]
) -> dict[str, t.Any]:
    name = table.full_name
    if other is None:
        # None of its rows can be lost, and none can be put back.
        return dict(_nothing(name, "it is missing in the live database"), live=0, extra=0, changed=0)
    if not table.key or other.key != table.key:
        return _counted(side, live, table, end)
    if set(other.columns) != set(table.columns):
        return dict(_counted(side, live, table, end), note="its columns have changed")
    try:
        found[name] = compare_table(side, live, table, end)
    except (SqlError, ValueError) as error:
        return _nothing(name, str(error))
    one = found[name]
    note = "" if table.logged else "unlogged: never in a backup"
    return {
        "table": name, "restored": one.first, "live": one.second, "missing": one.missing, "extra": one.extra, "changed": one.changed,
        "exact": True, "digest": one.digest, "note": note,
    }  # fmt: skip


def is_counted(one: t.Mapping[str, t.Any]) -> bool:
    """Return whether all rows are known that one result of ``compare`` says only live has, or has changed. Pure."""
    return one["extra"] is not None and (one["changed"] is not None or one["live"] == 0)


def _nothing(name: str, note: str) -> dict[str, t.Any]:
    return {
        "table": one_line(name, 120), "restored": None, "live": None, "missing": None, "extra": None, "changed": None, "exact": False,
        "digest": "", "note": one_line(note, 160),
    }  # fmt: skip


def _counted(side: Where, live: Where, table: Table, end: float) -> dict[str, t.Any]:
    """Compare a table by its number of rows alone."""
    query = {"rows": Query("SELECT count(*) AS count FROM %s" % table.sql)}  # noqa: S608 - a name of the catalogue
    counts = []
    for where in (side, live):
        answer = ask(where, query, left(end))["rows"]
        if isinstance(answer, SqlError):
            return _nothing(table.full_name, str(answer))
        counts.append(int(answer[0]["count"]))
    return dict(
        _nothing(table.full_name, "it has no primary key: only the number of rows is compared"), restored=counts[0], live=counts[1],
        missing=max(0, counts[0] - counts[1]), extra=max(0, counts[1] - counts[0]),
    )  # fmt: skip


def left(end: float) -> float:
    """Return the seconds until the monotonic *end*, at least a little."""
    return max(0.2, end - time.monotonic())


def known_answers(where: Where, answers: t.Sequence[t.Mapping[str, t.Any]], deadline: float) -> list[dict[str, t.Any]]:
    """Ask each of *answers* ({name, query, expect or sha256}): {name, right, text}. No answer is shown. Never raises."""
    names = [one_line(one.get("name") or "known answer %d" % (number + 1), 60) for number, one in enumerate(answers)]
    queries = {"q%d" % number: Query(_only(str(one.get("query") or ""))) for number, one in enumerate(answers)}
    try:
        found = ask(where, queries, deadline) if queries else {}
    except SqlError as error:
        return [{"name": name, "right": None, "text": str(error)} for name in names]
    return [_judged(name, one, found["q%d" % number]) for number, (name, one) in enumerate(zip(names, answers))]


def _only(query: str) -> str:
    return "SELECT (SELECT known::text FROM (%s) AS asked(known)) AS answer" % query.strip().rstrip(";")  # noqa: S608 - the inventory's own


def _judged(name: str, one: t.Mapping[str, t.Any], answer: t.Union[list[Row], SqlError]) -> dict[str, t.Any]:
    if isinstance(answer, SqlError):
        return {"name": name, "right": None, "text": str(answer)}
    text = str(answer[0]["answer"]) if answer else ""
    digest = str(one.get("sha256") or "").lower()
    right = bool(answer) and (digest_of(text) == digest if digest else text == str(one.get("expect")))
    return {"name": name, "right": right, "text": "" if right else "the answer differs from the known one"}
