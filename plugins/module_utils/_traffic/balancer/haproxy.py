# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy by its runtime API: a socket that answers in text only, so every answer is read and each change is verified.

A reload loses weights, drains and addresses: what was set is kept in a file, apart from what others changed.
"""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import write_durably
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason, refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import others
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.haproxy.words import (
    NotByWeight,
    Refused,
    commands_for,
    crowded,
    feeding,
    parse_info,
    parse_states,
    parse_table,
    pool_of,
    read_switch,
    refusal_in,
    rights_of,
    server_of,
    sticky_table,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.pool import BalancerState, Change

OPTIONS: dict[str, t.Any] = {
    "haproxy_address": {"type": "str", "default": "/run/haproxy/admin.sock"},
    "haproxy_maintenance_map": {"type": "path", "default": "/etc/haproxy/maintenance.map"},
    "haproxy_state_dir": {"type": "path", "default": "/var/lib/somabrain/incident_response/traffic"},
}
MAX_WEIGHT = 256
MAX_ANSWER = 16 << 20
# A socket with ``severity-output`` puts it before its messages.
_SEVERITY = re.compile(r"\A\[(?:[0-7]|emerg|alert|crit|err|error|warning|notice|info|debug)\]: ")
# What a command may contain: nothing that ends it or begins another.
_WORD = re.compile(r"[A-Za-z0-9_.:/-]{1,200}")


def command(address: str, words: str, clock: Clock) -> str:
    """Send one command and return the whole answer without its last empty line; raises OSError if HAProxy does not answer."""
    family, where = _place(address)
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(clock.left())
        sock.connect(where)
        sock.sendall((words + "\n").encode())
        received = b""
        while len(received) <= MAX_ANSWER:
            sock.settimeout(clock.left())
            more = sock.recv(65536)
            if not more:
                return _SEVERITY.sub("", received.decode("utf-8", "replace").strip("\n"))
            received += more
    raise OSError("its answer is longer than %d bytes" % MAX_ANSWER)


def _place(address: str) -> tuple[socket.AddressFamily, t.Any]:
    """Return the family and address of a path of a unix socket, or of HOST:PORT."""
    if address.startswith("/"):
        return socket.AF_UNIX, address
    host, colon, port = address.rpartition(":")
    if not (colon and host and re.fullmatch("[0-9]{1,5}", port) and int(port) < 65536):
        raise OSError("haproxy_address must be the path of its socket, or HOST:PORT")
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host.strip("[]"), int(port))


def load(options: t.Mapping[str, t.Any], deadline: float) -> BalancerState:
    """Return the state of the pool within *deadline* seconds; never raises for a balancer that is down or sick."""
    address, pool, clock = options["haproxy_address"], options["pool"], Clock(deadline)
    try:
        _fit(options)
        info = parse_info(command(address, "show info", clock))
        rows = parse_table(command(address, "show stat", clock), ",")
        pools = sorted({row["pxname"] for row in rows if row["svname"] == "BACKEND"})
        states = parse_states(command(address, "show servers state %s" % pool, clock)) if pool in pools else []
        maintenance_map = options["haproxy_maintenance_map"]
        switch = read_switch(command(address, "show map %s" % maintenance_map, clock), pool, maintenance_map)
        rights = rights_of(command(address, "show cli level", clock))
        counted = {row["svname"]: row for row in rows if row["pxname"] == pool}
        kept = _kept(options)
        servers = [_with_closed(server_of(row, counted.get(row["srv_name"], {})), kept) for row in states]
        if not servers and set(counted) - {"FRONTEND", "BACKEND"}:
            raise Refused("it counts for servers of %s, but lists the state of none" % pool)
        whole = pool_of(rows, pool, info, _full_before(address, rows, pool, clock))
        whole["sticky"] = whole["sticky"] or sticky_table(command(address, "show table", clock), pool)
        identity = {"pid": int(info.get("Pid", 0)), "started_at": float(info.get("Start_time_sec", 0))}
    except KeyError as error:
        return _away(address, pool, "its tables have no column %s" % error)
    except (OSError, Refused, ValueError, IndexError, OverflowError, TypeError, csv.Error) as error:
        return _away(address, pool, error)
    return traffic_pool.blank(
        "haproxy", pool, reachable=True, addresses=True, version=info.get("Version", ""), pools=pools, pool=pool if pool in pools else "",
        identity=identity, servers=servers, maintenance=dict(switch, fixed=_unwritable(maintenance_map, pool)), kept=kept,
        rights=rights, **whole,
    )  # fmt: skip


def _full_before(address: str, rows: t.Sequence[t.Mapping[str, str]], pool: str, clock: Clock) -> list[str]:
    """Return the full frontends of *pool*: clients who wait for a connection there are counted nowhere."""
    full = crowded(rows)
    before = feeding(command(address, "show sess", clock), pool) if set(full) - {pool} else set()
    return [name for name in full if name == pool or name in before]


def _with_closed(one: dict[str, t.Any], kept: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a server with whether somebody else closed it by weight 0."""
    meant = (kept.get("intends") or {}).get("servers") or {}
    given = [(part.get(one["name"]) or {}).get("weight") for part in (kept.get("servers") or {}, meant)]
    return dict(one, closed=one["weight"] == 0 < one["initial"] and 0 not in given)


