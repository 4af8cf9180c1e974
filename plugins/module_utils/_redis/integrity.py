# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A named integrity check over the keys of one pattern: which of those that do not expire by themselves fail it.

A key that cannot be read (an error reply, no time left, a value too large) is unread, and never counts as failing. Values are only
examined here and never leave; a failing key is reported with one of a few fixed reasons.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, ErrorReply
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.prints import as_bytes

Rules = t.Mapping[str, t.Any]

TYPES = ("string", "list", "set", "zset", "hash", "stream")
CHECK_SPEC: dict[str, t.Any] = {
    "type": "dict",
    "required": True,
    "options": {
        "type": {"type": "str", "choices": ["", *TYPES], "default": ""},
        "json": {"type": "bool", "default": False},
        "regex": {"type": "str", "default": ""},
        "min_bytes": {"type": "int", "default": -1},
        "max_bytes": {"type": "int", "default": -1},
        "min_items": {"type": "int", "default": -1},
        "max_items": {"type": "int", "default": -1},
        "fields": {"type": "list", "elements": "str", "default": []},
        "digest_field": {"type": "str", "default": ""},
        "digest_of": {"type": "str", "default": ""},
    },
}
SCOPE_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "pattern": {"type": "str", "required": True},
    "db": {"type": "int", "default": 0},
    "check": CHECK_SPEC,
}
# A pattern that could match anything is too broad.
LITERALS = 2
LENGTHS = {"list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN", "string": "STRLEN"}
# A larger value is not read: it counts as unread, not as failing.
MOST_BYTES = 8 * 1024 * 1024
# The memory for the values of one batch, and the longest text for a regular expression.
BATCH_BYTES = 16 * 1024 * 1024
REGEX_BYTES = 64 * 1024
BATCH = 500
PERSISTS, GONE = -1, -2


class Found(t.NamedTuple):
    """One key as seen: why it fails ("" if it does not), whether it exists, was read, and expires."""

    key: bytes
    why: str = ""
    there: bool = True
    read: bool = True
    expires: bool = False


class Look(t.NamedTuple):
    """What a whole look found: keys looked at, the failing ones with their reasons, how many fail and expire, how many were unread."""

    looked: int
    failing: dict[bytes, str]
    expiring: int
    unread: int
    whole: bool


def rules_of(scope: Rules) -> dict[str, t.Any]:
    """Return the filled rules of a scope {name, pattern, db, check}. Raises StepError for a check or a pattern that does not fit."""
    given = scope.get("check") or {}
    rules = {name: spec["default"] if given.get(name) is None else given[name] for name, spec in CHECK_SPEC["options"].items()}
    name = one_line(scope.get("name"), 60)
    if not re.match(r"[^*?\[\]\\]{%d}" % LITERALS, str(scope.get("pattern") or "")):
        raise StepError("check %s: its pattern has to begin with %d plain characters, to name a part of the keys" % (name, LITERALS))
    rules["type"] = _type_of(name, rules)
    if not rules["type"] and rules["min_items"] < 0 and rules["max_items"] < 0:
        raise StepError("check %s checks nothing: give type, json, regex, bytes, items, fields or digest_field" % name)
    if bool(rules["digest_field"]) != bool(rules["digest_of"]):
        raise StepError("check %s: digest_field and digest_of belong together" % name)
    try:
        re.compile(rules["regex"])
    except re.error as error:
        raise StepError("check %s: its regex is not valid: %s" % (name, one_line(error, 80))) from None
    return rules


def _type_of(name: str, rules: Rules) -> str:
    """Return the type that is asked for or implied, "" for any. Raises StepError for more than one."""
    text = rules["json"] or rules["regex"] or rules["min_bytes"] >= 0 or rules["max_bytes"] >= 0
    asked = {rules["type"], "string" if text else "", "hash" if rules["fields"] or rules["digest_field"] else ""} - {""}
    if len(asked) > 1:
        raise StepError("check %s asks for %s at once: keep one" % (name, " and ".join(sorted(asked))))
    return str(asked.pop()) if asked else ""


