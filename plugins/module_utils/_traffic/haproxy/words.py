# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse what HAProxy's runtime API says, and render a change as its commands. Pure."""

from __future__ import annotations

import csv
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool as traffic_pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.pool import Change

# Bits of srv_admin_state (HAProxy management guide, "show servers state"); the last only says that it was disabled when HAProxy started.
# 0x40 only says that its name was changed at run time.
IN_MAINTENANCE, IN_DRAIN, UNRESOLVED, CONFIGURED_OUT = 0x01 | 0x02, 0x08 | 0x10, 0x20, 0x04
STOPPED, STARTING, RUNNING, STOPPING = 0, 1, 2, 3
CHECK_CONFIGURED = AGENT_CONFIGURED = 0x02
ADDRESSING = re.compile(r"set server \S+ addr ")
_MOVED = r"(no need to change the (addr|port)|(IP|port) changed from '\S*' to '\S*')"
MOVED = re.compile(r"%s(, %s)? by 'stats socket command'" % (_MOVED, _MOVED))


class Refused(Exception):
    """HAProxy answered with a refusal; the text is its own."""


class NotByWeight(Refused):
    """The algorithm of the pool takes no weights at run time."""


def parse_info(text: str) -> dict[str, str]:
    """Return the lines ``Name: value`` of ``show info``; raises Refused without any."""
    pairs = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if "Pid" not in pairs:
        raise Refused(text or "no answer")
    return pairs


def parse_table(text: str, separator: t.Optional[str]) -> list[dict[str, str]]:
    """Return the rows of a table whose head begins with ``# ``; raises Refused without a table."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise Refused(text or "no answer")
    if separator is None:
        rows = [line.split() for line in lines if line]
        return [dict(zip(rows[0][1:], row)) for row in rows[1:]]
    # The message of a check or an agent is quoted if it contains commas.
    names, *found = csv.reader([lines[0][2:], *(line for line in lines[1:] if line)], delimiter=separator)
    return [dict(zip(names, row)) for row in found]


def parse_states(text: str) -> list[dict[str, str]]:
    """Return the rows of ``show servers state``, whose first line is the version of its format."""
    version, _newline, table = text.partition("\n")
    if version != "1":
        raise Refused(text or "no answer")
    return parse_table(table, None)


def read_switch(text: str, pool: str, name: str) -> dict[str, t.Any]:
    """Return what the map *name* says of *pool*; HAProxy has no such map unless its configuration names it."""
    if text.startswith("Unknown map"):
        detail = "its configuration has no map %s (haproxy_maintenance_map)" % one_line(name, 100)
        return {"prepared": False, "on": False, "retry_after": None, "detail": detail}
    lines = [line for line in text.splitlines() if line]
    if not all(line.startswith("0x") for line in lines):
        raise Refused(text)
    entries = dict((line.split(" ") + ["", ""])[1:3] for line in lines)
    seconds = entries.get(pool)
    on, retry_after = seconds is not None, int(seconds) if seconds and seconds.isdigit() else None
    return {"prepared": True, "on": on, "retry_after": retry_after, "detail": ""}


def server_of(state: t.Mapping[str, str], counted: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return one server from its rows in the two tables."""
    bits, operates = int(state["srv_admin_state"]), int(state["srv_op_state"])
    admin = _admin_of(bits)
    # Its name does not resolve: that is nobody's wish.
    lost = bool(bits & UNRESOLVED) and admin == traffic_pool.READY
    agent = bool(_column(state, "srv_agent_state") & AGENT_CONFIGURED)
    # A server that tracks another has no check of its own, and is down with it.
    asked_for = bool(counted.get("check_status")) or bool(counted.get("tracked")) or agent
    looked_at = (asked_for and admin != traffic_pool.MAINT) or lost
    # HAProxy reports a server that leaves maintenance as up before its first check, with just enough health for that.
    asked = looked_at and operates in (STARTING, RUNNING) and int(state["srv_check_health"]) > _number(counted, "check_rise")
    checked = bool(int(state["srv_check_state"]) & CHECK_CONFIGURED)
    numbers = numbers_of(counted)
    return traffic_pool.server(
        state["srv_name"], address=traffic_pool.at(state["srv_addr"], state["srv_port"]), weight=int(state["srv_uweight"]),
        initial=int(state["srv_iweight"]), admin=admin, up=operates not in (STOPPED, STOPPING) and not lost if looked_at else None,
        status=one_line(" ".join([counted.get("status", ""), counted.get("check_status", "")]).strip(), 40),
        checked=checked, passed=asked if looked_at and checked else None,
        fall=_number(counted, "check_fall") or None, backup=counted.get("bck") == "1", sessions=_number(counted, "scur"),
        requests=numbers["answered"] + numbers["upgraded"] + numbers["refused"] + numbers["closed"],
        errors=numbers["failed"] + numbers["closed"], counted=numbers if "stot" in counted else None, agent=agent,
        named=state.get("srv_fqdn", "-") != "-", disabled=bool(bits & CONFIGURED_OUT),
    )  # fmt: skip


def _admin_of(bits: int) -> str:
    if bits & IN_MAINTENANCE:
        return traffic_pool.MAINT
    return traffic_pool.DRAIN if bits & IN_DRAIN else traffic_pool.READY


