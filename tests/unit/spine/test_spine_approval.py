# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan, approve, apply: a token approves one plan on one target in one state, once and for a while; whatever else it meets refuses it."""

from __future__ import annotations

import string
import typing as t
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import approval as spine_approval
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_guard as guard
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_open as opening

Plan = t.Dict[str, t.Any]
KEY = b"k" * 32
SINGLE: Plan = {
    "target": {"host": "lab", "component": "redis"},
    "identity": {"run_id": "abc"},
    "state": "hung",
    "acts": ["restart"],
    "name": "expected_loss",
    "offered": ["expected_loss"],
    "text": "50 keys",
}
SALVAGE: Plan = {
    **SINGLE,
    "name": "salvage",
    "offered": ["cut", "salvage"],
    "text": "loads 9998 keys",
    "loss": {"count": 2, "unit": "keys", "exact": True},
    "binds": {"sha256": "a" * 64, "server": "1234"},
    "counts": {},
    "tolerance": 0.0,
}
CUT: Plan = {**SALVAGE, "name": "cut", "loss": {"count": 5000, "unit": "keys", "exact": True}, "binds": {"sha256": "b" * 64}}
# A living Redis: how many keys match moves while a person reads.
CLEAR: Plan = {
    **SALVAGE,
    "name": "clear",
    "loss": {"count": 200, "unit": "keys", "exact": True},
    "counts": {"matching": 200},
    "tolerance": 0.05,
}


def judged(token: str, plans: t.Sequence[Plan] = (SALVAGE, CUT), now: float = 10.0, used: t.Collection[str] = (), key: bytes = KEY) -> str:
    """Return the name of the plan that is approved, or the code of the refusal."""
    offered = spine_approval.offers(plans, key, 900, ())
    plan, refusal = spine_approval.judge_approval(token, plans, key, now=now, used=used, offered=offered)
    assert (plan is None) is (refusal is not None)
    if plan is not None:
        return str(plan["name"])
    assert refusal is not None
    assert [one["name"] for one in refusal["plans"]] == [one["name"] or "" for one in plans]
    return str(refusal["code"])


def token_of(plan: Plan, expires: int = 20) -> str:
    return spine_approval.issue(plan, KEY, expires=expires)


GOOD, COUNTED, LONE = token_of(SALVAGE), token_of(CLEAR), token_of(SINGLE)
TARGET, PLAN, EXPIRES, MAC = GOOD.split(".")


@pytest.mark.parametrize(
    ("token", "more", "answer"),
    [
        ("", {}, "approval_needed"),
        (GOOD, {}, "salvage"),
        (token_of(CUT), {}, "cut"),
        (GOOD, {"now": 19.9}, "salvage"),
        (GOOD, {"now": 20.0}, "approval_stale"),
        (GOOD, {"used": [GOOD]}, "approval_stale"),
        (GOOD, {"used": [token_of(CUT)]}, "salvage"),
        (GOOD, {"key": b"x" * 32}, "approval_other_target"),
        (GOOD, {"plans": [CUT]}, "approval_stale"),
        ("é.ü.1.ä", {}, "approval_other_target"),
        ("garbage", {}, "approval_other_target"),
        ("...", {}, "approval_other_target"),
        (LONE, {"plans": [SINGLE]}, "expected_loss"),
        (LONE, {"plans": [{**SINGLE, "text": "51 keys"}]}, "approval_stale"),
        (COUNTED, {"plans": [CLEAR]}, "clear"),
    ],
)
def test_an_approval_is_good_for_one_plan_once_and_for_a_while(token: str, more: dict[str, t.Any], answer: str) -> None:
    assert judged(token, **more) == answer


@pytest.mark.parametrize(
    "altered",
    [
        ".".join(("0" * 16, PLAN, EXPIRES, MAC)),
        ".".join((TARGET, "0" * 16, EXPIRES, MAC)),
        ".".join((TARGET, PLAN, "99", MAC)),
        ".".join((TARGET, PLAN, EXPIRES, "0" * 32)),
        ".".join((TARGET, PLAN, "5", EXPIRES, MAC)),
        ".".join((PLAN, TARGET, EXPIRES, MAC)),
        ".".join((TARGET, PLAN, MAC)),
        ".".join((TARGET, PLAN, EXPIRES)),
        ".".join((TARGET, PLAN, EXPIRES, MAC.upper())),
        ".".join((TARGET, PLAN, EXPIRES, MAC, "")),
        COUNTED.replace("200-200", "201-200"),
        COUNTED.replace(".200-200", ""),
        GOOD + "\n",
        " " + GOOD,
    ],
)
def test_a_token_that_was_altered_in_any_field_is_refused(altered: str) -> None:
    assert altered not in (GOOD, COUNTED)
    assert judged(altered, plans=[SALVAGE, CUT, CLEAR]) == "approval_other_target"


