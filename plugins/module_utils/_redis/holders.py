# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes use a data directory: a Redis that runs in it, and any process that has one of its files open. Reads /proc only."""

from __future__ import annotations

import os
import typing as t

SERVERS = ("redis", "valkey", "keydb")
Mark = t.Tuple[int, int]


def load_holders(folder: os.stat_result, files: t.Iterable[os.stat_result]) -> list[dict[str, t.Any]]:
    """Return [{pid, name, why}] of the processes that use the directory *folder* or one of its *files*; never raises.

    ``why`` is works_in, has_open, or hidden (a Redis that we may not inspect). Directories and files are identified by device and inode,
    so that other names and the mount namespaces of containers hide nothing.
    """
    top, wanted = (folder.st_dev, folder.st_ino), {(facts.st_dev, facts.st_ino) for facts in files}
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
    except OSError:
        return []
    found = []
    for pid in pids:
        name = _name(pid)
        why = _why(pid, name, top, wanted)
        if why:
            found.append({"pid": pid, "name": name, "why": why})
    return found


def _why(pid: int, name: str, top: Mark, wanted: set[Mark]) -> str:
    server = name.startswith(SERVERS)
    try:
        if server and _mark("/proc/%d/cwd" % pid) == top:
            return "works_in"
        folder = "/proc/%d/fd" % pid
        opened = {_mark(os.path.join(folder, number)) for number in os.listdir(folder)}
    except PermissionError:
        return "hidden" if server else ""
    except OSError:
        # The process has exited.
        return ""
    return "has_open" if opened & wanted else ""


def _mark(path: str) -> t.Optional[Mark]:
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _name(pid: int) -> str:
    try:
        with open("/proc/%d/comm" % pid, "rb") as file:
            return file.read(64).decode("utf-8", "replace").strip()
    except OSError:
        return ""
