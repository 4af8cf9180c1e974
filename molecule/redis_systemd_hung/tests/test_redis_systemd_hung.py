# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis under systemd is stopped by a signal: what holds after recover-redis."""

from __future__ import annotations

import typing as t


def test_redis_goes_on_as_the_same_process(host: t.Any, story: t.Any) -> None:
    assert story.told() == ("recovered", ["continue"], "hung", "up")
    assert story.process(6379) == story.before()[0]
    assert host.service("redis-server").is_running
