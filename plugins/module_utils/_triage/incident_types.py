# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the runbook's incident types it is: each confirmed, denied or unknown, with its evidence."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.conditions import judge_any
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import Evidence, with_rules
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.readings import Answer, not_known

MOST = 6


def types_of(evidence: Evidence, rules: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return {id, name, verdict, evidence} of each incident type of *rules*, in their order."""
    evidence = with_rules(evidence, rules)
    found = [(one, judge_any(one["any_of"], evidence)[0]) for one in rules["types"]]
    return [{"id": one["id"], "name": one["name"], "verdict": verdict_of(answer), "evidence": told(answer)} for one, answer in found]


def verdict_of(answer: Answer) -> str:
    """Return confirmed, denied or unknown."""
    return "unknown" if answer.holds is None else "confirmed" if answer.holds else "denied"


def told(answer: Answer) -> list[str]:
    """Return the evidence of a verdict as sentences: of an unknown one first what was not seen."""
    lines = not_known(answer.missing) if answer.holds is None else []
    if answer.holds is None and answer.unlooked:
        lines.append("nothing looks at: %s" % ", ".join(answer.unlooked))
    # What leaves one condition open may have been seen by another.
    seen = [text for text in answer.seen if not any(text in line for line in lines)]
    return [one_line(line, 400) for line in [*lines, *seen][:MOST]]
