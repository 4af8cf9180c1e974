# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw counts are those of the runbook's own pipeline, byte for byte, whatever the bytes are and however few lines fit in memory."""

from __future__ import annotations

import os
import random
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.exact import Exact
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.lines import RAW, WIDE
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.scan import LONG, Long, Scan, gnu_grep, lines_of, matched
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.sources import Part
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import Window

PIPELINE = 'LC_ALL=C; export LC_ALL; grep -aE "(ERROR|FATAL|Exception)" "$1" | sort | uniq -c | sort -nr'
# Lines that collide often, and every byte but the newline.
WORDS = [
    b"ERROR",
    b"FATAL",
    b"Exception",
    b"INFO",
    b"ERR",
    b"\0",
    b"\xff\xfe",
    b" ",
    b"\t",
    b"1",
    b"10",
    b"\r",
    "ü".encode(),
    b"{{ x }}",
    b"$(id)",
]
LINES = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(b"".join), max_size=40)


def pipeline(path: Path) -> list[tuple[int, bytes]]:
    """Return what the runbook's commands print, as (count, line)."""
    out = subprocess.run(["sh", "-c", PIPELINE, "sh", str(path)], capture_output=True, check=True).stdout
    found = []
    for line in out.split(b"\n")[:-1]:
        count, _space, text = line.lstrip(b" ").partition(b" ")
        found.append((int(count), text))
    return found


def part_of(path: Path, start: int = 0) -> Part:
    return Part(0, str(path), "plain", str(path), start, os.path.getsize(path))


def found_in(path: Path, words: t.Sequence[bytes] = RAW, grep: str = "", parts: t.Sequence[Part] = ()) -> t.Iterator[list[bytes]]:
    scan = Scan(parts or [part_of(path)], words, Window(), time.time(), time.monotonic() + 60, lanes=2, grep=grep)
    for batch in scan:
        if batch.lines:
            yield batch.lines.split(b"\n")


def ours(path: Path, grep: str, top: int = 1000, **limits: t.Any) -> tuple[list[tuple[int, bytes]], int]:
    exact = Exact(top, **limits)
    for lines in found_in(path, grep=grep):
        exact.add(lines)
    return exact.result(lambda: found_in(path, grep=grep))


GREPS = ["", gnu_grep()]


