# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a crash of PostgreSQL may have cost: nothing only where all that is known says so."""

from __future__ import annotations

import os
import struct
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import durability, outcome
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.durability import judge_loss
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wal import segment_name

ON = {
    "fsync": "on", "synchronous_commit": "on", "unlogged_tables": 0, "unlogged_files": 0, "off_for": None, "lsn": "0/5000100",
    "redo_lsn": "0/5000028", "timeline": 1, "system_identifier": "42",
}  # fmt: skip
CRASHED = {"clean": False, "written_to": 0x5000000, "config_changed": False, "fsync": "on", "synchronous_commit": "on"}
CLEAN = dict(CRASHED, clean=True)
KNOWN = {"lsn": "0/4000000", "timeline": 1, "system_identifier": "42", "durable": {"fsync": "on", "synchronous_commit": "on"}}
WEAK = {"fsync": "on", "synchronous_commit": "off", "off_for": None}


@pytest.mark.parametrize(
    ("durable", "ended", "known", "words"),
    [
        (ON, CRASHED, KNOWN, ""),
        (ON, CRASHED, {}, ""),
        (ON, {}, KNOWN, ""),
        (dict(ON, synchronous_commit="local"), CRASHED, KNOWN, ""),
        (dict(ON, synchronous_commit="off"), CRASHED, KNOWN, "synchronous_commit is off"),
        (dict(ON, fsync="off"), CRASHED, KNOWN, "fsync is off"),
        (dict(ON, off_for=["role app"]), CRASHED, KNOWN, "synchronous_commit is off for role app"),
        (ON, CRASHED, dict(KNOWN, durable=dict(WEAK, synchronous_commit="on", off_for=["role app"])), "off for role app"),
        (ON, CRASHED, dict(KNOWN, durable=WEAK), "synchronous_commit was off"),
        (ON, dict(CRASHED, fsync="off"), KNOWN, "fsync was off"),
        (ON, dict(CRASHED, config_changed=True), KNOWN, "its configuration was changed after it had ended"),
        (dict(ON, unlogged_tables=2), CRASHED, KNOWN, "empties its unlogged tables (2 here)"),
        (dict(ON, unlogged_files=1), CRASHED, KNOWN, "empties its unlogged tables"),
        (dict(ON, unlogged_files=None), CRASHED, KNOWN, "cannot be seen in every database"),
        (ON, dict(CRASHED, written_to=0x6000000), KNOWN, "the replay ended at 0/5000028 although its WAL went on to 0/6000000"),
        (ON, CRASHED, dict(KNOWN, lsn="0/5000200"), "older than at the last proven look"),
        (ON, dict(CRASHED, reached=0x3FFFFFF), KNOWN, "older than at the last proven look"),
        (ON, dict(CRASHED, reached=0x4000000), KNOWN, ""),
        (ON, CLEAN, dict(KNOWN, lsn="1/0"), "older than at the last proven look"),
        # Going back on purpose begins a timeline of its own.
        (dict(ON, timeline=2), CRASHED, dict(KNOWN, lsn="1/0"), ""),
        # What lay there before the start was not what the server had left.
        (ON, dict(CLEAN, begun_anew=True), KNOWN, "somebody made a new write-ahead log while it was down"),
        (ON, dict(CRASHED, copied=True), KNOWN, "it is a base backup"),
        (ON, dict(CRASHED, lacks="0" * 23 + "7"), KNOWN, "a file of its write-ahead log is missing (0000"),
        (ON, dict(CRASHED, torn=True), KNOWN, "while full_page_writes was off"),
        (ON, dict(CLEAN, torn=True, lacks="x"), KNOWN, ""),
        # A shutdown writes everything out, whatever the settings for commits and tables.
        (dict(ON, unlogged_tables=2, synchronous_commit="off"), dict(CLEAN, config_changed=True), dict(KNOWN, durable=WEAK), ""),
        (dict(ON, fsync="off"), CLEAN, KNOWN, "fsync is off"),
    ],
)
def test_nothing_is_lost_only_where_everything_known_says_so(durable: t.Any, ended: t.Any, known: t.Any, words: str) -> None:
    loss = judge_loss(durable, ended, known)
    assert (loss.get("count"), bool(loss.get("witness"))) == ((None, False) if words else (0, True)), loss
    assert words in loss.get("text", "")
    assert outcome.seen({"facts": {"durable": durable}}, {"facts": {"ended": ended}}, known)["loss"] == loss


@pytest.mark.parametrize(
    ("ended", "known", "unsure"),
    [
        (dict(CRASHED, config_unsure=50.0), {}, True),
        (dict(CRASHED, config_unsure=50.0), dict(KNOWN, config_loaded_at=40.0), True),
        (dict(CRASHED, config_unsure=50.0), dict(KNOWN, config_loaded_at=60.0), False),
        (dict(CLEAN, config_unsure=50.0), {}, False),
        (dict(CRASHED, config_unsure=0.0), {}, False),
    ],
)
def test_a_configuration_that_nobody_saw_loaded_proves_nothing_and_suspects_nothing(ended: t.Any, known: t.Any, unsure: bool) -> None:
    loss = judge_loss(ON, ended, known)
    assert (loss.get("count"), loss.get("suspected")) == ((None, False) if unsure else (0, None)), loss
    assert ("touched after its start" in loss.get("text", "")) is unsure


