# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's PostgreSQL under systemd is killed: what holds after recover-database."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path


def told_in(name: str) -> t.Any:
    return json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / name).read_text())


def test_a_wrapper_that_says_active_is_not_believed() -> None:
    told = told_in("wrapper.json")
    assert (told["outcome"], told["reasons"][0]["code"], told["acts"]) == ("refused", "health_unknown", [])
    assert "name the unit that does" in told["reasons"][0]["text"]


def test_postgresql_is_started_again_with_every_row(host: t.Any) -> None:
    told = told_in("outcome.json")
    assert told["outcome"] == "recovered"
    assert [act["action"] for act in told["acts"]] == ["start"]
    assert (told["before"]["state"], told["after"]["state"]) == ("down_crashed", "accepting")
    assert host.service("postgresql@15-main").is_running
    assert host.check_output("runuser -u postgres -- psql -XAtc 'SELECT count(*) FROM story'") == "60"


def test_the_proven_configuration_is_kept_privately(host: t.Any) -> None:
    kept = host.file("/var/lib/somabrain/rescue/proven-configuration")
    assert kept.mode == 0o700
    assert "etc%2Fpostgresql%2F15%2Fmain%2Fpostgresql.conf" in kept.listdir()
