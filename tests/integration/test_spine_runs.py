# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole runs of a toy remedy by a real ansible-playbook: killed, interrupted, cut off, two at once. Each ends in one outcome.

BOUNDARIES: at every how many-th task or command a run is broken off; 1 proves them all.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from farms.waiting import until

import ansible_collections.somabrain.incident_response as collection

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = os.environ.get("SOMABRAIN_ANSIBLE_PLAYBOOK") or os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
COLLECTIONS = next(iter(collection.__path__)).split("/ansible_collections/")[0]
PLUGINS = Path(__file__).parent / "farms/spine_plugins"
# Tables tell the same of these.
LATER = pytest.mark.long
BOUNDARIES = int(os.environ.get("BOUNDARIES", "5"))
OUTCOMES = {
    "nothing_to_do", "recovered", "recovered_with_loss", "rehearsed", "refused", "unproven", "undone", "failed", "abandoned",
}  # fmt: skip


class Toy:
    """One toy (a file with a word) with its keeper, and runs on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.word, self.state = folder, folder / "word", folder / "state"
        self.connection = "local"
        (folder / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  roles: [toy_recovery]\n")

    def says(self, word: str) -> Toy:
        self.word.write_text(word)
        return self

    def start(
        self, name: str = "out", env: dict[str, str] | None = None, args: t.Sequence[str] = (), **given: t.Any
    ) -> subprocess.Popen[str]:
        variables = {
            "toy_recovery_file": str(self.word), "remediation_state_dir": str(self.state),
            "remediation_outcome_file": str(self.folder / f"{name}.json"), "ansible_python_interpreter": sys.executable, **given,
        }  # fmt: skip
        full = {
            **os.environ, "ANSIBLE_ROLES_PATH": str(ROOT / "molecule/shared/roles"), "ANSIBLE_COLLECTIONS_PATH": COLLECTIONS,
            "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "callback"), "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS / "connection"),
            "ANSIBLE_CONFIG": str(self.folder / "none.cfg"), "ANSIBLE_STDOUT_CALLBACK": "default", "ANSIBLE_PIPELINING": "1", **(env or {}),
        }  # fmt: skip
        words = [PLAYBOOK, "-i", "lab,", "-c", self.connection, str(self.folder / "play.yml"), "-e", json.dumps(variables), *args]
        # A shell's background job ignores ctrl-C, and so would all that it starts.
        inherited = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=full, start_new_session=True)
        finally:
            signal.signal(signal.SIGINT, inherited)

    def run(
        self, name: str = "out", env: dict[str, str] | None = None, args: t.Sequence[str] = (), **given: t.Any
    ) -> tuple[int, dict[str, t.Any]]:
        process = self.start(name, env, args, **given)
        said = process.communicate(timeout=120)[0]
        path = self.folder / f"{name}.json"
        outcome = json.loads(path.read_text()) if path.exists() else {}
        assert "Traceback" not in said, said
        return process.returncode, outcome

    def rows(self, query: str) -> list[tuple[t.Any, ...]]:
        # Whoever only looks makes no ledger: one that is empty is damaged.
        with contextlib.closing(sqlite3.connect(f"file:{self.state}/ledger.sqlite?mode=ro", uri=True)) as db:
            return db.execute(query).fetchall()

    def has_begun(self) -> bool:
        with contextlib.suppress(sqlite3.Error):
            return self.state.exists() and bool(self.rows("select * from journal where kind='begin'"))
        return False


# Three runs within a story are no reason to stop the fourth.
MANY: dict[str, t.Any] = {"remediation_budget": {"attempts": 9, "within_seconds": 900}}


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path).says("sick")


def codes(outcome: dict[str, t.Any]) -> list[str]:
    return [str(one["code"]) for one in outcome["reasons"]]


def signalled(number: int, task: int) -> dict[str, str]:
    return {"ANSIBLE_CALLBACKS_ENABLED": "signal_at", "SIGNAL_AT_TASK": str(int(number)), "TASK": str(task)}


def test_a_controller_killed_before_any_task_is_followed_by_a_run_that_ends_right_and_does_nothing_twice(tmp_path: Path) -> None:
    for task in range(1, 40, BOUNDARIES):
        folder = tmp_path / str(task)
        folder.mkdir()
        toy = Toy(folder).says("sick")
        code, first = toy.run("first", signalled(signal.SIGKILL, task))
        if code == 0:
            assert first["outcome"] == "recovered"
            break
        assert code == -signal.SIGKILL
        # What stands on the controller is explicit from the moment the lease was asked for.
        assert first.get("outcome") in (None, "abandoned", "recovered")
        was_well = toy.word.read_text() == "well"
        code, second = toy.run("second")
        assert (code, second["outcome"]) == (0, "nothing_to_do" if was_well else "recovered"), task
        begun = toy.rows("select count(*) from journal where kind='begin'")[0][0]
        assert begun <= 2
        assert toy.rows("select * from lease") == []
        assert not toy.rows("select * from run where closed_at is null")
        assert toy.word.read_text() == "well"
    assert task > 10


def test_while_the_worker_of_a_killed_controller_still_acts_nobody_else_does(toy: Toy) -> None:
    first = toy.start("first", toy_recovery_act_seconds=12)
    worker = until(lambda: sleeper(first.pid))
    # The file of the sleeping act is written by no one: killed is the controller alone, its worker sleeps on.
    first.kill()
    first.wait()
    _code, second = toy.run("second", remediation_takeover_wait=0)
    assert Path(f"/proc/{worker}").exists()
    assert second["outcome"] == "refused"
    assert codes(second)[0] in ("lease_held", "dead_run_acting")
    assert toy.rows("select count(*) from journal where kind='begin'") == [(1,)]
    until(lambda: not Path(f"/proc/{worker}").exists())
    code, third = toy.run("third", remediation_takeover_wait=60)
    assert (code, third["resumed"]["begun"]) == (0, ["write_word"])
    assert toy.word.read_text() == "well"


def sleeper(ancestor: int) -> int:
    """Return the process below *ancestor* that sleeps as the act of the toy does, 0 for none."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(b"sleep\0") and ancestor in ancestors(int(folder.name)):
                return int(folder.name)
    return 0