OTHER: list[tuple[str, t.Any]] = [
    ("target", {"host": "other", "component": "redis"}),
    ("target", {"host": "lab", "component": "api"}),
    ("identity", {"run_id": "other"}),
    ("identity", {}),
    ("state", "down_clean"),
    ("acts", ["restart", "start"]),
    ("acts", []),
    ("name", "cut"),
    ("offered", ["cut", "replica_1", "salvage"]),
    ("offered", ["salvage"]),
    ("binds", {"sha256": "a" * 63 + "c", "server": "1234"}),
    ("binds", {"sha256": "a" * 64, "server": "1235"}),
    ("binds", {"sha256": "a" * 64}),
    ("binds", {"sha256": "a" * 64, "server": "1234", "more": ""}),
    ("loss", {"count": 3, "unit": "keys", "exact": True}),
    ("loss", {"count": None, "unit": "keys", "exact": True}),
    ("loss", {"count": 2, "unit": "databases", "exact": True}),
    ("loss", {"count": 2, "unit": "keys", "exact": False}),
    ("tolerance", 0.5),
    ("counts", {"keys": 9998}),
]


@pytest.mark.parametrize(("field", "value"), OTHER)
def test_a_token_for_another_host_state_or_plan_is_refused(field: str, value: t.Any) -> None:
    code = "approval_other_target" if field == "target" else "approval_stale"
    assert judged(GOOD, plans=[{**SALVAGE, field: value}]) == code
    # And the other way round: what was approved there is not approved here.
    assert judged(token_of({**SALVAGE, field: value})) == code


def test_words_may_change_where_something_else_says_what_the_plan_is_about() -> None:
    assert judged(GOOD, plans=[{**SALVAGE, "text": "loads 9998 keys, last write 3 s ago"}]) == "salvage"


@pytest.mark.parametrize(
    ("counts", "lost", "tolerance", "good"),
    [
        ({"matching": 200}, 200, 0.05, True),
        ({"matching": 210}, 210, 0.05, True),
        ({"matching": 190}, 190, 0.05, True),
        ({"matching": 211}, 200, 0.05, False),
        ({"matching": 189}, 200, 0.05, False),
        ({"matching": 200}, 211, 0.05, False),
        ({"matching": 0}, 0, 0.05, False),
        ({"matching": 203}, 200, 3, True),
        ({"matching": 204}, 200, 3, False),
        ({"matching": 201}, 200, 0, False),
        ({"matching": 200, "all": 5}, 200, 0.05, False),
        ({"other": 200}, 200, 0.05, False),
        ({}, 200, 0.05, False),
    ],
)
def test_counts_may_move_within_the_tolerance_of_their_plan_and_no_further(
    counts: dict[str, int], lost: int, tolerance: float, good: bool
) -> None:
    approved = token_of({**CLEAR, "tolerance": tolerance})
    now = {**CLEAR, "tolerance": tolerance, "counts": counts, "loss": {"count": lost, "unit": "keys", "exact": True}}
    assert judged(approved, plans=[now]) == ("clear" if good else "approval_stale")


def test_a_count_of_nothing_moves_by_no_share() -> None:
    plan = {**CLEAR, "counts": {"matching": 0}, "loss": {}}
    assert judged(token_of(plan), plans=[plan]) == "clear"
    assert judged(token_of(plan), plans=[{**plan, "counts": {"matching": 1}}]) == "approval_stale"


TOKENS = st.sampled_from([GOOD, COUNTED, LONE])
WORD = st.text(st.one_of(st.sampled_from(string.hexdigits + ".-"), st.characters()), max_size=40)


@given(TOKENS, st.integers(0, 120), st.integers(0, 120), WORD)
@example(GOOD, 0, 0, "0").via("a character before it")
def test_a_token_with_anything_cut_out_or_put_in_approves_nothing(token: str, begin: int, size: int, word: str) -> None:
    altered = token[:begin] + word + token[begin + size :]
    assume(altered not in (GOOD, COUNTED, LONE, ""))
    assert judged(altered, plans=[SALVAGE, CUT, CLEAR, SINGLE]) == "approval_other_target"


