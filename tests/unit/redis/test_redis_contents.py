# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is counted in sound data files before a start: keys, removals since an earlier look, and since when Redis wrote to them."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import judge_files
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb import contents

SOON, GONE = b"%d" % (time.time() * 1000 + 10**7), b"%d" % (time.time() * 1000 - 10**4)


def aof(*commands: str | tuple[t.Any, ...]) -> bytes:
    """Return commands as an append-only file; a word that is bytes is taken as it is."""
    found = b""
    for command in commands:
        words = [
            word if isinstance(word, bytes) else str(word).encode() for word in (command.split() if isinstance(command, str) else command)
        ]
        found += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    return found


def judged(path: Path, verdict: str = "valid", source: str = "aof") -> dict[str, t.Any]:
    file = {"name": path.name, "kind": source, "bytes": path.stat().st_size, "verdict": verdict}
    return {"verdict": verdict, "source": source, "files": [file], "expected_keys": 7}


@pytest.mark.parametrize(
    ("commands", "keys"),
    [
        (["SET a 1", "SET b 1", "SET a 2"], 2),
        (["SET a 1", "SELECT 3", "SET a 1"], 2),
        (["SET a 1", "SET b 1", "DEL a b"], 0),
        (["SET a 1", "UNLINK a", "SET a 1"], 1),
        (["HSET h f 1", "LPUSH l 1", "XADD s * f 1", "INCR n", "APPEND a x"], 5),
        (["MULTI", "MSET a 1 b 2", "EXEC", "RENAME a c"], 2),
        ([("SET", "a", "1", "PXAT", SOON), ("SET", "b", "1", "PXAT", GONE)], 1),
        ([("SET", "a", "1", "PXAT", GONE), "SET a 2"], 1),
        (["SET a 1", "SET b 1", ("PEXPIREAT", "a", GONE), ("PEXPIREAT", "b", SOON)], 1),
        (["SET a 1", ("EXPIREAT", "a", "17")], 0),
        (["SET a 1", "flush" + "db", "SET b 1"], 1),
        (["SET a 1", "SELECT 1", "SET b 1", "flush" + "db"], 1),
        # Any key may be written: nobody can count.
        (["SET a 1", "EVAL x 0"], None),
        (["SET a 1", "MOVE a 1"], None),
    ],
)
def test_a_start_loads_at_most_the_keys_that_the_commands_leave(tmp_path: Path, commands: list[t.Any], keys: int | None) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(aof(*commands))
    assert contents.load_contents(str(tmp_path), {}, judged(path), 0, 5)["keys"] == keys
    # Of damaged files nobody knows what a start loads.
    assert contents.load_contents(str(tmp_path), {}, judged(path, "damaged"), 0, 5)["keys"] is None


@pytest.mark.parametrize(
    ("commands", "most", "least"),
    [
        # The last element of a key may have been taken: Redis writes down that it was, not that the key went with it.
        (["RPUSH q a b", "LPOP q 2", "SET a 1"], 2, 1),
        (["SADD s a", "SREM s a", "SADD s b"], 1, 1),
        (["HSET h f 1", "HDEL h f", "ZADD z 1 a", "ZREM z a"], 2, 0),
        (["RPUSH a x", "RPOPLPUSH a b"], 2, 0),
        (["SADD a x", "SINTERSTORE c a b"], 2, 1),
        (["RPUSH q a", "LPOP q", "DEL q", "RPUSH q b"], 1, 1),
        # A time to live ends with the value that had it.
        ([("SET", "a", "1", "PXAT", GONE), "PERSIST a"], 1, 1),
        ([("SET", "a", "1", "PXAT", GONE), "GETSET a 2"], 1, 1),
        ([("SET", "a", "1", "PXAT", GONE), "SET b 1", "RENAME b a"], 1, 1),
        ([("SET", "a", "1", "PXAT", GONE), "SADD b x", "SUNIONSTORE a b"], 2, 1),
        ([("SET", "a", "1", "PXAT", GONE), "SET a 2 XX"], 1, 1),
        ([("SET", "a", "1", "PXAT", GONE), "SET a 2 KEEPTTL"], 0, 0),
        ([("SET", "a", "1", "PXAT", GONE), "RENAME a b"], 0, 0),
        ([("SET", "a", "1", "NX", "PXAT", GONE)], 0, 0),
        ([("SET", "a", "1", "PXAT", GONE), "APPEND a x", ("PEXPIREAT", "a", SOON)], 1, 1),
    ],
)
def test_keys_that_may_be_gone_are_not_missed_and_keys_that_last_again_are_counted(
    tmp_path: Path, commands: list[t.Any], most: int, least: int
) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(aof(*commands))
    found = contents.load_contents(str(tmp_path), {}, judged(path), 0, 5)
    assert (found["keys"], found["sure"]) == (most, least)


def test_only_removals_since_the_last_look_count(tmp_path: Path) -> None:
    path = tmp_path / "appendonly.aof"
    before = aof("SET a 1", "DEL a", "SET b 1")
    path.write_bytes(before + aof("DEL b", "UNLINK c d", "GETDEL e", "SET f DEL"))
    assert contents.load_contents(str(tmp_path), {}, judged(path), len(before), 5)["removed"] == 4
    assert contents.load_contents(str(tmp_path), {}, judged(path), 0, 5)["removed"] == 5
    assert contents.load_contents(str(tmp_path), {}, judged(path), 10**6, 5)["removed"] == 0


