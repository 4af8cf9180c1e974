# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of PostgreSQL, made for real on clusters of our own, and what may be done about each."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from farms.postgresql import BINARIES, PASSWORD, USER, Cluster, seen
from farms.waiting import until

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import process
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import process_facts
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import postgresql_admin

# What root may own.
CONFIGS = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf", "log", "current_logfiles")
pytestmark = pytest.mark.skipif(not BINARIES, reason="PostgreSQL's server is not installed, so there is no cluster to look at")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Path]:
    """The data directory of a cluster as initdb leaves it, to be copied: five times faster than to make one."""
    folder = Path(tempfile.mkdtemp(prefix="pg-template-"))
    cluster = Cluster(folder).create()
    yield cluster.data
    shutil.rmtree(folder)


@pytest.fixture
def make(template: Path) -> t.Iterator[t.Callable[..., Cluster]]:
    made: list[Cluster] = []

    def new(place: Path | None = None, **settings: t.Any) -> Cluster:
        folder = Path(tempfile.mkdtemp(prefix="pg-test-"))
        made.append(Cluster(folder, **settings).copied(template, place))
        return made[-1]

    yield new
    for cluster in made:
        cluster.end()
        shutil.rmtree(cluster.folder, ignore_errors=True)


@pytest.fixture
def cluster(make: t.Callable[..., Cluster]) -> Cluster:
    return make().start()


@pytest.fixture
def down(cluster: Cluster) -> Cluster:
    """A cluster that was killed."""
    cluster.kill()
    return cluster


def test_a_healthy_cluster_is_accepting_and_looking_changes_nothing(cluster: Cluster) -> None:
    cluster.sql("CREATE TABLE t AS SELECT 1 AS i; CHECKPOINT")
    before = (cluster.sql("SELECT pg_current_wal_lsn()"), cluster.log.read_text())
    result = cluster.look(passes=3, interval=0.02)
    assert seen(result) == ("accepting", "well", [])
    assert (result["proven"], result["passes"]) == (True, 3)
    assert result["identity"]["pid"] == cluster.postmaster
    assert result["identity"]["system_identifier"] == cluster.sql("SELECT system_identifier FROM pg_control_system()")
    assert result["identity"]["role"] == "primary"
    facts = result["facts"]
    assert facts["connection"] == "accepting"
    assert facts["lock_file"]["verdict"] == "live"
    assert facts["connections"]["limit"] == 20
    assert (facts["checksums"]["on"], facts["checksums"]["failures"]) == (False, None)
    assert facts["top_queries"]["there"] is False
    assert facts["not_seen"] == {}
    assert (cluster.sql("SELECT pg_current_wal_lsn()"), cluster.log.read_text()) == before


