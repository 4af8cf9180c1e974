# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two operators at once, and controllers killed at every task: one mutates, the next run ends right, nothing is lost or done twice.

RACES, PLAYBOOK_RACES: how many; BOUNDARIES: every how many-th task is one to be killed at. The proof is 1000, 20 and 1.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import sqlite3
import time
import typing as t
from pathlib import Path

import pytest
from farms.redis import SERVER, SUPERVISORD, Farm, Redis, Run, farmed

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_close as close
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_gate as gate
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_guard as guard
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_open as opening

RACES = int(os.environ.get("RACES", "100"))
PLAYBOOK_RACES = int(os.environ.get("PLAYBOOK_RACES", "3"))
BOUNDARIES = int(os.environ.get("BOUNDARIES", "16"))
PLUGINS = Path(__file__).parent / "farms/spine_plugins"
real_redis = pytest.mark.skipif(SERVER is None or SUPERVISORD is None, reason="redis-server or supervisord is not installed")


# At the interface of the ledger ---------------------------------------------------------------------


def defaults(step: t.Any, **more: t.Any) -> dict[str, t.Any]:
    return {**{name: option.get("default") for name, option in step.ARGUMENT_SPEC.items()}, **more}


WELL: dict[str, t.Any] = {"health": "well"}
SICK: dict[str, t.Any] = {"health": "sick", "state": "down", "actions": ["start"]}
PLAN = {"name": "cut", "text": "cut the tail", "loss": {"count": 2, "unit": "keys", "exact": True}, "binds": {"sha256": "a" * 64}}


def operate(folder: Path, turn: int, name: str) -> str:
    """Be one operator on target *turn*: from open to close, and in between the one thing that changes the world."""
    state, world = str(folder / "state"), folder / f"world-{turn}"
    who = {"host": f"h{turn}", "component": "toy", "remedy": "toy", "run_id": f"{name}-{turn}", "owner": name}
    run = opening.run(defaults(opening, state_dir=state, **who), False)["run"]
    verdict, failure, after = {}, {}, {**WELL, "proven": True}
    if run["ok"]:
        before = WELL if world.exists() else SICK
        token = folder / f"token-{turn}"
        asked = {"plans": [PLAN], "approval": token.read_text()} if token.exists() else {}
        verdict = guard.run(defaults(guard, state_dir=state, run=run, before=before, **asked), False)["verdict"]
    if verdict.get("proceed"):
        try:
            gate.run(defaults(gate, state_dir=state, run=run, action="start"), False)
            with open(world, "a", encoding="utf-8") as file:
                file.write(name + "\n")
        except StepError as error:
            failure = {"msg": str(error), "reasons": error.data["reasons"]}
    harmless = {"start": "a toy holds no data"}
    given = defaults(close, state_dir=state, run=run, verdict=verdict, failure=failure, after=after, harmless=harmless)
    return str(close.run(given, False)["outcome"]["outcome"])


def contend(folder: Path, name: str, start: t.Any, answers: t.Any) -> None:
    for turn in range(RACES):
        start.wait(60)
        answers.put((turn, name, operate(folder, turn, name)))


def leave_dead_runs(folder: Path) -> None:
    """Give every third target a lease that has expired, so that the race there is for the take-over."""
    for turn in range(0, RACES, 3):
        who = {"host": f"h{turn}", "component": "toy", "remedy": "toy", "run_id": f"dead-{turn}", "owner": "dead"}
        opening.run(defaults(opening, state_dir=str(folder / "state"), lease_seconds=-1.0, **who), False)


def approve(folder: Path) -> int:
    """Give every fifth target one approval, which both operators then use; return how many there are."""
    turns = range(1, RACES, 5)
    for turn in turns:
        state, who = (
            str(folder / "state"),
            {"host": f"h{turn}", "component": "toy", "remedy": "toy", "run_id": f"plan-{turn}", "owner": "eve"},
        )
        run = opening.run(defaults(opening, state_dir=state, **who), False)["run"]
        verdict = guard.run(defaults(guard, state_dir=state, run=run, before=SICK, plans=[PLAN]), False)["verdict"]
        (folder / f"token-{turn}").write_text(verdict["reasons"][0]["token"])
        close.run(defaults(close, state_dir=state, run=run, verdict=verdict), False)
    return len(turns)


