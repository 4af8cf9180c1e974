# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the runbook's common patterns it looks like: each confirmed, denied or unknown, with its evidence and the remedy that fits."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.conditions import judge_any
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import Evidence, with_rules
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.incident_types import told, verdict_of


def patterns_of(evidence: Evidence, rules: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return {id, name, verdict, evidence, command, none} of each pattern of *rules*, in their order.

    command is the placeholder of a playbook ({rollback}), only where the pattern is confirmed; where none fits, `none` says why.
    """
    evidence = with_rules(evidence, rules)
    found = []
    for one in rules["patterns"]:
        answer, alternative = judge_any(one["any_of"], evidence)
        command = ((alternative or {}).get("command") or one["command"]) if answer.holds else ""
        none = one["none"] if answer.holds and not command else ""
        found.append(
            {
                "id": one["id"],
                "name": one["name"],
                "verdict": verdict_of(answer),
                "evidence": told(answer),
                "command": command,
                "none": none,
            }  # fmt: skip
        )
    return found
