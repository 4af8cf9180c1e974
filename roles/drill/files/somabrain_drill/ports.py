# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports for servers that are started later: nobody else is given them in between."""

from __future__ import annotations

import atexit
import random
import socket
from pathlib import Path

from .errors import DrillError

# How many ports below those that the kernel gives to outgoing connections are looked at.
SPAN = 12_000
# Each given port has a name in the kernel for as long as this process lives, which other processes that ask here see.
HELD: list[socket.socket] = []


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that neither the kernel nor this function gives to anybody else."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    lowest = max(1024, first - SPAN)
    for port in random.sample(range(lowest, first), first - lowest):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0somabrain-port-{port}")
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            mark.close()
            continue
        HELD.append(mark)
        return port
    raise DrillError(f"no port between {lowest} and {first} is free")


@atexit.register
def let_go() -> None:
    """Close the names, which an interpreter that ends would otherwise complain about."""
    while HELD:
        HELD.pop().close()