def ancestors(pid: int) -> list[int]:
    """Return the parent of *pid*, its parent, and so on. Raises OSError when one of them ends meanwhile."""
    found = [pid]
    while found[-1] > 1:
        found.append(int(Path(f"/proc/{found[-1]}/stat").read_text().rpartition(")")[2].split()[1]))
    return found[1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_abandoned_and_the_next_one_ends_right(toy: Toy, number: signal.Signals) -> None:
    first = toy.start("first", toy_recovery_act_seconds=6)
    # Not as soon as it has begun: Python throws away what a signal raises while it returns from a fork.
    until(lambda: toy.has_begun() and sleeper(first.pid))
    os.killpg(first.pid, number)
    said = first.communicate(timeout=60)[0]
    assert first.returncode != 0, said
    interrupted = json.loads((toy.folder / "first.json").read_text())
    assert (interrupted["outcome"], interrupted["green"]) == ("abandoned", False)
    code, second = toy.run("second")
    assert (code, second["outcome"]) == (0, "recovered")
    assert second["resumed"]["run_id"] == interrupted["run_id"]


def test_of_two_runs_at_once_one_acts_and_the_other_is_refused_by_name(toy: Toy) -> None:
    runs = [toy.start(name, toy_recovery_act_seconds=6, remediation_operator=name) for name in ("ann", "bob")]
    assert sorted(run.wait(120) for run in runs) == [0, 2]
    outcomes = {name: json.loads((toy.folder / f"{name}.json").read_text()) for name in ("ann", "bob")}
    (winner,) = [name for name, outcome in outcomes.items() if outcome["outcome"] == "recovered"]
    (loser,) = [name for name in outcomes if name != winner]
    assert (outcomes[loser]["outcome"], codes(outcomes[loser])) == ("refused", ["lease_held"])
    assert f"by {winner} " in outcomes[loser]["reasons"][0]["text"]
    assert toy.rows("select count(*) from journal where kind='begin'") == [(1,)]


def test_a_connection_lost_at_any_command_still_ends_in_an_outcome_that_is_not_green(tmp_path: Path) -> None:
    seen: dict[int, str] = {}
    for count in range(1, 40, BOUNDARIES):
        folder = tmp_path / str(count)
        folder.mkdir()
        toy = Toy(folder).says("sick")
        toy.connection = "flaky"
        code, outcome = toy.run(env={"FLAKY_AT": str(count), "FLAKY_COUNT": str(folder / "count")})
        seen[count] = outcome["outcome"]
        if code == 0:
            break
        assert outcome["outcome"] in ("refused", "unproven", "failed", "abandoned")
        assert outcome["green"] is False
        toy.connection = "local"
        was_well = toy.word.read_text() == "well"
        code, second = toy.run("second", remediation_takeover=True)
        assert (code, second["outcome"]) == (0, "nothing_to_do" if was_well else "recovered"), (count, seen)
    assert seen[1] == "refused"
    assert seen[max(seen)] == "recovered"
    assert len(seen) > 2


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param({"remediation_budget": "lots"}, "bad_input", marks=LATER),
        pytest.param({"remediation_patience": {"passes": "x", "window": 1, "timeout": 1, "interval": 1}}, "bad_input", marks=LATER),
        ({"remediation_freeze_windows": [{"start": "2026-12-24T12:00:00", "end": "2026-12-25T12:00:00Z"}]}, "bad_input"),
        ({"remediation_reason": "{{ lookup('pipe', 'id') }}"}, "template_in_input"),
        ({"remediation_state_dir": "/proc/nowhere"}, "ledger_unusable"),
        ({"toy_recovery_evidence": [{"name": "x", "kind": "file", "path": "/nonexistent", "required": True}]}, "evidence_missing"),
        ({"remediation_keeper": "nohost.invalid", "ansible_connection": "ssh"}, "unreachable"),
        pytest.param({"toy_recovery_expected_loss": "one word"}, "approval_needed", marks=LATER),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_in_one_reason_before_anything_is_done(toy: Toy, given: dict[str, t.Any], code: str) -> None:
    returned, outcome = toy.run(**given)
    assert returned == 2
    assert (outcome["outcome"], codes(outcome)[0]) == ("refused", code)
    assert "\n" not in outcome["reasons"][0]["text"]
    assert outcome["reasons"][0]["next_command"]
    assert toy.word.read_text() == "sick"


def test_an_approval_that_was_read_is_enough_once(toy: Toy) -> None:
    loss: dict[str, t.Any] = {"toy_recovery_expected_loss": "one word"}
    _code, refused = toy.run(**loss)
    token = refused["reasons"][0]["token"]
    assert token in refused["reasons"][0]["next_command"]
    code, outcome = toy.run(remediation_approval=token, **loss)
    assert (code, outcome["outcome"]) == (0, "recovered")


PLANS: list[dict[str, t.Any]] = [
    {"name": "cut", "text": "cut the word", "loss": {"count": 1, "unit": "words", "exact": True}, "binds": {"sha256": "a" * 64}},
    {"name": "salvage", "text": "salvage it", "loss": {"count": 2, "unit": "words", "exact": True}, "binds": {"sha256": "b" * 64}},
]


def test_of_several_plans_exactly_the_approved_one_is_applied_and_its_loss_declared(toy: Toy) -> None:
    code, refused = toy.run(toy_recovery_plans=PLANS)
    assert (code, refused["outcome"], codes(refused)) == (2, "refused", ["approval_needed"])
    assert toy.word.read_text() == "sick"
    # What had been made ready was put back.
    assert [act["action"] for act in refused["acts"]] == ["sharpen", "write_old_word"]
    cut, salvage = refused["reasons"][0]["plans"]
    assert salvage["next_command"].endswith(f"-e remediation_approval={salvage['token']}")
    changed = [{**PLANS[0]}, {**PLANS[1], "binds": {"sha256": "c" * 64}}]
    code, stale = toy.run(toy_recovery_plans=changed, remediation_approval=salvage["token"])
    assert (code, stale["outcome"], codes(stale), toy.word.read_text()) == (2, "refused", ["approval_stale"], "sick")
    loss: dict[str, t.Any] = {"count": 2, "unit": "words", "exact": True, "witness": "they were counted"}
    code, outcome = toy.run(toy_recovery_plans=PLANS, remediation_approval=salvage["token"], toy_recovery_loss=loss, **MANY)
    assert (code, outcome["outcome"], outcome["approved_plan"]) == (0, "recovered_with_loss", "salvage")
    assert outcome["loss"] == {**loss, "text": "", "approved": True, "known_before": None, "present_after": None, "suspected": True}
    toy.says("sick")
    code, again = toy.run(toy_recovery_plans=PLANS, remediation_approval=salvage["token"], **MANY)
    assert (code, codes(again), toy.word.read_text()) == (2, ["approval_stale"], "sick")


def test_the_view_shows_each_plan_with_its_command_and_the_history_has_them(toy: Toy) -> None:
    env = {"ANSIBLE_STDOUT_CALLBACK": "somabrain.incident_response.on_call", "COLUMNS": "100"}
    shown = toy.start(env=env, toy_recovery_plans=PLANS).communicate(timeout=120)[0].splitlines()
    outcome = json.loads((toy.folder / "out.json").read_text())
    for plan in outcome["reasons"][0]["plans"]:
        # The command of a plan is whole on one line, and what it does stands above.
        place = shown.index(plan["next_command"])
        assert f"{plan['name']}" in "".join(shown[place - 2 : place])
    # How long the other lines are depends on where the test's files are.
    commands = [line for line in shown if line.startswith("ansible-playbook ")]
    assert commands == [plan["next_command"] for plan in outcome["reasons"][0]["plans"]]


def test_a_probe_or_a_late_variable_that_is_broken_ends_failed_and_leaves_no_lease(toy: Toy) -> None:
    code, outcome = toy.run(toy_recovery_file="/nonexistent/word")
    assert (code, outcome["outcome"]) == (2, "failed")
    assert outcome["failure"]["task"]
    assert toy.rows("select * from lease") == []
    code, outcome = toy.run(remediation_verified="{{ nothing.of.the.kind | from_json }}")
    assert code in (0, 2)
    assert outcome["outcome"] in OUTCOMES - {"abandoned"}
    assert toy.rows("select * from lease") == []


def test_an_outcome_file_that_cannot_be_written_is_found_before_anything_is_done(toy: Toy) -> None:
    code, _outcome = toy.run(remediation_outcome_file="/proc/nowhere/out.json")
    assert code == 2
    assert toy.word.read_text() == "sick"
    assert not toy.state.exists()


def test_check_mode_makes_nothing_and_says_what_it_would_do(toy: Toy) -> None:
    code, outcome = toy.run(args=["--check"])
    assert (code, outcome["outcome"], outcome["verdict"]["actions"]) == (0, "rehearsed", ["write_word"])
    assert toy.word.read_text() == "sick"
    assert not toy.state.exists()


def test_hostile_text_reaches_nobody_raw(toy: Toy) -> None:
    code, outcome = toy.run(remediation_reason="\x1b[2J<script>$(id) `id` ; rm -rf /\r\nforged line", remediation_operator="eve\n\x1b[31m")
    assert code == 0
    assert "\x1b" not in outcome["annotations"]["remediation_reason"]
    assert "\n" not in outcome["annotations"]["remediation_reason"]
    assert outcome["owner"] == "eve\\n\\x1b[31m"