def test_of_two_operators_at_the_ledger_exactly_one_mutates_in_every_race(tmp_path: Path) -> None:
    tokens = approve(tmp_path)
    leave_dead_runs(tmp_path)
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(2), context.Queue()
    pair = [context.Process(target=contend, args=(tmp_path, name, start, answers)) for name in ("ann", "bob")]
    for process in pair:
        process.start()
    ends: dict[int, dict[str, str]] = collections.defaultdict(dict)
    for _answer in range(2 * RACES):
        turn, name, word = answers.get(timeout=60)
        ends[turn][name] = word
    for process in pair:
        process.join(60)
    with open_ledger(str(tmp_path / "state"), True) as ledger:
        begun = {row["run_id"] for row in ledger.rows("select run_id from journal where kind='begin'")}
        broken, leases, attempts = ledger.broken_at(), ledger.leases(), ledger.rows("select * from attempt")
        approved = ledger.rows("select run_id from journal where kind='approved'")
        abandoned = ledger.rows("select count(*) as n from journal where kind='abandoned'")[0]["n"]
    for turn in range(RACES):
        (winner,) = (tmp_path / f"world-{turn}").read_text().split()
        (loser,) = {"ann", "bob"} - {winner}
        assert ends[turn][winner] == "recovered", (turn, ends[turn])
        assert ends[turn][loser] in ("refused", "nothing_to_do"), (turn, ends[turn])
        assert f"{winner}-{turn}" in begun
        assert f"{loser}-{turn}" not in begun
    # One approval lets one operator act, once.
    assert len(approved) == tokens
    assert {row["run_id"] for row in approved} <= begun
    assert (broken, leases, len(attempts), abandoned) == (None, [], RACES, len(range(0, RACES, 3)))
    print(collections.Counter(word for one in ends.values() for word in one.values()))


# Whole playbooks on a real Redis ---------------------------------------------------------------------

# An act that a dead run may have begun is waited for; that wait is short here.
DEADLINES = {"rescue": 20, "save": 20, "wait": 20, "restart": 6, "mend": 20, "other": 3}
ACCEPTED: dict[str, t.Any] = {"redis_recovery_accept_loss": {"tail_bytes": 100, "share": 0.0}}
AOF = 'appendonly yes\nsave ""\nenable-debug-command yes\n'


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-races-") as made:
        yield made


def starts(redis: Redis) -> int:
    """Return how often this Redis was started."""
    return redis.log.read_text().count("Redis is starting")


def rows(redis: Redis, query: str) -> list[tuple[t.Any, ...]]:
    with contextlib.closing(sqlite3.connect(redis.state_dir / "ledger.sqlite")) as db:
        return db.execute(query).fetchall()


def recover(redis: Redis, pause: float = 0.0, env: dict[str, str] | None = None, **more: t.Any) -> Run:
    time.sleep(pause)
    return redis.farm.play({redis.name: {**redis.variables, "redis_recovery_deadlines": DEADLINES, **more}}, env=env)["lab"]


def begun(redis: Redis) -> list[tuple[str, str]]:
    """Return (run, act) for each act that was begun."""
    return rows(redis, "select run_id, json_extract(body, '$.action') from journal where kind='begin' order by seq")


def no_act_was_begun_twice(redis: Redis) -> None:
    """No run begins an act twice, and nobody holds the target or is open any more."""
    assert len(begun(redis)) == len(set(begun(redis)))
    assert rows(redis, "select * from lease") == []
    assert rows(redis, "select * from run where closed_at is null") == []
    with open_ledger(str(redis.state_dir), True) as ledger:
        assert ledger.broken_at() is None


@real_redis
def test_of_two_whole_playbooks_at_once_one_starts_redis_and_the_other_changes_nothing(farm: Farm) -> None:
    seen: list[tuple[str, ...]] = []
    for turn in range(PLAYBOOK_RACES):
        redis = farm.make(f"race{turn}", AOF).start()
        keys = redis.write(100)
        redis.kill()
        # From both at the same moment to the second coming when the first acts.
        pauses = (0.0, (turn % 5) * 0.3)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            pair = list(pool.map(lambda pause, redis=redis: recover(redis, pause), pauses))
        winners = [run for run in pair if run.acts]
        losers = [run for run in pair if not run.acts]
        assert (len(winners), len(losers)) == (1, 1), [run.text for run in pair]
        assert (winners[0].rc, winners[0].word, winners[0].acts) == (0, "recovered", ["start"]), winners[0].text
        assert (losers[0].word, losers[0].code) in (("refused", "lease_held"), ("nothing_to_do", "")), losers[0].text
        assert (starts(redis), len(begun(redis))) == (2, 1)
        no_act_was_begun_twice(redis)
        assert redis.has(keys)
        seen.append(tuple(sorted(run.word for run in pair)))
    print(collections.Counter(seen))


