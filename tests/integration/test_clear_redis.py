# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""clear-redis-corruption on a real Redis: what is confirmed, what is refused, what goes, and what comes back."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import pytest
from farms.redis import BIN, PATIENCE, ROOT, SERVER, SUPERVISORD, Farm, Redis, Run, farmed, snapshot
from farms.warmly import run_ansible

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.clear import write_list
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.integrity import digests_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import redis_clear, redis_confirm, redis_rescue

pytestmark = pytest.mark.skipif(not (SERVER and SUPERVISORD), reason="redis-server, supervisord")
CANARY = "canary-of-a-value"
CHECK = {"name": "json", "pattern": "soma:f:*", "check": {"json": True}}


@pytest.fixture
def farm() -> t.Iterator[Farm]:
    with farmed("sc-") as made:
        yield made


@pytest.fixture
def redis(farm: Farm) -> Redis:
    """A Redis with 40 good keys, 5 corrupt ones, one corrupt that expires, and 20 of others."""
    redis = farm.make("one").start()
    redis.write(20, prefix="other")
    for index in range(40):
        redis.ask("SET", f"soma:f:{index}", json.dumps({"n": index}))
    corrupt(redis)
    return redis


def corrupt(redis: Redis) -> None:
    for index in range(5):
        redis.ask("SET", f"soma:f:bad:{index}", "{" + CANARY)
    redis.ask("SET", "soma:f:expires", "{", "EX", 3600)


def clear(redis: Redis, *flags: str, **given: t.Any) -> Run:
    """Run the playbook on one Redis."""
    command, outcome = prepared(redis, *flags, **given)
    done = run_ansible(command, cwd=ROOT, timeout=300)
    return Run(done.returncode, done.stdout + done.stderr, json.loads(outcome.read_text()) if outcome.exists() else {})


def prepared(redis: Redis, *flags: str, **given: t.Any) -> tuple[list[str], Path]:
    """Return the command line of the playbook, and the file of its outcome."""
    folder = Path(tempfile.mkdtemp(dir=redis.folder))
    outcome = folder / "outcome.json"
    variables = {
        **redis.variables, "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
        "remediation_outcome_file": str(outcome),
        "redis_clearing_checks": [CHECK], "redis_clearing_again_after": 0.5, "redis_clearing_patience": PATIENCE, **given,
    }  # fmt: skip
    inventory = folder / "inventory.json"
    inventory.write_text(json.dumps({"redis": {"hosts": {"one": variables}}}))
    return [str(BIN / "ansible-playbook"), "playbooks/clear-redis-corruption.yml", "-i", str(inventory), *flags], outcome


def token_of(run: Run) -> str:
    assert (run.word, run.code) == ("refused", "approval_needed"), run.text
    return str(run.outcome["reasons"][0]["plans"][0]["token"])


def bad(redis: Redis) -> int:
    return int(redis.ask("EXISTS", *(f"soma:f:bad:{index}" for index in range(5))))


def filled(step: t.Any, redis: Redis, **given: t.Any) -> dict[str, t.Any]:
    params = {name: rule.get("default") for name, rule in step.ARGUMENT_SPEC.items()}
    return {**params, "port": redis.port, **given}


