# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a value fails, and when what fails counts as corrupt for certain."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.integrity import (
    Found,
    Look,
    digest_of_scope,
    judge_hash,
    judge_length,
    judge_text,
    rules_of,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import STATES
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.witness import Witness, heard, judge_confirmed
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_confirm import Heard, plan_of, table_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_integrity import judge_look

ROOT = Path(__file__).resolve().parents[3]


def scope(**check: t.Any) -> dict[str, t.Any]:
    return {"name": "n", "pattern": "soma:*", "db": 0, "check": check}


def rules(**check: t.Any) -> dict[str, t.Any]:
    return rules_of(scope(**check))


@pytest.mark.parametrize(
    ("check", "value", "why"),
    [
        ({"json": True}, b'{"a": 1}', ""),
        ({"json": True}, b"7", ""),
        ({"json": True}, b"9" * 5000, ""),
        ({"json": True}, b"1.5e400", ""),
        ({"json": True}, '"\u00e4"'.encode(), ""),
        ({"json": True}, b"", "is not JSON"),
        ({"json": True}, b"{", "is not JSON"),
        ({"json": True}, b"\xff\xfe", "is not JSON"),
        ({"json": True}, b"[" * 100_000, None),
        ({"regex": "^v[0-9]+$"}, b"v12", ""),
        ({"regex": "^v[0-9]+$"}, b"v", "does not match"),
        ({"regex": "^v[0-9]+$"}, b"\xff", "does not match"),
        ({"regex": "x"}, b"y" * 70_000, None),
        ({"regex": "a", "json": True}, b'"b"', "does not match"),
    ],
)
def test_a_text_fails_for_a_reason_that_tells_nothing_of_it(check: dict[str, t.Any], value: bytes, why: str | None) -> None:
    assert judge_text(value, rules(**check)) == why


@given(value=st.binary(max_size=200))
def test_no_value_breaks_the_check(value: bytes) -> None:
    assert judge_text(value, rules(json=True)) in ("", "is not JSON")
    assert judge_text(value, rules(regex="^x")) in ("", "does not match")


@pytest.mark.parametrize(
    ("kind", "length", "check", "why"),
    [
        ("string", 5, {"min_bytes": 5, "max_bytes": 5}, ""),
        ("string", 4, {"min_bytes": 5}, "has 4 bytes, less than 5"),
        ("string", 6, {"max_bytes": 5}, "has 6 bytes, more than 5"),
        ("string", 0, {"max_bytes": 0}, ""),
        ("list", 0, {"min_items": 1}, "has 0 items, less than 1"),
        ("hash", 9, {"max_items": 8}, "has 9 items, more than 8"),
        ("list", 10**9, {"min_items": 1}, ""),
    ],
)
def test_a_length_has_its_bounds(kind: str, length: int, check: dict[str, t.Any], why: str) -> None:
    assert judge_length(kind, length, rules(**check)) == why


SUM = hashlib.sha256(b"body").hexdigest()


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"a": "1", "sum": SUM, "body": "body"}, ""),
        ({"a": "1", "sum": SUM.upper().encode(), "body": b"body"}, ""),
        ({"a": None, "sum": SUM, "body": "body"}, "lacks field a"),
        ({"a": "", "sum": SUM, "body": "Body"}, "its digest differs"),
        ({"a": "", "sum": None, "body": "body"}, "lacks field sum"),
        ({"a": "", "sum": SUM, "body": None}, "lacks field body"),
    ],
)
def test_a_hash_has_its_fields_and_its_digest(values: dict[str, t.Any], why: str) -> None:
    assert judge_hash(values, rules(fields=["a"], digest_field="sum", digest_of="body")) == why


@pytest.mark.parametrize(
    ("check", "word"),
    [
        ({}, "checks nothing"),
        ({"json": True, "fields": ["a"]}, "hash and string"),
        ({"json": True, "type": "list"}, "list and string"),
        ({"digest_field": "a"}, "belong together"),
        ({"regex": "("}, "regex"),
    ],
)
def test_a_crooked_check_is_told(check: dict[str, t.Any], word: str) -> None:
    with pytest.raises(StepError, match=word):
        rules(**check)


def test_rules_imply_their_type() -> None:
    assert [rules(**check)["type"] for check in ({"json": True}, {"fields": ["a"]}, {"min_items": 1}, {"type": "set"})] == [
        "string",
        "hash",
        "",
        "set",
    ]


def test_the_digest_of_a_check_changes_with_each_part_of_it() -> None:
    first = scope(json=True)
    others = [dict(first, name="m"), dict(first, db=1), dict(first, pattern="soma:f*"), scope(json=True, max_bytes=3)]
    assert len({digest_of_scope(one) for one in [first, *others]}) == 5
    assert digest_of_scope(first) == digest_of_scope(scope(json=True, regex=""))


def test_who_is_asked_is_counted() -> None:
    seen = [Found(b"a", "is not JSON"), Found(b"b"), Found(b"c", there=False), Found(b"d", read=False), Found(b"e", "x", read=False)]
    assert heard("w", seen) == (Witness("w", bad=1, good=1, gone=1, unread=2), frozenset([b"a"]))