@pytest.mark.parametrize("grep", GREPS, ids=["python", "grep"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, ended=st.booleans(), few=st.integers(0, 5), hashes=st.integers(1, 30), top=st.integers(1, 12))
def test_counts_and_order_are_those_of_the_pipeline(
    grep: str, lines: list[bytes], ended: bool, few: int, top: int, hashes: int, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\n".join(lines) + b"\n" * ended)
    wanted = pipeline(path)
    assert ours(path, grep, top, lines=few, hashes=hashes) == (wanted[:top], len(wanted))


def generated(path: Path, count: int, different: int, seed: int) -> None:
    """Write *count* lines, a third of them with a word of the runbook, of which *different* can differ."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        for _number in range(count):
            word = chance.choice([b"ERROR", b"INFO", b"DEBUG", b"FATAL", b"INFO", b"WARNING x.Exception:"])
            file.write(b"2026-12-01 03:00:00 %s request %d of tenant failed after\xff ms\n" % (word, chance.randrange(different)))


@pytest.mark.parametrize("grep", GREPS, ids=["python", "grep"])
@pytest.mark.parametrize(
    ("different", "limits"),
    [(20, {}), (10**9, {}), (20, {"lines": 10}), (3000, {"lines": 100}), (10**9, {"lines": 1000}), (10**9, {"room": 10000})],
    ids=["few", "all differ", "few as hashes", "many as hashes", "all differ as hashes", "little room"],
)
def test_a_generated_log_is_counted_as_by_the_pipeline(grep: str, different: int, limits: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "log"
    generated(path, 60000, different, len(limits) + different % 7)
    wanted = pipeline(path)
    for top in (5, 50):
        assert ours(path, grep, top, **limits) == (wanted[:top], len(wanted))


def test_lines_that_are_equal_far_apart_are_found_by_reading_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [b"ERROR %06d" % number for number in range(30000)]
    path.write_bytes(b"\n".join(lines + lines[100:103] + lines[101:102]) + b"\n")
    assert ours(path, "", 5, lines=10)[0] == pipeline(path)[:5]
    # Ties beyond the top: only those that sort last are wanted.
    path.write_bytes(b"\n".join(lines + lines[:500]) + b"\n")
    assert ours(path, "", 7, lines=10)[0] == pipeline(path)[:7]


@pytest.mark.parametrize("different", [50, 9000, 10**9])
def test_more_lines_than_hashes_fit_are_counted_by_reading_again(different: int, tmp_path: Path) -> None:
    path = tmp_path / "log"
    generated(path, 20000, different, 11)
    wanted = pipeline(path)
    for top in (3, 40):
        assert ours(path, gnu_grep(), top, lines=10, hashes=3000) == (wanted[:top], len(wanted))


def test_a_real_log_of_this_machine_is_counted_as_by_the_pipeline(tmp_path: Path) -> None:
    for name in ("/var/log/dpkg.log", "/var/log/apt/history.log", "/var/log/syslog", "/usr/share/perl/5.36.0/pod/perldiag.pod", __file__):
        if os.path.isfile(name) and os.access(name, os.R_OK):
            wanted = pipeline(Path(name))
            assert ours(Path(name), gnu_grep()) == (wanted[:1000], len(wanted))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block=st.lists(st.sampled_from([*WIDE, b"\n", b"x", b"\0", b"\xfe", b"\r"]), max_size=60).map(b"".join))
def test_python_finds_what_grep_finds(block: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(block)
    both = [[line for lines in found_in(path, WIDE, grep) for line in lines] for grep in GREPS]
    assert both[0] == both[1]
    assert both[0] == [line for line in block.split(b"\n") if any(word in line for word in WIDE)]


@given(pieces=st.lists(st.binary(max_size=20), max_size=30))
def test_blocks_are_the_bytes_cut_at_newlines(pieces: list[bytes]) -> None:
    blocks = list(lines_of(pieces, RAW))
    assert all(isinstance(block, bytes) and block for block in blocks)
    assert b"".join(t.cast("list[bytes]", blocks)) == b"".join(pieces)
    assert all(t.cast(bytes, block).endswith(b"\n") for block in blocks[:-1])


@pytest.mark.parametrize("grep", GREPS, ids=["python", "grep"])
def test_a_line_longer_than_fits_is_one_line(grep: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    # The word is across two pieces of what is read.
    long = b"x" * (3 * LONG - 2) + b"ERROR" + b"y" * LONG
    path.write_bytes(b"ERROR one\n" + long + b"\nno\nERROR two\n" + b"z" * (2 * LONG))
    scan = Scan([part_of(path)], RAW, Window(), time.time(), time.monotonic() + 60, grep=grep)
    batches = list(scan)
    longs = [batch.long for batch in batches if batch.long]
    assert [(one.length, one.raw, one.head[:2]) for one in longs] == [(len(long), True, b"xx"), (2 * LONG, False, b"zz")]
    assert sorted(line for batch in batches if batch.lines for line in batch.lines.split(b"\n")) == [b"ERROR one", b"ERROR two"]


def test_equal_long_lines_are_the_same_line() -> None:
    def one(text: bytes) -> Long:
        return t.cast(Long, next(lines_of([text[at : at + 70000] for at in range(0, len(text), 70000)], RAW)))

    text = b"a" * (LONG + 100) + b"FATAL"
    assert one(text) == one(text)
    assert one(text).digest != one(text[:-1]).digest
    assert (one(text).raw, one(text[:-1]).raw) == (True, False)


def test_a_word_at_either_end_of_a_block_is_found() -> None:
    assert matched(b"ERROR", RAW) == [b"ERROR"]
    assert matched(b"\nERROR\n", RAW) == [b"ERROR"]
    assert matched(b"", RAW) == []
    assert matched(b"ERROR FATAL Exception\nx\nFATAL", RAW) == [b"ERROR FATAL Exception", b"FATAL"]
