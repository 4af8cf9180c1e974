# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's PostgreSQL under systemd is taken back to a time: what was planned, what was done, what holds afterwards."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path


def told(name: str) -> dict[str, t.Any]:
    return dict(json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / name).read_text()))


def test_the_plans_say_what_each_would_lose() -> None:
    planned = told("planned.json")
    assert (planned["outcome"], planned["reasons"][0]["code"]) == ("refused", "approval_needed")
    losses = {one["name"]: one["loss"]["count"] for one in planned["reasons"][0]["plans"]}
    assert losses == {"insert_missing": 0, "swap": 1}


def test_the_server_is_as_it_was_and_the_loss_is_told(host: t.Any) -> None:
    outcome = told("outcome.json")
    assert (outcome["outcome"], outcome["loss"]["count"], outcome["loss"]["exact"]) == ("recovered_with_loss", 1, True)
    assert [act["action"] for act in outcome["acts"]] == ["restore_beside", "promote", "swap", "backup"]
    assert host.check_output("runuser -u postgres -- psql -XAtc 'SELECT count(*), min(i), max(i) FROM story'") == "60|1|60"
    assert host.check_output("runuser -u postgres -- psql -XAtc 'SHOW archive_mode'") == "on"


def test_the_old_directory_is_kept_and_a_new_backup_is_there(host: t.Any) -> None:
    assert len(host.check_output("ls -d /var/lib/postgresql/15/main.before-*").split()) == 1
    assert len(host.check_output("ls -d /var/lib/pgbackrest/backup/main/*F").split()) == 2
