# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recover-database on real clusters under a real supervisord: what it cures, what it refuses, and that nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import typing as t
import xmlrpc.client
from pathlib import Path

import pytest
from farms.postgresql import BINARIES, USER, Cluster
from farms.redis import BIN, PATIENCE, SUPERVISORD, Farm, Run, snapshot, start_ticks
from farms.waiting import until

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import process_facts

pytestmark = [
    pytest.mark.skipif(not BINARIES, reason="PostgreSQL's server is not installed"),
    pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed"),
    pytest.mark.skipif(not (BIN / "ansible-playbook").exists(), reason="no ansible-playbook beside this Python"),
]


class Databases(Farm):
    """Clusters under a supervisord."""

    GROUP, PLAYBOOK, USER = "postgresql", "recover-database", USER

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.template = Cluster(folder / "template")
        self.template.folder.mkdir()
        self.template.create()
        self.made: list[Database] = []

    def database(self, name: str, place: Path | None = None, **settings: t.Any) -> Database:
        """Return a new cluster that runs and once was proven well."""
        (self.folder / name).mkdir()
        one = Database(self, name, place, **settings)
        self.made.append(one)
        return one.start_under()

    def stop(self) -> None:
        super().stop()
        for one in self.made:
            one.end()


class Database(Cluster):
    """One cluster as a program of the farm's supervisor, with ten acknowledged rows in it."""

    def __init__(self, farm: Databases, name: str, place: Path | None, **settings: t.Any) -> None:
        super().__init__(farm.folder / name, **{"fsync": "on", **settings})
        self.farm, self.name, self.rescue = farm, name, farm.folder / name / "rescue"
        self.copied(farm.template.data, place)
        self.log = farm.folder / name / "log"
        self.log.touch()
        os.chmod(self.log, 0o666)  # noqa: S103
        farm.add(name, f"{self.binaries}/postgres -D {self.data} -c logging_collector=off", 0)
        config = farm.folder / "programs" / f"{name}.conf"
        config.write_text(config.read_text() + f"stdout_logfile={self.log}\nredirect_stderr=true\nstopsignal=INT\n")
        farm.call.reloadConfig()
        farm.call.removeProcessGroup(name)
        farm.call.addProcessGroup(name)

    def start_under(self) -> Database:
        with contextlib.suppress(xmlrpc.client.Fault):
            self.farm.call.startProcess(self.name, True)
        until(lambda: self.answers, what=self.log.read_text()[-500:])
        self.sql("CREATE TABLE IF NOT EXISTS t (i int); INSERT INTO t SELECT generate_series(1, 10)")
        return self

    @property
    def answers(self) -> bool:
        with contextlib.suppress(AssertionError):
            return self.sql("SELECT 1") == "1"
        return False

    @property
    def rows(self) -> int:
        return int(self.sql("SELECT count(*) FROM t"))

    @property
    def runs(self) -> bool:
        return self.farm.call.getProcessInfo(self.name)["statename"] in ("RUNNING", "STARTING")

    def gone(self) -> None:
        """See supervisor notice that it has ended."""
        until(lambda: not self.runs and not self.processes)

    def crash(self) -> None:
        self.kill()
        self.gone()

    def halt(self) -> None:
        with contextlib.suppress(xmlrpc.client.Fault):
            self.farm.call.stopProcess(self.name, True)
        self.gone()

    @property
    def variables(self) -> dict[str, t.Any]:
        given = {
            "host": str(self.folder), "port": self.port, "user": "soma", "database": "postgres", "os_user": USER, "manager": "supervisor",
            "service": self.name, "data_dir": str(self.data), "log_file": str(self.log), "bin_dir": self.binaries,
            "rescue_dir": str(self.rescue), "patience": dict(PATIENCE, timeout=40), "stop_timeout": 5,
            "known_answers": [{"query": "SELECT count(*) FROM t WHERE i <= 10", "expect": "10"}],
        }  # fmt: skip
        named = {f"database_recovery_{key}": value for key, value in given.items()}
        return {
            **named, "remediation_state_dir": f"{self.folder}-ledger", "service_manager_supervisor_url": self.farm.url,
            "remediation_budget": {"attempts": 50, "within_seconds": 900},
        }  # fmt: skip

    def recover(self, *flags: str, **variables: t.Any) -> Run:
        given = {f"database_recovery_{key}" if "remediation" not in key else key: value for key, value in variables.items()}
        return self.farm.play({self.name: {**self.variables, **given}}, *flags)["lab"]


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Databases]:
    folder = Path(tempfile.mkdtemp(prefix="pg-farm-", dir="/tmp"))
    folder.chmod(0o755)
    made = Databases(folder)
    yield made
    made.stop()
    shutil.rmtree(folder)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return "".join(letter for letter in str(request.node.name) if letter.isalnum())[-40:]


