# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranking the errors in a log, as a target does it: a bare Python that is given the step, beside the runbook's pipeline."""

from __future__ import annotations

import contextlib
import functools
import random
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

from measure import Job, Row, interleaved, timed
from world import HERE, World

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import log_summary_info
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _runner

TOP = 20
PEER = "`grep \\| sort \\| uniq -c \\| sort -nr`, LC_ALL=C"
# What the errors and the other lines say; each line has its own time, so that hardly two are equal, as in a real log.
ERRORS = (
    "ERROR somabrain.memory recall failed for tenant %d: timeout after %d ms",
    "ERROR somabrain.db could not connect to server: Connection refused (%d) attempt %d",
    "FATAL somabrain.redis command not allowed, used %d of %d",
    "ERROR worker redis.exceptions.ConnectionError Exception in thread %d after %d",
)
OTHERS = (
    "INFO somabrain.api request done method=POST path=/recall status=200 ms=%d tenant=t%d",
    "DEBUG somabrain.wm hit rate %d of %d items kept in the working set",
    'INFO uvicorn.access 10.0.%d.%d:51234 - "GET /health HTTP/1.1" 200 OK',
)


def a_log(path: Path, megabytes: int, share: float) -> Path:
    """Write a log of about that size, of whose lines *share* are errors."""
    chance, size, at = random.Random(7), 0, 0.0
    with path.open("w", buffering=1 << 20) as file:
        while size < megabytes * 10**6:
            lines = []
            for _number in range(10000):
                at += 0.002
                words = chance.choice(ERRORS if chance.random() < share else OTHERS) % (chance.randrange(1000), chance.randrange(5000))
                moment = time.strftime("2026-11-%d %H:%M:%S", time.gmtime(at))
                lines.append(f"{moment},{int(at * 1000) % 1000:03d} {words}\n")
            text = "".join(lines)
            size += file.write(text)
    return path


def options(path: Path, masked: bool) -> dict[str, t.Any]:
    spec = log_summary_info.ARGUMENT_SPEC
    source = {**{name: rule.get("default") for name, rule in spec["sources"]["options"].items()}, "path": str(path)}
    return {
        **{name: rule.get("default") for name, rule in spec.items()},
        "sources": [source],
        "masked": masked,
        "top": TOP,
        "seconds": 500.0,
    }


class Ranking:
    """One log, and both ways to rank its errors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wanted = self._runbook()

    def _runbook(self) -> list[tuple[int, str]]:
        out = subprocess.run(
            ["sh", str(HERE / "peers/rank.sh"), str(self.path), str(TOP)], capture_output=True, text=True, check=True
        ).stdout
        return [(int(count), text) for count, _space, text in (line.lstrip().partition(" ") for line in out.splitlines())]

    def theirs(self) -> float:
        return timed(self._runbook)

    def ours(self, masked: bool) -> float:
        return timed(lambda: self.ranked(masked))

    def ranked(self, masked: bool) -> float:
        """Run the step as on a target, hold its counts against the pipeline's, and return the peak of its memory in MiB."""
        script = _runner.piped_script(log_summary_info.__name__, options(self.path, masked), False)
        words = [sys.executable, "-I", "-S", "-c", "import sys;exec(sys.stdin.read())"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            peak = Peak(process.pid)
            out, _none = process.communicate(script)
        answer = _runner.result_between_marks(out) or {}
        found = [(row["count"], row["line"]) for row in answer["raw"]["top"]]
        if found != self.wanted:
            raise RuntimeError(f"our counts are not those of the pipeline: {found[:3]} and {self.wanted[:3]}")
        return peak.end()


class Peak(threading.Thread):
    """Watches how much memory a process and its children have resident together."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._most, self._over = pid, 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, sum(map(resident, family(self._pid))))

    def end(self) -> float:
        self._over.set()
        self.join()
        return self._most


def family(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def resident(pid: int) -> float:
    """Return resident memory in MiB, shared pages in parts as a child has all of its parent's until it is a program of its own."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def rows(world: World, quick: bool) -> t.Iterator[Row]:
    """Measure and yield the rows of the ranking."""
    # The bars are those of 1 GB: of a smaller log, the start of Python is a large part.
    size, runs = (100, 2) if quick else (1000, 5)
    peaks: dict[int, list[float]] = {}
    for share, limit in ((0.3, 0.7), (0.01, 1.0)):
        work = f"rank the errors in {size} MB of log, {share:.0%} of the lines, the same counts"
        one = Ranking(a_log(world.folder / "log", size, share))
        jobs: dict[str, Job] = {
            "ours": functools.partial(one.ours, False),
            "all": functools.partial(one.ours, True),
            "peer": one.theirs,
        }
        took = interleaved(jobs, runs)
        yield Row(work, PEER, took["ours"], took["peer"], None if quick else limit)
        yield Row(f"{work}, and everything else of log_summary_info", PEER, took["all"], took["peer"], None)
        if share == 0.3:
            peaks[size] = [one.ranked(True) for _run in range(2)]
    small = size // 10
    one = Ranking(a_log(world.folder / "log", small, 0.3))
    peaks[small] = [one.ranked(True) for _run in range(2)]
    yield Row(f"peak memory of the same with everything, 30 % of the lines, {size} MB (MiB, not s)", "64 MiB", peaks[size], [64.0], 1.0)
    yield Row(f"peak memory, {size} MB (MiB, not s)", f"{small} MB (MiB)", peaks[size], peaks[small], None)
