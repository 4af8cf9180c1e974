# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Salvage of an append-only file: what is kept, what is told as dropped, and that no bytes at all can make it fail."""

from __future__ import annotations

import io
import os
import random
import time
import tracemalloc
import typing as t
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import encode
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.look import Refused, parse_manifest
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.salvage import (
    Salvaged,
    cut_aof,
    flushes,
    rebuilt_manifest,
    salvage_aof,
    without_flush,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime, commands_of, scan_resp

SELECT = encode(["SELECT", "0"])
SETS = [encode(["SET", f"key:{index:05d}", f"value-{index:05d}"]) for index in range(1000)]
WHOLE = SELECT + b"".join(SETS)
EMPTY = encode(["FLUSH" + "ALL"])
Tool = t.Callable[[t.BinaryIO, int, t.BinaryIO, float], Salvaged]


def used(tool: Tool, data: bytes) -> tuple[bytes, Salvaged]:
    """Return what *tool* writes, which always loads, and what it says."""
    out = io.BytesIO()
    said = tool(io.BytesIO(data), len(data), out, time.monotonic() + 60)
    written = out.getvalue()
    assert scan_resp(io.BytesIO(written), len(written), time.monotonic() + 60).problem == ""
    return written, said


def names(data: bytes) -> list[bytes]:
    return [name for dummy, dummy_length, name, dummy_note in commands_of(io.BytesIO(data), len(data), time.monotonic() + 60)]


def at_set(index: int, offset: int = 0) -> int:
    return len(SELECT) + index * len(SETS[0]) + offset


def over(data: bytes, at: int, what: bytes) -> bytes:
    """Write *what* over the bytes at *at*."""
    return data[:at] + what + data[at + len(what) :]


def salvage_of(data: bytes) -> tuple[int, int, bool]:
    return used(salvage_aof, data)[1][:3]


def is_told(lost: int, dropped: int, exact: bool) -> bool:
    """Return whether a number is the right one, or, where it is only the most, not smaller and not much larger."""
    return dropped == lost if exact else lost <= dropped <= 1.4 * lost + 2


ONE = SETS[0]
# By what was written over a thousand commands: how many are kept and lost, and whether each lost one can still be read.
DAMAGES = {
    "nothing": (WHOLE, (1000, 0, True)),
    "a mark": (over(WHOLE, at_set(500), b"!"), (999, 1, False)),
    "a mark that looks like a note": (over(WHOLE, at_set(500), b"#"), (999, 1, False)),
    "too few words": (over(WHOLE, at_set(500, 1), b"2"), (999, 1, False)),
    "too many words": (over(WHOLE, at_set(500, 1), b"4"), (999, 1, False)),
    "a name misspelt": (over(WHOLE, at_set(500, ONE.index(b"SET")), b"SEU"), (999, 1, True)),
    "a name of other bytes": (over(WHOLE, at_set(500, ONE.index(b"SET")), b"\0\0\0"), (999, 1, True)),
    "a word's length too small": (over(WHOLE, at_set(500, ONE.index(b"$9") + 1), b"8"), (999, 1, True)),
    "a length that swallows the rest": (WHOLE.replace(b"$9\r\nkey:00500", b"$99999999\r\nkey:00500"), (999, 1, True)),
    "the end of a value": (over(WHOLE, at_set(500, len(ONE) - 2), b"\0\0"), (999, 1, True)),
    "two commands across their border": (over(WHOLE, at_set(501, -4), b"\0" * 8), (998, 2, False)),
    "zeros over a hundred commands": (over(WHOLE, at_set(500, 7), b"\0" * len(ONE) * 100), (899, 101, False)),
    "two regions with one good command between": (over(over(WHOLE, at_set(500), b"!"), at_set(502), b"!"), (998, 2, False)),
    "the first command": (over(WHOLE, at_set(0), b"!"), (999, 1, False)),
    "the last command": (over(WHOLE, at_set(999), b"!"), (999, 1, False)),
    "the tail cut": (WHOLE[:-7], (999, 1, True)),
    "the tail cut after one byte of a head": (WHOLE[: at_set(999, 1)], (999, 1, False)),
    "the head of the file cut": (WHOLE[at_set(500, 5) :], (499, 1, False)),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGES)
def test_salvage_keeps_all_but_the_damaged_commands_and_counts_them(case: str) -> None:
    data, (kept, lost, exact) = DAMAGES[case]
    found, dropped, certain = salvage_of(data)
    assert (found, certain) == (kept, exact)
    assert is_told(lost, dropped, exact)


@pytest.mark.parametrize("case", DAMAGES)
def test_a_cut_drops_all_behind_the_first_damage_and_counts_it(case: str) -> None:
    data, (kept, lost, exact) = DAMAGES[case]
    written, said = used(cut_aof, data)
    assert data.startswith(written)
    assert said.exact is exact
    assert is_told(lost, said.kept + said.dropped - kept, exact)
    assert said.dropped_bytes == len(data) - len(written)


def test_bytes_and_regions_add_up() -> None:
    data = over(over(WHOLE, at_set(100), b"!"), at_set(300, 9), b"\0" * 200)
    written, said = used(salvage_aof, data)
    assert len(data) - len(written) == said.dropped_bytes == sum(region["bytes"] for region in said.regions)
    assert [region["at"] for region in said.regions] == [at_set(100), at_set(300)]
    assert sum(region["dropped"] for region in said.regions) == said.dropped


def test_commands_of_many_lengths_make_the_number_the_most_it_may_be() -> None:
    mixed = [encode(["SET", f"k{index}", "v" * (index * 37 % 400)]) for index in range(200)]
    whole = b"".join(mixed)
    at = len(b"".join(mixed[:100]))
    kept, dropped, exact = salvage_of(over(whole, at + 3, b"\0" * 900))
    assert kept < 200
    assert dropped >= 200 - kept
    assert not exact
    # Without its mark nobody knows where a command ends.
    kept, dropped, exact = salvage_of(over(whole, at, b"!"))
    assert (kept, exact) == (199, False)
    assert dropped >= 1


def damaged_at_random(seed: int) -> tuple[bytes, int]:
    """Return eighty commands with one or two places overwritten, and how many commands were whole before."""
    chance = random.Random(seed)
    kinds: list[t.Callable[[int], list[str]]] = [
        lambda index: ["SET", f"key:{index:04d}", "v" * chance.randint(1, 60)],
        lambda index: ["HSET", f"key:{index:04d}", "f", "v" * chance.randint(1, 40)],
        lambda index: ["INCR", f"key:{index:04d}"],
    ]
    alike, length = chance.random() < 0.4, chance.randint(1, 30)
    commands = [["SET", f"key:{index:04d}", "v" * length] if alike else chance.choice(kinds)(index) for index in range(80)]
    data = encode(["SELECT", "0"]) + b"".join(encode(words) for words in commands)
    for _place in range(chance.choice([1, 1, 2])):
        at = chance.randrange(30, len(data) - 70)
        junk = [chance.randbytes(chance.randint(1, 60)), b"\0\0\0\0$6\r\n", b"\xff" * 40, b"$%d\r\n" % chance.randint(1, 90)]
        data = over(data, at, chance.choice(junk))
    return data, 80


@pytest.mark.parametrize("begin", range(0, 400, 100))
def test_a_number_that_is_exact_is_right_and_any_other_is_not_too_small(begin: int) -> None:
    for seed in range(begin, begin + 100):
        data, whole = damaged_at_random(seed)
        written, said = used(salvage_aof, data)
        kept = sum(name != b"select" for name in names(written))
        assert said.dropped == whole - kept if said.exact else said.dropped >= whole - kept, seed


def test_a_remainder_without_a_head_is_never_exact() -> None:
    whole = encode(["SELECT", "0"]) + b"".join(encode(["SET", f"key:{index:04d}", "v" * 6]) for index in range(80))
    kept, dropped, exact = salvage_of(over(whole, 2941, b"\0\0\0\0$6\r\n"))
    assert (kept, exact) == (78, False)
    assert dropped >= 2


def transaction(*words: bytes) -> bytes:
    return encode(["MULTI"]) + b"".join(words) + encode(["EXEC"])


TORN = transaction(*SETS[:5])
TRANSACTIONS = {
    "whole": (SETS[6] + TORN + SETS[7], (7, 0)),
    "damaged inside": (
        SETS[6] + TORN.replace(b"*3\r\n$3\r\nSET\r\n$9\r\nkey:00002", b"!3\r\n$3\r\nSET\r\n$9\r\nkey:00002") + SETS[7],
        (2, 5),
    ),
    "without its beginning": (SETS[6] + over(TORN, 0, b"!") + SETS[7], (2, 5)),
    "without its end, cut": (SETS[6] + TORN[: -len(encode(["EXEC"]))], (1, 5)),
    "without its end, then another": (SETS[6] + over(TORN, len(TORN) - 14, b"!") + TORN + SETS[7], (7, 5)),
}


@pytest.mark.parametrize("case", TRANSACTIONS)
def test_a_torn_transaction_is_dropped_whole(case: str) -> None:
    data, counts = TRANSACTIONS[case]
    written, said = used(salvage_aof, data)
    assert names(written).count(b"multi") == names(written).count(b"exec")
    # Damage may hide no more than one command that is not there; it never hides one that is.
    assert said.kept == counts[0]
    assert said.dropped == counts[1] or (said.dropped > counts[1] and not said.exact)


def test_commands_after_a_torn_transaction_stay_in_their_database() -> None:
    torn = transaction(encode(["SELECT", "7"]), SETS[0])
    written, said = used(salvage_aof, SELECT + SETS[1] + torn.replace(b"$4\r\nEXEC", b"!4\r\nEXEC") + SETS[2])
    assert written == SELECT + SETS[1] + encode(["SELECT", "7"]) + SETS[2] or said.dropped == 2


@pytest.mark.parametrize("damage", [b"!300", b"$399", b"$\0\0\0"])
def test_commands_in_the_text_of_a_damaged_value_are_not_carried_out(damage: bytes) -> None:
    inner = encode(["SET", "smuggled", "yes"]) * 9
    outer = encode(["SET", "text", inner])
    head = b"$%d" % len(inner)
    data = SETS[0] * 20 + outer.replace(head, damage[: len(head)]) + SETS[1] * 20
    written, said = used(salvage_aof, data)
    assert b"smuggled" not in written
    assert said.kept == 40
    assert said.dropped == 1 or (said.dropped > 1 and not said.exact)


def test_the_time_of_the_last_write_is_that_of_the_last_note() -> None:
    data = b"#TS:1700000000\r\n" + SETS[0] + b"#TS:1700000009\r\n" + SETS[1]
    assert used(salvage_aof, data)[1].last_write == 1700000009
    assert used(salvage_aof, SETS[0])[1].last_write is None


@pytest.mark.parametrize("before", [0, 3])
def test_the_last_flush_is_left_out_and_nothing_else(before: int) -> None:
    data = b"".join(SETS[:2]) + EMPTY * before + b"".join(SETS[2:4]) + EMPTY + SETS[4]
    assert len(flushes(io.BytesIO(data), len(data), time.monotonic() + 9)) == before + 1
    written, said = used(without_flush, data)
    assert written == b"".join(SETS[:2]) + EMPTY * before + b"".join(SETS[2:5])
    assert (said.kept, said.dropped, said.exact) == (5 + before, 0, True)


def test_where_nothing_was_flushed_nothing_is_written() -> None:
    written, said = used(without_flush, WHOLE)
    assert (written, said.kept, said.dropped) == (b"", 0, 0)


def test_an_rdb_at_the_head_is_copied_as_it_is() -> None:
    head = b"REDIS0010 not looked at \xff"
    data = head + SETS[0] + b"!" + SETS[1] + EMPTY
    for tool in (cut_aof, salvage_aof, without_flush):
        out = io.BytesIO()
        tool(io.BytesIO(data), len(data), out, time.monotonic() + 9, len(head))
        assert out.getvalue().startswith(head + SETS[0])


PARTS = ["a.aof.2.base.rdb", "a.aof.2.incr.aof", "a.aof.3.incr.aof"]


def test_a_lost_manifest_is_written_anew() -> None:
    text = rebuilt_manifest([*PARTS, "temp-rewriteaof-1.aof", "b.aof.1.base.rdb", "a.aof.2.incr.aof.bak"], "a.aof")
    assert parse_manifest(text, "a.aof.manifest") == list(zip(PARTS, "bii"))


def test_a_name_with_blanks_is_quoted_in_the_manifest() -> None:
    names = ['my "own".1.base.rdb', 'my "own".1.incr.aof']
    assert parse_manifest(rebuilt_manifest(names, 'my "own"'), "m") == list(zip(names, "bi"))


@pytest.mark.parametrize(
    ("names", "verdict"),
    [
        ([], "missing"),
        (["a.aof.1.incr.aof"], "missing"),
        (["a.aof.1.base.rdb"], "missing"),
        (["a.aof.1.base.rdb", "a.aof.1.incr.aof", "a.aof.3.incr.aof"], "missing"),
        (["a.aof.1.base.rdb", "a.aof.2.base.rdb", "a.aof.2.incr.aof"], "damaged"),
        (["a.aof.1.base.rdb", "a.aof.1.base.aof", "a.aof.1.incr.aof"], "damaged"),
        (["a.aof.2.base.rdb", "a.aof.1.incr.aof", "a.aof.2.incr.aof"], "damaged"),
    ],
)
def test_a_manifest_that_is_not_certain_is_not_written(names: list[str], verdict: str) -> None:
    with pytest.raises(Refused) as refused:
        rebuilt_manifest(names, "a.aof")
    assert refused.value.verdict == verdict


FRAGMENTS = [b"*3\r\n", b"$3\r\n", b"SET\r\n", b"$1\r\n", b"a\r\n", SETS[0], SELECT, EMPTY, b"#TS:1700000000\r\n", b"#x\r\n"]
FRAGMENTS += [
    encode(["MULTI"]),
    encode(["EXEC"]),
    encode(["SELECT", "3"]),
    b"\r\n",
    b"*",
    b"$",
    b"\0" * 9,
    b"*9999999\r\n",
    b"$99999999\r\n",
    b"#",
]
PIECES = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=12)), max_size=40).map(b"".join)


