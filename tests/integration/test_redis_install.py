# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One RDB put in place of the old files: for every layout, from every point of a crash, loaded by a real Redis, and put back."""

from __future__ import annotations

import errno
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates import install
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError, address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import parse_manifest
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_install
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import copies

SERVER = shutil.which("redis-server")
NOBODY = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
MULTI = {"appendonly": "yes", "appenddirname": "aofs", "appendfilename": "a.aof", "dbfilename": "d.rdb"}
SINGLE = {"appendonly": "yes", "appendfilename": "a.aof", "dbfilename": "d.rdb"}
DUMP = {"appendonly": "no", "dbfilename": "d.rdb"}
RDB = b"REDIS0010" + bytes(range(200))
MULTI_FILES = {
    "aofs/a.aof.manifest": b"file a.aof.3.base.rdb seq 3 type b\nfile a.aof.7.incr.aof seq 7 type i\n",
    "aofs/a.aof.3.base.rdb": b"REDIS-old",
    "aofs/a.aof.7.incr.aof": b"*1\r\n$4\r\nPING\r\n",
    "aofs/a.aof.6.incr.aof": b"history",
    "d.rdb": b"REDIS-old-dump",
    "other.txt": b"not ours",
}
LAYOUTS: dict[str, tuple[dict[str, str], dict[str, bytes]]] = {
    "multi part": (MULTI, MULTI_FILES),
    "multi part without a manifest": (MULTI, {name: body for name, body in MULTI_FILES.items() if "manifest" not in name}),
    "multi part without its folder": (MULTI, {"d.rdb": b"REDIS-old-dump"}),
    "multi part beside an old single file": (MULTI, {"a.aof": b"*1\r\n$4\r\nPING\r\n"}),
    "single file": (SINGLE, {"a.aof": b"*1\r\n$4\r\nPING\r\n", "d.rdb": b"REDIS-old-dump"}),
    "single file gone": (SINGLE, {}),
    "dump": (DUMP, {"d.rdb": b"REDIS-old-dump", "aofs/x": b"not loaded"}),
    "dump gone": (DUMP, {"other.txt": b"not ours"}),
}


# By which call a crash is ended: either alone, or one after the other.
ENDS = ["put_back and installed", *(pytest.param(end, marks=pytest.mark.long) for end in ("installed", "put_back"))]


class Place:
    """A data directory of one layout, and the file that is to come."""

    def __init__(self, folder: Path, settings: t.Mapping[str, str], files: t.Mapping[str, bytes]) -> None:
        self.folder, self.data, self.settings, self.files = folder, folder / "data", dict(settings), dict(files)
        self.rdb = folder / "chosen.rdb"
        self.rdb.write_bytes(RDB)
        self.data.mkdir()
        for name, body in files.items():
            (self.data / name).parent.mkdir(exist_ok=True)
            (self.data / name).write_bytes(body)
            (self.data / name).chmod(0o640)
        if NOBODY:
            for path in [self.data, *self.data.rglob("*")]:
                os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)

    def run(self, state: str = "installed", check: bool = False, **given: t.Any) -> dict[str, t.Any]:
        params: dict[str, t.Any] = {name: rule.get("default") for name, rule in redis_install.ARGUMENT_SPEC.items()}
        digest = hashlib.sha256(RDB).hexdigest()
        params.update(data_dir=str(self.data), settings=self.settings, rdb=str(self.rdb), sha256=digest, run_id="run1", state=state)
        return redis_install.run({**params, **given}, check)

    def loaded(self) -> list[bytes]:
        """Return the files that a start would load, as this Redis decides it."""
        if self.settings["appendonly"] == "no":
            return self._bodies("d.rdb")
        if "appenddirname" not in self.settings:
            return self._bodies("a.aof")
        manifest = self.data / "aofs/a.aof.manifest"
        if not manifest.exists():
            # Without its manifest it would begin empty, or take an old single file over.
            return self._bodies("a.aof")
        return self._bodies(*("aofs/" + name for name, _kind in parse_manifest(manifest.read_text(), "a.aof.manifest")))

    def _bodies(self, *names: str) -> list[bytes]:
        return [(self.data / name).read_bytes() for name in names if (self.data / name).exists()]

    @property
    def new(self) -> list[bytes]:
        return [RDB, b""] if "appenddirname" in self.settings else [RDB]

    def content(self) -> dict[str, tuple[t.Any, ...]]:
        """Return bytes, mode, owner and time of all files but those put aside."""
        found = {}
        for path in sorted(self.data.rglob("*")):
            name = str(path.relative_to(self.data))
            if path.is_file() and not name.startswith("before-"):
                facts = path.stat()
                found[name] = (path.read_bytes(), facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns)
        return found

    def bodies(self) -> list[bytes]:
        return sorted(path.read_bytes() for path in self.data.rglob("*") if path.is_file())


