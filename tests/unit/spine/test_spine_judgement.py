# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the spine judges: lease, guard, outcome, freeze, approval, budget and ladder, each as a table."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import freeze
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import reasons as spine_reasons
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.guard import (
    attempted_elsewhere,
    judge_before,
    judge_evidence,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.lease import judge_lease
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.loss import inherited, loss_of_run
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.outcome import (
    is_green,
    judge_outcome,
    rung,
    why_red,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.shared import budget_of, judge_budget
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_reconcile

ROOT = Path(__file__).resolve().parents[3]
HELD = {"run_id": "R1", "owner": "ann", "host": "lab", "component": "redis", "phase": "begin start", "taken_at": 0.0, "beat_at": 0.0}


def held(ends_at: float = 100.0, acting_until: float | None = None) -> dict[str, t.Any]:
    return dict(HELD, ends_at=ends_at, acting_until=acting_until)


@pytest.mark.parametrize(
    ("lease", "more", "take", "code"),
    [
        (None, {}, True, None),
        (held(), {}, False, "lease_held"),
        (held(ends_at=50.0), {}, True, None),
        (held(ends_at=50.001), {}, False, "lease_held"),
        (held(ends_at=10.0), {"processes": [7]}, False, "lease_held"),
        (held(), {"controller_dead": True}, True, None),
        (held(acting_until=50.1), {"controller_dead": True}, False, "dead_run_acting"),
        (held(acting_until=50.0), {"controller_dead": True}, True, None),
        (held(), {"controller_dead": True, "processes": [7]}, False, "lease_held"),
        (held(), {"takeover": True}, True, None),
        (held(acting_until=90.0), {"takeover": True, "processes": [7]}, True, None),
    ],
)
def test_a_lease_is_taken_only_when_free_or_its_run_is_dead_or_a_person_says_so(
    lease: dict[str, t.Any] | None, more: dict[str, t.Any], take: bool, code: str | None
) -> None:
    verdict = judge_lease(lease, now=50.0, **more)
    assert (verdict["take"], (verdict["reason"] or {}).get("code")) == (take, code)
    assert bool(verdict["proof"]) == (take and lease is not None)


def test_a_refusal_says_who_holds_the_lease_and_how_long_still() -> None:
    reason = judge_lease(held(), now=50.0, processes=[7, 8])["reason"]
    assert all(word in reason["text"] for word in ("R1", "ann", "redis", "lab", "begin start", "ends in 50 s", "7, 8"))
    assert (reason["retry_after"], reason["holder"]["run_id"]) == (50, "R1")
    later = judge_lease(dict(held(ends_at=30.0), taken_at=10.0), now=50.0, processes=[7])["reason"]
    assert ("for 40 s" in later["text"], "ends in 0 s" in later["text"], later["retry_after"]) == (True, True, 0)
    acting = judge_lease(held(acting_until=50.14), now=50.0, controller_dead=True)["reason"]
    assert ("another 0.1 s" in acting["text"], acting["retry_after"]) == (True, 0.1)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.one_of(st.none(), st.floats(0, 1e6)), st.booleans(), st.booleans())
def test_a_run_with_a_living_process_or_an_act_under_way_never_loses_its_lease(
    now: float, ends_at: float, acting: float | None, alive: bool, dead: bool
) -> None:
    verdict = judge_lease(held(ends_at, acting), now=now, processes=[7] if alive else [], controller_dead=dead)
    if alive or (now < ends_at and not dead) or (now < ends_at and acting is not None and now < acting):
        assert not verdict["take"]


SICK = {"health": "sick", "state": "down_clean", "actions": ["start"], "findings": [{"state": "sick", "text": "no process"}]}
SUBJECT = {
    "health": "sick",
    "state": "up",
    "subject": "redis",
    "checks": [
        {"name": "redis", "health": "well"},
        {"name": "api", "health": "sick", "findings": [{"state": "sick", "text": "503"}]},
    ],
}


@pytest.mark.parametrize(
    ("before", "refusals", "to_do", "code"),
    [
        ({}, {}, False, "health_unknown"),
        ({"health": "well"}, {}, False, None),
        (SICK, {}, True, None),
        ({**SICK, "actions": []}, {}, False, "state_not_handled"),
        ({**SICK, "health": "unknown"}, {}, False, "health_unknown"),
        ({"health": "unknown", "state": "loading", "actions": ["wait"]}, {}, True, None),
        ({**SICK, "facts": {"identity_mismatch": True}}, {}, False, "wrong_identity"),
        ({"health": "well", "facts": {"identity_mismatch": True}}, {}, False, "wrong_identity"),
        (SICK, {"down_clean": {"code": "state_not_handled", "text": "a person has to"}}, False, "state_not_handled"),
        (SICK, {"hung": {"code": "state_not_handled"}}, True, None),
        (SUBJECT, {}, False, "not_this_component"),
        ({"health": "nonsense", "actions": ["start"]}, {}, False, "health_unknown"),
    ],
)
def test_only_a_sick_state_with_a_known_act_is_acted_on(
    before: dict[str, t.Any], refusals: dict[str, t.Any], to_do: bool, code: str | None
) -> None:
    found, reasons = judge_before(before, refusals)
    assert (found, reasons[0]["code"] if reasons else None) == (to_do, code)


def test_a_refusal_does_not_tell_what_was_not_looked_at() -> None:
    left_out = {"name": "needs", "state": "unknown", "text": "not looked at"}
    _todo, (reason,) = judge_before({**SICK, "actions": [], "checks": [{"name": "api", "findings": [left_out]}]}, {})
    assert reason["text"] == "down_clean: no process"


def ours(check: str, finding: str, text: str, **more: t.Any) -> dict[str, t.Any]:
    """Return a check that ran into a mistake of ours."""
    told = {"name": finding, "state": "unknown", "text": text}
    return {"name": check, "health": "unknown", "state": "bad_input", "findings": [told], **more}


@pytest.mark.parametrize(
    ("checks", "code", "text"),
    [
        ([ours("a", "input", "no such profile")], "bad_input", "no such profile"),
        ([ours("a", "input", "one"), ours("b", "input", "two")], "bad_input", "one; two"),
        ([ours("a", "input", "one"), ours("b", "secret", "no file"), ours("c", "secret", "no right")], "bad_input", "no file; no right"),
        # A state of the thing itself, another finding, and a check that only stands beside decide nothing.
        ([ours("a", "input", "one", state="hung")], "health_unknown", "one"),
        ([ours("a", "answer", "one")], "health_unknown", "one"),
        ([ours("a", "input", "one", beside=True)], "health_unknown", "one"),
    ],
)
def test_a_mistake_of_ours_is_told_whatever_else_is_seen(checks: list[dict[str, t.Any]], code: str, text: str) -> None:
    _todo, (reason,) = judge_before({"health": "unknown", "state": "unknown", "findings": [], "actions": ["start"], "checks": checks}, {})
    assert (reason["code"], reason["text"]) == (code, text)


def test_what_changes_nothing_may_begin_on_unknown_alone_and_together() -> None:
    for actions in (["wait"], ["restore_beside"], ["wait", "restore_beside"]):
        assert judge_before({**SICK, "health": "unknown", "actions": actions}, {}) == (True, [])
    assert judge_before({**SICK, "health": "unknown", "actions": ["wait", "start"]}, {})[0] is False


def test_a_refusal_of_a_remedy_speaks_its_own_words() -> None:
    given_words = {"code": "state_not_handled", "text": "the base is damaged", "unblock": "restore", "next_command": "do it"}
    _todo, (reason,) = judge_before(SICK, {"down_clean": given_words})
    assert (reason["text"], reason["unblock"], reason["next_command"]) == ("down_clean: the base is damaged", "restore", "do it")


@pytest.mark.parametrize(
    ("evidence", "override", "codes"),
    [
        ({"ok": True}, "", []),
        ({"ok": False, "error": "disk full"}, "", ["evidence_missing"]),
        ({}, "", ["evidence_missing"]),
        ({}, "fire", []),
    ],
)
def test_without_evidence_nothing_is_done_unless_a_person_says_why(evidence: dict[str, t.Any], override: str, codes: list[str]) -> None:
    assert [one["code"] for one in judge_evidence(evidence, override)] == codes


GO: dict[str, t.Any] = {"proceed": True, "reasons": []}
NO: dict[str, t.Any] = {"proceed": False, "reasons": [{"code": "frozen"}]}
WELL = {"health": "well", "proven": True}
FAILED = {"msg": "no"}
LOST = {"msg": "gone", "reasons": [{"code": "unreachable"}], "lost": True}
ASKED = {"msg": "no", "reasons": [{"code": "approval_needed"}]}
FENCED = {"msg": "no", "reasons": [{"code": "fenced"}]}


@pytest.mark.parametrize(
    ("verdict", "acts", "undone", "after", "failure", "more", "word"),
    [
        ({}, [], [], {}, FAILED, {}, "failed"),
        ({}, [], [], {}, {}, {}, "failed"),
        (None, [], [], {}, FENCED, {}, "refused"),
        (NO, [], [], {}, {}, {}, "refused"),
        ({"proceed": False, "reasons": []}, [], [], {}, {}, {}, "nothing_to_do"),
        ({"proceed": False, "reasons": []}, [], [], {}, FAILED, {}, "failed"),
        (GO, ["start"], [], WELL, {}, {}, "recovered"),
        (GO, ["start"], [], WELL, {}, {"loss": {"text": "2 keys"}}, "recovered_with_loss"),
        (GO, ["start"], [], WELL, {}, {"loss": {"count": 0, "exact": True, "text": "all was kept"}}, "recovered"),
        (GO, ["start"], [], WELL, {}, {"loss": {"count": 0, "exact": False}}, "recovered_with_loss"),
        (GO, ["start"], [], WELL, {}, {"loss": {"count": 1, "exact": True}}, "recovered_with_loss"),
        (GO, ["start"], [], WELL, {}, {"loss": {"count": None, "exact": False}}, "recovered_with_loss"),
        (GO, ["start"], [], {"health": "well", "proven": False}, {}, {}, "unproven"),
        (GO, ["start"], [], {"health": "unknown"}, {}, {}, "unproven"),
        (GO, ["start"], [], {}, {}, {}, "unproven"),
        (GO, ["start"], [], {"health": "sick"}, {}, {}, "failed"),
        (GO, [], [], {}, {}, {"check": True}, "rehearsed"),
        (GO, [], [], {}, FAILED, {"check": True}, "failed"),
        (GO, ["start"], [], {}, FAILED, {}, "failed"),
        (GO, ["start"], ["stop"], {}, FAILED, {"undo_ok": True}, "undone"),
        (GO, ["start"], ["stop"], {}, FAILED, {"undo_ok": False}, "failed"),
        (GO, ["start"], [], {}, FAILED, {"undo_ok": True}, "failed"),
        (GO, ["hold"], ["release"], {}, ASKED, {"undo_ok": True}, "refused"),
        (GO, ["hold"], ["release"], {}, ASKED, {"undo_ok": False}, "failed"),
        (GO, ["hold"], ["release"], {}, FENCED, {"undo_ok": True}, "undone"),
        (GO, [], [], {}, FENCED, {}, "refused"),
        (GO, ["start"], [], {}, FENCED, {}, "refused"),
        (GO, ["start"], [], WELL, LOST, {}, "unproven"),
        (GO, [], [], {}, LOST, {}, "refused"),
    ],
)
def test_every_run_ends_in_one_outcome(
    verdict: dict[str, t.Any] | None,
    acts: list[str],
    undone: list[str],
    after: dict[str, t.Any],
    failure: dict[str, t.Any],
    more: dict[str, t.Any],
    word: str,
) -> None:
    given_more: dict[str, t.Any] = {"undo_ok": False, "check": False, "loss": {"count": 0, "exact": True}, **more}
    assert judge_outcome(verdict, acts, undone, after, failure, **given_more) == word


words = st.sampled_from(["well", "sick", "unknown", ""])


@given(words, st.booleans(), st.booleans(), st.booleans(), st.lists(st.just("start")), st.sampled_from([{}, FAILED, LOST, FENCED]))
def test_green_after_an_act_means_proven_well(
    health: str, proven: bool, undo_ok: bool, go: bool, acts: list[str], failure: dict[str, t.Any]
) -> None:
    verdict = GO if go else NO
    after = {"health": health, "proven": proven}
    word = judge_outcome(verdict, acts, [], after, failure, undo_ok=undo_ok, check=False, loss={})
    if is_green(word, {}):
        assert go
        assert not failure
        assert health == "well"
        assert proven


SEEN = "all of them were counted"
LOSS: dict[str, t.Any] = {
    "count": None, "exact": False, "unit": "", "text": "", "approved": False, "known_before": None, "present_after": None, "witness": "",
}  # fmt: skip


def of(more: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a loss in its form; one that is not proven to be none is suspected."""
    return {**LOSS, "suspected": (more.get("count"), more.get("exact")) != (0, True), **more}


QUIET = {"suspected": False, "witness": SEEN, "text": "x"}
SILENT = {"text": "nothing proves that this lost no data"}
NONE = {"count": 0, "exact": True}
TWO = {"loss": {"count": 2, "unit": "keys", "exact": True}, "tolerance": 0}
ABOUT_TWO = {"loss": {"count": 2, "exact": False}}
UNKNOWN: dict[str, t.Any] = {"loss": {}}
FEWER = {
    "count": None,
    "exact": False,
    "known_before": 609,
    "present_after": 510,
    "text": "at least 99 of those known before are missing",
}


@pytest.mark.parametrize(
    ("given_loss", "approval", "more"),
    [
        # What is missing for certain is said once, the larger number of the two.
        ({"text": "x", "least": 5}, {}, {"text": "at least 5 of those known before are missing; x"}),
        ({"count": 5, "least": 5}, {}, {"count": 5}),
        ({"text": "x", "least": 2, "known_before": 9, "present_after": 5}, {},
         {"text": "at least 4 of those known before are missing; x", "known_before": 9, "present_after": 5}),
        # Who says nothing after an act says "unknown".
        ({}, {}, SILENT),
        ({}, TWO, SILENT),
        ({}, UNKNOWN, {**SILENT, "approved": True}),
        # Neither 0 nor exact without a witness.
        ({"count": 0}, {}, SILENT),
        ({"count": 0, "exact": True}, {}, SILENT),
        ({"count": 0, "exact": False, "witness": SEEN}, {}, {**SILENT, "witness": SEEN}),
        ({"count": 0, "exact": True, "witness": SEEN}, {}, {**NONE, "witness": SEEN}),
        ({"count": 0, "exact": True, "witness": SEEN, "approved": True}, {}, {**NONE, "witness": SEEN}),
        ({"count": 2, "exact": True}, {}, {"count": 2}),
        ({"count": "2", "exact": "True", "approved": "False", "witness": SEEN}, {}, {"count": 2, "exact": True, "witness": SEEN}),
        ({"count": "many", "exact": True, "witness": SEEN}, {}, {**SILENT, "witness": SEEN}),
        # Not proven, but nothing speaks for a loss: whoever says so has to say what was seen, and what it would not show.
        (QUIET, {}, QUIET),
        ({**QUIET, "suspected": "False"}, {}, QUIET),
        ({**QUIET, "suspected": True}, {}, {**QUIET, "suspected": True}),
        ({**QUIET, "witness": ""}, {}, {"text": "x"}),
        ({**QUIET, "text": ""}, {}, {**SILENT, "witness": SEEN}),
        ({**QUIET, "count": 2}, {}, {"count": 2, "witness": SEEN, "text": "x"}),
        ({**QUIET, "known_before": 2, "present_after": 1}, {},
         {"text": "at least 1 of those known before are missing; x", "known_before": 2, "present_after": 1}),
        # More than a plan said is not approved, and unknown may be more.
        ({"text": "x"}, {}, {"text": "x"}),
        ({"text": "x"}, TWO, {"text": "x"}),
        ({"text": "x"}, UNKNOWN, {"text": "x", "approved": True}),
        ({"text": "x", "approved": True}, {}, {"text": "x", "approved": True}),
        ({"count": 2, "unit": "keys"}, TWO, {"count": 2, "unit": "keys", "approved": True}),
        ({"count": 2, "approved": False}, TWO, {"count": 2}),
        ({"count": 3}, TWO, {"count": 3}),
        ({"count": 3, "approved": True}, TWO, {"count": 3}),
        ({"count": 3}, {**TWO, "tolerance": 1}, {"count": 3, "approved": True}),
        ({"count": 3}, ABOUT_TWO, {"count": 3}),
        ({"count": 2}, ABOUT_TWO, {"count": 2, "approved": True}),
        ({"count": 9}, UNKNOWN, {"count": 9, "approved": True}),
        ({"count": 2, "approved": True}, {}, {"count": 2, "approved": True}),
        # What is missing of what was known is lost, whatever the remedy says; a number that is refuted leaves only the least.
        ({"count": 0, "exact": True, "witness": SEEN, "known_before": 609, "present_after": 510}, {}, FEWER),
        ({"count": 98, "approved": True, "known_before": 609, "present_after": 510}, {}, FEWER),
        ({"count": 98, "known_before": 609, "present_after": 510}, {"loss": {"count": 98, "exact": True}}, FEWER),
        ({"count": 98, "known_before": 609, "present_after": 510}, {"loss": {"count": 99}}, FEWER),
        ({"count": 98, "known_before": 609, "present_after": 510}, UNKNOWN, {**FEWER, "approved": True}),
        ({"count": 99, "known_before": 609, "present_after": 510}, {}, {"count": 99, "known_before": 609, "present_after": 510}),
        ({"text": "x", "known_before": 2, "present_after": 1}, {},
         {"text": "at least 1 of those known before are missing; x", "known_before": 2, "present_after": 1}),
        ({"known_before": -1, "present_after": "7"}, {}, {**SILENT, "present_after": 7}),
        ({"count": 0, "exact": True, "witness": SEEN, "known_before": 7, "present_after": 9}, {},
         {**NONE, "witness": SEEN, "known_before": 7, "present_after": 9}),
    ],
)  # fmt: skip
def test_a_loss_is_what_a_witness_proves_and_more_than_was_approved_is_not(
    given_loss: dict[str, t.Any], approval: dict[str, t.Any], more: dict[str, t.Any]
) -> None:
    assert loss_of_run(given_loss, approval, ["start"], {}) == of(more)


KEEPS = {"hold": "files were only read", "look": "files were only read", "wait": "it was left alone"}


@pytest.mark.parametrize(
    ("given_loss", "acts", "more"),
    [
        ({}, [], {**NONE, "witness": "nothing was done"}),
        # What a remedy would say of acts that were never begun does not count.
        ({"text": "the kill lost something"}, [], {**NONE, "witness": "nothing was done", "text": ""}),
        ({}, ["hold", "look"], {**NONE, "witness": "files were only read"}),
        ({}, ["hold", "wait"], {**NONE, "witness": "files were only read; it was left alone"}),
        ({}, ["hold", "start"], SILENT),
        ({"count": 0, "exact": True, "witness": SEEN}, ["hold", "start"], {**NONE, "witness": SEEN}),
        ({"count": 3}, ["hold"], {"count": 3}),
        # Acts that lose nothing do not make known what the remedy says is unknown.
        ({"count": None, "text": "x"}, ["hold"], {"text": "x"}),
        ({"count": "many", "text": "x"}, ["hold", "look"], {"text": "x"}),
        ({"count": None, "text": ""}, ["hold"], {**NONE, "witness": "files were only read"}),
        ({"count": 0, "text": "x"}, ["hold"], {**NONE, "witness": "files were only read"}),
        ({"known_before": 3, "present_after": 2}, ["hold"],
         {"known_before": 3, "present_after": 2, "text": "at least 1 of those known before are missing"}),
    ],
)  # fmt: skip
def test_what_cannot_lose_data_loses_none(given_loss: dict[str, t.Any], acts: list[str], more: dict[str, t.Any]) -> None:
    assert loss_of_run(given_loss, {}, acts, KEEPS) == of(more)


@pytest.mark.parametrize(
    ("plan", "loss"),
    [
        ({}, {}),
        ({"run_id": "R1", "plan": "cut", "text": "cut it", "loss": {"count": 0, "exact": True}}, {}),
        (
            {"run_id": "R1", "plan": "cut", "text": "cut it", "loss": {"count": 4, "exact": True, "unit": "keys"}},
            {"count": 4, "unit": "keys", "exact": False, "approved": True, "text": "run R1 started this and died: cut cut it"},
        ),
    ],
)
def test_what_a_dead_run_may_have_lost_is_not_forgotten(plan: dict[str, t.Any], loss: dict[str, t.Any]) -> None:
    assert inherited(plan) == loss
    if loss:
        assert loss_of_run(loss, {}, ["?"], {}) == of(loss)


@pytest.mark.parametrize(
    ("outcome", "loss", "green"),
    [
        ("recovered", {}, True),
        ("nothing_to_do", {}, True),
        ("rehearsed", {}, True),
        ("recovered_with_loss", {"text": "x", "approved": "token"}, True),
        ("recovered_with_loss", {"text": "x"}, False),
        ("refused", {}, False),
        ("unproven", {}, False),
        ("undone", {}, False),
        ("failed", {}, False),
        ("abandoned", {}, False),
    ],
)
def test_green_is_well_or_an_approved_loss(outcome: str, loss: dict[str, t.Any], green: bool) -> None:
    assert is_green(outcome, loss) is green


@pytest.mark.parametrize(("tried", "page"), [(0, None), (1, "first"), (2, "second"), (9, "second")])
def test_the_ladder_pages_the_highest_rung_that_was_reached(tried: int, page: str | None) -> None:
    ladder = [{"after_attempts": 2, "page": "second"}, {"after_attempts": 1, "page": "first"}]
    assert (rung(ladder, tried) or {}).get("page") == page


BUDGET = {"attempts": 2, "recoveries": 3, "within_seconds": 900}


@pytest.mark.parametrize(
    ("outcomes", "codes"),
    [
        (["recovered", "recovered"], []),
        (["recovered", "recovered", "failed"], []),
        (["recovered", "recovered_with_loss", "recovered"], ["flapping"]),
        (["failed", "recovered", "undone"], ["budget_spent"]),
        (["failed", "unproven"], ["budget_spent"]),
        (["abandoned", None], ["budget_spent"]),
        (["refused", "refused"], ["budget_spent"]),
        (["asked", "asked", "asked", "failed"], []),
        (["recovered"] * 4 + ["failed"] * 2, ["budget_spent"]),
    ],
)
def test_what_counts_is_an_act_begun_in_a_run_that_did_not_end_recovered(outcomes: list[str | None], codes: list[str]) -> None:
    tried = [
        {"run_id": f"R{n}", "outcome": "refused" if word == "asked" else word, "asked": word == "asked"} for n, word in enumerate(outcomes)
    ]
    assert [one["code"] for one in judge_budget(tried, BUDGET, "start")] == codes


def test_several_acts_of_one_run_are_one_recovery_and_flapping_names_the_runs() -> None:
    tried = [{"run_id": run, "outcome": "recovered"} for run in ("R1", "R1", "R2", "R2")]
    assert judge_budget(tried, BUDGET, "start") == []
    (reason,) = judge_budget([*tried, {"run_id": "R3", "outcome": "recovered"}], BUDGET, "start")
    assert all(word in reason["text"] for word in ("3 times", "900 s", "R1, R2, R3"))


@pytest.mark.parametrize(("attempts", "codes"), [(0, []), (1, []), (2, ["budget_spent"]), (3, ["budget_spent"])])
def test_a_spent_budget_names_the_runs_that_spent_it(attempts: int, codes: list[str]) -> None:
    tried = [{"run_id": f"R{n}", "outcome": None} for n in range(attempts)]
    reasons = judge_budget(tried, BUDGET, "start")
    assert [one["code"] for one in reasons] == codes
    assert all(f"R{n} (unfinished)" in reasons[0]["text"] for n in range(attempts) if codes)


@pytest.mark.parametrize(("attempts", "elsewhere", "codes"), [(0, 1, []), (1, 1, ["budget_spent"]), (0, 2, ["budget_spent"])])
def test_what_others_tried_counts_in_the_budget_and_is_named(attempts: int, elsewhere: int, codes: list[str]) -> None:
    tried = [{"run_id": f"r{number}", "outcome": "failed"} for number in range(attempts)]
    reasons = judge_budget(tried, BUDGET, "restart", elsewhere)
    assert [one["code"] for one in reasons] == codes
    assert all(f"{elsewhere} by its service manager" in one["text"] for one in reasons)


@pytest.mark.parametrize(
    ("told", "count"), [({"restart": 2}, 2), ({"start": 2}, 0), ({"restart": None}, 0), ({"restart": -1}, 0), ({"restart": 1}, 1)]
)
def test_what_others_tried_is_what_the_probe_says_of_that_act(told: dict[str, int | None], count: int) -> None:
    assert attempted_elsewhere({"facts": {"attempted_elsewhere": told}}, "restart") == count


def test_a_budget_of_which_one_half_is_given_has_the_other_by_default() -> None:
    assert budget_of({"budget": {"attempts": 5}}) == {"attempts": 5, "recoveries": 5, "within_seconds": 900.0}
    assert budget_of({"budget": {"recoveries": 1}}) == {"attempts": 2, "recoveries": 1, "within_seconds": 900.0}
    assert budget_of({"budget": None}) == {"attempts": 2, "recoveries": 3, "within_seconds": 900.0}


NOON = freeze.parse_time("2026-12-24T12:00:00Z")
WINDOW = {"start": "2026-12-24T12:00:00Z", "end": "2026-12-24T14:00:00+01:00", "reason": "holiday"}


@pytest.mark.parametrize(
    ("flags", "windows", "now", "override", "codes"),
    [
        ({}, [], NOON, "", []),
        ({}, [WINDOW], NOON - 0.1, "", []),
        ({}, [WINDOW], NOON, "", ["frozen"]),
        ({}, [WINDOW], NOON + 3599, "", ["frozen"]),
        ({}, [WINDOW], NOON + 3600, "", []),
        ({}, [WINDOW], NOON, "fire", []),
        ({"freeze": "f"}, [WINDOW], NOON, "", ["frozen", "frozen"]),
        ({"kill": "k"}, [], NOON, "fire", ["kill_switch"]),
    ],
)
def test_a_freeze_stops_acts_and_nothing_overrides_the_kill_switch(
    flags: dict[str, str], windows: list[dict[str, str]], now: float, override: str, codes: list[str]
) -> None:
    assert [one["code"] for one in freeze.judge_freeze(flags, windows, now=now, override=override)] == codes


@pytest.mark.parametrize("text", ["2026-12-24T18:00:00", "tomorrow", "", "2026-12-24", None, "{{ 7*7 }}\x1b[31m"])
def test_a_time_without_a_zone_is_refused_in_one_line(text: str | None) -> None:
    with pytest.raises(StepError, match="remediation_freeze_windows") as caught:
        freeze.parse_time(text)
    assert caught.value.data["reasons"][0]["code"] == "bad_input"
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["2026-12-24T12:00:00Z", "2026-12-24t12:00:00z".upper(), "2026-12-24T13:00:00+01:00", "2026-12-24 12:00:00+00:00"]
)
def test_one_moment_may_be_written_in_several_ways(text: str) -> None:
    assert freeze.parse_time(text) == NOON


def test_a_flag_file_that_cannot_be_read_counts_as_set(tmp_path: Path) -> None:
    (tmp_path / "freeze").mkdir()
    (tmp_path / "kill").write_text("stop\x1b[31m it")
    flags = freeze.load_flags(str(tmp_path))
    assert "freeze" in flags["freeze"]
    assert flags["kill"].endswith("stop\\x1b[31m it")
    assert freeze.load_flags(str(tmp_path / "none")) == {"freeze": None, "kill": None}
    (tmp_path / "more").write_text("and that")
    assert freeze.load_flags(str(tmp_path), [str(tmp_path / "more")]) == flags
    assert str(freeze.load_flags(str(tmp_path / "none"), [str(tmp_path / "more")])["kill"]).endswith("and that")


def test_next_commands_are_filled_in_and_a_brace_in_a_name_stays() -> None:
    (filled,) = spine_reasons.with_commands([spine_reasons.reason("frozen", "x")], {"again": "ansible-playbook 'a {history} b'"})
    assert filled["next_command"] == "ansible-playbook 'a {history} b' -e 'remediation_freeze_override=\"WHY\"'"


def test_what_is_to_be_given_anew_is_not_said_twice() -> None:
    again = "ansible-playbook playbooks/rollback.yml -e rollback_release=v9 -e rollback_what=auto"
    (filled,) = spine_reasons.with_commands(
        [spine_reasons.reason("tag_moved", "x", next_command="{again} -e rollback_release=ID")], {"again": again}
    )
    assert filled["next_command"] == "ansible-playbook playbooks/rollback.yml -e rollback_what=auto -e rollback_release=ID"


def test_a_code_that_is_not_listed_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(KeyError):
        spine_reasons.reason("no_such_code", "x")


REASON = {"code": "no_room", "text": "the disk is full", "unblock": "free space", "next_command": "ansible-playbook x.yml"}


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ({"outcome": "recovered", "green": True}, ""),
        ({"outcome": "failed", "green": False}, "outcome: failed"),
        ({"outcome": "failed", "green": False, "reasons": None}, "outcome: failed"),
        (
            {"outcome": "refused", "green": False, "reasons": [REASON, dict(REASON, code="frozen")]},
            "outcome: refused; no_room: the disk is full; free space; next: ansible-playbook x.yml",
        ),
        ({"outcome": "refused", "green": False, "reasons": [{"code": "frozen", "text": "a freeze"}]}, "outcome: refused; frozen: a freeze"),
        ({"outcome": "failed", "green": False, "left": [{"text": "it is held"}, {"text": "more"}]}, "outcome: failed; left: it is held"),
    ],
)
def test_why_a_run_is_red_fits_in_one_line(outcome: dict[str, t.Any], line: str) -> None:
    assert why_red(outcome) == line


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("service_manager", "service_manager"),
        ("service_manager/x", ""),
        ("traffic_scaling/set/api", "traffic_scaling"),
        ("traffic_scaling", ""),
        ("redis_reload", ""),
        ("", ""),
    ],
)
def test_what_is_due_names_who_ends_it(kind: str, by: str) -> None:
    assert remediation_reconcile._ended_by(kind) == by
