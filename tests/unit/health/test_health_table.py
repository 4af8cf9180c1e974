# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a verification: what is not well first, never wider or longer than a screen, and nothing left out uncounted."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.table import table_of


def seen(name: str, health: str = "well", text: str = "fine", state: str = "up", **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "health": health, "state": state, "seconds": 0.014, "findings": [{"text": text, "state": health}], **more}


def test_what_is_not_well_comes_first_and_a_single_host_is_not_named() -> None:
    lines = table_of({"lab": [seen("disk", state=""), seen("redis", "sick", "it is down", "down_clean"), seen("clock", "unknown", "?")]})
    assert [line.split() for line in lines] == [
        ["component", "health", "state", "seconds", "what", "was", "seen"],
        ["redis", "sick", "down_clean", "0.01", "it", "is", "down"],
        ["clock", "unknown", "up", "0.01", "?"],
        ["disk", "well", "-", "0.01", "fine"],
    ]


def test_several_hosts_have_a_column_and_long_or_hostile_text_stays_in_its_line() -> None:
    lines = table_of({"a" * 50: [seen("n" * 60, "sick", "x\n\x1b[2Jy " * 60)], "b": [seen("redis", text="password=hunter2")]})
    assert all(len(line) <= 100 and "\x1b" not in line and "\n" not in line for line in lines)
    assert lines[0].split()[:2] == ["component", "host"]
    assert "hunter2" not in "".join(lines)


def test_endpoints_that_are_well_are_one_line_and_one_that_is_not_is_named() -> None:
    paths = [seen("endpoint /%d" % number, state="up") for number in range(6)]
    lines = table_of({"api": [*paths, seen("endpoint /recall", "sick", "answers 500")]})
    assert [line.split()[:2] for line in lines[1:]] == [["endpoint", "/recall"], ["endpoints", "well"]]
    assert lines[2].endswith("6 of 7 answer as expected")
    assert table_of({"api": paths[:1]})[1].startswith("endpoint /0")


def test_more_than_a_screen_shows_what_is_not_well_and_counts_the_rest() -> None:
    many = {"h%d" % number: [seen("redis"), seen("disk", "sick" if number < 30 else "well")] for number in range(40)}
    lines = table_of(many, 24)
    assert len(lines) == 27
    assert lines[-2:] == ["and 6 more that are not well", "and 50 that are well"]
    assert table_of({"a": [seen("x%d" % number) for number in range(30)]})[1:] == ["and 30 that are well"]


def test_what_was_left_out_is_no_row_and_what_is_beside_says_so() -> None:
    lines = table_of({"a": [seen("canary", "unknown", facts={"left_out": True}), seen("api", "sick", "down", beside="restart_service")]})
    assert len(lines) == 2
    assert lines[1].endswith("beside it: down")
    assert table_of({"a": []}) == table_of({}) == []