def digest_of_scope(scope: Rules) -> str:
    """Return the hash of what is checked: name, pattern, db and rules."""
    said = {"name": scope["name"], "pattern": scope["pattern"], "db": int(scope["db"]), "rules": rules_of(scope)}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def look(redis: Connection, scope: Rules, end: float, most: int) -> Look:
    """Check every key of the scope; stop after *most* failing keys or at *end* (monotonic), not whole then. Raises RespError."""
    rules, counts = rules_of(scope), {"looked": 0, "expiring": 0, "unread": 0}
    failing: dict[bytes, str] = {}
    if isinstance(redis.ask("SELECT", int(scope["db"])), ErrorReply):
        return Look(0, {}, 0, 1, False)
    cursor: t.Any = "0"
    while True:
        reply = redis.ask("SCAN", cursor, "MATCH", str(scope["pattern"]), "COUNT", BATCH)
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
            return Look(counts["looked"], failing, counts["expiring"], counts["unread"] + 1, False)
        cursor = reply[0]
        for found in check_keys(redis, [as_bytes(key) for key in reply[1]], rules):
            counts["looked"] += found.there
            counts["unread"] += not found.read
            counts["expiring"] += bool(found.why) and found.expires
            if found.why and not found.expires:
                failing[found.key] = found.why
        whole = cursor == "0"
        if whole or time.monotonic() > end or len(failing) > most:
            return Look(counts["looked"], failing, counts["expiring"], counts["unread"], whole and len(failing) <= most)


def check_keys(redis: Connection, keys: t.Sequence[bytes], rules: Rules) -> t.Iterator[Found]:
    """Yield what is found of each of *keys* in the selected database. Raises RespError."""
    redis.max_bytes = MOST_BYTES + 65536
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        replies = redis.ask_all([command for key in batch for command in (("TYPE", key), ("PTTL", key))])
        yield from _judge_batch(redis, list(zip(batch, replies[::2], replies[1::2])), rules)


def _judge_batch(redis: Connection, seen: t.Sequence[tuple[bytes, t.Any, t.Any]], rules: Rules) -> t.Iterator[Found]:
    right: list[tuple[bytes, str, bool]] = []
    for key, kind, life in seen:
        if isinstance(kind, ErrorReply) or isinstance(life, ErrorReply) or not isinstance(life, int):
            yield Found(key, read=False)
        elif kind == "none" or life == GONE:
            yield Found(key, there=False)
        elif rules["type"] and kind != rules["type"]:
            yield Found(key, "is not a %s" % rules["type"], expires=life != PERSISTS)
        else:
            right.append((key, str(kind), life != PERSISTS))
    yield from _judge_lengths(redis, right, rules)


def _judge_lengths(redis: Connection, right: t.Sequence[tuple[bytes, str, bool]], rules: Rules) -> t.Iterator[Found]:
    """Judge lengths, then the values of those that pass."""
    sized = [(key, kind, expires) for key, kind, expires in right if kind in LENGTHS]
    yield from (Found(key, read=False, expires=expires) for key, kind, expires in right if kind not in LENGTHS)
    lengths = redis.ask_all([(LENGTHS[kind], key) for key, kind, dummy in sized])
    slice_, weight = [], 0
    for (key, kind, expires), length in zip(sized, lengths):
        if not isinstance(length, int):
            yield Found(key, read=False, expires=expires)
            continue
        why = judge_length(kind, length, rules)
        if why or not _needs_value(rules):
            yield Found(key, why, expires=expires)
        elif kind == "string" and length > MOST_BYTES:
            yield Found(key, read=False, expires=expires)
        else:
            slice_.append((key, expires))
            weight += length
        if weight > BATCH_BYTES:
            yield from _judge_values(redis, slice_, rules)
            slice_, weight = [], 0
    yield from _judge_values(redis, slice_, rules)


def _needs_value(rules: Rules) -> bool:
    return bool(rules["json"] or rules["regex"] or rules["fields"] or rules["digest_field"])


