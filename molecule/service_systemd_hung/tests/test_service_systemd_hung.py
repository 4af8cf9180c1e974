# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service hung under systemd: what holds after restart-service."""

from __future__ import annotations

import typing as t


def test_a_new_process_answers(host: t.Any, service_story: t.Any) -> None:
    assert service_story.told() == ("recovered", ["restart"], "hung", "up")
    assert service_story.process("toy-api.service") != service_story.before()[0]
    assert host.check_output("systemctl show --property=NRestarts --value toy-api.service") == "0"


def test_its_log_was_kept_before(host: t.Any, service_story: t.Any) -> None:
    kept = host.check_output("find %s/evidence -name 'service.*'", "/var/lib/somabrain/incident_response").splitlines()
    assert {line.rpartition("/")[2] for line in kept} == {"service.log", "service.txt"}
