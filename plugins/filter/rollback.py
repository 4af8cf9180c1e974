# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role rollback: module_utils/_release/outcome.py for YAML, which decides nothing itself."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._release import outcome
else:
    outcome = Late("_release.outcome")

Given = t.Mapping[str, t.Any]


def note(noted: Given, run_id: str) -> dict[str, t.Any]:
    return outcome.note_of(plain(noted), str(run_id))


def checks(given: Given, plan: Given, last_verified: Given, more: Given) -> list[dict[str, t.Any]]:
    return outcome.checks_of(plain(given), plain(plan), plain(last_verified), plain(more))


def verified(record: Given, application: Given) -> dict[str, t.Any]:
    return outcome.verified_of(plain(record), plain(application))


def switch(plan: Given, manager: str, deadline: float, stop_timeout: float) -> dict[str, t.Any]:
    return outcome.switch_of(plain(plan), str(manager), float(deadline), float(stop_timeout))


def made(returned: Given) -> str:
    return outcome.made_of(plain(returned))


def memory(probe: Given, working_memory: t.Any) -> str:
    return outcome.memory_of(plain(probe), bool(working_memory))


def asks(plan: Given, taken: str, identity: Given) -> bool:
    return outcome.asks_of(plain(plan), str(taken), plain(identity))


def undo(plan: Given, named: Given) -> str:
    return outcome.undo_of(plain(plan), plain(named))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rollback_" + one.__name__: one for one in (note, checks, verified, switch, made, memory, asks, undo)}
