# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many connections nginx holds open to each server: open-source nginx counts no requests, and an unanswered one keeps its connection.

Connections that nginx keeps for later requests (``keepalive``) have sent nothing since they last received something, by the kernel's word.
Where the kernel is not asked (another network namespace), they are among the others, and only growth beyond those says something.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket as sockets
import struct
import typing as t

_SOCKET = re.compile(r"socket:\[([0-9]+)\]")
_ESTABLISHED = "01"
# An address in /proc/net/tcp: hexadecimal words in the order of the machine's bytes, and a port.
_WORDS = 8
# The question for all established TCP connections with their times (sock_diag(7), struct inet_diag_req_v2), for one family.
_NETLINK_DIAG, _BY_FAMILY, _DUMP, _ERROR, _DONE, _TIMES = 4, 20, 0x301, 2, 3, 2
_HEAD, _ASKED, _SAID = struct.Struct("=LHHLL"), struct.Struct("=BBBBL48x"), struct.Struct("=4x2xH16x16s12x16xL")
# In struct tcp_info: milliseconds since data was sent and received, and the bytes received.
_SENT_AT, _GOT_AT, _BYTES_AT = 44, 52, 128


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


def waiting_links(workers: t.Sequence[int]) -> t.Optional[dict[tuple[str, int], int]]:
    """Return {(address, port): connections of *workers* to there that wait for an answer}; None if the kernel does not say."""
    found: dict[tuple[str, int], int] = {}
    try:
        here = os.readlink("/proc/self/ns/net")
        mine: set[int] = set()
        for pid in workers:
            if os.readlink("/proc/%d/ns/net" % pid) != here:
                return None
            mine |= {int(inode) for inode in _sockets_of(pid)}
        for family in (sockets.AF_INET, sockets.AF_INET6):
            for there, inode, waits in _connections(family):
                if waits and inode in mine:
                    found[there] = found.get(there, 0) + 1
    except (OSError, struct.error, IndexError):
        return None
    return found


def _connections(family: int) -> t.Iterator[tuple[tuple[str, int], int, bool]]:
    """Yield (other end, inode, whether it waits for an answer) of each established connection. Raises OSError."""
    with sockets.socket(sockets.AF_NETLINK, sockets.SOCK_RAW, _NETLINK_DIAG) as link:
        link.settimeout(2.0)
        asked = _ASKED.pack(family, sockets.IPPROTO_TCP, 1 << (_TIMES - 1), 0, 1 << int(_ESTABLISHED))
        link.send(_HEAD.pack(_HEAD.size + len(asked), _BY_FAMILY, _DUMP, 1, 0) + asked)
        while True:
            received = link.recv(1 << 17)
            while received:
                length, kind = _HEAD.unpack_from(received)[:2]
                if kind == _DONE:
                    return
                if kind == _ERROR or length < _HEAD.size:
                    raise OSError("the kernel does not list connections")
                yield _connection(family, received[_HEAD.size : length])
                received = received[(length + 3) & ~3 :]


def _connection(family: int, said: bytes) -> tuple[tuple[str, int], int, bool]:
    port, address, inode = _SAID.unpack_from(said)
    raw = address[:4] if family == sockets.AF_INET else address
    ip = ipaddress.ip_address(raw)
    there = (str(getattr(ip, "ipv4_mapped", None) or ip), sockets.ntohs(port))
    return there, inode, _waits(said[_SAID.size :])


def _waits(attributes: bytes) -> bool:
    """Return whether the last thing on a connection was sent, not received."""
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if kind == _TIMES and length >= 4 + _BYTES_AT + 8:
            sent, got = (struct.unpack_from("=L", attributes, 4 + at)[0] for at in (_SENT_AT, _GOT_AT))
            return bool(sent < got or struct.unpack_from("=Q", attributes, 4 + _BYTES_AT)[0] == 0)
        attributes = attributes[(max(length, 4) + 3) & ~3 :]
    return False


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
