# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis under supervisor is killed: what holds after recover-redis."""

from __future__ import annotations

import typing as t


def test_redis_is_started_again(host: t.Any, story: t.Any) -> None:
    assert story.told() == ("recovered", ["start"], "down_clean", "up")
    assert story.process(6379) != story.before()[0]
    assert "RUNNING" in host.check_output("supervisorctl status redis")
