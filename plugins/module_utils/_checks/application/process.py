# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's facts about an application's processes: programs, data files, memory and its limit."""

from __future__ import annotations

import os
import typing as t
import urllib.parse

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import is_loopback
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import process_facts
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.data_files import data_files
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.port import listeners_on, sockets_of

PAGE = os.sysconf("SC_PAGE_SIZE")
# Control groups of version 1 say "unlimited" by a number near the largest one.
UNLIMITED = 1 << 60
# Of a service with more processes, the first are looked at.
MOST_MEMBERS = 64


def read(path: str, limit: int = 1 << 20) -> str:
    """Return the text of a file of the kernel, "" where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def facts_of(pid: int, members: t.Sequence[int]) -> dict[str, t.Any]:
    """Return {program, words, memory_limit, machine_available, processes, suspended, data_files} of a process and its service's *members*.

    A program that cannot be seen is empty.
    """
    program, words = _runs(pid)
    others = [_runs(one) for one in members[:MOST_MEMBERS] if one != pid]
    found = {"program": program, "words": words, "processes": [[program, words], *map(list, others)], **memory_of(pid)}
    suspended = [one for one in members[:MOST_MEMBERS] if process_facts(one).get("process_state") == "T"]
    return dict(found, suspended=suspended, data_files=data_files(members[:MOST_MEMBERS]))


def _runs(pid: int) -> tuple[str, list[str]]:
    """Return the program that a process runs, and its words."""
    try:
        program = os.path.basename(os.readlink("/proc/%d/exe" % pid)).replace(" (deleted)", "")
    except OSError:
        program = ""
    return program, [word for word in read("/proc/%d/cmdline" % pid, 65536).split("\0") if word]


def family_of(pid: int) -> list[int]:
    """Return *pid* and all that descend from it."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = read("/proc/%s/stat" % name, 4096).rpartition(")")[2].split()
            if len(fields) > 1:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += [child for child in children.get(one, []) if child not in found]
    return found


def rss_of(pid: int) -> int:
    """Return the bytes of memory that a process and its children hold, 0 where that cannot be seen."""
    total = 0
    for one in family_of(pid):
        fields = read("/proc/%d/statm" % one, 200).split()
        total += int(fields[1]) * PAGE if len(fields) > 1 else 0
    return total


def memory_of(pid: int) -> dict[str, t.Optional[int]]:
    """Return {memory_limit, machine_available} in bytes, None for what is unknown."""
    available = [line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemAvailable:")]
    return {"memory_limit": limit_of(pid), "machine_available": int(available[0]) * 1024 if available else None}


def limit_of(pid: int) -> t.Optional[int]:
    """Return the bytes that the control groups of a process allow it, None where none limits it or that cannot be seen."""
    # A group of either version has one of the two.
    said = [
        read(folder + name, 64).strip() for folder in group_folders(pid, "memory") for name in ("/memory.max", "/memory.limit_in_bytes")
    ]
    return min((int(text) for text in said if text.isdigit() and int(text) < UNLIMITED), default=None)


def group_folders(pid: int, controller: str) -> list[str]:
    """Return the directories of the control groups that *controller* (memory, cpu) has a process in, and of all groups above them."""
    found = []
    for line in read("/proc/%d/cgroup" % pid).splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        base = "/sys/fs/cgroup" if number == "0" else "/sys/fs/cgroup/" + controller
        if number != "0" and controller not in controllers.split(","):
            continue
        while path not in ("", "/"):
            found.append(base + path)
            path = os.path.dirname(path)
        found.append(base)
    return found


def oom_kills() -> t.Optional[int]:
    """Return how many processes the kernel has killed for want of memory since boot, None where it does not tell."""
    for line in read("/proc/vmstat").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None


def listening_since(url: str) -> t.Optional[float]:
    """Return when the process began that listens at a loopback *url* (epoch seconds), None if no process is seen to.

    Where several hold the socket, as workers do, the first of them counts.
    """
    port = port_of(url)
    inodes = {one["inode"] for one in listeners_on(port)} if port else set()
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()] if inodes else []
    begun = [process_facts(pid).get("started_at") for pid in pids if inodes & (sockets_of(pid) or set())]
    return min((float(one) for one in begun if one), default=None)


def port_of(url: str) -> int:
    """Return the port of a loopback *url*, 0 for any other."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return 0
    return port if is_loopback(parts.hostname) else 0
