# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a log is read within limits, from the newest file, and only what the last start wrote counts."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._system import log


def test_the_tail_of_a_log_is_capped_and_a_pipe_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 1_000_000 + b"\nlast\n")
    assert log.last_lines(log.tail_of(str(tmp_path / "log")), 1) == b"last\n"
    assert log.tail_of(str(tmp_path / "log"), limit=1000) == b"x" * 994 + b"\nlast\n"
    os.mkfifo(tmp_path / "pipe")
    begun = time.monotonic()
    for name in ("pipe", "none", "", "\0"):
        assert log.tail_of(str(tmp_path / name)) == b""
    assert log.tail_of("/dev/zero") == b""
    assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize(("lines", "kept"), [(0, b""), (-1, b""), (1, b"c"), (2, b"b\nc"), (9, b"a\nb\nc")])
def test_the_last_lines_are_kept(lines: int, kept: bytes) -> None:
    assert log.last_lines(b"a\nb\nc", lines) == kept


def test_of_several_files_the_one_written_last_counts(tmp_path: Path) -> None:
    for age, name in enumerate(("b.log", "c.log", "a.log")):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert log.newest(str(tmp_path / "*.log")) == str(tmp_path / "b.log")
    assert log.written_at(str(tmp_path / "b.log")) == 1000
    assert (log.newest(str(tmp_path / "*.txt")), log.newest(""), log.written_at(str(tmp_path / "none"))) == ("", "", 0.0)


@pytest.mark.parametrize(("text", "last"), [("", ""), ("old", "old"), ("old START new", "START new"), ("START a START b", "START b")])
def test_what_an_earlier_start_wrote_does_not_count(text: str, last: str) -> None:
    assert log.since_last(text, "START") == last


def test_each_kind_has_its_last_line_without_secrets() -> None:
    kinds = (("full", re.compile("No space")), ("full", re.compile("ENOSPC")), ("denied", re.compile("denied")))
    lines = ["No space 1", "denied: password=hunter22", "ENOSPC 2", "all is well"]
    assert log.last_of_each(lines, kinds) == {"full": "ENOSPC 2", "denied": "denied: password=[redacted]"}
