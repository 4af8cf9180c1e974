# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis whose start command deletes its data, as SomaBrain's first generation has it: kept, started and loaded again."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
import typing as t
from pathlib import Path

import pytest
from farms.redis import SERVER, SUPERVISORD, Farm, Redis, Run, farmed

pytestmark = pytest.mark.skipif(SERVER is None or SUPERVISORD is None, reason="redis-server or supervisord is not installed")
DUMP = 'appendonly no\nsave ""\n'
APPEND = 'appendonly yes\nsave ""\n'
DEADLINES = {"rescue": 6, "save": 6, "wait": 6, "mend": 6, "restart": 6, "other": 3}


@pytest.fixture(scope="module")
def farm() -> t.Iterator[Farm]:
    with farmed("sb-farm-") as made:
        yield made


def make(farm: Farm, what: str = "dump.rdb", settings: str = DUMP) -> Redis:
    """Return a Redis whose start command removes *what* of its data directory first."""
    redis = farm.make(f"first{len(farm.redis)}", settings)
    farm.call.removeProcessGroup(redis.name)
    farm.add(redis.name, f"""sh -c "rm -rf {redis.data}/{what}; exec {SERVER} {redis.config}" """, 0)
    return redis


def killed(redis: Redis, count: int = 300) -> list[str]:
    """Start *redis*, write keys, save, and kill it; return the keys."""
    redis.start()
    keys = redis.write(count)
    redis.ask("SAVE")
    redis.kill()
    return keys


def token_of(run: Run, name: str = "") -> str:
    """Return the token of the plan of that *name*, else of the recommended one."""
    assert run.code == "approval_needed", run.text[-3000:]
    plans = [plan for plan in run.outcome["reasons"][0]["plans"] if plan["name"] == name or not name]
    return str(plans[0]["token"])


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("what", "settings"), [("dump.rdb", DUMP), ("*", APPEND)], ids=["dump", "append-only files"])
def test_nothing_is_started_without_an_approval_and_no_key_is_lost_with_it(farm: Farm, what: str, settings: str) -> None:
    redis = make(farm, what, settings)
    keys = killed(redis)
    before = digests(redis.data)
    asked = redis.recover()
    assert (asked.word, asked.states[0], redis.running) == ("refused", "down_clean", False), asked.text[-3000:]
    assert digests(redis.data) == before
    plan = asked.outcome["reasons"][0]["plans"][0]
    # What a snapshot lacks of what was in memory, no copy brings back.
    whole = settings == APPEND
    assert plan["loss"] == {"count": 0 if whole else None, "unit": "keys", "exact": whole}
    assert "deletes its data" in plan["text"]
    done = redis.recover("-e", f"remediation_approval={token_of(asked)}")
    word = "recovered" if whole else "recovered_with_loss"
    assert (done.word, done.rc, done.acts) == (word, 0, ["rescue_dump", "start", "reload"]), done.text[-3000:]
    assert redis.ask("DBSIZE") == len(keys)
    assert redis.has(keys)
    assert redis.recover().word == "nothing_to_do"


def test_the_command_is_recognised_in_a_script_too(farm: Farm) -> None:
    redis = make(farm)
    script = redis.folder / "start.sh"
    script.write_text(f"#!/bin/sh\nset -e\nrm -f {redis.data}/dump.rdb\nexec {SERVER} {redis.config}\n")
    script.chmod(0o755)
    farm.call.removeProcessGroup(redis.name)
    farm.add(redis.name, str(script), 0)
    killed(redis)
    assert token_of(redis.recover())


def test_a_start_that_keeps_the_data_needs_no_approval(farm: Farm) -> None:
    redis = make(farm, "temp-*.rdb")
    keys = killed(redis)
    done = redis.recover()
    assert (done.word, done.acts, done.outcome["loss"]["count"]) == ("recovered_with_loss", ["start"], None), done.text[-3000:]
    assert redis.has(keys)


def test_a_redis_that_is_well_is_told_what_a_restart_would_do_and_left_alone(farm: Farm) -> None:
    redis = make(farm).start()
    keys, pid = redis.write(10), redis.pid
    run = redis.recover()
    assert (run.word, redis.pid, redis.has(keys)) == ("nothing_to_do", pid, True)
    assert "a restart would lose its keys" in run.text


def test_without_a_place_for_the_copy_it_refuses_and_says_where_to_put_it(farm: Farm) -> None:
    redis = make(farm)
    killed(redis)
    before = digests(redis.data)
    run = redis.recover(redis_recovery_rescue_dir="")
    assert (run.word, run.code, redis.running) == ("refused", "no_room", False)
    assert digests(redis.data) == before


def test_an_approval_of_other_data_is_refused(farm: Farm) -> None:
    redis = make(farm)
    killed(redis)
    token = token_of(redis.recover())
    redis.data.joinpath("dump.rdb").unlink()
    farm.call.startProcess(redis.name)
    killed(redis, count=20)
    before = digests(redis.data)
    run = redis.recover("-e", f"remediation_approval={token}")
    assert (run.word, run.code, redis.running) == ("refused", "approval_stale", False), run.text[-3000:]
    assert digests(redis.data) == before


