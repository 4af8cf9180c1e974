# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What life writes to a Redis: values of each type, big ones, keys with a short or a long life, more than one database.

A key of the drill names its own shape, which says how it is read again: ``drill:NAME:hash.0:000012``.
"""

from __future__ import annotations

import typing as t

Command = t.Tuple[t.Any, ...]


class Shape(t.NamedTuple):
    """How a key is written: its type, its database, its life in seconds (0: for good), and the least size of its value."""

    type: str
    database: int = 0
    life: int = 0
    size: int = 10

    @property
    def word(self) -> str:
        return f"{self.type}.{self.database}" + (f".{self.life}" if self.life else "")


DAY = 86400
# So long that a run can begin meanwhile, and is over when it has ended.
SHORT = 2
BIG = 4096
# A prime number of them: no loop of a caller falls into step with it.
SHAPES: t.Tuple[Shape, ...] = (
    Shape("string"), Shape("hash"), Shape("string", life=DAY), Shape("string"), Shape("list", life=600), Shape("string", 1),
    Shape("string"), Shape("string", life=SHORT), Shape("set"), Shape("string"), Shape("zset"), Shape("string", size=BIG), Shape("string"),
    Shape("stream"), Shape("string"), Shape("hash", 3), Shape("string"), Shape("list"), Shape("string", life=DAY),
)  # fmt: skip


def shape_of(key: str) -> Shape:
    """Return the shape that a key names; a plain string of database 0 where it names none."""
    words = key.split(":")[-2].split(".") if key.count(":") >= 2 else []
    if not words or words[0] not in WRITE:
        return Shape("string")
    numbers = [int(word) for word in words[1:]]
    return Shape(words[0], *numbers[:2])


def written(key: str, value: str) -> t.List[Command]:
    """Return the commands that leave *value* at a new *key*."""
    shape = shape_of(key)
    if shape.type == "string" and shape.life:
        return [("SET", key, value, "PX", shape.life * 1000)]
    command = (WRITE[shape.type][0], key, *WRITE[shape.type][1](value))
    return [command, ("PEXPIRE", key, shape.life * 1000)] if shape.life else [command]


def asked(key: str) -> t.List[Command]:
    """Return the commands whose replies tell the value of *key*, and whether it has an end."""
    return [(READ[shape_of(key).type][0], key, *READ[shape_of(key).type][1]), ("PTTL", key)]


def read(key: str, value: str, replies: t.Sequence[t.Any]) -> t.Optional[str]:
    """Return *value* where the replies are those to a key that was written with it, None where it is not there, else what there is."""
    reply, left = replies
    if reply in (None, [], {}) and left == -2:
        return None
    shape = shape_of(key)
    if (left > 0) != bool(shape.life):
        return f"{value} with another end: PTTL {left}"
    parts = WRITE[shape.type][1](value)
    return value if _plain(shape.type, reply) == _plain_of(shape.type, parts) else f"other than was written: {str(reply)[:60]}"


def _plain(kind: str, reply: t.Any) -> t.Any:
    """Return a reply as something that compares equal whatever order the server gives."""
    if not isinstance(reply, list):
        return reply
    if kind == "stream":
        return [list(entry[1]) for entry in reply]
    if kind == "hash":
        return dict(zip(reply[::2], reply[1::2]))
    return sorted(reply) if kind == "set" else reply


def _plain_of(kind: str, parts: t.Tuple[t.Any, ...]) -> t.Any:
    """Return what `_plain` makes of the reply to a key that was written with *parts*."""
    texts = [str(part) for part in parts]
    if kind == "string":
        return texts[0]
    if kind == "hash":
        return dict(zip(texts[::2], texts[1::2]))
    if kind == "stream":
        return [texts[1:]]
    return [texts[1], texts[3]] if kind == "zset" else sorted(texts) if kind == "set" else texts


WRITE: t.Mapping[str, t.Tuple[str, t.Callable[[str], t.Tuple[t.Any, ...]]]] = {
    "string": ("SET", lambda value: (value,)),
    "hash": ("HSET", lambda value: ("value", value, "kind", "memory")),
    "list": ("RPUSH", lambda value: ("first", value, "last")),
    "set": ("SADD", lambda value: (value, "memory")),
    "zset": ("ZADD", lambda value: (1, value, 2, "memory")),
    "stream": ("XADD", lambda value: ("*", "value", value)),
}
READ: t.Mapping[str, t.Tuple[str, t.Tuple[t.Any, ...]]] = {
    "string": ("GET", ()), "hash": ("HGETALL", ()), "list": ("LRANGE", (0, -1)), "set": ("SMEMBERS", ()),
    "zset": ("ZRANGE", (0, -1)), "stream": ("XRANGE", ("-", "+")),
}  # fmt: skip
