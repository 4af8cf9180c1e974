# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Five values of Redis were corrupt for certain: what was planned, what was removed under approval, what the undo brought back."""

from __future__ import annotations

import json
import shlex
import typing as t


def test_the_first_run_confirms_removes_nothing_and_asks(story: t.Any) -> None:
    assert story.told("planned")[:3] == ("refused", ["confirm"], "failing")
    reason = story.outcome("planned")["reasons"][0]
    assert (reason["code"], reason["plans"][0]["loss"]) == ("approval_needed", {"count": 5, "unit": "keys", "exact": True})


def test_the_second_removes_what_was_confirmed_and_tells_the_loss(host: t.Any, story: t.Any) -> None:
    assert story.told() == ("recovered_with_loss", ["confirm", "clear"], "failing", "passing")
    loss = story.outcome()["loss"]
    assert (loss["count"], loss["exact"], loss["approved"]) == (5, True, True)
    # When planned, afterwards, how many of the corrupt ones, and of the others with the pattern.
    assert host.file("/var/tmp/keys-seen").content_string.split() == ["86", "81", "0", "21"]


def test_the_undo_brings_back_the_same_bytes(host: t.Any, story: t.Any) -> None:
    values = host.check_output("redis-cli mget " + " ".join(f"feature:bad:{number}" for number in range(5)))
    assert values.splitlines() == [f'{{"torn {number}' for number in range(5)]
    assert host.check_output("redis-cli ttl feature:bad:0") == "-1"
    assert story.process(6379) == story.before()[0]


def test_the_kept_values_are_private(host: t.Any, story: t.Any) -> None:
    kept = host.file(json.loads(shlex.split(story.outcome()["undo"])[-1])["kept_file"])
    assert (kept.is_file, kept.mode, kept.user) == (True, 0o600, "root")
