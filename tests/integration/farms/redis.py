# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Redis servers under a real supervisord, and recover-redis run on them as a person would."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import typing as t
import xmlrpc.client
from pathlib import Path

from farms.waiting import until
from farms.warmly import run_ansible
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
)

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
SERVER = shutil.which("redis-server")
SUPERVISORD = shutil.which("supervisord", path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
NOBODY = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
# Verification as short as it may be; a window of a second more for every run would be most of the time of the tests.
PATIENCE = {"passes": 3, "window": 0.2, "timeout": 15, "interval": 0.05}


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: t.Any) -> http.client.HTTPConnection:
        return _Unix(self._path)


def start_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def snapshot(*folders: Path) -> dict[str, tuple[t.Any, ...]]:
    """Return mode, owner, time and digest of everything below *folders*."""
    found: dict[str, tuple[t.Any, ...]] = {}
    for folder in folders:
        for path in [folder, *sorted(folder.rglob("*"))]:
            if path.exists() and not path.is_socket():
                facts = path.stat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
                found[str(path)] = (facts.st_mode, facts.st_uid, facts.st_mtime_ns, digest)
    return found


class Run(t.NamedTuple):
    """One run of the playbook: its return code, what it printed, and its outcome."""

    rc: int
    text: str
    outcome: dict[str, t.Any]

    @property
    def word(self) -> str:
        return str(self.outcome.get("outcome"))

    @property
    def code(self) -> str:
        """The code of the first reason, "" for none."""
        return str((self.outcome.get("reasons") or [{}])[0].get("code", ""))

    @property
    def acts(self) -> list[str]:
        return [act["action"] for act in self.outcome["acts"]]

    @property
    def states(self) -> tuple[t.Any, t.Any]:
        return (self.outcome.get("before") or {}).get("state"), (self.outcome.get("after") or {}).get("state")


