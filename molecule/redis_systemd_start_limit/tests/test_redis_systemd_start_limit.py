# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis hit the start limit of systemd and its cause is gone: what holds after recover-redis."""

from __future__ import annotations

import typing as t


def test_one_reset_and_one_start_bring_it_back(host: t.Any, story: t.Any) -> None:
    assert story.told() == ("recovered", ["reset_failed", "start"], "down_crash_loop", "up")
    assert host.service("redis-server").is_running
    assert host.check_output("systemctl show --property=NRestarts --value redis-server.service") == "0"