@given(st.lists(st.sampled_from([*GOOD.split("."), *COUNTED.split("."), *LONE.split("."), ""]), max_size=6))
def test_the_fields_of_good_tokens_put_together_in_another_way_approve_nothing(fields: list[str]) -> None:
    altered = ".".join(fields)
    assume(altered not in (GOOD, COUNTED, LONE, ""))
    assert judged(altered, plans=[SALVAGE, CUT, CLEAR, SINGLE]) == "approval_other_target"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda of: st.dictionaries(st.text(max_size=4), of),
    max_leaves=4,
)


@given(st.sampled_from(["target", "identity", "state", "acts", "name", "offered", "tolerance"]), JSON)
def test_whatever_else_is_seen_when_it_is_applied_refuses_it(field: str, value: t.Any) -> None:
    assume(value != SALVAGE[field] and not (field == "tolerance" and value == 0))
    assert judged(GOOD, plans=[{**SALVAGE, field: value}]).startswith("approval_")


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=3))
def test_whatever_else_a_plan_is_about_refuses_it(binds: dict[str, t.Any]) -> None:
    assert judged(GOOD, plans=[{**SALVAGE, "binds": binds}]) == "approval_stale"


# At the guard, on a real ledger -------------------------------------------------------------------

SICK = {"health": "sick", "state": "down_bad_file", "actions": ["hold", "mend", "start"], "identity": {"data_dir": "/d"}}
PLANS = [{key: plan[key] for key in ("name", "text", "loss", "binds", "counts", "tolerance")} for plan in (SALVAGE, CUT)]


def defaults(step: t.Any, **more: t.Any) -> dict[str, t.Any]:
    return {**{name: option.get("default") for name, option in step.ARGUMENT_SPEC.items()}, **more}


class Keeper:
    """A ledger, and guards of runs on it; each guard is that of a run of its own, as when a person comes back with a token."""

    def __init__(self, state: Path) -> None:
        self.state, self.runs = str(state), 0

    def guard(self, approval: str = "", host: str = "lab", **more: t.Any) -> dict[str, t.Any]:
        self.runs += 1
        who = {"host": host, "component": "redis", "remedy": "redis_recovery", "run_id": f"R{self.runs}", "owner": "ann"}
        run = opening.run(defaults(opening, state_dir=self.state, takeover=True, **who), False)["run"]
        params = defaults(guard, state_dir=self.state, run=run, before=SICK, plans=PLANS, approval=approval)
        return dict(guard.run({**params, **more}, False)["verdict"])

    def count(self, kind: str) -> int:
        with open_ledger(self.state, True) as ledger:
            return len(ledger.rows("select * from journal where kind=?", kind))

    def last(self, kind: str) -> dict[str, t.Any]:
        with open_ledger(self.state, True) as ledger:
            return ledger.journal_of(f"R{self.runs}")[-1]["body"] if self.count(kind) else {}


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path / "state")


def test_a_plan_is_offered_with_a_token_each_approved_by_name_and_good_once(keeper: Keeper) -> None:
    asked = keeper.guard()
    assert (asked["proceed"], asked["approved"], asked["plan"]) == (False, "", "")
    (reason,) = asked["reasons"]
    assert (reason["code"], [plan["name"] for plan in reason["plans"]]) == ("approval_needed", ["salvage", "cut"])
    assert "salvage: loads 9998 keys; loses 2 keys" in reason["text"]
    tokens = {plan["name"]: plan["token"] for plan in reason["plans"]}
    chosen = keeper.guard(tokens["cut"])
    assert (chosen["proceed"], chosen["approved"], chosen["plan"]) == (True, tokens["cut"], "cut")
    kept = {key: value for key, value in PLANS[1].items() if key != "name"}
    assert keeper.last("approved") == {**kept, "plan": "cut", "token": tokens["cut"]}
    again = keeper.guard(tokens["cut"])
    assert (again["proceed"], again["reasons"][0]["code"]) == (False, "approval_stale")
    assert keeper.guard(tokens["salvage"])["plan"] == "salvage"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"host": "other"}, "approval_other_target"),
        ({"before": {**SICK, "state": "up_but_empty"}}, "approval_stale"),
        ({"before": {**SICK, "identity": {"data_dir": "/e"}}}, "approval_stale"),
        ({"before": {**SICK, "actions": ["start"]}}, "approval_stale"),
        ({"plans": PLANS[1:]}, "approval_stale"),
        ({"plans": [{**PLANS[0], "binds": {"sha256": "c" * 64}}, PLANS[1]]}, "approval_stale"),
        ({"plans": [{**PLANS[0], "binds": PLANS[1]["binds"]}, PLANS[1]]}, "approval_stale"),
        ({"plans": [{**PLANS[0], "loss": {"count": 3, "unit": "keys", "exact": True}}, PLANS[1]]}, "approval_stale"),
        ({"plans": [], "expected_loss": "loads 9998 keys"}, "approval_stale"),
    ],
)
def test_the_guard_reads_the_state_again_and_applies_exactly_what_was_approved(keeper: Keeper, more: dict[str, t.Any], code: str) -> None:
    token = keeper.guard()["reasons"][0]["plans"][0]["token"]
    refused = keeper.guard(token, **more)
    assert (refused["proceed"], refused["approved"], refused["plan"], refused["reasons"][0]["code"]) == (False, "", "", code)
    assert keeper.count("approved") == 0
    # A refusal uses nothing up.
    assert keeper.guard(token)["plan"] == "salvage"


