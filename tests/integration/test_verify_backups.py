# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest backup of a real cluster restored and asked: proven, too old, gaps, damaged, no room; and what does not fit together."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from farms.postgresql_backed import STANZA, BackedCluster, backed, missing
from farms.redis import BIN, ROOT
from farms.waiting import until
from farms.warmly import run_ansible

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError, address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import backup_proof, data_reconciliation_info

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")
ANSWERS = [{"name": "rows", "query": "SELECT count(*) FROM t", "expect": "700"}]


@pytest.fixture(scope="module")
def cluster() -> t.Iterator[BackedCluster]:
    with backed() as made:
        made.sql("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 600) g")
        made.backup()
        made.sql("INSERT INTO t SELECT g, 'y' FROM generate_series(601, 700) g", "SELECT pg_switch_wal()")
        made.sql("CREATE TABLE outbox_events (id int PRIMARY KEY, status text)", "CREATE TABLE audit (at timestamptz)")
        made.sql("INSERT INTO outbox_events SELECT g, CASE WHEN g % 5 = 0 THEN 'failed' ELSE 'pending' END FROM generate_series(1, 10) g")
        made.sql("INSERT INTO audit SELECT now() - g * interval '1 minute' FROM generate_series(1, 60) g WHERE g NOT BETWEEN 20 AND 44")
        until(lambda: len(made.archive()) >= 3)
        yield made


