# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of log lines in every format that we read, and the window that a person asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.times import (
    Window,
    minute_end,
    moment_of,
    rfc3339,
    time_of,
    window_of,
)

# 2026-12-01T03:04:05Z
AT = 1796094245
NOW = AT + 600


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"2026-12-01T03:04:05Z x", AT),
        (b"2026-12-01T04:04:05+01:00 x", AT),
        (b"2026-12-01T04:04:05+0100 x", AT),
        (b"2026-12-01T03:04:05.678Z x", AT + 0.678),
        (b"2026-12-01 03:04:05,678 - somabrain - ERROR - x", AT + 0.678),
        (b"[2026-12-01 03:04:05 +0000] [7] [ERROR] worker", AT),
        (b"2026-12-01 03:04:05.678 UTC [12] FATAL:  sorry, too many clients already", AT + 0.678),
        (b"2026/12/01 03:04:05 [error] 7#7: *1 connect() failed", AT),
        (b'10.0.0.1 - - [01/Dec/2026:03:04:05 +0000] "GET / HTTP/1.1" 500', AT),
        (b"7:M 01 Dec 2026 03:04:05.678 # Out Of Memory", AT + 0.678),
        (b"Dec  1 03:04:05 host kernel: Out of memory", AT),
        (b"<3>Dec  1 03:04:05 host kernel: x", AT),
        (b"1796094245.678 x", AT + 0.678),
        (b"1796094245678 x", AT + 0.678),
        (b'{"ts":1796094245.5,"level":"error"}', AT + 0.5),
        (b'{"level":"error","time":"2026-12-01T03:04:05Z","msg":"x"}', AT),
        (b"level=error ts=2026-12-01T03:04:05Z msg=x", AT),
        (b"2026-12-01T03:04:05.123456+00:00 host redis[7]: x", AT + 0.123456),
        (b"", None),
        (b"no time at all", None),
        (b"    raise ValueError", None),
        (b"2026-13-01T03:04:05Z", None),
        (b"2026-02-30T03:04:05Z", None),
        (b"2026-12-01T25:04:05Z", None),
        (b"Feb 30 03:04:05 host x", None),
        (b"order 1796094245 of tenant", None),
        (b"\xff\xfe\0", None),
    ],
)
def test_the_time_of_a_line(line: bytes, wanted: float | None) -> None:
    found = time_of(line, NOW, utc=True)
    assert found == wanted if wanted is None else found == pytest.approx(wanted, abs=0.001)


def test_a_time_without_a_year_is_the_last_one() -> None:
    assert rfc3339(time_of(b"Dec 31 23:59:59 host x", NOW, utc=True)) == "2025-12-31T23:59:59Z"
    assert rfc3339(time_of(b"Dec  1 23:59:59 host x", NOW, utc=True)) == "2026-12-01T23:59:59Z"
    assert rfc3339(time_of(b"Feb 29 01:00:00 host x", NOW, utc=True)) == "2024-02-29T01:00:00Z"


@given(st.binary(max_size=200))
def test_no_line_breaks_it(line: bytes) -> None:
    assert time_of(line, NOW) is None or minute_end(line) > 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("15m", NOW - 900),
        ("90s", NOW - 90),
        ("2h", NOW - 7200),
        ("1d", NOW - 86400),
        ("2026-12-01T03:04:05Z", AT),
        ("2026-12-01 04:04:05+01:00", AT),
    ],
)
def test_a_moment_that_a_person_gives(text: str, wanted: float) -> None:
    assert moment_of(text, "since", NOW) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2024-10-16 14:25:00", "since is 2024-10-16 14:25:00, which has no time zone"),
        ("2024-10-16T14:25:00", "write 2024-10-16T14:25:00Z for UTC"),
        ("yesterday", "since is 'yesterday', which is no time"),
        ("15", "no time"),
        ("2026-02-30T03:04:05Z", "no date or hour that exists"),
        ("$(id)\x1b[31m", "\\x1b"),
    ],
)
def test_a_moment_that_is_none_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(StepError) as error:
        moment_of(text, "since", NOW)
    assert words in str(error.value)
    assert str(error.value).isprintable()


def test_the_window() -> None:
    window = window_of("15m", "5m", NOW)
    assert [window.holds(at) for at in (NOW - 901, NOW - 900, NOW - 301, NOW - 300)] == [False, True, True, False]
    assert window_of("", "", NOW) == Window()
    with pytest.raises(StepError, match="is not after"):
        window_of("5m", "15m", NOW)
