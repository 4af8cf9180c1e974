# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A master under supervisor came up empty beside a full replica: what holds after recover-redis."""

from __future__ import annotations

import typing as t


def test_the_data_come_from_the_replica(host: t.Any, story: t.Any) -> None:
    assert story.told() == ("recovered", ["isolate", "mend", "start"], "up_but_empty", "up")
    assert "RUNNING" in host.check_output("supervisorctl status redis")


def test_the_replica_kept_every_key(host: t.Any, story: t.Any) -> None:
    names = " ".join(f"story:{number}" for number in range(60))
    assert host.check_output(f"redis-cli -p 6381 exists {names}") == "60"
