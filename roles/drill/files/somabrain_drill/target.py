# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Redis that a drill breaks: where it listens, where its files are, who runs it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import signal
import time
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils import _services
from ansible_collections.somabrain.incident_response.plugins.module_utils._resp import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
    log_in,
    password_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._step import StepError

from .errors import DrillError


@dataclasses.dataclass(frozen=True)
class Target:
    """One Redis of one inventory host, on the machine that drills."""

    host: str
    inventories: t.Tuple[str, ...]
    port: int
    data_dir: Path
    config_file: Path
    log_file: Path
    service: t.Mapping[str, t.Any]
    lab_dir: str = ""
    address: str = "127.0.0.1"
    socket: str = ""
    username: str = ""
    password_file: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a playbook needs in its environment to find this target."""
        return {"SOMABRAIN_LAB_DIR": self.lab_dir} if self.lab_dir else {}

    def connect(self, seconds: float) -> Connection:
        """Return a conversation of at most *seconds* that is logged in. Raises RespError."""
        options = {"host": self.address, "port": self.port, "socket": self.socket}
        connection = Connection(address_of(options), seconds)
        try:
            log_in(connection, self.username, password_of({"password_file": self.password_file}))
        except (RespError, StepError):
            connection.close()
            raise
        return connection

    def ask(self, *words: t.Any, seconds: float = 5.0) -> t.Any:
        with self.connect(seconds) as connection:
            return connection.ask(*words)

    def answers(self) -> bool:
        """Tell whether it answers PING with PONG within a second."""
        with contextlib.suppress(RespError):
            return bool(self.ask("PING", seconds=1) == "PONG")
        return False

    def state(self) -> dict[str, t.Any]:
        return _services.manager_of(self.service).load_state(self.service, 5)

    @property
    def pid(self) -> int:
        """The pid of the running process by its manager's word, 0 for none."""
        state = self.state()
        return int(state["pid"] or 0) if state["state"] in ("running", "starting", "stopping") else 0

    def start(self) -> None:
        """Ask the manager to start it; whether it stays up is not looked at."""
        with contextlib.suppress(StepError):
            _services.manager_of(self.service).start(self.service, 10)

    def end(self) -> None:
        """Kill the process if there is one, hung or not, and wait until the manager knows."""
        pid = self.pid
        for number in (signal.SIGCONT, signal.SIGKILL) if pid else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        until(lambda: self.pid != pid or not pid, 10, f"{self.host}: process {pid} does not end")

    def configured(self) -> str:
        return self.config_file.read_text(encoding="utf-8")

    def process(self) -> tuple[int, int]:
        """Return pid and start time, (0, 0) where nothing runs."""
        pid = self.pid
        return (pid, start_ticks(pid)) if pid else (0, 0)


def start_ticks(pid: int) -> int:
    """Return when process *pid* started, in clock ticks since boot; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def hashes(*folders: Path) -> dict[str, str]:
    """Return mode, owner and SHA-256 of everything below *folders*, as text."""
    found: dict[str, str] = {}
    for path in [path for folder in folders for path in [folder, *sorted(folder.rglob("*"))]]:
        with contextlib.suppress(FileNotFoundError):
            facts = path.lstat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = f"{facts.st_mode:o} {facts.st_uid} {digest}"
    return found


def until(true: t.Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Wait until *true*; raises DrillError(*otherwise*) after *seconds*."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise DrillError(otherwise)
        time.sleep(0.02)


def refused(reply: t.Any) -> bool:
    return isinstance(reply, ErrorReply)
