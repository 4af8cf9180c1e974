# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL: accepting, shutting us out, full, stopping, hung and gone."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import signal
import socket
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from farms.postgresql import BINARIES, PASSWORD, Cluster
from farms.waiting import until

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wire import startup_packet


@pytest.fixture(scope="module")
def cluster() -> t.Iterator[Cluster]:
    if not BINARIES:
        pytest.skip("PostgreSQL's server is not installed, so there is no cluster to look at")
    folder = Path(tempfile.mkdtemp(prefix="pg-health-"))
    made = Cluster(folder, max_connections=6, superuser_reserved_connections=0, max_wal_senders=0).create().start()
    yield made
    made.end()
    shutil.rmtree(folder)


def look(cluster: Cluster, **given: t.Any) -> dict[str, t.Any]:
    options = dict({"kind": "postgresql", "port": cluster.port, "user": "soma", "timeout": 3.0}, **given)
    [result] = checks_look.run_checks(checks_look.validated([options], 3), "target")
    return result


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    return str(file)


def seen(result: dict[str, t.Any]) -> tuple[str, str]:
    return result["health"], result["state"]


def test_a_request_for_a_password_proves_an_accepting_server(cluster: Cluster) -> None:
    assert seen(look(cluster)) == ("well", "accepting")
    assert seen(look(cluster, host=str(cluster.folder))) == ("well", "accepting")


CLIENTS = [
    pytest.param(True, id="psycopg", marks=pytest.mark.skipif(not importlib.util.find_spec("psycopg"), reason="psycopg is not installed")),
    pytest.param(False, id="psql", marks=pytest.mark.skipif(not shutil.which("psql"), reason="psql is not installed")),
]


def _absent(name: str) -> t.Any:
    raise ImportError(name)


@pytest.mark.parametrize("psycopg", CLIENTS)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("well", "accepting")),
        ({"query": "SELECT 40 + 2", "expect": "42"}, ("well", "accepting")),
        ({"query": "SELECT 41", "expect": "42"}, ("sick", "wrong_answer")),
        ({"query": "SELECT NULL", "expect": "42"}, ("sick", "wrong_answer")),
        ({"query": "SELECT pg_sleep(20)", "timeout": 1.0}, ("sick", "slow_query")),
        ({"query": "CREATE TABLE t (i int)"}, ("unknown", "refusing")),
        ({"password": "wrong-horse", "password_file": ""}, ("unknown", "auth")),
        ({"user": "nobody_of_that_name"}, ("unknown", "auth")),
        ({"database": "nope"}, ("sick", "no_database")),
    ],
)
def test_a_log_in_and_a_known_answer_are_judged(
    cluster: Cluster, password_file: str, monkeypatch: pytest.MonkeyPatch, psycopg: bool, given: dict[str, t.Any], expected: tuple[str, str]
) -> None:
    if not psycopg:
        monkeypatch.setattr(importlib, "import_module", _absent)
    result = look(cluster, **dict({"login": True, "password_file": password_file}, **given))
    assert seen(result) == expected, result
    assert PASSWORD not in str(result)
    assert "wrong-horse" not in str(result)


def test_a_log_in_tells_the_identity_of_the_process(cluster: Cluster, password_file: str) -> None:
    before = look(cluster, login=True, password_file=password_file)["identity"]
    assert set(before) == {"started_at", "in_recovery"}
    cluster.stop()
    cluster.start()
    assert look(cluster, login=True, password_file=password_file)["identity"] != before


@pytest.mark.skipif(not shutil.which("psql"), reason="psql is not installed")
@pytest.mark.parametrize("psycopg", CLIENTS)
def test_a_log_in_tells_who_makes_sessions_wait_for_a_lock(
    cluster: Cluster, password_file: str, monkeypatch: pytest.MonkeyPatch, psycopg: bool
) -> None:
    if not psycopg:
        monkeypatch.setattr(importlib, "import_module", _absent)

    def locks() -> dict[str, t.Any]:
        return dict(look(cluster, login=True, password_file=password_file)["facts"]["locks"])

    assert locks() == {"longest_wait_seconds": 0, "roots": []}
    holder = cluster.session("BEGIN; SELECT pg_advisory_xact_lock(1);")
    waiter = None
    try:
        until(lambda: cluster.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted") == "1")
        waiter = cluster.session("SELECT pg_advisory_lock(1);")
        until(lambda: bool(locks()["roots"]))
        found = locks()
        assert found["longest_wait_seconds"] > 0
        [root] = found["roots"]
        assert (root["user"], root["blocked_count"], root["gid"]) == ("soma", 1, "")
    finally:
        for one in (waiter, holder):
            if one:
                one.kill()
                one.wait()


def test_a_server_without_a_free_connection_is_sick(cluster: Cluster) -> None:
    held = []
    try:
        for _turn in range(6):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(cluster.folder / f".s.PGSQL.{cluster.port}"))
            sock.sendall(startup_packet({"user": "soma", "database": "postgres"}))
            sock.recv(100)
            held.append(sock)
        until(lambda: seen(look(cluster, host=str(cluster.folder))) == ("sick", "too_many_connections"))
    finally:
        for sock in held:
            sock.close()
    until(lambda: seen(look(cluster)) == ("well", "accepting"))


def test_a_stopping_server_rejects_and_is_not_called_sick(cluster: Cluster) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.connect(str(cluster.folder / f".s.PGSQL.{cluster.port}"))
        held.sendall(startup_packet({"user": "soma", "database": "postgres"}))
        held.recv(1000)
        # A smart shutdown waits for this client and turns others away meanwhile.
        os.kill(cluster.postmaster, signal.SIGTERM)
        until(lambda: look(cluster)["state"] != "accepting")
        result = look(cluster)
    assert seen(result) == ("unknown", "rejecting"), result
    assert "shutting down" in result["facts"]["message"]
    until(lambda: not (cluster.folder / "data/postmaster.pid").exists())
    gone = look(cluster)
    cluster.start()
    assert seen(gone) == ("sick", "down")


def test_a_stopped_postmaster_is_hung_within_the_deadline(cluster: Cluster) -> None:
    pid = cluster.postmaster
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        result = look(cluster, timeout=0.5)
        assert time.monotonic() - begun < 10
    finally:
        os.kill(pid, signal.SIGCONT)
    assert seen(result) == ("sick", "hung")


def test_a_socket_that_is_not_there_is_down(tmp_path: Path) -> None:
    [result] = checks_look.run_checks(checks_look.validated([{"kind": "postgresql", "host": str(tmp_path)}], 1), "target")
    assert seen(result) == ("sick", "down")
