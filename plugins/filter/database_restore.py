# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role database_restore decides and writes: thin, the judgement is in module_utils."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import outcome
else:
    outcome = Late("_postgresql.outcome")


def database_restore_outcome(acts: t.Any, run_id: str, interrupted: t.Any) -> dict[str, t.Any]:
    return outcome.restore_outcome(plain(acts), str(run_id), plain(interrupted) or {})


def database_restore_about(plan: t.Any, compared: t.Any, target: str) -> dict[str, t.Any]:
    return outcome.restore_about(plain(plan) or {}, plain(compared) or {}, str(target))


def database_restore_verified(probe: t.Any, done: t.Any, target: str, stanza: str) -> dict[str, t.Any]:
    return outcome.restore_verified(plain(probe) or {}, plain(done) or {}, str(target), str(stanza))


def database_restore_undo(found: t.Any, run_id: str, reach: t.Any, kept: str, service: t.Any) -> str:
    return outcome.restore_undo(plain(found), str(run_id), plain(reach), str(kept), plain(service))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "database_restore_about": database_restore_about,
            "database_restore_outcome": database_restore_outcome,
            "database_restore_undo": database_restore_undo,
            "database_restore_verified": database_restore_verified,
        }
