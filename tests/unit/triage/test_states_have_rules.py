# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every state that a remedy's tree knows has a rule of its own, and every state that the rules name exists."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql import judge as postgresql
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis import judge as redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import evidence_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.severity import severity_of
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._rules import load_rules

ROOT = Path(__file__).resolve().parents[3]
RULES = load_rules()
TABLE = [line.split("|")[1] for line in (ROOT / "roles/service_restart/README.md").read_text().splitlines() if line.startswith("| `")]
API = sorted({word for cell in TABLE for word in re.findall(r"`([a-z_]+)`", cell)})
# What the tree of the API never calls sick: it was not seen, or it is well.
NEVER_SICK = {
    "up", "manager_unreachable", "unknown_service", "bad_input", "owner_unseen", "starting", "stopping", "stateful", "dependency_unknown",
}  # fmt: skip
# Their cause has the rule.
OF_A_CAUSE = {"dependency_down"}
STATES = [
    *(("working_memory", "redis", state) for state in redis.STATES),
    *(("database", "postgresql", state) for state in postgresql.STATES),
    *(("api", "application", state) for state in API if state not in NEVER_SICK | OF_A_CAUSE),
]


def severity_for(group: str, kind: str, state: str, health: str) -> dict[str, t.Any]:
    component = {"name": "x", "class": group, "kind": kind, "host": "one", "health": health, "state": state, "text": "as seen"}
    return severity_of(evidence_of({}, [component]), RULES)


@pytest.mark.parametrize(("group", "kind", "state"), STATES)
def test_a_sick_state_has_a_rule_and_an_unseen_one_too(group: str, kind: str, state: str) -> None:
    assert all(reason["rule"] for reason in severity_for(group, kind, state, "sick")["reasons"])
    unseen = severity_for(group, kind, state, "unknown")
    assert unseen["level"] in ("P1", "P2")
    assert all(reason["rule"] for reason in unseen["reasons"])


def words_of(data: t.Any) -> t.Iterator[str]:
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        if key in ("state", "not_state", "unclear_state", "symptoms"):
            yield from value
        else:
            yield from words_of(value)


def test_every_state_that_the_rules_name_exists() -> None:
    own = {"rules.py", "conditions.py", "readings.py"}
    code = "".join(path.read_text() for path in (ROOT / "plugins/module_utils").rglob("*.py") if path.name not in own)
    words = set(words_of(RULES))
    assert len(words) > 60
    assert [word for word in sorted(words) if not re.search(f"[\"']{word}[\"']", code)] == []
