# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that a real Redis wrote, damaged by hand: the candidates that are made of them, what is told to be lost, and what is."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from farms.redis import snapshot

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError, address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import SideInstance, find_server
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_candidates

SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")
NOBODY = pwd.getpwnam("nobody")
BASE, INCREMENTAL, MANIFEST = (f"appendonlydir/appendonly.aof.{rest}" for rest in ("2.base.rdb", "2.incr.aof", "manifest"))
AOF, RDB = {"appendonly": "yes"}, {"appendonly": "no"}
FLUSH = b"*1\r\n$8\r\n" + b"FLUSH" + b"ALL\r\n"


class Server:
    """A Redis on a unix socket beside its data."""

    def __init__(self, folder: Path, *words: str, asks: tuple[str, ...] = ("PING",)) -> None:
        folder.mkdir(exist_ok=True)
        self.asks = asks
        self.folder, self.socket = folder, os.path.join(tempfile.mkdtemp(prefix="redis-"), "s")
        argv = [str(SERVER), "--port", "0", "--unixsocket", self.socket, "--dir", str(folder), "--save", "", *words]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(RespError):
                if self.ask(("PING",)) == ["PONG"]:
                    break
            time.sleep(0.02)

    def ask(self, *commands: tuple[t.Any, ...]) -> list[t.Any]:
        with Connection(address_of({"socket": self.socket}), 20) as redis:
            return redis.ask_all([self.asks, *commands])[1:]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(os.path.dirname(self.socket), ignore_errors=True)


def sets(prefix: str, count: int) -> list[tuple[str, str, str]]:
    return [("SET", f"{prefix}:{index:04}", "x" * 50) for index in range(count)]


@pytest.fixture(scope="module")
def written() -> t.Iterator[Path]:
    """Data of a Redis that was killed: an RDB base of 500 keys, 500 more in the incremental file, and a dump of the first 500."""
    folder = Path(tempfile.mkdtemp(prefix="redis-candidates-"))
    # Any other fsync may keep acknowledged writes back while the disk is busy, and the kill loses them.
    server = Server(folder, "--appendonly", "yes", "--appendfsync", "always")
    server.ask(*sets("base", 500))
    server.ask(("SAVE",), ("BGREWRITEAOF",))
    while "aof_rewrite_in_progress:1" in server.ask(("INFO", "persistence"))[0]:
        time.sleep(0.02)
    # A dump says the second of which it is; one of the same second as the last command may be the newer of the two.
    time.sleep(1.1)
    server.ask(*sets("more", 500))
    server.kill()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "data"))


def tried(data: Path, settings: dict[str, str] | None = None, check: bool = False, **given: t.Any) -> dict[str, t.Any]:
    """Run the step on *data*; whatever comes of it, the data stay as they are and no side instance stays."""
    spec = redis_candidates.ARGUMENT_SPEC
    if settings is RDB:
        # A Redis without an append-only file has none that is newer than its dump.
        shutil.rmtree(data / "appendonlydir", ignore_errors=True)
    params = {name: one.get("default") for name, one in spec.items()}
    before = snapshot(data)
    settings = AOF if settings is None else settings
    params.update(data_dir=str(data), settings=settings, work_dir=str(data.parent / "work"), run_id="run", timeout=60.0, **given)
    try:
        return redis_candidates.run(params, check)
    finally:
        assert snapshot(data) == before
        assert not [path for path in Path("/proc").glob("[0-9]*") if str(data.parent / "work") in _directory(path)]


def _directory(process: Path) -> str:
    try:
        return os.readlink(process / "cwd")
    except OSError:
        return ""


def keys_in(path: str, folder: Path) -> set[str]:
    """Return the keys that a Redis finds in an RDB."""
    folder.mkdir()
    shutil.copy(path, folder / "dump.rdb")
    with SideInstance(find_server(""), str(folder), time.monotonic() + 20) as side, side.connect() as redis:
        return set(redis.ask("KEYS", "*"))