def _away(address: str, pool: str, why: object) -> BalancerState:
    return traffic_pool.blank("haproxy", pool, detail="HAProxy at %s: %s" % (one_line(address, 60), one_line(why, 140)))


def _fit(options: t.Mapping[str, t.Any]) -> None:
    for name in ("pool", "haproxy_maintenance_map"):
        if not _WORD.fullmatch(str(options[name])):
            raise Refused("%s contains characters that a command must not contain: %s" % (name, one_line(options[name], 60)))


def shift(options: t.Mapping[str, t.Any], change: Change, deadline: float) -> list[str]:
    """Do *change*, verify it, and keep what was set; returns warnings. Raises StepError after rolling back."""
    clock, pool = Clock(deadline), options["pool"]
    state = load(options, clock.left())
    if not state["pool"]:
        raise _failed(state["detail"] or "HAProxy has no backend %s" % one_line(pool, 60))
    begun: list[str] = []
    _note(options, dict(state["kept"] or {"identity": state["identity"], "servers": {}}, intends=_meant(change)))
    try:
        warnings = _do(options, state, change, clock, begun)
        _prove(state, load(options, clock.left()), change)
    except (OSError, Refused) as error:
        text = "%s; %s" % (one_line(error, 160), _put_back(options, state, change, begun))
        _note(options, state["kept"])
        raise (refused("not_by_weight", text) if isinstance(error, NotByWeight) else _failed(text)) from None
    return warnings + _keep(options, load(options, clock.left()), change)


def _do(options: t.Mapping[str, t.Any], state: BalancerState, change: Change, clock: Clock, begun: list[str]) -> list[str]:
    """Take the steps of a change and note each in *begun*. Clients are kept out before weights change, and admitted after that."""
    switch = change.get("maintenance")
    words: list[t.Any] = list(commands_for(options["pool"], traffic_pool.by_name(state), change))
    if switch:
        words = [switch, *words] if switch["on"] else [*words, switch]
    warnings = []
    for one in words:
        if one is switch:
            warnings += _switch(options, state["maintenance"], switch, clock)
        else:
            _must(options, one, clock)
        begun.append("maintenance %s" % ("on" if switch["on"] else "off") if one is switch else one)
    return warnings


def _failed(text: str) -> StepError:
    return StepError("balancer_refused: %s" % text, reasons=[reason("balancer_refused", text)])


def _must(options: t.Mapping[str, t.Any], words: str, clock: Clock) -> None:
    refusal = refusal_in(words, command(options["haproxy_address"], words, clock))
    if refusal:
        raise (NotByWeight if "static LB" in refusal else Refused)("HAProxy answered '%s' with: %s" % (words, one_line(refusal, 100)))


