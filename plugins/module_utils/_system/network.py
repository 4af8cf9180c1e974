# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks as processes see them: which addresses are a machine's or a container's own. Loaders; they never raise."""

from __future__ import annotations

import ipaddress
import os
import re


def is_here(address: str, pid: int = 0) -> bool:
    """Return whether *address* belongs to the network of the process *pid*; 0: to ours."""
    try:
        wanted = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = getattr(wanted, "ipv4_mapped", None) or wanted
    return bool(inner.is_loopback or inner.is_unspecified) or str(inner) in addresses_of(pid)


def addresses_of(pid: int = 0) -> set[str]:
    """Return the addresses of the network of the process *pid*; 0: of ours."""
    place = "/proc/%s/net/" % (pid or "self")
    found = set(re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", _read(place + "fib_trie")))
    for line in _read(place + "if_inet6").splitlines():
        if re.match(r"[0-9a-f]{32} ", line):
            found.add(str(ipaddress.IPv6Address(int(line[:32], 16))))
    return found


def is_shared_with(pid: int) -> bool:
    """Return whether the process *pid* is in the network that we are in; False where that cannot be seen."""
    try:
        return os.readlink("/proc/%d/ns/net" % pid) == os.readlink("/proc/self/ns/net")
    except OSError:
        return False


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 22).decode("ascii", "replace")
    except OSError:
        return ""