def test_a_token_that_was_used_is_never_offered_again(keeper: Keeper) -> None:
    for _turn in range(3):
        token = keeper.guard()["reasons"][0]["token"]
        assert keeper.guard(token)["plan"] == "salvage"


def test_another_keepers_approval_is_none_here(keeper: Keeper, tmp_path: Path) -> None:
    token = Keeper(tmp_path / "other").guard()["reasons"][0]["token"]
    assert keeper.guard(token)["reasons"][0]["code"] == "approval_other_target"


def test_a_guard_in_the_middle_of_acting_fails_with_the_plans_as_data(keeper: Keeper) -> None:
    with pytest.raises(StepError, match="approval_needed") as caught:
        keeper.guard(must_proceed=True)
    assert [plan["name"] for plan in caught.value.data["reasons"][0]["plans"]] == ["salvage", "cut"]


def test_where_nothing_is_to_be_done_no_plan_is_offered(keeper: Keeper) -> None:
    verdict = keeper.guard(before={"health": "well", "state": "up"})
    assert (verdict["proceed"], verdict["reasons"], verdict["plan"]) == (False, [], "")


@pytest.mark.parametrize(
    "plans",
    [
        [{**PLANS[0], "counts": {"keys": -1}}],
        [{**PLANS[0], "counts": {"keys": 1.5}}],
        [{**PLANS[0], "counts": {"keys": True}}],
        [{**PLANS[0], "loss": {"count": -2}}],
        [{**PLANS[0], "tolerance": -0.1}],
        [PLANS[0], PLANS[0]],
        [{**PLANS[0], "name": ""}],
    ],
)
def test_a_crooked_plan_is_a_mistake_that_is_named(keeper: Keeper, plans: list[Plan]) -> None:
    with pytest.raises(StepError, match="plan"):
        keeper.guard(plans=plans)


def test_plans_and_an_expected_loss_together_are_refused(keeper: Keeper) -> None:
    with pytest.raises(StepError, match="either"):
        keeper.guard(expected_loss="50 keys")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({}, ""),
        ({"count": 2, "unit": "keys", "exact": True}, "loses 2 keys"),
        ({"count": 1, "unit": "keys", "exact": True}, "loses 1 key"),
        ({"count": 2, "unit": "keys", "exact": False}, "loses about 2 keys"),
        ({"count": None, "unit": "keys"}, "loses an unknown number of keys"),
        ({"count": 0, "unit": "keys", "exact": True}, "loses nothing"),
        ({"count": 0, "unit": "keys", "exact": False}, "probably loses no keys"),
        ({"count": 7}, "loses about 7 items"),
    ],
)
def test_a_loss_in_words(loss: dict[str, t.Any], words: str) -> None:
    assert spine_approval.told_loss(loss) == words


ABOUT = {"count": 20, "unit": "keys", "exact": False, "margin": 5}


