# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many keys the replicas of a Redis that is down have: its start makes them give up what it does not load.

``load_replicas`` reads and never raises, ``ahead`` is pure.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    RespError,
    address_of,
    log_in,
    password_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import keys_of

Facts = t.Mapping[str, t.Any]
MOST = 8
TALK_SECONDS = 1.0


def load_replicas(options: Facts, parse: t.Callable[[str], t.Dict[str, str]], end: float) -> t.List[t.Dict[str, t.Any]]:
    """Return {address, keys} of each of the named replicas that answers as one; *parse* reads INFO, *end* is a monotonic time."""
    found = []
    for one in list(options.get("replicas") or [])[:MOST]:
        asked = _asked(one, options)
        info = _info(asked, parse, min(TALK_SECONDS, end - time.monotonic()))
        if info.get("role") == "slave":
            found.append({"address": one_line(address_of(asked), 80), "keys": keys_of(info)})
    return found


def _asked(one: Facts, options: Facts) -> t.Dict[str, t.Any]:
    """Return how to reach a replica: without a password of its own it has that of its master."""
    given = {"host": "127.0.0.1", "port": 6379, "socket": "", "username": "", "password": "", "password_file": ""}
    given.update({name: value for name, value in one.items() if value not in (None, "")})
    if not given["password_file"]:
        given.update({name: options.get(name) or "" for name in ("username", "password", "password_file")})
    return given


def _info(asked: Facts, parse: t.Callable[[str], t.Dict[str, str]], seconds: float) -> t.Dict[str, str]:
    if seconds <= 0:
        return {}
    try:
        with Connection(address_of(asked), seconds) as redis:
            log_in(redis, str(asked["username"]), password_of(asked))
            said = redis.ask("INFO", "all")
    except (RespError, StepError):
        return {}
    return parse(said) if isinstance(said, str) else {}


def ahead(replicas: t.Sequence[Facts], files: Facts) -> str:
    """Return which replica has more keys than a start would load of *files*, "" for none, or where that is not known."""
    keys = (files.get("contents") or {}).get("keys")
    best = max(replicas, key=lambda one: int(one["keys"] or 0), default={"keys": 0})
    if keys is None or int(best["keys"] or 0) <= keys:
        return ""
    text = "it is down, and its replica %s has %d keys where its files have %d: after a start it would give up the others"
    return text % (best["address"], best["keys"], keys)
