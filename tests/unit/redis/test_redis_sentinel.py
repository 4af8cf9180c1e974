# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Sentinels say, and what follows for the Redis that is looked at."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import judge_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.sentinel import addresses_of, is_local, judge_sentinels

GOOD = {"verdict": "valid", "files": [], "detail": ""}


def answer(ip: str = "10.0.0.1", port: str = "6379", flags: str = "master", **given: str) -> dict[str, t.Any]:
    master = {"ip": ip, "port": port, "flags": flags, "runid": "r" * 40, "num-slaves": "1", "num-other-sentinels": "2", "quorum": "2"}
    return {"sentinel": "s:1", "error": "", "master": {**master, **given}}


def mute(error: str = "refused") -> dict[str, t.Any]:
    return {"sentinel": "s:2", "error": error, "master": {}}


def view(*answers: dict[str, t.Any], own: tuple[str, ...] = ("10.0.0.1",)) -> dict[str, t.Any]:
    return {"asked": len(answers), "answers": list(answers), "own": list(own)}


HERE, THERE = answer(), answer("10.0.0.2")
MOVING, LOST, SUSPECT = answer(flags="master,failover_in_progress"), answer(flags="master,s_down,o_down"), answer(flags="s_down,master")


@pytest.mark.parametrize(
    ("seen", "run_id", "word"),
    [
        (view(HERE, HERE, HERE), "", "ours"),
        (view(HERE, HERE, mute()), "", "ours"),
        (view(HERE, mute(), mute("timeout")), "", "untold"),
        (view(HERE, mute()), "", "untold"),
        (view(mute(), mute(), mute()), "", "untold"),
        (view(HERE), "", "ours"),
        (view(HERE, THERE, mute()), "", "untold"),
        (view(THERE, HERE, THERE), "", "moved"),
        (view(THERE, THERE, THERE), "r" * 40, "ours"),
        (view(THERE, THERE, THERE), "x" * 40, "moved"),
        (view(answer(port="6380"), answer(port="6380")), "", "moved"),
        (view(HERE, HERE, HERE, own=()), "", "moved"),
        (view(MOVING, LOST, LOST), "", "failing_over"),
        (view(HERE, MOVING, HERE), "r" * 40, "failing_over"),
        (view(LOST, LOST, HERE), "", "failing_over"),
        (view(SUSPECT, LOST, HERE), "", "failing_over"),
        (view(SUSPECT, HERE, HERE), "", "ours"),
        (view(answer(flags="master,o_down", **{"num-slaves": "0"}), answer(flags="master,o_down", **{"num-slaves": "0"})), "", "ours"),
    ],
)
def test_the_majority_of_all_that_are_named_decides(seen: dict[str, t.Any], run_id: str, word: str) -> None:
    opinion = judge_sentinels(seen, run_id, 6379)
    assert opinion.word == word
    assert opinion.text
    assert opinion.text.isprintable()


def test_a_name_of_its_own_tells_a_redis_behind_a_translated_address() -> None:
    seen = view(THERE, THERE, THERE)
    assert judge_sentinels(seen, "", 6379, "10.0.0.2:6379").word == "ours"
    assert judge_sentinels(seen, "", 6379, "10.0.0.3:6379").word == "moved"


def look(**given: t.Any) -> dict[str, t.Any]:
    """A look at an append-only Redis that is down with good files."""
    seen: dict[str, t.Any] = {
        "error": "refused", "text": "", "connected": False, "auth": "", "ping": "", "ping_seconds": None, "role": [], "write": "",
        "known": [], "stands_on": "target", "service": {}, "process": {}, "settings": {}, "data_dir": "/data", "disk": {},
        "dump_bytes": None, "log": {}, "files": GOOD, "config": {}, "info": {},
    }  # fmt: skip
    return dict(seen, **given)


UP: dict[str, t.Any] = {
    "error": "", "ping": "PONG", "ping_seconds": 0.001, "write": "accepted", "connected": True,
    "info": {"run_id": "r" * 40, "role": "master", "tcp_port": "6379"},
}  # fmt: skip
REPLICA = dict(UP, info={"run_id": "b" * 40, "role": "slave", "master_link_status": "up", "tcp_port": "6379"}, write="READONLY x")
CONFIGURED = {"settings": {"replicaof": "10.0.0.2"}}
LOCKED = {"error": "", "ping": "NOAUTH x"}


@pytest.mark.parametrize(
    ("seen", "sentinel", "state", "health", "actions"),
    [
        ({}, view(HERE, HERE, HERE), "down_clean", "sick", ["start"]),
        ({}, view(THERE, THERE, THERE), "failed_over", "sick", []),
        (CONFIGURED, view(THERE, THERE, THERE), "down_clean", "sick", ["start"]),
        ({}, view(LOST, MOVING, LOST), "failing_over", "unknown", ["wait"]),
        (CONFIGURED, view(LOST, MOVING, LOST), "failing_over", "unknown", ["wait"]),
        ({}, view(mute(), mute(), HERE), "", "unknown", []),
        (UP, view(HERE, HERE, HERE), "up", "well", []),
        (UP, view(MOVING, HERE, HERE), "failing_over", "unknown", ["wait"]),
        (dict(UP, info=dict(UP["info"], run_id="c" * 40)), view(THERE, THERE, THERE), "failed_over", "sick", []),
        (UP, view(mute(), mute(), HERE), "", "unknown", []),
        (REPLICA, view(THERE, THERE, THERE), "readonly_replica", "well", []),
        (LOCKED, view(THERE, THERE, THERE), "auth", "unknown", []),
    ],
)
def test_nothing_serves_against_the_sentinels(
    seen: dict[str, t.Any], sentinel: dict[str, t.Any], state: str, health: str, actions: list[str]
) -> None:
    found = judge_redis(look(sentinel=sentinel, **seen), {"sentinels": [{}, {}, {}]}).as_dict()
    assert (found["state"], found["health"], found["actions"]) == (state, health, actions)
    assert found["facts"]["sentinel"]["text"]
    assert [one["sentinel"] for one in found["facts"]["sentinel"]["answers"]] == [one["sentinel"] for one in sentinel["answers"]]


def test_without_sentinels_nothing_is_said_of_them() -> None:
    assert judge_redis(look(sentinel={}), {}).facts["sentinel"] == {}


@pytest.mark.parametrize(("address", "here"), [("127.0.0.1", True), ("::1", True), ("192.0.2.1", False), ("localhost", None), ("", None)])
def test_an_address_of_this_machine_is_known(address: str, here: bool | None) -> None:
    assert is_local(address) is here


def test_a_name_has_its_addresses() -> None:
    assert "127.0.0.1" in addresses_of("localhost", 5.0)
    assert addresses_of("no.such.name.invalid", 5.0) == ["no.such.name.invalid"]
