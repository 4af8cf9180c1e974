# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approvals on real servers: for another host or state, expired, altered or used they are refused, and nothing is changed."""

from __future__ import annotations

import time
import typing as t

import pytest
from farms.redis import SERVER, SUPERVISORD, Farm, Redis, Run, farmed, snapshot, start_ticks

pytestmark = [
    pytest.mark.skipif(SERVER is None or SUPERVISORD is None, reason="redis-server or supervisord is not installed"),
]
# Saved only now and then, so a kill may lose data; a script then keeps it from answering and from ending.
SETTINGS = "appendonly no\nsave 3600 1\nbusy-reply-threshold 3600000\n"


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-approve-") as made:
        yield made


def hang(redis: Redis) -> None:
    """Leave Redis hung with changes that are not on disk."""
    redis.write(50)
    assert redis.ask("SAVE") == "OK"
    redis.write(5, prefix="unsaved")
    redis.send("EVAL", "while true do end", 0)


def ask(redis: Redis, **more: t.Any) -> str:
    """Return the token of the plan that a run offers."""
    run = redis.recover(**more)
    assert (run.rc, run.word, run.code) == (2, "refused", "approval_needed"), run.text
    (plan,) = run.outcome["reasons"][0]["plans"]
    return str(plan["token"])


def refused(redis: Redis, token: str, **more: t.Any) -> Run:
    """Run with *token*, which has to change neither process nor data."""
    before = (redis.pid, start_ticks(redis.pid), snapshot(redis.data))
    run = redis.recover(remediation_approval=token, **more)
    assert (redis.pid, start_ticks(redis.pid), snapshot(redis.data)) == before, run.text
    assert (run.rc, run.word, run.acts) == (2, "refused", ["wait"]), run.text
    return run


def test_an_approval_is_refused_for_all_but_its_own_target_state_and_time(farm: Farm) -> None:
    redis, other = farm.make("one", SETTINGS).start(), farm.make("two", SETTINGS).start()
    for each in (redis, other):
        hang(each)
    ledger = {"remediation_state_dir": str(redis.state_dir)}
    short = ask(redis, remediation_approval_seconds=1)
    token = ask(redis)
    assert refused(other, token, **ledger).code == "approval_other_target"
    # Every place of a token is altered in the unit tests.
    altered = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert refused(redis, altered).code == "approval_other_target"
    assert time.time() > int(short.split(".")[-2])
    assert "expired" in refused(redis, short).outcome["reasons"][0]["text"]
    assert redis.recover(remediation_approval=token).word == "recovered_with_loss"
    hang(redis)
    # It is another process now, and the token was used.
    assert refused(redis, token).code == "approval_stale"
    fresh = ask(redis)
    redis.kill()
    hang(redis.start())
    assert "has changed" in refused(redis, fresh).outcome["reasons"][0]["text"]
    assert redis.recover(remediation_approval=ask(redis)).word == "recovered_with_loss"
