# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service hit the start limit of systemd and its cause is gone: what holds after restart-service."""

from __future__ import annotations

import typing as t


def test_one_reset_and_one_start_bring_it_back(host: t.Any, service_story: t.Any) -> None:
    assert service_story.told() == ("recovered", ["reset_failed", "start"], "start_limit", "up")
    assert host.service("toy-api").is_running
    assert host.check_output("systemctl show --property=NRestarts --value toy-api.service") == "0"
