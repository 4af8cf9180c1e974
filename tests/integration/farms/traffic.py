# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HAProxy over stand-ins of the API, a load through it that counts every answer, and a real Prometheus that watches."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import typing as t
import urllib.parse
import urllib.request
from pathlib import Path

from farms.waiting import until
from somabrain_drill.ports import free_port
from somabrain_drill.traffic.bed import Bed, program

HAPROXY, PROMETHEUS = program("haproxy"), program("prometheus")

SCRAPED = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: somabrain
    static_configs: [{targets}]
"""


class Balanced(Bed):
    """A bed in a folder of its own, which is gone afterwards."""

    def __init__(self) -> None:
        # pytest's own folders have names that are too long for a socket.
        super().__init__(Path(tempfile.mkdtemp(prefix="traffic-", dir="/tmp")), free_port)
        self.prometheus_port = 0

    def end(self) -> None:
        super().end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def prometheus(self) -> str:
        """Start Prometheus on the stand-ins; return its address once it has samples of each."""
        self.prometheus_port = free_port()
        targets = ", ".join(json.dumps({"targets": [f"127.0.0.1:{port}"], "labels": {"server": name}}) for name, port in self.ports.items())
        file = self.folder / "prometheus.yml"
        file.write_text(SCRAPED.format(targets=targets))
        words = [str(PROMETHEUS), f"--config.file={file}", f"--storage.tsdb.path={self.folder}/samples", "--log.level=warn"]
        self.run("prometheus", [*words, f"--web.listen-address=127.0.0.1:{self.prometheus_port}"])
        until(lambda: self.query("count(up == 1)") == float(len(self.ports)), 60, "Prometheus has no samples")
        return f"http://127.0.0.1:{self.prometheus_port}"

    def query(self, expression: str) -> float | None:
        """Return the one number that an expression comes to, None where there is none (yet)."""
        address = f"http://127.0.0.1:{self.prometheus_port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
            found: list[t.Any] = json.load(answer)["data"]["result"]
            return float(found[0]["value"][1]) if found else None
        return None