def test_what_a_standby_may_lack_its_primary_has() -> None:
    loss = judge_loss(dict(ON, in_recovery=True), dict(CRASHED, copied=True), {})
    assert (loss.get("count"), loss["suspected"]) == (None, False)
    assert "its primary has what it may lack" in loss["text"]


@pytest.mark.parametrize("durable", [{}, dict(ON, fsync=None), dict(ON, synchronous_commit=None)])
def test_a_server_that_does_not_say_how_it_commits_proves_nothing(durable: t.Any) -> None:
    assert judge_loss(durable, CRASHED, KNOWN) == {}


SIZE = 1 << 20
PAGES = SIZE // durability.PAGE


def segment(folder: Path, number: int, pages: t.Mapping[int, tuple[int, int]], shift: int = 0) -> None:
    """Write a segment whose *pages* are {page: (info, rest of a record)}; with *shift* it is a recycled one."""
    body = bytearray(SIZE)
    for page, (info, rest) in pages.items():
        address = number * SIZE + page * durability.PAGE - shift
        struct.pack_into("=HHIQI", body, page * durability.PAGE, 0xD110, info, 1, address, rest)
    (folder / f"00000001{number // 4096:08X}{number % 4096:08X}").write_bytes(body)


WHOLE = dict.fromkeys(range(PAGES), (0, 0))
HALF = dict.fromkeys(range(10), (0, 0))


@pytest.mark.parametrize(
    ("last", "shift", "number", "page"),
    [
        (HALF, 0, 6, 9),
        ({**HALF, 4: (0, 0)}, 0, 6, 9),
        ({page: HALF[page] for page in HALF if page != 5}, 0, 6, 9),
        # Pages in the middle of a record that the crash cut off.
        ({**HALF, 8: (1, 20000), 9: (1, 12000)}, 0, 6, 7),
        ({**HALF, 9: (1, 100)}, 0, 6, 9),
        # A recycled segment.
        (WHOLE, 4 * SIZE, 5, PAGES - 1),
    ],
)
def test_where_wal_was_written_to_is_found_behind_a_damaged_page(tmp_path: Path, last: t.Any, shift: int, number: int, page: int) -> None:
    segment(tmp_path, 5, WHOLE)
    segment(tmp_path, 6, last, shift)
    assert durability.load_written_to(str(tmp_path), 1, SIZE) == number * SIZE + page * durability.PAGE
    assert durability.load_written_to(str(tmp_path), 2, SIZE) == 0


def filled(folder: Path, number: int) -> None:
    """Let the last page of a segment go on up to its end."""
    with (folder / f"00000001{number // 4096:08X}{number % 4096:08X}").open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"x" * 8)


@pytest.mark.parametrize(
    ("there", "goes_on", "lacks"),
    [
        ((5, 6), False, ""),
        # The server had just switched to the next one.
        ((5,), False, ""),
        ((5,), True, 6),
        ((5, 7), False, 6),
    ],
)
def test_the_newest_file_of_the_wal_is_missed(tmp_path: Path, there: tuple[int, ...], goes_on: bool, lacks: t.Any) -> None:
    for number in there:
        segment(tmp_path, number, WHOLE, 0 if number == 5 else 4 * SIZE)
    if goes_on:
        filled(tmp_path, 5)
    found = durability.load_lacking(str(tmp_path), 1, SIZE, durability.load_written_to(str(tmp_path), 1, SIZE))
    assert found == (segment_name(1, lacks, SIZE) if lacks else "")


@pytest.mark.parametrize(
    ("number", "offset", "before", "anew"), [(5, 40, 0, True), (5, 40, 7, False), (5, 48, 0, False), (1, 40, 0, False)]
)
def test_a_new_wal_is_seen(tmp_path: Path, number: int, offset: int, before: int, anew: bool) -> None:
    name = segment_name(1, number, SIZE)
    (tmp_path / name).write_bytes(b"\1" * offset + b"\0" * 8 + struct.pack("=Q", before) + b"\1" * 8)
    control = {"redo_lsn": "0/%X" % (number * SIZE + offset), "redo_file": name}
    assert durability.is_begun_anew(str(tmp_path), control, SIZE) is anew
    assert durability.is_begun_anew(str(tmp_path / "nowhere"), control, SIZE) is False


def test_unlogged_relations_of_every_database_are_counted(tmp_path: Path) -> None:
    for name in ("base/5/16384", "base/6/16385_init", "base/6/16385"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert durability.load_unlogged(str(tmp_path)) == 1
    assert durability.load_unlogged(str(tmp_path / "nowhere")) is None


def test_a_configuration_changed_after_the_end_is_seen(tmp_path: Path) -> None:
    (tmp_path / "pg_wal").mkdir()
    wal = tmp_path / "pg_wal" / "000000010000000000000001"
    wal.touch()
    config = tmp_path / "postgresql.conf"
    config.touch()
    effective = {"files": [str(config)], "settings": {"fsync": {"value": "off"}}}
    for at, changed in ((config.stat().st_ctime + 5, False), (config.stat().st_ctime - 5, True)):
        os.utime(wal, (at, at))
        found = durability.load_end(str(tmp_path), effective, {"state": "in production"}, {"folder": str(tmp_path / "pg_wal")})
        assert (found["config_changed"], found["fsync"], found["synchronous_commit"], found["clean"]) == (changed, "off", "on", False)
