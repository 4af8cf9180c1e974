# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery of Redis lost, and what proves it: tables, dict in, dict out."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis import loss
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.written import unsaved

APPENDED = {"dir": "/d/appendonlydir", "name": "a.aof.2.incr.aof", "inode": 7, "bytes": 900, "written_at": 100.5, "changed_at": 100.5}
DUMP = {"dir": "/d", "name": "dump.rdb", "inode": 8, "bytes": 900, "written_at": 100.0, "changed_at": 100.0}
AOF: dict[str, t.Any] = {
    "files": {"verdict": "valid", "source": "aof"}, "persistence": {"aof_enabled": True, "loss_if_killed": "up_to_1s"},
    "ended": {"last_ended_at": 101.2}, "written": {"aof": APPENDED, "config_changed_at": 10.0}, "log": {"began_at": 50.0, "lines": {}},
}  # fmt: skip
RDB: dict[str, t.Any] = {
    "files": {"verdict": "valid", "source": "rdb"}, "persistence": {"loss_if_killed": "unknown"},
    "written": {"dump": DUMP, "config_changed_at": 10.0},
}  # fmt: skip
SAVED = {"saved_at_end": True, "saved_at": 100.1, "began_at": 50.0, "lines": {}}
EXITED = {"exit_code": 0, "signal": "", "last_ended_at": 101.0}
RECENT = "was still written when its process ended"
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
        (AOF, 300, 300, 0, True, RECENT),
        (AOF, -1, 300, 0, True, RECENT),
        (dict(AOF, log={"lines": {"no_space": "x"}}), 300, 300, None, False, "could not write"),
        (dict(AOF, log={"lines": {"no_space": "x"}, "ready": True}), 300, 300, None, False, "could not write"),
        (dict(AOF, log={"lines": {"permission": "x"}, "ready": False, "began_at": 50.0}), 300, 300, 0, True, RECENT),
        (dict(AOF, log={"lines": {"save_failed": "x"}}), 300, 200, None, False, "more than those may be"),
        (dict(AOF, files={"verdict": "unjudged"}), 300, 300, None, False, "not proven whole"),
        (dict(AOF, files={}), -1, 300, None, False, "not proven whole"),
        (dict(AOF, files={"verdict": "empty"}), -1, 0, None, False, "no data file"),
        (RDB, 609, 510, None, False, "more than those may be"),
        (RDB, 510, 510, None, False, "snapshots"),
        (RDB, -1, 510, None, False, "snapshots"),
        (dict(RDB, log=SAVED), 510, 510, 0, True, "saved its data before"),
        (dict(RDB, log=dict(SAVED, saved_at_end=False), ended=EXITED), 510, 510, None, False, "snapshots"),
        # An exit with 0 and a young file prove nothing.
        (dict(RDB, ended=EXITED), 510, 510, None, False, "snapshots"),
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
        ({"killed": True, "saves": True}, HUNG, 70, None, False),
        ({"killed": True, "saves": True}, HUNG, 120, None, False),
        ({"killed": False, "saves": False}, HUNG, 70, None, False),
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


@pytest.mark.parametrize(
    ("given", "by", "count", "approved"),
    [({"count": 0, "exact": True}, "policy", None, False), ({"count": 1, "exact": True}, "policy", 1, True),
     ({"count": None, "exact": False}, "", None, False)],
)  # fmt: skip
def test_what_was_made_of_a_dump_lacks_what_was_never_saved_too(given: dict[str, t.Any], by: str, count: t.Any, approved: bool) -> None:
    killed = dict(RDB, files={"verdict": "damaged", "source": "rdb"})
    told = loss.loss_of({"replaced": True, "installed": dict(CANDIDATE, loss=given), "by": by}, killed, {"keys": 90})
    assert (told["count"], told["exact"], told.get("approved", False)) == (count, False, approved)
    assert "nothing shows that it saved once more" in told["text"]


@pytest.mark.parametrize(
    ("appended", "source", "lacks"), [(None, "rdb", True), (99.9, "rdb", True), (100.1, "rdb", False), (None, "aof", False)]
)
def test_an_append_only_file_that_is_later_than_the_dump_has_what_was_never_saved(appended: float | None, source: str, lacks: bool) -> None:
    files = {"aof": dict(APPENDED, written_at=appended) if appended else {}, "dump": DUMP}
    assert bool(unsaved({"files": {"source": source}, "written": files, "log": {}})) is lacks


