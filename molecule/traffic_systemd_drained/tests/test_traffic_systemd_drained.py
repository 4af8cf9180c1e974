# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server drained for a time: who answered meanwhile, and who does after its end."""

from __future__ import annotations

import typing as t

ASK = "'import urllib.request; print(urllib.request.urlopen(\"http://127.0.0.1/\").read().decode())'"


def test_the_drained_server_got_no_request_and_the_last_one_was_not_drained(host: t.Any, traffic_story: t.Any) -> None:
    assert (traffic_story.outcome()["outcome"], traffic_story.outcome()["acts"][0]["action"]) == ("recovered", "shift")
    assert host.file("/var/tmp/answers").content_string.split() == ["api1"] * 8
    last = traffic_story.outcome("last")
    assert (last["outcome"], last["reasons"][0]["code"]) == ("refused", "last_server")


def test_after_its_end_both_answer_again_by_a_run_of_its_own(host: t.Any, traffic_story: t.Any) -> None:
    assert traffic_story.outcome("ended")["outcome"] == "recovered"
    answers = host.check_output(f"for turn in 1 2 3 4 5 6 7 8; do python3 -c {ASK}; done").split()
    assert (answers.count("api1"), answers.count("api2")) == (4, 4)
    written = host.file("/etc/nginx/somabrain/upstream.conf").content_string
    assert "drain" not in written
    assert "down" not in written
