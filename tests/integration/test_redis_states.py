# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every state of Redis, made for real on a redis-server of our own, and what may be done about it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from farms.waiting import until
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import redis as kind_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_admin, redis_health_info, redis_rescue

SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")
NOBODY = pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def filled(step: t.Any, **given: t.Any) -> dict[str, t.Any]:
    return {name: given.get(name, rule.get("default")) for name, rule in step.ARGUMENT_SPEC.items()}


class Redis:
    """A real redis-server in a directory of its own, as nobody where we are root: root ignores modes."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder, self.socket, self.config = folder, str(folder / "redis.sock"), folder / "redis.conf"
        self.data = folder / "data"
        self.data.mkdir(exist_ok=True)
        usual = f'port 0\nunixsocket {self.socket}\ndir {self.data}\nlogfile {folder}/redis.log\npidfile {folder}/redis.pid\nsave ""\n'
        self.config.write_text(usual + settings)
        if NOBODY:
            for path in (folder, self.data, self.config):
                os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> Redis:
        user: dict[str, t.Any] = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []} if NOBODY else {}
        self.process = subprocess.Popen([str(SERVER), str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)
        end = time.monotonic() + 60
        while wait and not isinstance(self.try_ask("PING"), str):
            alive = time.monotonic() < end and self.process.poll() is None
            assert alive, (self.folder / "redis.log").read_text()[-2000:]
            time.sleep(0.02)
        return self

    def try_ask(self, *words: t.Any) -> t.Any:
        try:
            return self.ask(*words)
        except RespError:
            return None

    def ask(self, *words: t.Any) -> t.Any:
        with Connection(address_of({"socket": self.socket}), 5) as connection:
            return connection.ask(*words)

    def write(self, count: int, size: int = 10) -> list[str]:
        """Write *count* keys; return those that were acknowledged."""
        keys = [f"key:{index}" for index in range(count)]
        with Connection(address_of({"socket": self.socket}), 30) as connection:
            replies = connection.ask_all([("SET", key, "x" * size) for key in keys])
        return [key for key, reply in zip(keys, replies) if reply == "OK"]

    def look(self, **options: t.Any) -> dict[str, t.Any]:
        log = str(self.folder / "redis.log")
        given = {"socket": self.socket, "config_file": str(self.config), "log_file": log, "probe_timeout": 0.5, **options}
        return redis_health_info.run(filled(redis_health_info, **given), False)

    def act(self, action: str, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        return redis_admin.run(filled(redis_admin, socket=self.socket, action=action, **options), check)

    def rescue(self, target: Path, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        given = dict({"timeout": 20.0}, **options)
        return redis_rescue.run(filled(redis_rescue, socket=self.socket, dest_dir=str(target), **given), check)

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


@pytest.fixture
def make(request: pytest.FixtureRequest) -> t.Iterator[t.Callable[..., Redis]]:
    made: list[Redis] = []

    def new(settings: str = "", folder: Path | None = None) -> Redis:
        made.append(Redis(folder or Path(tempfile.mkdtemp(prefix="redis-test-")), settings))
        return made[-1]

    yield new
    for redis in made:
        redis.kill()
        with contextlib.suppress(OSError):
            redis.data.chmod(0o700)
        shutil.rmtree(redis.folder, ignore_errors=True)


@pytest.fixture
def small_disk() -> t.Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="redis-small-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0777", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no small disk can be mounted here: " + mounted.stderr.decode().strip()[:100])
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture
def elsewhere() -> t.Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="redis-rescue-"))
    yield folder / "copies"
    shutil.rmtree(folder)


def seen(result: dict[str, t.Any]) -> tuple[str, str, list[str]]:
    return result["state"], result["health"], result["actions"]


def loaded_keys(make: t.Callable[..., Redis], copy: str, keys: list[str]) -> int:
    """Return how many of *keys* a fresh Redis has after loading *copy*."""
    side = make()
    shutil.copy(copy, side.data / "dump.rdb")
    (side.data / "dump.rdb").chmod(0o644)
    side.start()
    return int(side.ask("EXISTS", *keys))


def test_a_healthy_redis_is_up_and_looking_changes_nothing(make: t.Callable[..., Redis]) -> None:
    redis = make("appendonly yes\n").start()
    redis.write(3)
    before = (redis.ask("DBSIZE"), sorted((p.name, p.stat().st_mtime_ns) for p in redis.data.rglob("*")))
    result = redis.look(passes=3, interval=0.02)
    assert seen(result) == ("up", "well", [])
    assert result["proven"]
    assert result["passes"] == 3
    assert result["facts"]["keys"] == 3
    assert result["facts"]["persistence"]["loss_if_killed"] == "up_to_1s"
    assert redis.process is not None
    assert result["identity"]["pid"] == redis.process.pid
    assert before == (redis.ask("DBSIZE"), sorted((p.name, p.stat().st_mtime_ns) for p in redis.data.rglob("*")))


def test_a_wrong_password_is_unknown_and_allows_no_act(make: t.Callable[..., Redis]) -> None:
    redis = make("requirepass right\n").start()
    assert seen(redis.look()) == ("auth", "unknown", [])
    assert seen(redis.look(password="letmein1")) == ("auth", "unknown", [])
    assert seen(redis.look(password="right")) == ("up", "well", [])
    assert "letmein1" not in str(redis.look(password="letmein1"))


def test_loading_is_waited_for_and_tells_how_long(make: t.Callable[..., Redis]) -> None:
    redis = make("save 3600 1\n").start()
    redis.write(3000, 2000)
    redis.ask("SAVE")
    redis.kill()
    with redis.config.open("a") as config:
        config.write("key-load-delay 5000\nloading-process-events-interval-bytes 1024\n")
    redis.start()
    result = redis.look()
    assert seen(result) == ("loading", "unknown", ["wait"])
    assert result["on_its_way"]
    assert 0 <= result["facts"]["loaded_perc"] < 100
    redis.ask("CONFIG", "SET", "key-load-delay", 0)
    assert seen(redis.look(timeout=60.0, interval=0.1)) == ("up", "well", [])


def busy(redis: Redis) -> bool:
    reply = redis.try_ask("PING")
    return isinstance(reply, ErrorReply) and reply.code == "BUSY"


def test_a_busy_script_is_killed_and_nothing_else(make: t.Callable[..., Redis]) -> None:
    redis = make("busy-reply-threshold 100\n").start()
    redis.write(5)
    threading.Thread(target=redis.try_ask, args=("EVAL", "while true do end", 0), daemon=True).start()
    until(lambda: busy(redis))
    assert seen(redis.look()) == ("busy_script", "sick", ["kill_script"])
    assert redis.act("kill_script", check=True)["changed"]
    assert redis.look()["state"] == "busy_script"
    assert redis.act("kill_script")["after"] == {"busy": False}
    assert not redis.act("kill_script")["changed"]
    assert redis.look()["facts"]["keys"] == 5


def test_a_script_that_has_written_is_reported_as_unkillable(make: t.Callable[..., Redis]) -> None:
    redis = make("busy-reply-threshold 100\n").start()
    script = "redis.call('SET', 'a', 1) while true do end"
    threading.Thread(target=redis.try_ask, args=("EVAL", script, 0), daemon=True).start()
    until(lambda: busy(redis))
    with pytest.raises(StepError, match="cannot be killed") as caught:
        redis.act("kill_script")
    assert caught.value.data["code"] == "UNKILLABLE"


def test_misconf_of_an_unwritable_directory_keeps_50_of_50_keys(make: t.Callable[..., Redis], elsewhere: Path) -> None:
    redis = make("save 3600 1\nrepl-diskless-sync no\n").start()
    keys = redis.write(50)
    redis.data.chmod(0o555)
    redis.ask("BGSAVE")
    until(lambda: "rdb_last_bgsave_status:err" in str(redis.ask("INFO", "persistence")))
    assert isinstance(redis.ask("SET", "more", "1"), ErrorReply)
    result = redis.look()
    assert seen(result) == ("misconf_rdb", "sick", ["rescue", "fix_cause", "save"])
    assert result["facts"]["disk"]["writable_by_redis"] is False
    assert (result["facts"]["persistence"]["loss_if_killed"], result["facts"]["persistence"]["loss_count"]) == ("count", 50)
    with pytest.raises(StepError, match="failed: read the Redis log"):
        redis.act("save", timeout=10.0)
    assert not redis.rescue(elsewhere, check=True)["proven"]
    with pytest.raises(StepError, match="mode 0700"):
        redis.rescue(Path(tempfile.gettempdir()), check=True)
    assert not elsewhere.exists()
    copy = redis.rescue(elsewhere)
    assert (copy["keys"], copy["proven"]) == (50, True)
    assert redis.ask("CONFIG", "GET", "repl-diskless-sync") == ["repl-diskless-sync", "no"]
    assert copy["settings_changed"]["repl-diskless-sync"] == "no"
    assert loaded_keys(make, copy["path"], keys) == 50
    redis.data.chmod(0o755)
    assert redis.act("save", timeout=10.0)["after"]["rdb_changes_since_last_save"] == 0
    assert seen(redis.look()) == ("up", "well", [])


def test_misconf_of_a_full_disk_keeps_50_of_50_keys(make: t.Callable[..., Redis], small_disk: Path, elsewhere: Path) -> None:
    redis = make("appendonly yes\nappendfsync everysec\n", small_disk).start()
    keys = redis.write(50, 1000)
    (redis.data / "ballast").write_bytes(b"")
    with contextlib.suppress(OSError), (redis.data / "ballast").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    assert len(keys) == 50
    for _turn in range(20):
        redis.ask("SET", "filler", "y" * 4000)
    result = redis.look()
    assert seen(result) == ("misconf_aof", "sick", ["rescue", "fix_cause"])
    assert result["facts"]["persistence"]["aof_ok"] is False
    with pytest.raises(StepError, match="redis_recovery_rescue_dir"):
        redis.rescue(redis.data / "copies")
    copy = redis.rescue(elsewhere)
    assert copy["filesystem_differs"]
    assert loaded_keys(make, copy["path"], keys) == 50
    (redis.data / "ballast").unlink()
    until(lambda: "aof_last_write_status:ok" in str(redis.ask("INFO", "persistence")))
    assert seen(redis.look(timeout=30.0)) == ("up", "well", [])


def test_out_of_memory_is_cured_only_within_the_limit(make: t.Callable[..., Redis]) -> None:
    redis = make("maxmemory 4mb\nmaxmemory-policy noeviction\n").start()
    assert len(redis.write(2000, 4000)) < 2000
    assert seen(redis.look()) == ("oom", "sick", [])
    assert seen(redis.look(maxmemory_limit=64 * 2**20)) == ("oom", "sick", ["raise_maxmemory"])
    with pytest.raises(StepError, match="maxmemory"):
        redis.act("set_maxmemory", max_bytes=4 * 2**20)
    keys = redis.ask("DBSIZE")
    raised = redis.act("set_maxmemory", max_bytes=64 * 2**20)
    assert raised["before"] == {"maxmemory": 4 * 2**20}
    assert redis.ask("CONFIG", "GET", "maxmemory-policy")[1] == "noeviction"
    assert seen(redis.look()) == ("up", "well", [])
    assert redis.ask("DBSIZE") == keys
    assert redis.act("set_maxmemory", value=4 * 2**20, stage="undo")["after"] == {"maxmemory": 4 * 2**20}


def test_a_replica_is_well_in_its_place_and_never_written_to(make: t.Callable[..., Redis]) -> None:
    master = make("repl-diskless-sync-delay 0\n").start()
    port = free_port()
    master.ask("CONFIG", "SET", "port", port)
    replica = make(f"replicaof 127.0.0.1 {port}\n").start()
    result = replica.look(timeout=60.0, expected_role="replica")
    assert seen(result) == ("readonly_replica", "well", [])
    assert result["facts"]["writes"].startswith("READONLY")
    assert seen(replica.look(expected_role="master"))[:2] == ("readonly_replica", "sick")
    assert seen(master.look(expected_replicas=1, timeout=60.0))[:2] == ("up", "well")
    master.kill()
    until(lambda: seen(replica.look()) == ("readonly_replica", "sick", []))


def test_a_stopped_process_is_hung_within_the_deadline_and_goes_on(make: t.Callable[..., Redis]) -> None:
    redis = make("appendonly yes\n").start()
    redis.signal(signal.SIGSTOP)
    begun = time.monotonic()
    result = redis.look(pid_file=str(redis.folder / "redis.pid"))
    assert time.monotonic() - begun < 10
    assert seen(result) == ("hung", "sick", ["continue", "restart"])
    assert result["facts"]["process"]["process_state"] == "T"
    redis.signal(signal.SIGCONT)
    assert seen(redis.look()) == ("up", "well", [])


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["socket", "port"])
def test_a_mute_stranger_is_never_taken_for_a_hung_redis(make: t.Callable[..., Redis], family: socket.AddressFamily) -> None:
    redis = make().start()
    with socket.socket(family) as stranger:
        stranger.bind(str(redis.folder / "strange.sock") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        stranger.listen()
        where = stranger.getsockname()
        given = {"socket": where} if family == socket.AF_UNIX else {"socket": "", "host": where[0], "port": where[1]}
        result = redis.look(pid_file=str(redis.folder / "redis.pid"), **given)
    assert seen(result) == ("", "unknown", [])
    assert "is not what listens there" in result["findings"][0]["text"]


def test_a_killed_redis_with_good_files_may_be_started(make: t.Callable[..., Redis]) -> None:
    redis = make("appendonly yes\n").start()
    redis.write(50)
    redis.kill()
    result = redis.look()
    assert seen(result) == ("down_clean", "sick", ["start"])
    assert result["facts"]["files"]["verdict"] == "valid"
    far = redis.look(stands_on="controller")
    assert (far["state"], far["health"], far["actions"]) == ("", "unknown", [])
    redis.start()
    assert redis.look(last_known_keys=50)["health"] == "well"


def test_a_service_that_gave_up_names_its_cause(make: t.Callable[..., Redis]) -> None:
    redis = make("appendonly yes\n").start()
    redis.write(5)
    redis.kill()
    given_up = {"manager": "systemd", "state": "failed", "start_limit_hit": True}
    assert seen(redis.look(service=given_up)) == ("down_crash_loop", "sick", ["reset_failed", "start"])
    with (redis.folder / "redis.log").open("a") as log:
        log.write("1:C * oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n")
        log.write("1:M # Warning: Could not create server TCP listening socket *:1: bind: Address already in use\n")
    result = redis.look(service=given_up)
    assert seen(result) == ("down_crash_loop", "sick", ["reset_failed", "start"])
    assert "its port is taken" in result["say"][0]


def test_a_redis_that_refused_its_own_file_is_not_started(make: t.Callable[..., Redis]) -> None:
    redis = make("save 3600 1\n").start()
    redis.write(50)
    redis.ask("SAVE")
    redis.kill()
    dump = redis.data / "dump.rdb"
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 0xFF
    dump.write_bytes(bytes(data))
    before = dump.stat().st_mtime_ns
    result = redis.look()
    assert seen(result) == ("down_bad_file", "sick", ["hold", "mend", "start"])
    assert "dump.rdb (damaged)" in result["say"][0]
    assert dump.stat().st_mtime_ns == before


def test_an_emptied_redis_is_kept_from_saving(make: t.Callable[..., Redis]) -> None:
    redis = make("appendonly yes\n").start()
    redis.write(10)
    assert seen(redis.look(last_known_keys=100)) == ("up_but_empty", "sick", ["isolate", "mend", "start"])
    redis.ask("SAVE")
    redis.kill()
    shutil.rmtree(redis.data / "appendonlydir")
    redis.start()
    assert seen(redis.look()) == ("up_but_empty", "sick", ["isolate", "mend", "start"])
    assert redis.look(last_known_keys=0)["health"] == "well"


def test_known_answers_are_compared(make: t.Callable[..., Redis]) -> None:
    redis = make().start()
    redis.ask("SET", "policy", "good")
    right = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"
    assert redis.look(known_keys=[{"key": "policy", "sha256": right}, {"key": "gone", "exists": False}])["health"] == "well"
    for wrong in ({"key": "policy", "sha256": "0" * 64}, {"key": "gone", "exists": True}):
        assert seen(redis.look(known_keys=[wrong])) == ("up_but_wrong", "sick", [])


def test_another_process_than_the_expected_one_is_told(make: t.Callable[..., Redis]) -> None:
    redis = make().start()
    result = redis.look(expected_identity={"run_id": "0" * 40})
    assert (result["health"], result["actions"], result["facts"]["identity_mismatch"]) == ("sick", [], True)


def test_a_failed_rescue_leaves_no_half_file(make: t.Callable[..., Redis], elsewhere: Path) -> None:
    redis = make().start()
    redis.write(50)
    with pytest.raises(StepError, match="redis-cli"):
        redis.rescue(elsewhere, redis_cli="false")
    assert list(elsewhere.iterdir()) == []
    copy = redis.rescue(elsewhere)
    assert os.stat(copy["path"]).st_mode & 0o777 == 0o600
    assert elsewhere.stat().st_mode & 0o777 == 0o700


def test_a_rescue_with_a_password_shows_it_to_nobody(make: t.Callable[..., Redis], elsewhere: Path) -> None:
    redis = make("requirepass verysecret\n").start()
    secret = redis.folder / "password"
    secret.write_text("verysecret\n")
    secret.chmod(0o600)
    commands: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    commands.add(path.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    copy: dict[str, t.Any] = {}
    # The command may live for less time than one look at all processes takes.
    for turn in range(20):
        (elsewhere / str(turn)).mkdir(parents=True, mode=0o700)
        copy = redis.rescue(elsewhere / str(turn), password_file=str(secret))
        if any(b"--rdb" in command for command in commands):
            break
    over.set()
    watcher.join()
    assert copy["proven"]
    assert any(b"--rdb" in command for command in commands)
    assert not any(b"verysecret" in command for command in commands)
    assert "verysecret" not in str(copy)


@pytest.mark.parametrize(
    ("says", "closes"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", True),
        (b"", False),
        (b"+OK\x1b[2J" + b"x" * 70000, False),
        (b"*1000000000\r\n", False),
    ],
    ids=["http", "closes", "mute", "endless", "bomb"],
)
def test_a_port_that_is_no_redis_is_unknown(says: bytes, closes: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve_once, args=(server, says, closes), daemon=True).start()
        begun = time.monotonic()
        raw = kind_redis.load({"host": "127.0.0.1", "port": server.getsockname()[1], "stands_on": "target"}, 1.0)
        result = kind_redis.judge(raw, {})
    assert time.monotonic() - begun < 15
    assert (result.health.value, result.actions) == ("unknown", ())
    assert "\x1b" not in str(result.as_dict())


def serve_once(server: socket.socket, says: bytes, closes: bool) -> None:
    connection, dummy = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(says)
        if not closes:
            time.sleep(20)


def test_an_isolated_redis_saves_nothing_empties_no_replica_and_is_released_again(make: t.Callable[..., Redis]) -> None:
    master = make("port 0\nappendonly no\nsave 3600 1\nrepl-diskless-sync no\n").start()
    before = {name: master.ask("CONFIG", "GET", name)[1] for name in ("save", "repl-diskless-sync", "repl-diskless-sync-delay")}
    assert master.act("isolate", check=True)["changed"] is True
    assert master.ask("CONFIG", "GET", "save")[1] == before["save"]
    isolated = master.act("isolate")
    assert (isolated["changed"], master.act("isolate")["changed"]) == (True, False)
    assert master.ask("SET", "key", "value") == "OK"
    # What a replica asks first when it wants all data.
    with Connection(address_of({"socket": master.socket}), 60) as replica:
        assert replica.ask("REPLCONF", "capa", "eof", "capa", "psync2") == "OK"
        replica.send([("PSYNC", "?", "-1")])
        until(lambda: "wait_bgsave" in str(master.ask("INFO", "replication")))
        time.sleep(1.5)
        assert "rdb_bgsave_in_progress:0" in str(master.ask("INFO", "persistence"))
        assert "state=wait_bgsave" in str(master.ask("INFO", "replication"))
    assert not (master.data / "dump.rdb").exists()
    released = master.act("release", settings=isolated["before"], stage="undo")
    assert released["changed"] is True
    assert {name: master.ask("CONFIG", "GET", name)[1] for name in before} == before
    with pytest.raises(StepError, match="isolate"):
        master.act("release", settings={"dir": "/"})


def test_writers_wait_and_go_on(make: t.Callable[..., Redis]) -> None:
    redis = make("port 0\n").start()
    assert redis.ask("SET", "key", "before") == "OK"
    redis.act("pause_writers", value=30)
    with Connection(address_of({"socket": redis.socket}), 60) as writer:
        writer.send([("SET", "key", "after")])
        time.sleep(0.2)
        assert redis.ask("GET", "key") == "before"
        redis.act("resume_writers", stage="undo")
        assert writer.receive() == "OK"
    assert redis.ask("GET", "key") == "after"


def test_a_look_at_paused_writers_leaves_redis_answering(make: t.Callable[..., Redis]) -> None:
    """Redis 7.0 searches for ever for a random key that has not expired while writers are paused."""
    redis = make("port 0\n").start()
    assert redis.ask("SET", "key", "there") == "OK"
    with Connection(address_of({"socket": redis.socket}), 5) as writer:
        writer.ask_all([("SELECT", 1), ("SET", "session", "x", "PX", "100"), ("CLIENT", "PAUSE", "60000", "WRITE")])
    time.sleep(0.3)
    assert redis.look(write_probe=False)["state"] == "up"
    assert redis.ask("GET", "key") == "there"
