# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys carried from one real Redis to another, and their prints compared."""

from __future__ import annotations

import contextlib
import shutil
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.transfer import copy_keys
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.prints import changed, contains, missing, prints_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.side import SideInstance, find_server

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
Pair = t.Tuple[Connection, Connection]


def side(folder: Path) -> SideInstance:
    folder.mkdir()
    return SideInstance(find_server(""), str(folder), time.monotonic() + 60)


@pytest.fixture
def pair(tmp_path: Path) -> t.Iterator[Pair]:
    """Two instances; the first holds values of every kind, a name that is no text, other databases and a key that expires."""
    with contextlib.ExitStack() as stack:
        source, target = (stack.enter_context(one.connect()) for one in [stack.enter_context(side(tmp_path / name)) for name in "ab"])
        source.ask_all([("SET", f"k:{index}", f"v{index}") for index in range(2500)])
        source.ask_all([
            ("HSET", "hash", "a", "1"), ("RPUSH", "list", *range(300)), ("SADD", "set", "x", "y"), ("ZADD", "zset", 1.5, "m"),
            ("XADD", "stream", "1-1", "a", "b"), ("PFADD", "hll", "a"), ("SET", b"\xff\x00", b"\x00\xfe"),
            ("SET", "brief", "1", "EX", 500), ("SELECT", 700), ("SET", "elsewhere", "1"), ("SELECT", 0),
        ])  # fmt: skip
        yield source, target


def end() -> float:
    return time.monotonic() + 30


def test_every_kind_of_value_arrives_and_prints_agree(pair: Pair) -> None:
    source, target = pair
    moved = copy_keys(source, target, end())
    assert moved._replace(refused="") == (2509, 0, 0, 0, "")
    one, two = prints_of(source, end()), prints_of(target, end())
    assert one.complete
    assert one.count == 2508  # without the key that expires
    assert contains(one, two)
    assert contains(two, one)
    target.ask("SELECT", 0)
    assert 400_000 < target.ask("PTTL", "brief") <= 500_000


def test_what_is_there_already_is_left_as_it_is(pair: Pair) -> None:
    source, target = pair
    target.ask("SET", "k:1", "newer")
    moved = copy_keys(source, target, end())
    assert (moved.copied, moved.there) == (2508, 1)
    assert target.ask_all([("SELECT", 0), ("GET", "k:1")]) == ["OK", "newer"]


def test_one_key_more_one_less_and_one_other_value_are_seen(pair: Pair) -> None:
    source, target = pair
    copy_keys(source, target, end())
    before = prints_of(source, end())
    target.ask_all([("SELECT", 0), ("SET", "k:1", "other"), ("SET", "more", "1"), ("DEL", "list")])
    after = prints_of(target, end())
    assert not contains(before, after)
    assert not contains(after, before)
    assert missing(before, [after]) == 1
    assert missing(after, [before, before]) == 1
    assert changed(before, after) == 1


def test_too_many_keys_are_not_compared_and_no_time_is_said(pair: Pair) -> None:
    source, _target = pair
    few = prints_of(source, end(), most=100)
    assert not few.complete
    assert not contains(few, few)
    with pytest.raises(OutOfTime):
        prints_of(source, time.monotonic() - 1)
    with pytest.raises(OutOfTime):
        copy_keys(source, _target, time.monotonic() - 1)
