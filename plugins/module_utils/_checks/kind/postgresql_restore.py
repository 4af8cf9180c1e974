# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``postgresql_restore``: whether the database may be restored to a time; with ``done``, whether the result is proven.

C(postgresql_restore): whether a database may be restored to a time, with the options of
M(somabrain.incident_response.postgresql_restore); C(last), C(again) and C(done) are for the role database_restore.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.judge import judge_restore
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.load import RESTORE_OPTIONS, load_restore

CLASS = "database"
OPTIONS: dict[str, t.Any] = dict(
    RESTORE_OPTIONS,
    mode={"type": "str", "default": ""},
    tables={"type": "list", "elements": "str", "default": []},
    last={"type": "dict", "default": {}},
    again={"type": "bool", "default": False},
    done={"type": "dict", "default": {}},
)


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return what ``load_restore`` sees within *deadline* seconds in total."""
    return load_restore(options, max(0.2, deadline - 0.2))


def judge(raw: dict[str, t.Any], options: dict[str, t.Any]) -> Health:
    """Judge as ``judge_restore`` does."""
    return judge_restore(raw, options)
