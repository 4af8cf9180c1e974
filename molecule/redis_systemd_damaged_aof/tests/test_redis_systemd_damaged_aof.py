# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The append-only file of Redis was damaged in the middle, and systemd started it again and again: what holds after recover-redis."""

from __future__ import annotations

import typing as t


def test_the_storm_is_ended_and_all_but_the_damaged_command_is_there(host: t.Any, story: t.Any) -> None:
    assert story.told() == ("recovered_with_loss", ["hold", "mend", "start"], "down_bad_file", "up")
    assert host.check_output("redis-cli exists kept:0 damaged:0") == "1"
    loss = story.outcome()["loss"]
    # The name of the lost command cannot be read any more: 1 is the most that is lost.
    assert (loss["count"], loss["exact"], loss["approved"]) == (1, False, True)


def test_systemd_is_let_free_again(host: t.Any, story: t.Any) -> None:
    assert host.service("redis-server").is_running
    assert host.check_output("systemctl show --property=Restart --value redis-server.service") == "always"


def test_the_old_files_and_their_copy_are_kept(host: t.Any, story: t.Any) -> None:
    run_id = story.outcome()["run_id"]
    kept = host.check_output(f"cat /var/lib/redis/before-{run_id}/old/appendonlydir/*.incr.aof | sha256sum")
    assert kept == host.check_output(f"cat /var/tmp/rescue/{run_id}/copy/appendonlydir/*.incr.aof | sha256sum")
