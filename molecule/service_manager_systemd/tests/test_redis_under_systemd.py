# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that the test machines are what the stories need: systemd as process 1 and a real Redis under it."""

from __future__ import annotations

import typing as t


def test_systemd_is_process_1_and_nothing_failed(host: t.Any) -> None:
    assert host.process.get(pid=1).comm == "systemd"
    assert host.check_output("systemctl is-system-running") == "running"


def test_redis_runs_in_a_new_process_and_kept_its_key(host: t.Any) -> None:
    assert host.service("redis-server").is_running
    pid = host.check_output("systemctl show --property=MainPID --value redis-server.service")
    assert pid != host.file("/var/tmp/pid-before").content_string
    assert host.check_output("redis-cli get story") == "kept"


def test_supervisor_answers_too(host: t.Any) -> None:
    assert host.run("supervisorctl pid").stdout.strip().isdigit()
