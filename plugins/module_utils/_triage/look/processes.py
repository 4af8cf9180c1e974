# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes that use a processor most, read from /proc in two samples. Loaders; they never raise."""

from __future__ import annotations

import os
import pwd
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import pids

# Seconds between the two samples.
APART = 0.3
# Of a machine with more processes than these only so many are sampled.
MOST = 20000
Sample = t.Dict[int, t.Tuple[int, int, int, str]]


def load_top(number: int, deadline: float) -> list[dict[str, t.Any]]:
    """Return [{pid, user, command, cpu_percent, memory_bytes, seconds}] of the *number* processes that use most, of a processor first."""
    begun = time.monotonic()
    first = _sample()
    time.sleep(max(0.0, min(APART, deadline - (time.monotonic() - begun))))
    between = time.monotonic() - begun
    second = _sample()
    return [_described(one) for one in ranked(first, second, between, _uptime(), number)]


def boot_at() -> t.Optional[float]:
    """Return when this machine was started, in epoch seconds, None if that is not seen."""
    uptime = _uptime()
    return round(time.time() - uptime, 1) if uptime else None


def load_memory() -> dict[str, int]:
    """Return {total_bytes, available_bytes} of the machine, {} where they are not seen."""
    found = {}
    for line in _read("/proc/meminfo").decode("ascii", "replace").splitlines():
        name, _colon, rest = line.partition(":")
        words = rest.split()
        if name in ("MemTotal", "MemAvailable") and words and words[0].isdigit():
            found["total_bytes" if name == "MemTotal" else "available_bytes"] = int(words[0]) * 1024
    return found if len(found) == 2 else {}


def load_averages() -> dict[str, t.Any]:
    """Return {load: those of 1, 5 and 15 minutes, cores} of the machine, {} where they are not seen."""
    try:
        return {"load": [round(one, 2) for one in os.getloadavg()], "cores": os.cpu_count() or 1}
    except OSError:
        return {}


def ranked(first: Sample, second: Sample, between: float, uptime: float, number: int) -> list[dict[str, t.Any]]:
    """Return the *number* processes of two samples that used most between them. Pure.

    A sample: {pid: (ticks used, start in ticks after boot, bytes in memory, name)}. One that began in between has used what it has.
    """
    tick = float(os.sysconf("SC_CLK_TCK"))
    rows = []
    for pid, (used, start, memory, name) in second.items():
        before = first.get(pid)
        since = used - (before[0] if before and before[1] == start else 0)
        percent = 100.0 * since / tick / between if between > 0 else 0.0
        age = max(0, round(uptime - start / tick)) if uptime else None
        rows.append({"pid": pid, "name": name, "cpu_percent": round(percent, 1), "memory_bytes": memory, "seconds": age})
    return sorted(rows, key=lambda row: (-float(t.cast(float, row["cpu_percent"])), -int(t.cast(int, row["memory_bytes"]))))[:number]


def _described(row: dict[str, t.Any]) -> dict[str, t.Any]:
    pid, name = row["pid"], row.pop("name")
    words = _read("/proc/%d/cmdline" % pid).replace(b"\0", b" ").strip().decode("utf-8", "replace")
    return dict(row, user=_owner(pid), command=one_line(redact(words[:2000]) or "[%s]" % name, 160))


def _owner(pid: int) -> str:
    try:
        uid = os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _sample() -> Sample:
    page = os.sysconf("SC_PAGE_SIZE")
    found: Sample = {}
    for pid in pids()[:MOST]:
        head, dummy, tail = _read("/proc/%d/stat" % pid).rpartition(b")")
        fields = tail.split()
        if len(fields) > 21 and pid != os.getpid():
            name = head.partition(b"(")[2].decode("utf-8", "replace")
            found[pid] = (int(fields[11]) + int(fields[12]), int(fields[19]), max(0, int(fields[21])) * page, name)
    return found


def _uptime() -> float:
    try:
        return float(_read("/proc/uptime").split()[0])
    except (ValueError, IndexError):
        return 0.0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(65536)
    except OSError:
        return b""
