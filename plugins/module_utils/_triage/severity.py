# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How bad it is: the worst severity of the rules that hold, each of them as a reason, and what was not known.

What is not known neither lifts nor lowers the severity: it is named, with what it could make of it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.conditions import few, judge
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.evidence import Evidence, with_rules
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.readings import Answer, Missing, not_known
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.rules import LEVELS

Severity = t.Dict[str, t.Any]
Rules = t.Mapping[str, t.Any]
Judged = t.List[t.Tuple[t.Mapping[str, t.Any], Answer]]
# The level of what is sick and has no rule, and the most that is named.
WITHOUT_RULE, MOST_UNKNOWN = "P3", 20
LEVEL_NAMES = "P0, P1, P2 or P3"


def severity_of(evidence: Evidence, rules: Rules, override: t.Optional[t.Mapping[str, str]] = None) -> Severity:
    """Return {level, name, reasons, unknown, override, judged}; level "" where nothing is wrong. An *override* replaces only the level."""
    evidence = with_rules(evidence, rules)
    judged = [(rule, judge(rule["when"], evidence)) for rule in rules["rules"]]
    reasons = _reasons(judged) or _without_rule(evidence)
    level = min((one["level"] for one in reasons), default="")
    final = override["level"] if override else level
    return {
        "level": final, "name": name_of(final, rules), "reasons": reasons, "unknown": _unknown(judged, level),
        "override": dict(override) if override else None, "judged": level,
    }  # fmt: skip


def name_of(level: str, rules: Rules) -> str:
    """Return what a level is called, "" for none."""
    return next((str(one["name"]) for one in rules["severities"] if one["level"] == level), "")


def _reasons(judged: Judged) -> list[dict[str, str]]:
    holding = sorted(((rule, answer) for rule, answer in judged if answer.holds), key=lambda pair: str(pair[0]["severity"]))
    return [{"rule": rule["id"], "level": rule["severity"], "text": _with_seen(rule["text"], answer.seen)} for rule, answer in holding]


def _with_seen(text: str, seen: t.Sequence[str]) -> str:
    return one_line("%s: %s" % (text, "; ".join(seen)) if seen else text, 600)


def _without_rule(evidence: Evidence) -> list[dict[str, str]]:
    """Return the reason for what is sick although no rule holds: it is not nothing."""
    sick = few([one for one in evidence.components if one["health"] == "sick"])
    return [{"rule": "", "level": WITHOUT_RULE, "text": _with_seen("something is sick that no rule covers", sick)}] if sick else []


def _unknown(judged: Judged, level: str) -> list[str]:
    """Return a sentence for each input that left a rule open, the worst first; what nothing looks at shares one."""
    open_ = sorted(((rule, answer) for rule, answer in judged if answer.holds is None), key=lambda pair: str(pair[0]["severity"]))
    missing: dict[str, list[Missing]] = {}
    named: set[Missing] = set()
    for rule, answer in open_:
        # What could only be as bad as what is known already is one group.
        missing.setdefault(_could(rule["severity"], level), []).extend(one for one in answer.missing if one not in named)
        named.update(answer.missing)
    unlooked = dict.fromkeys(text for _rule, answer in open_ for text in answer.unlooked)
    lines = [text + could for could, some in missing.items() for text in not_known(some)]
    if len(lines) > MOST_UNKNOWN:
        lines = [*lines[:MOST_UNKNOWN], "and %d more" % (len(lines) - MOST_UNKNOWN)]
    if unlooked:
        lines.append("nothing looks at: %s" % ", ".join(unlooked))
    return [one_line(line, 600) for line in lines]


def _could(worst: str, level: str) -> str:
    return "; it could make this %s" % worst if not level or worst < level else ""


def override_of(level: t.Any, reason: t.Any) -> t.Optional[dict[str, str]]:
    """Return the {level, reason} that a person set, None where none is. Raises StepError for one without the other, or for no level."""
    word, why = _typed(level), _typed(reason)
    if not word and not why:
        return None
    if not word:
        raise StepError("triage_severity_reason is set and triage_severity is not: set it to %s" % LEVEL_NAMES)
    if word not in LEVELS:
        raise StepError("triage_severity is %s: set it to %s" % (one_line(repr(word), 40), LEVEL_NAMES))
    if not why:
        raise StepError("triage_severity=%s needs a reason, which is recorded with it: set triage_severity_reason" % word)
    return {"level": word, "reason": one_line(redact(why), 200)}


def _typed(value: t.Any) -> str:
    return "" if value is None else str(value).strip()
