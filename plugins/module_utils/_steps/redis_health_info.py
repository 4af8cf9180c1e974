# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_health_info``: look at one Redis until enough consecutive looks were well. Changes nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC, patience_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health, Proof, State, wait_until_well
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import judge_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.load import load_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REDIS_OPTIONS

ARGUMENT_SPEC: dict[str, t.Any] = dict(LOOK_SPEC, **REDIS_OPTIONS, files_timeout={"type": "float", "default": 60.0})


def run(params: Params, check: bool) -> Result:
    """Return the last look with health, state, identity, actions, facts, findings, and how the wait went."""
    proof = wait_until_well(
        lambda: judge_redis(load_redis(params, params["probe_timeout"], params["probe_timeout"] + params["files_timeout"]), params),
        patience_of(params),
        health_of=lambda seen: seen.health,
        identity_of=lambda seen: seen.identity,
        on_its_way=_on_its_way,
    )
    return _result(proof, params)


def _result(proof: Proof, params: Params) -> Result:
    seen: Health = proof.last
    name = "redis %s" % address_of(params)
    check = dict(seen.as_dict(), name=name, kind="redis", seconds=proof.seconds)
    return dict(
        seen.as_dict(),
        changed=False,
        subject=name,
        proven=proof.proven,
        passes=proof.passes,
        looks=proof.looks,
        seconds=proof.seconds,
        checks=[check],
        on_its_way=_on_its_way(seen),
        stage=params["stage"],
        say=_say(seen, proof),
    )


def _on_its_way(seen: Health) -> bool:
    # A process that does not listen has no such state: it may be one that dies again and again.
    return seen.health is State.UNKNOWN and bool(seen.state) and seen.actions == ("wait",)


def _say(seen: Health, proof: Proof) -> list[str]:
    word = "Redis is %s%s" % (seen.health.value, " (%s)" % seen.state if seen.state else "")
    bad = [finding.text for finding in seen.findings if finding.state is not State.WELL]
    if bad:
        return ["%s: %s" % (word, text) for text in bad[:4]]
    steady = ", %d times in a row" % proof.passes if proof.passes > 1 else ""
    doubt = "" if proof.proven else ", but not steadily enough to count as proven"
    warnings = [finding.text for finding in seen.findings if finding.name == "warning"]
    return ["%s: %s%s%s" % (word, seen.findings[0].text, steady, doubt), *warnings]
