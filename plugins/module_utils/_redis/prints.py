# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an instance holds, as hashes: 16 bytes for each key, so that two sets of data can be compared without showing them.

Keys that may expire during the comparison are left out: they differ between two loads of the same file.
"""

from __future__ import annotations

import hashlib
import time
import typing as t
from array import array

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, ErrorReply, Word
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import parse_info
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime

BUCKETS = 256
# Larger sets of data are not compared: a recovery may use 160 MB for each.
MOST_KEYS = 10_000_000
BATCH = 1000
REPLY_BYTES = 512 * 1024 * 1024
_LASTS = -1
FOREVER = float("inf")


class Prints:
    """The keys of one set of data. ``complete`` is False if some could not be read."""

    def __init__(self) -> None:
        self.keys = [array("Q") for dummy in range(BUCKETS)]
        self.pairs = [array("Q") for dummy in range(BUCKETS)]
        self.count = 0
        self.complete = True

    def add(self, db: int, key: bytes, digest: str) -> None:
        """Take in one key and the digest of its value."""
        named = hashlib.blake2b(b"%d:%s" % (db, key), digest_size=8)
        bucket = named.digest()[0]
        self.keys[bucket].append(int.from_bytes(named.digest(), "little"))
        named.update(b"\0" + digest.encode("ascii", "replace"))
        self.pairs[bucket].append(int.from_bytes(named.digest(), "little"))
        self.count += 1


def contains(mine: Prints, other: Prints) -> bool:
    """Return whether every key of *other* is in *mine* with the same value; False where either is not complete."""
    if not (mine.complete and other.complete):
        return False
    return all(set(theirs) <= set(ours) for ours, theirs in zip(mine.pairs, other.pairs))


def missing(mine: Prints, others: t.Iterable[Prints]) -> int:
    """Return how many keys any of *others* has that *mine* lacks."""
    rest = list(others)
    return sum(len(set().union(*(other.keys[index] for other in rest)) - set(ours)) for index, ours in enumerate(mine.keys))


def changed(mine: Prints, newest: Prints) -> int:
    """Return how many keys both have, with a different value in *newest*."""
    return sum(
        len(set(newest.pairs[index]) - set(mine.pairs[index])) - len(set(newest.keys[index]) - set(mine.keys[index]))
        for index in range(BUCKETS)
    )


def sizes_of(redis: Connection) -> dict[int, tuple[int, int]]:
    """Return {db: (keys, keys that expire)} of an instance. Raises RespError."""
    found: dict[int, tuple[int, int]] = {}
    for name, text in parse_info(str(redis.ask("INFO", "keyspace"))).items():
        fields = dict(part.partition("=")[::2] for part in text.split(","))
        if name.startswith("db") and name[2:].isdigit():
            found[int(name[2:])] = (int(fields.get("keys") or 0), int(fields.get("expires") or 0))
    return found


def scan(redis: Connection, db: int, end: float) -> t.Iterator[list[bytes]]:
    """Yield the keys of one database, some hundred at a time; a key may come twice. Raises RespError, OutOfTime."""
    redis.max_bytes = REPLY_BYTES
    if isinstance(redis.ask("SELECT", db), ErrorReply):
        return
    cursor: Word = "0"
    while True:
        if time.monotonic() > end:
            raise OutOfTime
        reply = redis.ask("SCAN", cursor, "COUNT", BATCH)
        if not isinstance(reply, list) or len(reply) != 2:
            return
        cursor = reply[0]
        keys = [as_bytes(key) for key in reply[1]]
        yield from (keys[index : index + BATCH] for index in range(0, len(keys), BATCH))
        if cursor == "0":
            return


def as_bytes(word: t.Union[str, bytes]) -> bytes:
    """Return a reply's text as its original bytes."""
    return word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape")


def prints_of(redis: Connection, end: float, most: int = MOST_KEYS, outlives: float = FOREVER) -> Prints:
    """Return the prints of an instance that has no other writers and allows DEBUG. Raises RespError, OutOfTime.

    Of keys that expire, it takes those that live beyond the time *outlives* (seconds since 1970): no other may be gone by itself while
    sets of data are compared.
    """
    prints = Prints()
    for db, (keys, expires) in sizes_of(redis).items():
        if prints.count + keys > most:
            prints.complete = False
            break
        # A key that SCAN returns twice counts once in every comparison of prints.
        if not all(_take(redis, prints, db, batch, outlives if expires else None) for batch in scan(redis, db, end)):
            prints.complete = False
            break
    return prints


def _take(redis: Connection, prints: Prints, db: int, keys: list[bytes], outlives: t.Optional[float]) -> bool:
    digests = redis.ask("DEBUG", "DIGEST-VALUE", *keys)
    if not isinstance(digests, list) or len(digests) != len(keys):
        return False
    lives = redis.ask_all([("PTTL", key) for key in keys]) if outlives is not None else [_LASTS] * len(keys)
    least = ((outlives or 0) - time.time()) * 1000
    for key, digest, life in zip(keys, digests, lives):
        if life == _LASTS or (isinstance(life, int) and life > max(0, least)):
            prints.add(db, key, str(digest))
    return True
