# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role database_recovery decides and writes: thin, the judgement is in module_utils."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import mend, outcome
else:
    mend = Late("_postgresql.mend")
    outcome = Late("_postgresql.outcome")


def database_recovery_seen(probe: t.Any, before: t.Any, known: t.Any) -> dict[str, t.Any]:
    return outcome.seen(plain(probe) or {}, plain(before) or {}, plain(known) or {})


def database_recovery_outcome(acts: t.Any, run_id: str, data_dir: str, service: t.Any) -> dict[str, t.Any]:
    return outcome.recovery_outcome(plain(acts), str(run_id), str(data_dir), plain(service))


def database_recovery_pages_proven(last: t.Any, scope: t.Any, rebuilt: t.Any, run_id: str) -> dict[str, float]:
    return outcome.pages_proven(plain(last) or {}, plain(scope), plain(rebuilt), str(run_id))


def database_recovery_only_counted(probe: t.Any, scope: t.Any) -> bool:
    return outcome.only_counted(plain(probe) or {}, plain(scope) or {})


def database_recovery_not_to_remove(files: t.Any, own: t.Any) -> list[str]:
    return outcome.not_to_remove(plain(files), plain(own))


def database_recovery_copy_name(path: str) -> str:
    return mend.name_of(str(path))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "database_recovery_copy_name": database_recovery_copy_name,
            "database_recovery_not_to_remove": database_recovery_not_to_remove,
            "database_recovery_only_counted": database_recovery_only_counted,
            "database_recovery_pages_proven": database_recovery_pages_proven,
            "database_recovery_outcome": database_recovery_outcome,
            "database_recovery_seen": database_recovery_seen,
        }
