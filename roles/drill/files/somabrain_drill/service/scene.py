# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of an API: it runs as it is, with the memories of the drill; its dependencies are the decoy."""

from __future__ import annotations

import contextlib
import os
import signal
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask

from .. import scene
from ..errors import DrillError
from ..target import start_ticks, until
from .target import Target
from .writers import Ledger

STORES = ("redis", "postgres")


class Neighbours:
    """The stores beside the API, under the same manager: none of them may become another process."""

    port = 0

    def __init__(self, target: Target) -> None:
        self.target = target

    def pid(self, name: str) -> int:
        return int(self.state(name)["pid"] or 0)

    def service(self, name: str) -> dict[str, t.Any]:
        return dict(self.target.service, name=name)

    def state(self, name: str) -> dict[str, t.Any]:
        return ask.manager_of(self.service(name)).load_state(self.service(name), 5)

    def facts(self) -> tuple[t.Any, ...]:
        return tuple((name, self.pid(name), start_ticks(self.pid(name))) for name in STORES)

    def end(self) -> None:
        """They are the lab's own."""


class Scene(scene.Scene):
    """The API of a lab with what the drill writes beside what is there."""

    component = "somabrain"
    remedy = "service_restart"
    target: Target
    ledger: Ledger

    def set(self) -> None:
        self.ledger = Ledger(self.work / "acknowledged.log", self.target, f"drill{self.work.name}n")
        self.servers["decoy"] = Neighbours(self.target)
        self.stopped: list[str] = []
        self.mend()
        self.be_younger_than_its_memory()
        # What an earlier drill made it say is no sign of this one's fault; its manager holds the log open.
        os.truncate(self.target.log_file, 0)
        until(self.target.answers, 20, f"the API does not answer on port {self.target.port}")

    def be_younger_than_its_memory(self) -> None:
        """Restart the API if an earlier drill took its long-term memory away while it ran."""
        if start_ticks(self.target.pid) < start_ticks(self.decoy.pid("ltm")):
            self.target.stop()
            self.target.start()

    def mend(self) -> None:
        """Take every fault away, as a person does who mends the cause; nothing is restarted that runs."""
        self.target.faults.unlink(missing_ok=True)
        self.target.memory_delay.unlink(missing_ok=True)
        for name in (*STORES, "ltm", "api"):
            pid = self.decoy.pid(name)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        for name in self.stopped:
            with contextlib.suppress(StepError):
                ask.manager_of(self.target.service).start(self.decoy.service(name), 10)
        self.stopped = []

    def let_go(self) -> None:
        if not self.servers:
            return
        # A process that began with the order to end by itself has it still when the order is taken away.
        doomed = self.target.faults.is_file() and "exit_after" in self.target.faults.read_text(encoding="utf-8")
        self.mend()
        if doomed:
            self.target.stop()
        if not self.target.pid:
            self.target.start()
        with contextlib.suppress(DrillError):
            until(self.target.answers, 20, "the API does not answer after the drill")

    def standing(self) -> dict[str, str]:
        """A service that exits again and again is up and down: only its manager's orders count."""
        state = self.target.state()
        return {"service": "stopped" if state["state"] == "stopped" else "wanted", "automatic restart": str(state["autorestart"])}

    def configure(self, settings: t.Mapping[str, t.Any]) -> None:
        """The API reads nothing but its faults."""
