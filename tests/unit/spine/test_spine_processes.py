# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is alive, told by real processes; and a step's source on a bare Python, old ones included."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import remediation_open as opening
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import processes
from ansible_collections.somabrain.incident_response.plugins.plugin_utils import _runner

STEP = opening.__name__
# A controller that forks one worker, as ansible-playbook does: same command line, standard output on /dev/null.
CONTROLLER = """
import os, sys, time
worker = os.fork()
if worker == 0:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    time.sleep(60)
print(worker, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def controller() -> t.Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen([sys.executable, "-c", CONTROLLER], stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        try:
            yield process, worker
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def here() -> dict[str, t.Any]:
    return processes.fingerprint(os.getpid())


def until(condition: t.Callable[[], bool]) -> bool:
    for _turn in range(100):
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_living_controller_is_not_dead() -> None:
    with controller() as (process, _worker):
        assert not processes.provably_dead(processes.fingerprint(process.pid), here())


def test_a_killed_controller_is_dead_only_when_its_worker_is_gone_too() -> None:
    with controller() as (process, worker):
        holder = processes.fingerprint(process.pid)
        process.kill()
        process.wait()
        assert not processes.provably_dead(holder, here())
        os.kill(worker, signal.SIGKILL)
        assert until(lambda: processes.provably_dead(holder, here()))


def test_another_controller_with_the_same_command_line_is_no_orphan() -> None:
    with controller() as (first, worker), controller():
        holder = processes.fingerprint(first.pid)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        assert worker
        assert until(lambda: processes.provably_dead(holder, here()))


@pytest.mark.parametrize("key", ["boot_id", "pid_namespace", "node"])
def test_of_a_controller_on_another_machine_nothing_is_proven(key: str) -> None:
    holder = {**here(), "pid": 2**22 - 1, "start_ticks": 1, "command": "none"}
    assert processes.provably_dead(holder, here())
    assert not processes.provably_dead({**holder, key: "other"}, here())
    assert not processes.provably_dead({}, here())


def test_a_pid_that_another_process_got_is_not_the_old_one() -> None:
    holder = {**here(), "start_ticks": 1, "command": "none"}
    assert processes.provably_dead(holder, {**here(), "pid": 0})


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen(["true"])
    assert until(lambda: processes.start_ticks(process.pid) is None)
    process.wait()


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_processes_that_bear_the_mark_of_a_run_are_found(by: str) -> None:
    mark = f"{processes.MARK}test-{os.getpid()}-{by}"
    argv = ["sleep", "30"] if by == "environment" else [sys.executable, "-c", "import time; time.sleep(30)", mark]
    env = dict(os.environ, MARK=mark) if by == "environment" else None
    with subprocess.Popen(argv, env=env) as process:
        assert until(lambda: processes.marked(mark[len(processes.MARK) :]) == [process.pid])
        process.kill()
    assert processes.marked(mark[len(processes.MARK) :]) == []


def test_a_worker_knows_when_its_controller_is_gone() -> None:
    assert processes.is_orphan()  # pytest's parent is a shell, so it is nobody's worker
    code = f"""
import os, sys
from {processes.__name__} import is_orphan
pid = os.fork()
if pid == 0:
    os._exit(int(is_orphan()))
sys.exit(os.waitpid(pid, 0)[1] >> 8)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


def pythons() -> list[str]:
    """Return one python3 and, where they are found and run, the oldest ones that targets may have."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    old = [str(path) for path in sorted(pyenv.glob("3.8.*/bin/python3"))] or ["python3.8", "python3.9"]
    return [sys.executable] + [name for name in old if shutil.which(name) and runs(name)]


def runs(python: str) -> bool:
    return subprocess.run([python, "-c", "import sqlite3"], check=False, capture_output=True).returncode == 0


def run_piped(python: str, script: str) -> subprocess.CompletedProcess[str]:
    words = [python, "-I", "-S", "-c", "import sys;exec(sys.stdin.read())", "somabrain-run=none"]
    return subprocess.run(words, input=script, capture_output=True, text=True, check=False, timeout=60)


def parameters(state: Path, **given: t.Any) -> dict[str, t.Any]:
    params = {name: option.get("default") for name, option in opening.ARGUMENT_SPEC.items()}
    return {**params, "state_dir": str(state), "host": "lab", "component": "c", "remedy": "r", "run_id": "R1", **given}


@pytest.mark.parametrize("python", pythons())
def test_a_step_runs_on_a_bare_python_that_has_nothing_but_its_source(python: str, tmp_path: Path) -> None:
    done = run_piped(python, _runner.piped_script(STEP, parameters(tmp_path / "state"), False))
    result = _runner.result_between_marks(done.stdout)
    assert result, done.stderr
    assert (result["run"]["ok"], result["run"]["token"]) == (True, 1)
    assert list((tmp_path / "state").glob("*.pyc")) == []


def test_an_error_of_a_step_is_a_failed_result_and_not_a_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_piped(sys.executable, _runner.piped_script(STEP, parameters(tmp_path / "file"), False))
    result = _runner.result_between_marks(done.stdout)
    assert result
    assert (result["failed"], result["reasons"][0]["code"]) == (True, "ledger_unusable")


def test_a_step_that_broke_off_has_said_that_it_started_and_is_not_run_again(tmp_path: Path) -> None:
    done = run_piped(sys.executable, _runner.piped_script(STEP, {"state_dir": 7}, False))
    assert _runner.STARTED in done.stdout
    assert _runner.result_between_marks(done.stdout) is None
    broken = _runner.broken_off({"stderr": done.stderr, "rc": done.returncode})
    assert broken["failed"]
    assert "KeyError" in broken["msg"] or "TypeError" in broken["msg"]
    assert "\n" not in broken["msg"]


@pytest.mark.parametrize("stdout", ["", "hello", _runner.BEGIN, _runner.BEGIN + "{" + _runner.END, _runner.END + "{}" + _runner.BEGIN])
def test_noise_of_a_login_shell_is_no_result(stdout: str) -> None:
    assert _runner.result_between_marks(stdout) is None


def test_a_result_is_found_in_the_middle_of_noise() -> None:
    assert _runner.result_between_marks("motd\n" + _runner.BEGIN + '{"a": 1}' + _runner.END + "\nbye") == {"a": 1}


def test_a_controller_is_alive_only_where_it_runs_and_while_it_does() -> None:
    with controller() as (process, _worker):
        holder = processes.fingerprint(process.pid)
        assert processes.is_alive(holder, processes.machine())
        assert not processes.is_alive({**holder, "boot_id": "other"}, processes.machine())
        assert not processes.is_alive({**holder, "start_ticks": None}, processes.machine())
        assert not processes.is_alive({}, processes.machine())
        process.kill()
        process.wait()
        assert not processes.is_alive(holder, processes.machine())
