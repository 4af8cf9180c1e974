# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_integrity``: checks every table and index for damage, or rebuilds damaged indexes."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import integrity
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    CONNECT_SPEC,
    action={"type": "str", "choices": ["check", "reindex"], "default": "check"},
    databases={"type": "list", "elements": "str", "default": []},
    damaged={"type": "list", "elements": "dict", "default": []},
    bin_dir={"type": "str", "default": ""},
    dest_dir={"type": "path", "default": ""},
    run_id={"type": "str", "default": ""},
    timeout={"type": "float", "default": 900.0},
    stage={"type": "str", "choices": ["assess", "act", "verify"], "default": "act"},
)


def run(params: Params, check: bool) -> Result:
    """Return {changed, verdict, damaged, text, code, plan, proven, unchecked, kept, run_id, seconds, stage, say}. Raises StepError."""
    clock = Clock(params["timeout"])
    result = _reindex(params, check, clock) if params["action"] == "reindex" else _check(params, clock)
    return dict(result, run_id=params["run_id"], seconds=round(clock.passed, 3), stage=params["stage"])


def _check(params: Params, clock: Clock) -> Result:
    databases = [name for name in params["databases"] if name] or [params["database"]]
    found = integrity.check(params, databases, clock)
    return dict(found, changed=False, kept=[], say=[found["text"]])


def _reindex(params: Params, check: bool, clock: Clock) -> Result:
    if not params["dest_dir"]:
        raise StepError("action=reindex needs dest_dir, a directory for the copies made first")
    what = counted(len(params["damaged"]), "damaged indexes")
    if check:
        found = integrity.verdict_of("index", params["damaged"], "")
        return dict(found, changed=True, kept=[], say=["would rebuild %s" % what])
    kept = integrity.reindex(params, params["damaged"], params["dest_dir"], clock)
    after = integrity.check(params, [one["database"] for one in params["damaged"]], clock)
    if after["verdict"] != "none":
        raise StepError("the indexes were rebuilt, but damage remains: %s" % after["text"])
    say = "rebuilt %s; copies of the old files are in %s" % (what, params["dest_dir"])
    return dict(after, changed=True, kept=kept, say=[say])