def test_corrupt_keys_go_under_approval_and_come_back(redis: Redis) -> None:
    rehearsed = clear(redis, "--check")
    assert (rehearsed.word, bad(redis)) == ("rehearsed", 5), rehearsed.text
    planned = clear(redis)
    token = token_of(planned)
    plan = planned.outcome["reasons"][0]["plans"][0]
    assert plan["loss"] == {"count": 5, "unit": "keys", "exact": True}
    assert bad(redis) == 5
    run = clear(redis, "-e", f"remediation_approval={token}")
    assert (run.word, run.rc) == ("recovered_with_loss", 0), run.text
    assert (run.outcome["loss"]["count"], run.outcome["loss"]["exact"], run.outcome["loss"]["approved"]) == (5, True, True)
    assert (run.outcome["loss"]["known_before"], run.outcome["loss"]["present_after"]) == (66, 61)
    assert run.acts == ["confirm", "clear"]
    assert bad(redis) == 0
    assert redis.ask("EXISTS", "soma:f:expires") == 1
    assert redis.ask("DBSIZE") == 61
    assert CANARY not in planned.text + run.text + json.dumps([planned.outcome, run.outcome])
    kept = json.loads(shlex.split(run.outcome["undo"])[-1])["kept_file"]
    again = clear(redis)
    assert (again.word, again.rc) == ("nothing_to_do", 0), again.text
    used = clear(redis, "-e", f"remediation_approval={token}")
    assert used.word == "nothing_to_do"
    # recover-redis knows how many keys there are now.
    assert redis.recover().word == "nothing_to_do"
    # The undo that was printed.
    back = redis_clear.run(filled(redis_clear, redis, state="put_back", kept_file=kept), False)
    assert (back["restored"], back["there"]) == (5, 0)
    assert [redis.ask("GET", f"soma:f:bad:{index}") for index in range(5)] == ["{" + CANARY] * 5
    assert redis.ask("TTL", "soma:f:bad:0") == -1
    twice = redis_clear.run(filled(redis_clear, redis, state="put_back", kept_file=kept), False)
    assert (twice["changed"], twice["restored"], twice["there"]) == (False, 0, 5)
    # The token was for one time.
    stale = clear(redis, "-e", f"remediation_approval={token}")
    assert (stale.word, stale.code) == ("refused", "approval_stale"), stale.text
    assert bad(redis) == 5
    files = [path for path in Path(str(redis.folder / "rescue")).rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_check_changes_nothing_on_disk(redis: Redis) -> None:
    before = snapshot(redis.folder / "rescue", redis.state_dir)
    clear(redis, "--check")
    assert snapshot(redis.folder / "rescue", redis.state_dir) == before


def test_a_changed_set_of_keys_needs_a_new_approval(redis: Redis) -> None:
    token = token_of(clear(redis))
    redis.ask("SET", "soma:f:bad:5", "{")
    stale = clear(redis, "-e", f"remediation_approval={token}")
    assert (stale.word, stale.code, bad(redis)) == ("refused", "approval_stale", 5), stale.text
    redis.ask("DEL", "soma:f:bad:5")
    redis.ask("SET", "soma:f:bad:4", "{another")
    other = clear(redis, "-e", f"remediation_approval={token}")
    assert (other.word, other.code, bad(redis)) == ("refused", "approval_stale", 5), other.text


def test_with_a_tolerance_the_count_may_move(redis: Redis) -> None:
    token = token_of(clear(redis, redis_clearing_tolerance=1))
    for name in ("soma:f:bad:5", "soma:f:bad:6"):
        redis.ask("SET", name, "{")
    far = clear(redis, "-e", f"remediation_approval={token}", redis_clearing_tolerance=1)
    assert (far.word, far.code, bad(redis)) == ("refused", "approval_stale", 5), far.text
    redis.ask("DEL", "soma:f:bad:6")
    near = clear(redis, "-e", f"remediation_approval={token}", redis_clearing_tolerance=1)
    assert (near.word, near.outcome["loss"]["count"]) == ("recovered_with_loss", 6), near.text


def test_another_process_needs_a_new_approval(redis: Redis) -> None:
    token = token_of(clear(redis))
    redis.kill()
    redis.start()
    stale = clear(redis, "-e", f"remediation_approval={token}")
    assert (stale.word, stale.code, bad(redis)) == ("refused", "approval_stale", 5), stale.text


def test_a_failure_after_the_removal_puts_the_keys_back(redis: Redis) -> None:
    token = token_of(clear(redis))
    done = threading.Event()

    def write_again() -> None:
        """Make another key corrupt as soon as the keys are gone: the verification is not well then."""
        while not done.is_set():
            if bad(redis) == 0:
                redis.ask("SET", "soma:f:late", "{")
                return
            time.sleep(0.002)

    writer = threading.Thread(target=write_again, daemon=True)
    writer.start()
    run = clear(redis, "-e", f"remediation_approval={token}", redis_clearing_patience={**PATIENCE, "timeout": 1})
    done.set()
    writer.join(10)
    assert run.word == "undone", run.text
    assert (run.outcome["loss"]["count"], run.outcome["loss"]["exact"]) == (0, True)
    assert bad(redis) == 5
    assert [redis.ask("GET", f"soma:f:bad:{index}") for index in range(5)] == ["{" + CANARY] * 5


def test_what_a_run_removed_that_died_is_told_by_the_next(redis: Redis) -> None:
    token = token_of(clear(redis))
    slow = {**PATIENCE, "window": 60.0}
    command, _outcome = prepared(redis, "-e", f"remediation_approval={token}", redis_clearing_patience=slow)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as controller:
        end = time.monotonic() + 60
        while bad(redis):
            assert time.monotonic() < end
            assert controller.poll() is None
            time.sleep(0.01)
        os.killpg(controller.pid, signal.SIGKILL)
    assert redis.ask("SET", "other:new", "x") == "OK"
    run = clear(redis, "-e", "remediation_takeover=true")
    assert (run.word, run.acts) == ("nothing_to_do", []), run.text
    # What it got to is not known, so the count of its plan is the most that it may be.
    assert (run.outcome["loss"]["count"], run.outcome["loss"]["exact"]) == (5, False)
    assert "died" in run.outcome["loss"]["text"]
    kept = json.loads(shlex.split(run.outcome["undo"])[-1])["kept_file"]
    back = redis_clear.run(filled(redis_clear, redis, state="put_back", kept_file=kept), False)
    assert back["restored"] == 5


def test_what_fails_once_and_then_passes_is_not_confirmed(redis: Redis) -> None:
    def mend() -> None:
        """Make the values good once the rescue copy is there, and so the first look is over or about to be."""
        while not list((redis.folder / "rescue").glob("*.rdb")):
            time.sleep(0.05)
        time.sleep(2)
        for index in range(5):
            redis.ask("SET", f"soma:f:bad:{index}", "{}")

    writer = threading.Thread(target=mend, daemon=True)
    writer.start()
    run = clear(redis, redis_clearing_again_after=8)
    writer.join(30)
    assert (run.word, run.code) == ("refused", "health_unknown"), run.text
    assert "do not fail any more: not confirmed" in run.outcome["reasons"][0]["text"]
    assert bad(redis) == 5


def test_a_good_value_elsewhere_makes_it_a_recovery(farm: Farm, redis: Redis) -> None:
    for index in range(5):
        redis.ask("SET", f"soma:f:bad:{index}", "{}")
    made = redis_rescue.run(filled(redis_rescue, redis, dest_dir=str(redis.folder / "backup"), data_dir=""), False)
    corrupt(redis)
    run = clear(redis, redis_clearing_backups=[str(redis.folder / "backup" / "*.rdb")])
    assert (run.word, run.code, bad(redis)) == ("refused", "state_not_handled", 5), run.text
    assert "has 5" in run.outcome["reasons"][0]["text"]
    missing = clear(redis, redis_clearing_backups=["/nowhere/*.rdb"])
    assert (missing.word, missing.code, bad(redis)) == ("refused", "bad_input", 5), missing.text
    # A backup that holds nothing that loads is no witness against it.
    Path(made["path"]).write_bytes(b"REDIS0011 nonsense")
    assert token_of(clear(redis, redis_clearing_backups=[made["path"]]))


def test_a_replica_is_asked_and_has_to_answer(farm: Farm, redis: Redis) -> None:
    other = farm.make("two", f"replicaof 127.0.0.1 {redis.port}\n").start()
    end = time.monotonic() + 10
    while "state=online" not in str(redis.ask("INFO", "replication")) or other.ask("DBSIZE") != 66:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert token_of(clear(redis))
    other.ask("CONFIG", "SET", "requirepass", "secret")
    mute = clear(redis)
    assert (mute.word, mute.code, bad(redis)) == ("refused", "health_unknown", 5), mute.text
    with Connection(address_of({"port": other.port}), 5) as connection:
        connection.ask_all([("AUTH", "secret"), ("REPLICAOF", "NO", "ONE"), ("CONFIG", "SET", "requirepass", "")])
        connection.ask_all([("SET", f"soma:f:bad:{index}", "{}") for index in range(2)])
    good = clear(redis, redis_clearing_replicas=[{"host": "127.0.0.1", "port": other.port}])
    assert (good.word, good.code, bad(redis)) == ("refused", "state_not_handled", 5), good.text


@pytest.mark.parametrize(
    ("setting", "code"),
    [(("maxmemory", "1"), "not_this_component"), (("requirepass", "x"), "credentials_refused")],
)
def test_what_is_no_corruption_is_left_to_its_own_remedy(redis: Redis, setting: tuple[str, str], code: str) -> None:
    redis.ask("CONFIG", "SET", *setting)
    run = clear(redis)
    assert (run.word, run.code, run.acts) == ("refused", code, []), run.text


def test_a_slow_look_is_unknown(redis: Redis) -> None:
    with Connection(address_of({"port": redis.port}), 30) as connection:
        connection.ask_all([("SET", f"soma:f:more:{index}", "{}") for index in range(30000)])
    run = clear(redis, redis_clearing_scan_timeout=0.05)
    assert (run.word, run.code, run.acts) == ("refused", "health_unknown", []), run.text


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"redis_clearing_checks": []}, "bad_input"),
        ({"redis_clearing_checks": [CHECK, CHECK]}, "bad_input"),
        ({"redis_clearing_name": "other"}, "bad_input"),
        ({"redis_clearing_rescue_dir": ""}, "no_room"),
        ({"redis_clearing_max_failing": 2}, "state_not_handled"),
    ],
)
def test_crooked_input_is_refused_before_anything_is_done(redis: Redis, given: dict[str, t.Any], code: str) -> None:
    run = clear(redis, **given)
    assert (run.word, run.code, run.acts, bad(redis)) == ("refused", code, [], 5), run.text


