# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene of a load balancer: HAProxy over stand-ins in the drill's folder, clients that ask all the time; a second pool is the decoy."""

from __future__ import annotations

import dataclasses
import threading
import typing as t

from .. import scene
from ..errors import DrillError
from ..target import hashes
from .bed import BESIDE, OVERFLOW, POOL, SPARE, Bed
from .load import Load
from .target import Target
from .writers import Ledger

PATIENCE = {"passes": 3, "window": 0.5, "timeout": 15, "interval": 0.1}


class Beside:
    """Another pool of the same balancer, which is nobody's business."""

    port = 0

    def __init__(self, bed: Bed) -> None:
        self.bed = bed

    def facts(self) -> tuple[t.Any, ...]:
        return self.bed.states(BESIDE), self.bed.switched().get(BESIDE)

    def end(self) -> None:
        """It ends with the balancer."""


class Later(threading.Thread):
    """Steps that are taken while a run is under way; *wrong* says what kept them from it."""

    def __init__(self, take: t.Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.take, self.wrong = take, ""

    def run(self) -> None:
        try:
            self.take()
        except (DrillError, OSError, ValueError, KeyError) as error:
            self.wrong = str(error) or type(error).__name__


class Scene(scene.Scene):
    """A balancer that is made for the drill."""

    component = "traffic"
    remedy = "traffic_scaling"
    target: Target
    ledger: Ledger

    def set(self) -> None:
        # What a failed drill keeps leaves this folder out: sockets cannot be copied.
        self.bed = Bed(self.work / "s", self.ports)
        self.bed.start()
        self.target = dataclasses.replace(self.target, port=self.bed.port, config_file=self.bed.config, bed=self.bed)
        self.ledger = Ledger(self.work / "acknowledged.log", self.bed.port)
        self.servers["decoy"] = Beside(self.bed)
        self.loads: list[Load] = []
        self.later: list[Later] = []

    def let_go(self) -> None:
        """End the loads; what came of them counts as what the other clients got."""
        while getattr(self, "loads", []):
            load = self.loads.pop()
            load.__exit__()
            self.ledger.answers += load.counted().answers

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if hasattr(self, "bed"):
            self.bed.end()

    def configure(self, settings: t.Mapping[str, t.Any]) -> None:
        """The balancer is configured once."""

    @property
    def variables(self) -> dict[str, t.Any]:
        options = {
            "haproxy_address": str(self.bed.control),
            "haproxy_maintenance_map": str(self.bed.map),
            "haproxy_state_dir": str(self.bed.folder / "kept"),
        }
        return {
            "traffic_scaling_hosts": self.target.host, "traffic_scaling_pool": POOL, "traffic_scaling_balancer_options": options,
            "traffic_scaling_spare": [SPARE], "traffic_scaling_overflow": OVERFLOW, "traffic_scaling_patience": PATIENCE,
            "traffic_scaling_sample_window": 2, "traffic_scaling_settle_seconds": 1,
            "traffic_scaling_minimum": 20, "traffic_scaling_hold_timeout": 30,
            # Clients ask on a machine that others work on, too: what is measured is the fault, not that.
            "traffic_scaling_gates": {"error_rate": 0.05, "p95": 2.0, "recall_p95": 2.0},
        }  # fmt: skip

    def bytes(self) -> dict[str, t.Any]:
        files = hashes(self.bed.config, self.bed.map, self.bed.folder / "kept")
        return {**files, "states": self.bed.states(), "switched": self.bed.switched(), "process": self.target.process()}

    def standing(self) -> dict[str, str]:
        """Weights and switches are compared by the faults themselves: here servers die and come back."""
        return {}

    def identity(self) -> tuple[t.Any, ...]:
        return self.target.process(), self.bed.states(), self.bed.switched()
