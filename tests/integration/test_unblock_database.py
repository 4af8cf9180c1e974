# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""unblock-database on a real PostgreSQL: who is ended, who is left alone, and what is never shown."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from farms.warmly import run_ansible

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.blocked import load_locks
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import postgresql_locks_info, postgresql_unblock

ROOT = Path(__file__).resolve().parents[2]
BINARIES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
PORT = 5432
LIMIT = 0.5
SECRET = "s3cret-0f-4-client"
OWNER = "postgres" if os.geteuid() == 0 else None
pytestmark = pytest.mark.skipif(not BINARIES, reason="PostgreSQL's server is not installed")
T = t.TypeVar("T")


def until(seen: t.Callable[[], t.Optional[T]], seconds: float = 30) -> T:
    """Return what *seen* returns as soon as that is true."""
    end = time.monotonic() + seconds
    while True:
        found = seen()
        if found:
            return found
        assert time.monotonic() < end, f"never came true: {seen}"
        time.sleep(0.05)


class Client:
    """One psql of an application; what it is told runs in its own time."""

    def __init__(self, cluster: Cluster, name: str, user: str = "app") -> None:
        self.cluster, self.name, self.told = cluster, name, ""
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-h", str(cluster.folder), "-p", str(PORT), "-U", user, "-d", "soma"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, cwd="/",
            env={**os.environ, "PGAPPNAME": name, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.say("\\set VERBOSITY verbose")
        self.pid = int(self.ask("SELECT pg_backend_pid()"))

    def _read(self) -> None:
        for line in t.cast("t.IO[str]", self.process.stdout):
            self.told += line

    def say(self, text: str) -> Client:
        stdin = t.cast("t.IO[str]", self.process.stdin)
        stdin.write(text + "\n")
        stdin.flush()
        return self

    def ask(self, sql: str) -> str:
        at = len(self.told)
        self.say(f"{sql};\n\\echo done-asking")
        until(lambda: "done-asking" in self.told[at:])
        return self.told[at:].partition("done-asking")[0].strip()

    def alive(self) -> bool:
        return bool(self.cluster.ask(f"SELECT 1 FROM pg_stat_activity WHERE pid = {self.pid}"))

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)