AGAIN, COPY = Witness("second look", bad=3), Witness("rescue copy", bad=3)


@pytest.mark.parametrize(
    ("again", "copy", "others", "code", "word"),
    [
        (AGAIN, COPY, [], "", ""),
        (AGAIN, COPY, [Witness("replica", bad=3), Witness("backup", gone=3)], "", ""),
        (AGAIN, COPY, [Witness("backup", error="Bad file format", damaged=True)], "", ""),
        (Witness("second look", bad=2, good=1), Witness("rescue copy", bad=2), [], "", ""),
        (Witness("second look", good=3), COPY, [], "health_unknown", "do not fail any more"),
        (Witness("second look", bad=2, unread=1), COPY, [], "health_unknown", "read again"),
        (AGAIN, Witness("rescue copy", bad=2, good=1), [], "health_unknown", "rescue copy: not confirmed"),
        (AGAIN, Witness("rescue copy", bad=2, gone=1), [], "health_unknown", "rescue copy: not confirmed"),
        (AGAIN, Witness("rescue copy", error="timeout"), [], "health_unknown", "rescue copy could not be checked"),
        (AGAIN, Witness("rescue copy", error="refused", damaged=True), [], "health_unknown", "rescue copy could not be checked"),
        (AGAIN, Witness("rescue copy", bad=2, unread=1), [], "health_unknown", "rescue copy could not be checked"),
        (AGAIN, COPY, [Witness("replica", bad=2, good=1)], "state_not_handled", "replica has 1"),
        (AGAIN, COPY, [Witness("replica", error="timeout")], "health_unknown", "replica: timeout"),
        (AGAIN, COPY, [Witness("replica", bad=2, unread=1)], "health_unknown", "1 keys could not be read"),
        (AGAIN, COPY, [Witness("backup", good=3), Witness("replica", error="x")], "state_not_handled", "backup has 3"),
    ],
)
def test_corruption_is_confirmed_by_all_or_not_at_all(again: Witness, copy: Witness, others: list[Witness], code: str, word: str) -> None:
    found, text = judge_confirmed(3, again, copy, others)
    assert found == code
    assert word in text


def test_the_table_fits_and_shows_no_control_characters() -> None:
    lines = table_of(Heard(3, AGAIN, COPY, [Witness("backup \x1b[2J" + "x" * 200, 1, 2, 3, 0, "e\n" * 100)], {}))
    assert len(lines) == 5
    assert all(len(line) <= 100 and line.isprintable() for line in lines)


def test_a_plan_is_bound_to_its_keys_unless_their_number_may_move() -> None:
    params = dict(scope(json=True), redis_run_id="r", tolerance=0.0)
    made = {"path": "/x", "keys": 3, "sha256": "s"}
    exact, loose = plan_of(params, made), plan_of(dict(params, tolerance=0.1), made)
    assert exact["binds"] == dict(loose["binds"], list_sha256="s")
    assert (exact["counts"], exact["loss"]) == ({"failing": 3}, {"count": 3, "unit": "keys", "exact": True})
    assert {"redis_run_id", "db", "pattern", "check"} <= set(exact["binds"])


SERVER = Health((Finding("state", State.WELL, "up"),), "up", {"run_id": "r"}, (), {"keys": 9})


@pytest.mark.parametrize(
    ("seen", "state", "health", "actions"),
    [
        (Look(9, {}, 0, 0, True), "passing", "well", ()),
        (Look(9, {}, 2, 0, True), "passing", "well", ()),
        (Look(9, {b"a": "is not JSON"}, 0, 0, True), "failing", "sick", ("confirm", "clear")),
        (Look(9, {b"a": "is not JSON"}, 0, 1, True), "", "unknown", ()),
        (Look(9, {}, 0, 1, True), "", "unknown", ()),
        (Look(9, {b"a": "is not JSON"}, 0, 0, False), "", "unknown", ()),
        (Look(9, {b"a": "x", b"b": "x", b"c": "x"}, 0, 0, False), "failing_many", "sick", ()),
    ],
)
def test_what_was_not_seen_whole_is_unknown(seen: Look, state: str, health: str, actions: tuple[str, ...]) -> None:
    found = judge_look(seen, dict(scope(json=True), max_failing=2), SERVER)
    assert (found.state, found.health.value, found.actions) == (state, health, actions)
    assert found.facts["keys"] == 9
    assert found.facts["integrity"]["failing"] == len(seen.failing)


def test_samples_are_few_and_plain() -> None:
    failing = {b"\x1b[2J%d" % index: "is not JSON" for index in range(9)}
    found = judge_look(Look(9, failing, 0, 0, True), dict(scope(json=True), max_failing=100), SERVER)
    samples = found.facts["integrity"]["samples"]
    assert len(samples) == 3
    assert all(one["key"].isprintable() for one in samples)


def test_every_state_of_a_redis_is_refused_by_name() -> None:
    role = yaml.safe_load((ROOT / "roles/redis_clearing/vars/main.yml").read_text())
    refused = {*role["__redis_clearing_states"], *role["__redis_clearing_own_refusals"]}
    assert sorted(set(STATES) - refused) == []