@pytest.fixture
def db(farm: Databases, name: str) -> t.Iterator[Database]:
    made = farm.database(name)
    yield made
    made.end()


def told(run: Run) -> tuple[str, str, list[str]]:
    return run.word, run.code, run.acts


def test_a_healthy_database_is_left_alone_and_its_configuration_is_kept(db: Database) -> None:
    before = (db.postmaster, start_ticks(db.postmaster))
    run = db.recover()
    assert (run.rc, *told(run)) == (0, "nothing_to_do", "", []), run.text
    assert (db.postmaster, start_ticks(db.postmaster)) == before
    kept = db.rescue / "proven-configuration"
    assert {path.read_bytes() for path in kept.iterdir()} >= {db.config.read_bytes(), (db.data / "pg_hba.conf").read_bytes()}
    first = snapshot(kept)
    assert told(db.recover()) == ("nothing_to_do", "", [])
    assert snapshot(kept) == first


def test_a_killed_database_is_rehearsed_then_recovered_with_every_row(db: Database, farm: Databases) -> None:
    neighbour = farm.database("neighbour")
    decoy = (neighbour.postmaster, start_ticks(neighbour.postmaster))
    db.crash()
    before = snapshot(db.data)
    rehearsed = db.recover("--check")
    assert (rehearsed.rc, rehearsed.word) == (0, "rehearsed"), rehearsed.text
    assert snapshot(db.data) == before
    assert not db.runs
    run = db.recover()
    assert (run.rc, *told(run)) == (0, "recovered", "", ["start"]), run.text
    assert run.states == ("down_crashed", "accepting")
    assert db.rows == 10
    assert told(db.recover()) == ("nothing_to_do", "", [])
    assert (neighbour.postmaster, start_ticks(neighbour.postmaster)) == decoy


def test_a_stopped_database_is_started(db: Database) -> None:
    db.halt()
    run = db.recover()
    assert (*told(run), run.states[0]) == ("recovered", "", ["start"], "down_clean"), run.text


def test_a_database_that_a_signal_stopped_goes_on(db: Database) -> None:
    pid = db.postmaster
    os.kill(pid, signal.SIGSTOP)
    run = db.recover(probe_timeout=1)
    assert (*told(run), run.states[0]) == ("recovered", "", ["continue"], "hung"), run.text
    assert db.postmaster == pid


def test_a_server_whose_lock_file_was_taken_away_is_started_anew_and_no_second_beside_it(db: Database) -> None:
    (db.data / "postmaster.pid").rename(db.folder / "away")
    run = db.recover()
    # PostgreSQL looks for it once a minute and ends by itself: what the run meets depends on the second.
    assert (run.word, run.acts) in (("recovered", ["restart"]), ("recovered", ["start"])), run.text
    assert run.states[1] == "accepting"
    assert db.rows == 10
    assert len([line for line in db.command_lines.values() if line and "postgres:" not in line]) == 1


def test_a_server_that_stays_hung_whatever_is_done_is_named_and_never_killed(db: Database) -> None:
    old = db.postmaster
    over = threading.Event()

    def stop_again() -> None:
        while not over.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(old, signal.SIGSTOP)
            time.sleep(0.01)

    keeper = threading.Thread(target=stop_again)
    keeper.start()
    try:
        run = db.recover(probe_timeout=1, stop_timeout=3)
    finally:
        over.set()
        keeper.join()
        with contextlib.suppress(ProcessLookupError):
            os.kill(old, signal.SIGCONT)
    assert (run.word, run.acts) == ("failed", ["continue", "restart"]), run.text
    assert "did not stop" in run.text
    assert db.postmaster == old


