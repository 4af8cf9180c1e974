# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``data_reconciliation_info``: what no longer matches after a recovery. Changes nothing."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind.data_reconciliation import OPTIONS, judge, load

ARGUMENT_SPEC: dict[str, t.Any] = dict(OPTIONS, timeout={"type": "float", "default": 60.0})


def run(params: Params, check: bool) -> Result:
    """Return {changed, health, findings, facts, seconds, say}."""
    begun = time.monotonic()
    health = judge(load(params, params["timeout"]), params)
    told = health.as_dict()
    say = [finding.text for finding in health.findings] or ["nothing to reconcile was named"]
    kept = {key: told[key] for key in ("health", "findings", "facts")}
    return dict(kept, changed=False, seconds=round(time.monotonic() - begun, 3), say=say)
