# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``pgbackrest_backup``: makes a backup now, without expiring any older one."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore import pgbackrest
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.restore.compare import left

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    pgbackrest.REPO_SPEC,
    os_user={"type": "str", "default": "postgres"},
    type={"type": "str", "choices": ["full", "diff", "incr"], "default": "full"},
    timeout={"type": "float", "default": 3600.0},
    stage={"type": "str", "choices": ["act", "undo"], "default": "act"},
)


def run(params: Params, check: bool) -> Result:
    """Return {changed, label, bytes, seconds, stage, say}. Raises StepError."""
    if check:
        return {"changed": True, "label": "", "bytes": 0, "seconds": 0.0, "stage": params["stage"], "say": ["would make a backup"]}
    begun = time.monotonic()
    end = begun + params["timeout"]
    # Backups that lead back to good data stay, whatever the retention says.
    done = pgbackrest.command(params, ["backup", "--type=" + params["type"], "--start-fast", "--no-expire-auto"], params["timeout"])
    problem = pgbackrest.error_of(done)
    if problem:
        raise StepError("pgBackRest failed to make a backup: %s; make one yourself (pgbackrest backup --type=full)" % problem)
    newest, _state, text = pgbackrest.choose_backup(pgbackrest.load_info(params, left(end))["backups"], 0.0)
    if newest is None:
        raise StepError("pgBackRest reported success, but there is no backup: %s" % text)
    seconds = round(time.monotonic() - begun, 3)
    say = ["made the %s backup %s in %.1f s" % (newest["type"], newest["label"], seconds)]
    return {"changed": True, "label": newest["label"], "bytes": newest["bytes"], "seconds": seconds, "stage": params["stage"], "say": say}
