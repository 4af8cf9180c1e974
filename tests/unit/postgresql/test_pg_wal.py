# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our own count of WAL segments: names of every size, timelines, partial ones, gaps at every place."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import wal

HASH = "-3c33e406d1135a8df589c9d565e6f55599590352"
KIB64 = 64 * 1024 * 1024


def listing(*names: str, size: int = wal.SEGMENT_BYTES) -> wal.Archive:
    return wal.read_archive({f"{name[:16]}/{name}": {"type": "file", "time": 100 + at} for at, name in enumerate(names)}, size)


def segments(timeline: int, *numbers: int, size: int = wal.SEGMENT_BYTES) -> list[str]:
    return [wal.segment_name(timeline, number, size) + HASH for number in numbers]


def judge(archive: wal.Archive, start: int = 2, timeline: int = 1, history: t.Sequence[tuple[int, int]] = (), **more: t.Any) -> t.Any:
    begin = more.pop("begin", 1)
    name = wal.segment_name(begin, start, more.get("size", wal.SEGMENT_BYTES))
    return wal.judge_contiguity(archive, name, timeline, history, **more)


@pytest.mark.parametrize(
    ("timeline", "number", "size", "name"),
    [
        (1, 2, wal.SEGMENT_BYTES, "000000010000000000000002"),
        (1, 255, wal.SEGMENT_BYTES, "0000000100000000000000FF"),
        (1, 256, wal.SEGMENT_BYTES, "000000010000000100000000"),
        (26, 63, KIB64, "0000001A000000000000003F"),
        (26, 64, KIB64, "0000001A0000000100000000"),
        (1, 4095, 1024 * 1024, "000000010000000000000FFF"),
    ],
)
def test_a_name_and_its_number_are_one_and_the_same_for_every_size(timeline: int, number: int, size: int, name: str) -> None:
    assert wal.segment_name(timeline, number, size) == name
    assert wal.parse_segment(name, size) == (timeline, number)


@pytest.mark.parametrize(
    "name", ["", "x", "00000001000000000000000", "000000010000000000000100", "00000001.history", "../000000010000000000"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name"):
        wal.parse_segment(name)


def test_what_is_no_segment_is_left_out() -> None:
    archive = wal.read_archive(
        {
            ".": {"type": "path"},
            "0000000100000000": {"type": "path"},
            "0000000100000000/000000010000000000000002" + HASH + ".lz4": {"type": "file", "time": 7},
            "0000000100000000/000000010000000000000003.partial" + HASH: {"type": "file", "time": 8},
            "0000000100000000/000000010000000000000002.00000028.backup": {"type": "file", "time": 9},
            "0000000100000000/000000010000000000000004": {"type": "file", "time": 9},
            "00000002.history": {"type": "file", "time": 9},
            "archive.info": {"type": "file"},
        }
    )
    assert archive == ({(1, 2): 7.0}, {(1, 3): 8.0}, frozenset({2}))
    assert wal.timelines(archive) == [1, 2]


@pytest.mark.parametrize(
    ("numbers", "whole", "missing", "last"),
    [
        ((2, 3, 4), True, (), "000000010000000000000004"),
        ((1, 2, 3, 4), True, (), "000000010000000000000004"),
        ((2,), True, (), "000000010000000000000002"),
        ((3, 4), False, ("000000010000000000000002",), ""),
        ((2, 4), False, ("000000010000000000000003",), "000000010000000000000002"),
        ((2, 3, 6), False, ("000000010000000000000004", "000000010000000000000005"), "000000010000000000000003"),
        ((), False, ("000000010000000000000002",), ""),
    ],
)
def test_a_gap_is_named_wherever_it_is(numbers: tuple[int, ...], whole: bool, missing: tuple[str, ...], last: str) -> None:
    found = judge(listing(*segments(1, *numbers)))
    assert (found.whole, found.missing, found.last) == (whole, missing, last)
    assert found.lost == len(missing)


def test_only_the_first_of_many_are_named_and_all_are_counted() -> None:
    found = judge(listing(*segments(1, 2, 300)))
    assert (len(found.missing), found.lost, found.checked) == (wal.MOST_NAMED, 297, 299)


def test_a_partial_segment_is_no_whole_one() -> None:
    found = judge(listing(*segments(1, 2, 4), "000000010000000000000003.partial" + HASH))
    assert found.missing == ("000000010000000000000003 (only .partial)",)


def test_the_way_leads_over_timelines_and_the_child_has_the_segment_in_which_it_began() -> None:
    history = wal.read_history("1\t0/5000148\tno recovery target specified\n\n")
    assert history == [(1, 5)]
    archive = listing(*segments(1, 2, 3, 4), *segments(2, 5, 6), "00000002.history")
    assert judge(archive, timeline=2, history=history).whole
    # What the old timeline went on to write is not needed; a hole in what is, is seen.
    assert judge(listing(*segments(1, 2, 3, 4, 9), *segments(2, 5, 6), "00000002.history"), timeline=2, history=history).whole
    gone = listing(*segments(1, 2, 4), *segments(2, 5, 6), "00000002.history")
    assert judge(gone, timeline=2, history=history).missing == ("000000010000000000000003",)
    late = listing(*segments(1, 2, 3, 4, 5), *segments(2, 6), "00000002.history")
    assert judge(late, timeline=2, history=history).missing == ("000000020000000000000005",)


def test_two_forks_on_the_way() -> None:
    history = [(1, 3), (2, 5)]
    archive = listing(*segments(1, 2), *segments(2, 3, 4), *segments(3, 5, 6), "00000002.history", "00000003.history")
    assert judge(archive, timeline=3, history=history).whole
    assert judge(archive, begin=2, start=3, timeline=3, history=history).checked == 4


def test_a_history_that_is_not_there_or_leads_elsewhere_is_told() -> None:
    assert judge(listing(*segments(1, 2, 3), *segments(2, 4)), timeline=2).missing == ("00000002.history",)
    with pytest.raises(ValueError, match="does not descend"):
        judge(listing(*segments(4, 2), "00000004.history"), timeline=4, history=[(3, 2)])


def test_the_size_of_a_segment_is_known() -> None:
    archive = listing(*segments(1, 62, 63, 64, 65, size=KIB64), size=KIB64)
    assert judge(archive, start=62, size=KIB64).whole
    assert judge(listing(*segments(1, 62, 63, 65, size=KIB64), size=KIB64), start=62, size=KIB64).missing == ("000000010000000100000000",)


@pytest.mark.parametrize(("lsn", "number"), [("0/2000028", 2), ("0/FFFFFFFF", 255), ("1/0", 256), ("A/1000000", 2561)])
def test_a_place_lies_in_a_segment(lsn: str, number: int) -> None:
    assert wal.segment_of(lsn) == number