def test_keys_that_were_kept_and_not_loaded_again_are_lost_until_somebody_loads_them() -> None:
    count, exact, text = found({"reload_from": ["/kept"]}, AOF, 100, 0)
    assert (count, exact) == (None, False)
    assert "more than those may be" in text
    assert text.endswith("keys that were kept before the start are not loaded again")
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
        ({"key_count": 506, "expires": 501, "left": [DAY] * 501}, 120, 506),
        # A sample may have missed those that live only for seconds: of n keys it is right within 1 / sqrt(n).
        ({"key_count": 506, "expires": 501, "left": [DAY] * 100}, 120, 455),
        ({"key_count": 506, "expires": 501, "left": [DAY] * 20}, DAY, 5),
        ({"key_count": 1000, "expires": 1000, "left": [10.0, DAY] * 50}, 60, 400),
        ({"key_count": 100, "expires": 100, "left": [10.0, DAY] * 50}, 60, 50),
        ({"key_count": 1000, "expires": 1000, "left": [10.0] * 9 + [DAY]}, 60, 0),
        # Nobody saw how long they live.
        ({"key_count": 506, "expires": 501, "left": []}, 0, 5),
        ({"key_count": 506, "expires": 501, "left": [DAY] * 501}, -5, 506),
    ],
)
def test_a_key_whose_time_has_not_come_is_data(known: dict[str, t.Any], passed: float, keys: int) -> None:
    assert loss.keys_alive(dict(known, at=1000.0), 1000.0 + passed) == keys


LOOKED = {"at": 90.0, "file": {"dir": "/d/appendonlydir", "name": "a.aof.2.incr.aof", "inode": 7, "bytes": 800}}


def wrote(log: t.Any = None, config: float = 10.0, ended: t.Any = 101.2, **file: t.Any) -> dict[str, t.Any]:
    """Return the first look at an append-only Redis that is down, with what is different."""
    written = {"aof": dict(APPENDED, **file), "config_changed_at": config}
    return dict(AOF, written=written, ended={"last_ended_at": ended}, log=dict(AOF["log"], **(log or {})))


@pytest.mark.parametrize(
    ("before", "known", "words"),
    [
        (wrote(), {}, RECENT),
        (wrote(ended=100.0), {}, RECENT),
        (wrote(), LOOKED, "seen on 1970-01-01 00:01:30 UTC, 800 bytes then and 900 now"),
        (wrote(written_at=60.0, log={"synced_at_end": True}), {}, "all it had acknowledged"),
        (wrote(written_at=60.0, log={"synced_at_end": True}), LOOKED, "seen on"),
        # Redis itself began a new file when it rewrote the old one.
        (wrote(name="a.aof.3.incr.aof", inode=9, log={"rewritten": True}), LOOKED, "seen on"),
        # What a save of its own held was appended before.
        (wrote(log={"changes_saved": [[60.0, 100.5]]}), {}, RECENT),
        # Its own CONFIG REWRITE moves nothing.
        (wrote(config=70.0, log={"rewrote_config_at": 70.1}), {}, RECENT),
        # What a person changed after its end moves nothing that it wrote.
        (wrote(config=150.0), {}, RECENT),
        (wrote(config=70.0), LOOKED, "seen on"),
    ],
)
def test_an_append_only_file_is_whole_where_it_was_seen_to_be_written(
    before: dict[str, t.Any], known: dict[str, t.Any], words: str
) -> None:
    why, witness = loss.proof_of_start(before, known)
    assert why == ""
    assert words in witness


@pytest.mark.parametrize(
    ("before", "known", "words"),
    [
        (wrote(log={"lines": {"write_failed": "Short write"}}), LOOKED, "could not write"),
        (wrote(log={"unsynced_at_end": True}), {}, "was turned off while it ran"),
        (wrote(log={"unsynced_at_end": True}), LOOKED, "was turned off while it ran"),
        (wrote(written_at=60.0, log={"changes_saved": [[70.0, 80.0]]}), {}, "changes came between 1970-01-01 00:01:10 UTC and"),
        (wrote(written_at=60.0, log={"changes_saved": [[50.0, 70.0], [70.0, 80.0]]}), LOOKED, "was turned off while it ran"),
        (wrote(bytes=0), {}, "is empty or was changed"),
        (wrote(changed_at=150.0), {}, "is empty or was changed"),
        (dict(AOF, log={}), LOOKED, "set redis_recovery_log_file"),
        (wrote(ended=None), LOOKED, "nothing says when its process ended"),
        (dict(AOF, written={}), LOOKED, "nothing says when its process ended"),
        (wrote(written_at=102.0), LOOKED, "after its process had ended"),
        (wrote(bytes=799), LOOKED, "has 799 bytes, and 800 at the last proven look"),
        (wrote(config=70.0), {}, "configuration changed while it ran"),
        (wrote(config=70.0, log={"began_at": None}), {}, "configuration changed while it ran"),
        (wrote(written_at=60.0, inode=9), LOOKED, "not the one that was seen on 1970-01-01 00:01:30 UTC"),
        (wrote(written_at=60.0, dir="/other"), LOOKED, "not the one that was seen"),
        (wrote(written_at=60.0, name="a.aof.3.incr.aof", inode=9), LOOKED, "not the one that was seen"),
        (wrote(name="a.aof.3.incr.aof", inode=9, bytes=0, log={"rewritten": True}), LOOKED, "not the one that was seen"),
        (wrote(written_at=60.0, name="a.aof.1.incr.aof", inode=9, log={"rewritten": True}), LOOKED, "not the one that was seen"),
        (dict(RDB, log=dict(SAVED, saved_at=None)), {}, "snapshots"),
        (dict(RDB, log=SAVED, written={}), {}, "not of that moment"),
        (dict(RDB, log=dict(SAVED, saved_at=102.0)), {}, "not of that moment"),
        (dict(RDB, log=dict(SAVED, saved_at=99.0)), {}, "not of that moment"),
        (dict(RDB, log=SAVED, written={"dump": dict(DUMP, changed_at=106.0)}), {}, "not of that moment"),
        (dict(RDB, log=SAVED, written={"dump": DUMP, "config_changed_at": 70.0}), {}, "configuration changed while it ran"),
    ],
)
def test_files_that_can_be_read_are_no_proof_that_they_are_all(before: dict[str, t.Any], known: dict[str, t.Any], words: str) -> None:
    why, witness = loss.proof_of_start(before, known)
    assert witness == ""
    assert words in why