def judge_length(kind: str, length: int, rules: Rules) -> str:
    """Return why a value with this many bytes (a string) or items fails, "" if it does not."""
    unit = "bytes" if kind == "string" else "items"
    if 0 <= length < rules["min_" + unit]:
        return "has %d %s, less than %d" % (length, unit, rules["min_" + unit])
    if rules["max_" + unit] >= 0 and length > rules["max_" + unit]:
        return "has %d %s, more than %d" % (length, unit, rules["max_" + unit])
    return ""


def _judge_values(redis: Connection, keys: t.Sequence[tuple[bytes, bool]], rules: Rules) -> t.Iterator[Found]:
    if rules["type"] == "hash":
        wanted = [*rules["fields"], *([rules["digest_field"], rules["digest_of"]] if rules["digest_field"] else [])]
        commands: list[tuple[t.Any, ...]] = [("HMGET", key, *wanted) for key, dummy in keys]
    else:
        commands = [("GET", key) for key, dummy in keys]
    redis.send(commands)
    for key, expires in keys:
        # One at a time, so that the values of a batch are never all in memory.
        reply = redis.receive()
        if isinstance(reply, ErrorReply):
            yield Found(key, read=False, expires=expires)
        elif reply is None:
            yield Found(key, there=False)
        elif rules["type"] == "hash":
            yield Found(key, judge_hash(dict(zip(wanted, reply)), rules), expires=expires)
        else:
            why = judge_text(as_bytes(reply), rules)
            yield Found(key, why or "", read=why is not None, expires=expires)


def judge_text(value: bytes, rules: Rules) -> t.Optional[str]:
    """Return why a string's *value* fails, "" if it does not, None if unknown. Pure."""
    json_like = _is_json(value) if rules["json"] else True
    if not json_like:
        return None if json_like is None else "is not JSON"
    if not rules["regex"]:
        return ""
    if len(value) > REGEX_BYTES:
        return None
    found = re.search(rules["regex"], value.decode("utf-8", "surrogateescape"))
    return "" if found else "does not match"


def _is_json(value: bytes) -> t.Optional[bool]:
    """Return whether a text is JSON, None if it is nested too deep."""
    try:
        # Numbers stay text: a number of a million digits is JSON too.
        json.loads(value.decode("utf-8"), parse_int=str, parse_float=str)
    except RecursionError:
        return None
    except ValueError:
        return False
    return True


def judge_hash(values: t.Mapping[str, t.Any], rules: Rules) -> str:
    """Return why a hash with the fields *values* (None: missing) fails, "" if it does not. Pure."""
    gone = [name for name in rules["fields"] if values.get(name) is None]
    if gone:
        return "lacks field %s" % one_line(gone[0], 40)
    if not rules["digest_field"]:
        return ""
    said, value = values.get(rules["digest_field"]), values.get(rules["digest_of"])
    if said is None or value is None:
        return "lacks field %s" % one_line(rules["digest_field"] if said is None else rules["digest_of"], 40)
    same = as_bytes(said).strip().lower() == hashlib.sha256(as_bytes(value)).hexdigest().encode()
    return "" if same else "its digest differs"


def digests_of(redis: Connection, keys: t.Sequence[bytes]) -> dict[bytes, str]:
    """Return the digest of the value of each existing key of *keys*, by DUMP without its trailer. Raises RespError, StepError."""
    redis.max_bytes = MOST_DUMP
    found: dict[bytes, str] = {}
    for key in keys:
        dump = redis.ask("DUMP", key)
        if isinstance(dump, ErrorReply):
            raise StepError("Redis refuses DUMP: %s" % one_line(dump, 120), code=dump.code)
        if dump is not None:
            found[key] = digest_of_dump(as_bytes(dump))
    return found


# A larger value is not read from a running Redis in one piece.
MOST_DUMP = 256 * 1024 * 1024


def digest_of_dump(dump: bytes) -> str:
    """Return the hash of a DUMP without its last ten bytes, which are a version and a checksum."""
    return hashlib.sha256(dump[:-10]).hexdigest()
