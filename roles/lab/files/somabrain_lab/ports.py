# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the loopback ports of the lab; report a taken port, and pick another."""

from __future__ import annotations

import os
import socket
import typing as t
from pathlib import Path

from .errors import LabError

REACH = 200


def is_free(port: int) -> bool:
    """Return whether a server could listen on 127.0.0.1:*port* now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without this, recently closed connections would make a free port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose(wanted: t.Mapping[str, int], kept: t.Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Return a port for each name, and a sentence for each name that got another port.

    *kept* are ports that our own running programs hold.
    """
    chosen: dict[str, int] = {}
    said: list[str] = []
    for name, port in wanted.items():
        if name in kept:
            chosen[name] = kept[name]
        elif port not in chosen.values() and is_free(port):
            chosen[name] = port
        else:
            chosen[name] = next_free(port, {*wanted.values(), *chosen.values()})
            said.append(f"port {port}, wanted for {name}, is taken by {holder(port)}; using {chosen[name]} instead")
    return chosen, said


def next_free(port: int, avoid: t.Collection[int]) -> int:
    """Return the next free port after *port*; raises LabError if none is within reach."""
    for candidate in range(port + 1, min(port + REACH, 65536)):
        if candidate not in avoid and is_free(candidate):
            return candidate
    raise LabError(f"no free port from {port} to {port + REACH}: set another port (lab_*_port) and start the lab again")


def holder(port: int) -> str:
    """Return the process that listens on *port*, as far as this user may see."""
    inodes = {line.split()[9] for line in listening() if int(line.split()[1].rpartition(":")[2], 16) == port}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {os.readlink(link) for link in (process / "fd").iterdir()}
        except OSError:
            continue
        if links & {f"socket:[{inode}]" for inode in inodes}:
            return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return "another process"


def listening() -> list[str]:
    """Return the lines of the kernel's tables for listening TCP sockets."""
    lines: list[str] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            lines += [line for line in Path(table).read_text().splitlines()[1:] if line.split()[3] == "0A"]
    return lines
