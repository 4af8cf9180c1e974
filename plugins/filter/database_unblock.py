# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role database_unblock writes: thin, the judgement is in module_utils."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import outcome
else:
    outcome = Late("_postgresql.outcome")


def database_unblock_outcome(done: t.Any, run_id: str) -> dict[str, t.Any]:
    return outcome.unblock_outcome(plain(done), str(run_id))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"database_unblock_outcome": database_unblock_outcome}
