# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pool of servers as plain data, and changes of it, the same for every load balancer.

``_traffic/balancer/balancers.py`` says what a balancer is made of.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import is_forbidden

BalancerState = t.Dict[str, t.Any]
# {"servers": {name: {"weight": int, "admin": "ready" | "drain" | "maint", "address": "IP:PORT"}},
#  "maintenance": None or {"on", "retry_after", "reason"}}
Change = t.Mapping[str, t.Any]
READY, DRAIN, MAINT = "ready", "drain", "maint"
# What can be set on a server.
SETTABLE = ("weight", "admin", "address")
ADDRESS = re.compile(r"(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9A-Fa-f:.]{2,45})\]):(\d{1,5})")

# Why nothing, or no address, can be changed; both take the name of the balancer.
RIGHTS = "%s answers, but does not allow changes to its servers: its socket needs level admin"
FIXED = "%s cannot give a server another address at run time"


def blank(balancer: str, wanted: str, **given: t.Any) -> BalancerState:
    """Return the state of a balancer of which only *given* is known.

    rights: what may be changed from here: "all", "maintenance", "none"; "" if the balancer does not say. mode: tcp if it sees sessions
    and no requests. algorithm: how it chooses a server. sticky: what keeps a client at its server. whole: the pool's own counters, as
    ``counted`` of a server. idle: how many of the sessions may be connections without a request. full: what takes no more connections,
    so that clients wait where nothing is counted. marks: where the balancer's logs end now; missed: attempts that failed by these logs
    since the marks that a look was given, for no server at all; None if it was given none.
    """
    state: BalancerState = {
        "balancer": balancer, "reachable": False, "detail": "", "version": "", "identity": {}, "pools": [], "pool": "", "wanted": wanted,
        "servers": [], "maintenance": {"prepared": False, "on": False, "retry_after": None, "detail": ""}, "kept": {},
        "aborted": False, "addresses": False, "rights": "", "mode": "", "algorithm": "", "sticky": "", "whole": None, "full": "",
        "idle": 0, "marks": [], "missed": None,
    }  # fmt: skip
    return dict(state, **given)


def server(name: str, **given: t.Any) -> dict[str, t.Any]:
    """Return one server of a pool; ``up`` is None if no check says, numbers are None if the balancer does not count.

    counted: its counters (see ``account``). missed: attempts that failed by the balancer's logs, as of a pool. agent: a program on its
    machine may set its weight and state. named: its address comes from a name, and may change. checked: it has a health check; passed: a
    check passed since it was admitted; fall: how many checks in a row must fail until it counts as down. None if the balancer does not
    say. disabled: its configuration has it out.
    closed: its weight is 0 although it has a usual one, and no run of this collection gave it that.
    """
    blank_one: dict[str, t.Any] = {
        "name": name, "address": "", "weight": 0, "initial": 0, "admin": READY, "up": None, "status": "", "backup": False,
        "sessions": None, "requests": None, "errors": None, "checked": None, "passed": None, "fall": None,
        "counted": None, "agent": False, "named": False, "disabled": False, "closed": False,
        "missed": None,
    }  # fmt: skip
    return dict(blank_one, **given)


def by_name(state: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return the servers of the pool by their names."""
    return {one["name"]: one for one in state["servers"]}


def back_of(state: t.Mapping[str, t.Any], servers: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    """Return what restores the servers of a change as they are in *state*; the address only if the change has one."""
    there = by_name(state)
    return {name: {key: there[name][key] for key in SETTABLE if key != "address" or key in one} for name, one in servers.items()}


def configured(one: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what the balancer's configuration gives a server after a reload; of its address only where it is now is known."""
    return {"weight": one["initial"], "admin": MAINT if one["disabled"] else READY, "address": one["address"]}


def serving(one: t.Mapping[str, t.Any]) -> int:
    """Return the weight with which a server takes new requests now; a server that is not ready takes none."""
    return int(one["weight"]) if one["admin"] == READY else 0


def takes_requests(one: t.Mapping[str, t.Any]) -> bool:
    """Return whether a server answers and is given new requests; one without a health check counts as up."""
    return one["up"] is not False and serving(one) > 0


def share_of(state: t.Mapping[str, t.Any], names: t.Iterable[str]) -> float:
    """Return the share of new requests, in percent, that the servers of *names* get, as far as servers are up.

    A backup server gets none while any other server takes them, whatever its weight.
    """
    taking = [one for one in state["servers"] if takes_requests(one)]
    asked = [one for one in taking if not one["backup"]] or taking
    whole, wanted = sum(serving(one) for one in asked), set(names)
    return round(100.0 * sum(serving(one) for one in asked if one["name"] in wanted) / whole, 2) if whole else 0.0


def without_counts(state: t.Mapping[str, t.Any]) -> BalancerState:
    """Return the part of a state that changes are compared by: no counters, no identity, no results of health checks."""
    servers = [{key: one[key] for key in ("name", "address", "weight", "admin")} for one in state["servers"]]
    return {"pool": state["pool"], "servers": servers, "maintenance": {key: state["maintenance"][key] for key in ("on", "retry_after")}}


def address_of(text: t.Any) -> str:
    """Return *text*, an IP:PORT or [IPv6]:PORT, as a balancer writes it; "" for anything else."""
    found = ADDRESS.fullmatch(str(text))
    if not found or not 0 < int(found[3]) < 65536:
        return ""
    try:
        address = ipaddress.ip_address(found[1] or found[2])
    except ValueError:
        return ""
    if (address.version == 6) != bool(found[2]):
        return ""
    return at(str(address), int(found[3]))


def barred(address: str, now: str) -> str:
    """Return why a server at *now* must not be moved to *address*, "" if it may: the guard that requests over HTTP have, and no loopback.

    A server at the balancer's own loopback would be what listens there for the balancer alone.
    """
    to, stands = (ipaddress.ip_address(one.rpartition(":")[0].strip("[]") or "0.0.0.0") for one in (address, now or "0.0.0.0:0"))
    if is_forbidden(str(to)):
        return "%s is a link-local or metadata address" % to
    if to.is_unspecified or to.is_multicast or str(to) == "255.255.255.255":
        return "%s is no address of a machine" % to
    return "%s is the balancer's own loopback" % to if to.is_loopback and not stands.is_loopback else ""


def at(address: str, port: t.Any) -> str:
    """Return an IP address and a port as one word, with the brackets that an address with colons needs."""
    return ("[%s]:%s" if ":" in address else "%s:%s") % (address, port)