def numbers_of(row: t.Mapping[str, str]) -> dict[str, int]:
    """Return the counters of a server, or of the pool itself, by the names that ``account`` has for them."""
    # A server counts each attempt to connect; what it never got another server has, or nobody.
    again = _number(row, "wretr") + _number(row, "wredis") if row.get("svname") != "BACKEND" else 0
    answers = [_number(row, "hrsp_%s" % kind) for kind in ("2xx", "3xx", "4xx", "5xx", "other")]
    return {
        "sent": _number(row, "stot"), "again": again, "answered": sum(answers), "mute": answers[4],
        "good": answers[0], "rejected": answers[2],
        "upgraded": _number(row, "hrsp_1xx"), "failed": answers[3] + _number(row, "econ"), "refused": _number(row, "econ"),
        "closed": _number(row, "eresp"), "cut": _number(row, "srv_abrt"), "aborted": _number(row, "cli_abrt"),
        "open": _number(row, "scur"), "queued": _number(row, "qcur"),
    }  # fmt: skip


def crowded(rows: t.Sequence[t.Mapping[str, str]]) -> list[str]:
    """Return the frontends that have all of their connections in use."""
    return [one["pxname"] for one in rows if one["svname"] == "FRONTEND" and 0 < _number(one, "slim") <= _number(one, "scur")]


def feeding(sessions: str, pool: str) -> set[str]:
    """Return the frontends whose requests are in *pool* now, by ``show sess``."""
    return set(re.findall(r"(?m)^0x[0-9a-f]+: .*? fe=(\S+) be=%s " % re.escape(pool), sessions))


def pool_of(rows: t.Sequence[t.Mapping[str, str]], pool: str, info: t.Mapping[str, str], front: t.Sequence[str] = ()) -> dict[str, t.Any]:
    """Return what HAProxy reports of the whole pool: counters, mode, way to choose, what keeps clients at a server, what is full.

    *front*: the frontends that are full and in front of it.
    """
    row = next((one for one in rows if one["pxname"] == pool and one["svname"] == "BACKEND"), {})
    most, now = _number(info, "Maxconn"), _number(info, "CurrConns")
    full = ["HAProxy has all of its %d connections in use" % most] if 0 < most <= now else []
    limits = {one["pxname"]: _number(one, "slim") for one in rows if one["svname"] == "FRONTEND"}
    full += ["frontend %s has all of its %d connections in use" % (one_line(name, 40), limits[name]) for name in front]
    return {
        "whole": numbers_of(row) if "stot" in row else None, "mode": row.get("mode", ""), "algorithm": one_line(row.get("algo", ""), 40),
        "sticky": "the cookie %s" % one_line(row["cookie"], 40) if row.get("cookie") else "", "full": "; ".join(full),
    }  # fmt: skip


def sticky_table(text: str, pool: str) -> str:
    """Return that a stick table of *pool* keeps clients at their server, "" if ``show table`` lists none with entries."""
    found = re.search(r"(?m)^# table: %s,.*used:([0-9]+)" % re.escape(pool), text)
    return "its stick table (%s entries)" % found[1] if found and int(found[1]) else ""


def rights_of(level: str) -> str:
    """Return what may be changed by a socket of this level (``show cli level``); "" for anything else."""
    return {"admin": "all", "operator": "maintenance", "user": "none"}.get(level.strip(), "")


def _column(row: t.Mapping[str, str], name: str) -> int:
    return int(row.get(name) or 0)


def _number(row: t.Mapping[str, str], name: str) -> int:
    text = row.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def commands_for(pool: str, before: t.Mapping[str, t.Any], change: Change) -> list[str]:
    """Return the commands of a change: servers are opened or raised before others are lowered or closed, so that capacity never drops."""
    opened: list[str] = []
    closed: list[str] = []
    for name, wanted in (change.get("servers") or {}).items():
        now, target = before[name], "set server %s/%s" % (pool, name)
        weight, admin, stands = wanted.get("weight", now["weight"]), wanted.get("admin", now["admin"]), now["admin"]
        if wanted.get("address", now["address"]) != now["address"]:
            # No request goes to an address before its first health check: the address changes while the server is out.
            opened += _moved(target, wanted["address"], stands)
            stands = traffic_pool.MAINT
        if weight != now["weight"]:
            (opened if weight > now["weight"] or stands != traffic_pool.READY else closed).append("%s weight %d" % (target, weight))
        if admin != stands:
            (opened if admin == traffic_pool.READY else closed).append("%s state %s" % (target, admin))
    return opened + closed


def _moved(target: str, address: str, stands: str) -> list[str]:
    host, _colon, port = address.rpartition(":")
    out = [] if stands == traffic_pool.MAINT else ["%s state %s" % (target, traffic_pool.MAINT)]
    return [*out, "%s addr %s port %s" % (target, host.strip("[]"), port)]


def refusal_in(words: str, answer: str) -> str:
    """Return the refusal in the *answer* to a command, "" for none. For a new address HAProxy describes what it did."""
    said = answer.strip()
    if ADDRESSING.match(words) and MOVED.fullmatch(said):
        return ""
    return said.splitlines()[0] if said else ""
