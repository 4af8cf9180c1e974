# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a TCP port of this machine: the sockets that listen, and the processes that have them open. Loaders; they never raise."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import struct
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import parent_of, pids

LISTENS = "0A"
ANY = ("0.0.0.0", "::")  # noqa: S104 - compared with, never bound to


def listeners_on(port: int, pid: int = 0) -> list[dict[str, str]]:
    """Return {address, inode, uid} of each socket that listens on *port* in the network of the process *pid*; 0: in ours."""
    return [{key: str(one[key]) for key in ("address", "inode", "uid")} for one in listeners(pid) if one["port"] == port]


def listeners(pid: int = 0) -> list[dict[str, t.Any]]:
    """Return {address, port, inode, uid} of each TCP socket that listens in the network of the process *pid*; 0: in ours."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in _read("/proc/%s/net/%s" % (pid or "self", table), 1 << 24).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == LISTENS:
                address, dummy, port = fields[1].rpartition(":")
                found.append({"address": address_of(address), "port": int(port, 16), "inode": fields[9], "uid": fields[7]})
    return found


def local_listeners(pid: int = 0) -> set[str]:
    """Return the inode of each Unix socket that listens in the network of the process *pid*; 0: in ours."""
    lines = [line.split() for line in _read("/proc/%s/net/unix" % (pid or "self"), 1 << 24).splitlines()[1:]]
    # The flag of a socket that accepts connections.
    return {fields[6] for fields in lines if len(fields) > 6 and int(fields[3], 16) & 0x10000}


def nearest(sockets: t.Sequence[t.Mapping[str, t.Any]], address: str) -> list[t.Mapping[str, t.Any]]:
    """Return those of *sockets*, all of one port, to which the kernel gives a connection to *address*: the most exact ones."""
    for bound in (address, ANY[1] if ":" in address else ANY[0], ANY[1]):
        found = [one for one in sockets if one["address"] == bound]
        if found:
            return found
    return []


def address_of(shown: str) -> str:
    """Return the address that the kernel shows as words of hexadecimal digits, each in the byte order of the machine."""
    raw = b"".join(struct.pack("=I", int(shown[at : at + 8], 16)) for at in range(0, len(shown), 8))
    address = ipaddress.ip_address(raw)
    return str(getattr(address, "ipv4_mapped", None) or address)


def meets(bound: str, wanted: str) -> bool:
    """Return whether a socket bound to the address *bound* is in the way of one for *wanted*; "" wants any."""
    return not wanted or bound == wanted or bound in ANY or wanted in ANY


def holders_of(port: int, address: str = "") -> list[dict[str, t.Any]]:
    """Return {pid, program, user, address} of every process that listens on *port* (and *address*).

    ``pid`` is 0 and ``program`` "" where the process is not seen: another user's without root, or one of another namespace.
    """
    return holders_at([one for one in listeners_on(port) if meets(one["address"], address)] if port else [])


def holders_at(sockets: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return {pid, program, user, address} of every process that has one of *sockets* open, as ``holders_of`` does."""
    open_at = _owners({one["inode"] for one in sockets}) if sockets else {}
    return [
        {"pid": pid, "program": program_of(pid), "user": _user(one["uid"]), "address": one["address"]}
        for one in sockets for pid in open_at.get(one["inode"]) or [0]
    ]  # fmt: skip


def stranger_on(port: int, address: str, own: t.Iterable[int]) -> dict[str, t.Any]:
    """Return the first holder of *port* that is none of the processes *own*, {} for none.

    A holder that descends from one of them is their own, and so is a socket that systemd (process 1) holds for a unit.
    """
    ours = {int(pid) for pid in own if pid} | {1}
    return next((one for one in holders_of(port, address) if not _descends(int(one["pid"]), ours)), {})


def holder_text(holder: t.Mapping[str, t.Any], port: int) -> str:
    """Return who holds the port, in words for a person."""
    if holder.get("pid"):
        return "port %d is held by %s (pid %s, user %s)" % (port, holder["program"] or "a process", holder["pid"], holder["user"])
    return "port %d is held by a process of user %s that cannot be seen from here" % (port, holder.get("user"))


def sockets_of(pid: int) -> t.Optional[set[str]]:
    """Return the inodes of the sockets of a process, None where they may not be seen."""
    folder, found = "/proc/%d/fd" % pid, set()
    try:
        for name in os.listdir(folder):
            try:
                target = os.readlink(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except FileNotFoundError:
        return set()
    except OSError:
        return None
    return found


def program_of(pid: int) -> str:
    """Return the name of the program that a process runs, "" where it is not seen."""
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid)).replace(" (deleted)", "")
    except OSError:
        return _read("/proc/%d/comm" % pid, 64).strip() if pid else ""


def _owners(inodes: set[str]) -> dict[str, list[int]]:
    """Return the processes of each socket; of a family that shares one, the oldest only."""
    found: dict[str, list[int]] = {}
    for pid in pids():
        for inode in inodes & (sockets_of(pid) or set()):
            found.setdefault(inode, []).append(pid)
    return {inode: [pid for pid in held if parent_of(pid) not in held] for inode, held in found.items()}


def _descends(pid: int, ours: set[int]) -> bool:
    while pid > 1 and pid not in ours:
        pid = parent_of(pid)
        if pid == 1:
            return False
    return pid in ours


def _user(uid: str) -> str:
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError):
        return uid


def _read(path: str, limit: int) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def port_in(line: str) -> int:
    """Return the port that a line about a taken address names, 0 for none."""
    found = re.search(r"(?:\bport\s*[:=]?\s*|[\w.\]*:]:|',\s*)(\d{2,5})\b", line)
    return int(found.group(1)) if found and int(found.group(1)) < 65536 else 0
