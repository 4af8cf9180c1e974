# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``postgresql_health_info``: the look of ``health_info`` at one PostgreSQL. Changes nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.facts import refuse_pins
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.options import PG_OPTIONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.queries import refuse_commands
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.wire import address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_info

ARGUMENT_SPEC: dict[str, t.Any] = dict(
    LOOK_SPEC,
    **dict(CONNECT_SPEC, **PG_OPTIONS),
    facts_timeout={"type": "float", "default": 10.0},
)
# An empty default would be validated like a given one, and refused for what it lacks.
ARGUMENT_SPEC["audit"] = {key: rule for key, rule in PG_OPTIONS["audit"].items() if key != "default"}


def run(params: Params, check: bool) -> Result:
    """Return the look with health, state, identity, actions, facts, findings, and how the wait went. StepError for a wrong option."""
    return told(health_info.run(as_health_info(params), check))


def as_health_info(params: Params) -> Params:
    """Return the options of the same look for ``health_info``: one deep check of the kind postgresql."""
    refuse_commands(params["known_answers"])
    refuse_pins(params["expected_identity"])
    options = {name: params[name] for name in (*CONNECT_SPEC, *PG_OPTIONS)}
    options["audit"] = options["audit"] or {}
    name = "postgresql %s" % address_of(params)
    one = dict(options, kind="postgresql", deep=True, name=name, answer_timeout=params["probe_timeout"])
    return health_info.of_one(one, params, params["facts_timeout"])


def told(result: Result) -> Result:
    """Return the result of that ``health_info`` with the keys of this module."""
    return dict(health_info.one_told(result, "PostgreSQL"), table=_table(result["facts"]))


def _table(facts: t.Mapping[str, t.Any]) -> list[str]:
    """Return who blocks whom, and the statements that took the most time, as lines for a person."""
    lines = list((facts.get("locks") or {}).get("table") or [])
    for row in (facts.get("top_queries") or {}).get("queries") or []:
        lines.append(one_line("%10.0f ms %8s calls  %s" % (float(row["total_ms"]), row["calls"], row["query"]), 100))
    return lines
