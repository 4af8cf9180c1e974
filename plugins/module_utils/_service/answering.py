# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers at a URL: the service that is meant, whatever its manager, or a stranger. ``load`` reads, ``judge`` decides.

A service's own are the processes of its control group, and those that descend from its main process. Others accept connections for it
only where its manager says so: Docker for a published port, systemd for a socket unit.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import threading
import typing as t
import urllib.parse

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import network, port, processes

Told = t.Mapping[str, t.Any]
# The programs that accept connections for a service, by who says that they do.
FRONTS: t.Mapping[str, tuple[str, ...]] = {
    "docker": ("docker-proxy", "dockerd", "rootlessport", "rootlesskit", "rootlessport-child", "slirp4netns", "pasta", "passt"),
    "systemd": ("systemd", "init"),
}
# A resolver that hangs is given so many seconds.
RESOLVE_SECONDS = 2.0
BEHIND = {"nobody": "nothing listens on port %d", "other": "port %d is another process's"}
UNSEEN = "which process listens on port %d cannot be seen; look as root (become: true)"
Raw = t.Dict[str, t.Any]


class Answering(t.NamedTuple):
    """Whose the answer is, and why.

    ``whose`` is own, other (a stranger), nobody (nothing listens there), elsewhere (another machine's address), unseen (the processes may
    not be looked at), or "" where the question makes no sense. ``ports`` are the TCP ports that the service itself listens on; ``listens``
    whether it listens anywhere, None if unknown. ``shut_in`` says that its container has no such port on this machine, whatever is started.
    """

    whose: str
    text: str
    ports: tuple[int, ...] = ()
    listens: t.Optional[bool] = None
    shut_in: str = ""


def members_of(service: Told) -> list[int]:
    """Return the processes of a service: its main one with all that descend from it, and all of its control group."""
    pid = int(service.get("pid") or 0)
    # The pid that an engine reports means nothing where its processes are not seen.
    is_seen = pid and service.get("start_time_ticks") is not None
    family = [pid, *(int(one["pid"]) for one in service_state.family_of(pid))] if is_seen else []
    return list(dict.fromkeys([*family, *processes.in_group(str(service.get("control_group") or ""))]))


def load(service: Told, own: t.Sequence[int], url: str, deadline: float = RESOLVE_SECONDS) -> Raw:
    """Return what ``judge`` needs to know of the service (a state of its manager), its processes and the place that *url* names."""
    host, number = place_of(url)
    if not number or service.get("workload"):
        return {}
    inside = own[0] if own and not network.is_shared_with(own[0]) else 0
    held, is_seen = _sockets(own)
    listeners = [one for one in port.listeners(inside) if one["inode"] in held]
    raw: Raw = {
        "port": number, "host": one_line(host, 80), "found": {}, "is_here": False, "inside": bool(inside), "is_seen": is_seen and bool(own),
        "ports": sorted({int(one["port"]) for one in listeners}), "listens": bool(listeners or held & port.local_listeners(inside)),
        "published": _published_by(service) if inside else None,
    }  # fmt: skip
    for address in _addresses(host, min(deadline, RESOLVE_SECONDS)):
        raw["found"] = _at(address, number, inside, held, service)
        raw["is_here"] = raw["is_here"] or bool(raw["found"])
        if raw["found"].get("sockets") or raw["found"].get("front"):
            break
    return raw


def _at(address: str, number: int, inside: int, held: set[str], service: Told) -> Raw:
    """Return {sockets, front, behind} at one address, {} where the address is not this machine's, nor of the service's own network."""
    is_ours = network.is_here(address)
    if not is_ours and not (inside and network.is_here(address, inside)):
        return {}
    space = 0 if is_ours else inside
    sockets = port.nearest(port.listeners_on(number, space), address)
    front = _front_of(service, address, number) if is_ours else {}
    others = port.holders_at([one for one in sockets if one["inode"] not in held])
    # A worker may have begun since.
    own = set(members_of(service)) if others else set()
    return {
        "is_ours": is_ours, "sockets": len(sockets), "strangers": [_named(one) for one in others if one["pid"] not in own], "front": front,
        "behind": _behind(int(front.get("inside") or 0), inside, held),
    }  # fmt: skip


def _published_by(service: Told) -> t.Optional[list[str]]:
    """Return the ports that the container of a service publishes, None where it has no container."""
    if not service.get("container"):
        return None
    fronts = service.get("fronts") or []
    places = ["" if one["address"] in port.ANY else one_line(one["address"], 40) + ":" for one in fronts]
    return list(dict.fromkeys("%s%d for its port %d" % (place, one["port"], one["inside"]) for place, one in zip(places, fronts)))


def _named(holder: Told) -> Raw:
    """Return a *holder* of a port with the unit or container that its control group names, unless that is where we are too."""
    group = group_name(processes.groups_of(int(holder["pid"]))) if holder["pid"] else ""
    return dict(holder, of="" if group == group_name(processes.groups_of(os.getpid())) else group)


