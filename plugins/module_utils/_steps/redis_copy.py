# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_copy``: a hashed copy of a data directory, read back before it gets its name."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import refused
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.copies import CopyRefused, copy_tree

ARGUMENT_SPEC: dict[str, t.Any] = {
    "data_dir": {"type": "path", "required": True},
    "dest": {"type": "path", "required": True},
    "live": {"type": "bool", "default": False},
    "timeout": {"type": "float", "default": 900.0},
    "stage": {"type": "str", "choices": ["assess", "act", "undo"], "default": "act"},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed, path, bytes, files, sha256, consistent, skipped, seconds, stage, say}. Raises StepError if it made no copy."""
    begun = time.monotonic()
    if check:
        say = "would copy %s to %s" % (one_line(params["data_dir"], 60), one_line(params["dest"], 80))
        return {"changed": True, "path": params["dest"], "stage": params["stage"], "say": [say]}
    there = os.path.lexists(params["dest"])
    try:
        made = copy_tree(params["data_dir"], params["dest"], begun + params["timeout"], params["live"])
    except CopyRefused as error:
        raise refused(error.code, error.text) from None
    facts: Result = {key: made[key] for key in ("path", "bytes", "sha256", "consistent", "skipped")}
    facts.update(changed=not there, files=len(made["files"]), seconds=round(time.monotonic() - begun, 3), stage=params["stage"])
    say = "kept %d files (%d bytes) of %s in %s" % (facts["files"], facts["bytes"], one_line(params["data_dir"], 60), facts["path"])
    return dict(facts, say=[one_line(say, 240)])
