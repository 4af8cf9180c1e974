# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which candidate is recommended, what each would lose, and when a person has to choose: a table of judgement."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.candidates.choice import (
    RISKS,
    choice_of,
    kind_of,
    loss_of,
    ordered,
    plans_of,
    table_of,
    trusted,
)

One = t.Dict[str, t.Any]
OLDER = ("dump", "backup", "rescue")
SERVER = ("replica", "live")


def one(name: str, keys: int = 1000, **more: t.Any) -> One:
    kind = kind_of(name)
    lineage = "older" if kind in OLDER else "server" if kind in SERVER else "files"
    made: One = {
        "name": name, "lineage": lineage, "error": "", "keys": keys, "expires": 0, "dropped": 0, "unit": "commands", "exact": True,
        "dropped_bytes": 0, "doubt": "",
        "unproven": False, "last_write": 1e9, "known_wrong": 0, "moves": lineage == "server", "in_step": kind == "replica", "binds": {},
        "risk": RISKS[kind], "missing": 0, "changed": 0, "contains_all": False,
    }  # fmt: skip
    return {**made, **more}


def judged(*candidates: One, **given: t.Any) -> tuple[str, str, t.Any]:
    """Return (name, by, count with ~ where it is not exact) of the choice."""
    options = {"last_known_keys": -1, "empty_below_share": 0.5, "accept_loss": {}, "emptied": False, "verdict": "damaged", **given}
    ready: list[One] = [dict(this, loss=loss_of(this, candidates, options) if not this["error"] else {}) for this in candidates]
    choice = choice_of(ready, options)
    assert choice["name"] == plans_of(ready, options)[0]["name"]
    assert all(len(line) <= 100 for line in table_of(ready, options))
    if choice["by"] == "policy" and choice["loss"]["count"] == 0:
        assert choice["certain"]
        assert choice["superset"]
    return choice["name"], choice["by"], choice["loss"]["count"] if choice["loss"]["exact"] else "~%s" % choice["loss"]["count"]


