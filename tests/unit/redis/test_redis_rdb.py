# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An RDB: its checksum, stepping through it, and what is salvaged of any bytes at all."""

from __future__ import annotations

import io
import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.crc64 import Crc64, wrong_bytes
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.salvage import Salvaged
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.scan import OutOfTime, crc64_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.check import check_string
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.mend import preamble_length, repaired_rdb, salvage_rdb
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.rdb.walk import Cursor, Item

NOISE = random.Random(11).randbytes(3_000_000)


def soon() -> float:
    return time.monotonic() + 60


def crc(data: bytes) -> int:
    found = Crc64()
    found.add(data)
    return found.value()


def by_bits(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _bit in range(8):
            value = (value >> 1) ^ 0x95AC9329AC4BC9B5 if value & 1 else value >> 1
    return value


def text(value: bytes) -> bytes:
    return (bytes([len(value)]) if len(value) < 64 else b"\x80" + len(value).to_bytes(4, "big")) + value


def string(key: bytes, value: bytes) -> bytes:
    return b"\0" + text(key) + text(value)


def rdb(*entries: bytes, count: int = 0, version: int = 9) -> bytes:
    resize = b"\xfb\x80" + count.to_bytes(4, "big") + b"\0" if count else b""
    body = b"REDIS%04d\xfe\0" % version + resize + b"".join(entries) + b"\xff"
    return body + crc(body).to_bytes(8, "little")


def items(content: bytes) -> list[Item]:
    cursor = Cursor(io.BytesIO(content), len(content), soon())
    cursor.go(9)
    found: list[Item] = []
    while not found or found[-1].kind != "eof":
        found.append(cursor.item())
    return found


def salvaged(data: bytes) -> tuple[bytes, Salvaged]:
    """Return what is salvaged, which always is a whole RDB without two entries of one key, and what is said."""
    out = io.BytesIO()
    said = salvage_rdb(io.BytesIO(data), len(data), out, soon())
    content = out.getvalue()
    if content:
        keys, database = [], 0
        for item in items(content):
            database = item.value if item.kind == "select" else database
            keys += [(database, item.value)] if item.kind == "key" else []
        assert len(set(keys)) == len(keys) == said.kept
        assert crc(content[:-8]).to_bytes(8, "little") == content[-8:]
    return content, said


ENTRIES = [string(b"key:%04d" % index, b"value %04d" % index) for index in range(400)]
WHOLE = rdb(*ENTRIES, count=400)


def test_the_checksum_is_the_one_of_redis() -> None:
    assert crc(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc(b"") == 0


@pytest.mark.parametrize("size", [1, 8, 28_222, 28_223, 40_000, 56_500])
def test_the_checksum_folded_is_the_checksum_by_bits(size: int) -> None:
    assert crc(NOISE[:size]) == by_bits(NOISE[:size])


def test_the_checksum_does_not_depend_on_the_pieces() -> None:
    pieces, found, at = random.Random(5), Crc64(), 0
    while at < len(NOISE):
        size = pieces.randrange(1, 400_000)
        found.add(NOISE[at : at + size])
        at += size
    # What follows is shifted by the checksum of what was before: two halves make the whole.
    assert found.value() == crc(NOISE) == crc64_of(io.BytesIO(NOISE), len(NOISE), soon())
    assert crc(NOISE + crc(NOISE).to_bytes(8, "little")) == 0


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("place", [0, 1, 12_345, 70_000, -12, -9, -5, -3])
def test_wrong_bytes_are_found_wherever_they_are(width: int, place: int) -> None:
    content = bytearray(NOISE[:100_001] + crc(NOISE[:100_001]).to_bytes(8, "little"))
    at = place % len(content)
    wrong = bytes([0x80, 0x5A, 0x01][:width])
    for index, byte in enumerate(wrong, at):
        content[index] ^= byte
    difference = crc(bytes(content[:-8])) ^ int.from_bytes(content[-8:], "little")
    assert wrong_bytes(difference, len(content), width, lambda: None) == [(at, wrong)]


def test_more_wrong_bytes_are_not_taken_for_few() -> None:
    content = NOISE[:50_000]
    difference = crc(content) ^ crc(content[:100] + bytes(40) + content[140:])
    assert wrong_bytes(difference, len(content) + 8, 3, lambda: None) == []


LISTPACK = b"\x0d\0\0\0\x02\0\x81a\x02\x81b\x02\xff"
THREE = b"\x0f\0\0\0\x03\0\x81a\x02\x81b\x02\x00\x01\xff"
# As Redis 7.2 and 7.4 write them, by type.
NEW_TYPES = {
    "set listpack": b"\x14" + text(b"k") + text(LISTPACK),
    "stream 3": b"\x15\x01k\0" + b"\0" * 8 + b"\x01" + text(b"group") + b"\0\0\0\0" + b"\x01" + text(b"me") + b"t" * 16 + b"\0",
    "hash with expiries": b"\x18\x01k" + b"m" * 8 + b"\x02" + (b"\0" + text(b"f") + text(b"v")) + (b"\x05" + text(b"g") + text(b"w")),
    "hash listpack with expiries": b"\x19" + text(b"k") + b"m" * 8 + text(THREE),
    "module": b"\x07" + text(b"k") + b"\x81" + b"M" * 8 + b"\x02\x07\x05" + text(b"x") + b"\x04" + b"d" * 8 + b"\0",
    "slot": b"\xf4\x01\x02\x00" + string(b"k", b"v"),
    "module aux": b"\xf7\x81" + b"M" * 8 + b"\x02\x02\x05" + text(b"x") + b"\0" + string(b"k", b"v"),
}  # fmt: skip


@pytest.mark.parametrize("name", NEW_TYPES)
def test_types_of_later_versions_are_stepped_over(name: str) -> None:
    content = rdb(NEW_TYPES[name], string(b"other", b"v"), version=12)
    assert [item.value for item in items(content) if item.kind == "key"] == [b"k", b"other"]
    copied, said = salvaged(content)
    assert (copied, said.kept, said.dropped, said.exact) == (content, 2, 0, True)


@pytest.mark.parametrize(
    ("kind", "data", "unpacked", "is_right"),
    [
        (0, b"\x02abc\x40\x02", 7, True),
        (0, b"\x02abc\x40\x02", 6, False),
        (0, b"\x02abc\x40\x03", 7, False),
        (0, b"\x02ab", 3, False),
        (16, LISTPACK, None, True),
        (16, LISTPACK[:-1] + b"\0", None, False),
        (16, LISTPACK.replace(b"\x81b\x02", b"\x81b\x03"), None, False),
        (16, THREE, None, False),
        (25, THREE, None, True),
        (11, b"\x02\0\0\0\x02\0\0\0\x01\0\x02\0", None, True),
        (11, b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0", None, False),
        (11, b"\x03\0\0\0\x02\0\0\0\x01\0\x02\0", None, False),
        (10, b"\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff", None, True),
        (10, b"\x0e\0\0\0\x0b\0\0\0\x01\0\0\x01a\xff", None, False),
        (13, b"\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff", None, False),
        (9, b"", None, False),
    ],
)
def test_a_string_that_redis_would_refuse_is_told(kind: int, data: bytes, unpacked: int | None, is_right: bool) -> None:
    assert (check_string(kind, data, unpacked) == "") == is_right


def over(at: int, what: bytes, data: bytes = WHOLE) -> bytes:
    return data[:at] + what + data[at + len(what) :]


AT = WHOLE.index(ENTRIES[200])
SIZE = len(ENTRIES[0])
DAMAGES = {
    "nothing": (WHOLE, 400, 0, True),
    "a type": (over(AT, b"\x99"), 398, 2, True),
    "the length of a key": (over(AT + 1, b"\xff"), 398, 2, True),
    "a value's length that swallows fifty": (over(AT + 10, b"\x44"), 399, 1, True),
    "ten entries of zeros": (over(AT, bytes(10 * SIZE)), 389, 11, True),
    "ten entries of zeros from within a key": (over(AT + 4, bytes(10 * SIZE)), 388, 12, True),
    "a value, unseen": (over(AT + 14, b"!!!!!"), 400, 0, False),
    "the checksum alone": (WHOLE[:-8] + b"12345678", 400, 0, False),
    "no checksum": (WHOLE[:-8] + bytes(8), 400, 0, False),
    "the first entry": (over(WHOLE.index(ENTRIES[0]), b"\x99"), 399, 1, True),
    "the last entry": (over(WHOLE.index(ENTRIES[399]), b"\x99"), 398, 2, True),
    "short": (WHOLE[: AT + 5], 200, 200, False),
    "only a head": (WHOLE[:9], 0, 0, False),
    "zero bytes": (b"", 0, 0, False),
    "garbage": (bytes(byte | 0x80 for byte in NOISE[:1000]), 0, 247, False),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_whole_entries_are_kept_and_the_rest_is_counted(name: str) -> None:
    data, kept, dropped, exact = DAMAGES[name]
    content, said = salvaged(data)
    assert (said.kept, said.exact) == (kept, exact), said
    assert said.dropped == dropped or (not exact and said.dropped >= dropped)
    assert sum(region["dropped"] for region in said.regions) == said.dropped
    assert bool(content) == bool(kept)


def test_an_rdb_in_the_text_of_a_damaged_value_is_not_loaded() -> None:
    inner = rdb(*[string(b"smuggled:%03d" % index, b"x") for index in range(50)])
    whole = rdb(*ENTRIES[:50], string(b"text", inner), *ENTRIES[50:100], count=101)
    at = whole.index(b"\x04text") + 5
    content, said = salvaged(over(at, b"\xff", whole))
    assert b"smuggled" not in content
    assert said.kept >= 98
    assert said.dropped == 101 - said.kept or not said.exact


def test_a_wrong_byte_is_put_right_and_a_right_file_needs_no_repair() -> None:
    out = io.BytesIO()
    said = repaired_rdb(io.BytesIO(over(AT + 3, b"!")), len(WHOLE), out, soon())
    assert (out.getvalue(), said and said.kept) == (WHOLE, 400)
    assert repaired_rdb(io.BytesIO(WHOLE), len(WHOLE), out, soon()) is None
    assert repaired_rdb(io.BytesIO(WHOLE[:-8] + bytes(8)), len(WHOLE), out, soon()) is None


# Marks that damaged bytes may read as, right before an entry: Redis ends on each of them there.
OUT_OF_PLACE = {
    "a database": b"\xfe\x3f",
    "a database that is not sized": b"\xfe\x01",
    "a size": b"\xfb\xbf\xff\xff\xff\0",
    "a function": b"\xf5\x01x",
    "a setting": b"\xfa\x01a\x01b",
    "a type of later versions": NEW_TYPES["hash with expiries"],
}


@pytest.mark.parametrize("name", OUT_OF_PLACE)
def test_what_damaged_bytes_look_like_is_not_taken_where_it_cannot_be(name: str) -> None:
    mark = OUT_OF_PLACE[name]
    # Bytes that nothing can be read from, then the mark, then an entry that is whole.
    copied, said = salvaged(over(AT, b"\xff" * (5 * SIZE - len(mark)) + mark))
    assert [item.kind for item in items(copied) if item.kind != "key"] == ["select", "resize", "select", "eof"]
    # The entry before them is doubtful, too: its length may be damaged.
    assert (said.kept, said.dropped, said.exact) == (394, 6, True)
    assert int(copied[5:9]) == 9


def test_a_file_whose_writer_tells_no_sizes_is_copied_whole() -> None:
    content = rdb(*ENTRIES[:20], b"\xfe\x02", *ENTRIES[20:40])
    copied, said = salvaged(content)
    assert (copied, said.kept) == (content, 40)


def test_the_rdb_at_the_head_of_an_old_file_is_measured() -> None:
    for content, length in ((WHOLE + b"*1\r\n", len(WHOLE)), (b"*1\r\n", 0), (WHOLE[:100], None), (over(AT, b"\x99"), None)):
        assert preamble_length(io.BytesIO(content), len(content), soon()) == length


@settings(max_examples=150)
@given(
    holes=st.lists(st.tuples(st.integers(0, len(WHOLE)), st.binary(min_size=1, max_size=60)), max_size=5),
    cut=st.integers(0, len(WHOLE)) | st.just(len(WHOLE)),
)
def test_any_damage_leaves_a_whole_rdb(holes: list[tuple[int, bytes]], cut: int) -> None:
    data = WHOLE
    for at, what in holes:
        data = over(at, what, data)[: len(WHOLE)]
    data = data[:cut]
    dummy_content, said = salvaged(data)
    assert not said.exact or said.dropped == 400 - said.kept
    repaired_rdb(io.BytesIO(data), len(data), io.BytesIO(), soon())


@settings(max_examples=150)
@given(data=st.lists(st.one_of(st.binary(max_size=20), st.sampled_from([*ENTRIES[:20], *NEW_TYPES.values(), b"REDIS0009"]))).map(b"".join))
def test_any_bytes_leave_a_whole_rdb_or_none(data: bytes) -> None:
    salvaged(data)
    salvaged(b"REDIS0012" + data)


def test_the_time_is_bounded() -> None:
    for tool in (salvage_rdb, repaired_rdb):
        with pytest.raises(OutOfTime):
            tool(io.BytesIO(over(AT, b"!!!!!!!!")), len(WHOLE), io.BytesIO(), time.monotonic() - 1)


@pytest.mark.parametrize("filling", ["hole", "noise", "one value"])
def test_the_memory_is_bounded(tmp_path: Path, filling: str) -> None:
    path, size = tmp_path / "large.rdb", 64 << 20
    with path.open("wb") as file:
        file.write(WHOLE[:AT])
        if filling == "one value":
            file.write(b"\0" + text(b"large") + b"\x80" + size.to_bytes(4, "big"))
        for _turn in range(64 if filling != "noise" else 1):
            if filling == "noise":
                file.write(NOISE[: 1 << 17])
            else:
                file.seek(1 << 20, 1)
        file.write(WHOLE[AT:])
    tracemalloc.start()
    with path.open("rb") as source, (tmp_path / "out").open("wb") as out:
        said = salvage_rdb(source, path.stat().st_size, out, time.monotonic() + 120)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    least, most = {"hole": (399, 400), "noise": (390, 399), "one value": (401, 401)}[filling]
    assert least <= said.kept <= most
    assert peak < 16 << 20