def test_backends_without_a_postmaster_end_by_a_signal_they_can_refuse(db: Database) -> None:
    session = db.session("SELECT pg_sleep(600);")
    backend = int(until(lambda: db.sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(%'")))
    os.kill(backend, signal.SIGSTOP)
    os.kill(db.postmaster, signal.SIGKILL)
    until(lambda: db.processes == [backend])
    until(lambda: not db.runs)
    run = db.recover()
    session.kill()
    session.wait()
    assert (*told(run), run.states[0]) == ("recovered", "", ["end_orphans", "start"], "down_orphans"), run.text
    assert db.rows == 10


def write_lock(db: Database, pid: int, started: int) -> Path:
    path = db.data / "postmaster.pid"
    path.write_text(f"{pid}\n{db.data}\n{started}\n{db.port}\n{db.folder}\n127.0.0.1\n")
    shutil.chown(path, USER) if os.geteuid() == 0 else None
    path.chmod(0o600)
    return path


def test_a_lock_file_of_a_living_stranger_is_moved_aside_and_kept(db: Database) -> None:
    db.halt()
    # Of the same user: PostgreSQL itself takes only such a one for a postmaster.
    as_user: dict[str, t.Any] = {"user": USER} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "600"], **as_user) as stranger:
        lock = write_lock(db, stranger.pid, 1700000000)
        content = lock.read_bytes()
        run = db.recover()
        assert (*told(run), run.states[0]) == ("recovered", "", ["move_pid_aside", "start"], "pid_stale"), run.text
        assert stranger.poll() is None
        stranger.kill()
    [aside] = db.data.glob("postmaster.pid.aside-*")
    assert aside.read_bytes() == content
    assert str(aside) in str(run.outcome["undo"])


def test_a_lock_file_in_doubt_stays_where_it_is(db: Database) -> None:
    db.halt()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        write_lock(db, stranger.pid, int(process_facts(stranger.pid)["started_at"]))
        before = snapshot(db.data)
        run = db.recover()
        stranger.kill()
    assert told(run) == ("refused", "state_not_handled", []), run.text
    assert snapshot(db.data) == before


def test_a_broken_configuration_is_replaced_by_the_proven_one_and_kept(db: Database) -> None:
    assert told(db.recover()) == ("nothing_to_do", "", [])
    good = db.config.read_bytes()
    db.halt()
    broken = good + b"\nshared_buffers = 'banana'\n"
    db.config.write_bytes(broken)
    run = db.recover()
    assert (*told(run), run.states[0]) == ("recovered", "", ["restore_config", "start"], "down_bad_config"), run.text
    assert db.config.read_bytes() == good
    [kept] = db.data.glob("postgresql.conf.broken-*")
    assert kept.read_bytes() == broken
    assert str(kept) in str(run.outcome["undo"])


def test_a_broken_line_about_who_may_log_in_is_replaced_by_the_proven_one(db: Database) -> None:
    assert told(db.recover()) == ("nothing_to_do", "", [])
    hba = db.data / "pg_hba.conf"
    good = hba.read_bytes()
    db.halt()
    hba.write_bytes(good + b"host all all 127.0.0.1/32 bogus\n")
    with contextlib.suppress(xmlrpc.client.Fault):
        db.farm.call.startProcess(db.name, True)
    until(lambda: b"bogus" in db.log.read_bytes() and not db.runs and not db.processes)
    run = db.recover()
    assert (*told(run), run.states) == ("recovered", "", ["restore_config", "start"], ("down_bad_config", "accepting")), run.text
    assert hba.read_bytes() == good


def test_a_broken_configuration_without_a_proven_one_is_refused_by_its_line(db: Database) -> None:
    db.halt()
    lines = len(db.config.read_text().splitlines())
    with db.config.open("a") as file:
        file.write("frobnicate = 1\n")
    before = snapshot(db.data)
    run = db.recover()
    assert (run.word, run.code) == ("refused", "config_broken"), run.text
    assert f"line {lines + 1}" in run.outcome["reasons"][0]["text"]
    assert snapshot(db.data) == before


def test_a_wrong_mode_is_mended_and_put_back_where_that_did_not_help(db: Database) -> None:
    db.halt()
    db.data.chmod(0o777)  # noqa: S103
    run = db.recover()
    assert (*told(run), run.states[0]) == ("recovered", "", ["fix_permission", "start"], "down_permission"), run.text
    assert db.data.stat().st_mode & 0o7777 == 0o700
    db.halt()
    db.data.chmod(0o777)  # noqa: S103
    # Nothing that the configuration check sees, but no start comes up on it.
    with db.config.open("a") as file:
        file.write("ssl = on\nssl_cert_file = 'none.crt'\n")
    failed = db.recover(patience=dict(PATIENCE, timeout=5))
    assert failed.word == "undone", failed.text
    # The reason of that start is on the screen.
    assert "none.crt" in failed.text
    assert db.data.stat().st_mode & 0o7777 == 0o777


@pytest.fixture
def small_disk() -> t.Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pg-small-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m,mode=0755", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip()[:100])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_gets_room_only_from_what_was_named_for_it(farm: Databases, name: str, small_disk: Path) -> None:
    db = farm.database(name, place=small_disk)
    reserve = small_disk / "reserve"
    reserve.write_bytes(b"x" * (24 << 20))
    db.crash()
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 65536)
    refused = db.recover()
    assert (refused.word, refused.code) == ("refused", "no_room"), refused.text
    assert "reserve" in refused.text
    wrong = db.recover(make_room=[str(db.data / "pg_wal" / "000000010000000000000001")])
    assert (wrong.word, wrong.code) == ("refused", "bad_input"), wrong.text
    none = db.recover(make_room=[str(reserve) + ".none"])
    assert told(none)[1] == "no_room", none.text
    run = db.recover(make_room=[str(reserve)])
    assert (*told(run), run.states[0]) == ("recovered", "", ["make_room", "start"], "down_disk_full"), run.text
    assert [one["what"] for one in run.outcome["left"]] == ["reserve_gone"]
    assert not reserve.exists()
    assert db.rows == 10
    db.end()