def killed(redis: Redis) -> None:
    redis.kill()


def hung(redis: Redis) -> None:
    """Leave Redis in a state that takes two acts: a signal first, then a restart."""
    redis.send("DEBUG", "SLEEP", 600)


@real_redis
@pytest.mark.parametrize("break_it", [killed, hung])
def test_after_a_controller_killed_with_all_its_processes_at_any_task_the_next_run_ends_right(
    farm: Farm, break_it: t.Callable[[Redis], None]
) -> None:
    seen: dict[int, str] = {}
    for task in range(1, 200, BOUNDARIES):
        redis = farm.make(f"{break_it.__name__}{task}", AOF).start()
        keys = redis.write(100)
        break_it(redis)
        first = recover(redis, env=killed_at(task))
        if first.rc == 0:
            assert first.word == "recovered", first.text
            break
        assert first.rc == -signal.SIGKILL, first.text
        well, was = redis.try_ask("PING") == "PONG", starts(redis)
        second = recover(redis)
        seen[task] = second.word
        assert (second.rc, second.word) == (0, "nothing_to_do" if well else "recovered"), (task, second.text)
        # What the dead run had brought about is not done again.
        assert starts(redis) == (was if well else 2), (task, second.text)
        assert not (well and second.acts), (task, second.text)
        no_act_was_begun_twice(redis)
        assert redis.has(keys)
        redis.kill()
    else:
        raise AssertionError("the run never came to its end")
    assert "recovered" in seen.values()
    print(break_it.__name__, len(seen), "boundaries", collections.Counter(seen.values()))


@real_redis
def test_after_a_controller_killed_at_any_task_of_a_mend_all_that_can_be_kept_is_kept_and_the_loss_is_told(farm: Farm) -> None:
    seen: list[str] = []
    for task in range(1, 200, BOUNDARIES):
        redis = farm.make(f"damaged{task}", AOF).start()
        keys = redis.write(100)
        redis.kill()
        cut_tail(redis)
        first = recover(redis, env=killed_at(task), **ACCEPTED)
        if first.rc == 0:
            assert (first.word, first.outcome["loss"]["count"]) == ("recovered_with_loss", 1), first.text
            break
        assert first.rc == -signal.SIGKILL, first.text
        well, was = redis.try_ask("PING") == "PONG", starts(redis)
        second = recover(redis, **ACCEPTED)
        seen.append(second.word)
        assert (second.rc, second.word) == (0, "nothing_to_do" if well else "recovered_with_loss"), (task, second.text)
        assert starts(redis) == (was if well else 2), (task, second.text)
        # The last write was cut in two; whichever run put the files in place, exactly one tells what that cost.
        assert redis.missing(keys) == keys[-1:]
        assert told(redis) == [(1, "keys", 1)], (task, second.text)
        no_act_was_begun_twice(redis)
        third = recover(redis, **ACCEPTED)
        assert (third.word, third.outcome["loss"]["count"]) == ("nothing_to_do", 0), third.text
        redis.kill()
    else:
        raise AssertionError("the run never came to its end")
    print("damaged", len(seen), "boundaries", collections.Counter(seen))


def told(redis: Redis) -> list[tuple[t.Any, ...]]:
    """Return (count, unit, approved) of each loss that a run told at its close."""
    body = "select json_extract(body, '$.loss.count') as n, json_extract(body, '$.loss.unit'), json_extract(body, '$.loss.approved')"
    return rows(redis, body + " from journal where kind='close' and n is not 0")


def cut_tail(redis: Redis) -> None:
    """Cut the last write of the append-only file in two."""
    file = max((redis.data / "appendonlydir").glob("*.incr.aof"))
    os.truncate(file, file.stat().st_size - 7)


def killed_at(task: int) -> dict[str, str]:
    return {
        "ANSIBLE_CALLBACKS_ENABLED": "signal_at", "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "callback"),
        "SIGNAL_AT_TASK": str(int(signal.SIGKILL)), "SIGNAL_GROUP": "1", "TASK": str(task),
    }  # fmt: skip
