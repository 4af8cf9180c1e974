# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery of Redis lost, and what proves it: tables, dict in, dict out."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis import loss

AOF = {"files": {"verdict": "valid", "source": "aof"}, "persistence": {"aof_enabled": True, "loss_if_killed": "up_to_1s"}}
RDB = {"files": {"verdict": "valid", "source": "rdb", "changed_at": 100.0}, "persistence": {"loss_if_killed": "unknown"}}
EXITED = {"exit_code": 0, "signal": "", "last_ended_at": 101.0}
HUNG = {"persistence": {"aof_enabled": False, "loss_if_killed": "unknown"}}
CANDIDATE = {"name": "cut", "loss": {"count": 10, "unit": "keys", "exact": True}}


def found(acts: dict[str, t.Any], before: dict[str, t.Any], known: int, present: t.Any) -> tuple[t.Any, bool, str]:
    """Return count, exactness, and the witness or the reason of a loss."""
    one = loss.loss_of(dict(acts, known_keys=known), before, {"keys": present})
    if one:
        assert (one["known_before"], one["present_after"]) == (None if known == -1 else known, present)
        assert bool(one.get("exact")) is bool(one.get("witness"))
    return one.get("count"), bool(one.get("exact")), one.get("witness") or one.get("text") or ""


@pytest.mark.parametrize(
    ("before", "known", "present", "count", "exact", "words"),
    [
        (AOF, 300, 300, 0, True, "each command of its append-only file was read"),
        (AOF, -1, 300, 0, True, "each command of its append-only file was read"),
        (dict(AOF, log={"lines": {"no_space": "x"}}), 300, 300, None, False, "could not write"),
        (dict(AOF, log={"lines": {"no_space": "x"}, "ready": True}), 300, 300, None, False, "could not write"),
        (dict(AOF, log={"lines": {"permission": "x"}, "ready": False}), 300, 300, 0, True, "each command of its append-only file was read"),
        (dict(AOF, log={"lines": {"save_failed": "x"}}), 300, 200, 100, False, "not in this number"),
        (dict(AOF, files={"verdict": "unjudged"}), 300, 300, None, False, "not proven whole"),
        (dict(AOF, files={}), -1, 300, None, False, "not proven whole"),
        (dict(AOF, files={"verdict": "empty"}), -1, 0, None, False, "no data file"),
        (RDB, 609, 510, 99, False, "snapshots"),
        (RDB, 510, 510, None, False, "snapshots"),
        (RDB, -1, 510, None, False, "snapshots"),
        (dict(RDB, log={"saved_at_end": True}), 510, 510, 0, True, "saved its data before"),
        (dict(RDB, log={"saved_at_end": False}, ended=EXITED), 510, 510, None, False, "snapshots"),
        (dict(RDB, ended=EXITED), 510, 510, 0, True, "saved its data before"),
        (dict(RDB, ended=dict(EXITED, exit_code=1)), 510, 510, None, False, "snapshots"),
        (dict(RDB, ended=dict(EXITED, signal="KILL")), 510, 510, None, False, "snapshots"),
        (dict(RDB, ended=dict(EXITED, last_ended_at=None)), 510, 510, None, False, "snapshots"),
        # Ended with 0, but without a save.
        (dict(RDB, ended=dict(EXITED, last_ended_at=105.0)), 510, 510, None, False, "snapshots"),
        (dict(RDB, ended=dict(EXITED, last_ended_at=95.0)), 510, 510, None, False, "snapshots"),
        (dict(RDB, ended=dict(EXITED, last_ended_at=104.9)), 510, 510, 0, True, "saved its data before"),
    ],
)
def test_a_start_lost_nothing_only_where_everything_was_on_disk(
    before: dict[str, t.Any], known: int, present: int, count: t.Any, exact: bool, words: str
) -> None:
    seen = found({}, before, known, present)
    assert seen[:2] == (count, exact)
    assert words in seen[2]