class Redis:
    """One Redis under the farm's supervisor, in a directory of its own, as nobody where we are root: root ignores modes."""

    def __init__(self, farm: Farm, name: str, settings: str, data: Path | None, startsecs: int) -> None:
        self.farm, self.name, self.port = farm, name, free_port()
        self.folder = farm.folder / name
        self.data, self.config, self.log = data or self.folder / "data", self.folder / "redis.conf", self.folder / "redis.log"
        self.state_dir = farm.folder / f"{name}-ledger"
        self.data.mkdir(parents=True, exist_ok=True)
        self.base = f"bind 127.0.0.1\nport {self.port}\ndir {self.data}\nlogfile {self.log}\n"
        self.configure(settings)
        if NOBODY:
            for path in (self.folder, self.data, self.config):
                os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
        farm.add(name, f"{SERVER} {self.config}", startsecs)

    def configure(self, settings: str) -> None:
        self.config.write_text(self.base + settings)

    def start(self, wait: bool = True) -> Redis:
        with contextlib.suppress(xmlrpc.client.Fault):
            self.farm.call.startProcess(self.name, wait)
        end = time.monotonic() + 60
        while wait and self.try_ask("PING") is None:
            assert time.monotonic() < end, self.log.read_text()[-2000:]
            time.sleep(0.02)
        return self

    def ask(self, *words: t.Any, seconds: float = 5.0) -> t.Any:
        with Connection(address_of({"port": self.port}), seconds) as connection:
            return connection.ask(*words)

    def try_ask(self, *words: t.Any) -> t.Any:
        with contextlib.suppress(RespError):
            return self.ask(*words)
        return None

    def send(self, *words: t.Any) -> None:
        """Send a command and wait for no answer."""
        with Connection(address_of({"port": self.port}), 5) as connection:
            connection.send([words])
            time.sleep(0.05)

    def write(self, count: int = 50, size: int = 10, prefix: str = "key") -> list[str]:
        """Write *count* keys; return those that were acknowledged, once the disk has them: what is only in the buffer dies with a kill."""
        keys = [f"{prefix}:{index}" for index in range(count)]
        with Connection(address_of({"port": self.port}), 30) as connection:
            replies = connection.ask_all([("SET", key, "x" * size) for key in keys])
            if set(replies) == {"OK"}:
                until(lambda: has_written(connection.ask("INFO", "persistence")), 20)
        return [key for key, reply in zip(keys, replies) if reply == "OK"]

    def missing(self, keys: list[str]) -> list[str]:
        """Return those of *keys* that are not there."""
        with Connection(address_of({"port": self.port}), 30) as connection:
            replies = connection.ask_all([("EXISTS", key) for key in keys])
        return [key for key, reply in zip(keys, replies) if reply != 1]

    def has(self, keys: list[str]) -> bool:
        return bool(self.ask("EXISTS", *keys) == len(keys))

    @property
    def pid(self) -> int:
        return int(self.farm.call.getProcessInfo(self.name)["pid"])

    @property
    def running(self) -> bool:
        return self.farm.call.getProcessInfo(self.name)["statename"] in ("RUNNING", "STARTING")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        end_process(self.pid)
        until(lambda: not self.pid)

    @property
    def begun(self) -> list[str]:
        """The acts that any run on it has begun so far, in their order."""
        query, file = "select json_extract(body, '$.action') from journal where kind='begin' order by seq", self.state_dir / "ledger.sqlite"
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
            return [str(action) for (action,) in db.execute(query)]
        return []

    @property
    def variables(self) -> dict[str, t.Any]:
        return {
            "redis_recovery_host": "127.0.0.1", "redis_recovery_port": self.port, "redis_recovery_manager": "supervisor",
            "redis_recovery_service": self.name, "redis_recovery_data_dir": str(self.data), "redis_recovery_config_file": str(self.config),
            "redis_recovery_log_file": str(self.log), "redis_recovery_rescue_dir": str(self.folder / "rescue"),
            "redis_recovery_patience": PATIENCE, "redis_recovery_probe_timeout": 2, "redis_recovery_stop_timeout": 2,
            "remediation_state_dir": str(self.state_dir), "service_manager_supervisor_url": self.farm.url,
            "remediation_budget": {"attempts": 50, "within_seconds": 900},
        }  # fmt: skip

    def recover(self, *flags: str, **variables: t.Any) -> Run:
        return self.farm.play({self.name: {**self.variables, **variables}}, *flags)["lab"]