@pytest.mark.parametrize("pattern", ["*", "s*", "?oma:*", "[s]oma:*", ""])
def test_a_pattern_that_could_mean_anything_is_no_scope(redis: Redis, pattern: str) -> None:
    params = filled(redis_confirm, redis, **{**CHECK, "pattern": pattern}, rescue="x", work_dir="/x", run_id="r")
    with pytest.raises(StepError, match="plain characters"):
        redis_confirm.run(params, False)


def a_list(redis: Redis, *keys: bytes) -> dict[str, t.Any]:
    place = redis.folder / "list"
    place.mkdir(mode=0o700, exist_ok=True)
    with Connection(address_of({"port": redis.port}), 5) as connection:
        digests = digests_of(connection, keys)
    path = str(place / "failing.jsonl")
    sha256 = write_list(path, digests)
    run_id = [line for line in str(redis.ask("INFO", "server")).splitlines() if line.startswith("run_id:")][0][7:]
    return {"list_file": path, "list_sha256": sha256, "kept_file": str(place / "removed.jsonl"), "redis_run_id": run_id}


def test_a_value_that_changed_since_is_left(redis: Redis) -> None:
    given = a_list(redis, b"soma:f:bad:0", b"soma:f:bad:1", b"soma:f:bad:2")
    redis.ask("SET", "soma:f:bad:1", "{}")
    redis.ask("DEL", "soma:f:bad:2")
    done = redis_clear.run(filled(redis_clear, redis, **given), False)
    assert (done["removed"], done["left"], done["gone"]) == (1, 1, 1)
    assert redis.ask("GET", "soma:f:bad:1") == "{}"