def _prove(was: BalancerState, now: BalancerState, change: Change) -> None:
    """Raise Refused if HAProxy accepted a command but did not do it, StepError if somebody else changed the same servers meanwhile."""
    taken = others.overruled(was, now, change)
    if taken:
        # To roll back would overrule them.
        raise others.refusal(taken)
    servers = traffic_pool.by_name(now)
    for name, wanted in (change.get("servers") or {}).items():
        wrong = [key for key in wanted if servers.get(name, {}).get(key) != wanted[key]]
        if wrong:
            raise Refused("HAProxy accepted the change, but the %s of %s is %s" % (wrong[0], name, servers.get(name, {}).get(wrong[0])))
    switch = change.get("maintenance")
    if switch and bool(switch["on"]) != now["maintenance"]["on"]:
        raise Refused("HAProxy accepted the change, but maintenance is %s" % ("on" if now["maintenance"]["on"] else "off"))


def _put_back(options: t.Mapping[str, t.Any], was: BalancerState, change: Change, begun: t.Sequence[str]) -> str:
    """Roll back what was *begun*, with a deadline of its own; returns a sentence on the result."""
    if not begun:
        return "nothing was changed"
    back: dict[str, t.Any] = {
        "servers": traffic_pool.back_of(was, change.get("servers") or {}),
        "maintenance": dict(was["maintenance"], retry_after=was["maintenance"]["retry_after"] or 0) if change.get("maintenance") else None,
    }
    clock = Clock(5.0)
    try:
        _do(options, load(options, clock.left()), back, clock, [])
    except (OSError, Refused, KeyError) as error:
        return "the roll back failed too (%s); still set: %s" % (one_line(error, 80), ", ".join(begun))
    return "the earlier steps were rolled back"


def _switch(
    options: t.Mapping[str, t.Any], now: t.Mapping[str, t.Any], wanted: t.Optional[t.Mapping[str, t.Any]], clock: Clock
) -> list[str]:
    """Turn maintenance on or off: in the running HAProxy, and in its map file, so that a reload keeps it; returns warnings."""
    if wanted is None:
        return []
    path, pool = options["haproxy_maintenance_map"], options["pool"]
    if wanted["on"]:
        # Whom it protects comes first, and then that a reload keeps it.
        _must(options, ("set" if now["on"] else "add") + " map %s %s %d" % (path, pool, wanted["retry_after"]), clock)
        return _kept_in_file(path, pool, wanted)
    # A line that stays in the file would bring maintenance back at the next reload: nothing is turned off before it is gone.
    warnings = _kept_in_file(path, pool, wanted)
    if warnings and os.path.exists(path):
        raise Refused("%s; maintenance stays on" % warnings[0])
    if now["on"]:
        _must(options, "del map %s %s" % (path, pool), clock)
    return warnings


def _kept_in_file(path: str, pool: str, wanted: t.Mapping[str, t.Any]) -> list[str]:
    try:
        _write_map(path, pool, wanted)
    except OSError as error:
        return ["a reload of HAProxy would undo this: cannot write %s (%s)" % (one_line(path, 80), one_line(error.strerror or error, 60))]
    return []