@pytest.mark.parametrize(
    ("plan", "count", "covered"),
    [
        ({"loss": {"count": 20}}, 20, True),
        ({"loss": {"count": 20}}, 21, False),
        ({"loss": {"count": 20}}, 19, True),
        ({"loss": {"count": 20}}, None, False),
        ({"loss": {"count": 0}}, 0, True),
        ({"loss": {"count": 0}}, 1, False),
        # A loss that was approved as unknown covers any; a plan that says nothing of it is one.
        ({"loss": {"count": None}}, 10**9, True),
        ({"loss": {"count": None}}, None, True),
        ({"loss": {}}, 1, True),
        ({}, None, True),
        ({"loss": {"count": 20}, "tolerance": 0.1}, 22, True),
        ({"loss": {"count": 20}, "tolerance": 0.1}, 23, False),
        ({"loss": {"count": 20}, "tolerance": 1}, 21, True),
        ({"loss": {"count": 20}, "tolerance": 1}, 22, False),
        ({"loss": {"count": 20}, "tolerance": 3.0}, 23, True),
        ({"loss": {"count": 20}, "tolerance": 3.0}, 24, False),
        ({"loss": ABOUT}, 25, True),
        ({"loss": ABOUT}, 26, False),
        ({"loss": {**ABOUT, "exact": True}}, 21, False),
        ({"loss": ABOUT, "tolerance": 6}, 26, True),
        ({"loss": {**ABOUT, "margin": None}}, 21, False),
    ],
)
def test_a_loss_is_covered_by_what_was_approved_and_its_slack(plan: Plan, count: int | None, covered: bool) -> None:
    assert spine_approval.covers(plan, count) is covered


def test_a_digest_is_short_and_does_not_depend_on_the_order() -> None:
    assert spine_approval.digest({"a": 1, "b": 2}) == spine_approval.digest({"b": 2, "a": 1}) != spine_approval.digest({"a": 2, "b": 1})
    assert [len(part) for part in GOOD.split(".")] == [16, 16, 2, 32]


@pytest.mark.parametrize(
    ("plan", "then", "text"),
    [
        (CLEAR, [200, 200], ""),
        (CLEAR, [200, 210], ""),
        (CLEAR, [200, 191], ""),
        (CLEAR, [200, 190], "matching was 190 when the plan was approved and is 200 now"),
        (CLEAR, [211, 200], "loss was 211 when the plan was approved and is 200 now"),
        ({"counts": {"a": 1, "b": 2}}, [1, 3], "b was 3 when the plan was approved and is 2 now"),
        # A loss that is estimated anew each time may move by its margin, and nothing else by it.
        ({"counts": {"keys": 9}, "loss": ABOUT}, [9, 15], ""),
        ({"counts": {"keys": 9}, "loss": ABOUT}, [14, 20], "keys was 14 when the plan was approved and is 9 now"),
        ({"counts": {"keys": 9}, "loss": {**ABOUT, "exact": True}}, [9, 21], "loss was 21 when the plan was approved and is 20 now"),
    ],
)
def test_what_moved_between_plan_and_approval_is_named(plan: Plan, then: list[int], text: str) -> None:
    # In the order of the names: keys, loss; loss, matching.
    assert spine_approval.moved(plan, then) == text


def refusal_of(token: str, plans: t.Sequence[Plan], **more: t.Any) -> dict[str, t.Any]:
    offered = spine_approval.offers(plans, KEY, 900, ())
    given = {"now": 10.0, "used": (), **more}
    plan, refusal = spine_approval.judge_approval(token, plans, KEY, offered=offered, **given)
    assert plan is None
    assert refusal is not None
    return refusal


def test_a_refused_approval_says_why() -> None:
    assert refusal_of("", [SINGLE])["text"].startswith("this plan may lose data and needs an approval: expected_loss")
    harmless = {**SINGLE, "loss": {"count": 0, "unit": "keys", "exact": True}}
    assert refusal_of("", [harmless])["text"].startswith("this plan needs an approval: expected_loss")
    assert refusal_of("", [SALVAGE, CUT])["text"].startswith("data may be lost, so choose one of 2 plans; recommended: salvage")
    assert refusal_of(GOOD, [SALVAGE, CUT], used=[GOOD])["text"] == "this approval was already used"
    assert refusal_of(GOOD, [SALVAGE, CUT], now=20.0)["text"] == "this approval expired at 00:00:20 UTC"
    elsewhere = {**SALVAGE, "target": {"host": "lab", "component": "postgresql"}}
    assert refusal_of(GOOD, [elsewhere])["text"] == "this approval was given for another target"
    assert "tolerance of 0.05" in refusal_of(COUNTED, [{**CLEAR, "counts": {"matching": 300}}])["text"]


def test_an_offer_without_a_key_that_lasts_has_no_token() -> None:
    (offer,) = spine_approval.offers([SINGLE], b"", 900, ())
    assert (offer["token"], "remediation_approval=TOKEN" in offer["next_command"], offer["expires"]) == ("", True, 900)
    (first,) = spine_approval.offers([SINGLE], KEY, 900, ())
    (second,) = spine_approval.offers([SINGLE], KEY, 900, [first["token"]])
    assert (second["expires"], first["token"] in first["next_command"]) == (901, True)