def test_it_is_reached_over_tcp_by_a_password(cluster: Cluster, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    assert seen(cluster.look(host="127.0.0.1", password_file=str(secret))) == ("accepting", "well", [])
    secret.write_text("wrong-horse")
    result = cluster.look(host="127.0.0.1", password_file=str(secret))
    assert seen(result) == ("auth", "unknown", [])
    assert "wrong-horse" not in json.dumps(result)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root asks as somebody else")
def test_peer_authentication_lets_in_whom_it_names_and_no_refusal_is_logged(cluster: Cluster) -> None:
    cluster.sql("CREATE ROLE postgres SUPERUSER LOGIN")
    (cluster.data / "pg_hba.conf").write_text("local all postgres peer\nlocal all soma trust\n")
    cluster.sql("SELECT pg_reload_conf()")
    until(lambda: "received SIGHUP" in cluster.log.read_text())
    before = cluster.log.read_text()
    assert seen(cluster.look(user="postgres", passes=2)) == ("accepting", "well", [])
    assert "authentication failed" not in cluster.log.read_text()[len(before) :]
    assert seen(cluster.look(user="postgres", os_user="root")) == ("auth", "unknown", [])


def test_a_killed_cluster_is_crashed_and_a_stopped_one_clean(cluster: Cluster) -> None:
    identifier = cluster.look()["identity"]["system_identifier"]
    cluster.kill()
    result = cluster.look()
    assert seen(result) == ("down_crashed", "sick", ["start"])
    assert result["identity"]["system_identifier"] == identifier
    assert result["facts"]["lock_file"]["verdict"] == "dead"
    cluster.start().stop()
    assert seen(cluster.look()) == ("down_clean", "sick", ["start"])
    assert seen(cluster.look(expected_identity={"system_identifier": "1"})) == ("down_clean", "sick", [])


def test_silence_seen_from_the_controller_proves_nothing(down: Cluster) -> None:
    assert seen(down.look(host="127.0.0.1", stands_on="controller"))[1:] == ("unknown", [])


def test_a_stopped_postmaster_is_hung(cluster: Cluster) -> None:
    os.kill(cluster.postmaster, signal.SIGSTOP)
    begun = time.monotonic()
    result = cluster.look(probe_timeout=0.5)
    assert time.monotonic() - begun < 5
    assert seen(result) == ("hung", "sick", ["continue", "restart"])
    os.kill(cluster.postmaster, signal.SIGCONT)
    assert seen(cluster.look()) == ("accepting", "well", [])


def test_backends_that_outlive_their_postmaster_are_named(cluster: Cluster) -> None:
    # A backend that does not look at its socket or latch notices nothing: it is stopped as a stuck one would be.
    [held] = cluster.hold(1)
    backend = int(cluster.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"))
    os.kill(backend, signal.SIGSTOP)
    os.kill(cluster.postmaster, signal.SIGKILL)
    until(lambda: cluster.processes == [backend])
    result = cluster.look()
    assert seen(result) == ("down_orphans", "sick", ["end_orphans", "start"])
    assert [one["pid"] for one in result["facts"]["orphans"]] == [backend]
    held.close()


def test_a_lock_file_that_names_a_living_stranger_is_proven_stale(down: Cluster) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        lines = (down.data / "postmaster.pid").read_text().splitlines(keepends=True)
        (down.data / "postmaster.pid").write_text("".join([f"{stranger.pid}\n", *lines[1:2], "1700000000\n", *lines[3:]]))
        result = down.look()
        assert seen(result) == ("pid_stale", "sick", ["move_pid_aside", "start"])
        assert result["facts"]["lock_file"]["holder"]["program"] == "sleep"
        # The same start time leaves a doubt: nothing is proven then.
        started = process_facts(stranger.pid)["started_at"]
        (down.data / "postmaster.pid").write_text("".join([f"{stranger.pid}\n", *lines[1:2], f"{int(started)}\n", *lines[3:]]))
        assert seen(down.look()) == ("pid_in_doubt", "sick", [])
        stranger.kill()


def test_the_lock_file_of_a_living_cluster_is_never_stale_whatever_it_says(cluster: Cluster) -> None:
    path, pid = cluster.data / "postmaster.pid", cluster.postmaster
    text = path.read_text()
    path.write_text(text.replace(str(pid), "1", 1))
    result = cluster.look()
    assert result["facts"]["lock_file"]["verdict"] == "doubt"
    assert result["facts"]["process"]["pid"] == pid
    path.write_text(text)


def test_a_server_without_its_lock_file_is_told_before_it_ends_by_itself(cluster: Cluster) -> None:
    (cluster.data / "postmaster.pid").rename(cluster.folder / "away")
    assert seen(cluster.look()) == ("lock_file_gone", "sick", ["restart"])
    (cluster.folder / "away").rename(cluster.data / "postmaster.pid")
    assert seen(cluster.look()) == ("accepting", "well", [])
    text = (cluster.data / "postmaster.pid").read_text()
    for other, said in (("", "is empty"), (text.replace(str(cluster.postmaster), "1", 1), "names process 1")):
        (cluster.data / "postmaster.pid").write_text(other)
        result = cluster.look()
        assert seen(result) == ("lock_file_gone", "sick", ["restart"])
        assert said in result["say"][0]
    (cluster.data / "postmaster.pid").write_text(text)


def test_a_server_that_gives_its_clients_read_only_sessions_is_told_with_where_it_says_so(cluster: Cluster) -> None:
    cluster.sql("CREATE TABLE t (i int); CREATE ROLE app LOGIN; GRANT INSERT ON t TO app; CREATE ROLE report LOGIN")
    cluster.sql("ALTER ROLE report SET default_transaction_read_only = on")
    assert seen(cluster.look()) == ("accepting", "well", [])
    for told, place in (
        ("ALTER ROLE app SET default_transaction_read_only = on", "role app has it from ALTER ROLE"),
        ("ALTER DATABASE postgres SET default_transaction_read_only = on", "database postgres has it from ALTER DATABASE"),
        ("ALTER SYSTEM SET default_transaction_read_only = on", "postgresql.auto.conf line 3"),
    ):
        cluster.sql("BEGIN READ WRITE; SELECT 1; COMMIT; SET default_transaction_read_only = off;" + told)
        cluster.sql("SELECT pg_reload_conf()")
        result = until(lambda: (found := cluster.look())["state"] == "read_only" and found)
        assert seen(result) == ("read_only", "sick", [])
        assert place in result["say"][0]
        undone = told.replace(" SET ", " RESET ").replace(" = on", "")
        cluster.sql("SET default_transaction_read_only = off;" + undone)
        cluster.sql("SELECT pg_reload_conf()")
        until(lambda: seen(cluster.look()) == ("accepting", "well", []))


def test_an_archive_command_that_hangs_is_told_although_nothing_fails(make: t.Callable[..., Cluster]) -> None:
    cluster = make(archive_mode="on", archive_command="sleep 600").start()
    cluster.sql("CREATE TABLE t (i int)")
    for _turn in range(3):
        cluster.sql("INSERT INTO t VALUES (1); SELECT pg_switch_wal()")
    # WAL waits and nothing was archived yet: that proves neither.
    assert seen(cluster.look()) == ("accepting", "unknown", [])
    result = until(lambda: (found := cluster.look(max_archive_seconds=1.0))["state"] == "archiver_failing" and found)
    assert seen(result) == ("archiver_failing", "sick", [])
    assert "no progress" in result["say"][0]


def test_a_cluster_of_patroni_is_left_to_patroni_unless_only_its_files_are_left(down: Cluster) -> None:
    (down.data / "patroni.dynamic.json").write_text("{}")
    result = down.look()
    assert seen(result) == ("owned_elsewhere", "sick", [])
    assert "patroni.dynamic.json" in result["say"][0]
    assert "patronictl list" in result["say"][0]
    assert seen(down.look(former_owners=["Patroni"])) == ("down_crashed", "sick", ["start"])
    down.start()
    assert seen(down.look()) == ("accepting", "well", [])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("frobnicate = on", "unrecognized configuration parameter"),
        ("shared_buffers = 'banana'", "invalid value"),
        ("port = = 1", "syntax error"),
    ],
)
def test_a_broken_configuration_is_named_by_its_line(down: Cluster, line: str, text: str) -> None:
    with down.config.open("a") as file:
        file.write(line + "\n")
    result = down.look()
    assert seen(result) == ("down_bad_config", "sick", ["restore_config", "start"])
    fault = result["facts"]["config"]
    assert (fault["file"], fault["line"]) == (str(down.config), len(down.config.read_text().splitlines()))
    assert text in fault["text"]