def test_an_altered_list_and_another_server_are_refused(redis: Redis) -> None:
    given = a_list(redis, b"soma:f:bad:0")
    with pytest.raises(StepError, match="a different Redis answers"):
        redis_clear.run(filled(redis_clear, redis, **{**given, "redis_run_id": "0" * 40}), False)
    os.unlink(given["kept_file"])
    with pytest.raises(StepError, match="not the one that was approved"):
        redis_clear.run(filled(redis_clear, redis, **{**given, "list_sha256": "0" * 64}), False)
    Path(given["list_file"]).chmod(0o644)
    with pytest.raises(StepError, match="mode 0600"):
        redis_clear.run(filled(redis_clear, redis, **given), False)
    assert bad(redis) == 5


HOSTILE = [b"soma:f:\x1b[2J\r\n", b"soma:f:\xff\xfe\x00", b"soma:f:{{ 7*7 }}", b"soma:f:\xe2\x80\xae", b"soma:f:" + b"x" * 5000]


def test_hostile_names_in_another_database_go_and_come_back(redis: Redis) -> None:
    check = {"name": "sums", "pattern": "soma:f:*", "db": 3, "check": {"digest_field": "sum", "digest_of": "body"}}
    with Connection(address_of({"port": redis.port}), 120) as connection:
        connection.ask("SELECT", 3)
        for name in HOSTILE:
            connection.ask("HSET", name, "sum", "0", "body", b"\x1b[2J" + CANARY.encode())
        connection.ask("HSET", "soma:f:good", "sum", hashlib.sha256(b"body").hexdigest(), "body", "body")
        connection.ask("LPUSH", "soma:f:list", "1")
        before = connection.ask_all([("HGETALL", name) for name in HOSTILE])
        token = token_of(clear(redis, redis_clearing_checks=[check]))
        run = clear(redis, "-e", f"remediation_approval={token}", redis_clearing_checks=[check])
        assert (run.word, run.outcome["loss"]["count"]) == ("recovered_with_loss", 6), run.text
        assert connection.ask("KEYS", "*") == ["soma:f:good"]
        assert bad(redis) == 5
        assert "\x1b[2J" not in run.text
        assert CANARY not in run.text
        kept = json.loads(shlex.split(run.outcome["undo"])[-1])["kept_file"]
        # As a run leaves it that died while it wrote: that key was not removed yet.
        with open(kept, "ab") as file:
            file.write(b'{"db": 3, "key": "c29t')
        back = redis_clear.run(filled(redis_clear, redis, state="put_back", kept_file=kept), False)
        assert (back["restored"], back["there"]) == (6, 0)
        assert connection.ask_all([("HGETALL", name) for name in HOSTILE]) == before


