# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_admin``: exactly one act of a short list around a cluster; none can touch a row or a WAL file."""

from __future__ import annotations

import glob
import os
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import access, mend
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.copies import CopyRefused, copy_tree, same_copy

ARGUMENT_SPEC: dict[str, t.Any] = {
    "action": {"type": "str", "required": True},
    "data_dir": {"type": "path", "default": ""},
    "rescue_dir": {"type": "path", "default": ""},
    "run_id": {"type": "str", "default": ""},
    "files": {"type": "list", "elements": "path", "default": []},
    "os_user": {"type": "str", "default": ""},
    "access": {"type": "list", "elements": "dict", "default": []},
    "record": {"type": "path", "default": ""},
    "loaded_at": {"type": "float", "default": 0.0},
    "timeout": {"type": "float", "default": 30.0},
    "stage": {"type": "str", "choices": ["assess", "act", "verify", "undo"], "default": "act"},
}
NEEDS = {
    "end_orphans": ("data_dir",),
    "move_pid_aside": ("data_dir", "rescue_dir", "run_id"),
    "put_pid_back": ("data_dir", "run_id"),
    "keep_config": ("rescue_dir",),
    "restore_config": ("rescue_dir", "run_id", "files"),
    "put_config_back": ("run_id", "files"),
    "fix_access": ("data_dir", "run_id"),
    "put_access_back": ("data_dir",),
    "copy": ("data_dir", "rescue_dir", "run_id"),
}
ARGUMENT_SPEC["action"]["choices"] = list(NEEDS)
# Subdirectory of the rescue directory: the configuration as it was when a run ended well.
PROVEN = "proven-configuration"


def run(params: Params, check: bool) -> Result:
    """Return {changed, run_id, seconds, stage, say, ...}. Raises StepError when the act is refused or does not end in time."""
    begun = time.monotonic()
    missing = [name for name in NEEDS[params["action"]] if not params[name]]
    if missing:
        raise StepError("action=%s needs %s" % (params["action"], ", ".join(missing)))
    if "/" in params["run_id"]:
        raise StepError("run_id must not be a path: %s" % one_line(params["run_id"], 60))
    result = ACTS[params["action"]](params, check)
    return dict(result, action=params["action"], run_id=params["run_id"], seconds=round(time.monotonic() - begun, 3), stage=params["stage"])


def _proven(params: Params) -> str:
    return os.path.join(params["rescue_dir"], PROVEN)


def _copy(params: Params, check: bool) -> Result:
    """Keep a cold copy of a cluster that is down. A failed copy is only reported: the run stops here anyway."""
    dest = os.path.join(params["rescue_dir"], params["run_id"], "data")
    if check:
        return {"changed": True, "path": dest, "text": "", "say": ["would copy %s to %s" % (one_line(params["data_dir"], 80), dest)]}
    end = time.monotonic() + params["timeout"]
    before = sorted(glob.glob(os.path.join(glob.escape(params["rescue_dir"]), "*", "data")), reverse=True)
    try:
        # Each run that is refused would otherwise add one more copy of the same data.
        earlier = same_copy(params["data_dir"], before, end)
        made = earlier or copy_tree(params["data_dir"], dest, end)
    except CopyRefused as error:
        text = "no cold copy was made: %s" % error.text
        return {"changed": False, "path": "", "text": text, "say": [one_line(text, 240)]}
    text = "a cold copy of %s is in %s (sha256 %s)" % (counted(len(made["files"]), "files"), made["path"], made["sha256"][:16])
    text += "" if not earlier else ", kept by an earlier run"
    return {"changed": not earlier, "path": made["path"], "text": text, "sha256": made["sha256"], "say": [one_line(text, 240)]}


ACTS: t.Mapping[str, t.Callable[[Params, bool], Result]] = {
    "end_orphans": lambda p, check: mend.end_orphans(p["data_dir"], p["timeout"], check),
    "move_pid_aside": lambda p, check: mend.move_pid_aside(p["data_dir"], p["rescue_dir"], p["run_id"], check),
    "put_pid_back": lambda p, check: mend.put_pid_back(p["data_dir"], p["run_id"], check),
    "keep_config": lambda p, check: mend.keep_config(p["files"], _proven(p), p["loaded_at"], check),
    "restore_config": lambda p, check: mend.restore_config(p["files"][0], _proven(p), p["run_id"], check),
    "put_config_back": lambda p, check: mend.put_config_back(p["files"][0], p["run_id"], check),
    "fix_access": lambda p, check: access.fix_access(p["data_dir"], p["os_user"], p["rescue_dir"], p["run_id"], check),
    "put_access_back": lambda p, check: access.put_access_back(p["data_dir"], p["access"], p["record"], check),
    "copy": _copy,
}