@settings(max_examples=400)
@given(data=PIECES)
def test_any_bytes_are_salvaged_to_what_loads(data: bytes) -> None:
    for tool in (cut_aof, salvage_aof, without_flush):
        written, said = used(tool, data)
        writes = [name for name in names(written) if name not in (b"#", b"select", b"multi", b"exec")]
        assert said.kept == len(writes)
        assert (said.dropped_bytes > 0) == (tool is not without_flush and bool(said.regions)) or tool is without_flush
        # What is salvaged once is whole.
        assert used(salvage_aof, written)[1][:4] == (said.kept, 0, True, 0)


@settings(max_examples=300)
@given(holes=st.lists(st.tuples(st.integers(0, 80 * len(ONE) - 1), st.binary(min_size=1, max_size=90)), min_size=1, max_size=4))
@example(holes=[(2838, b"\x00\x00\x00$6\r\nselect\r\n")])
@example(holes=[(0, b"*2\r\n$6\r\nAAAAAA\r\n$1\r\n\x00\r\n")])
def test_the_number_told_is_never_too_small(holes: list[tuple[int, bytes]]) -> None:
    data = b"".join(SETS[:80])
    for at, what in holes:
        data = over(data, at, what)[: 80 * len(ONE)]
    written, said = used(salvage_aof, data)
    lost = sum(one not in written for one in SETS[:80])
    changed = sum(1 for one in range(said.kept)) - (80 - lost)
    assert said.dropped + max(0, changed) >= lost
    # A whole command that the damage itself spells counts as kept: it stands for none that was written, or for one of those lost.
    assert not said.exact or lost - changed <= said.dropped <= lost


def test_the_time_is_bounded() -> None:
    for tool in (cut_aof, salvage_aof, without_flush):
        with pytest.raises(OutOfTime):
            tool(io.BytesIO(WHOLE), len(WHOLE), io.BytesIO(), time.monotonic() - 1)


@pytest.mark.parametrize("filling", ["hole", "noise", "one long word"])
def test_the_memory_is_bounded(tmp_path: Path, filling: str) -> None:
    path = tmp_path / "large.aof"
    noise = random.Random(1).randbytes(1024 * 1024)
    with path.open("wb") as file:
        file.write(WHOLE)
        if filling == "one long word":
            file.write(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n" % (64 << 20))
        for _turn in range(64):
            if filling == "noise":
                file.write(noise)
            else:
                file.seek(1 << 20, os.SEEK_CUR)
        file.write(b"\r\n" + WHOLE)
    tracemalloc.start()
    with path.open("rb") as source, (tmp_path / "out").open("wb") as out:
        said = salvage_aof(source, path.stat().st_size, out, time.monotonic() + 120)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said.kept == 2000 + (filling == "one long word")
    assert peak < 16 << 20
