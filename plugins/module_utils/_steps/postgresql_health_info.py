# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_health_info``: look at one PostgreSQL until enough consecutive looks were well. Changes nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC, patience_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health, Proof, State, wait_until_well
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.judge import judge_postgres
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.load import load_postgres
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.options import PG_OPTIONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.queries import refuse_commands

ARGUMENT_SPEC: dict[str, t.Any] = dict(LOOK_SPEC, **CONNECT_SPEC, **PG_OPTIONS, facts_timeout={"type": "float", "default": 10.0})


def run(params: Params, check: bool) -> Result:
    """Return the last look with health, state, identity, actions, facts, findings, and how the wait went. StepError for a wrong option."""
    refuse_commands(params["known_answers"])
    total = params["probe_timeout"] + params["facts_timeout"]
    proof = wait_until_well(
        lambda: judge_postgres(load_postgres(params, params["probe_timeout"], total), params),
        patience_of(params),
        health_of=lambda seen: seen.health,
        identity_of=lambda seen: seen.identity,
        on_its_way=on_its_way,
    )
    return _result(proof, params)


def on_its_way(seen: Health) -> bool:
    """Return whether only time is needed: it starts, stops or replays its WAL."""
    return seen.health is State.UNKNOWN and bool(seen.state) and seen.actions == ("wait",)


def _result(proof: Proof, params: Params) -> Result:
    seen: Health = proof.last
    name = "postgresql %s" % seen.facts["address"]
    return dict(
        seen.as_dict(),
        changed=False,
        subject=name,
        proven=proof.proven,
        passes=proof.passes,
        looks=proof.looks,
        seconds=proof.seconds,
        checks=[dict(seen.as_dict(), name=name, kind="postgresql", seconds=proof.seconds)],
        on_its_way=on_its_way(seen),
        stage=params["stage"],
        table=_table(seen.facts),
        say=_say(seen, proof),
    )


def _table(facts: t.Mapping[str, t.Any]) -> list[str]:
    """Return who blocks whom, and the statements that took the most time, as lines of a table."""
    lines = list((facts.get("locks") or {}).get("table") or [])
    for row in (facts.get("top_queries") or {}).get("queries") or []:
        lines.append(one_line("%10.0f ms %8s calls  %s" % (float(row["total_ms"]), row["calls"], row["query"]), 100))
    return lines


def _say(seen: Health, proof: Proof) -> list[str]:
    word = "PostgreSQL is %s%s" % (seen.health.value, " (%s)" % seen.state if seen.state else "")
    bad = list(dict.fromkeys(finding.text for finding in seen.findings if finding.state is not State.WELL))
    if bad:
        return ["%s: %s" % (word, text) for text in bad[:4]]
    steady = ", %d times in a row" % proof.passes if proof.passes > 1 else ""
    doubt = "" if proof.proven else ", but not for long enough to count as proven"
    warnings = [finding.text for finding in seen.findings if finding.name == "warning"]
    return ["%s: %s%s%s" % (word, seen.findings[0].text, steady, doubt), *warnings[:4]]