@pytest.fixture(params=LAYOUTS, ids=list(LAYOUTS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, *LAYOUTS[request.param])


def test_the_chosen_file_is_what_a_start_would_load_and_the_old_ones_come_back_byte_by_byte(place: Place) -> None:
    before, old = place.content(), place.loaded()
    done = place.run()
    assert done["changed"] is True
    assert place.loaded() == place.new
    assert (place.data / done["installed"][0]).read_bytes() == RDB
    assert set(place.files.values()) <= set(place.bodies()), "an old file is gone"
    assert [name for name in done["moved"] if name not in place.files] == []
    assert place.run()["changed"] is False
    assert place.run("put_back")["changed"] is True
    assert place.content() == before
    assert place.loaded() == old
    assert place.run("put_back")["changed"] is False
    assert place.content() == before


def test_what_does_not_belong_to_redis_stays_where_it_is(place: Place) -> None:
    others = {name: facts for name, facts in place.content().items() if name == "other.txt"}
    place.run()
    assert {name: facts for name, facts in place.content().items() if name == "other.txt"} == others


@pytest.mark.skipif(NOBODY is None, reason="only root can give files away")
def test_what_comes_belongs_to_the_owner_of_what_goes(place: Place) -> None:
    assert NOBODY
    before = set(place.content())
    place.run()
    come = [path for path in place.data.rglob("*") if "before-" not in str(path) and str(path.relative_to(place.data)) not in before]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in come} <= {(NOBODY.pw_uid, NOBODY.pw_gid)}
    assert {path.stat().st_mode & 0o777 for path in come if path.is_file()} <= {0o640, 0o644}


def test_check_mode_tells_and_changes_no_byte(place: Place) -> None:
    before = sorted(str(path) for path in place.data.rglob("*")), place.content()
    told = place.run(check=True)
    assert told["changed"] is True
    assert told["diff"]["after"]
    assert (sorted(str(path) for path in place.data.rglob("*")), place.content()) == before
    done = place.run()
    assert (done["moved"], done["installed"], done["diff"]) == (told["moved"], told["installed"], told["diff"])
    before = sorted(str(path) for path in place.data.rglob("*")), place.content()
    assert place.run("put_back", check=True)["changed"] is True
    assert (sorted(str(path) for path in place.data.rglob("*")), place.content()) == before


def test_the_numbers_go_on_after_the_old_ones(tmp_path: Path) -> None:
    place = Place(tmp_path, MULTI, MULTI_FILES)
    assert place.run()["installed"] == ["aofs/a.aof.4.base.rdb"]
    names = sorted(path.name for path in (place.data / "aofs").iterdir())
    assert names == ["a.aof.4.base.rdb", "a.aof.8.incr.aof", "a.aof.manifest"]


def test_what_redis_wrote_after_the_start_is_kept_when_the_old_files_come_back(place: Place) -> None:
    before = place.content()
    place.run()
    written = {"d.rdb": b"REDIS-later", "a.aof": b"later"}
    if "appenddirname" in place.settings:
        written = {
            "d.rdb": b"REDIS-later",
            "aofs/a.aof.9.base.rdb": b"later",
            "aofs/a.aof.manifest": b"file a.aof.9.base.rdb seq 9 type b\n",
        }
    if place.settings["appendonly"] == "no":
        written = {"d.rdb": b"REDIS-later"}
    for name, body in written.items():
        (place.data / name).write_bytes(body)
    place.run("put_back")
    assert place.content() == before
    assert set(written.values()) <= set(place.bodies())


def test_after_a_put_back_it_can_be_put_in_place_again(place: Place) -> None:
    before = place.content()
    for _turn in range(3):
        assert place.run()["changed"] is True
        assert place.loaded() == place.new
        assert place.run("put_back")["changed"] is True
        assert place.content() == before


# A crash at every call that changes something ---------------------------------------------------------

CALLS = ("mkdir", "rename", "link", "unlink", "open", "write", "fsync", "fchown", "fchmod", "rmdir")
MOST_CALLS = 400


