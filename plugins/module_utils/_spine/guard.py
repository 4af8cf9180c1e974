# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judgement of the guard: may this run act? Plain data in, verdict out."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason, refusal, wording

# A restore beside the live service changes nothing there, so it delays no later run and is not an attempt to repair it.
BESIDE = frozenset(["restore_beside"])
# Waiting changes nothing, so it may start on unknown (a loading server is neither well nor sick).
PASSIVE = frozenset(["wait"]) | BESIDE
Reasons = t.List[t.Dict[str, t.Any]]


def judge_before(before: t.Mapping[str, t.Any], refusals: t.Mapping[str, t.Any]) -> tuple[bool, Reasons]:
    """Return (there is something to do, reasons against doing it) for what `assess` saw.

    *refusals* maps a state of the component to what its remedy refuses it with: a code, or {code, case, values, ...}.
    """
    unseen = _unseen(before)
    if unseen:
        return False, [unseen]
    if before.get("health") == "well":
        return False, []
    subject = _subject_health(before)
    if subject == "well":
        return False, [reason("not_this_component", "%s is well; not well: %s" % (before.get("subject"), _sentence(before)))]
    actions = list(before.get("actions") or [])
    if actions and set(actions) <= PASSIVE:
        return True, []
    if before.get("state") in refusals:
        return False, [_refusal(before, refusals[str(before["state"])])]
    if subject != "sick":
        return False, [reason("health_unknown", _sentence(before))]
    if not actions:
        return False, [reason("state_not_handled", "%s: %s" % (before.get("state") or "sick", _sentence(before)))]
    return True, []


def _unseen(before: t.Mapping[str, t.Any]) -> t.Optional[dict[str, t.Any]]:
    """Return the reason where the right thing was not looked at, whatever its health: no probe, another instance, an input of ours."""
    if not before:
        return reason("health_unknown", "nothing was observed: the probe did not run")
    facts = before.get("facts") or {}
    if facts.get("identity_mismatch"):
        return reason("wrong_identity", _sentence(before), case="other_since" if facts.get("other_since") else "")
    checks = [before, *(before.get("checks") or [])]
    secrets = [check for check in checks if _is_ours(check, "secret")]
    if secrets:
        return reason("bad_input", _sentence(dict(secrets[0], checks=secrets)), case="secret_file")
    inputs = [check for check in checks if _is_ours(check, "input")]
    return reason("bad_input", _sentence(dict(inputs[0], checks=inputs))) if inputs else None


def _is_ours(check: t.Mapping[str, t.Any], finding: str) -> bool:
    """Return whether a check that decides found a mistake of ours instead of a state: a secret file, or another input."""
    findings = check.get("findings") or []
    return check.get("state") == "bad_input" and not check.get("beside") and any(one.get("name") == finding for one in findings)


def _subject_health(before: t.Mapping[str, t.Any]) -> str:
    for check in before.get("checks") or []:
        if check.get("name") == before.get("subject"):
            return str(check.get("health"))
    return str(before.get("health"))


def _refusal(before: t.Mapping[str, t.Any], given: t.Any) -> dict[str, t.Any]:
    more = refusal(given)
    code = more.pop("code")
    text = more.pop("text", "") or ("" if wording(code, more.get("case", "")).text else _sentence(before))
    made = reason(code, text, **more)
    # A view that shows a reason also shows its code.
    return made if code == before["state"] else dict(made, text="%s: %s" % (before["state"], made["text"]))


def _sentence(before: t.Mapping[str, t.Any]) -> str:
    """Return the findings that are not well as one sentence, those of single checks included."""
    findings = list(before.get("findings") or [])
    for check in before.get("checks") or []:
        findings += check.get("findings") or []
    # A check that was skipped comes after the findings; if it is the only one, it is the reason.
    told = [one for one in findings if one.get("state") != "well"]
    texts = [str(one.get("text")) for one in [one for one in told if one.get("name") != "needs"] or told]
    return "; ".join(dict.fromkeys(texts)) or "no finding"


def attempted_elsewhere(before: t.Mapping[str, t.Any], action: str) -> int:
    """Return how often others tried *action* within the budget's time, as the probe saw it (facts.attempted_elsewhere)."""
    count = ((before.get("facts") or {}).get("attempted_elsewhere") or {}).get(action)
    return count if isinstance(count, int) and count > 0 else 0


def judge_evidence(evidence: t.Mapping[str, t.Any], override: str) -> Reasons:
    """Return the reason against acting if the evidence was not captured and that was not overridden."""
    if evidence.get("ok") or override:
        return []
    return [reason("evidence_missing", "the evidence could not be saved: %s" % (evidence.get("error") or "nothing was captured"))]
