# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two nginx files that the collection owns: upstreams with a name for each server, and the maintenance switch. Text in, text out.

Parsing is strict: a line that does not parse is reported, and the file is not overwritten. The directive is the truth; the comment
after it holds only what a directive cannot: the name, the usual weight, and why a server is down.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.pool import DRAIN, MAINT, READY

MAX_WEIGHT = 256
MAX_BYTES = 1 << 20
MAX_RETRY_AFTER = 7 * 24 * 3600
WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
ADDRESS = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
    r"|unix:/[A-Za-z0-9_./-]{1,100}"
)
_OPEN = re.compile(r"[ \t]*upstream[ \t]+(%s)[ \t]*\{[ \t]*" % WORD)
_CLOSE = re.compile(r"[ \t]*\}[ \t]*")
_NOTHING = re.compile(r"[ \t]*(?:#[^\x00-\x08\x0b-\x1f\x7f]*)?")
_SETTING = re.compile(
    r"[ \t]*(?:zone|keepalive|keepalive_requests|keepalive_time|keepalive_timeout)(?:[ \t]+[A-Za-z0-9_.-]{1,64}){1,2}[ \t]*;[ \t]*"
)
_SERVER = re.compile(
    r"[ \t]*server[ \t]+(?P<address>%s)(?P<given>(?:[ \t]+[a-z_]+(?:=[0-9a-z]+)?)*)[ \t]*;"
    r"[ \t]*#[ \t]*(?P<name>%s)(?P<marks>(?:[ \t]+[a-z]+(?:=[0-9]+)?)*)[ \t]*" % (ADDRESS, WORD)
)
# Ways to choose a server that do not follow the weights.
_NOT_BY_WEIGHT = re.compile(r"[ \t]*(least_conn|least_time|ip_hash|hash|random|sticky)\b")
_KEPT = re.compile(r"(?:max_fails|max_conns)=[0-9]{1,6}|fail_timeout=[0-9]{1,6}(?:ms|s|m|h)?")
# Words of the comment: weight 0 (which nginx does not have), drained, taken out by a person, and without a health check.
ZERO, UNCHECKED = "zero", "unchecked"
_MARKS = (ZERO, DRAIN, MAINT)
_TOLD = (*_MARKS, UNCHECKED)


class Unreadable(Exception):
    """A file does not have the expected format; the text says where."""


class Server(t.NamedTuple):
    """One line ``server``; *kept* are the parameters that stay untouched."""

    name: str
    address: str
    weight: int
    initial: int
    admin: str
    backup: bool
    checked: bool
    kept: tuple[str, ...]


class Line(t.NamedTuple):
    """A line of the file: in which upstream, and its server where it has one."""

    text: str
    pool: str
    server: t.Optional[Server]


def parse_upstreams(text: str) -> list[Line]:
    """Return the lines of the file of upstreams; raises Unreadable for the first that does not parse."""
    found: list[Line] = []
    pool = ""
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        opened = _OPEN.fullmatch(line)
        server = _server_of(line, number) if pool else None
        if opened and not pool:
            pool = opened.group(1)
            _once(pool, seen, number, "upstream")
        elif server:
            _once("%s/%s" % (pool, server.name), seen, number, "server")
        elif not (_NOTHING.fullmatch(line) or (pool and (_CLOSE.fullmatch(line) or _SETTING.fullmatch(line)))):
            raise Unreadable(_unread(line, number, pool))
        found.append(Line(line, pool, server))
        pool = "" if _CLOSE.fullmatch(line) else pool
    if pool:
        raise Unreadable("upstream %s has no closing brace" % pool)
    return found


def _unread(line: str, number: int, pool: str) -> str:
    chosen = _NOT_BY_WEIGHT.match(line) if pool else None
    if chosen:
        told = (number, chosen[1], pool)
        return "line %d: with %s the shares of upstream %s do not follow the weights; remove it, and use the default (round robin)" % told
    return "line %d does not parse: %s" % (number, one_line(line.strip(), 80))


def _once(name: str, seen: set[str], number: int, what: str) -> None:
    if name in seen:
        raise Unreadable("line %d repeats %s %s" % (number, what, name))
    seen.add(name)


def _server_of(line: str, number: int) -> t.Optional[Server]:
    """Return the server of a line; None for any other line, and for one that does not parse."""
    found = _SERVER.fullmatch(line) if len(line) <= 1000 else None
    if not found:
        return None
    given, told = found.group("given").split(), found.group("marks").split()
    weight = _number(given, "weight", 1)
    initial = _number(told, "initial", weight)
    problem = _problem(given, told, weight, initial)
    if problem:
        raise Unreadable("line %d: %s" % (number, problem))
    kept = tuple(word for word in given if _KEPT.fullmatch(word))
    return Server(
        found.group("name"), found.group("address"), 0 if ZERO in told else weight, initial, _admin_of(given, told), "backup" in given,
        UNCHECKED not in told, kept,
    )  # fmt: skip


def _problem(given: t.Sequence[str], told: t.Sequence[str], weight: int, initial: int) -> str:
    """Return what is wrong with the parameters and the comment of a server, "" for nothing."""
    known = [*_TOLD, *(word for word in told if word.startswith("initial="))]
    strange = [word for word in given if not _is_parameter(word)] + [word for word in told if word not in known]
    if strange:
        return "unknown word %s" % strange[0]
    if len(set(given)) != len(given) or not 1 <= weight <= MAX_WEIGHT or not 0 <= initial <= MAX_WEIGHT:
        return "a weight is 1 to %d, and a parameter appears once" % MAX_WEIGHT
    marks = [word for word in _MARKS if word in told]
    return "marked '%s', but the server is not down" % marks[0] if marks and "down" not in given else ""


