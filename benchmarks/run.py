# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures every row beside its peer, interleaved, and writes docs/performance.md. `make bench`, `QUICK=1 make bench`."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import fleet_rows
import logs_rows
import postgres_rows
import redis_rows
import release_rows
import service_rows
from measure import Row, say, table
from world import HERE, PLAYBOOK, ROOT, SSHD, Skipped, World, pyinfra, run

GROUPS = {
    "redis": redis_rows.rows,
    "postgres": postgres_rows.rows,
    "service": service_rows.rows,
    "release": release_rows.rows,
    "fleet": fleet_rows.rows,
    "logs": logs_rows.rows,
}


def versions() -> str:
    """Return one line: the programs that were measured, and those that are not here."""
    core = run([PLAYBOOK, "--version"]).split("\n")[0].partition("core ")[2].rstrip("]")
    redis = run(["redis-server", "--version"]).partition("v=")[2].split()[0]
    found = [
        f"Python {platform.python_version()}",
        f"ansible-core {core}",
        f"Redis {redis}",
        " ".join(run(["curl", "--version"]).split()[:2]),
    ]
    try:
        found.append(run([pyinfra(), "--version"]).strip().replace("v", "").replace(":", ""))
    except Skipped as skipped:
        found.append(f"no pyinfra ({skipped})")
    # ssh prints its version on standard error.
    found.append(run(["sh", "-c", "ssh -V 2>&1"]).partition(",")[0] if SSHD else "no sshd")
    return ", ".join(found)


def machine() -> str:
    """Return one line: what this runs on."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "CPU")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return f"{os.cpu_count()} x {model}, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def busy() -> float:
    """Return the load average of the last minute; other programs spoil the benchmarks."""
    return os.getloadavg()[0]


def measured(groups: t.Sequence[str], quick: bool) -> list[Row]:
    """Run the groups of rows one after the other, each in a directory of its own that is removed afterwards."""
    rows: list[Row] = []
    for group in groups:
        folder = Path(tempfile.mkdtemp(prefix="sb-bench-", dir="/tmp"))
        try:
            world = World(folder)
            with world.stack:
                for row in GROUPS[group](world, quick):
                    rows.append(row)
                    say(table([row]).splitlines()[2])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return rows


def stopped(_number: int, _frame: object) -> t.NoReturn:
    """Exit in the usual way, so that everything that was started is stopped."""
    sys.exit("benchmarks: stopped")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs; the table is shown and not written")
    parser.add_argument("--only", choices=list(GROUPS), help="one group of rows; the table is shown and not written")
    asked = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stopped)
    before, begun, on = busy(), time.monotonic(), f"{machine()}.\n{versions()}."
    rows = measured([asked.only] if asked.only else list(GROUPS), asked.quick)
    date, took = time.strftime("%Y-%m-%d", time.gmtime()), time.monotonic() - begun
    figures = f"{date}, {on}\nLoad of the machine before the start {before:.1f}; measured in {took:.0f} s.\n\n{table(rows)}\n"
    print(figures)
    if not (asked.quick or asked.only):
        head, notes = ((HERE / name).read_text() for name in ("method.md", "notes.md"))
        (ROOT / "docs/performance.md").write_text(f"{head}\n## Figures\n\n{figures}\n{notes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
