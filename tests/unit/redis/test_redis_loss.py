# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told as lost of damaged files, against what is lost: random logs and dumps, random damage, a model of Redis as the judge.

``SOMABRAIN_FUZZ_RUNS`` is the number of logs (20 where it is not set), ``SOMABRAIN_FUZZ_SEED`` the first seed. A byte that is wrong
inside a word leaves the framing whole, and no one can see it: keys that such bytes meet are not counted.
"""

from __future__ import annotations

import collections
import copy
import io
import os
import random
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.recipes import Part, salvaged
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import encode
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.crc64 import Crc64
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.salvage import Salvaged
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import commands_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.words import worded
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import Cursor

RUNS = int(os.environ.get("SOMABRAIN_FUZZ_RUNS", "20"))
SEED = int(os.environ.get("SOMABRAIN_FUZZ_SEED", "1"))
Key = t.Tuple[bytes, bytes]
Words = t.List[bytes]


class Model:
    """As much of Redis as the logs here need: {(database, key): value}."""

    def __init__(self) -> None:
        self.data: dict[Key, t.Any] = {}
        self.db = b"0"

    def run(self, words: Words) -> None:
        name, key = words[0].lower(), (self.db, words[1]) if len(words) > 1 else (b"", b"")
        if name == b"select":
            self.db = words[1]
        elif name == b"set":
            self.data[key] = words[2]
        elif name == b"mset":
            self.data.update({(self.db, one): value for one, value in zip(words[1::2], words[2::2])})
        elif name == b"del":
            for one in words[1:]:
                self.data.pop((self.db, one), None)
        elif name == b"rename":
            if key in self.data:
                self.data[self.db, words[2]] = self.data.pop(key)
        elif name[:5] == b"flush":
            self.data.clear()
        elif name not in (b"multi", b"exec"):
            self._build(name, key, words)

    def _build(self, name: bytes, key: Key, words: Words) -> None:
        value = self.data.get(key)
        if name == b"incr" and (value is None or (isinstance(value, bytes) and value.isdigit())):
            self.data[key] = b"%d" % (int(value or 0) + 1)
        elif name == b"append" and (value is None or isinstance(value, bytes)):
            self.data[key] = (value or b"") + words[2]
        elif name == b"rpush" and (value is None or isinstance(value, tuple)):
            self.data[key] = (value or ()) + tuple(words[2:])
        elif name == b"hset" and (value is None or isinstance(value, dict)):
            self.data[key] = {**(value or {}), words[2]: words[3]}


class Log:
    """A random log: the commands of each part. Commands that would change nothing are not in it, as Redis does not write them."""

    def __init__(self, noise: random.Random) -> None:
        self.noise, self.model = noise, Model()
        self.next = 0
        kinds = [
            "set",
            "set",
            "set",
            "del",
            *noise.sample(["incr", "append", "rpush", "hset", "mset", "dels", "rename", "over"], noise.randrange(5)),
        ]
        self.kinds = kinds * 3 + (["select"] if noise.random() < 0.2 else []) + (["multi"] if noise.random() < 0.2 else [])
        self.size = noise.choice([8, 8, 40, 400])
        self.varied = noise.random() < 0.5
        self.base = [self._key() for _turn in range(noise.choice([0, 0, 50, 200]))]
        for key in self.base:
            self.model.data[b"0", key] = self._value(key)
        self.before = copy.deepcopy(self.model.data)
        self.parts = [self._part(noise.randrange(60, 300)) for _turn in range(noise.choice([1, 1, 2]))]

    def end(self, part: int, size: int) -> None:
        """Let the log end with the command that the last bytes of so many in *part* belong to: what came after it was never there."""
        while sum(len(encode(words)) for words in self.parts[part][:-1]) >= size:
            self.parts[part].pop()
        self.model.data = copy.deepcopy(self.before)
        for each in self.parts:
            for words in each:
                self.model.run(words)

    def _key(self) -> bytes:
        self.next += 1
        return b"key:%06d" % self.next

    def _value(self, key: bytes) -> bytes:
        size = self.noise.randrange(self.size + 1) if self.varied else self.size
        return (key + b"=").ljust(size, b"v")

    def _part(self, count: int) -> list[Words]:
        self.model.db = b"0"
        made: list[Words] = [[b"SELECT", b"0"]]
        # Each kind is there before any damage.
        for kind in sorted(set(self.kinds)) * 2 + [self.noise.choice(self.kinds) for _turn in range(count)]:
            made += self._some(kind)
        return made

    def _some(self, kind: str) -> list[Words]:
        if kind == "multi":
            made = [words for _turn in range(self.noise.randrange(1, 4)) for words in self._some("set")]
            return [[b"MULTI"], *made, [b"EXEC"]]
        words = self._one(kind)
        if words:
            self.model.run(words)
        return [words] if words else []

    def _one(self, kind: str) -> Words:
        key, there = self._key(), [name for db, name in self.model.data if db == self.model.db]
        old = self.noise.choice(there) if there else key
        if kind == "select":
            return [b"SELECT", b"1" if self.model.db == b"0" else b"0"]
        if kind == "set":
            return [b"SET", key, self._value(key)]
        if kind == "over":
            return [b"SET", old, self._value(self._key())]
        if kind == "mset":
            return [b"MSET", key, b"x", old, self._value(key)]
        if kind in ("del", "dels"):
            return [b"DEL", *self.noise.sample(there, 1 if kind == "del" else min(3, len(there)))] if there else []
        if kind == "rename":
            return [b"RENAME", old, key] if there else []
        return self._building(kind, there, key)

    def _building(self, kind: str, there: Words, key: bytes) -> Words:
        name = b"%s:%d" % (kind.encode(), self.noise.randrange(6))
        if name in there and not isinstance(self.model.data[self.model.db, name], {"rpush": tuple, "hset": dict}.get(kind, bytes)):
            return []
        last = {"incr": [], "append": [b"+"], "rpush": [key], "hset": [key, self._value(key)]}[kind]
        return [kind.upper().encode(), name, *last]


def text(value: bytes) -> bytes:
    return (bytes([len(value)]) if len(value) < 64 else b"\x80" + len(value).to_bytes(4, "big")) + value


def rdb(data: t.Mapping[Key, bytes]) -> bytes:
    body = b"REDIS0009\xfe\0\xfb\x80" + len(data).to_bytes(4, "big") + b"\0"
    body += b"".join(b"\0" + text(key) + text(value) for (_db, key), value in data.items()) + b"\xff"
    crc = Crc64()
    crc.add(body)
    return body + crc.value().to_bytes(8, "little")


def read_rdb(content: bytes) -> tuple[dict[Key, t.Any], int]:
    cursor = Cursor(io.BytesIO(content), len(content), time.monotonic() + 60)
    found: dict[Key, t.Any] = {}
    cursor.go(9)
    for item in iter(cursor.item, None):
        if item.kind == "eof":
            cursor.skip(8)
            return found, cursor.at
        if item.kind == "key":
            entry = Cursor(io.BytesIO(content[item.at + 1 :]), item.length, time.monotonic() + 60)
            key = entry.text()
            found[b"0", key] = entry.text()
    raise AssertionError("no end")


def state_of(content: bytes) -> tuple[dict[Key, t.Any], list[Words]]:
    """Return (what a Redis holds that loads *content*, the commands in it)."""
    model, start = Model(), 0
    if content[:5] == b"REDIS":
        model.data, start = read_rdb(content)
    ran = list(worded(io.BytesIO(content), start, len(content), time.monotonic() + 60))
    for words in ran:
        model.run(words)
    return model.data, ran


def damaged(content: bytes, noise: random.Random, begin: int, places: int, cut: bool) -> bytes:
    made = bytearray(content)
    for _place in range(places):
        at = noise.randrange(begin, len(made))
        kind, size = noise.choice(["bit", "run", "run", "zeros", "long"]), noise.choice([2, 9, 40, 90])
        if kind == "bit":
            made[at] ^= 1 << noise.randrange(8)
        elif kind == "zeros":
            made[at : at + size] = bytes(len(made[at : at + size]))
        else:
            end = min(len(made), at + (600 if kind == "long" else size))
            made[at:end] = bytes(byte ^ 0xFF for byte in made[at:end]) if noise.random() < 0.5 else noise.randbytes(end - at)
    return bytes(made[: noise.randrange(begin, len(made))] if cut else made)


class Case(t.NamedTuple):
    """One log with damage: what is told, what is lost for certain, and what may be lost with keys that bytes met unseen."""

    said: Salvaged
    lost: int
    most: int


def keys_of(words: Words) -> set[bytes]:
    name = words[0].lower()
    return set(words[1::2] if name == b"mset" else words[1:3] if name == b"rename" else words[1:] if name == b"del" else words[1:2])


def case_of(seed: int, folder: Path, most_places: int = 10) -> t.Optional[Case]:
    """Return one case; None where bytes that nobody can see have made one command another that is about more than its keys."""
    noise = random.Random(seed)
    log = Log(noise)
    contents = ([rdb(log.before)] if log.base else []) + [b"".join(encode(words) for words in part) for part in log.parts]
    chosen = noise.choice([*range(bool(log.base), len(contents))] * 4 + [0])
    is_rdb = contents[chosen][:5] == b"REDIS"
    begin = 40 if is_rdb else sum(len(encode(words)) for words in log.parts[chosen - bool(log.base)][: 6 * len(set(log.kinds)) + 1])
    if begin >= len(contents[chosen]) - 40:
        return None
    spoilt = list(contents)
    spoilt[chosen] = damaged(
        contents[chosen], noise, begin, noise.randrange(most_places) + 1, noise.random() < 0.2 and (is_rdb or chosen == len(contents) - 1)
    )
    if not is_rdb and len(spoilt[chosen]) < len(contents[chosen]):
        log.end(chosen - bool(log.base), len(spoilt[chosen]))
    parts = []
    for number, content in enumerate(spoilt):
        path = folder / f"{seed}-{number}.{'rdb' if content[:5] == b'REDIS' else 'aof'}"
        path.write_bytes(content)
        parts.append(Part(str(path), len(content), content[:5] == b"REDIS", content == contents[number], 1.0))
    with (folder / f"{seed}-out").open("w+b") as out:
        said = salvaged(parts, out, time.monotonic() + 60)
        out.seek(0)
        now, ran = state_of(out.read())
    for path in folder.glob(f"{seed}-*"):
        path.unlink()
    return judged(log, contents, spoilt, said, now, ran)


def judged(log: Log, contents: list[bytes], spoilt: list[bytes], said: Salvaged, now: t.Any, ran: list[Words]) -> t.Optional[Case]:
    unseen = collections.Counter(tuple(words) for words in ran)
    unseen.subtract(tuple(words) for part in log.parts for words in part)
    altered = [list(words) for words, count in unseen.items() if count > 0 and words[0].lower() != b"select"]
    hidden: set[bytes] = set()
    for words in altered:
        if words[0].lower() not in {one.encode() for one in ("set", "del", "incr", "append", "rpush", "hset", "mset", "rename")}:
            return None
        hidden |= keys_of(words) | keys_around(encode(words), contents, spoilt)
    if any(words[0].lower() == b"select" and words[1] not in (b"0", b"1") for words in ran) or selects_altered(contents, spoilt):
        return None
    grown = True
    while grown:
        more = {key for part in log.parts for words in part if words[0] == b"RENAME" and keys_of(words) & hidden for key in words[1:]}
        grown, hidden = not more <= hidden, hidden | more
    before = log.model.data
    if log.base and spoilt[0] != contents[0]:
        # A value that is wrong unseen.
        hidden |= {key for (_db, key), value in log.before.items() if value not in spoilt[0]} & {key for _db, key in now}
        hidden |= renamed(log, contents[0], spoilt[0], {key for _db, key in now})
    differ = {name for name in set(before) | set(now) if before.get(name) != now.get(name)}
    return Case(said, len({name for name in differ if name[1] not in hidden}), len(differ | {n for n in before if n[1] in hidden}))


def renamed(log: Log, content: bytes, now: bytes, kept: set[bytes]) -> set[bytes]:
    """Return the keys of a dump that have another name now which nobody can see to be wrong, and these names."""
    found: set[bytes] = set()
    for _db, key in log.before:
        at = content.index(b"\0" + text(key))
        size = len(text(key)) + 1
        if now[at : at + 2] == content[at : at + 2] and now[at + 2 : at + size] in kept - {key}:
            found |= {key, now[at + 2 : at + size]}
    return found


def keys_around(command: bytes, contents: list[bytes], spoilt: list[bytes]) -> set[bytes]:
    """Return the keys of the commands that were where *command* is now."""
    found: set[bytes] = set()
    for content, now in zip(contents, spoilt):
        at = now.find(command)
        if at < 0 or content[:5] == b"REDIS":
            continue
        for begin, length, _name, _note in commands_of(io.BytesIO(content), len(content), time.monotonic() + 60):
            if begin < at + len(command) and at < begin + length:
                found |= keys_of(next(worded(io.BytesIO(content), begin, begin + length, time.monotonic() + 60)))
    return found


def selects_altered(contents: list[bytes], spoilt: list[bytes]) -> bool:
    """Return whether the number in a SELECT is another one now, which nobody can see."""
    for content, now in zip(contents, spoilt):
        at = content.find(b"SELECT\r\n$1\r\n")
        while at >= 0:
            if now[at - 8 : at + 12] == content[at - 8 : at + 12] and now[at + 12 : at + 13] != content[at + 12 : at + 13]:
                return True
            at = content.find(b"SELECT\r\n$1\r\n", at + 1)
    return False


def told_of(tmp_path: Path, commands: t.Sequence[t.Sequence[str]], spoil: bytes, by: bytes, *later: t.Sequence[str]) -> t.Any:
    """Return what is told as lost, ~ where it is at most that, of SETs with the damaged *commands* among them, and *later* behind them."""
    filling = [("SET", f"filling:{index:03d}", "value") for index in range(40)]
    content = b"".join(encode(words) for words in [("SELECT", "0"), *filling[:20], *commands, *filling[20:], *later])
    assert content.count(spoil) == 1
    path = tmp_path / "a.aof"
    path.write_bytes(content.replace(spoil, by))
    with (tmp_path / "out").open("w+b") as out:
        said = salvaged([Part(str(path), len(content), False, False, 1.0)], out, time.monotonic() + 60)
    assert said.doubt or said.unit == "keys"
    return None if said.doubt else said.dropped if said.exact else f"~{said.dropped}"


LOST = [("SET", "lost:00001", "some value")]
AT, WRONG = b"$10\r\nlost:00001\r\n$10\r\n", b"$10\r\nlost:00001\r\n$1!\r\n"
EMPTIED = "FLUSH" + "ALL"
EFFECTS: dict[str, t.Tuple[t.Any, t.Sequence[t.Sequence[str]], bytes, bytes, t.Sequence[t.Sequence[str]]]] = {
    "a key": (1, LOST, AT, WRONG, []),
    "a key that is set anew": (0, LOST, AT, WRONG, [("SET", "lost:00001", "newer")]),
    "a key that is removed": (0, LOST, AT, WRONG, [("DEL", "lost:00001")]),
    "a key that others build upon": ("~1", LOST, AT, WRONG, [("APPEND", "lost:00001", "more")]),
    "a key that gets another name": ("~1", LOST, AT, WRONG, [("RENAME", "lost:00001", "other")]),
    "a key that is emptied away": (0, LOST, AT, WRONG, [(EMPTIED,)]),
    "a removal": ("~1", [("DEL", "filling:003")], b"DEL\r\n$11", b"DEL\r\n$1!", []),
    "a removal of what is set again": (
        "~1", [("DEL", "filling:003")], b"*2\r\n$3\r\nDEL", b"!2\r\n$3\r\nDEL", [("SET", "filling:003", "x")],
    ),
    "all keys of a command": (3, [("MSET", "lost:1", "a", "lost:2", "b", "lost:3", "last")], b"$4\r\nlast", b"$9\r\nlast", []),
    "of these one that is set anew": (
        2, [("MSET", "lost:1", "a", "lost:2", "b", "lost:3", "last")], b"$4\r\nlast", b"$9\r\nlast", [("SET", "lost:2", "x")],
    ),
    "a command that empties everything": (None, [(EMPTIED, "ASYNC")], b"$5\r\nASYNC", b"$5\r\nASYNC!", []),
    "a transaction, of which one key is set anew": (
        1, [("MULTI",), ("SET", "lost:1", "a"), ("SET", "lost:2", "b"), ("EXEC",)], b"$4\r\nEXEC", b"!4\r\nEXEC", [("SET", "lost:2", "x")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EFFECTS)
def test_what_becomes_of_lost_keys_is_followed(tmp_path: Path, case: str) -> None:
    expected, commands, spoil, by, later = EFFECTS[case]
    assert told_of(tmp_path, commands, spoil, by, *later) == expected


@pytest.mark.parametrize(("commands", "told"), [([], "~1"), ([("DEL", "lost:00001")], "~1"), ([("SET", "filling:003", "x")], "~1")])
def test_a_key_that_nothing_names_any_more_counts(tmp_path: Path, commands: list[t.Tuple[str, ...]], told: t.Any) -> None:
    spoil = b"$10\r\nlost:00001\r\n$1\r\nx"
    assert told_of(tmp_path, [("SET", "lost:00001", "x"), *commands], spoil, bytes(len(spoil))) == told


@pytest.mark.parametrize(("most_places", "equal", "exact"), [(1, 0.35, 0.25), (10, 0.05, 0.0)])
def test_never_less_is_told_than_was_lost(tmp_path: Path, most_places: int, equal: float, exact: float) -> None:
    seen: t.Counter[str] = collections.Counter()
    for seed in range(SEED, SEED + RUNS):
        case = case_of(seed, tmp_path, most_places)
        if case is None:
            continue
        told = None if case.said.doubt else case.said.dropped
        seen.update(judged=1, unknown=told is None, told=told or 0, lost=case.lost if told is not None else 0)
        seen.update(equal=told == case.lost, exact=told is not None and case.said.exact)
        assert told is None or told >= case.lost, (seed, case)
        assert told is None or not case.said.exact or told <= max(case.lost, case.most), (seed, case)
    print(most_places, dict(seen))
    assert seen["judged"] > 0.8 * RUNS
    # Of hundreds of logs it was 56 % and 44 % with one damaged place, 20 % and 13 % with up to ten; a few of them differ by chance.
    told_at_all = seen["judged"] - seen["unknown"]
    assert seen["equal"] >= equal * told_at_all
    assert seen["exact"] >= exact * told_at_all
