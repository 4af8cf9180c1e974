# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of a whole process, to practise with: what a rule of ``api_faults.json`` makes it do at its start, and which process it is for.

``{"exit_after": seconds, "line": text}`` ends it; ``{"exhaust": true}`` lets it run into a memory limit; ``{"stubborn": true}`` makes it
ignore SIGTERM. A rule that names a pid is for that process alone. As a program it is what starts the API: what ends it does so before
the API has loaded, so that its supervisor sees a start that failed.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
import typing as t
from pathlib import Path

Rule = t.Mapping[str, t.Any]
LOADED = time.monotonic()
# When this process began to serve, in a list since each process has its own.
SERVES = [LOADED]
MIB = 1024 * 1024
ROOM = 64 * MIB
# The master of this process, where it is a worker.
MASTER: list[int] = []
# Memory leaked by requests; it is never freed.
LEAKED: list[bytes] = []


def holds(rule: Rule) -> bool:
    """Return whether *rule* is for this process, now."""
    ours = {os.getpid(), *MASTER}
    return rule.get("pid", os.getpid()) in ours and time.monotonic() - SERVES[0] <= float(rule.get("young", float("inf")))


def age() -> float:
    """Return about how many seconds ago this process was started."""
    return time.monotonic() - LOADED


def begin() -> None:
    """Note that this process serves from now on."""
    SERVES[0] = time.monotonic()


def leak(rule: Rule) -> None:
    """Leak as much memory as *rule* says."""
    if rule.get("grow_mib"):
        LEAKED.append(b"x" * (int(rule["grow_mib"]) * MIB))


def files_of(lab: Path) -> tuple[Path, Path]:
    """Return the files of faults: a person's for any process of the lab, and those of this release."""
    return lab / "api_faults.json", Path(__file__).resolve().parents[1] / "faults.json"


def rules_of(file: Path) -> list[t.Any]:
    """Return the rules of a file, [] for none."""
    try:
        rules = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return []
    return rules if isinstance(rules, list) else [rules]


def at_start(file: Path) -> None:
    """Do what the rules of *file* say for a process that starts."""
    for rule in rules_of(file):
        if rule.get("stubborn"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if rule.get("exhaust"):
            exhaust()
        if "exit_after" in rule:
            words = (float(rule["exit_after"]), str(rule.get("line") or ""))
            if not words[0]:
                end(*words)
            threading.Thread(target=end, args=words, daemon=True).start()


def end(seconds: float, line: str) -> None:
    """Print *line* after *seconds* and end with exit code 3."""
    time.sleep(seconds)
    print(line, file=sys.stderr, flush=True)
    os._exit(3)


def exhaust() -> None:
    """Take memory until the limit that is set here says no: MemoryError, as for a service that outgrew its own."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    while True:
        LEAKED.append(b"x" * MIB)


def main() -> None:
    # <lab_dir>/etc/standin.json
    for file in files_of(Path(sys.argv[1]).parents[1]):
        at_start(file)
    importlib.import_module("somabrain_lab.api").main()


if __name__ == "__main__":
    main()
