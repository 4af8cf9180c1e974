# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis under supervisor may not write its data directory any more: what holds after recover-redis."""

from __future__ import annotations

import typing as t


def test_redis_is_rescued_mended_and_saved_without_a_restart(host: t.Any, story: t.Any) -> None:
    assert story.told() == ("recovered", ["rescue", "fix_cause", "save"], "misconf_rdb", "up")
    assert story.process(6379) == story.before()[0]
    assert "RUNNING" in host.check_output("supervisorctl status redis")


def test_the_copy_and_the_saved_file_are_there(host: t.Any, story: t.Any) -> None:
    assert host.check_output("find /var/tmp/rescue -name '*.rdb' -perm 600 | wc -l") == "1"
    assert host.file("/var/lib/redis/dump.rdb").exists
    assert host.file("/var/lib/redis").user == "redis"
