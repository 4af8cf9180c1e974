# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the replicas of a Redis that is down hold beyond its files: once it starts, they drop that and take what the files have.

``load_replicas`` asks those that the inventory names and changes nothing there; the judges are pure.
"""

from __future__ import annotations

import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
    ask_all,
    log_in,
    password_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import keys_of, number, parse_info
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.written import judge_aof, judge_dump

Facts = t.Mapping[str, t.Any]

SECONDS = 2.0
# Where nothing answers, nothing can be lost by the start alone, and a master is not kept down for it.
AWAY = ("refused", "no_socket", "unreachable", "timeout")
# A master sends its replicas a PING of so many bytes every so many seconds; that makes no data.
PING_BYTES, PING_SECONDS, PINGS_OFF = 14, 10.0, 1.5
# A replica sees the end of its master at once; a machine that vanishes takes longer.
SLACK = 5.0
FULL = "it is down, and replica %s holds %d keys where its files have %s: after a start that one would take what the files have"
LATER = "it is down, and replica %s has changes that its dump lacks (%s): after a start that one would take what the dump has"
UNSEEN = (
    "it is down, its dump may lack what was written last, and a replica that may have it was not looked at (%s): after a start that one "
    "would take what the dump has"
)


def load_replicas(named: t.Sequence[Facts], own: Facts) -> list[dict[str, t.Any]]:
    """Return {address, error, role, keys, lasting, histories, offset, down_since, loading} of each replica; *own*: our own login.

    ``histories``: the ids of the replication histories that its data are of; ``down_since``: when it lost its master, None where it did
    not. Takes ``SECONDS`` in total, never raises.
    """
    asked = [_filled(one, own) for one in named]
    late = {"error": "timeout"}
    return [found or dict(late, address=str(address_of(one))) for one, found in zip(asked, ask_all(asked, _asked, SECONDS))]


def _filled(one: Facts, own: Facts) -> dict[str, t.Any]:
    options = {name: one.get(name) or "" for name in ("host", "port", "socket", "username", "password", "password_file")}
    if not options["password"] and not options["password_file"]:
        options.update({name: own.get(name) or "" for name in ("username", "password", "password_file")})
    return options


def _asked(options: Facts) -> dict[str, t.Any]:
    seen: dict[str, t.Any] = {"address": one_line(address_of(options), 80), "error": ""}
    try:
        with Connection(address_of(options), SECONDS) as redis:
            reply = log_in(redis, str(options["username"]), password_of(options)) or redis.ask("INFO", "all")
    except RespError as error:
        return dict(seen, error=error.kind)
    except StepError as error:
        return dict(seen, error=one_line(error, 120))
    if isinstance(reply, ErrorReply) or not isinstance(reply, str):
        return dict(seen, error=one_line(reply, 80) if isinstance(reply, str) else "garbage")
    return dict(seen, **read_info(parse_info(reply), time.time()))


def read_info(info: Facts, now: float) -> dict[str, t.Any]:
    """Return what the INFO of a replica says of its data. Pure."""
    expires = [re.search(r"expires=(\d{1,18})", str(value)) for name, value in info.items() if re.fullmatch(r"db\d+", name)]
    keys, down = keys_of(info), number(info.get("master_link_down_since_seconds"))
    lost = info.get("role") == "slave" and info.get("master_link_status") != "up"
    return {
        "role": info.get("role", ""), "keys": keys,
        "lasting": None if keys is None else keys - sum(int(found.group(1)) for found in expires if found),
        "histories": [info[name] for name in ("master_replid", "master_replid2") if info.get(name, "").strip("0")],
        "offset": number(info.get("slave_repl_offset") or info.get("master_repl_offset")),
        "down_since": now - max(0, down) if lost and down is not None else None,
        "loading": info.get("loading") == "1" or info.get("master_sync_in_progress") == "1",
    }  # fmt: skip


def replica_ahead(replicas: t.Sequence[Facts], before: Facts) -> str:
    """Return which replica holds what the files of a Redis that is down lack, "" for none. *before*: the facts of the look at it."""
    files = before.get("files") or {}
    if files.get("verdict") not in ("valid", "empty") or _is_proven(before):
        return ""
    return next((text for text in (_ahead(one, before) for one in replicas if not one["error"] and not one["loading"]) if text), "")


def _is_proven(before: Facts) -> bool:
    """Return whether the files are proven to be all that Redis had: then a replica that has more has what was removed."""
    files = before.get("files") or {}
    if files.get("verdict") == "empty":
        return False
    return not (judge_aof(before, {}) if files.get("source") == "aof" else judge_dump(before))[0]


def _ahead(one: Facts, before: Facts) -> str:
    files, snapshot = before.get("files") or {}, (before.get("files") or {}).get("source") != "aof"
    contents = files.get("contents") or {}
    keys = 0 if files.get("verdict") == "empty" else contents.get("keys")
    if keys is not None and (one["lasting"] or 0) > keys and (snapshot or _stayed(one, before)):
        return FULL % (one["address"], one["keys"], keys)
    later = _later(one, contents) if snapshot and one["keys"] else ""
    return LATER % (one["address"], later) if later else ""


def _stayed(one: Facts, before: Facts) -> bool:
    """Return whether a replica followed until the last write to the files: one that lost it earlier may have removed keys."""
    last = float(((before.get("written") or {}).get("aof") or {}).get("written_at") or 0)
    return one["role"] != "slave" or (bool(last) and (one["down_since"] or 0) >= last - SLACK)


def _later(one: Facts, contents: Facts) -> str:
    """Return how a replica shows that its data are later than a dump, "" where they are not."""
    history, at = contents.get("history"), contents.get("offset")
    if not history or at is None or history not in one["histories"]:
        return "it took them from it in one piece after that dump was written"
    behind = (one["offset"] or 0) - at
    if behind <= 0 or _is_idle(behind, one["down_since"], contents.get("written_at")):
        return ""
    return "%d bytes of its replication stream" % behind


def _is_idle(behind: int, until: t.Optional[float], since: t.Optional[float]) -> bool:
    """Return whether so many bytes are what an idle master sends in that time."""
    if until is None or since is None or behind % PING_BYTES:
        return False
    return abs(behind / PING_BYTES - (until - since) / PING_SECONDS) <= PINGS_OFF


def replicas_unseen(named: t.Sequence[Facts], before: Facts, known: t.Sequence[str]) -> str:
    """Return which replicas of a Redis with snapshots may hold more than its dump, where none could be looked at; "" for none.

    *known*: the replicas that it had at the last proven look; its log knows better.
    """
    files = before.get("files") or {}
    if files.get("source") == "aof" or files.get("verdict") not in ("valid", "empty") or _is_proven(before):
        return ""
    shut = ["%s: %s" % (one["address"], one["error"]) for one in named if one["error"] and one["error"] not in AWAY]
    said = (before.get("log") or {}).get("replicas")
    unnamed = list(said if said is not None else known) if not named else []
    return UNSEEN % ", ".join(one_line(one, 100) for one in (shut + unnamed)[:3]) if shut or unnamed else ""