def test_wal_that_is_missing_is_refused_with_a_cold_copy_and_the_way_on(db: Database) -> None:
    db.crash()
    segment = sorted((db.data / "pg_wal").glob("0*"))[0]
    segment.rename(db.folder / "away")
    before = snapshot(db.data)
    run = db.recover()
    assert (run.word, run.code, run.states[0]) == ("refused", "data_damaged", "down_no_wal"), run.text
    assert "restore-database.yml" in run.outcome["reasons"][0]["next_command"]
    assert snapshot(db.data) == before
    [copy] = db.rescue.glob("*/data")
    assert (copy / "global/pg_control").read_bytes() == (db.data / "global/pg_control").read_bytes()


def test_a_damaged_control_file_and_an_emptied_directory_are_refused(db: Database) -> None:
    db.crash()
    control = db.data / "global/pg_control"
    control.write_bytes(b"\0" * len(control.read_bytes()))
    run = db.recover()
    assert (run.word, run.code, run.states[0]) == ("refused", "data_damaged", "down_bad_control"), run.text
    assert not db.runs
    for path in db.data.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = db.recover()
    assert (*told(run), run.states[0]) == ("refused", "data_missing", [], "down_data_missing"), run.text
    assert list(db.data.iterdir()) == []


def test_a_full_house_and_another_cluster_are_refused_without_a_restart(db: Database) -> None:
    pid = db.postmaster
    held = db.hold(20)
    run = db.recover()
    for sock in held:
        sock.close()
    assert (*told(run), run.states[0]) == ("refused", "state_not_handled", [], "too_many_connections"), run.text
    db.crash()
    pinned = db.recover(expected_identity={"system_identifier": "1"})
    assert told(pinned) == ("refused", "wrong_identity", []), pinned.text
    assert pid not in db.processes


def test_a_replay_is_waited_for(db: Database) -> None:
    db.sql("CREATE TABLE big (i int, s text); INSERT INTO big SELECT g, repeat('x', 200) FROM generate_series(1, 200000) g")
    db.crash()
    with contextlib.suppress(xmlrpc.client.Fault):
        db.farm.call.startProcess(db.name, False)
    replaying = until(lambda: [pid for pid, line in db.command_lines.items() if "startup" in line])[0]
    # However fast the machine is, it still replays when it is looked at.
    os.kill(replaying, signal.SIGSTOP)
    threading.Timer(6, os.kill, (replaying, signal.SIGCONT)).start()
    run = db.recover()
    assert (run.word, run.acts) == ("recovered", ["wait"]), run.text
    assert db.sql("SELECT count(*) FROM big") == "200000"