@pytest.mark.parametrize(
    ("restarted", "before", "present", "count", "exact"),
    [
        ({"killed": True, "saves": True}, HUNG, 70, 30, False),
        ({"killed": True, "saves": True}, HUNG, 120, None, False),
        ({"killed": False, "saves": False}, HUNG, 70, 30, False),
        ({"killed": False, "saves": True}, HUNG, 120, 0, True),
        ({"killed": True, "saves": False}, AOF, 120, 0, True),
        ({"killed": True, "saves": False}, {"persistence": {"loss_if_killed": "none"}}, 100, 0, True),
    ],
)
@pytest.mark.parametrize("approved", ["token", ""])
def test_a_kill_loses_what_was_not_on_disk(
    restarted: dict[str, bool], before: dict[str, t.Any], present: int, count: t.Any, exact: bool, approved: str
) -> None:
    assert found({"restarted": restarted, "approved": approved}, before, 100, present)[:2] == (count, exact)
    told = loss.loss_of({"restarted": restarted, "approved": approved, "known_keys": 100}, before, {"keys": present})
    assert told.get("approved", False) is bool(approved)


@pytest.mark.parametrize(
    ("given", "by", "count", "exact", "words"),
    [
        ({"count": 10, "exact": True}, "person", 10, True, "compared key by key"),
        ({"count": 0, "exact": True}, "policy", 0, True, "compared key by key"),
        ({"count": 10, "exact": False}, "person", 10, False, "lacks some keys or changes"),
        ({"count": 0, "exact": False}, "policy", 0, False, "nothing proves"),
        ({"count": None, "exact": False}, "person", None, False, "nothing proves"),
        ({"count": None, "exact": True}, "person", None, False, "nothing proves"),
        ({}, "person", None, False, "nothing proves"),
    ],
)
def test_what_was_installed_lacks_what_was_said_before(given: dict[str, t.Any], by: str, count: t.Any, exact: bool, words: str) -> None:
    acts = {"replaced": True, "installed": dict(CANDIDATE, loss=given), "by": by}
    seen = found(acts, AOF, 100, 90)
    assert seen[:2] == (count, exact)
    assert words in seen[2]
    assert loss.loss_of(dict(acts, known_keys=1), {}, {"keys": 1}).get("approved", False) is (by == "policy")


def test_keys_that_were_kept_and_not_loaded_again_are_lost_until_somebody_loads_them() -> None:
    count, exact, text = found({"reload_from": ["/kept"]}, AOF, 100, 0)
    assert (count, exact) == (100, False)
    assert text.startswith("keys that were kept before the start are not loaded again; ")
    assert found({"reload_from": []}, AOF, 100, 100)[:2] == (0, True)


def test_what_was_not_counted_afterwards_says_nothing() -> None:
    assert loss.loss_of({"known_keys": 100}, AOF, {}) == {}


@pytest.mark.parametrize(
    ("acts", "copies"),
    [({}, True), ({"held": {"changed": True}}, True), ({"stopped": True}, False), ({"installed": CANDIDATE}, False),
     ({"installed": CANDIDATE, "stopped": True, "put_back": True}, True)],
)  # fmt: skip
def test_a_mend_is_harmless_until_it_stops_redis_or_puts_data_in_place(acts: dict[str, t.Any], copies: bool) -> None:
    kept = loss.harmless(acts)
    assert ("mend" in kept) is copies
    assert {"start", "restart"} & set(kept) == set()
    assert all(kept[act] for act in ("hold", "wait", "isolate", "rescue"))


DAY = 86400.0


@pytest.mark.parametrize(
    ("known", "passed", "keys"),
    [
        ({}, 0, -1),
        ({"key_count": None}, 0, -1),
        ({"key_count": 300}, DAY, 300),
        ({"key_count": 506, "expires": 501, "left": [DAY] * 20}, 120, 506),
        ({"key_count": 506, "expires": 501, "left": [DAY] * 20}, DAY, 5),
        # Half of the sample is over; a sample may be wrong by 15 in a hundred.
        ({"key_count": 1000, "expires": 1000, "left": [10.0, DAY]}, 60, 350),
        ({"key_count": 1000, "expires": 1000, "left": [10.0] * 9 + [DAY]}, 60, 0),
        # Nobody saw how long they live.
        ({"key_count": 506, "expires": 501, "left": []}, 0, 5),
        ({"key_count": 506, "expires": 501, "left": [DAY]}, -5, 506),
    ],
)
def test_a_key_whose_time_has_not_come_is_data(known: dict[str, t.Any], passed: float, keys: int) -> None:
    assert loss.keys_alive(dict(known, at=1000.0), 1000.0 + passed) == keys