def run_until(place: Place, state: str, limit: int) -> bool:
    """Run in a child that dies just before its *limit*-th call; return whether it came to its end."""
    child = os.fork()
    if child == 0:
        count = 0

        def dying(call: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
            def instead(*args: t.Any, **named: t.Any) -> t.Any:
                nonlocal count
                count += 1
                if count == limit:
                    os._exit(9)
                return call(*args, **named)

            return instead

        try:
            for name in CALLS:
                setattr(os, name, dying(getattr(os, name)))
            place.run(state)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - the parent sees the exit code only
            os.write(2, repr(error).encode())
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), f"the step failed instead of dying: {code}"
    return code == 0


@pytest.fixture
def in_memory() -> t.Iterator[Path]:
    """A directory in memory where there is one: thousands of writes to a disk take minutes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("layout", LAYOUTS, ids=list(LAYOUTS))
def test_a_crash_at_any_call_of_an_installation_leaves_the_old_or_the_new_whole_and_is_ended_by_either_call(
    in_memory: Path, layout: str, end: str
) -> None:
    for limit in range(1, MOST_CALLS):
        folder = in_memory / str(limit)
        folder.mkdir()
        place = Place(folder, *LAYOUTS[layout])
        before, old = place.content(), place.loaded()
        whole = run_until(place, "installed", limit)
        assert place.loaded() in (old, place.new), f"neither the old nor the new after call {limit}"
        check_the_end(place, end, before)
        shutil.rmtree(folder)
        if whole:
            assert limit > 20
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("layout", LAYOUTS, ids=list(LAYOUTS))
def test_a_crash_at_any_call_of_a_put_back_leaves_the_old_or_the_new_whole_and_is_ended_by_either_call(
    in_memory: Path, layout: str, end: str
) -> None:
    for limit in range(1, MOST_CALLS):
        folder = in_memory / str(limit)
        folder.mkdir()
        place = Place(folder, *LAYOUTS[layout])
        before, old = place.content(), place.loaded()
        place.run()
        whole = run_until(place, "put_back", limit)
        assert place.loaded() in (old, place.new), f"neither the old nor the new after call {limit}"
        check_the_end(place, end, before)
        shutil.rmtree(folder)
        if whole:
            assert limit > 5
            return
    raise AssertionError("it never came to its end")


def no_link(*args: t.Any, **named: t.Any) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("state", ["installed", "put_back"])
@pytest.mark.parametrize("layout", ["multi part", "single file", "dump"])
def test_without_second_names_for_files_a_crash_is_ended_right_all_the_same(
    in_memory: Path, monkeypatch: pytest.MonkeyPatch, layout: str, state: str
) -> None:
    monkeypatch.setattr(os, "link", no_link)
    for limit in range(1, MOST_CALLS):
        folder = in_memory / str(limit)
        folder.mkdir()
        place = Place(folder, *LAYOUTS[layout])
        before = place.content()
        if state == "put_back":
            place.run()
        whole = run_until(place, state, limit)
        check_the_end(place, ("installed", "put_back", "put_back and installed")[limit % 3], before)
        if whole:
            return
    raise AssertionError("it never came to its end")


def check_the_end(place: Place, end: str, before: dict[str, tuple[t.Any, ...]]) -> None:
    if "put_back" in end:
        place.run("put_back")
        assert place.content() == before
    if "installed" in end:
        place.run()
        assert place.loaded() == place.new
        assert set(place.files.values()) <= set(place.bodies()), "an old file is gone"
        # The undo of it still ends where everything began.
        place.run("put_back")
        assert place.content() == before


# Refused ----------------------------------------------------------------------------------------------


def refusal(place: Place, **given: t.Any) -> tuple[str, str]:
    with pytest.raises(StepError) as refused:
        place.run(**given)
    return refused.value.data["reasons"][0]["code"], str(refused.value)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"sha256": "0" * 64}, "data_damaged"),
        ({"sha256": "no digest"}, "bad_input"),
        ({"rdb": "/no/such/file"}, "bad_input"),
        ({"rdb": "/etc"}, "bad_input"),
        ({"rdb": "/etc/passwd"}, "bad_input"),
        ({"run_id": "../.."}, "bad_input"),
        ({"settings": {"appendonly": "no", "dbfilename": "../d.rdb"}}, "bad_input"),
        ({"settings": {"appendonly": "yes", "appenddirname": "..", "appendfilename": "a"}}, "bad_input"),
        ({"settings": {"appendonly": "yes", "appenddirname": "x", "appendfilename": "x"}}, "bad_input"),
        ({"timeout": -1.0}, "state_not_handled"),
        ({"data_dir": "/no/such/folder"}, "state_not_handled"),
    ],
)
def test_refused_with_a_reason_and_the_old_files_untouched(tmp_path: Path, given: dict[str, t.Any], code: str) -> None:
    place = Place(tmp_path, MULTI, MULTI_FILES)
    before = place.content()
    assert refusal(place, **given)[0] == code
    assert place.content() == before
    assert place.run()["changed"] is True, "a refusal blocks the right call"


def test_a_link_in_place_of_a_file_or_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    for name, target in (("d.rdb", "/etc/passwd"), ("aofs", str(tmp_path / "away"))):
        folder = tmp_path / name
        folder.mkdir()
        place = Place(folder, MULTI, {})
        (place.data / name).symlink_to(target)
        assert refusal(place)[0] == "data_damaged"
    assert list((tmp_path / "away").iterdir()) == []


def test_a_link_in_place_of_the_chosen_file_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, DUMP, {})
    (tmp_path / "link.rdb").symlink_to(place.rdb)
    assert refusal(place, rdb=str(tmp_path / "link.rdb"))[0] == "bad_input"


@pytest.mark.skipif(NOBODY is None, reason="only root can make a directory of another")
def test_a_directory_of_that_name_which_another_made_is_refused(tmp_path: Path) -> None:
    assert NOBODY
    place = Place(tmp_path, DUMP, {"d.rdb": b"REDIS-old"})
    (place.data / "before-run1").mkdir()
    os.chown(place.data / "before-run1", NOBODY.pw_uid, NOBODY.pw_gid)
    assert refusal(place)[0] == "bad_input"


def test_another_file_in_the_same_run_is_refused_until_the_first_is_put_back(tmp_path: Path) -> None:
    place = Place(tmp_path, DUMP, {"d.rdb": b"REDIS-old"})
    place.run()
    (tmp_path / "second.rdb").write_bytes(b"REDIS0010-second")
    second: dict[str, t.Any] = {"rdb": str(tmp_path / "second.rdb"), "sha256": hashlib.sha256(b"REDIS0010-second").hexdigest()}
    assert refusal(place, **second)[0] == "state_not_handled"
    place.run("put_back")
    place.run(**second)
    assert place.loaded() == [b"REDIS0010-second"]


@pytest.fixture
def small_disk(tmp_path: Path) -> t.Iterator[Path]:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip()[:100])
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_disk_without_room_is_refused_and_then_works_with_room(small_disk: Path) -> None:
    place = Place(small_disk, DUMP, {"d.rdb": b"REDIS-old"})
    (small_disk / "ballast").write_bytes(b"x" * (6 * 1024 * 1024))
    before = place.content()
    assert refusal(place)[0] == "no_room"
    assert place.content() == before
    (small_disk / "ballast").unlink()
    assert place.run()["changed"] is True


def test_a_disk_that_fills_up_while_writing_changes_nothing(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(small_disk, DUMP, {"d.rdb": b"REDIS-old"})
    place.rdb.unlink()
    body = b"REDIS0010" + os.urandom(5 * 1024 * 1024)
    place.rdb = Path("/dev/shm") / f"chosen-{os.getpid()}.rdb"
    place.rdb.write_bytes(body)
    (small_disk / "ballast").write_bytes(b"x" * (6 * 1024 * 1024))
    before = place.content()
    monkeypatch.setattr(redis_install, "MARGIN_BYTES", -(1 << 40))
    try:
        assert refusal(place, sha256=hashlib.sha256(body).hexdigest())[0] == "no_room"
    finally:
        place.rdb.unlink()
    assert place.content() == before


def test_a_read_only_disk_is_refused(small_disk: Path) -> None:
    place = Place(small_disk, DUMP, {"d.rdb": b"REDIS-old"})
    before = place.content()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert refusal(place)[0] == "state_not_handled"
    assert place.content() == before


def test_a_file_that_a_process_has_open_is_not_moved(tmp_path: Path) -> None:
    place = Place(tmp_path, MULTI, MULTI_FILES)
    before = place.content()
    with (place.data / "aofs/a.aof.7.incr.aof").open("ab") as file:
        holder = subprocess.Popen(["sleep", "60"], pass_fds=(file.fileno(),))
    try:
        code, text = refusal(place)
    finally:
        holder.kill()
        holder.wait()
    assert code == "state_not_handled"
    assert str(holder.pid) in text
    assert place.content() == before
    assert place.run()["changed"] is True


# A real Redis -----------------------------------------------------------------------------------------


class Server:
    """A redis-server in the foreground of a directory, on a socket."""

    def __init__(self, folder: Path, settings: t.Mapping[str, str]) -> None:
        self.folder, self.data, self.socket = folder, folder / "data", str(folder / "redis.sock")
        self.data.mkdir(exist_ok=True)
        lines = "".join(f"{name} {value}\n" for name, value in settings.items())
        (folder / "redis.conf").write_text(f'port 0\nunixsocket {self.socket}\ndir {self.data}\nlogfile {folder}/log\nsave ""\n{lines}')
        if NOBODY:
            for path in (folder, self.data, folder / "redis.conf"):
                os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)

    def __enter__(self) -> Server:
        user: dict[str, t.Any] = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []} if NOBODY else {}
        self.process = subprocess.Popen([str(SERVER), str(self.folder / "redis.conf")], stdout=subprocess.DEVNULL, **user)
        end = time.monotonic() + 10
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            try:
                if self.ask("PING") == "PONG":
                    return self
            except RespError:
                assert time.monotonic() < end
            time.sleep(0.02)

    def __exit__(self, *_why: object) -> None:
        self.process.terminate()
        self.process.wait(10)

    def ask(self, *words: t.Any) -> t.Any:
        with Connection(address_of({"socket": self.socket}), 5) as connection:
            return connection.ask(*words)


@pytest.fixture
def short_path() -> t.Iterator[Path]:
    folder = Path("/tmp") / f"install-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")
@pytest.mark.parametrize("layout", ["multi", "folder gone", "single, multi part unknown", "dump"])
def test_a_real_redis_loads_it_goes_on_from_it_and_has_its_old_keys_after_the_put_back(short_path: Path, layout: str) -> None:
    settings = {**(DUMP if layout == "dump" else MULTI)}
    if "unknown" in layout:
        settings.pop("appenddirname")
    (short_path / "source").mkdir()
    with Server(short_path / "source", DUMP) as source:
        for index in range(30):
            source.ask("SET", f"good:{index}", "x")
        source.ask("SET", "with end", "x", "PX", 100)
        source.ask("SAVE")
    rdb = short_path / "source/data/d.rdb"
    (short_path / "target").mkdir()
    with Server(short_path / "target", settings) as server:
        server.ask("SET", "old", "x")
        server.ask("SAVE")
    data = short_path / "target/data"
    if layout in ("folder gone", "single, multi part unknown"):
        shutil.rmtree(data / settings.get("appenddirname", "appendonlydir"))
    place = Place.__new__(Place)
    place.data, place.settings, place.rdb = data, settings, rdb
    given: dict[str, t.Any] = {"rdb": str(rdb), "sha256": hashlib.sha256(rdb.read_bytes()).hexdigest()}
    before = place.content()
    with Server(short_path / "target", settings) as server:
        assert refusal(place, **given)[0] == "state_not_handled"
        assert f"process {server.process.pid}" in refusal(place, **given)[1]
    before = place.content()
    place.run(**given)
    with Server(short_path / "target", settings) as server:
        assert server.ask("DBSIZE") in (30, 31)
        assert server.ask("EXISTS", "old", "with end") == 0
        server.ask("SET", "later", "x")
        if settings["appendonly"] == "no":
            server.ask("SAVE")
    with Server(short_path / "target", settings) as server:
        assert server.ask("EXISTS", "later", "good:1") == 2
        assert refusal(place, state="put_back")[0] == "state_not_handled"
    place.run("put_back")
    assert place.content() == before
    if layout not in ("folder gone", "single, multi part unknown"):
        with Server(short_path / "target", settings) as server:
            assert server.ask("EXISTS", "old", "good:1") == 1


def test_a_copy_of_the_directory_leaves_out_what_was_put_aside(tmp_path: Path) -> None:
    place = Place(tmp_path, MULTI, MULTI_FILES)
    place.run()
    made = copies.copy_tree(str(place.data), str(tmp_path / "copy"), time.monotonic() + 10)
    assert made["skipped"] == ["before-run1"]


def test_the_names_that_come_are_above_all_that_are_there() -> None:
    names = ["a.9.base.rdb", "a.10.incr.aof", "a.2.incr.aof", "a.x.incr.aof", "b.99.base.rdb", "a.manifest", "a.11.base.aof"]
    assert install.next_names("a", names) == ("a.12.base.rdb", "a.11.incr.aof")
    assert install.next_names("a", []) == ("a.1.base.rdb", "a.1.incr.aof")