@pytest.mark.parametrize("how", ["cp", "mv"])
def test_a_broken_line_about_who_may_log_in_is_told_by_the_start_that_failed(down: Cluster, how: str) -> None:
    hba = down.data / "pg_hba.conf"
    good = hba.read_text()
    hba.write_text(good + "host all all 127.0.0.1/32 bogus\n")
    down.start_refused()
    fault = down.look()["facts"]["config"]
    assert (fault["file"], fault["line"]) == (str(hba), len(good.splitlines()) + 1)
    # A good file brought with its old time of writing: the line of the log is about another file.
    (down.folder / "good").write_text(good)
    os.utime(down.folder / "good", (1, 1))
    if how == "cp":
        subprocess.run(["cp", "-p", str(down.folder / "good"), str(hba)], check=True)
    else:
        os.replace(down.folder / "good", hba)
    assert seen(down.look()) == ("down_crashed", "sick", ["start"])


def test_a_library_that_is_missing_is_named_before_a_start_although_the_last_good_start_hides_it(cluster: Cluster) -> None:
    cluster.sql("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements', 'no_such_library'")
    cluster.stop()
    result = cluster.look()
    assert seen(result) == ("down_bad_config", "sick", ["restore_config", "start"])
    assert "no_such_library" in result["say"][0]
    assert "postgresql.auto.conf line 3" in result["say"][0]
    cluster.start_refused()
    assert seen(cluster.look())[0] == "down_bad_config"
    (cluster.data / "postgresql.auto.conf").write_text("")
    # What the log says of the last start may be past: one start tells.
    result = cluster.look()
    assert seen(result) == ("down_start_fails", "sick", ["start"])
    assert 'could not access file "no_such_library"' in result["say"][0]
    cluster.start()
    cluster.stop()
    assert seen(cluster.look()) == ("down_clean", "sick", ["start"])


def test_a_server_of_another_directory_than_the_one_named_is_not_taken_for_it(cluster: Cluster, tmp_path: Path) -> None:
    assert seen(cluster.look(data_dir=str(tmp_path))) == ("misnamed", "sick", [])