SALVAGE = one("salvage", 9998, dropped=2, contains_all=True)
CUT = one("cut", 4999, dropped=5001, exact=False, missing=4999)
CASES: dict[str, tuple[tuple[str, str, t.Any], list[One], dict[str, t.Any]]] = {
    "a rebuilt manifest that is whole, alone": (("rebuilt_manifest", "policy", 0), [one("rebuilt_manifest", contains_all=True)], {}),
    "whole, and an older dump lies within it": (
        ("rebuilt_manifest", "policy", 0), [one("dump", 500, missing=500), one("rebuilt_manifest", contains_all=True)], {},
    ),
    "whole, but an older dump holds what it does not": (
        ("rebuilt_manifest", "person", 0), [one("rebuilt_manifest"), one("dump", 500, missing=600)], {},
    ),
    "whole, but fewer keys than were known": (
        ("rebuilt_manifest", "person", "~None"), [one("rebuilt_manifest", 900, contains_all=True)], {"last_known_keys": 1000},
    ),
    "whole, but fewer keys than were known, and fewer bytes": (
        ("as_is", "person", "~120"), [one("as_is", 900, contains_all=True)], {"last_known_keys": 1000, "missing_writes": 120},
    ),
    "whole, but fewer keys than were known, and more than the missing bytes say": (
        ("as_is", "person", "~100"), [one("as_is", 900, contains_all=True)], {"last_known_keys": 1000, "missing_writes": 1},
    ),
    "whole, but fewer keys than were known, and no byte fewer": (
        ("as_is", "person", "~None"), [one("as_is", 900, contains_all=True)], {"last_known_keys": 1000, "missing_writes": 0},
    ),
    "whole, but fewer keys than have to be alive still": (
        ("rebuilt_manifest", "person", "~None"), [one("rebuilt_manifest", 900, expires=50, contains_all=True)], {"last_known_keys": 1000},
    ),
    "damage in the middle": (("salvage", "person", 2), [CUT, SALVAGE], {}),
    "damage in the middle, a share is accepted": (("salvage", "policy", 2), [CUT, SALVAGE], {"accept_loss": {"share": 0.001}}),
    "damage in the middle, too small a share is accepted": (("salvage", "person", 2), [CUT, SALVAGE], {"accept_loss": {"share": 0.0001}}),
    "the most that can be lost is in the accepted share": (
        ("salvage", "policy", "~2"), [dict(SALVAGE, exact=False)], {"accept_loss": {"share": 0.5}},
    ),
    "a replica holds what the files have lost": (
        ("replica_1", "policy", 0),
        [dict(SALVAGE, contains_all=False, missing=2), dict(CUT, missing=5001), one("replica_1", 10000, contains_all=True)],
        {},
    ),
    "a replica that fell behind": (
        ("salvage", "person", 2), [dict(SALVAGE, contains_all=True), one("replica_1", 8000, missing=1998)], {},
    ),
    "a replica that is still syncing": (
        ("replica_1", "person", "~None"),
        [dict(SALVAGE, contains_all=False, missing=2), one("replica_1", 10000, contains_all=True, in_step=False)],
        {},
    ),
    "a replica that has more than the last dump, and perhaps not the last writes": (
        ("replica_1", "person", "~None"),
        [one("as_is", 100, missing=400), one("replica_1", 500, contains_all=True)], {"snapshots": True},
    ),
    "a dump that a replica adds nothing to": (
        ("as_is", "person", "~None"),
        [one("as_is", 500, contains_all=True), one("replica_1", 500, contains_all=True)], {"snapshots": True},
    ),
    "cut tail, nothing accepted": (
        ("cut", "person", 1), [one("cut", dropped=1, dropped_bytes=20, contains_all=True)], {"verdict": "tail_cut"},
    ),
    "cut tail within the accepted bytes": (
        ("cut", "policy", 1), [one("cut", dropped=1, dropped_bytes=20)], {"verdict": "tail_cut", "accept_loss": {"tail_bytes": 20}},
    ),
    "cut tail beyond the accepted bytes": (
        ("cut", "person", 1), [one("cut", dropped=1, dropped_bytes=21)], {"verdict": "tail_cut", "accept_loss": {"tail_bytes": 20}},
    ),
    "cut tail within the accepted bytes, but far fewer keys than known": (
        ("cut", "person", "~None"), [one("cut", 400, dropped=1, dropped_bytes=20)],
        {"verdict": "tail_cut", "accept_loss": {"tail_bytes": 20}, "last_known_keys": 1000},
    ),
    "accepted tail bytes excuse no damage in the middle": (
        ("cut", "person", 1), [one("cut", dropped=1, dropped_bytes=20)], {"accept_loss": {"tail_bytes": 20}},
    ),
    "a manifest that Redis did not write": (
        ("rebuilt_manifest", "person", 0), [one("rebuilt_manifest", 100, contains_all=True)], {"crooked": "names ../../etc/passwd"},
    ),
    "emptied by mistake": (
        ("before_flush", "person", 0), [one("as_is", 0, missing=5000), one("before_flush", 5000, contains_all=True)], {"emptied": True},
    ),
    "before_flush never goes without a person": (("before_flush", "person", 0), [one("before_flush", 5000, contains_all=True)], {}),
    "empty master, full replica, known size": (
        ("replica_1", "policy", 0),
        [one("live", 0, missing=3000), one("replica_1", 3000, contains_all=True)],
        {"last_known_keys": 3000},
    ),
    "empty master, full replica, size unknown": (
        ("replica_1", "person", "~None"), [one("live", 0, missing=3000), one("replica_1", 3000, contains_all=True)], {},
    ),
    "empty master, and it was a flush": (
        ("replica_1", "person", 0),
        [one("live", 0, missing=3000), one("replica_1", 3000, contains_all=True)],
        {"last_known_keys": 3000, "emptied": True},
    ),
    "empty master that has new keys of its own": (
        ("replica_1", "person", "~20"),
        [one("live", 20, missing=3000), one("replica_1", 3000, missing=20)],
        {"last_known_keys": 3000},
    ),
    "a checksum that one correction mends": (("repaired_dump", "policy", 0), [one("repaired_dump", contains_all=True)], {}),
    "a checksum that nothing mends": (("as_is", "person", "~None"), [one("as_is", unproven=True, contains_all=True)], {}),
    "a short dump": (
        ("salvaged_dump", "person", "~12"), [one("salvaged_dump", 900, dropped=12, exact=False, contains_all=True)], {},
    ),
    "a dump that lost its head only, as far as can be seen": (
        ("salvaged_dump", "person", "~None"), [one("salvaged_dump", exact=False, doubt="values", contains_all=True)],
        {"accept_loss": {"share": 0.5}},
    ),
    "a dump with several damaged places: which values are wrong too nobody knows": (
        ("salvaged_dump", "person", "~None"), [one("salvaged_dump", 990, dropped=10, exact=False, doubt="values", contains_all=True)], {},
    ),
    "a short dump, and all keys that were known are accounted for": (
        ("salvaged_dump", "person", 10),
        [one("salvaged_dump", 990, dropped=10, exact=False, doubt="databases", contains_all=True)], {"last_known_keys": 1000},
    ),
    "a short dump that has grown since its keys were known": (
        ("salvaged_dump", "person", "~20"),
        [one("salvaged_dump", 990, dropped=20, exact=False, doubt="databases", contains_all=True)], {"last_known_keys": 1000},
    ),
    "a short dump that may have held more databases": (
        ("salvaged_dump", "person", "~None"),
        [one("salvaged_dump", 890, dropped=10, exact=False, doubt="databases", contains_all=True)], {"last_known_keys": 1000},
    ),
    "what was lost may have done anything": (
        ("salvage", "person", "~None"), [CUT, dict(SALVAGE, exact=False, doubt="effects")], {"accept_loss": {"share": 0.5}},
    ),
    "a deleted dump and two backups: the later one": (
        ("backup_2", "person", "~None"),
        [one("backup_1", 950, last_write=5.0), one("backup_2", 900, last_write=9.0, missing=50)],
        {"last_known_keys": 1000},
    ),
    "one backup, nothing known": (("backup_1", "person", "~None"), [one("backup_1", contains_all=True)], {}),
    "files of today before a larger backup of old": (
        ("as_is", "person", 0), [one("backup_1", 9000, missing=1), one("as_is", 2000)], {"last_known_keys": 2000},
    ),
    "an empty file before no full backup": (("backup_1", "person", "~None"), [one("as_is", 0, missing=9), one("backup_1", 9)], {}),
    "known answers weigh more than keys": (
        ("dump", "person", 1000), [one("salvage", known_wrong=1, contains_all=True), one("dump", 900, missing=1000)], {},
    ),
    "what was not compared is not certain": (
        ("as_is", "person", "~None"), [one("as_is", contains_all=False, missing=None), one("dump", 500, missing=None)], {},
    ),
    "what does not load is shown and not chosen": (
        ("cut", "person", 3), [one("cut", dropped=3), one("salvage", error="Unexpected end of file", keys=0)], {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_judgement(case: str) -> None:
    expected, candidates, options = CASES[case]
    assert judged(*candidates, **options) == expected


def test_a_value_that_differs_from_a_spoilt_one_is_not_lost_with_the_backup() -> None:
    spoilt, backup = one("as_is", 210, unproven=True), one("backup_1", 200, missing=10, changed=1)
    options = {"last_known_keys": 210, "empty_below_share": 0.5}
    assert loss_of(backup, [spoilt, backup], options)["count"] == 10
    whole = dict(spoilt, unproven=False)
    assert loss_of(backup, [whole, backup], options)["count"] == 11


def test_a_cut_is_told_against_what_salvage_kept_and_both_dropped() -> None:
    options = {"last_known_keys": -1, "empty_below_share": 0.5}
    assert loss_of(CUT, [CUT, SALVAGE], options) == {"count": 5001, "unit": "commands", "exact": True}


def test_a_value_that_is_spoilt_in_the_best_is_not_lost_with_a_backup() -> None:
    options = {"last_known_keys": -1, "empty_below_share": 0.5}
    best, backup = one("salvaged_dump", 210, exact=False, doubt="values"), one("backup_1", 200, missing=10, changed=1)
    assert loss_of(backup, [best, backup], options)["count"] == 10
    assert loss_of(best, [best, backup], options) == {"count": None, "unit": "keys", "exact": False}


def test_an_empty_replica_proves_nothing() -> None:
    options = {"last_known_keys": -1, "empty_below_share": 0.5}
    both = [one("as_is", 0), one("replica_1", 3000, contains_all=True)]
    assert not trusted(both[1], both, options)
    assert trusted(both[1], [one("as_is", 10), both[1]], options)


def test_the_dump_of_a_redis_whose_append_only_file_was_off_comes_first() -> None:
    options = {"last_known_keys": -1, "empty_below_share": 0.5, "unappended": {"at": 100.0, "why": "off"}, "verdict": "outdated"}
    both = [one("as_is", 40), one("other_1", 40)]
    assert [this["name"] for this in ordered(both, options)] == ["other_1", "as_is"]
    assert [this["name"] for this in ordered(both, dict(options, unappended={"at": 0}))] == ["as_is", "other_1"]


def test_a_plan_does_not_say_that_nothing_is_lost_of_what_no_dump_has() -> None:
    options = {"last_known_keys": -1, "empty_below_share": 0.5, "unsaved": "nothing shows that it saved"}
    for said, told in (({"count": 0, "exact": True}, None), ({"count": 2, "exact": True}, 2), ({"count": None, "exact": False}, None)):
        (plan,) = plans_of([one("backup_1", 10, loss={"unit": "keys", **said})], options)
        assert (plan["loss"]["count"], plan["loss"]["exact"]) == (told, False)
        assert plan["text"].endswith("what was written after its last save may be in none of the plans")


def test_a_plan_is_bound_to_its_candidate_and_lets_only_the_living_move() -> None:
    options = {"last_known_keys": -1, "empty_below_share": 0.5}
    candidates = [dict(this, loss=loss_of(this, [CUT, SALVAGE], options)) for this in (CUT, dict(SALVAGE, binds={"files": "ab"}))]
    plans = plans_of([*candidates, one("replica_1", 10, loss={"count": 9990, "unit": "keys", "exact": True})], options)
    assert [plan["name"] for plan in plans] == ["salvage", "cut", "replica_1"]
    assert plans[0]["binds"] == {"files": "ab", "candidate": "salvage"}
    assert plans[0]["counts"] == {"keys": 9998}
    assert [plan["tolerance"] for plan in plans] == [0.0, 0.0, 0.01]
    # Of what still grows more keys are no other plan, a larger loss is one.
    assert plans[2]["counts"] == {"lost": 9990}


def test_hostile_texts_stay_in_their_line() -> None:
    options = {"last_known_keys": -1, "empty_below_share": 0.5}
    bad = one("backup_1", error="\x1b[2J\nforged" + "x" * 500)
    table = table_of([dict(CUT, loss={"count": 1, "unit": "keys", "exact": True}), bad], options)
    assert all(len(line) <= 100 and line.isprintable() for line in table)
    assert ordered([bad], options) == []


def test_a_plan_names_the_known_answers_that_its_candidate_lacks() -> None:
    lacks = one("as_is", 0, known_wrong=1, wrong_keys=[1], loss={"count": 200, "unit": "keys", "exact": False})
    assert plans_of([lacks], {"last_known_keys": 200, "empty_below_share": 0.5})[0]["text"].endswith(
        "; wrong or missing in it: number 1 of the known keys"
    )


def test_the_least_that_is_lost_is_said_where_the_most_is_not_known() -> None:
    options = {"last_known_keys": 1000, "empty_below_share": 0.5, "accept_loss": {}, "emptied": False, "verdict": "valid"}
    best = one("as_is", 900, contains_all=True)
    best["loss"] = loss_of(best, [best], options)
    (plan,) = plans_of([best], options)
    assert plan["loss"] == {"count": None, "unit": "keys", "exact": False, "margin": 10}
    assert "at least 100 of the keys known before are missing" in plan["text"]
    assert choice_of([best], options)["why"] == "at least 100 keys would be lost"
    assert ">=100" in table_of([best], options)[1]