class Farm:
    """A supervisord, the servers under it, and the playbook."""

    GROUP, PLAYBOOK, USER = "redis", "recover-redis", "nobody"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/s.sock"
        self.redis: dict[str, Redis] = {}
        self.started_again: set[str] = set()
        self.call: t.Any = xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_Transport(f"{folder}/s.sock")).supervisor
        self._runs = itertools.count(1)
        (folder / "programs").mkdir()
        (folder / "s.conf").write_text(
            f"[unix_http_server]\nfile={folder}/s.sock\n[supervisord]\nnodaemon=true\nlogfile={folder}/s.log\npidfile={folder}/s.pid\n"
            f"childlogdir={folder}\n{'user=root' if NOBODY else ''}\n[include]\nfiles={folder}/programs/*.conf\n[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        )
        self._daemon = subprocess.Popen([str(SUPERVISORD), "-c", f"{folder}/s.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while not (folder / "s.sock").exists():
            alive = time.monotonic() < end and self._daemon.poll() is None
            assert alive, "supervisord did not start"
            time.sleep(0.05)

    def add(self, name: str, command: str, startsecs: int) -> None:
        user = f"user={self.USER}" if NOBODY else ""
        restarts = "autorestart=true\nstartretries=1000" if name in self.started_again else "autorestart=false\nstartretries=1"
        (self.folder / "programs" / f"{name}.conf").write_text(
            f"[program:{name}]\ncommand={command}\nautostart=false\n{restarts}\nstartsecs={startsecs}\n{user}\n"
        )
        self.call.reloadConfig()
        self.call.addProcessGroup(name)

    def recommand(self, redis: Redis, command: str) -> None:
        """Have supervisor start *redis* by another command; it must not run."""
        file = self.folder / "programs" / f"{redis.name}.conf"
        file.write_text(re.sub(r"command=.*", lambda dummy: f"command={command}", file.read_text()))
        self.call.removeProcessGroup(redis.name)
        self.call.reloadConfig()
        self.call.addProcessGroup(redis.name)

    def make(
        self, name: str, settings: str = 'appendonly yes\nsave ""\n', data: Path | None = None, startsecs: int = 0, again: bool = False
    ) -> Redis:
        """Return a new Redis, not yet started; with *again* supervisor starts it again whenever it ends."""
        (self.folder / name).mkdir()
        if again:
            self.started_again.add(name)
        self.redis[name] = Redis(self, name, settings, data, startsecs)
        return self.redis[name]

    def play(self, hosts: dict[str, dict[str, t.Any]], *flags: str, env: dict[str, str] | None = None) -> dict[str, Run]:
        """Run the playbook on *hosts* (name -> variables); return a Run for each host, and as "lab" that of the only one."""
        number = next(self._runs)
        inventory, file = self.folder / f"inventory-{number}.json", self.folder / f"outcome-{number}.json"
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "remediation_outcome_file": str(file)}
        named = {name: {**local, **variables} for name, variables in hosts.items()}
        inventory.write_text(json.dumps({self.GROUP: {"hosts": named}}))
        command = [str(BIN / "ansible-playbook"), f"playbooks/{self.PLAYBOOK}.yml", "-i", str(inventory), *flags]
        # A session of its own, which a story may kill as a whole.
        done = run_ansible(command, cwd=ROOT, timeout=300, env={**os.environ, **(env or {})}, session=True)
        text = done.stdout + done.stderr
        runs = {}
        for name in hosts:
            own = file.with_name(f"{file.stem}-{name}.json") if len(hosts) > 1 else file
            own = own if own.exists() else file
            runs[name] = Run(done.returncode, text, json.loads(own.read_text()) if own.exists() else {})
        return {**runs, "lab": next(iter(runs.values()))}

    def stop(self) -> None:
        # supervisord's own shutdown would wait for servers that some story left hung.
        pids = [pid for redis in self.redis.values() for pid in (redis.pid, *children_of(redis.pid))]
        self._daemon.kill()
        self._daemon.wait(10)
        for pid in pids:
            end_process(pid)


@contextlib.contextmanager
def farmed(prefix: str) -> t.Iterator[Farm]:
    """A farm in a folder of its own. Not in pytest's: nobody may not enter that, and a socket's path has to be short."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    farm = Farm(folder)
    try:
        yield farm
    finally:
        farm.stop()
        shutil.rmtree(folder, ignore_errors=True)


def decoy_of(farm: Farm) -> Redis:
    """Return a healthy Redis with keys, which no story may touch."""
    redis = farm.make("decoy").start()
    redis.write(20, prefix="decoy")
    return redis


@contextlib.contextmanager
def untouched(decoy: Redis) -> t.Iterator[None]:
    """Hold that *decoy* has the same process, keys and files at the end."""
    before = (decoy.pid, start_ticks(decoy.pid), decoy.ask("DBSIZE"), snapshot(decoy.data))
    yield
    assert (decoy.pid, start_ticks(decoy.pid), decoy.ask("DBSIZE"), snapshot(decoy.data)) == before


def end_process(pid: int) -> None:
    """Kill *pid*, stopped or not; supervisor may still name one that is gone already, and 0 is none."""
    with contextlib.suppress(ProcessLookupError):
        for number in (signal.SIGCONT, signal.SIGKILL) if pid else ():
            os.kill(pid, number)


def children_of(pid: int) -> list[int]:
    """Return the processes that *pid*, such as a shell around a server, has started."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] if pid else []
    return []


def has_written(persistence: str) -> bool:
    """Return whether nothing waits in the buffer of the append-only file, or never will leave it."""
    return not re.search(r"aof_buffer_length:[1-9]", persistence) or "aof_last_write_status:err" in persistence


def refusal(reply: t.Any) -> str:
    """Return the code of an error reply, "" for another one."""
    return reply.code if isinstance(reply, ErrorReply) else ""
