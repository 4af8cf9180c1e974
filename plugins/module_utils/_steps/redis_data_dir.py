# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_data_dir``: owner and mode of the data directory, set on the open directory that was judged."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis import own
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "uid": {"type": "int", "default": -1},
    "mode": {"type": "str", "default": ""},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed, before, after, stage, say}. Raises StepError if the directory may not be given away, or the system refuses."""
    uid = params["uid"] if params["uid"] >= 0 else None
    try:
        with own.opened(params["path"], None if params["stage"] == "undo" else uid) as descriptor:
            # Put back is what this directory was before; whose files it holds was judged then.
            wrong = own.objection(descriptor, params["path"], uid) if params["stage"] == "act" else ""
            if wrong:
                raise own.Unfit(wrong)
            return dict(_set(descriptor, params, uid, check), stage=params["stage"])
    except own.Unfit as error:
        text = "owner and mode of the data directory stay as they are: %s" % error
        raise StepError(text, reasons=[reason("state_not_handled", text, case="doubtful_dir")]) from None
    except OSError as error:
        raise StepError("cannot change %s: %s" % (one_line(params["path"], 80), error.strerror)) from None


def _set(descriptor: int, params: Params, uid: t.Optional[int], check: bool) -> Result:
    facts = os.fstat(descriptor)
    mode = int(params["mode"], 8) if params["mode"] else stat.S_IMODE(facts.st_mode) | stat.S_IRWXU
    before = {"owner": facts.st_uid, "mode": "%04o" % stat.S_IMODE(facts.st_mode)}
    owner = facts.st_uid if uid is None else uid
    after = {"owner": owner, "mode": "%04o" % mode}
    changed = before != after
    if changed and not check:
        if owner != facts.st_uid:
            os.fchown(descriptor, owner, -1)
        os.fchmod(descriptor, mode)
    words = (one_line(params["path"], 100), before["owner"], before["mode"], after["owner"], after["mode"])
    said = "owner and mode of %s: were %s and %s, " + ("would be" if check else "are") + " %s and %s"
    return {"changed": changed, "before": before, "after": after, "say": [said % words] if changed else []}
