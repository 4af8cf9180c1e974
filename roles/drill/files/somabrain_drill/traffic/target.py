# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load balancer of a drill: it is made for it, in the drill's own folder, so that nothing of the lab is touched."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client

from ..service import target
from ..target import start_ticks
from .bed import Bed

of_lab = target.of_lab


@dataclasses.dataclass(frozen=True)
class Target(target.Target):
    """HAProxy, once its scene is set; before that there is none."""

    bed: Bed | None = None

    def answers(self) -> bool:
        """Return whether a health probe gets through to a server within two seconds."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(link):
            link.request("GET", "/health")
            return link.getresponse().status == 200
        return False

    def process(self) -> tuple[int, int]:
        worker = self.bed.worker() if self.bed else 0
        return worker, start_ticks(worker)