def prove(cluster: BackedCluster, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
    where = {key: value for key, value in cluster.where().items() if key != "data_dir"}
    known = dict(where, side_dir=str(cluster.folder / "side"), known_answers=ANSWERS, timeout=200.0)
    spec = backup_proof.ARGUMENT_SPEC
    return backup_proof.run({**{name: rule.get("default") for name, rule in spec.items()}, **known, **given}, check)


def words(result: t.Mapping[str, t.Any]) -> dict[str, str]:
    return {one["name"]: one["health"] for one in result["checks"]}


def left_over(cluster: BackedCluster) -> list[str]:
    side = cluster.folder / "side"
    return [name for name in os.listdir(side) if name.startswith("verify-")] if side.exists() else []


def test_a_good_backup_is_proven_and_nothing_is_left(cluster: BackedCluster) -> None:
    pid = cluster.pid()
    result = prove(cluster)
    wanted = {"backup age", "backup wal", "backup restore", "backup answer rows", "backup amcheck"}
    assert (result["health"], result["proven"]) == ("well", True), result
    assert words(result) == dict.fromkeys(wanted, "well")
    assert left_over(cluster) == []
    assert cluster.pid() == pid
    assert len(cluster.archive()) == 3


def test_it_is_proven_without_the_live_server_too(cluster: BackedCluster) -> None:
    assert prove(cluster, host="/nonexistent", amcheck=False)["health"] == "well"


@pytest.mark.parametrize(
    ("given", "name", "health"),
    [
        ({"max_age": 0.5}, "backup age", "sick"),
        ({"known_answers": [dict(ANSWERS[0], expect="600")]}, "backup answer rows", "sick"),
        ({"known_answers": [dict(ANSWERS[0], query="SELECT nonsense")]}, "backup answer rows", "unknown"),
        ({"system_identifier": "1"}, "backup identity", "sick"),
        ({"stanza": "nope"}, "backup", "sick"),
    ],
    ids=["too old", "another answer", "no answer", "another system", "no stanza"],
)
def test_what_is_not_proven_is_named(cluster: BackedCluster, given: dict[str, t.Any], name: str, health: str) -> None:
    result = prove(cluster, amcheck=False, **given)
    assert (result["health"], words(result)[name]) == (health, health), result
    assert not result["proven"]
    assert left_over(cluster) == []


def test_without_room_it_refuses_and_a_rehearsal_restores_nothing(cluster: BackedCluster) -> None:
    with pytest.raises(StepError, match="no_room"):
        prove(cluster, space_factor=1e9)
    rehearsed = prove(cluster, check=True)
    assert set(words(rehearsed)) == {"backup age", "backup wal"}
    assert left_over(cluster) == []


def test_a_damaged_page_in_the_backup_is_found(cluster: BackedCluster) -> None:
    path = cluster.sql("SELECT pg_relation_filepath('t')")
    [label] = [one.name for one in (cluster.repo / "backup" / STANZA).iterdir() if one.name.endswith("F")]
    file = cluster.repo / "backup" / STANZA / label / "pg_data" / path
    kept = file.read_bytes()
    file.write_bytes(kept[:100] + b"\xff" * 60 + kept[160:])
    try:
        result = prove(cluster)
    finally:
        file.write_bytes(kept)
    assert result["health"] == "sick", result
    assert left_over(cluster) == []


def play(cluster: BackedCluster, *flags: str) -> tuple[int, dict[str, t.Any], str, str]:
    folder = cluster.folder / "play"
    folder.mkdir(exist_ok=True)
    where = cluster.where(side_dir=str(cluster.folder / "side"), known_answers=ANSWERS)
    del where["data_dir"]
    host = {f"backup_verification_{name}": value for name, value in where.items()}
    host.setdefault("backup_verification_database", "postgres")
    host.update(ansible_connection="local", ansible_python_interpreter=sys.executable)
    host.update(backup_verification_report_file=str(folder / "r.json"), backup_verification_textfile=str(folder / "r.prom"))
    (folder / "i.json").write_text(json.dumps({"postgresql": {"hosts": {"pg": host}}}))
    command = [str(BIN / "ansible-playbook"), "playbooks/verify-backups.yml", "-i", str(folder / "i.json"), *flags]
    done = run_ansible(command, cwd=ROOT, timeout=200)
    return done.returncode, json.loads((folder / "r.json").read_text()), (folder / "r.prom").read_text(), done.stdout + done.stderr


def test_the_playbook_ends_by_the_verdict_and_writes_it_down(cluster: BackedCluster) -> None:
    code, report, metrics, text = play(cluster)
    assert (code, report["health"]) == (0, "well"), text
    assert 'somabrain_health_age_seconds{host="pg",check="backup age",kind="backup"}' in metrics
    gone = cluster.archive()[1]
    kept = gone.read_bytes()
    gone.unlink()
    try:
        code, report, metrics, text = play(cluster)
    finally:
        gone.write_bytes(kept)
    assert (code, report["health"]) == (2, "sick"), text
    assert gone.name[:24] in text
    assert left_over(cluster) == []


def reconcile(cluster: BackedCluster, **given: t.Any) -> dict[str, t.Any]:
    spec = data_reconciliation_info.ARGUMENT_SPEC
    where = {key: cluster.where()[key] for key in ("host", "port", "os_user")}
    return data_reconciliation_info.run({**{name: rule.get("default") for name, rule in spec.items()}, **where, **given}, False)


@pytest.mark.parametrize(
    ("given", "health", "say"),
    [
        ({"outbox": {"max_failed": 2}}, "well", "outbox: 8 rows pending"),
        ({"outbox": {"max_failed": 1}}, "sick", "outbox: 2 rows failed"),
        ({"outbox": {"table": "nope"}}, "unknown", "cannot be read"),
        ({"outbox": {"table": "t; DROP TABLE t"}}, "unknown", "not a plain table or column name"),
        ({"audit": {"table": "audit", "column": "at", "hours": 1, "max_gap_minutes": 30}}, "well", "26.0 minutes"),
        ({"audit": {"table": "audit", "column": "at", "hours": 1, "max_gap_minutes": 20}}, "sick", "26.0 minutes"),
        ({"stores": [{"name": "ids", "pattern": "*", "regex": "(.+)", "query": "SELECT 1"}], "redis": {"port": 1}}, "unknown", "cannot be"),
    ],
)
def test_what_does_not_fit_together_is_told_as_counts(cluster: BackedCluster, given: dict[str, t.Any], health: str, say: str) -> None:
    result = reconcile(cluster, **given)
    assert result["health"] == health, result
    assert say in " ".join(result["say"])


def answers(socket: str) -> bool:
    """The socket is there a moment before anything listens on it."""
    with contextlib.suppress(RespError), Connection(address_of({"socket": socket}), 1) as connection:
        return bool(connection.ask("PING") == "PONG")
    return False


@pytest.fixture
def redis(tmp_path: Path) -> t.Iterator[str]:
    """A Redis on a socket of its own, which has the ids 1, 2, 3 of policies and a key of another kind."""
    server, socket = shutil.which("redis-server"), str(tmp_path / "redis.sock")
    if not server:
        pytest.skip("redis-server is not installed")
    words = [server, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        until(lambda: answers(socket))
        with Connection(address_of({"socket": socket}), 10) as connection:
            for key in ("policy:1", "policy:2", "policy:3", "other:9", "policy:not-a-number"):
                connection.ask("SET", key, "x")
        yield socket
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("ids", "limits", "health", "only"),
    [
        ("(1), (2), (3)", {"max_only_redis": 0, "max_only_database": 0}, "well", (0, 0)),
        ("(2), (3), (4), (5)", {}, "well", (1, 2)),
        ("(2), (3), (4), (5)", {"max_only_redis": 1, "max_only_database": 2}, "well", (1, 2)),
        ("(2), (3), (4), (5)", {"max_only_redis": 0}, "sick", (1, 2)),
        ("(2), (3), (4), (5)", {"max_only_database": 1}, "sick", (1, 2)),
    ],
)
def test_ids_that_only_one_store_has_are_counted(
    cluster: BackedCluster, redis: str, ids: str, limits: dict[str, int], health: str, only: tuple[int, int]
) -> None:
    pair = {"name": "policies", "pattern": "policy:*", "regex": r"policy:(\d+)$", "query": f"SELECT * FROM (VALUES {ids}) AS policies(id)"}
    result = reconcile(cluster, stores=[{**pair, **limits}], redis={"socket": redis})
    assert result["health"] == health, result
    assert f"policies: {only[0]} ids only in Redis, {only[1]} only in the database" in " ".join(result["say"])