def _front_of(service: Told, address: str, number: int) -> Told:
    fronts = service.get("fronts") or []
    return next((one for one in fronts if one["port"] == number and port.meets(str(one["address"]), address)), {})


def _behind(number: int, inside: int, held: set[str]) -> str:
    """Return whose the port behind a published one is: own, other or nobody; "" where it cannot be seen."""
    if not number or not inside:
        return ""
    sockets = port.listeners_on(number, inside)
    return ("own" if any(one["inode"] in held for one in sockets) else "other") if sockets else "nobody"


def _sockets(pids: t.Sequence[int]) -> tuple[set[str], bool]:
    """Return the inodes of all sockets of *pids*, and whether all of those processes may be looked at."""
    found = [port.sockets_of(pid) for pid in pids]
    return {inode for one in found for inode in one or ()}, all(one is not None for one in found)


def place_of(url: str) -> tuple[str, int]:
    """Return host and port of a *url*, ("", 0) where it has none."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return "", 0


def _addresses(host: str, deadline: float) -> list[str]:
    """Return the addresses of *host* in the order in which a client tries them, [] where no resolver knows it in time."""
    try:
        return [str(ipaddress.ip_address(host.partition("%")[0]))]
    except ValueError:
        pass
    found: list[str] = []

    def resolve() -> None:
        with contextlib.suppress(client.Failed):
            found.extend(str(entry[4][0]) for entry in client.resolve(host, 0))

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(max(0.05, deadline))
    return list(dict.fromkeys(found))


def judge(raw: Told) -> Answering:
    """Return whose the answer at that place is."""
    if not raw:
        return Answering("", "")
    more = (tuple(raw["ports"]), raw["listens"] if raw["is_seen"] or raw["listens"] else None)
    whose, text = _whose(raw)
    return Answering(whose, text, *more, _shut_in(raw))


def _shut_in(raw: Told) -> str:
    """Return what the container of a service publishes instead of the port that is asked, "" where that says nothing.

    A container has the ports that it was made with: no restart adds one.
    """
    found = raw["found"]
    if raw.get("published") is None or not found.get("is_ours") or found["front"] or (found["sockets"] and not found["strangers"]):
        return ""
    return "its container publishes %s" % (one_line(", ".join(raw["published"]), 120) or "no port")


def _whose(raw: Told) -> tuple[str, str]:
    found = raw["found"]
    if not raw["is_here"]:
        return "elsewhere", "%s is no address of this machine" % (raw["host"] or "the URL's host")
    front = found.get("front")
    strangers = [one for one in found["strangers"] if not (front and _is_front(one, front))]
    if front and not strangers:
        behind = {"nobody": "nobody", "other": "other"}.get(found["behind"], "own")
        return behind, "" if behind == "own" else "port %d leads to it, but inside %s" % (front["port"], BEHIND[behind] % front["inside"])
    if strangers:
        # Without the right to look, any process could be its own.
        is_known = raw["is_seen"] or strangers[0]["pid"]
        return ("other", held_text(strangers[0], raw["port"])) if is_known else ("unseen", UNSEEN % raw["port"])
    return ("own", "") if found["sockets"] else ("nobody", "no process of this machine listens on port %d" % raw["port"])


def _is_front(holder: Told, front: Told) -> bool:
    """Return whether a *holder* of the port is what the manager says accepts connections for the service."""
    return not holder["pid"] or holder["program"] in FRONTS.get(str(front["by"]), ())


def held_text(holder: Told, number: int) -> str:
    """Return who holds a port, with the unit or container that it belongs to where that is known."""
    return port.holder_text(holder, number) + (" of %s" % holder["of"] if holder.get("of") else "")


def group_name(paths: t.Sequence[str]) -> str:
    """Return the unit or container that the paths of control groups name, "" for none."""
    names = [name for path in paths for name in path.split("/")]
    units = [name for name in names if name.endswith(".service") and not name.startswith("user@")]
    containers = [name.replace("docker-", "").replace(".scope", "") for name in names]
    found = [one for one in containers if len(one) == 64 and not set(one) - set("0123456789abcdef")]
    return one_line(units[-1], 60) if units else "container %s" % found[-1][:12] if found else ""


def stranger(service: Told, url: str, deadline: float = RESOLVE_SECONDS) -> dict[str, t.Any]:
    """Return who holds the port of *url* while the service does not run: {pid, program, user, port, text}, {} for nobody."""
    raw = load(dict(service, pid=0, control_group=""), [], url, deadline)
    found = raw.get("found") or {}
    front = found.get("front") or {"by": "systemd"}
    held = [one for one in found.get("strangers") or [] if not _waits_for(one, front)]
    return dict(held[0], port=raw["port"], text=held_text(held[0], raw["port"])) if held else {}


def _waits_for(holder: Told, front: Told) -> bool:
    """Return whether *holder* is systemd, which holds the socket of a unit until that starts."""
    return front["by"] == "systemd" and (holder["pid"] == 1 or (bool(front.get("port")) and holder["program"] in FRONTS["systemd"]))