def test_a_value_too_large_to_read_is_unknown_and_not_corrupt(redis: Redis) -> None:
    redis.ask("SET", "soma:f:large", "x" * (9 * 1024 * 1024))
    run = clear(redis)
    assert (run.word, run.code, run.acts) == ("refused", "health_unknown", []), run.text
    bounded = {**CHECK, "check": {"json": True, "max_bytes": 1000}}
    plan = clear(redis, redis_clearing_checks=[bounded])
    assert token_of(plan)
    assert plan.outcome["reasons"][0]["plans"][0]["loss"]["count"] == 6


def test_nothing_is_put_back_where_nothing_was_removed(redis: Redis) -> None:
    params = filled(redis_clear, redis, state="put_back", kept_file=str(redis.folder / "none.jsonl"))
    assert redis_clear.run(params, False)["changed"] is False


def test_writers_meanwhile_lose_nothing(redis: Redis) -> None:
    """Every write that was acknowledged while keys go is there afterwards, unless its key was removed before it."""
    names = [f"soma:f:many:{index}" for index in range(2000)]
    with Connection(address_of({"port": redis.port}), 30) as connection:
        connection.ask_all([("SET", name, "{") for name in names])
    given = a_list(redis, *(name.encode() for name in names))
    acknowledged: dict[str, str] = {}
    done = threading.Event()

    def write() -> None:
        turn = 0
        with Connection(address_of({"port": redis.port}), 60) as connection:
            while not done.is_set():
                name = names[(turn * 7) % len(names)]
                if connection.ask("SET", name, f'"{turn}"') == "OK":
                    acknowledged[name] = f'"{turn}"'
                turn += 1

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    time.sleep(0.02)
    result = redis_clear.run(filled(redis_clear, redis, **given), False)
    done.set()
    writer.join(30)
    assert result["removed"] > 0
    assert result["removed"] + result["left"] + result["gone"] == 2000
    assert len(acknowledged) > 10
    assert [name for name, value in acknowledged.items() if redis.ask("GET", name) != value] == []
