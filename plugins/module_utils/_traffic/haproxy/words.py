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

# Bits of srv_admin_state (HAProxy management guide, "show servers state"); 0x04 only says that it was disabled when HAProxy started.
IN_MAINTENANCE, IN_DRAIN = 0x01 | 0x02 | 0x20 | 0x40, 0x08 | 0x10
STOPPED, STARTING, RUNNING, STOPPING = 0, 1, 2, 3
CHECK_CONFIGURED = 0x02
ADDRESSING = re.compile(r"set server \S+ addr ")
_MOVED = r"(no need to change the (addr|port)|(IP|port) changed from '\S*' to '\S*')"
MOVED = re.compile(r"%s(, %s)? by 'stats socket command'" % (_MOVED, _MOVED))


class Refused(Exception):
    """HAProxy answered with a refusal; the text is its own."""


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
    entries = dict((line.split(" ") + ["", ""])[1:3] for line in text.splitlines() if line.startswith("0x"))
    seconds = entries.get(pool)
    on, retry_after = seconds is not None, int(seconds) if seconds and seconds.isdigit() else None
    return {"prepared": True, "on": on, "retry_after": retry_after, "detail": ""}


def server_of(state: t.Mapping[str, str], counted: t.Mapping[str, str]) -> dict[str, t.Any]:
    """Return one server from its rows in the two tables."""
    bits, operates = int(state["srv_admin_state"]), int(state["srv_op_state"])
    admin = traffic_pool.MAINT if bits & IN_MAINTENANCE else traffic_pool.DRAIN if bits & IN_DRAIN else traffic_pool.READY
    looked_at = bool(counted.get("check_status")) and admin != traffic_pool.MAINT
    # HAProxy reports a server that leaves maintenance as up before its first check, with just enough health for that.
    asked = looked_at and operates in (STARTING, RUNNING) and int(state["srv_check_health"]) > _number(counted, "check_rise")
    answers = [_number(counted, "hrsp_%s" % kind) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other")]
    failed = _number(counted, "econ") + _number(counted, "eresp")
    return traffic_pool.server(
        state["srv_name"], address=traffic_pool.at(state["srv_addr"], state["srv_port"]), weight=int(state["srv_uweight"]),
        initial=int(state["srv_iweight"]), admin=admin, up=operates not in (STOPPED, STOPPING) if looked_at else None,
        status=one_line(" ".join([counted.get("status", ""), counted.get("check_status", "")]).strip(), 40),
        checked=bool(int(state["srv_check_state"]) & CHECK_CONFIGURED), passed=asked if looked_at else None,
        fall=_number(counted, "check_fall") or None, backup=counted.get("bck") == "1", sessions=_number(counted, "scur"),
        requests=sum(answers) + failed, errors=answers[4] + failed,
    )  # fmt: skip


def rights_of(level: str) -> str:
    """Return what may be changed by a socket of this level (``show cli level``); "" for anything else."""
    return {"admin": "all", "operator": "maintenance", "user": "none"}.get(level.strip(), "")


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
