# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""recover-redis says what was lost on real servers: of what was known before, what is there now, and never 0 on a guess."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

import pytest
from farms.redis import SERVER, SUPERVISORD, Farm, Redis, farmed
from farms.waiting import until

pytestmark = [
    pytest.mark.skipif(SERVER is None, reason="redis-server is not installed"),
    pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed"),
]
RDB = "appendonly no\nsave 3600 1\n"


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-loss-") as made:
        yield made


def incr(redis: Redis) -> Path:
    return max((redis.data / "appendonlydir").glob("*.incr.aof"))


def ends_of_commands(path: Path, first: bytes) -> list[int]:
    """Return where each command that begins with *first* begins."""
    content, found = path.read_bytes(), []
    at = content.find(first)
    while at >= 0:
        found.append(at)
        at = content.find(first, at + 1)
    return found


def test_a_snapshot_redis_that_was_killed_lost_what_it_had_not_saved(farm: Farm) -> None:
    redis = farm.make("unsaved", RDB).start()
    redis.write(507)
    redis.ask("SAVE")
    redis.write(102, prefix="unsaved")
    redis.recover()
    redis.kill()
    run = redis.recover()
    loss = run.outcome["loss"]
    assert (run.word, run.rc, loss["approved"]) == ("recovered_with_loss", 2, False), run.text
    assert (loss["known_before"], loss["present_after"], loss["count"], loss["exact"]) == (609, 507, None, False)
    assert "at least 102 of those known before" in loss["text"]
    # Nothing has changed since; and a Redis that is asked to end saves before it does.
    redis.write(20, prefix="later")
    assert redis.recover().word == "nothing_to_do"
    farm.call.stopProcess("unsaved")
    run = redis.recover()
    assert (run.word, run.rc, run.outcome["loss"]["witness"]) == (
        "recovered",
        0,
        "it ended when it was asked to, and saved its data before",
    )


def test_an_append_only_file_that_was_cut_between_two_commands_is_missed_before_the_start(farm: Farm) -> None:
    redis = farm.make("shorter").start()
    redis.write(300)
    assert redis.recover().word == "nothing_to_do"
    redis.kill()
    os.truncate(incr(redis), ends_of_commands(incr(redis), b"*3\r\n$3\r\nSET\r\n")[200])
    refused = redis.recover()
    assert (refused.word, refused.code, refused.acts[:1]) == ("refused", "approval_needed", ["hold"]), refused.text
    assert "redis_recovery_accept_keys=200" in refused.text
    plan = refused.outcome["reasons"][0]["plans"][0]
    assert (plan["name"], plan["loss"]["count"], plan["loss"]["exact"]) == ("as_is", 100, False)
    run = redis.recover(remediation_approval=plan["token"])
    loss = run.outcome["loss"]
    assert (run.word, loss["count"], loss["exact"], loss["approved"]) == ("recovered_with_loss", 100, False, True), run.text
    assert (loss["known_before"], loss["present_after"]) == (300, 200)


def test_keys_that_were_removed_by_commands_are_no_loss_and_a_person_may_say_so_of_others(farm: Farm) -> None:
    redis = farm.make("removed").start()
    keys = redis.write(300)
    assert redis.recover().word == "nothing_to_do"
    redis.ask("DEL", *keys[:50])
    redis.kill()
    run = redis.recover()
    assert (run.word, run.outcome["loss"]["count"], run.outcome["loss"]["present_after"]) == ("recovered", 0, 250), run.text
    redis.ask("DEL", *keys[50:240])
    emptied = redis.recover("--check")
    assert emptied.states[0] == "up_but_empty"
    assert "redis_recovery_accept_keys=60" in emptied.text
    assert redis.recover(redis_recovery_accept_keys=60).word == "nothing_to_do"
    # It was proven: from now on that is the number.
    assert redis.recover().word == "nothing_to_do"


def test_keys_that_live_for_a_day_are_data(farm: Farm) -> None:
    redis = farm.make("living").start()
    redis.write(5)
    for number in range(501):
        redis.ask("SET", "day:%04d" % number, "v" * 20, "EX", 86400)
    assert redis.recover().word == "nothing_to_do"
    until(lambda: "aof_buffer_length:0\r" in str(redis.ask("INFO", "persistence")))
    redis.kill()
    content = bytearray(incr(redis).read_bytes())
    middle = int(len(content) * 0.62)
    content[middle : middle + 40] = os.urandom(40)
    incr(redis).write_bytes(content)
    refused = redis.recover()
    plans = {plan["name"]: plan for plan in refused.outcome["reasons"][0]["plans"]}
    kept = {name: int(plan["text"].split()[1]) for name, plan in plans.items()}
    assert kept["cut"] < kept["salvage"] < 506
    for name, plan in plans.items():
        assert plan["loss"]["count"] is None or plan["loss"]["count"] >= 506 - kept[name], plans
    run = redis.recover(remediation_approval=plans["cut"]["token"])
    loss = run.outcome["loss"]
    assert (run.word, loss["known_before"], loss["present_after"]) == ("recovered_with_loss", 506, kept["cut"]), run.text
    assert loss["count"] >= 506 - kept["cut"]


def test_keys_whose_time_came_meanwhile_are_not_lost(farm: Farm) -> None:
    redis = farm.make("expired").start()
    redis.write(50)
    for number in range(200):
        redis.ask("SET", "short:%03d" % number, "v", "PX", 6000)
    begun = time.monotonic()
    assert redis.recover().word == "nothing_to_do"
    redis.kill()
    time.sleep(max(0.0, 6.5 - (time.monotonic() - begun)))
    run = redis.recover()
    loss = run.outcome["loss"]
    assert (run.word, loss["suspected"], loss["known_before"], loss["present_after"]) == ("recovered", False, 50, 50), run.text
