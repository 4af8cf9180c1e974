# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients kept out and let in again: what holds after restore-traffic."""

from __future__ import annotations

import typing as t

ASK = "'import urllib.request; print(urllib.request.urlopen(\"http://127.0.0.1/\").read().decode())'"


def test_clients_were_told_when_to_come_back_even_after_a_reload(host: t.Any, traffic_story: t.Any) -> None:
    assert host.file("/var/tmp/retry_after").content_string == "120\n"
    assert traffic_story.outcome("closed")["acts"][0]["action"] == "enter_maintenance"


def test_both_servers_answer_clients_again_and_the_spare_one_does_not(host: t.Any, traffic_story: t.Any) -> None:
    outcome = traffic_story.outcome()
    assert (outcome["outcome"], outcome["after"]["state"]) == ("recovered", "restored")
    # Each step passed its gate: one act, and a part of it for each of the others.
    assert [act["action"] for act in outcome["acts"]] == ["restore"]
    answers = host.check_output(f"for turn in 1 2 3 4 5 6 7 8; do python3 -c {ASK}; done").split()
    assert (answers.count("api1"), answers.count("api2")) == (4, 4)
    assert host.file("/etc/haproxy/maintenance.map").content_string == ""


def test_a_second_run_has_nothing_to_do(traffic_story: t.Any) -> None:
    assert traffic_story.outcome("again")["outcome"] == "nothing_to_do"