def test_removals_are_counted_once_wherever_a_chunk_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(aof(*["DEL key:%d" % number for number in range(50)]))
    for size in range(64, 100):
        monkeypatch.setattr(contents, "CHUNK", size)
        assert contents.load_contents(str(tmp_path), {}, judged(path), 0, 5)["removed"] == 50


def test_what_takes_too_long_stays_unknown(tmp_path: Path) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(aof("SET a 1"))
    assert contents.load_contents(str(tmp_path), {}, judged(path), 0, -1) == {
        "keys": None,
        "removed": None,
        "written_at": None,
        "memory": None,
        "missing_writes": None,
    }
    assert contents.load_contents(str(tmp_path), {}, {"verdict": "empty", "files": []}, 0, 5) == {}
    path.unlink()
    gone = {"verdict": "valid", "source": "aof", "files": [{"name": "x", "kind": "aof", "bytes": 5}]}
    assert contents.load_contents(str(tmp_path), {}, gone, 0, 5)["keys"] is None


def test_a_dump_says_when_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(b"REDIS0011\xfa\x05ctime\xc2" + (1_700_000_000).to_bytes(4, "little"))
    found = contents.load_contents(str(tmp_path), {}, judged(path, source="rdb"), 0, 5)
    assert found == {"keys": 7, "removed": 0, "written_at": 1_700_000_000.0, "memory": None, "missing_writes": None}


@pytest.mark.parametrize(
    ("known", "given", "due"),
    [
        (-1, {}, -1),
        (300, {}, 300),
        (300, {"removed": None, "written_at": None}, 300),
        (300, {"removed": 50}, 250),
        (300, {"removed": 301}, 0),
        (0, {}, 0),
        (300, {"written_at": 100.0, "removed": 50}, 250),
        (300, {"written_at": 100.5, "removed": 50}, -1),
    ],
)
def test_what_was_removed_since_is_not_missing(known: int, given: dict[str, t.Any], due: int) -> None:
    assert contents.still_due(known, {"at": 100.0}, given) == due


def test_without_the_time_of_the_last_look_its_number_stands() -> None:
    assert contents.still_due(300, {}, {"written_at": 100.5, "removed": 0}) == 300


def test_the_memory_of_an_append_only_file_is_at_least_what_its_keys_hold(tmp_path: Path) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(aof("SET a 1", "SET a " + "x" * 500, "SET b 1", "DEL b"))
    assert contents.load_contents(str(tmp_path), {}, judged(path), 0, 2.0)["memory"] == 501


@pytest.mark.parametrize(("keys", "due"), [(40, 100), (49, 100), (50, -1), (100, -1), (None, -1)])
def test_a_dump_that_lacks_a_large_part_of_what_was_known_is_for_a_person(keys: t.Any, due: int) -> None:
    written_later = {"written_at": 200.0, "keys": keys, "removed": 0}
    assert contents.due_at_start(100, {"at": 100.0}, written_later, 0.5) == due
    assert contents.due_at_start(100, {"at": 300.0}, written_later, 0.5) == 100
    assert contents.due_at_start(-1, {"at": 100.0}, written_later, 0.5) == -1


@pytest.mark.parametrize(("fewer", "writes"), [(0, 0), (-5, 0), (1, 1), (29, 1), (30, 2), (58, 2)])
def test_missing_bytes_held_at_most_as_many_writes_as_the_shortest_one_fits_into(tmp_path: Path, fewer: int, writes: int) -> None:
    path = tmp_path / "appendonly.aof"
    # The same key each time: what is missing may have been shorter than the usual.
    path.write_bytes(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n" + b"*3\r\n$3\r\nSET\r\n$3\r\nk:1\r\n$1\r\nx\r\n" * 3)
    known = path.stat().st_size + fewer
    assert contents.load_contents(str(tmp_path), {}, judged(path), known, 2.0)["missing_writes"] == writes


@pytest.mark.parametrize(
    ("commands", "writes"), [(("SET a 1", "SET bbbb 22222"), 7), (("SET a 1", "SET a 22222222"), 8), (("SADD a 1",), 8)]
)
def test_where_each_write_made_a_key_the_missing_ones_are_as_long(tmp_path: Path, commands: tuple[str, ...], writes: int) -> None:
    path = tmp_path / "appendonly.aof"
    path.write_bytes(aof(*commands))
    assert contents.load_contents(str(tmp_path), {}, judged(path), path.stat().st_size + 200, 2.0)["missing_writes"] == writes


def test_the_file_of_an_older_version_counts_while_the_directory_of_newer_ones_is_empty(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(aof("SET a 1"))
    inner = tmp_path / "appendonlydir"
    inner.mkdir()
    seen = judge_files(str(tmp_path), {"appendonly": "yes"}, 5)
    assert (seen["verdict"], [one["name"] for one in seen["files"]]) == ("valid", ["appendonly.aof"])
    assert contents.load_contents(str(tmp_path), {"appendonly": "yes"}, seen, 0, 5)["keys"] == 1
    (inner / "appendonly.aof.1.incr.aof").write_bytes(aof("SET b 1"))
    assert judge_files(str(tmp_path), {"appendonly": "yes"}, 5)["verdict"] == "missing"
