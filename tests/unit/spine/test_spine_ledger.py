# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger on real SQLite: fencing, chain, check mode, crashes, full disks and many takers at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import ledger as spine_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import Ledger, open_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_close as close
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_gate as gate
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_guard as guard
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_history as history
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_open as opening
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_reconcile as reconcile
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import processes

SICK = {"health": "sick", "state": "down", "actions": ["start"], "stage": "assess"}
WELL = {"health": "well", "state": "up", "proven": True, "passes": 3, "stage": "verify"}


def defaults(step: t.Any, **given: t.Any) -> dict[str, t.Any]:
    return {**{name: option.get("default") for name, option in step.ARGUMENT_SPEC.items()}, **given}


WHO = {"host": "lab", "component": "redis", "remedy": "redis_recovery", "owner": "ann"}


def open_run(state: Path, run_id: str = "R1", check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    params = defaults(opening, state_dir=str(state), **WHO, run_id=run_id)
    return dict(opening.run({**params, **more}, check)["run"])


def guard_run(state: Path, run: dict[str, t.Any], check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    return guard.run({**defaults(guard, state_dir=str(state), run=run, before=SICK), **more}, check)


def gate_run(state: Path, run: dict[str, t.Any], check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    return gate.run({**defaults(gate, state_dir=str(state), run=run, action="start"), **more}, check)


def close_run(state: Path, run: dict[str, t.Any], verdict: dict[str, t.Any], check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    return dict(close.run({**defaults(close, state_dir=str(state), run=run, verdict=verdict), **more}, check)["outcome"])


# Without a witness, a run that acted may have lost anything.
KEPT = {"count": 0, "exact": True, "unit": "keys", "witness": "the toy holds none"}


def whole_run(state: Path, run_id: str) -> dict[str, t.Any]:
    run = open_run(state, run_id)
    guarded = guard_run(state, run)
    gate_run(state, run)
    return close_run(state, guarded["run"], guarded["verdict"], after=WELL, verified={"size": {"keys": 5}}, loss=KEPT)


def rows(state: Path, query: str) -> list[tuple[t.Any, ...]]:
    with contextlib.closing(sqlite3.connect(state / spine_ledger.FILE)) as db:
        return db.execute(query).fetchall()


def chain_of(state: Path) -> dict[str, t.Any]:
    return dict(history.run(defaults(history, state_dir=str(state)), False)["chain"])


def bytes_of(directory: Path) -> dict[str, str]:
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {f"{path} {path.stat().st_mtime_ns}": hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_a_run_from_open_to_close_is_recovered_and_leaves_no_lease(state: Path) -> None:
    outcome = whole_run(state, "R1")
    assert (outcome["outcome"], outcome["green"], outcome["fenced"]) == ("recovered", True, False)
    assert rows(state, "select * from lease") == []
    assert [kind for (kind,) in rows(state, "select kind from journal order by seq")] == ["open", "guard", "begin", "close"]
    assert open_run(state, "R2")["last_verified"]["size"]["keys"] == 5


def test_files_and_folders_of_the_keeper_are_private(state: Path) -> None:
    whole_run(state, "R1")
    assert {path.stat().st_mode & 0o077 for path in [state, *state.rglob("*")]} == {0}


def test_a_second_run_is_refused_by_name_and_listed(state: Path) -> None:
    open_run(state, "R1")
    second = open_run(state, "R2")
    assert (second["ok"], second["reasons"][0]["code"], second["holder"]["run_id"]) == (False, "lease_held", "R1")
    guarded = guard_run(state, second)
    outcome = close_run(state, second, guarded["verdict"])
    assert (outcome["outcome"], outcome["reasons"][0]["code"]) == ("refused", "lease_held")
    assert rows(state, "select run_id, outcome from run order by run_id") == [("R1", None), ("R2", "refused")]
    assert rows(state, "select run_id from lease") == [("R1",)]


def test_another_component_or_host_is_free(state: Path) -> None:
    open_run(state, "R1")
    assert open_run(state, "R2", component="api")["ok"]
    assert open_run(state, "R3", host="lab2")["ok"]


def test_a_run_that_was_taken_over_begins_nothing_releases_nothing_and_proves_nothing(state: Path) -> None:
    first = open_run(state, "R1")
    verdict = guard_run(state, first)["verdict"]
    second = open_run(state, "R2", takeover=True)
    assert second["token"] > first["token"]
    with pytest.raises(StepError) as caught:
        gate_run(state, first)
    assert caught.value.data["reasons"][0]["code"] == "fenced"
    outcome = close_run(state, first, verdict, after=WELL)
    assert (outcome["outcome"], outcome["fenced"], outcome["green"]) == ("unproven", True, False)
    assert rows(state, "select run_id, token from lease") == [("R2", second["token"])]
    assert rows(state, "select outcome from run where run_id='R1'") == [("abandoned",)]
    assert rows(state, "select * from verified") == []


def test_a_forged_token_or_run_id_releases_nothing(state: Path) -> None:
    run = open_run(state, "R1")
    for forged in ({"token": run["token"] + 1}, {"run_id": "R9"}, {"host": "other"}):
        assert close_run(state, {**run, **forged}, {"proceed": True}, after=WELL)["fenced"]
    assert rows(state, "select run_id from lease") == [("R1",)]


def test_the_guard_of_a_run_that_was_taken_over_refuses(state: Path) -> None:
    first = open_run(state, "R1")
    open_run(state, "R2", takeover=True)
    verdict = guard_run(state, first)["verdict"]
    assert (verdict["proceed"], verdict["reasons"][0]["code"]) == (False, "fenced")


def test_a_lease_outlives_the_act_and_its_verification(state: Path) -> None:
    run = open_run(state, "R1", lease_seconds=10, verify_seconds=300)
    gate_run(state, run, deadline=100)
    ((ends_at, acting_until, beat_at),) = rows(state, "select ends_at, acting_until, beat_at from lease")
    assert acting_until - beat_at == pytest.approx(100)
    assert ends_at - beat_at >= 100 + 300


def test_a_dead_run_is_taken_over_only_after_its_act_is_over(state: Path) -> None:
    run = open_run(state, "R1")
    gate_run(state, run, deadline=0.3)
    early = open_run(state, "R2", dead_runs=["R1"])
    assert early["reasons"][0]["code"] == "dead_run_acting"
    time.sleep(early["reasons"][0]["retry_after"] + 0.1)
    # As the action plugin does it: the same run asks again.
    late = open_run(state, "R2", dead_runs=["R1"])
    assert (late["ok"], late["resumed"]["run_id"], late["resumed"]["begun"]) == (True, "R1", ["start"])


def test_a_run_that_died_while_it_waited_is_taken_over_at_once(state: Path) -> None:
    run = open_run(state, "R1", lease_seconds=10, verify_seconds=300)
    gate_run(state, run, action="wait", deadline=1800)
    ((ends_at, acting_until, beat_at),) = rows(state, "select ends_at, acting_until, beat_at from lease")
    assert acting_until is None
    assert ends_at - beat_at == pytest.approx(10, abs=1)
    assert open_run(state, "R2")["reasons"][0]["code"] == "lease_held"
    assert open_run(state, "R2", dead_runs=["R1"])["resumed"]["begun"] == ["wait"]


def test_a_part_that_leaves_nothing_half_done_is_not_sat_out_and_the_next_part_has_its_own_deadline(state: Path) -> None:
    run = open_run(state, "R1", lease_seconds=10, verify_seconds=300)
    gate_run(state, run, action="mend", deadline=1800, holds=0)
    ((ends_at, beat_at),) = rows(state, "select ends_at, beat_at from lease")
    assert ends_at - beat_at >= 1800 + 300
    assert open_run(state, "R2")["reasons"][0]["code"] == "lease_held"
    gate_run(state, run, action="mend", purpose="part", deadline=20)
    refused = open_run(state, "R2", dead_runs=["R1"])["reasons"][0]
    assert (refused["code"], refused["retry_after"] <= 20) == ("dead_run_acting", True)
    # One act, one attempt, in however many parts.
    assert rows(state, "select count(*) from attempt") == [(1,)]
    assert rows(state, "select count(*) from journal where kind='begin'") == [(1,)]


def test_a_run_that_died_in_such_a_part_is_taken_over_at_once(state: Path) -> None:
    gate_run(state, open_run(state, "R1"), action="mend", deadline=1800, holds=0)
    assert open_run(state, "R2", dead_runs=["R1"])["resumed"]["begun"] == ["mend"]


def test_a_wait_does_not_shorten_the_lease_of_an_act_before_it(state: Path) -> None:
    run = open_run(state, "R1", lease_seconds=10)
    gate_run(state, run, deadline=500)
    gate_run(state, run, action="wait", deadline=1800)
    ((ends_at, beat_at),) = rows(state, "select ends_at, beat_at from lease")
    assert 500 <= ends_at - beat_at <= 1000


@pytest.mark.parametrize(
    ("action", "deadline", "me", "code"),
    [("wait", 1800, True, "lease_held"), ("wait", 1800, False, None), ("wait", 0, True, None), ("start", -1000, True, None)],
)
def test_a_run_that_waits_longer_than_its_lease_keeps_it_while_its_controller_lives_here(
    state: Path, action: str, deadline: float, me: bool, code: str | None
) -> None:
    controller = processes.fingerprint(os.getpid())
    run = open_run(state, "R1", lease_seconds=-1.0, verify_seconds=0, controller=controller if me else {**controller, "start_ticks": 1})
    gate_run(state, run, action=action, deadline=deadline)
    second = open_run(state, "R2")
    assert [one["code"] for one in second["reasons"]] == ([code] if code else [])


def test_knowing_that_one_run_is_dead_takes_no_other_runs_lease(state: Path) -> None:
    open_run(state, "R2")
    assert open_run(state, "R3", dead_runs=["R1"])["reasons"][0]["code"] == "lease_held"


LADDER = [{"after_attempts": 1, "page": "on-call"}, {"after_attempts": 2, "page": "manager"}]


def failed_run(state: Path, run_id: str, acts: bool = True, **more: t.Any) -> dict[str, t.Any]:
    run = open_run(state, run_id)
    guarded = guard_run(state, run)
    if acts:
        gate_run(state, run)
    return close_run(state, guarded["run"], guarded["verdict"], **{"failure": {"msg": "no"}, "ladder": LADDER, **more})


def test_attempts_count_for_the_next_runs_whoever_asks(state: Path) -> None:
    assert [failed_run(state, run)["escalation"]["page"] for run in ("R1", "R2")] == ["on-call", "manager"]
    run = open_run(state, "R3")
    guarded = guard_run(state, run)
    verdict = guarded["verdict"]
    assert (verdict["proceed"], verdict["reasons"][0]["code"]) == (False, "budget_spent")
    with pytest.raises(StepError, match="budget_spent"):
        gate_run(state, run)
    assert close_run(state, guarded["run"], verdict, ladder=LADDER)["escalation"]["page"] == "manager"


def test_a_third_crash_after_two_recoveries_is_recovered_and_the_fourth_is_called_flapping(state: Path) -> None:
    assert [whole_run(state, f"R{number}")["outcome"] for number in (1, 2, 3)] == ["recovered"] * 3
    guarded = guard_run(state, open_run(state, "R4"))
    assert [one["code"] for one in guarded["verdict"]["reasons"]] == ["flapping"]
    outcome = close_run(state, guarded["run"], guarded["verdict"], ladder=LADDER)
    assert (outcome["outcome"], outcome["escalation"]["page"]) == ("refused", "manager")


def test_what_began_no_act_or_only_asked_neither_counts_nor_pages(state: Path) -> None:
    asked: dict[str, t.Any] = {"failure": {"msg": "no", "reasons": [{"code": "approval_needed", "text": "choose"}]}}
    runs = [failed_run(state, "R1", acts=False), failed_run(state, "R2", **asked), failed_run(state, "R3", undo_ok=True, **asked)]
    run = open_run(state, "R4")
    runs.append(close_run(state, run, {"proceed": False, "reasons": [{"code": "frozen"}]}, ladder=LADDER))
    assert [(one["outcome"], one["escalation"]) for one in runs] == [("failed", {}), ("refused", {}), ("refused", {}), ("refused", {})]
    assert guard_run(state, open_run(state, "R5"))["verdict"]["proceed"]


def test_putting_back_passes_a_freeze_and_a_spent_budget_but_not_the_kill_switch(state: Path) -> None:
    run = open_run(state, "R1")
    (state / "freeze").write_text("release day")
    with pytest.raises(StepError, match="release day"):
        gate_run(state, run)
    gate_run(state, run, purpose="undo", budget={"attempts": 1, "within_seconds": 900})
    (state / "kill").write_text("")
    with pytest.raises(StepError, match="kill_switch"):
        gate_run(state, run, purpose="undo")


def test_an_approval_is_used_once_and_only_for_its_plan(state: Path) -> None:
    run = open_run(state, "R1")
    first = guard_run(state, run, expected_loss="50 keys")["verdict"]
    token = first["reasons"][0]["token"]
    assert guard_run(state, run, expected_loss="51 keys", approval=token)["verdict"]["reasons"][0]["code"] == "approval_stale"
    assert guard_run(state, run, expected_loss="50 keys", approval=token)["verdict"]["approved"] == token
    assert guard_run(state, run, expected_loss="50 keys", approval=token)["verdict"]["reasons"][0]["code"] == "approval_stale"


def test_an_approval_shown_in_check_mode_is_one_that_holds_or_none(state: Path) -> None:
    run = open_run(state, "R1", check=True)
    assert guard_run(state, run, check=True, expected_loss="50 keys")["verdict"]["reasons"][0]["token"] == ""
    real = guard_run(state, open_run(state, "R2"), expected_loss="50 keys")["verdict"]["reasons"][0]["token"]
    seen = guard_run(state, run, check=True, expected_loss="50 keys")["verdict"]["reasons"][0]["token"]
    assert seen.split(".")[:2] == real.split(".")[:2]


def test_any_damaged_value_of_the_journal_is_found_where_it_stands(state: Path) -> None:
    for run_id in ("R1", "R2"):
        whole_run(state, run_id)
    records, whole = len(rows(state, "select * from journal")), (state / spine_ledger.FILE).read_bytes()
    alterations = {
        "run_id": ["'R9'", "null", "x'ff00'", "''"],
        "at": ["at + 0.000001", "null", "'yesterday'"],
        "kind": ["'begun'", "null", "1"],
        "body": ["body || ' '", "null", "'{}'", "x'7b80'"],
        "prev": ["'0'", "null", "substr(prev, 1, 63) || 'x'"],
        "hash": ["'0'", "null", "lower(hash) || ''", "x'00'"],
    }
    for seq in range(1, records + 1):
        for column, values in alterations.items():
            for value in values:
                with contextlib.closing(sqlite3.connect(state / spine_ledger.FILE)) as db:
                    before = db.execute(f"select {column} from journal where seq={seq}").fetchone()
                    db.execute(f"update journal set {column}={value} where seq={seq}")
                    after = db.execute(f"select {column} from journal where seq={seq}").fetchone()
                    db.commit()
                assert chain_of(state)["broken_at"] == (seq if before != after else None), (seq, column, value)
                (state / spine_ledger.FILE).write_bytes(whole)
    assert chain_of(state)["whole"]


def test_any_flipped_byte_of_a_stored_body_is_found(state: Path) -> None:
    whole_run(state, "R1")
    good = (state / spine_ledger.FILE).read_bytes()
    for seq, body in rows(state, "select seq, body from journal"):
        begin = good.index(body.encode())
        for offset in range(0, len(body), max(1, len(body) // 20)):
            damaged = bytearray(good)
            damaged[begin + offset] ^= 0x80 if offset % 2 else 0x01
            (state / spine_ledger.FILE).write_bytes(bytes(damaged))
            assert chain_of(state)["broken_at"] == seq
    (state / spine_ledger.FILE).write_bytes(good)


@pytest.mark.parametrize(
    "statement", ["delete from journal where seq=2", "update journal set seq=9 where seq=2", "delete from journal where seq=1"]
)
def test_a_missing_record_breaks_the_chain(state: Path, statement: str) -> None:
    whole_run(state, "R1")
    with contextlib.closing(sqlite3.connect(state / spine_ledger.FILE)) as db:
        db.execute(statement)
        db.commit()
    assert chain_of(state)["broken_at"] == (1 if "seq=1" in statement else 2)


def test_check_mode_makes_no_directory(state: Path) -> None:
    run = open_run(state, "R1", check=True)
    guarded = guard_run(state, run, check=True)
    gate_run(state, run, check=True)
    assert guarded["verdict"]["proceed"]
    assert close_run(state, run, guarded["verdict"], check=True)["outcome"] == "rehearsed"
    assert not state.exists()


def test_check_mode_changes_no_byte_of_the_directory(state: Path) -> None:
    whole_run(state, "R1")
    open_run(state, "R2", component="api")
    before = bytes_of(state)
    run = open_run(state, "R3", check=True, evidence=[{"name": "x", "kind": "command", "argv": ["true"]}])
    guarded = guard_run(state, run, check=True)
    gate_run(state, run, check=True)
    close_run(state, run, guarded["verdict"], check=True)
    reconcile.run(defaults(reconcile, state_dir=str(state), host="lab"), True)
    history.run(defaults(history, state_dir=str(state), export=True), True)
    assert bytes_of(state) == before


HOT = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("pragma cache_size=1")
db.execute("begin immediate")
db.execute("update lease set owner='nobody'")
db.execute("create table filler(x)")
db.executemany("insert into filler values(?)", [("y" * 3000,)] * 200)
os.kill(os.getpid(), 9)
"""


def test_check_mode_reads_through_a_journal_that_a_crash_left_and_leaves_it_there(state: Path) -> None:
    open_run(state, "R1")
    subprocess.run([sys.executable, "-c", HOT, str(state / spine_ledger.FILE)], check=False)
    assert (state / (spine_ledger.FILE + "-journal")).stat().st_size > 512
    before = bytes_of(state)
    seen = open_run(state, "R2", check=True)
    assert seen["reasons"][0]["code"] == "lease_held"
    assert "by ann" in seen["reasons"][0]["text"]
    assert bytes_of(state) == before
    assert not open_run(state, "R3")["ok"]
    assert rows(state, "select owner from lease") == [("ann",)]


def test_check_mode_waits_for_a_writer_and_takes_no_copy_of_its_half_written_file(state: Path) -> None:
    open_run(state, "R1")
    writer = sqlite3.connect(state / spine_ledger.FILE, isolation_level=None)
    writer.execute("begin immediate")
    writer.execute("update lease set owner='half'")
    assert "by ann" in open_run(state, "R2", check=True)["reasons"][0]["text"]
    writer.execute("rollback")
    writer.close()


CRASH = """
import random, sys
sys.path.insert(0, sys.argv[2])
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine import ledger as spine_ledger
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.ledger import open_ledger
print("ready", flush=True)
number = 0
while True:
    number += 1
    with open_ledger(sys.argv[1], False) as ledger, ledger.transaction():
        run = dict(host="h%d" % number, component="c", remedy="r", owner="o", controller={}, ends_at=0.0)
        run["run_id"] = "R%d-%s" % (number, sys.argv[3])
        run["token"] = ledger.grant(run, 1.0)
        ledger.append(run["run_id"], "open", {"token": run["token"], "filler": "x" * random.randrange(5000)}, 1.0)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_records_and_a_whole_chain(state: Path) -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    for turn in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", CRASH, str(state), path.partition(os.pathsep)[0], str(turn)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(0.02 + 0.013 * turn)
            child.send_signal(signal.SIGKILL)
        with open_ledger(str(state), False) as ledger:
            assert ledger.broken_at() is None
            counts = [ledger.rows(f"select count(*) as n from {table}")[0]["n"] for table in ("run", "journal")]
            assert counts[0] == counts[1]
            tokens = [row["token"] for row in ledger.rows("select token from lease order by token")]
            assert len(tokens) == len(set(tokens))
    # On a busy machine a writer may be killed before its first record.
    assert counts[0] > 2


TAKE = """
import sys
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_open as step
spec = {name: option.get("default") for name, option in step.ARGUMENT_SPEC.items()}
for turn in range(int(sys.argv[3])):
    params = dict(spec, state_dir=sys.argv[1], host="h%d" % turn, component="c", remedy="r", run_id="%s-%d" % (sys.argv[2], turn))
    run = step.run(params, False)["run"]
    print(turn, sys.argv[2], run["token"] if run["ok"] else run["reasons"][0]["code"])
"""


def test_of_eight_runs_at_once_one_wins_each_target_and_tokens_only_grow(state: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    takers = [
        subprocess.Popen([sys.executable, "-c", TAKE, str(state), f"P{n}", "25"], stdout=subprocess.PIPE, text=True, env=env)
        for n in range(8)
    ]
    said = [line.split() for taker in takers for line in taker.communicate()[0].splitlines()]
    assert [taker.returncode for taker in takers] == [0] * 8
    winners = {turn: [int(word) for number, _who, word in said if int(number) == turn and word.isdigit()] for turn in range(25)}
    assert [len(won) for won in winners.values()] == [1] * 25
    assert sorted(token for (token,) in winners.values()) == list(range(1, 26))
    assert {word for _turn, _who, word in said if not word.isdigit()} == {"lease_held"}
    granted = [token for (token,) in rows(state, "select json_extract(body, '$.token') from journal where kind='open' order by seq")]
    assert granted == sorted(granted)
    assert chain_of(state)["whole"]


@pytest.fixture
def small_disk(tmp_path: Path) -> t.Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("a full disk needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_spends_the_reserve_and_the_run_goes_on(small_disk: Path) -> None:
    (small_disk / spine_ledger.RESERVE).write_bytes(b"\0" * 400_000)
    fill(small_disk)
    assert whole_run(small_disk, "R1")["outcome"] == "recovered"
    assert not (small_disk / spine_ledger.RESERVE).exists()


def test_a_full_disk_without_a_reserve_refuses_before_anything_is_promised(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(StepError) as caught:
        open_run(small_disk, "R1")
    reason = caught.value.data["reasons"][0]
    assert (reason["code"], "free space" in reason["unblock"]) == ("ledger_unusable", True)


def test_a_disk_that_fills_up_during_a_run_stops_no_record_of_it(small_disk: Path) -> None:
    (small_disk / spine_ledger.RESERVE).write_bytes(b"\0" * 200_000)
    run = open_run(small_disk, "R1")
    fill(small_disk)
    guarded = guard_run(small_disk, run)
    gate_run(small_disk, run)
    assert close_run(small_disk, guarded["run"], guarded["verdict"], after=WELL, loss=KEPT)["outcome"] == "recovered"


def test_the_ledger_stays_small_over_many_opens(state: Path) -> None:
    open_run(state, "R1")
    size = (state / spine_ledger.FILE).stat().st_size
    for _turn in range(20):
        open_run(state, "R2", check=False, host="lab")
    assert (state / spine_ledger.FILE).stat().st_size < size + 2 * spine_ledger.ROOM


@pytest.mark.parametrize("mode", [0o777, 0o722])
@pytest.mark.parametrize("check", [False, True])
def test_a_directory_that_others_may_write_to_is_refused(state: Path, mode: int, check: bool) -> None:
    whole_run(state, "R1")
    state.chmod(mode)
    with pytest.raises(StepError, match="chmod go-w"):
        open_run(state, "R2", check=check)


@pytest.mark.parametrize("check", [False, True])
def test_a_ledger_of_a_newer_release_or_no_ledger_at_all_is_refused(state: Path, check: bool) -> None:
    whole_run(state, "R1")
    with contextlib.closing(sqlite3.connect(state / spine_ledger.FILE)) as db:
        db.execute("update meta set value='99' where name='schema'")
        db.commit()
    with pytest.raises(StepError, match="newer release"):
        open_run(state, "R2", check=check)
    (state / spine_ledger.FILE).write_bytes(b"this is no database, but it is long enough to be taken for one" * 20)
    with pytest.raises(StepError) as caught:
        open_run(state, "R2", check=check)
    assert caught.value.data["reasons"][0]["code"] == "ledger_unusable"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("damage", ["emptied", "emptied before any run", "removed", "another database"])
def test_a_ledger_that_was_there_is_never_taken_for_a_new_one(state: Path, damage: str, check: bool) -> None:
    file = state / spine_ledger.FILE
    if damage == "emptied before any run":
        state.mkdir(mode=0o700)
    else:
        whole_run(state, "R1")
        file.unlink()
    if damage.startswith("emptied"):
        file.touch(mode=0o600)
    if damage == "another database":
        with contextlib.closing(sqlite3.connect(file)) as db:
            db.execute("create table other(x)")
    before = bytes_of(state)
    with pytest.raises(StepError) as caught:
        open_run(state, "R2", check=check)
    reason = caught.value.data["reasons"][0]
    assert reason["code"] == "ledger_unusable"
    assert str(state) in reason["unblock"] or damage == "another database"
    assert bytes_of(state) == before


def test_a_crash_while_the_first_ledger_is_made_leaves_none(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*dummy: str) -> None:
        raise OSError("power failed")

    state.mkdir(mode=0o700)
    with monkeypatch.context() as broken:
        broken.setattr(os, "link", fails)
        with pytest.raises(StepError):
            open_run(state, "R1")
    assert list(state.iterdir()) == []
    assert open_run(state, "R1")["ok"]


@pytest.mark.parametrize("check", [False, True])
def test_a_state_dir_on_a_way_that_another_user_can_change_is_bad_input_and_stays_empty(tmp_path: Path, check: bool) -> None:
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o700)
    parent.chmod(0o777)
    with pytest.raises(StepError) as caught:
        open_run(parent / "state", check=check)
    reason = caught.value.data["reasons"][0]
    assert (reason["code"], str(parent) + " has mode 0777" in reason["text"]) == ("bad_input", True)
    assert list(parent.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a link of another user")
def test_a_state_dir_that_is_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    link = tmp_path / "state"
    link.symlink_to(tmp_path / "target")
    assert open_run(link, "R1")["ok"]
    shutil.rmtree(tmp_path / "target")
    (tmp_path / "target").mkdir(mode=0o700)
    os.chown(link, 65534, 65534, follow_symlinks=False)
    with pytest.raises(StepError, match=r"state is a link of user 65534"):
        open_run(link, "R2")
    assert list((tmp_path / "target").iterdir()) == []


def test_a_state_dir_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StepError) as caught:
        open_run(tmp_path / "file" / "state")
    assert caught.value.data["reasons"][0]["code"] == "ledger_unusable"


def test_a_close_whose_ledger_is_gone_is_never_green(state: Path) -> None:
    run = open_run(state, "R1")
    guarded = guard_run(state, run)
    shutil.rmtree(state)
    state.write_text("")
    outcome = close_run(state, guarded["run"], guarded["verdict"], after=WELL)
    assert (outcome["outcome"], outcome["green"]) == ("unproven", False)
    assert outcome["not_written"]


@pytest.mark.parametrize(
    ("proceed", "more", "word"),
    [
        (True, {"after": WELL}, "unproven"),
        (True, {"failure": {"msg": "gone", "reasons": [{"code": "unreachable"}], "lost": True}}, "unproven"),
        (True, {"failure": {"msg": "no"}}, "failed"),
        (False, {}, "failed"),
    ],
)
def test_a_keeper_that_cannot_be_reached_still_gives_an_outcome_and_never_green(proceed: bool, more: dict[str, t.Any], word: str) -> None:
    verdict = {"proceed": proceed, "reasons": [], "actions": ["start"]}
    run = {"run_id": "R1", "host": "lab", "component": "redis", "token": 1}
    outcome = close_run(Path("/nonexistent"), run, verdict, not_reached="the keeper is gone", **more)
    assert (outcome["outcome"], outcome["green"], outcome["not_written"]) == (word, False, "the keeper is gone")


def ledger_of(state: Path) -> t.ContextManager[Ledger]:
    return open_ledger(str(state), False)


def test_reconcile_closes_expired_runs_and_leaves_living_ones_alone(state: Path) -> None:
    open_run(state, "DEAD", lease_seconds=-1.0)
    open_run(state, "ALIVE", component="api")
    result = reconcile.run(defaults(reconcile, state_dir=str(state), host="lab"), False)
    assert [one["run_id"] for one in result["abandoned"]] == ["DEAD"]
    assert [one["run_id"] for one in result["held"]] == ["ALIVE"]
    assert rows(state, "select run_id, outcome from run order by run_id") == [("ALIVE", None), ("DEAD", "abandoned")]
    assert not reconcile.run(defaults(reconcile, state_dir=str(state), host="lab"), False)["changed"]


def test_reconcile_ends_what_is_due_and_never_a_protection(state: Path) -> None:
    run = open_run(state, "R1", lease_seconds=-1.0)
    with ledger_of(state) as ledger, ledger.transaction():
        ledger.owe(run, "service_manager", {"tasks_from": "systemd/release"}, 1.0, 0.0)
        ledger.owe(run, "isolated_replica", {}, None, 0.0)
        ledger.owe(run, "maintenance", {}, 9e12, 0.0)
    result = reconcile.run(defaults(reconcile, state_dir=str(state), host="lab"), False)
    assert [one["kind"] for one in result["due"]] == ["service_manager"]
    assert [one["kind"] for one in result["owed"]] == ["isolated_replica", "maintenance"]
    reconcile.run(defaults(reconcile, state_dir=str(state), host="lab", settled=[result["due"][0]["id"]]), False)
    again = reconcile.run(defaults(reconcile, state_dir=str(state), host="lab"), False)
    assert again["due"] == []
    assert len(again["owed"]) == 2


def owed_to(state: Path) -> list[tuple[str, t.Any]]:
    with ledger_of(state) as ledger:
        return [(row["kind"], row["body"]["was"]) for row in ledger.owed("lab")]


def test_each_part_ends_by_itself_goes_back_to_how_it_was_first_and_stands_again_where_a_run_is_put_back(state: Path) -> None:
    def owes(seconds: float, **parts: str) -> dict[str, t.Any]:
        kinds = [f"r/set/{part}" for part in parts]
        return {"owes": {"kind": "r/set", "body": {"x": 1}, "parts": parts, "seconds": seconds}, "settles": kinds}

    first = open_run(state, "R1")
    gate_run(state, first, action="shift", **owes(60, a="a first", b="b first"))
    assert owed_to(state) == [("r/set/a", "a first"), ("r/set/b", "b first")]
    second = open_run(state, "R2", takeover=True)
    gate_run(state, second, action="shift", **owes(9, a="a second", c="c second"))
    assert owed_to(state) == [("r/set/b", "b first"), ("r/set/a", "a first"), ("r/set/c", "c second")]
    gate_run(state, second, action="put_back", purpose="undo", settles=["r/set/a", "r/set/c"], revives=True)
    assert owed_to(state) == [("r/set/a", "a first"), ("r/set/b", "b first")]
    undo = rows(state, "select body from journal where kind='undo'")[0][0]
    assert (json.loads(undo)["settled"], json.loads(undo)["revived"]) == ([3, 4], [1])
    # The end of the first run, not that of the second.
    assert rows(state, "select ends_at - begun_at from obligation where ended_at is null") == [(60.0,), (60.0,)]
    third = open_run(state, "R3", takeover=True)
    gate_run(state, third, action="leave", settles=["r/set/a"])
    assert owed_to(state) == [("r/set/b", "b first")]


def test_reconcile_ends_nothing_under_the_hands_of_a_living_run(state: Path) -> None:
    run = open_run(state, "R1", lease_seconds=-1.0)
    with ledger_of(state) as ledger, ledger.transaction():
        ledger.owe(run, "service_manager", {"tasks_from": "systemd/release"}, 1.0, 0.0)
    open_run(state, "R2")
    assert reconcile.run(defaults(reconcile, state_dir=str(state), host="lab"), False)["due"] == []


def test_the_outcome_says_which_plan_was_approved_and_holds_the_loss_against_it(state: Path) -> None:
    plan = {"name": "cut", "text": "cut the tail", "loss": {"count": 2, "unit": "keys", "exact": True}, "binds": {"x": 1}}
    for count, green in ((2, True), (3, False)):
        run = open_run(state, f"A{count}", takeover=True)
        token = guard_run(state, run, plans=[plan])["verdict"]["reasons"][0]["token"]
        # The guard of the spine asked for nothing; a guard in the middle of acting did.
        verdict = guard_run(state, run)["verdict"]
        assert guard_run(state, run, plans=[plan], approval=token)["verdict"]["plan"] == "cut"
        gate_run(state, run)
        outcome = close_run(state, run, verdict, before=SICK, after=WELL, loss={"count": count, "unit": "keys", "exact": True})
        assert (outcome["outcome"], outcome["green"], outcome["approved_plan"]) == ("recovered_with_loss", green, "cut")
        assert outcome.get("next_command", "") == ("" if green else "{verify}")
        assert (outcome["loss"]["count"], outcome["loss"]["approved"]) == (count, green)
    shown = history.run(defaults(history, state_dir=str(state), run_id="A3"), False)["say"]
    assert "  offered: cut: cut the tail; loses 2 keys" in shown
    assert "  approved: cut: cut the tail; loses 2 keys" in shown


@pytest.mark.parametrize(
    ("present", "suspected", "told"),
    [(300, False, False), (299, False, True), (300, True, True), (None, False, True)],
)
def test_a_loss_that_is_only_not_ruled_out_while_all_that_was_known_is_there_makes_no_cache_cold(
    state: Path, present: int | None, suspected: bool, told: bool
) -> None:
    run = open_run(state, "R1")
    guarded = guard_run(state, run)
    gate_run(state, run)
    loss = {"text": "it may have been off", "witness": "seen", "suspected": suspected, "known_before": 300, "present_after": present}
    close_run(state, guarded["run"], guarded["verdict"], after=WELL, loss=loss)
    assert bool(open_run(state, "R2")["lost"]) is told


@pytest.mark.parametrize("word", ["approved", "accepted"])
def test_the_loss_of_a_plan_that_a_dead_run_went_ahead_with_is_told_once_by_the_run_that_ends_well(state: Path, word: str) -> None:
    plan = {"name": "cut", "text": "cut the tail", "loss": {"count": 2, "unit": "keys", "exact": True}, "binds": {"x": 1}}
    dead = open_run(state, "D1")
    if word == "approved":
        token = guard_run(state, dead, plans=[plan])["verdict"]["reasons"][0]["token"]
        assert guard_run(state, dead, plans=[plan], approval=token)["verdict"]["plan"] == "cut"
    else:
        verdict = guard_run(state, dead, plans=[plan], accepted="cut")["verdict"]
        assert (verdict["proceed"], verdict["approved"], verdict["plan"]) == (True, "", "")
    # It takes over, has no plan itself, and dies, too.
    open_run(state, "D2", takeover=True)
    stopped = open_run(state, "R3", takeover=True)
    refused = guard_run(state, stopped, refusals={"down": {"code": "data_damaged"}})["verdict"]
    assert close_run(state, stopped, refused)["loss"]["count"] == 0
    for run_id, count in (("R4", 2), ("R5", 0)):
        run = open_run(state, run_id)
        rehearsed = close_run(state, open_run(state, "check", check=True), {"proceed": False}, check=True)
        outcome = close_run(state, run, guard_run(state, run, before=WELL)["verdict"])
        assert rehearsed["loss"]["count"] == 0
        assert (outcome["outcome"], outcome["green"], outcome["approved_plan"]) == ("nothing_to_do", True, "")
        assert (outcome["loss"]["count"], outcome["loss"]["exact"], outcome["loss"]["approved"]) == (count, not count, bool(count))
    assert [kind for (kind,) in rows(state, "select kind from journal where kind in ('approved', 'accepted')")] == [word]


def test_a_run_with_a_plan_of_its_own_tells_its_own_loss(state: Path) -> None:
    plan = {"name": "cut", "text": "cut the tail", "loss": {"count": 2, "unit": "keys", "exact": True}, "binds": {"x": 1}}
    guard_run(state, open_run(state, "D1"), plans=[plan], accepted="cut")
    run = open_run(state, "R2", takeover=True)
    verdict = guard_run(state, run, plans=[{**plan, "loss": {"count": 0, "unit": "keys", "exact": True}}], accepted="cut")["verdict"]
    gate_run(state, run)
    assert close_run(state, run, verdict, after=WELL, loss=KEPT)["outcome"] == "recovered"
    assert open_run(state, "R3")["ok"]


def test_only_a_plan_that_is_offered_can_be_accepted(state: Path) -> None:
    plan = {"name": "cut", "text": "cut the tail"}
    with pytest.raises(StepError, match="accepted does not name one"):
        guard_run(state, open_run(state, "R1"), plans=[plan], accepted="other")
    with pytest.raises(StepError, match="accepted does not name one"):
        guard_run(state, open_run(state, "R2", takeover=True), accepted="other", expected_loss="all")


def test_history_says_of_a_run_which_remedy_it_was_what_it_tried_and_why_it_was_refused() -> None:
    reason = {"code": "not_well", "text": "x"}
    steps = [
        {"kind": "open", "body": {"remedy": "somabrain.incident_response.rollback"}},
        {"kind": "guard", "body": {"reasons": [reason]}},
        {"kind": "begin", "body": {"action": "switch"}},
        {"kind": "close", "body": {"reasons": [reason]}},
    ]
    assert history.tried(steps) == {"remedy": "rollback", "acts": ["switch"], "codes": ["not_well"]}
    assert history.tried([]) == {"remedy": "", "acts": [], "codes": []}


def test_history_lists_newest_first_and_shows_the_steps_of_one_run(state: Path) -> None:
    for run_id in ("R1", "R2"):
        whole_run(state, run_id)
    listed = history.run(defaults(history, state_dir=str(state)), False)
    assert [row["run_id"] for row in listed["runs"]] == ["R2", "R1"]
    one = history.run(defaults(history, state_dir=str(state), run_id="R1"), False)
    assert [row["run_id"] for row in one["runs"]] == ["R1"]
    assert [row["kind"] for row in one["steps"]] == ["open", "guard", "begin", "close"]
    assert " after start, by " in one["say"][0]
    assert history.run(defaults(history, state_dir=str(state / "none")), False)["say"] == [
        f"no runs recorded in {state}/none",
        "the chain is empty: nothing to verify",
    ]


@pytest.mark.parametrize("reconciled", [True, False])
def test_the_next_run_tells_once_what_a_dead_run_did_and_judges_what_it_may_have_lost(state: Path, reconciled: bool) -> None:
    dead = open_run(state, "DEAD")
    guard_run(state, dead)
    gate_run(state, dead, action="restore_config")
    gate_run(state, dead, action="start")
    with ledger_of(state) as ledger:
        ledger.db.execute("update lease set ends_at=1, acting_until=1")
    if reconciled:
        assert reconcile.run(defaults(reconcile, state_dir=str(state), host="lab"), False)["changed"]
    second = opening.run(defaults(opening, state_dir=str(state), **WHO, run_id="NEXT"), False)
    assert any("run DEAD of ann died after it began restore_config, start" in one for one in second["say"])
    well = {"proceed": False, "reasons": []}
    outcome = close_run(state, second["run"], well, after=WELL, harmless={"restore_config": "no data file was changed"})
    assert (outcome["outcome"], outcome["resumed"]["begun"]) == ("nothing_to_do", ["restore_config", "start"])
    (left,) = outcome["left"]
    assert (left["what"], "DEAD" in left["text"], "restore_config, start" in left["text"]) == ("dead_run", True, True)
    assert outcome["loss"]["count"] is None
    assert outcome["loss"]["text"].startswith("run DEAD began restore_config, start and died: ")
    third = open_run(state, "LATER")
    assert third["resumed"] == {}
    assert close_run(state, third, well, after=WELL)["left"] == []


def test_acts_of_a_dead_run_that_lose_nothing_are_the_witness_of_the_next(state: Path) -> None:
    gate_run(state, open_run(state, "DEAD"), action="restore_config")
    second = open_run(state, "NEXT", dead_runs=["DEAD"], takeover=True)
    outcome = close_run(state, second, {"proceed": False, "reasons": []}, harmless={"restore_config": "no data file was changed"})
    assert (outcome["loss"]["count"], outcome["loss"]["witness"]) == (0, "no data file was changed")


@pytest.mark.parametrize(
    ("failure", "command"),
    [
        ({"task": "act | Start", "msg": "it ended at once"}, "{rollback}"),
        # A refusal has its own.
        ({"task": "act | Start", "msg": "no", "reasons": [{"code": "frozen", "text": "a freeze"}]}, None),
    ],
)
def test_a_run_that_failed_has_a_next_command(state: Path, failure: dict[str, t.Any], command: str | None) -> None:
    run = open_run(state, "R1")
    guarded = guard_run(state, run)
    gate_run(state, run)
    assert close_run(state, guarded["run"], guarded["verdict"], failure=failure, next="{rollback}").get("next_command") == command


def test_a_run_that_ended_well_has_no_next_command(state: Path) -> None:
    assert "next_command" not in whole_run(state, "R1")


def test_a_state_directory_of_another_user_is_named_as_that_and_not_as_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "state"
    home.mkdir(mode=0o700)
    found, real = os.stat_result((0o040700, 1, 1, 1, 0, 0, 0, 0, 0, 0)), os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: found if str(path) == str(home) else real(path, **more))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    told = "it belongs to root, and this run works as uid 12345"
    with pytest.raises(StepError) as refused, open_ledger(str(home), False):
        pass
    [reason] = refused.value.data["reasons"]
    assert (reason["code"], told in str(refused.value), "free space" in str(refused.value)) == ("ledger_unusable", True, False)
    assert "ansible_become" in reason["unblock"]
