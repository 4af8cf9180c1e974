# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step capture: read the evidence on a target whose keeper is another host; changes nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import evidence

ARGUMENT_SPEC: dict[str, t.Any] = {
    "evidence": {"type": "list", "elements": "dict", "required": True, "options": evidence.SUBOPTIONS},
    "evidence_max_bytes": {"type": "int", "default": 8388608},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed: false, captured: [...]}, base64 content for the guard to store on the keeper."""
    captured = evidence.capture(params["evidence"], params["evidence_max_bytes"])
    return {"changed": False, "captured": evidence.packed(captured), "stage": "open", "say": []}