def _is_parameter(word: str) -> bool:
    return word in ("down", "backup") or word.startswith("weight=") or bool(_KEPT.fullmatch(word))


def _admin_of(given: t.Sequence[str], told: t.Sequence[str]) -> str:
    """Return the state of a server: one that is down without a mark was taken out by a person."""
    if DRAIN in told:
        return DRAIN
    by_hand = "down" in given and not any(word in told for word in _MARKS)
    return MAINT if MAINT in told or by_hand else READY


def _number(words: t.Sequence[str], name: str, missing: int) -> int:
    """Return the number of ``name=N`` among *words*; -1 for one that is there twice, or is not a number."""
    values = [word.partition("=")[2] for word in words if word.startswith(name + "=")]
    if not values:
        return missing
    return int(values[0]) if len(values) == 1 and re.fullmatch(r"[0-9]{1,6}", values[0]) else -1


def render_server(server: Server, indent: str = "    ") -> str:
    """Return the line of a server: one that is drained, out, or has weight 0 is ``down``."""
    down = server.weight == 0 or server.admin != READY
    given = ["weight=%d" % (server.weight or 1), *server.kept, *(["backup"] if server.backup else []), *(["down"] if down else [])]
    told = [server.name, "initial=%d" % server.initial, *([ZERO] if server.weight == 0 else [])]
    told += [server.admin] if server.admin != READY else []
    told += [] if server.checked else [UNCHECKED]
    return "%sserver %s %s; # %s" % (indent, server.address, " ".join(given), " ".join(told))


def kept_open(lines: t.Iterable[Line], pool: str) -> int:
    """Return how many idle connections to the servers of *pool* each worker may keep (``keepalive``)."""
    found = [re.match(r"[ \t]*keepalive[ \t]+([0-9]{1,6})\b", line.text) for line in lines if line.pool == pool]
    return max([int(one[1]) for one in found if one], default=0)


def pools_of(lines: t.Iterable[Line]) -> list[str]:
    return sorted({line.pool for line in lines if line.pool})


def servers_of(lines: t.Iterable[Line], pool: str) -> list[Server]:
    return [line.server for line in lines if line.server and line.pool == pool]


def changed_upstreams(lines: t.Sequence[Line], pool: str, servers: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    """Return the file with *servers* ({name: {weight, admin}}) of *pool* as wanted; other lines stay as they are. Raises Unreadable."""
    missing = sorted(set(servers) - {server.name for server in servers_of(lines, pool)})
    if missing:
        raise Unreadable("upstream %s has no server %s" % (pool, one_line(missing[0], 60)))
    return "\n".join(
        _changed(line.server, line.text, servers[line.server.name])
        if line.server and line.pool == pool and line.server.name in servers
        else line.text
        for line in lines
    )


def _changed(server: Server, text: str, wanted: t.Mapping[str, t.Any]) -> str:
    weight, admin = wanted.get("weight", server.weight), wanted.get("admin", server.admin)
    if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= MAX_WEIGHT or admin not in (READY, DRAIN, MAINT):
        found = (server.name, MAX_WEIGHT, one_line(wanted, 60))
        raise Unreadable("server %s: a weight is 0 to %d, a state ready, drain or maint, not %s" % found)
    return render_server(server._replace(weight=weight, admin=admin), text[: len(text) - len(text.lstrip())])


_SWITCH = """\
# Written by somabrain.incident_response; included in each server block that passes requests to the pool. Not to be edited.
# pool={pool} maintenance={word} retry_after={retry_after}
set $somabrain_maintenance "{word}:$somabrain_operator:$somabrain_let_through";
if ($somabrain_maintenance = "on:0:0") {{
    return 470;
}}
error_page 470 = @somabrain_maintenance;
location @somabrain_maintenance {{
    default_type application/json;
    add_header Retry-After "{retry_after}" always;
    add_header Cache-Control "no-store" always;
    return 503 '{{"detail":"maintenance"}}';
}}
"""
_TITLE = re.compile(r"# pool=(%s) maintenance=(on|off) retry_after=([0-9]{1,6})" % WORD)


def render_switch(pool: str, on: bool, retry_after: int) -> str:
    """Return the switch file: a 503 for all but operators and health paths while it is on. Raises Unreadable for a bad number."""
    if not re.fullmatch(WORD, pool):
        raise Unreadable("%s is not a name of an upstream" % one_line(pool, 60))
    if isinstance(retry_after, bool) or not isinstance(retry_after, int) or not 0 <= retry_after <= MAX_RETRY_AFTER:
        raise Unreadable("retry_after is 0 to %d seconds, not %s" % (MAX_RETRY_AFTER, one_line(retry_after, 40)))
    return _SWITCH.format(pool=pool, word="on" if on else "off", retry_after=retry_after)


def parse_switch(text: str, pool: str) -> dict[str, t.Any]:
    """Return {on, retry_after} of the switch file; raises Unreadable unless it is, to the byte, what this collection writes."""
    lines = text.split("\n")
    found = _TITLE.fullmatch(lines[1]) if len(lines) > 1 else None
    if not found:
        raise Unreadable("its second line lacks pool, maintenance or retry_after")
    on, seconds = found.group(2) == "on", int(found.group(3))
    if text != render_switch(found.group(1), on, seconds):
        raise Unreadable("a person changed it")
    if found.group(1) != pool:
        raise Unreadable("it belongs to pool %s" % found.group(1))
    return {"on": on, "retry_after": seconds if on else None}
