# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking PostgreSQL through psql, and running programs of a target: values are data, secrets stay secret, deadlines hold."""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from farms.postgresql import BINARIES, PASSWORD, USER, Cluster

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import (
    CONNECT_SPEC,
    Query,
    SqlError,
    ask,
    execute,
    rows,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import NOT_ALLOWED, NOT_FOUND, Ran, find, run

pytestmark = pytest.mark.skipif(not BINARIES, reason="PostgreSQL's server is not installed, so there is nobody to ask")

HOSTILE = (
    "it's", '"', "\\", "\\'", "a\nb\r\n", "'; DROP TABLE t; --", ":'name'", ":name", "$1", "$$x$$", "\\! touch /tmp/somabrain-hostile",
    "`touch /tmp/somabrain-hostile`", "{{ 7 * 7 }}", "\x1b[31m", "\u202eabc", "ünï☃", "\\n", "%s", "a" * 20000, "mark-0 only 00000",
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> t.Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="pg-psql-"))
    made = Cluster(folder).create().start()
    yield made
    made.end()
    shutil.rmtree(folder)


def where(cluster: Cluster, **given: t.Any) -> dict[str, t.Any]:
    return {**{name: rule.get("default") for name, rule in CONNECT_SPEC.items()}, **cluster.reach, **given}


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_value_is_a_value(cluster: Cluster, value: str) -> None:
    assert rows(where(cluster), "SELECT :'name'::text AS got, 1 AS one", 10, {"name": value}) == [{"got": value, "one": 1}]
    assert not os.path.exists("/tmp/somabrain-hostile")


def test_values_of_all_kinds_come_back_as_they_are(cluster: Cluster) -> None:
    sql = "SELECT :'a'::int AS a, :'b'::bool AS b, :'c'::float8 AS c, NULL AS d, '[1, \"x\"]'::jsonb AS e, 'a|b' || chr(10) AS f"
    assert rows(where(cluster), sql, 10, {"a": -7, "b": True, "c": 1.5}) == [
        {"a": -7, "b": True, "c": 1.5, "d": None, "e": [1, "x"], "f": "a|b\n"}
    ]
    assert rows(where(cluster), "SELECT 1 WHERE false", 10) == []


def test_a_query_that_fails_does_not_end_the_others(cluster: Cluster) -> None:
    answers = ask(where(cluster), {"bad": Query("SELECT nope"), "good": Query("SELECT 1 AS one"), "zero": Query("SELECT 1 / 0")}, 10)
    assert answers["good"] == [{"one": 1}]
    states = {name: one.sqlstate for name, one in answers.items() if isinstance(one, SqlError)}
    assert states == {"bad": "42703", "zero": "22012"}


def test_a_session_that_only_reads_cannot_write(cluster: Cluster) -> None:
    execute(where(cluster), "CREATE TABLE written (i int)", 10)
    with pytest.raises(SqlError) as refused:
        rows(where(cluster), "INSERT INTO written VALUES (1) RETURNING i", 10)
    assert refused.value.sqlstate == "25006"
    assert rows(where(cluster), "INSERT INTO written VALUES (:'i') RETURNING i", 10, {"i": 3}, writes=True) == [{"i": 3}]


def test_a_deadline_ends_a_query_and_what_came_before_is_kept(cluster: Cluster) -> None:
    begun = time.monotonic()
    answers = ask(where(cluster), {"quick": Query("SELECT 1 AS one"), "slow": Query("SELECT pg_sleep(60)"), "after": Query("SELECT 2")}, 1)
    assert time.monotonic() - begun < 5
    assert answers["quick"] == [{"one": 1}]
    assert isinstance(answers["slow"], SqlError)
    assert answers["slow"].sqlstate == "57014"


@pytest.mark.parametrize(
    ("given", "sqlstate"),
    [
        ({"database": "nope"}, "3D000"),
        ({"host": "/nonexistent"}, "08001"),
        ({"host": "127.0.0.1", "port": 1}, "08001"),
        ({"host": "127.0.0.1", "password_file": "wrong"}, "28P01"),
        ({"host": "127.0.0.1"}, "28P01"),
        ({"psql": "/nonexistent/psql"}, ""),
        ({"password_file": "missing"}, ""),
    ],
)
def test_who_is_not_let_in_is_told_why(cluster: Cluster, tmp_path: Path, given: dict[str, t.Any], sqlstate: str) -> None:
    (tmp_path / "wrong").write_text("wrong-horse")
    (tmp_path / "wrong").chmod(0o600)
    if "password_file" in given:
        given = dict(given, password_file=str(tmp_path / given["password_file"]))
    with pytest.raises(SqlError) as refused:
        rows(where(cluster, **given), "SELECT 1", 5)
    assert refused.value.sqlstate == sqlstate
    assert "wrong-horse" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_neither_password_nor_statement_is_in_a_process_list(cluster: Cluster, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
                try:
                    seen.add(Path(path).read_bytes() if path.endswith("cmdline") or os.geteuid() == 0 else b"")
                except OSError:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        asked = Query("SELECT :'v' AS got, pg_sleep(1.5)::text", {"v": "statement-canary"})
        [row] = t.cast("list[dict[str, t.Any]]", ask(where(cluster, host="127.0.0.1", password_file=str(secret)), {"q": asked}, 10)["q"])
    finally:
        over.set()
        watcher.join()
    assert row["got"] == "statement-canary"
    assert any(b"psql" in line for line in seen)
    for canary in (PASSWORD.encode(), b"statement-canary"):
        # Only this very test has it, in its own source or environment.
        assert [line[:200] for line in seen if canary in line] == []
    assert glob.glob(os.path.join(tempfile.gettempdir(), "somabrain-*pgpass*")) == []


def test_many_rows_come_whole(cluster: Cluster) -> None:
    found = rows(where(cluster), "SELECT g AS i, repeat('ü', 20) AS s FROM generate_series(1, 20000) AS g", 20)
    assert [row["i"] for row in found] == list(range(1, 20001))
    assert json.dumps(found[-1], ensure_ascii=False) == '{"i": 20000, "s": "%s"}' % ("ü" * 20)


def test_a_program_ends_with_all_that_it_started_at_its_deadline() -> None:
    begun = time.monotonic()
    done = run(["sh", "-c", "trap '' TERM; sleep 77.25 & echo started; wait"], 0.5)
    assert time.monotonic() - begun < 10
    assert done.timed_out
    assert not done.ok
    assert done.out == "started\n"
    living = [path for path in glob.glob("/proc/[0-9]*/cmdline") if b"77.25" in _read(path)]
    assert living == []


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def test_a_program_is_told_by_how_it_ended() -> None:
    assert run(["sh", "-c", "cat; echo oops >&2; exit 3"], 5, stdin="héllo") == Ran(3, "héllo", "oops\n", False)
    assert run(["/nonexistent"], 5).rc == NOT_FOUND
    assert run(["/etc/passwd"], 5).rc == NOT_ALLOWED
    assert run(["true"], 5, user="nobody-of-that-name").ok is (os.geteuid() != 0)
    assert len(run(["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"], 10, cap=1000).out) == 1000
    assert find("sh") != ""
    assert find("no-such-program-here") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_a_program_runs_as_its_user_and_reads_its_secret() -> None:
    done = run(["sh", "-c", 'id -un; cat "$SECRET"; umask'], 5, user=USER, secrets={"SECRET": "s3cret\n"})
    assert done.out == f"{USER}\ns3cret\n0077\n"