@pytest.mark.parametrize("idle", [{"written_at": 99.9}, {"written_at": 60.0}, {"ended": 101.0}])
def test_a_file_that_nobody_saw_earlier_and_that_was_idle_is_not_proven_and_not_suspected(idle: dict[str, t.Any]) -> None:
    before = wrote(**idle)
    why, speaks = loss.proof_of_start(before, {})
    assert ("CONFIG SET" in why, "turns the append-only file on" in speaks) == (True, True)
    said = loss.loss_of({}, before, {"keys": 5})
    assert (said["count"], said["exact"], said["suspected"], said["witness"]) == (None, False, False, speaks)
    # What is known to be missing speaks for a loss.
    assert "suspected" not in loss.loss_of({"known_keys": 6, "known_at": 90.0}, before, {"keys": 5})
    assert "suspected" not in loss.loss_of({}, before, {"keys": 0, "persistence": {"dump_bytes": 999}})


def test_a_file_that_was_seen_earlier_and_was_idle_since_proves_nothing_of_what_came_after() -> None:
    for idle in (wrote(written_at=60.0), wrote(written_at=60.0, name="a.aof.3.incr.aof", inode=9, log={"rewritten": True})):
        why, speaks = loss.proof_of_start(idle, LOOKED)
        assert "turned off (CONFIG SET) after that file was seen on 1970-01-01 00:01:30 UTC" in why
        assert "seen on" in speaks
        said = loss.loss_of({"last_file": LOOKED}, idle, {"keys": 5})
        assert (said["count"], said["exact"], said["suspected"]) == (None, False, False)


def holds(keys: int) -> dict[str, t.Any]:
    return dict(AOF, files={"verdict": "valid", "source": "aof", "contents": {"keys": keys}})


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (holds(3000), {"keys": 1469, "evicted": 1533}, "1533 keys were evicted"),
        (holds(3000), {"keys": 3000, "evicted": 1}, "1 keys were evicted"),
        (holds(3000), {"keys": 2999}, "hold 3000 keys and 2999 are there"),
        (dict(AOF, files={"verdict": "valid", "source": "aof", "expected_keys": 3000}), {"keys": 2999}, "hold 3000"),
        (holds(3000), {"keys": 2990, "since_start": {"expired": 10}}, RECENT),
        (holds(3000), {"keys": 2990, "since_start": {"expired": 9}}, "hold 3000"),
        (holds(3000), {"keys": 2990, "since_start": {"removes": True}}, RECENT),
        (holds(60), {"keys": 0, "since_start": {"removes": True}}, "no key is there"),
        (holds(60), {"keys": 0, "since_start": {"expired": 60}}, RECENT),
        (AOF, {"keys": 0, "persistence": {"dump_bytes": 1224}}, "no key is there"),
        (AOF, {"keys": 0, "persistence": {"dump_bytes": 90}}, RECENT),
    ],
)
def test_what_the_files_hold_and_is_not_there_is_lost(before: dict[str, t.Any], after: dict[str, t.Any], words: str) -> None:
    told = loss.loss_of({}, before, after)
    assert words in (told.get("witness") or told["text"])
    assert bool(told.get("witness")) is (words == RECENT)
    assert told["count"] == (0 if words == RECENT else None)


@pytest.mark.parametrize("alive", [{"keys": 30}, {"process": {"pid": 5}}, {"ping": "PONG"}])
def test_what_is_missing_from_a_redis_that_was_left_alone_was_not_lost_by_this_run(alive: dict[str, t.Any]) -> None:
    assert loss.loss_of({"known_keys": 100}, alive, {"keys": 30}) == {}
    assert loss.loss_of({"known_keys": 100, "restarted": {"killed": True}}, alive, {"keys": 30})["count"] is None
    assert loss.loss_of({"known_keys": 100, "stopped": True}, alive, {"keys": 30})["count"] is None
