# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_integrity``: which keys of a pattern fail a named check. Changes nothing, and shows no value."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC, patience_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import (
    Finding,
    Health,
    Proof,
    State,
    wait_until_well,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.act import connected
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.integrity import SCOPE_SPEC, Look, look, rules_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import judge_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.load import load_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REACH

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    LOOK_SPEC,
    **REACH,
    **SCOPE_SPEC,
    data_dir={"type": "str", "default": ""},
    expected_identity={"type": "dict", "default": {}},
    scan_timeout={"type": "float", "default": 60.0},
    max_failing={"type": "int", "default": 100000},
)
SAMPLES = 3
ACTIONS = ("confirm", "clear")


def run(params: Params, check: bool) -> Result:
    """Return the last look with health, state, identity, actions, facts, findings, and how the wait went. Raises StepError."""
    rules_of(params)
    proof = wait_until_well(
        lambda: _look(params),
        patience_of(params),
        health_of=lambda seen: seen.health,
        identity_of=lambda seen: seen.identity,
    )
    return _result(proof, params)


def _look(params: Params) -> Health:
    """Look at Redis itself, and at the keys only if Redis is a healthy master."""
    # A Redis that is down has no keys to check, so its files are not judged here.
    server = judge_redis(load_redis(dict(params, judge_files="never"), params["probe_timeout"], params["probe_timeout"]), params)
    if server.state != "up" or server.health is not State.WELL or server.facts["identity_mismatch"]:
        return Health(server.findings, server.state, server.identity, (), server.facts)
    try:
        with connected(params, params["scan_timeout"]) as redis:
            found = look(redis, params, time.monotonic() + params["scan_timeout"], params["max_failing"])
    except StepError as error:
        unseen = Finding("integrity", State.UNKNOWN, "the keys could not be checked: %s" % one_line(error, 160))
        return Health((unseen,), "", server.identity, (), dict(server.facts, integrity={}))
    return judge_look(found, params, server)


def judge_look(found: Look, scope: Params, server: Health) -> Health:
    """Return the Health of a look: failing keys are sick, an incomplete look is unknown. Pure."""
    about = "%s of db %d" % (one_line(scope["pattern"], 60), scope["db"])
    failing = len(found.failing)
    facts = dict(server.facts, integrity=_facts(found, scope))
    if failing > scope["max_failing"]:
        state, health, text = "failing_many", State.SICK, "more than %d keys fail %s" % (scope["max_failing"], scope["name"])
    elif not found.whole or found.unread:
        text = "only %d keys of %s could be checked, %d could not" % (found.looked, about, found.unread)
        state, health = "", State.UNKNOWN
    elif failing:
        text = "%d of %d keys of %s fail %s" % (failing, found.looked, about, scope["name"])
        state, health = "failing", State.SICK
    else:
        expiring = "; %d failing keys expire by themselves" % found.expiring if found.expiring else ""
        text = "%d keys of %s pass %s%s" % (found.looked - found.expiring, about, scope["name"], expiring)
        state, health = "passing", State.WELL
    finding = Finding("integrity", health, one_line(text, 300))
    return Health((finding,), state, server.identity, ACTIONS if state == "failing" else (), facts)


def _facts(found: Look, scope: Params) -> dict[str, t.Any]:
    samples = [{"key": one_line(key, 80), "why": found.failing[key]} for key in sorted(found.failing)[:SAMPLES]]
    return {
        "name": scope["name"], "db": scope["db"], "pattern": scope["pattern"], "looked": found.looked, "failing": len(found.failing),
        "expiring": found.expiring, "unread": found.unread, "whole": found.whole, "samples": samples,
    }  # fmt: skip


def _result(proof: Proof, params: Params) -> Result:
    seen: Health = proof.last
    name = "integrity %s" % one_line(params["name"], 60)
    check = dict(seen.as_dict(), name=name, kind="redis_integrity", seconds=proof.seconds, seen_from=params["stands_on"])
    return dict(
        seen.as_dict(),
        changed=False,
        subject=name,
        proven=proof.proven,
        passes=proof.passes,
        looks=proof.looks,
        seconds=proof.seconds,
        checks=[check],
        stage=params["stage"],
        say=_say(seen, "redis %s" % address_of(params)),
    )


def _say(seen: Health, where: str) -> list[str]:
    lines = ["%s is %s: %s" % (where, seen.health.value, one_line(finding.text, 200)) for finding in seen.findings[:3]]
    samples = (seen.facts.get("integrity") or {}).get("samples") or []
    return lines + ["for example %s: %s" % (one["key"], one["why"]) for one in samples]