class Cluster:
    """A throw-away cluster that listens on a socket in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clients = folder, t.cast("list[Client]", [])
        folder.chmod(0o755)
        if OWNER:
            shutil.chown(folder, OWNER)

    def run(self, *words: str) -> None:
        command = [os.path.join(BINARIES[-1], words[0]), *words[1:]]
        subprocess.run(command, check=True, user=OWNER, cwd="/", capture_output=True, timeout=120)

    def start(self) -> Cluster:
        self.run("initdb", "--no-sync", "-D", str(self.folder / "data"), "-U", "postgres", "--auth=trust")
        settings = ["max_prepared_transactions=4", "fsync=off", "autovacuum_naptime=1s", "shared_buffers=16MB", "max_connections=60"]
        options = f"-p {PORT} -k {self.folder} -c listen_addresses= " + " ".join(f"-c {one}" for one in settings)
        self.run("pg_ctl", "-w", "-D", str(self.folder / "data"), "-o", options, "-l", str(self.folder / "log"), "start")
        for sql in (
            "CREATE DATABASE soma", "CREATE ROLE app LOGIN", "CREATE ROLE migrations LOGIN", "CREATE ROLE blind LOGIN",
            "CREATE ROLE watch LOGIN IN ROLE pg_monitor", "CREATE ROLE operator LOGIN IN ROLE pg_monitor, pg_signal_backend",
        ):  # fmt: skip
            self.ask(sql, database="postgres")
        self.ask("CREATE TABLE items AS SELECT g AS id, ''::text AS v FROM generate_series(1, 50) g")
        self.ask("GRANT ALL ON ALL TABLES IN SCHEMA public TO app, migrations")
        return self

    def ask(self, sql: str, database: str = "soma") -> str:
        words = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-p", str(PORT), "-U", "postgres"]
        done = subprocess.run([*words, "-d", database, "-c", sql], check=False, capture_output=True, text=True, cwd="/", timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, name: str, user: str = "app") -> Client:
        self.clients.append(Client(self, name, user))
        return self.clients[-1]

    def clear(self) -> None:
        for client in self.clients:
            client.end()
        self.clients.clear()
        for gid in self.ask("SELECT gid FROM pg_prepared_xacts").splitlines():
            self.ask(f"ROLLBACK PREPARED '{gid}'")
        others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        self.ask(f"SELECT count(pg_terminate_backend(pid)) {others}")
        until(lambda: self.ask(f"SELECT count(*) {others}") == "0")

    def stop(self) -> None:
        self.run("pg_ctl", "-w", "-m", "immediate", "-D", str(self.folder / "data"), "stop")


@pytest.fixture(scope="module")
def made() -> t.Iterator[Cluster]:
    # What runs keep is beside the folder of the server, whose user could change it there.
    outer = Path(tempfile.mkdtemp(prefix="su-"))
    outer.chmod(0o755)
    folder = outer / "pg"
    folder.mkdir()
    cluster = Cluster(folder).start()
    yield cluster
    cluster.stop()
    shutil.rmtree(outer, ignore_errors=True)


@pytest.fixture
def cluster(made: Cluster) -> t.Iterator[Cluster]:
    yield made
    made.clear()


def filled(step: t.Any, cluster: Cluster, **given: t.Any) -> dict[str, t.Any]:
    params = {name: rule.get("default") for name, rule in step.ARGUMENT_SPEC.items()}
    reach = {"host": str(cluster.folder), "port": PORT, "user": "operator", "database": "soma", "limit_seconds": LIMIT, "grace": 2.0}
    return {**params, **{name: value for name, value in reach.items() if name in params}, **given}


def look(cluster: Cluster, **given: t.Any) -> dict[str, t.Any]:
    return postgresql_locks_info.run(filled(postgresql_locks_info, cluster, **given), False)


def unblock(cluster: Cluster, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
    return postgresql_unblock.run(filled(postgresql_unblock, cluster, **given), check)


def done(result: dict[str, t.Any]) -> dict[int, str]:
    return {one["pid"]: one["done"] for one in result["sessions"]}


def idle(cluster: Cluster, row: int, name: str = "idler", user: str = "app") -> Client:
    """A session that has changed a row and forgot its transaction."""
    client = cluster.client(name, user)
    client.ask(f"BEGIN; UPDATE items SET v = '{SECRET}' WHERE id = {row}")
    return client


def busy(cluster: Cluster, row: int, name: str = "worker") -> Client:
    """A session that has changed a row and computes."""
    client = cluster.client(name)
    client.ask(f"BEGIN; UPDATE items SET v = 'mine' WHERE id = {row}")
    client.say(f"SELECT pg_sleep(600), '{SECRET}';")
    until(lambda: cluster.ask(f"SELECT 1 FROM pg_stat_activity WHERE pid = {client.pid} AND query LIKE '%pg_sleep%' AND state = 'active'"))
    return client


def waiter(cluster: Cluster, row: int, name: str = "waiter") -> Client:
    client = cluster.client(name).say(f"UPDATE items SET v = '{SECRET}-waiter' WHERE id = {row};\n\\echo through")
    until(lambda: cluster.ask(f"SELECT 1 FROM pg_locks WHERE pid = {client.pid} AND NOT granted"))
    return client


def late(cluster: Cluster, count: int, **given: t.Any) -> dict[str, t.Any]:
    """Return the look that sees *count* sessions wait for longer than the limit, in transactions older than it."""

    def seen() -> t.Optional[dict[str, t.Any]]:
        found = look(cluster, **given)
        waits = [one["wait_seconds"] or 0 for one in load_locks(filled(postgresql_locks_info, cluster), 5)["sessions"] if one["waits"]]
        old = all(root["age_seconds"] > LIMIT for root in found["facts"]["roots"])
        return found if sum(wait > 2 * LIMIT for wait in waits) >= count and old else None

    return until(seen)


class Run(t.NamedTuple):
    rc: int
    text: str
    outcome: dict[str, t.Any]

    @property
    def word(self) -> tuple[t.Any, t.Any]:
        return self.outcome.get("outcome"), (self.outcome.get("reasons") or [{}])[0].get("code")


def play(cluster: Cluster, *flags: str, **given: t.Any) -> Run:
    """Run the playbook as the operator would, with a role that is no superuser; each call has a ledger of its own unless it is given."""
    folder = Path(tempfile.mkdtemp(dir=cluster.folder.parent))
    variables = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
        "remediation_outcome_file": str(folder / "outcome.json"), "remediation_state_dir": str(folder / "ledger"),
        "database_unblock_host": str(cluster.folder), "database_unblock_port": PORT, "database_unblock_user": "operator",
        "database_unblock_database": "soma", "database_unblock_limit_seconds": LIMIT, "database_unblock_grace": 2,
        "database_unblock_patience": {"passes": 2, "window": 0.2, "timeout": 10, "interval": 0.1}, **given,
    }  # fmt: skip
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"postgresql": {"hosts": {"one": variables}}}))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "playbooks/unblock-database.yml", "-i", str(inventory), *flags]
    ran = run_ansible(command, cwd=ROOT)
    outcome = folder / "outcome.json"
    kept = "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
    assert SECRET not in ran.stdout + ran.stderr + kept
    return Run(ran.returncode, ran.stdout + ran.stderr, json.loads(outcome.read_text()) if outcome.exists() else {})


def test_a_statement_is_cancelled_and_its_client_told(cluster: Cluster) -> None:
    root, behind = busy(cluster, 1), waiter(cluster, 1)
    found = late(cluster, 1)
    assert (found["state"], found["health"], found["actions"]) == ("blocked", "sick", ["unblock"])
    result = unblock(cluster)
    assert (done(result), result["changed"]) == ({root.pid: "cancelled"}, True)
    until(lambda: "through" in behind.told)
    assert "57014" in root.told
    assert root.alive()
    assert SECRET not in json.dumps([found, result])
    assert result["sessions"][0]["query"] == "SELECT pg_sleep(?), ?"
    assert look(cluster)["state"] == "free"


def test_a_cancel_that_does_not_help_is_followed_by_a_termination(cluster: Cluster) -> None:
    root = cluster.client("savepoints")
    root.ask("BEGIN; UPDATE items SET v = 'x' WHERE id = 1; SAVEPOINT one")
    root.say("SELECT pg_sleep(600);")
    behind = waiter(cluster, 1)
    late(cluster, 1)
    result = unblock(cluster, grace=1.0)
    assert done(result) == {root.pid: "terminated"}
    assert result["sessions"][0]["cancelled_first"] is True
    until(lambda: "through" in behind.told)
    assert not root.alive()


def test_a_chain_has_one_root_and_idle_is_terminated(cluster: Cluster) -> None:
    root = idle(cluster, 1)
    middle = cluster.client("middle")
    middle.ask("BEGIN; UPDATE items SET v = 'm' WHERE id = 2")
    middle.say("UPDATE items SET v = 'm' WHERE id = 1;\n\\echo through")
    last = waiter(cluster, 2)
    found = late(cluster, 2)
    assert [(one["pid"], one["blocked_count"], one["action"]) for one in found["facts"]["roots"]] == [(root.pid, 2, "terminate")]
    assert found["table"][0].startswith(f"{root.pid} idler of app, idle in transaction")
    result = unblock(cluster)
    assert done(result) == {root.pid: "terminated"}
    until(lambda: "through" in middle.told)
    assert middle.alive()
    middle.ask("COMMIT")
    until(lambda: "through" in last.told)
    assert "57P01" in root.say("SELECT 1;").told or not root.alive()
    assert cluster.ask("SELECT v FROM items WHERE id = 1") == "m"


def test_more_roots_than_allowed_are_left_alone(cluster: Cluster) -> None:
    roots = []
    for row in range(1, 5):
        roots.append(idle(cluster, row))
        waiter(cluster, row)
    late(cluster, 4)
    rehearsed = unblock(cluster, check=True)
    assert sorted(done(rehearsed).values()) == ["left", "would_terminate", "would_terminate", "would_terminate"]
    assert all(root.alive() for root in roots)
    assert len(rehearsed["after"]) == 1
    run = play(cluster)
    assert run.word == ("refused", "state_not_handled"), run.text
    until(lambda: [root.alive() for root in roots] == [False, False, False, True])
    assert [act["action"] for act in run.outcome["acts"]] == ["unblock"]
    again = play(cluster)
    assert again.word == ("recovered", None), again.text
    assert not roots[3].alive()


def test_the_playbook_rehearses_ends_proves_and_then_has_nothing_to_do(cluster: Cluster) -> None:
    first, second, behind = idle(cluster, 1, "\x1b[31mevil {{ 7 * 7 }}\n'x"), busy(cluster, 2), waiter(cluster, 1)
    waiter(cluster, 2)
    late(cluster, 2)
    ledger = {"remediation_state_dir": str(cluster.folder.parent / "ledger")}
    rehearsed = play(cluster, "--check", "--diff", **ledger)
    assert (rehearsed.word[0], rehearsed.rc) == ("rehearsed", 0), rehearsed.text
    assert f"would terminate pid {first.pid}" in rehearsed.text
    assert f"would cancel the statement of pid {second.pid}" in rehearsed.text
    assert first.alive()
    assert "through" not in behind.told
    run = play(cluster, "-vvvv", **ledger)
    assert (run.word[0], run.rc) == ("recovered", 0), run.text
    assert run.outcome["loss"]["count"] == 0
    assert "uncommitted work" in run.outcome["loss"]["witness"]
    assert "57014" in run.outcome["undo"]
    assert "49" not in str(run.outcome["before"]["facts"]["roots"][0]["application"])
    until(lambda: "through" in behind.told)
    again = play(cluster, **ledger)
    assert (again.word[0], again.rc) == ("nothing_to_do", 0), again.text


def test_what_is_off_limits_is_named_and_left_alone(cluster: Cluster) -> None:
    roots = [
        idle(cluster, 1, user="postgres"),
        idle(cluster, 2, user="migrations"),
        idle(cluster, 3, "alembic"),
        idle(cluster, 4, "billing-7"),
    ]
    for row in range(1, 5):
        waiter(cluster, row)
    idle(cluster, 5).ask("PREPARE TRANSACTION 'gid-of-a-story'")
    waiter(cluster, 5)
    found = late(cluster, 5, off_limits_applications=["BILLING-*"])
    assert (found["state"], found["actions"]) == ("blocked_off_limits", [])
    whys = {one["pid"]: one["why"] for one in found["facts"]["roots"]}
    wanted = [
        "a session of a superuser",
        "its user matches *migrat*",
        "its application matches alembic*",
        "its application matches BILLING-*",
    ]
    for root, words in zip(roots, wanted):
        assert words in whys[root.pid]
    assert "no run does" in whys[0]
    run = play(cluster, database_unblock_off_limits_applications=["BILLING-*"])
    assert run.word == ("refused", "blocker_off_limits"), run.text
    assert "gid-of-a-story" in json.dumps(run.outcome)
    assert run.outcome["acts"] == []
    assert all(root.alive() for root in roots)
    assert cluster.ask("SELECT gid FROM pg_prepared_xacts") == "gid-of-a-story"


def test_one_that_may_be_ended_is_although_another_may_not(cluster: Cluster) -> None:
    mine, other = idle(cluster, 1), idle(cluster, 2, user="postgres")
    waiter(cluster, 1)
    waiter(cluster, 2)
    late(cluster, 2)
    run = play(cluster)
    assert run.word == ("refused", "blocker_off_limits"), run.text
    assert [act["action"] for act in run.outcome["acts"]] == ["unblock"]
    assert (mine.alive(), other.alive()) == (False, True)


def test_who_goes_on_between_look_and_act_is_left_alone(cluster: Cluster) -> None:
    root, behind = idle(cluster, 1), waiter(cluster, 1)
    [target] = late(cluster, 1)["facts"]["targets"]
    root.ask("UPDATE items SET v = 'on' WHERE id = 9")
    result = unblock(cluster, sessions=[target])
    assert (done(result), result["changed"]) == ({root.pid: "moved_on"}, False)
    assert root.alive()
    root.ask("COMMIT")
    until(lambda: "through" in behind.told)
    assert done(unblock(cluster, sessions=[target])) == {root.pid: "moved_on"}
    assert unblock(cluster)["sessions"] == []
    assert root.alive()


STARTS = {"backend_start": "2020-01-01 00:00:00+00", "query_start": "2020-01-01 00:00:00+00"}


@pytest.mark.parametrize("changed", [[], ["backend_start"], ["query_start"], ["committed"]])
def test_the_statement_that_signals_looks_again(cluster: Cluster, changed: list[str]) -> None:
    """The pid of a session that ended may be another's by now: its starts tell."""
    root = idle(cluster, 1)
    waiter(cluster, 1)
    found = [one for one in late(cluster, 1)["facts"]["roots"] if one["pid"] == root.pid]
    if changed == ["committed"]:
        root.ask("COMMIT")
    params = filled(postgresql_unblock, cluster)
    meant = dict(found[0], **{name: STARTS[name] for name in changed if name in STARTS})
    [result] = postgresql_unblock._signalled([meant], ["terminate"], params, time.monotonic() + 10)
    assert result["done"] == ("moved_on" if changed else "terminated")
    assert root.alive() is bool(changed) or not changed