def test_variables_that_do_not_describe_this_cluster_are_named_before_anything_else(down: Cluster) -> None:
    result = down.look(port=down.port + 1)
    assert seen(result) == ("misnamed", "sick", [])
    assert f"has port {down.port} ({down.config} line" in result["say"][0]
    (down.data / "PG_VERSION").write_text("14\n")
    result = down.look()
    assert seen(result) == ("misnamed", "sick", [])
    assert "of version 14, the programs found are of version 15" in result["say"][0]
    (down.data / "PG_VERSION").write_text("15\n")
    with down.config.open("a") as file:
        file.write(f"data_directory = '{down.folder}/other'\n")
    result = down.look()
    assert seen(result) == ("misnamed", "sick", [])
    assert f"{down.folder}/other" in result["say"][0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_owner_deep_in_the_data_is_named_and_one_with_a_second_name_is_left_alone(down: Cluster) -> None:
    file = next(path for path in (down.data / "base/1").iterdir() if path.name.isdigit())
    os.chown(file, 0, 0)
    result = down.look()
    assert seen(result) == ("down_permission", "sick", ["fix_permission", "start"])
    assert [one["path"] for one in result["facts"]["access"]["wrong"]] == [str(file)]
    os.link(file, down.folder / "second")
    assert seen(down.look()) == ("down_not_ours", "sick", [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_whole_directory_of_another_owner_is_given_back_and_taken_again_and_nothing_behind_a_link(down: Cluster) -> None:
    def admin(action: str, **given: t.Any) -> dict[str, t.Any]:
        known = {"data_dir": str(down.data), "os_user": USER, "rescue_dir": str(down.folder / "rescue"), "run_id": "r1", **given}
        spec = postgresql_admin.ARGUMENT_SPEC
        return postgresql_admin.run({**{name: rule.get("default") for name, rule in spec.items()}, "action": action, **known}, False)

    def owners() -> set[int]:
        return {path.lstat().st_uid for path in [down.data, *down.data.rglob("*")] if path.name not in CONFIGS}

    subprocess.run(["chown", "-R", "root:root", str(down.data)], check=True)
    done = admin("fix_access")
    assert done["count"] > 500
    assert len(done["files"]) <= 20
    assert 0 not in owners()
    admin("put_access_back", record=done["record"])
    assert owners() == {0}
    admin("fix_access")
    assert seen(down.look()) == ("down_crashed", "sick", ["start"])
    theirs = down.folder / "theirs"
    theirs.mkdir()
    (theirs / "shadow").write_text("x")
    (down.data / "pg_twophase").rename(down.data / "before")
    (down.data / "pg_twophase").symlink_to(theirs)
    assert seen(down.look()) == ("down_not_ours", "sick", [])
    with pytest.raises(StepError, match="reached by a link"):
        admin("fix_access")
    assert (theirs / "shadow").stat().st_uid == 0


def test_logins_that_wait_for_a_lock_are_no_reason_to_restart(cluster: Cluster) -> None:
    holder = cluster.session("BEGIN; LOCK TABLE pg_authid, pg_database IN ACCESS EXCLUSIVE MODE;")
    until(lambda: "idle in transaction" in "".join(cluster.command_lines.values()))
    result = cluster.look(probe_timeout=1.5)
    assert seen(result) == ("logins_wait", "sick", [])
    assert "idle in transaction" in result["findings"][0]["text"]
    holder.kill()
    until(lambda: seen(cluster.look()) == ("accepting", "well", []))


def test_wal_that_lies_elsewhere_and_is_not_there_is_not_called_damaged(down: Cluster) -> None:
    place = down.folder / "wal"
    shutil.move(str(down.data / "pg_wal"), str(place))
    (down.data / "pg_wal").symlink_to(place)
    assert seen(down.look()) == ("down_crashed", "sick", ["start"])
    place.rename(down.folder / "unmounted")
    assert seen(down.look()) == ("tablespace_missing", "sick", [])
    (down.data / "pg_wal").unlink()
    assert seen(down.look()) == ("down_no_wal", "sick", ["keep_copy"])


def test_lost_files_of_a_database_are_not_a_wrong_name(cluster: Cluster) -> None:
    cluster.sql("CREATE DATABASE soma")
    cluster.sql("CHECKPOINT")
    shutil.rmtree(cluster.data / "base" / cluster.sql("SELECT oid FROM pg_database WHERE datname = 'soma'"))
    assert seen(cluster.look(database="soma")) == ("down_data_missing", "sick", [])
    assert seen(cluster.look(database="some")) == ("no_database", "sick", [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees whose socket it is")
def test_a_port_that_a_stranger_holds_is_told_with_its_process_before_a_start(down: Cluster) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", down.port))
        taken.listen()
        result = down.look()
    assert seen(result) == ("port_taken", "sick", [])
    assert f"port {down.port} is held by" in result["say"][0]
    assert f"pid {os.getpid()}" in result["say"][0]
    assert seen(down.look()) == ("down_crashed", "sick", ["start"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees all processes")
def test_an_empty_lock_file_is_stale_only_where_nothing_has_the_cluster_open(down: Cluster) -> None:
    (down.data / "postmaster.pid").write_text("")
    with subprocess.Popen(["sleep", "60"], cwd=down.data) as stranger:
        assert seen(down.look()) == ("pid_in_doubt", "sick", [])
        stranger.kill()
    result = down.look()
    assert seen(result) == ("pid_stale", "sick", ["move_pid_aside", "start"])
    assert "names no process" in result["say"][0]


@pytest.mark.parametrize("destination", ["stderr", "csvlog", "jsonlog"])
def test_the_reason_of_a_failed_start_is_read_wherever_and_in_whatever_language_it_was_written(
    make: t.Callable[..., Cluster], destination: str, german: str
) -> None:
    collected = {"logging_collector": "on", "log_directory": "logs", "log_destination": destination} if destination != "stderr" else {}
    cluster = make(lc_messages=german, **collected).start()
    cluster.stop()
    hba = cluster.data / "pg_hba.conf"
    good = hba.read_text()
    hba.write_text(good + "host all all 127.0.0.1/32 bogus\n")
    cluster.start_refused()
    result = cluster.look()
    assert seen(result) == ("down_bad_config", "sick", ["restore_config", "start"])
    assert (result["facts"]["config"]["file"], result["facts"]["config"]["line"]) == (str(hba), len(good.splitlines()) + 1)
    hba.write_text(good)
    with cluster.config.open("a") as file:
        file.write("ssl = on\nssl_cert_file = 'none.crt'\n")
    cluster.start_refused()
    result = cluster.look()
    assert seen(result) == ("down_start_fails", "sick", ["start"])
    assert 'could not load server certificate file "none.crt"' in result["say"][0]


@pytest.fixture
def german() -> t.Iterator[str]:
    """A locale in which PostgreSQL writes its messages, of a name of our own."""
    if not Path("/usr/share/locale/de/LC_MESSAGES/postgres-15.mo").exists():
        pytest.skip("PostgreSQL's German messages are not installed")
    place = Path(f"/usr/lib/locale/de_DE.utf8@test{os.getpid()}")
    done = subprocess.run(["localedef", "--no-archive", "-i", "de_DE", "-f", "UTF-8", str(place)], capture_output=True, check=False)
    if not place.exists():
        pytest.skip("no locale can be made here: " + done.stderr.decode()[:100])
    yield place.name
    shutil.rmtree(place)


@pytest.mark.parametrize("mode", [0o755, 0o500, 0o000])
def test_a_wrong_mode_of_the_data_directory_is_named(down: Cluster, mode: int) -> None:
    down.data.chmod(mode)
    result = down.look()
    down.data.chmod(0o700)
    assert seen(result) == ("down_permission", "sick", ["fix_permission", "start"])
    assert result["facts"]["access"]["wrong"][0]["mode"] == f"{mode:04o}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_wrong_owner_is_named(down: Cluster) -> None:
    os.chown(down.data / "global/pg_control", 0, 0)
    result = down.look()
    assert seen(result) == ("down_permission", "sick", ["fix_permission", "start"])
    assert result["facts"]["access"]["wrong"] == [
        {"path": str(down.data / "global/pg_control"), "mode": "0600", "owner": 0, "group": 0, "problem": "its owner is 0"}
    ]


def test_wal_that_recovery_needs_and_does_not_find_is_named(make: t.Callable[..., Cluster]) -> None:
    cluster = make(checkpoint_timeout="1h").start()
    cluster.sql("CHECKPOINT; CREATE TABLE t (i int); SELECT pg_switch_wal(); INSERT INTO t VALUES (1); SELECT pg_switch_wal()")
    cluster.sql("INSERT INTO t VALUES (2)")
    cluster.kill()
    segments = sorted(path for path in (cluster.data / "pg_wal").iterdir() if path.is_file())
    assert seen(cluster.look()) == ("down_crashed", "sick", ["start"])
    # A gap in the middle: PostgreSQL itself would end its recovery there, and say nothing.
    segments[1].rename(cluster.folder / "away")
    result = cluster.look()
    assert seen(result) == ("down_no_wal", "sick", ["keep_copy"])
    assert segments[1].name in result["findings"][0]["text"]
    (cluster.folder / "away").rename(segments[1])
    segments[0].rename(cluster.folder / "away")
    result = cluster.look()
    assert seen(result) == ("down_no_wal", "sick", ["keep_copy"])
    assert segments[0].name in result["findings"][0]["text"]


def test_a_damaged_control_file_is_named(down: Cluster) -> None:
    control = down.data / "global/pg_control"
    good = control.read_bytes()
    for damaged in (good[:100] + b"\xff" * 4 + good[104:], b""):
        control.write_bytes(damaged)
        assert seen(down.look()) == ("down_bad_control", "sick", ["keep_copy"])
    control.unlink()
    assert seen(down.look()) == ("down_bad_control", "sick", ["keep_copy"])


def test_an_emptied_data_directory_is_named(down: Cluster) -> None:
    shutil.rmtree(down.data / "base")
    assert seen(down.look()) == ("down_data_missing", "sick", [])
    for path in down.data.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert seen(down.look()) == ("down_data_missing", "sick", [])
    down.data.rmdir()
    assert seen(down.look()) == ("down_data_missing", "sick", [])


def test_a_full_disk_is_named(make: t.Callable[..., Cluster], small_disk: Path) -> None:
    cluster = make(place=small_disk).start()
    cluster.sql("SELECT pg_create_physical_replication_slot('forgotten', true)")
    cluster.sql("CREATE TABLE t (i int); SELECT pg_switch_wal()")
    cluster.sql("INSERT INTO t VALUES (1); SELECT pg_switch_wal()")
    cluster.kill()
    filler = small_disk / "filler"
    fill(filler)
    result = cluster.look()
    assert seen(result) == ("down_disk_full", "sick", ["make_room", "start"])
    assert f"the largest files: {filler}" in result["say"][0]
    assert "replication slot forgotten keeps" in result["say"][0]
    filler.unlink()
    assert seen(cluster.look()) == ("down_crashed", "sick", ["start"])


def fill(path: Path) -> None:
    """Write a file until its disk has no room."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 65536)


@pytest.fixture
def small_disk() -> t.Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pg-small-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m,mode=0755", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip()[:100])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_recovery_after_a_crash_is_waited_for_as_long_as_it_goes_on(make: t.Callable[..., Cluster]) -> None:
    cluster = make(checkpoint_timeout="1h", max_wal_size="4GB").start()
    cluster.sql("CREATE TABLE t (i int, s text); INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 200000) g; CHECKPOINT")
    cluster.sql("UPDATE t SET i = i + 1; UPDATE t SET i = i + 1")
    cluster.kill()
    cluster.start(wait=False)
    states = []

    def arrived() -> bool:
        result = cluster.look()
        states.append(result["state"])
        assert result["health"] != "sick" or result["state"].startswith("down"), result["say"]
        return bool(result["state"] == "accepting")

    until(arrived, 90)
    # "" is a look that the loaded machine left without an answer: unknown, and nothing more.
    assert set(states) <= {"down_crashed", "crash_recovery", "rejecting", "accepting", ""}
    assert "crash_recovery" in states or "rejecting" in states


def test_recovery_that_stands_still_is_told_and_not_interrupted(make: t.Callable[..., Cluster]) -> None:
    cluster = make(checkpoint_timeout="1h", max_wal_size="4GB").start()
    cluster.sql("CREATE TABLE t (i int, s text); INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series(1, 300000) g")
    cluster.kill()
    cluster.start(wait=False)

    def startup() -> int:
        found = process.load_processes(str(cluster.data))["startup"]
        return int(found["pid"]) if found.get("segment") else 0

    pid = until(startup)
    os.kill(pid, signal.SIGSTOP)
    cluster.look()
    until(lambda: cluster.look(max_redo_still_seconds=0.3)["state"] == "recovery_stuck")
    assert seen(cluster.look(max_redo_still_seconds=0.3)) == ("recovery_stuck", "sick", [])
    assert seen(cluster.look(max_redo_still_seconds=600)) == ("crash_recovery", "unknown", ["wait"])
    os.kill(pid, signal.SIGCONT)
    until(lambda: cluster.look()["state"] == "accepting", 90)


def test_no_connection_left_is_told(cluster: Cluster) -> None:
    held = cluster.hold(20)
    until(lambda: seen(cluster.look()) == ("too_many_connections", "sick", []))
    for sock in held:
        sock.close()
    until(lambda: seen(cluster.look()) == ("accepting", "well", []))


def test_connections_over_the_share_are_counted(cluster: Cluster) -> None:
    held = cluster.hold(15)
    result = cluster.look(max_connections_share=0.8)
    assert seen(result) == ("too_many_connections", "sick", [])
    assert (result["facts"]["connections"]["used"], result["facts"]["connections"]["reserved"]) == (16, 3)
    for sock in held:
        sock.close()


def test_a_blocker_is_named_without_what_its_query_is_about(cluster: Cluster) -> None:
    cluster.sql("CREATE TABLE t (i int, s text); INSERT INTO t VALUES (1, 'a')")
    blocker = cluster.session("BEGIN; UPDATE t SET s = 'very-private-word' WHERE i = 1;")
    until(lambda: cluster.look()["facts"]["connections"]["idle_in_transaction"] == 1)
    waiter = cluster.session("UPDATE t SET s = 'another-private-word' WHERE i = 1;")
    result = until(lambda: (found := cluster.look(max_block_seconds=0.5, max_query_seconds=0.2))["state"] == "blocked" and found)
    for session in (blocker, waiter):
        session.kill()
        session.wait()
    assert seen(result) == ("blocked", "sick", [])
    [root] = result["facts"]["locks"]["roots"]
    assert root["blocked_count"] == 1
    assert result["facts"]["sessions"]["long"][0]["query"] == "UPDATE t SET s = ? WHERE i = ?"
    assert result["facts"]["sessions"]["idle_in_transaction"]
    assert result["table"]
    assert "private-word" not in json.dumps(result)


def test_an_old_prepared_transaction_is_named(cluster: Cluster) -> None:
    cluster.sql("CREATE TABLE t (i int); BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'payment-7'")
    assert seen(cluster.look()) == ("accepting", "well", [])
    result = cluster.look(max_prepared_seconds=0.0)
    assert seen(result) == ("prepared", "sick", [])
    assert result["facts"]["prepared"][0]["gid"] == "payment-7"


def test_known_answers_are_compared_without_leaving_the_server(cluster: Cluster) -> None:
    cluster.sql("CREATE DATABASE other")
    cluster.sql("CREATE TABLE t AS SELECT 'secret-' || g AS s FROM generate_series(1, 2) g", "other")
    rows = {"database": "other", "query": "SELECT s FROM t ORDER BY s;"}
    right = [{"query": "SELECT 40 + 2 AS a, 1 AS b", "expect": "42"}, {**rows, "expect": "secret-1\nsecret-2"}]
    digest = {**rows, "sha256": hashlib.sha256(b"secret-1\nsecret-2").hexdigest()}
    assert seen(cluster.look(known_answers=[*right, digest])) == ("accepting", "well", [])
    result = cluster.look(known_answers=[*right, {**rows, "expect": "secret-1"}])
    assert seen(result) == ("up_corrupt", "sick", ["scope"])
    assert result["facts"]["known_answers"][2]["right"] is False
    assert "secret-2" not in json.dumps(result)
    gone = cluster.look(known_answers=[{"query": "SELECT s FROM t", "expect": "x"}])
    assert seen(gone) == ("up_corrupt", "sick", ["scope"])
    odd = cluster.look(known_answers=[{"query": "SELECT 1 / 0", "expect": "x"}])
    assert seen(odd)[1:] == ("unknown", [])
    with pytest.raises(StepError, match="backslash"):
        cluster.look(known_answers=[{"query": "SELECT 1 \\! touch /tmp/x", "expect": "1"}])


def test_audit_rows_are_counted_only_where_a_table_is_named(cluster: Cluster) -> None:
    cluster.sql('CREATE SCHEMA a; CREATE TABLE a."Log" ("timestamp" timestamptz)')
    audit = {"table": "a.Log", "column": "timestamp", "within_minutes": 60}
    assert seen(cluster.look(audit=audit)) == ("audit_gap", "sick", [])
    cluster.sql("INSERT INTO a.\"Log\" VALUES (now() - interval '2 hours'), (now() - interval '5 minutes')")
    assert cluster.look(audit=audit)["facts"]["audit"]["rows"] == 1
    assert seen(cluster.look(audit=audit)) == ("accepting", "well", [])
    assert seen(cluster.look(audit=dict(audit, table='a."; DROP TABLE a."Log')))[1] == "unknown"
    assert cluster.look(audit=audit)["facts"]["audit"]["rows"] == 1


def test_an_archiver_that_fails_is_told_with_its_backlog(make: t.Callable[..., Cluster]) -> None:
    cluster = make(archive_mode="on", archive_command="false").start()
    cluster.sql("CREATE TABLE t (i int); SELECT pg_switch_wal()")
    result = until(lambda: (found := cluster.look())["state"] == "archiver_failing" and found)
    assert seen(result) == ("archiver_failing", "sick", [])
    assert result["facts"]["archiver"]["waiting"] >= 1
    cluster.sql("ALTER SYSTEM SET archive_command = 'true'")
    cluster.sql("SELECT pg_reload_conf()")
    until(lambda: cluster.look()["state"] == "accepting")


def test_a_slot_that_nobody_reads_and_a_disk_that_fills_are_told_together(cluster: Cluster) -> None:
    cluster.sql("SELECT pg_create_physical_replication_slot('forgotten', true)")
    cluster.sql("CREATE TABLE t (i int); SELECT pg_switch_wal(); INSERT INTO t VALUES (1)")
    result = cluster.look(max_slot_bytes=1)
    assert seen(result) == ("accepting", "well", [])
    assert any("forgotten" in line for line in result["say"])
    full = cluster.look(max_disk_share=0.0)
    assert seen(full) == ("wal_filling", "sick", [])


def test_an_old_database_is_told_before_it_stops_writing(cluster: Cluster) -> None:
    result = cluster.look(max_xid_age=1)
    assert seen(result) == ("wraparound", "sick", [])
    assert result["facts"]["xid_age"] > 1


def test_top_queries_come_from_the_extension_without_literals(make: t.Callable[..., Cluster]) -> None:
    cluster = make(shared_preload_libraries="pg_stat_statements").start()
    cluster.sql("CREATE SCHEMA stats; CREATE EXTENSION pg_stat_statements SCHEMA stats; SELECT 'hidden-word', pg_sleep(0.1)")
    cluster.sql("COMMENT ON SCHEMA stats IS 'hidden-word'")
    result = cluster.look()
    assert any("pg_sleep" in row["query"] for row in result["facts"]["top_queries"]["queries"])
    assert len(result["facts"]["top_queries"]["queries"]) <= 10
    assert "hidden-word" not in json.dumps(result)


def test_a_damaged_page_is_told_with_and_without_checksums(make: t.Callable[..., Cluster]) -> None:
    cluster = make()
    cluster.run("pg_checksums", "--enable", "-D", str(cluster.data))
    cluster.start()
    cluster.sql("CREATE TABLE t AS SELECT g AS i, repeat('x', 100) AS s FROM generate_series(1, 1000) g; CHECKPOINT")
    file = cluster.data / cluster.sql("SELECT pg_relation_filepath('t')")
    cluster.stop()
    data = bytearray(file.read_bytes())
    data[8192 * 2 + 4000 : 8192 * 2 + 4004] = b"\xde\xad\xbe\xef"
    file.write_bytes(data)
    cluster.start()
    result = cluster.look(known_answers=[{"query": "SELECT count(*) FROM t", "expect": "1000"}])
    assert seen(result) == ("up_corrupt", "sick", ["scope"])
    again = until(lambda: (found := cluster.look())["facts"]["checksums"]["failures"] and found)
    assert seen(again) == ("up_corrupt", "sick", ["scope"])
    assert again["facts"]["checksums"]["on"] is True


def test_a_standby_is_well_in_its_place_and_never_to_be_promoted(make: t.Callable[..., Cluster]) -> None:
    primary = make().start()
    standby = make()
    shutil.rmtree(standby.data)
    primary.run(
        "pg_basebackup", "-h", str(primary.folder), "-p", str(primary.port), "-U", "soma", "-D", str(standby.data), "-R", "-c", "fast"
    )
    with standby.config.open("a") as file:
        file.write(f"port = {standby.port}\nunix_socket_directories = '{standby.folder}'\n")
    standby.start()
    until(lambda: seen(standby.look()) == ("standby", "well", []))
    assert seen(standby.look(expected_role="standby")) == ("standby", "well", [])
    assert seen(standby.look(expected_role="primary")) == ("wrong_role", "sick", [])
    assert seen(primary.look(expected_role="standby")) == ("wrong_role", "sick", [])
    assert primary.look()["facts"]["replication"]["senders"][0]["state"] == "streaming"
    standby.sql("SELECT pg_wal_replay_pause()")
    paused = standby.look()
    assert seen(paused) == ("standby_lagging", "sick", [])
    assert "replay is paused" in paused["findings"][0]["text"]
    standby.sql("SELECT pg_wal_replay_resume()")
    primary.stop("immediate")
    until(lambda: seen(standby.look()) == ("standby_lagging", "sick", []))
    standby.stop()
    result = standby.look()
    assert (result["state"], result["facts"]["role"]) == ("down_clean", "standby")
    # Without this file a start makes a primary of it.
    (standby.data / "standby.signal").unlink()
    assert seen(standby.look()) == ("wrong_role", "sick", [])


def test_debians_wrapper_is_not_taken_for_the_cluster(down: Cluster) -> None:
    wrapper = {
        "manager": "systemd", "name": "postgresql", "state": "unknown", "exists": True, "reachable": True, "pid": 0,
        "detail": "active (exited): it has no process; name the unit that does",
    }  # fmt: skip
    result = down.look(service=wrapper)
    assert seen(result) == ("", "unknown", [])
    assert "name the unit that does" in result["say"][0]


def test_a_cluster_that_is_not_the_services_is_not_acted_on(cluster: Cluster) -> None:
    other = {"manager": "systemd", "name": "postgresql@15-other", "state": "stopped", "exists": True, "reachable": True, "pid": 0}
    os.kill(cluster.postmaster, signal.SIGSTOP)
    result = cluster.look(service=other, probe_timeout=0.5)
    os.kill(cluster.postmaster, signal.SIGCONT)
    assert seen(result) == ("hung", "sick", [])
    assert result["facts"]["identity_mismatch"] is True


def test_the_check_kind_has_the_same_eyes_when_asked_to_look_deep(cluster: Cluster) -> None:
    given = {"kind": "postgresql", "deep": True, "data_dir": str(cluster.data), "timeout": 10, **cluster.reach}
    [result] = checks_look.run_checks(checks_look.validated([given], 3), "target")
    assert (result["state"], result["health"]) == ("accepting", "well")
    assert result["identity"]["pid"] == cluster.postmaster
    cluster.kill()
    [result] = checks_look.run_checks(checks_look.validated([given], 3), "target")
    assert (result["state"], result["actions"]) == ("down_crashed", ["start"])
