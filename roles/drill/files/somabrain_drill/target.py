# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill breaks, whatever store it is: where its files are, who runs it; and the small tools that every family uses."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import signal
import time
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask

from .errors import DrillError


@dataclasses.dataclass(frozen=True)
class Target:
    """One server of one inventory host, on the machine that drills."""

    host: str
    inventories: t.Tuple[str, ...]
    lab_dir: str
    port: int
    data_dir: Path
    config_file: Path
    log_file: Path
    service: t.Mapping[str, t.Any]

    @property
    def environment(self) -> dict[str, str]:
        """What a playbook needs in its environment to find this target."""
        return {"SOMABRAIN_LAB_DIR": self.lab_dir} if self.lab_dir else {}

    @property
    def outside(self) -> list[Path]:
        """The files of the target that are not in its data directory."""
        return [path for path in (self.config_file, self.log_file) if self.data_dir not in path.parents]

    def answers(self) -> bool:
        """Tell within a second or so whether it answers a client."""
        raise NotImplementedError

    def state(self) -> dict[str, t.Any]:
        return ask.manager_of(self.service).load_state(self.service, 5)

    @property
    def pid(self) -> int:
        """The pid of the running process by its manager's word, 0 for none."""
        state = self.state()
        return int(state["pid"] or 0) if state["state"] in ("running", "starting", "stopping") else 0

    def start(self) -> None:
        """Ask the manager to start it; whether it stays up is not looked at."""
        with contextlib.suppress(StepError):
            ask.manager_of(self.service).start(self.service, 10)

    def end(self) -> None:
        """Kill the process if there is one, hung or not, and wait until the manager knows."""
        pid = self.pid
        for number in (signal.SIGCONT, signal.SIGKILL) if pid else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        until(lambda: self.pid != pid or not pid, 10, f"{self.host}: process {pid} does not end")

    def kill(self) -> None:
        """Let it die as by kill -9, and leave behind what that leaves behind."""
        self.end()

    def stop(self) -> None:
        """End it so that its own data can be put aside; where that loses nothing, by the shortest way."""
        self.end()

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