def test_a_wait_within_the_limit_is_none(cluster: Cluster) -> None:
    root = idle(cluster, 1)
    waiter(cluster, 1)
    late(cluster, 1)
    found = look(cluster, limit_seconds=600.0)
    assert (found["health"], found["state"], found["facts"]["waiting"]) == ("well", "free", 1)
    assert unblock(cluster, limit_seconds=600.0)["sessions"] == []
    assert root.alive()


def test_a_session_lock_that_was_taken_on_purpose_is_left_alone(cluster: Cluster) -> None:
    root = cluster.client("singleton")
    root.ask("SELECT pg_advisory_lock(7)")
    other = cluster.client("second").say("SELECT pg_advisory_lock(7);")
    until(lambda: cluster.ask(f"SELECT 1 FROM pg_locks WHERE pid = {other.pid} AND NOT granted"))
    time.sleep(2 * LIMIT)
    found = look(cluster)
    assert found["state"] == "blocked_off_limits"
    assert "advisory lock" in found["facts"]["roots"][0]["why"]


def test_a_role_that_sees_or_may_too_little_acts_on_nothing(cluster: Cluster) -> None:
    root = idle(cluster, 1)
    waiter(cluster, 1)
    late(cluster, 1)
    blind = look(cluster, user="blind")
    assert (blind["health"], blind["actions"]) == ("unknown", [])
    assert "pg_monitor" in blind["say"][0]
    watching = look(cluster, user="watch")
    assert watching["state"] == "blocked_off_limits"
    assert "pg_signal_backend" in watching["facts"]["roots"][0]["why"]
    assert done(unblock(cluster, user="watch")) == {}
    assert root.alive()
    run = play(cluster, database_unblock_user="blind")
    assert run.word == ("refused", "health_unknown"), run.text
    pinned = play(cluster, database_unblock_expected_identity={"system_identifier": "1"})
    assert pinned.word == ("refused", "wrong_identity"), pinned.text
    assert root.alive()