def _write_map(path: str, pool: str, wanted: t.Mapping[str, t.Any]) -> None:
    """Rewrite the map file with the line of *pool*, or without it; other lines stay as they are."""
    lines = _lines_of(path)
    kept = [line for line in lines if line.split()[:1] != [pool]] + (["%s %d" % (pool, wanted["retry_after"])] if wanted["on"] else [])
    if kept == lines:
        return
    real, was, content = os.path.realpath(path), os.stat(path), "".join("%s\n" % line for line in kept).encode()
    if not os.access(os.path.dirname(real), os.W_OK) or os.path.ismount(real):
        # A file that is mounted alone, as into a container, cannot be replaced.
        with open(real, "r+b") as file:
            file.write(content)
            file.truncate()
            os.fsync(file.fileno())
        return
    write_durably(real, content)
    os.chmod(real, was.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(real, was.st_uid, was.st_gid)


def _lines_of(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def _unwritable(path: str, pool: str) -> str:
    """Return why the line of *pool* could not be removed from the map file, "" if it could be, or is not there."""
    try:
        if not any(line.split()[:1] == [pool] for line in _lines_of(path)):
            return ""
    except (OSError, ValueError):
        return ""
    real = os.path.realpath(path)
    mine = os.geteuid() != 0 and os.access(os.path.dirname(real), os.W_OK)
    return "" if mine or os.access(real, os.W_OK) else "%s has the line of %s and cannot be written" % (one_line(path, 80), pool)


def _state_file(options: t.Mapping[str, t.Any]) -> str:
    return os.path.join(options["haproxy_state_dir"], "%s.json" % options["pool"])


def _kept(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what runs set last {identity, servers, maintenance, intends}, {} if it cannot be read."""
    try:
        with open(_state_file(options), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    if not (isinstance(found, dict) and isinstance(found.get("servers"), dict) and isinstance(found.get("identity"), dict)):
        return {}
    meant = _dict(found.get("intends"))
    return dict(
        found, servers=_dicts(found["servers"]), maintenance=_dict(found.get("maintenance")),
        intends={"servers": _dicts(_dict(meant.get("servers"))), "maintenance": _dict(meant.get("maintenance"))},
    )  # fmt: skip


def _dict(given: t.Any) -> dict[str, t.Any]:
    return given if isinstance(given, dict) else {}


def _dicts(given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {name: one for name, one in given.items() if isinstance(one, dict)}


def _meant(change: Change) -> dict[str, t.Any]:
    return {"servers": dict(change.get("servers") or {}), "maintenance": dict(change.get("maintenance") or {})}


def _keep(options: t.Mapping[str, t.Any], state: BalancerState, change: Change) -> list[str]:
    """Keep what runs set and is still so, for the time after a reload and to know it from what others set; returns warnings."""
    there, set_now = traffic_pool.by_name(state), set(change.get("servers") or {})
    before = _dict(state["kept"].get("servers"))
    servers = {
        name: {"weight": one["weight"], "admin": one["admin"], "usual": one["initial"]}
        for name, one in there.items()
        if name in set_now or (name in before and all(one[key] == before[name].get(key) for key in ("weight", "admin")))
    }
    for name, address in _given_addresses(state, change).items():
        servers.setdefault(name, {})["address"] = address
    switch = {key: state["maintenance"][key] for key in ("on", "retry_after")}
    # One that somebody else turned on stays theirs, whatever else is set.
    own = switch if change.get("maintenance") or not others.turned_on(state) else {"on": False}
    try:
        _note(options, {"identity": state["identity"], "servers": servers, "maintenance": own}, strict=True)
    except OSError as error:
        return ["a reload of HAProxy would lose this for good: cannot write %s (%s)" % (_state_file(options), one_line(error, 60))]
    return []


def _note(options: t.Mapping[str, t.Any], kept: t.Mapping[str, t.Any], strict: bool = False) -> None:
    """Write what is kept. Raises OSError if *strict*."""
    try:
        os.makedirs(options["haproxy_state_dir"], mode=0o700, exist_ok=True)
        write_durably(_state_file(options), json.dumps(kept).encode())
    except OSError:
        if strict:
            raise


def _given_addresses(state: BalancerState, change: Change) -> dict[str, str]:
    """Return the addresses that servers got at run time; those of the configuration survive a reload."""
    given = {name: was["address"] for name, was in (state["kept"].get("servers") or {}).items() if was.get("address")}
    given.update({name: wanted["address"] for name, wanted in (change.get("servers") or {}).items() if wanted.get("address")})
    servers = traffic_pool.by_name(state)
    return {name: there for name, there in given.items() if name in servers and servers[name]["address"] == there}