def test_a_hung_one_is_kept_before_it_is_killed(farm: Farm) -> None:
    redis = make(farm)
    redis.start()
    keys = redis.write(50)
    redis.ask("SAVE")
    redis.ask("CONFIG", "SET", "busy-reply-threshold", "3600000")
    redis.send("EVAL", "while true do end", "0")
    asked = redis.recover(redis_recovery_stop_timeout=1)
    assert asked.states[0] == "hung", asked.text[-3000:]
    done = redis.recover("-e", f"remediation_approval={token_of(asked)}", redis_recovery_stop_timeout=1)
    assert done.acts[-3:] == ["rescue_dump", "restart", "reload"], done.text[-3000:]
    assert redis.has(keys)


@pytest.mark.parametrize("written", [False, True], ids=["nothing written since", "keys written and saved since"])
def test_a_run_that_dies_after_the_start_is_told_and_ended_by_the_next(farm: Farm, written: bool) -> None:
    redis = make(farm)
    keys = killed(redis)
    token = token_of(redis.recover())
    # The program that should load the copy fails: as if the run had died between the two.
    broken = redis.recover("-e", f"remediation_approval={token}", redis_recovery_server="/bin/false")
    assert broken.word == "failed", broken.text[-3000:]
    assert "/kept; run recover-redis again" in " ".join(broken.outcome["undo"].split())
    assert broken.acts == ["rescue_dump", "start", "reload"]
    assert redis.ask("DBSIZE") == 0
    if written:
        redis.ask("SET", keys[0], "newer")
        redis.ask("SAVE")
    done = redis.recover()
    assert (done.word, done.acts) == ("recovered", ["reload"]), done.text[-3000:]
    assert redis.has(keys)
    assert redis.ask("GET", keys[0]) == ("newer" if written else "x" * 10)
    assert redis.recover().word == "nothing_to_do"


def test_it_is_ended_too_where_redis_died_again_meanwhile(farm: Farm) -> None:
    redis = make(farm)
    keys = killed(redis)
    redis.recover("-e", f"remediation_approval={token_of(redis.recover())}", redis_recovery_server="/bin/false")
    redis.signal(signal.SIGKILL)
    redis.kill()
    done = redis.recover()
    assert (done.word, done.acts) == ("recovered_with_loss", ["start", "reload"]), done.text[-3000:]
    assert redis.has(keys)


def test_check_mode_changes_nothing(farm: Farm) -> None:
    redis = make(farm)
    killed(redis)
    before = digests(redis.folder / "data")
    redis.recover("--check")
    assert digests(redis.folder / "data") == before
    assert not (redis.folder / "rescue").exists()
    assert not redis.running


def test_damaged_data_are_mended_first_and_then_kept_over_the_start(farm: Farm) -> None:
    redis = make(farm)
    keys = killed(redis)
    dump, backup = redis.data / "dump.rdb", redis.folder / "backup.rdb"
    shutil.copy(dump, backup)
    dump.write_bytes(dump.read_bytes()[:-100])
    before = digests(redis.data)
    given = {"redis_recovery_backups": [str(backup)]}
    asked = redis.recover(**given)
    assert (asked.word, asked.states[0], redis.running) == ("refused", "down_bad_file", False), asked.text[-3000:]
    assert {path: digest for path, digest in digests(redis.data).items() if "before-" not in path} == before
    done = redis.recover("-e", f"remediation_approval={token_of(asked, 'backup_1')}", **given)
    assert done.word in ("recovered", "recovered_with_loss"), done.text[-5000:]
    assert done.acts == ["hold", "mend", "rescue_dump", "start", "reload"]
    assert redis.has(keys)


def test_a_controller_killed_at_any_task_loses_no_key(farm: Farm) -> None:
    """BOUNDARIES: every how many-th task is one to be killed at."""
    plugins = Path(__file__).parent / "farms/spine_plugins/callback"
    env = {"ANSIBLE_CALLBACKS_ENABLED": "signal_at", "ANSIBLE_CALLBACK_PLUGINS": str(plugins), "SIGNAL_AT_TASK": "9", "SIGNAL_GROUP": "1"}
    seen: dict[int, tuple[str, ...]] = {}
    for task in range(1, 200, int(os.environ.get("BOUNDARIES", "8"))):
        redis = make(farm)
        keys = killed(redis, count=100)
        hosts = {redis.name: {**redis.variables, "redis_recovery_deadlines": DEADLINES}}
        token = token_of(farm.play(hosts)["lab"])
        first = farm.play(hosts, "-e", f"remediation_approval={token}", env={**env, "TASK": str(task)})["lab"]
        runs = [first]
        while runs[-1].word not in ("recovered", "recovered_with_loss", "nothing_to_do"):
            assert len(runs) < 30, runs[-1].text[-3000:]
            flags = ["-e", f"remediation_approval={token_of(runs[-1])}"] if runs[-1].code == "approval_needed" else []
            time.sleep(1 if runs[-1].code in ("lease_held", "dead_run_acting") else 0)
            runs.append(farm.play(hosts, *flags)["lab"])
        assert redis.has(keys), (task, [run.text for run in runs])
        assert redis.recover().word == "nothing_to_do"
        redis.kill()
        seen[task] = tuple(act for run in runs if run.outcome for act in run.acts)
        if first.rc == 0:
            break
    else:
        raise AssertionError("the run never came to its end")
    print(seen)
