# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many connections nginx holds open to each server: open-source nginx counts no requests, and an unanswered one keeps its connection.

Connections that nginx keeps for later requests (``keepalive``) are among them, so only growth beyond those says something.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import typing as t

_SOCKET = re.compile(r"socket:\[([0-9]+)\]")
_ESTABLISHED = "01"
# An address in /proc/net/tcp: hexadecimal words in the order of the machine's bytes, and a port.
_WORDS = 8


def open_links(workers: t.Iterable[int]) -> t.Optional[dict[tuple[str, int], int]]:
    """Return {(address, port): established connections of *workers* to there}; None if that cannot be read."""
    found: dict[tuple[str, int], int] = {}
    read = False
    for pid in workers:
        with contextlib.suppress(OSError):
            mine = _sockets_of(pid)
            for name in ("tcp", "tcp6"):
                with contextlib.suppress(FileNotFoundError), open("/proc/%d/net/%s" % (pid, name), encoding="ascii") as file:
                    for there in peers(file.read(), mine):
                        found[there] = found.get(there, 0) + 1
            read = True
    return found if read else None


def _sockets_of(pid: int) -> set[str]:
    """Return the inodes of the sockets that a process holds. Raises OSError without permission."""
    folder, found = "/proc/%d/fd" % pid, set()
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            socket = _SOCKET.fullmatch(os.readlink(os.path.join(folder, name)))
            if socket:
                found.add(socket[1])
    return found


def peers(table: str, inodes: t.AbstractSet[str]) -> list[tuple[str, int]]:
    """Return the other ends of the established connections in a table like /proc/net/tcp whose inode is one of *inodes*."""
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == _ESTABLISHED and words[9] in inodes:
            address, _colon, port = words[2].partition(":")
            found.append((_address_of(address), int(port, 16)))
    return found


def _address_of(text: str) -> str:
    raw = b"".join(bytes.fromhex(text[at : at + _WORDS])[::-1] for at in range(0, len(text), _WORDS))
    ip = ipaddress.ip_address(raw)
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def to_server(links: t.Optional[t.Mapping[tuple[str, int], int]], address: str) -> t.Optional[int]:
    """Return the connections to a server line's *address*, by its port where it is a name; None if that cannot be known."""
    host, _colon, port = address.rpartition(":")
    if links is None or address.startswith("unix:"):
        return None
    if not port.isdigit() or not host:
        host, port = address, "80"
    with contextlib.suppress(ValueError):
        return links.get((str(ipaddress.ip_address(host.strip("[]"))), int(port)), 0)
    return sum(number for (_there, at), number in links.items() if at == int(port))