def by_name(result: dict[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    return {one["name"]: one for one in result["candidates"]}


def told(result: dict[str, t.Any]) -> tuple[str, str, t.Any]:
    choice = result["choice"]
    assert result["plans"][0]["name"] == choice["name"]
    assert all(len(line) <= 100 and line.isprintable() for line in result["table"])
    return choice["name"], choice["by"], choice["loss"]["count"] if choice["loss"]["exact"] else "~%s" % choice["loss"]["count"]


def spoil(path: Path, at: bytes, by: bytes = b"#") -> None:
    content = path.read_bytes()
    place = content.index(at)
    path.write_bytes(content[:place] + by + content[place + len(by) :])


def test_keys_whose_time_is_over_do_not_count_though_an_append_only_file_loads_them(data: Path) -> None:
    over = int(time.time() * 1000) - 60_000
    lapsed = [f"*5\r\n$3\r\nSET\r\n$8\r\nover{n:04}\r\n$1\r\nx\r\n$4\r\nPXAT\r\n$13\r\n{over}\r\n" for n in range(2000)]
    with (data / INCREMENTAL).open("a") as file:
        file.writelines(lapsed)
    assert {name: (one["keys"], one["expires"]) for name, one in by_name(tried(data)).items()}["as_is"] == (1000, 0)


def test_backups_and_replicas_that_are_too_many_to_try_are_told(data: Path, tmp_path: Path) -> None:
    spoil(data / INCREMENTAL, b"$9\r\nmore:0250")
    for number in range(9):
        shutil.copy(data / "dump.rdb", tmp_path / f"backup-{number}.rdb")
    said = tried(data, backups=[f"{tmp_path}/backup-*.rdb"], replicas=[{"socket": "/none"}] * 9)["say"]
    assert [line.partition(" are")[0] for line in said if line.startswith("only")] == [
        "only the 8 latest of 9 backups",
        "only the first 8 of 9 replicas",
    ]


def test_damage_in_the_middle_loses_one_write_and_says_so(data: Path, tmp_path: Path) -> None:
    spoil(data / INCREMENTAL, b"$9\r\nmore:0250")
    result = tried(data)
    assert told(result) == ("salvage", "person", "~1")
    found = by_name(result)
    assert {name: one["keys"] for name, one in found.items()} == {"salvage": 999, "cut": 750, "dump": 500}
    assert {name: one["loss"]["count"] for name, one in found.items()} == {"salvage": 1, "cut": 250, "dump": 500}
    missing = {f"more:{index:04}" for index in range(500)} - keys_in(found["salvage"]["path"], tmp_path / "look")
    assert missing == {"more:0250"}
    assert result["copy"]["consistent"]
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o700


def test_an_accepted_share_lets_policy_choose(data: Path) -> None:
    spoil(data / INCREMENTAL, b"$9\r\nmore:0250")
    assert told(tried(data, accept_loss={"share": 0.001})) == ("salvage", "policy", "~1")


@pytest.mark.parametrize(("accepted", "by"), [({}, "person"), ({"tail_bytes": 100}, "policy"), ({"tail_bytes": 5}, "person")])
def test_a_cut_tail_is_one_write(data: Path, accepted: dict[str, int], by: str) -> None:
    os.truncate(data / INCREMENTAL, (data / INCREMENTAL).stat().st_size - 10)
    result = tried(data, accept_loss=accepted)
    assert told(result) == ("cut", by, 1)
    assert by_name(result)["cut"]["keys"] == 999


def test_a_lost_manifest_is_rebuilt_and_nothing_is_lost(data: Path) -> None:
    (data / MANIFEST).unlink()
    result = tried(data, last_known_keys=1000)
    assert told(result) == ("rebuilt_manifest", "policy", 0)
    assert result["choice"]["certain"]
    assert by_name(result)["rebuilt_manifest"]["keys"] == 1000


def test_a_manifest_that_redis_never_wrote_is_no_matter_of_policy(data: Path) -> None:
    (data / MANIFEST).write_text("file ../../etc/passwd seq 1 type b\n")
    assert told(tried(data)) == ("rebuilt_manifest", "person", 0)


def test_a_lost_folder_leaves_the_dump_and_an_unknown_loss(data: Path) -> None:
    shutil.rmtree(data / "appendonlydir")
    assert told(tried(data)) == ("dump", "person", "~None")
    shutil.rmtree(data.parent / "work")
    found = tried(data, last_known_keys=1000)
    assert (told(found), found["choice"]["loss"]["least"]) == (("dump", "person", "~None"), 500)


def test_a_damaged_incremental_file_that_is_not_the_last(data: Path) -> None:
    later = data / INCREMENTAL.replace(".2.incr", ".3.incr")
    later.write_bytes(b"".join(b"*3\r\n$3\r\nSET\r\n$10\r\nlater:%04d\r\n$1\r\ny\r\n" % index for index in range(100)))
    with (data / MANIFEST).open("a") as file:
        file.write(f"file {later.name} seq 3 type i\n")
    spoil(data / INCREMENTAL, b"$9\r\nmore:0400")
    result = tried(data)
    assert told(result) == ("salvage", "person", "~1")
    assert {name: one["keys"] for name, one in by_name(result).items()} == {"salvage": 1099, "cut": 900, "dump": 500}
    assert by_name(result)["cut"]["loss"] == {"count": 200, "unit": "keys", "exact": False}


def test_what_was_emptied_by_mistake_comes_back_only_by_a_person(data: Path) -> None:
    with (data / INCREMENTAL).open("ab") as file:
        file.write(FLUSH + b"*3\r\n$3\r\nSET\r\n$5\r\nafter\r\n$1\r\ny\r\n")
    result = tried(data, last_known_keys=1000)
    assert told(result) == ("before_flush", "person", 0)
    found = by_name(result)
    assert (found["before_flush"]["keys"], found["as_is"]["keys"]) == (1001, 1)
    assert found["as_is"]["loss"]["count"] == 1000


def test_a_flush_of_long_ago_is_history(data: Path) -> None:
    content = (data / INCREMENTAL).read_bytes()
    (data / INCREMENTAL).write_bytes(FLUSH + content)
    (data / "dump.rdb").unlink()
    assert told(tried(data)) == ("as_is", "policy", 0)


def test_a_replica_that_was_in_step_has_what_the_files_have_lost(data: Path, tmp_path: Path) -> None:
    full = Server(Path(shutil.copytree(data, tmp_path / "full")), "--appendonly", "yes")
    try:
        spoil(data / INCREMENTAL, b"$9\r\nmore:0250")
        result = tried(data, replicas=[{"socket": full.socket}])
        assert told(result) == ("replica_1", "policy", 0)
        assert result["choice"]["superset"]
        full.ask(("DEL", "more:0100"))
        shutil.rmtree(data.parent / "work")
        assert tried(data, replicas=[{"socket": full.socket}])["choice"]["by"] == "person"
    finally:
        full.kill()


def test_a_replica_that_lost_its_master_is_read_key_by_key_and_not_changed(data: Path, tmp_path: Path) -> None:
    for path in (data / "appendonlydir", data / "dump.rdb"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    replica = Server(tmp_path / "replica", "--appendonly", "no")
    try:
        replica.ask(*sets("full", 3000), ("SET", "brief", "1", "EX", 900), ("REPLICAOF", "127.0.0.1", "1"))
        before = snapshot(replica.folder)
        result = tried(data, replicas=[{"socket": replica.socket}], last_known_keys=3001)
        assert told(result) == ("replica_1", "policy", 0)
        assert (by_name(result)["replica_1"]["keys"], by_name(result)["replica_1"]["expires"]) == (3001, 1)
        assert result["plans"][0]["tolerance"] > 0
        assert snapshot(replica.folder) == before
        assert replica.ask(("DBSIZE",)) == [3001]
    finally:
        replica.kill()


@pytest.mark.parametrize(("flushed", "by"), [(False, "policy"), (True, "person")])
def test_an_empty_master_with_a_full_replica(tmp_path: Path, flushed: bool, by: str) -> None:
    data = tmp_path / "data"
    empty, replica = Server(data, "--appendonly", "yes"), Server(tmp_path / "replica")
    try:
        replica.ask(*sets("full", 3000), ("REPLICAOF", "127.0.0.1", "1"))
        if flushed:
            empty.ask(tuple(FLUSH[8:].split()))
        run_id = [line for line in empty.ask(("INFO", "server"))[0].splitlines() if line.startswith("run_id:")][0][7:]
        result = tried(data, alive=True, socket=empty.socket, replicas=[{"socket": replica.socket}], last_known_keys=3000)
        assert told(result) == ("replica_1", by, 0)
        found = by_name(result)
        assert found["live"]["keys"] == 0
        assert found["live"]["loss"]["count"] == 3000
        assert {plan["name"]: plan["binds"] for plan in result["plans"]}["live"] == {"server": run_id, "candidate": "live"}
    finally:
        empty.kill()
        replica.kill()


def test_a_living_server_keeps_what_was_written_since_in_view(tmp_path: Path) -> None:
    data = tmp_path / "data"
    server, replica = Server(data, "--appendonly", "no"), Server(tmp_path / "replica")
    try:
        replica.ask(*sets("full", 300), ("REPLICAOF", "127.0.0.1", "1"))
        server.ask(*sets("since", 20))
        result = tried(data, RDB, alive=True, socket=server.socket, replicas=[{"socket": replica.socket}], last_known_keys=300)
        assert told(result)[:2] == ("replica_1", "person")
        assert result["choice"]["loss"]["count"] == 20
        assert server.ask(("DBSIZE",), ("INFO", "persistence"))[0] == 20
        assert not (data / "dump.rdb").exists()
    finally:
        server.kill()
        replica.kill()


def test_backups_and_rescues_stand_in_for_a_deleted_dump(data: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backups"
    backup.mkdir()
    shutil.move(str(data / "dump.rdb"), backup / "one.rdb")
    shutil.copy(backup / "one.rdb", backup / "two.rdb")
    (backup / "bad.rdb").write_bytes(b"\x7fELF" + os.urandom(100))
    result = tried(data, RDB, backups=[str(backup / "*.rdb"), "/nowhere/x.rdb"], last_known_keys=600)
    name, by, count = told(result)
    assert name.startswith("backup_")
    assert (by, count, result["choice"]["loss"]["least"]) == ("person", "~None", 100)
    errors = [one["error"] for one in result["candidates"] if one["error"]]
    assert sorted("is not an RDB" in error or "cannot be read" in error for error in errors) == [True, True]


def flip(path: Path, *places: int) -> None:
    content = bytearray(path.read_bytes())
    for at in places:
        content[at] ^= 0x5A
    path.write_bytes(bytes(content))


def test_one_wrong_byte_of_a_dump_is_put_right_and_nothing_is_lost(data: Path, tmp_path: Path) -> None:
    whole = keys_in(str(data / "dump.rdb"), tmp_path / "whole")
    flip(data / "dump.rdb", 5000)
    result = tried(data, RDB, last_known_keys=500)
    assert told(result) == ("repaired_dump", "policy", 0)
    assert keys_in(by_name(result)["repaired_dump"]["path"], tmp_path / "look") == whole


def test_a_wrong_checksum_that_nothing_explains_leaves_it_to_a_person(data: Path) -> None:
    # A wrong key and a broken value: what is seen is not all there is.
    place = data.joinpath("dump.rdb").read_bytes().index(b"base:0100")
    flip(data / "dump.rdb", place + 5, place + 3000 if place < 5000 else place - 3000)
    result = tried(data, RDB)
    dummy_name, by, count = told(result)
    assert (by, count) == ("person", "~None")
    assert set(by_name(result)) == {"repaired_dump", "as_is", "salvaged_dump"}
    assert "does not load" in "".join(result["table"])


@pytest.mark.parametrize("head", [b"GARBAGE!!", b"REDIS9999", bytes(9)])
def test_a_dump_that_begins_wrongly_is_put_right_by_its_checksum(data: Path, tmp_path: Path, head: bytes) -> None:
    path = data / "dump.rdb"
    whole, content = keys_in(str(path), tmp_path / "whole"), path.read_bytes()
    path.write_bytes(head + content[9:])
    result = tried(data, RDB, last_known_keys=500)
    assert told(result) == ("repaired_dump", "policy", 0)
    assert keys_in(by_name(result)["repaired_dump"]["path"], tmp_path / "look") == whole


@pytest.mark.parametrize("damage", ["header", "short", "middle"])
def test_what_is_left_of_a_broken_dump_and_all_that_is_lost_is_told(data: Path, tmp_path: Path, damage: str) -> None:
    path = data / "dump.rdb"
    whole, size = keys_in(str(path), tmp_path / "whole"), path.stat().st_size
    if damage == "short":
        os.truncate(path, size // 2)
    else:
        start = 0 if damage == "header" else size // 2
        flip(path, *range(start, start + 60))
    result = tried(data, RDB, last_known_keys=500)
    assert told(result)[:2] == ("salvaged_dump", "person")
    kept = keys_in(by_name(result)["salvaged_dump"]["path"], tmp_path / "look")
    assert kept <= whole
    assert len(kept) >= (len(whole) - 10 if damage != "short" else len(whole) * 0.4)
    # What else the bytes at the head said nobody can tell; nor what values the keys had that are missing at the end.
    lost, loss = len(whole - kept), result["choice"]["loss"]
    assert (loss["count"], loss["exact"]) == (lost if damage == "middle" else None, damage == "middle")
    assert damage != "short" or loss["least"] == lost


def test_a_damaged_base_is_repaired_or_salvaged_with_all_that_was_written_after_it(data: Path) -> None:
    flip(data / BASE, 5000)
    assert told(tried(data)) == ("salvage", "policy", 0)
    shutil.rmtree(data.parent / "work")
    flip(data / BASE, *range(7000, 7100))
    result = tried(data, last_known_keys=1000)
    found = by_name(result)
    assert (result["choice"]["name"], result["choice"]["by"]) == ("salvage", "person")
    assert 980 <= found["salvage"]["keys"] < 1000
    # The first of the two places is in a value: where another is damaged widely, nothing tells of it.
    assert found["salvage"]["loss"]["count"] == 1000 - found["salvage"]["keys"]
    assert "damaged" in found["cut"]["error"]


def test_a_base_that_begins_wrongly_loses_nothing(data: Path) -> None:
    content = (data / BASE).read_bytes()
    (data / BASE).write_bytes(bytes(9) + content[9:])
    assert told(tried(data)) == ("salvage", "policy", 0)


def test_a_base_that_is_gone_is_never_told_as_nothing(data: Path) -> None:
    (data / BASE).unlink()
    result = tried(data)
    assert told(result)[:2] == ("salvage", "person")
    assert by_name(result)["salvage"]["keys"] == 500
    assert by_name(result)["salvage"]["loss"]["count"] is None


def test_an_old_single_file_with_an_rdb_at_its_head(data: Path) -> None:
    single = data / "appendonly.aof"
    single.write_bytes((data / BASE).read_bytes() + (data / INCREMENTAL).read_bytes())
    shutil.rmtree(data / "appendonlydir")
    assert told(tried(data)) == ("as_is", "policy", 0)
    shutil.rmtree(data.parent / "work")
    spoil(single, b"$9\r\nmore:0250")
    result = tried(data)
    assert told(result) == ("salvage", "person", "~1")
    assert {name: one["keys"] for name, one in by_name(result).items()} == {"salvage": 999, "cut": 750, "dump": 500}


def test_where_nothing_is_left_a_person_may_approve_a_start_without_data(data: Path) -> None:
    (data / "dump.rdb").unlink()
    result = tried(data, RDB, last_known_keys=200, known_keys=[{"key": "policy", "exists": True, "sha256": "", "db": 0}])
    assert (told(result), result["choice"]["loss"]["least"]) == (("empty", "person", "~None"), 200)
    assert [plan["text"] for plan in result["plans"]] == [
        "start without any data, since none was found; at least 200 of the keys known before are missing; "
        "wrong or missing in it: number 1 of the known keys"
    ]
    assert "redis_recovery_backups" in result["choice"]["why"]


def test_files_that_do_not_load_are_refused_by_the_name_of_the_variable(data: Path) -> None:
    (data / "dump.rdb").write_bytes(b"")
    with pytest.raises(StepError, match="redis_recovery_backups") as failure:
        tried(data, RDB)
    assert failure.value.data["code"] == "data_damaged"


def test_files_of_another_owner_are_tried_as_that_owner(data: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    for path in [data, *data.rglob("*")]:
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    result = tried(data)
    assert told(result) == ("as_is", "policy", 0)
    path = Path(by_name(result)["as_is"]["path"])
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (0, 0o600)


def test_a_server_that_is_written_to_meanwhile_is_asked_for_all_at_once(data: Path, tmp_path: Path) -> None:
    replica = Server(tmp_path / "replica", "--repl-diskless-sync-delay", "0", "--requirepass", "secret", asks=("AUTH", "secret"))
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    writer = subprocess.Popen(["redis-benchmark", "-s", replica.socket, "-a", "secret", "-t", "incr", "-n", "100000000", "-c", "1", "-q"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        replica.ask(*sets("full", 2000))
        spoil(data / INCREMENTAL, b"$9\r\nmore:0250")
        result = tried(data, replicas=[{"socket": replica.socket, "password_file": str(secret)}, {"socket": replica.socket}])
        found = by_name(result)
        assert found["replica_1"]["keys"] == 2001
        assert "one by one" not in found["replica_1"]["detail"]
        assert "NOAUTH" in found["replica_2"]["error"]
        assert not (replica.folder / "dump.rdb").exists()
    finally:
        writer.terminate()
        writer.wait()
        replica.kill()


def test_a_link_among_the_data_is_refused(data: Path) -> None:
    (data / INCREMENTAL).unlink()
    (data / INCREMENTAL).symlink_to("/etc/hostname")
    with pytest.raises(StepError, match="symbolic link") as failure:
        tried(data)
    assert failure.value.data["code"] == "data_damaged"


def test_places_that_cannot_be_meant_are_refused(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "open"
    other.mkdir()
    other.chmod(0o755)
    for work in (data / "work", data, data.parent, other, Path("/proc/work")):
        before = set(tmp_path.rglob("*"))
        with pytest.raises(StepError) as failure:
            tried_at(data, work)
        assert failure.value.data["code"] in ("bad_input", "no_room")
        assert set(tmp_path.rglob("*")) == before


def tried_at(data: Path, work: Path) -> dict[str, t.Any]:
    spec = redis_candidates.ARGUMENT_SPEC
    params = {name: one.get("default") for name, one in spec.items()}
    return redis_candidates.run(dict(params, data_dir=str(data), settings=AOF, work_dir=str(work), run_id="run", timeout=30.0), False)


def test_no_room_for_the_copy_is_refused(data: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with pytest.raises(StepError, match="bytes") as failure:
            tried_at(data, small)
        assert failure.value.data["code"] == "no_room"
        assert failure.value.data["reasons"][0]["code"] == "no_room"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_data_of_an_older_redis_are_told(data: Path) -> None:
    version = b"\xfa\x09redis-ver\x06"
    content = (data / "dump.rdb").read_bytes()
    at = content.index(version) + len(version)
    (data / "dump.rdb").write_bytes(content[:at] + b"5.0.14" + content[at + 6 :])
    assert "5.0.14" in "".join(tried(data, RDB)["notes"])


def test_check_mode_makes_nothing(data: Path, tmp_path: Path) -> None:
    (data / MANIFEST).unlink()
    result = tried(data, check=True)
    assert (result["candidates"], result["plans"]) == ([], [])
    assert not (tmp_path / "work").exists()


def test_the_plans_of_the_same_data_are_the_same_in_the_next_run(data: Path) -> None:
    spoil(data / INCREMENTAL, b"$9\r\nmore:0250")
    first = tried(data)["plans"]
    shutil.rmtree(data.parent / "work")
    assert tried(data)["plans"] == first


def test_known_answers_are_asked_of_each(data: Path) -> None:
    (data / MANIFEST).unlink()
    known = [{"key": "more:0001", "sha256": "", "exists": True, "db": 0}, {"key": "base:0001", "sha256": "0" * 64, "exists": True, "db": 0}]
    result = tried(data, known_keys=known)
    assert {name: one["known_wrong"] for name, one in by_name(result).items()} == {"rebuilt_manifest": 1, "dump": 2}
    assert result["choice"]["by"] == "person"


def test_random_bytes_are_no_candidate(data: Path) -> None:
    for path in (data / BASE, data / INCREMENTAL, data / "dump.rdb"):
        path.write_bytes(os.urandom(4096))
    with pytest.raises(StepError, match="redis_recovery_backups") as failure:
        tried(data)
    assert failure.value.data["code"] == "data_damaged"
