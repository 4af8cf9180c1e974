# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A forgotten transaction held up an update of PostgreSQL under systemd: what holds after unblock-database."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path


def outcome() -> dict[str, t.Any]:
    return dict(json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "outcome.json").read_text()))


def ask(host: t.Any, sql: str) -> str:
    return str(host.check_output(f'runuser -u postgres -- psql -Atc "{sql}"'))


def test_the_update_went_through(host: t.Any) -> None:
    told = outcome()
    assert (told["outcome"], [act["action"] for act in told["acts"]]) == ("recovered", ["unblock"])
    assert (told["before"]["state"], told["after"]["state"]) == ("blocked", "free")
    assert ask(host, "SELECT v FROM items") == "through"


def test_who_held_it_up_was_ended_and_the_neighbour_was_not(host: t.Any) -> None:
    [root] = outcome()["before"]["facts"]["roots"]
    assert (root["state"], root["action"], root["user"]) == ("idle in transaction", "terminate", "app")
    assert ask(host, f"SELECT count(*) FROM pg_stat_activity WHERE pid = {root['pid']}") == "0"
    assert ask(host, "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") == "1"


def test_nothing_tells_what_the_statement_wrote(host: t.Any) -> None:
    assert "s3cret" not in json.dumps(outcome())
    assert host.run("grep -rq s3cret /var/lib/somabrain").rc == 1
