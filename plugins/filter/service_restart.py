# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role service_restart: module_utils/_service/restart.py for YAML, which decides nothing itself."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._service import restart
    from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
else:
    restart = Late("_service.restart")
    ask = Late("_service.manager.ask")

Given = t.Mapping[str, t.Any]


def note(noted: Given, run_id: str) -> dict[str, t.Any]:
    return restart.note_of(plain(noted), str(run_id))


def place(named: Given) -> dict[str, t.Any]:
    return restart.place_of(plain(named))


def check(given: Given, noted: Given, more: Given) -> dict[str, t.Any]:
    return restart.check_of(plain(given), plain(noted), plain(more))


def evidence(named: Given) -> list[dict[str, t.Any]]:
    given = plain(named)
    if given["log_file"]:
        return [{"name": "service.log", "kind": "file", "path": given["log_file"]}]
    return ask.evidence_of(given)


def process(identity: Given) -> dict[str, t.Any]:
    return restart.process_of(plain(identity))


def verified(probe: Given, known: Given) -> dict[str, t.Any]:
    return restart.verified_of(plain(probe), plain(known))


def stake(probe: Given, act: str, working_memory: t.Any) -> str:
    return restart.stake_of(plain(probe), str(act), bool(working_memory))


def risk(memory: str) -> str:
    return restart.risk_of(str(memory))


def loss(emptied: str, approved: str) -> dict[str, t.Any]:
    return restart.loss_of(str(emptied), str(approved))


def plan_loss(stake: str) -> dict[str, t.Any]:
    return restart.plan_loss_of(str(stake))


def next_command(hand_over: Given) -> str:
    return restart.next_of(plain(hand_over))


def rollback(release: Given) -> str:
    return restart.rollback_of(plain(release))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        own = (note, place, check, evidence, process, verified, stake, risk, loss, plan_loss, rollback)
        return {**{"service_restart_" + one.__name__: one for one in own}, "service_restart_next": next_command}
