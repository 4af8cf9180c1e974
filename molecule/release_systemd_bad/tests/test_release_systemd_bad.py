# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bad release under systemd: what holds after rollback."""

from __future__ import annotations

import typing as t


def test_the_release_that_passed_runs_and_answers(host: t.Any, service_story: t.Any) -> None:
    good, bad = host.file("/var/tmp/releases").content_string.split()
    assert service_story.told() == ("recovered", ["switch"], "to_roll_back", "up")
    assert host.file("/srv/toy/current").linked_to == f"/srv/toy/releases/{good}"
    pid = host.check_output("systemctl show --property=MainPID --value toy-api.service")
    assert host.check_output(f"readlink /proc/{pid}/cwd") == f"/srv/toy/releases/{good}"
    # What was bad stays for a person to look at, and the outcome says how to go there.
    assert host.file(f"/srv/toy/releases/{bad}").is_directory
    assert bad in service_story.outcome()["undo"]
