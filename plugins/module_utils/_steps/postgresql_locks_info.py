# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_locks_info``: who waits for whom in PostgreSQL, and who is at the root. Changes nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC, patience_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health, wait_until_well
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.blocked import BLOCKED_SPEC, judge_blocked, load_locks
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.locks import judge

ARGUMENT_SPEC: dict[str, t.Any] = dict(LOOK_SPEC, **BLOCKED_SPEC, expected_identity={"type": "dict", "default": {}})


def run(params: Params, check: bool) -> Result:
    """Return the last look with health, state, identity, actions, facts, findings and table, and how the wait went."""
    proof = wait_until_well(
        lambda: _look(params),
        patience_of(params),
        health_of=lambda seen: seen[0].health,
        identity_of=lambda seen: seen[0].identity,
    )
    seen, table = proof.last
    name = "locks of postgresql %s:%s" % (params["host"] or "socket", params["port"])
    found = dict(seen.as_dict(), proven=proof.proven, passes=proof.passes, looks=proof.looks, seconds=proof.seconds)
    check_of_it = dict(seen.as_dict(), name=name, kind="postgresql_locks", seconds=proof.seconds, seen_from=params["stands_on"])
    say = ["%s: %s" % (name, one_line(finding.text, 400)) for finding in seen.findings]
    return dict(found, changed=False, subject=name, checks=[check_of_it], table=table, stage=params["stage"], say=say)


def _look(params: Params) -> tuple[Health, list[str]]:
    raw = load_locks(params, params["probe_timeout"])
    return judge_blocked(raw, params), list(judge(raw, params)["table"])
