# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis of our own on a copy of data, reachable only by a private unix socket.

It has no port, saves only when asked, follows no master, loads no module, and runs as the owner of the data when we are root.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Address,
    Connection,
    ErrorReply,
    RespError,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.side import Side, SideFailed, has_ended

LOG = "side.log"
# Memory that must be free, as a multiple of what the data need.
MEMORY_FACTOR = 1.3
# The path of a unix socket has room for 107 bytes.
SOCKET_PATH = 100
PATIENCE = 2.0
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)")
_NOISE = re.compile(r"^\d+:[A-Z] .{20,30} [.\-*#] ")
_TROUBLE = re.compile(r"(?i)error|bad |fail|fatal|wrong|can't|corrupt|unexpected|unknown|not |# |assert|crash|memory")


class SideInstance(Side):
    """A context manager around one side instance on the data in *folder* (absolute), which it may write to.

    *end* is a monotonic time; *owner* the (uid, gid) to run as when we are root; *settings* lines of redis.conf that replace ours;
    *expects* the bytes of memory that the data may take. Raises SideFailed.
    """

    PREFIX = "redis-side-"
    PAUSES = (0.005, 0.1, 1.5)

    def __init__(
        self, redis_server: str, folder: str, end: float, owner: t.Optional[tuple[int, int]] = None,
        settings: t.Optional[t.Mapping[str, str]] = None, expects: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(end)
        self.program, self.folder = redis_server, folder
        self.owner = owner if os.geteuid() == 0 else None
        self.settings = dict(settings or {})
        self.expects = expects

    @property
    def address(self) -> Address:
        """Return where it listens."""
        return Address(path=os.path.join(self._private, "s"))

    def connect(self) -> Connection:
        """Return a connection that lives as long as we may. Raises RespError."""
        return Connection(self.address, self.left())

    def save(self) -> str:
        """Write all keys to dump.rdb in the folder; return its path. Raises SideFailed, RespError."""
        with self.connect() as redis:
            reply = redis.ask("SAVE")
        if isinstance(reply, ErrorReply):
            raise SideFailed("io", "the side instance cannot save: %s" % (self._last_words() or one_line(reply, 100)))
        return os.path.join(self.folder, "dump.rdb")

    def _started(self) -> subprocess.Popen[bytes]:
        check_memory(self.expects)
        if len(self._private) > SOCKET_PATH:
            raise SideFailed("io", "%s is too long for a socket path: set TMPDIR to a shorter directory" % one_line(self._private, 120))
        config = os.path.join(self._private, "redis.conf")
        with open(config, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(self._configuration())
        if self.owner:
            for path in (config, self._private, self.folder):
                os.chown(path, *self.owner, follow_symlinks=False)
        # The program reaches its files only by its working directory: the owner of the data may not enter those above.
        return subprocess.Popen(
            [self.program, config], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, preexec_fn=self._in_the_child(self._become),
        )  # fmt: skip

    def _configuration(self) -> str:
        lines = configuration(version_of(self.program), os.path.join(self._private, "s"), self.settings)
        return "".join("%s %s\n" % (word, _quoted(value)) for word, value in lines.items())

    def _become(self) -> None:
        # If memory runs out, the kernel kills this process first.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
        if self.owner:
            os.setgroups([])
            os.setgid(self.owner[1])
            os.setuid(self.owner[0])

    def _ready(self) -> bool:
        with contextlib.suppress(RespError), Connection(self.address, 1.0) as redis:
            return bool(redis.ask("PING") == "PONG")
        return False

    def _failure(self) -> SideFailed:
        return SideFailed("refused", self._last_words() or "the side instance exited without a message")

    def _late(self) -> str:
        return "the side instance did not load its data in time"

    def _last_words(self) -> str:
        """Return the last log line about trouble, "" for none."""
        try:
            with open(os.open(os.path.join(self.folder, LOG), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 16384))
                lines = [_NOISE.sub("", line) for line in file.read(16384).decode("utf-8", "replace").splitlines()]
        except OSError:
            return ""
        trouble = [line for line in lines if _TROUBLE.search(line)] or lines
        return one_line(redact(trouble[-1].strip()), 200) if trouble else ""

    def _shut_down(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(RespError), Connection(self.address, PATIENCE) as redis:
            redis.send([("SHUTDOWN", "NOSAVE")])
            if has_ended(process, PATIENCE):
                return
        process.terminate()
        if not has_ended(process, PATIENCE):
            process.kill()
            process.wait()


def _quoted(value: str) -> str:
    return '"%s"' % value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")


def configuration(version: tuple[int, int], socket: str, settings: t.Mapping[str, str]) -> dict[str, str]:
    """Return the configuration of a side instance for a Redis of *version*; *settings* replace ours."""
    words = {
        "port": "0", "unixsocket": socket, "unixsocketperm": "700", "daemonize": "no", "supervised": "no", "logfile": LOG,
        "loglevel": "notice", "databases": "1024",
        "save": "", "dbfilename": "dump.rdb", "appendonly": "no", "appendfilename": "appendonly.aof",
        "appendfsync": "no", "auto-aof-rewrite-percentage": "0", "aof-load-truncated": "no", "rdbchecksum": "yes", "rdbcompression": "yes",
        "stop-writes-on-bgsave-error": "no", "maxmemory": "0", "maxmemory-policy": "noeviction", "lua-time-limit": "0",
    }  # fmt: skip
    if version >= (6, 2):
        # Refuse an inconsistent value here, before the server would.
        words.update({"sanitize-dump-payload": "yes", "crash-memcheck-enabled": "no"})
    if version >= (7, 0):
        words.update({"enable-debug-command": "yes", "appenddirname": "appendonlydir"})
    words.update(settings)
    return words


def version_of(program: str) -> tuple[int, int]:
    """Return (major, minor) of a redis-server. Raises SideFailed if it is not one."""
    try:
        done = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = getattr(error, "strerror", None) or "no answer"
        raise SideFailed("no_server", "cannot run %s: %s; set redis_recovery_server" % (one_line(program, 80), one_line(why, 60))) from None
    found = _VERSION.search(done.stdout[:4096].decode("utf-8", "replace"))
    if not found:
        raise SideFailed("no_server", "%s is not a redis-server; set redis_recovery_server" % one_line(program, 80))
    return int(found.group(1)), int(found.group(2))


def find_server(wanted: str, pid: t.Any = 0) -> str:
    """Return the redis-server program: *wanted*, else the one on the path, else the one that process *pid* runs. Raises SideFailed."""
    if wanted:
        found = shutil.which(wanted)
        if not found:
            raise SideFailed("no_server", "there is no program %s on this host; set redis_recovery_server" % one_line(wanted, 80))
        return found
    folders = os.environ.get("PATH", "") + ":/usr/bin:/usr/local/bin:/opt/redis/bin"
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=folders)
        if found:
            return found
    with contextlib.suppress(OSError):
        running = os.readlink("/proc/%d/exe" % int(pid or 0))
        if os.access(running, os.X_OK):
            return running
    raise SideFailed("no_server", "no redis-server is installed on this host to try the data with; set redis_recovery_server")


def free_memory() -> t.Optional[int]:
    """Return the bytes of memory available without swapping (of the system and of this control group), None if unknown."""
    found: list[int] = []
    with contextlib.suppress(OSError), open("/proc/meminfo", "rb") as file:
        words = re.search(rb"^MemAvailable:\s+(\d+) kB", file.read(65536), re.M)
        found += [int(words.group(1)) * 1024] if words else []
    with contextlib.suppress(OSError, ValueError):
        limit, used = (_number_in("/sys/fs/cgroup/memory.%s" % name) for name in ("max", "current"))
        found.append(max(0, limit - used))
    return min(found) if found else None


def _number_in(path: str) -> int:
    with open(path, "rb") as file:
        return int(file.read(64))


def check_memory(expects: int) -> None:
    """Raise SideFailed(no_room) if *expects* bytes of data need more memory than is free."""
    free = free_memory()
    needed = int(expects * MEMORY_FACTOR)
    if free is not None and needed > free:
        raise SideFailed("no_room", "the data may take %d bytes of memory in a side instance, %d are free" % (needed, free or 0))