def corrupt(path: Path, page: int, at: int, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[8192 * page + at : 8192 * page + at + len(content)] = content
    path.write_bytes(data)


def test_a_damaged_index_is_built_anew_after_an_approval_and_a_damaged_table_is_handed_over(db: Database) -> None:
    db.sql("CREATE EXTENSION amcheck; CREATE TABLE c AS SELECT g AS i, repeat('x', 50) AS s FROM generate_series(1, 20000) g")
    db.sql("CREATE INDEX c_i ON c (i); CHECKPOINT")
    index, table = (db.data / db.sql(f"SELECT pg_relation_filepath('{name}')") for name in ("c_i", "c"))
    db.halt()
    corrupt(index, 3, 0, b"\0" * 8192)
    damaged = index.read_bytes()
    db.start_under()
    known = [{"query": "SELECT count(*) FROM t WHERE i <= 10", "expect": "20"}]
    # An answer that only the index gives: it is read through it.
    known.append(
        {"query": "SELECT coalesce(sum(i), 0) FROM (SELECT i FROM c WHERE i BETWEEN 700 AND 1500 ORDER BY i) AS found", "expect": "881100"}
    )
    asked = db.recover(known_answers=known)
    assert (asked.word, asked.code) == ("refused", "approval_needed"), asked.text
    assert index.read_bytes() == damaged
    token = asked.outcome["reasons"][0]["token"]
    run = db.recover(known_answers=known, remediation_approval=token)
    assert (run.word, run.states) == ("recovered", ("up_corrupt", "accepting")), run.text
    [kept] = [path for path in db.rescue.rglob("*") if path.name.endswith(f"%2F{index.name}")]
    assert kept.read_bytes() == damaged
    db.halt()
    # A header of a page that cannot be: its free space would end before it begins.
    corrupt(table, 5, 12, b"\xff\xff\0\0")
    db.start_under()
    wrong = [{"query": "SELECT count(*) FROM c WHERE s IS NOT NULL", "expect": "20000"}]
    refused = db.recover(known_answers=wrong)
    assert (refused.word, refused.code) == ("refused", "data_damaged"), refused.text
    assert "restore-database.yml" in refused.outcome["reasons"][0]["next_command"]


def test_a_checksum_that_failed_before_a_proven_repair_is_past_and_a_new_one_is_not(db: Database) -> None:
    def recover(**given: t.Any) -> Run:
        return db.recover(known_answers=[{"query": "SELECT count(*) > 0 FROM t", "expect": "true"}], **given)

    db.sql("CREATE EXTENSION amcheck; CREATE TABLE c AS SELECT g AS i, repeat('x', 50) AS s FROM generate_series(1, 20000) g")
    db.sql("CREATE INDEX c_i ON c (i); CHECKPOINT")
    index = db.data / db.sql("SELECT pg_relation_filepath('c_i')")
    db.halt()
    db.run("pg_checksums", "--enable", "-D", str(db.data))
    corrupt(index, 3, 4000, b"\xde\xad\xbe\xef")
    db.start_under()
    with contextlib.suppress(AssertionError):
        db.sql("SET enable_seqscan = off; SELECT sum(i) FROM c WHERE i BETWEEN 1 AND 3000")
    counter = "SELECT sum(checksum_failures) FROM pg_stat_database"
    until(lambda: int(db.sql(counter)) > 0)
    asked = recover()
    assert (asked.word, asked.code, asked.states[0]) == ("refused", "approval_needed", "up_corrupt"), asked.text
    run = recover(remediation_approval=asked.outcome["reasons"][0]["token"])
    assert (run.word, run.states) == ("recovered", ("up_corrupt", "accepting")), run.text
    assert int(db.sql(counter)) > 0
    again = recover()
    assert told(again) == ("nothing_to_do", "", []), again.text
    # A page of a table that fails now is new, whatever was counted before.
    table = db.data / db.sql("SELECT pg_relation_filepath('c')")
    db.halt()
    corrupt(table, 5, 4000, b"\xde\xad\xbe\xef")
    db.start_under()
    with contextlib.suppress(AssertionError):
        db.sql("SET enable_indexscan = off; SELECT count(s) FROM c")
    new = until(lambda: (found := recover()).word == "refused" and found)
    assert (new.code, new.states[0]) == ("data_damaged", "up_corrupt"), new.text


def test_a_standby_is_started_and_never_promoted(db: Database, farm: Databases) -> None:
    (farm.folder / "standby").mkdir()
    standby = Database(farm, "standby", None)
    farm.made.append(standby)
    shutil.rmtree(standby.data)
    db.run("pg_basebackup", "-h", str(db.folder), "-p", str(db.port), "-U", "soma", "-D", str(standby.data), "-R", "-c", "fast")
    with standby.config.open("a") as file:
        file.write(f"port = {standby.port}\nunix_socket_directories = '{standby.folder}'\n")
    run = standby.recover(expected_role="standby")
    assert (run.word, run.states[1]) == ("recovered", "standby"), run.text
    refused = standby.recover(expected_role="primary")
    assert told(refused) == ("refused", "wrong_identity", []), refused.text
    assert standby.sql("SELECT pg_is_in_recovery()") == "t"