def test_a_server_that_is_not_there_is_unknown(cluster: Cluster) -> None:
    gone = look(cluster, host=str(cluster.folder / "nowhere"))
    assert (gone["health"], gone["state"], gone["actions"]) == ("unknown", "", [])
    with pytest.raises(StepError, match="cannot be read"):
        unblock(cluster, host=str(cluster.folder / "nowhere"))


def test_an_autovacuum_that_prevents_wraparound_is_left_alone(cluster: Cluster) -> None:
    # Not enabled means that only wraparound starts it.
    options = (
        "autovacuum_enabled = off, autovacuum_freeze_max_age = 100000, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
    )
    cluster.ask(f"CREATE TABLE old (id int, v text) WITH ({options})")
    cluster.ask("INSERT INTO old SELECT g, repeat('x', 400) FROM generate_series(1, 20000) g")
    cluster.ask("DO $$ BEGIN FOR i IN 1..101000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
    vacuum = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'autovacuum:%public.old (to prevent wraparound)'"
    pid = int(until(lambda: cluster.ask(vacuum), 60))
    cluster.ask("GRANT ALL ON old TO app")
    waits = cluster.client("ddl").say("BEGIN; LOCK TABLE old IN ACCESS EXCLUSIVE MODE;")
    until(lambda: cluster.ask(f"SELECT 1 FROM pg_locks WHERE pid = {waits.pid} AND NOT granted"))
    time.sleep(2 * LIMIT)
    found = look(cluster)
    assert found["state"] == "blocked_off_limits"
    assert [(one["pid"], one["why"].partition(":")[0]) for one in found["facts"]["roots"]] == [
        (pid, "an autovacuum that prevents wraparound")
    ]
    assert done(unblock(cluster)) == {}
    assert cluster.ask(vacuum) == str(pid)
    waits.end()
    cluster.ask("ALTER SYSTEM SET autovacuum = off")
    cluster.ask(f"SELECT pg_reload_conf(), pg_cancel_backend({pid})")
