# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command of an append-only file does to which keys: set them, remove them, or build on their old value. Pure.

A key that is set or removed is right afterwards, whatever was lost before. A key whose old value is built upon stays wrong.
"""

from __future__ import annotations

import typing as t

Words = t.Sequence[bytes]

# The Redis commands that change anything.
KNOWN = frozenset(
    b"""append bitfield bitop blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin copy decr decrby del eval evalsha exec
    expire expireat fcall function geoadd georadius georadiusbymember geosearchstore getdel getex getset hdel hexpire hexpireat
    hincrby hincrbyfloat hmset hpersist hpexpire hpexpireat hset hsetnx incr incrby incrbyfloat linsert lmove lmpop lpop lpush
    lpushx lrem lset ltrim migrate move mset msetnx multi persist pexpire pexpireat pfadd pfdebug pfmerge psetex publish rename
    renamenx restore restore-asking rpop rpoplpush rpush rpushx sadd script sdiffstore select set setbit setex setnx setrange
    sinterstore smove sort spop spublish srem sunionstore swapdb unlink xack xadd xautoclaim xclaim xdel xgroup xreadgroup xsetid
    xtrim zadd zdiffstore zincrby zinterstore zmpop zpopmax zpopmin zrangestore zrem zremrangebylex zremrangebyrank
    zremrangebyscore zunionstore""".split()
) | {b"flush" + what for what in (b"all", b"db")}

# Commands without data of their own: they count neither as kept nor as dropped.
FRAME = frozenset([b"select", b"multi", b"exec"])
_SETS = frozenset([b"set", b"setex", b"psetex"])
_REMOVES = frozenset([b"del", b"unlink", b"getdel"])
# A SET with one of these depends on the old value.
_LOOKS = frozenset([b"nx", b"xx", b"get", b"keepttl"])
# The first two arguments are keys, and either may get the other's value.
_MIXES = frozenset([b"copy", b"renamenx", b"smove", b"lmove", b"blmove", b"rpoplpush", b"brpoplpush"])
_STORES = frozenset([b"sunionstore", b"sinterstore", b"sdiffstore", b"zrangestore", b"geosearchstore"])
_NUMBERED = frozenset([b"zunionstore", b"zinterstore", b"zdiffstore"])
_WILD = frozenset(b"eval evalsha fcall swapdb move sort migrate georadius georadiusbymember".split()) | FRAME
_KEYLESS = frozenset([b"function", b"script", b"publish", b"spublish"])
# A key that one of these has changed is there afterwards; others may have taken its last element, or stored an empty result.
_LEAVES = frozenset(
    b"""append bitfield decr decrby geoadd getset hincrby hincrbyfloat hmset hset hsetnx incr incrby incrbyfloat linsert lpush lpushx
    lset msetnx pfadd pfmerge rpush rpushx sadd set setbit setnx setrange xadd xgroup xsetid zadd zincrby""".split()
)
# These leave a key as it is, but for its time.
TIMES = frozenset(b"expire expireat getex persist pexpire pexpireat".split())
# These replace a key that they change, and its time to live with it; a SET with KEEPTTL does not.
_ANEW = frozenset(b"copy getset persist restore restore-asking".split())
# Redis writes these only if they changed something.
_CHANGE = frozenset(b"incr decr incrby decrby append lpush rpush lpop rpop sadd srem zrem hdel xadd del unlink".split())


class Effect(t.NamedTuple):
    """Keys by what happens to them. ``sources`` are only read, ``emptied`` is all or db, ``wild`` means that any key may be affected."""

    sets: Words = ()
    removes: Words = ()
    changes: Words = ()
    sources: Words = ()
    stores: Words = ()
    emptied: str = ""
    wild: bool = False

    @property
    def touched(self) -> t.List[bytes]:
        """Return the keys that are written or removed."""
        return [*self.sets, *self.removes, *self.changes, *self.stores]


def effect_of(words: Words) -> Effect:
    """Return what a complete command does, given its words; values may be cut short."""
    name = words[0].lower()
    if name[:5] == b"flush":
        return Effect(emptied="all" if name == b"flush" + b"all" else "db")
    if name in _KEYLESS:
        return Effect()
    if name in _WILD or name not in KNOWN or len(words) < 2:
        return Effect(wild=True)
    return _on_keys(name, words)


def _on_keys(name: bytes, words: Words) -> Effect:
    if name in _SETS:
        looks = name == b"set" and any(word.lower() in _LOOKS for word in words[3:])
        return Effect(changes=words[1:2]) if looks else Effect(sets=words[1:2])
    if name in _REMOVES:
        return Effect(removes=words[1:])
    if name == b"mset":
        return Effect(sets=words[1::2])
    if name == b"msetnx":
        return Effect(changes=words[1::2], sources=words[1::2])
    if name == b"rename":
        return Effect(removes=words[1:2], stores=words[2:3], sources=words[1:2])
    if name in _MIXES:
        return Effect(changes=words[1:3], sources=words[1:3])
    return _on_others(name, words)


def _on_others(name: bytes, words: Words) -> Effect:
    if name in _STORES:
        return Effect(stores=words[1:2], sources=words[2:])
    if name in _NUMBERED:
        return Effect(stores=words[1:2], sources=words[3 : 3 + int(words[2])] if words[2:] and words[2].isdigit() else words[2:])
    if name == b"pfmerge":
        return Effect(changes=words[1:2], sources=words[2:])
    if name == b"bitop":
        return Effect(stores=words[2:3], sources=words[3:])
    return Effect(changes=words[2:3] if name == b"xgroup" else words[1:2])


def is_left(words: Words) -> bool:
    """Return whether the keys that a command changes or stores are certainly there afterwards."""
    return words[0].lower() in _LEAVES


def lasts_anew(words: Words) -> bool:
    """Return whether the keys that a command changes or stores may have lost the time when they expire."""
    name = words[0].lower()
    return name in _ANEW or (name == b"set" and not any(word.lower() == b"keepttl" for word in words[3:]))


def surely_changes(name: bytes) -> bool:
    """Return whether a command of that name in an append-only file certainly changed its key."""
    return name in _CHANGE


def most_keys(name: bytes, words: int) -> t.Optional[int]:
    """Return how many keys a command may touch, given its name (b"" for unknown) and number of words; None for any number."""
    if not name:
        return max(1, words - 1)
    effect = effect_of([name, *[b"%d" % index for index in range(1, words)]])
    if effect.wild or effect.emptied:
        return None
    return max(1, len(set(effect.touched)))
