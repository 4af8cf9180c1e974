# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services under a real supervisord on a socket of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from farms.answering import answering
from farms.redis import end_process
from farms.waiting import has_ignored, until

import ansible_collections.somabrain.incident_response as collection
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt.read import last as last_attempt
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.managers import MANAGERS
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import service_control, service_info

SUPERVISORD = shutil.which("supervisord", path=os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", ""))
IGNORES_TERM = "import signal,time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
EXITS_CLEANLY = "import signal,sys,time; signal.signal(15, lambda *a: (time.sleep(0.3), sys.exit(0))); time.sleep(600)"
PROGRAMS = {
    "plain": ("sleep 600", "startsecs=0\nautorestart=false"),
    "again": ("sleep 600", "startsecs=0\nautorestart=true"),
    "unexpected": (f'{sys.executable} -c "{EXITS_CLEANLY}"', "startsecs=0\nautorestart=unexpected"),
    "stubborn": (f'{sys.executable} -c "{IGNORES_TERM}"', "startsecs=0\nautorestart=false"),
    "loop": ("false", "startsecs=1\nstartretries=50"),
    "given-up": ("false", "startsecs=1\nstartretries=0"),
    "exits": ('sh -c "sleep 0.2; exit 7"', "startsecs=0\nautorestart=false"),
    "broken": (
        f'{sys.executable} -c "import json; json.load(open(\\"%(here)s/api.json\\"))"',
        "startsecs=1\nstartretries=0\nautostart=false",
    ),
    "slow": ("sleep 600", "startsecs=2\nautorestart=false\nautostart=false"),
}

pytestmark = pytest.mark.skipif(SUPERVISORD is None, reason="supervisord is not installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    home: Path = tmp_path_factory.mktemp("sv")
    sections = "".join(f"[program:{name}]\ncommand={command}\nstopwaitsecs=1\n{more}\n" for name, (command, more) in PROGRAMS.items())
    (home / "s.conf").write_text(
        f"[unix_http_server]\nfile={home}/s.sock\n[supervisord]\nnodaemon=true\nlogfile={home}/s.log\npidfile={home}/s.pid\nchildlogdir={home}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n" + sections
    )
    daemon = subprocess.Popen([str(SUPERVISORD), "-c", str(home / "s.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"unix://{home}/s.sock"
    until(lambda: look("plain", url)["state"] == "running")
    yield url
    pids = [look(name, url)["service"]["pid"] for name in PROGRAMS]
    # supervisord's own shutdown takes a second a program.
    daemon.kill()
    daemon.wait(10)
    for pid in pids:
        end_process(pid)


def options(name: str, url: str, **more: t.Any) -> dict[str, t.Any]:
    given = {
        "manager": "supervisor",
        "scope": "system",
        "supervisor_url": url,
        "supervisor_username": None,
        "supervisor_password": None,
        "name": name,
    }
    return {**given, **more}


def look(name: str, url: str, **more: t.Any) -> dict[str, t.Any]:
    patience = {"passes": 1, "window": 0.0, "timeout": 0.0, "wait_timeout": 0.0, "interval": 0.1, "probe_timeout": 3.0, "stage": "assess"}
    return service_info.run({**options(name, url), **patience, "restarts_before": None, "log_lines": 0, **more}, False)


def act(name: str, action: str, url: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    given = {"action": action, "signal": None, "timeout": 5.0, "stop_timeout": None, "start_timeout": None, "wait_for": "running"}
    return service_control.run({**options(name, url), **given, "force": False, "only": {}, "stage": "act", **more}, check)


def test_a_running_program_is_well_and_names_its_process(url: str) -> None:
    act("plain", "start", url)
    seen = look("plain", url)
    assert (seen["health"], seen["state"]) == ("well", "running")
    assert seen["identity"]["pid"] == seen["service"]["pid"] > 0
    assert seen["service"]["autorestart"] == "false"
    assert abs(seen["service"]["started_at"] - time.time()) < 60


def test_start_and_stop_do_nothing_twice(url: str) -> None:
    act("plain", "start", url)
    assert act("plain", "start", url)["changed"] is False
    assert act("plain", "stop", url)["after"]["pid"] == 0
    assert act("plain", "stop", url)["changed"] is False
    assert act("plain", "start", url)["changed"] is True


def test_a_restart_gives_a_new_process_and_is_quick(url: str) -> None:
    act("plain", "start", url)
    result = act("plain", "restart", url)
    assert result["before"]["pid"] != result["after"]["pid"] > 0
    assert result["identity"] == {"pid": result["after"]["pid"], "start_time_ticks": result["after"]["start_time_ticks"]}
    assert result["seconds"] < 10.0


@pytest.mark.parametrize("action", ["restart", "stop", "signal"])
def test_what_is_meant_for_one_process_does_nothing_to_its_successor(url: str, action: str) -> None:
    act("plain", "start", url)
    meant = look("plain", url)["identity"]
    assert act("plain", "restart", url, only=meant)["changed"] is True
    successor = look("plain", url)["identity"]
    assert successor != meant
    result = act("plain", action, url, only=meant, signal="KILL", force=True)
    assert (result["changed"], result["killed"], look("plain", url)["identity"]) == (False, False, successor)
    act("plain", "stop", url)
    # Where nothing runs in its place a restart starts it again.
    assert act("plain", "restart", url, only=meant)["after"]["state"] == "running"


def test_check_mode_changes_nothing_and_says_what_it_would_do(url: str) -> None:
    before = look("plain", url)["identity"]
    result = act("plain", "restart", url, check=True)
    assert result["changed"] is True
    assert "would restart plain" in result["say"][0]
    assert look("plain", url)["identity"] == before


@pytest.mark.parametrize("name", ["again", "unexpected"])
def test_a_program_that_supervisor_restarts_by_itself_stays_stopped(url: str, name: str) -> None:
    act(name, "start", url)
    assert act(name, "stop", url)["after"]["state"] in ("stopped", "failed")
    time.sleep(1.5)
    assert look(name, url)["service"]["pid"] == 0


@pytest.mark.parametrize("name", ["again", "unexpected"])
def test_such_a_program_is_restarted_once(url: str, name: str) -> None:
    act(name, "start", url)
    result = act(name, "restart", url)
    time.sleep(1.2)
    assert look(name, url)["identity"] == result["identity"] != {"pid": result["before"]["pid"]}


def test_what_ignores_the_stop_is_not_killed_neither_by_us_nor_by_supervisor(url: str) -> None:
    started = act("stubborn", "start", url)
    until(lambda: has_ignored(started["after"]["pid"]))
    begun = time.monotonic()
    with pytest.raises(StepError, match="was not killed") as raised:
        act("stubborn", "stop", url, timeout=1.0)
    assert time.monotonic() - begun < 20.0
    pid = raised.value.data["pid"]
    assert raised.value.data["stopped"] is False
    time.sleep(1.5)
    assert look("stubborn", url)["service"]["pid"] == pid


def test_force_kills_it_after_the_graceful_time(url: str) -> None:
    started = act("stubborn", "start", url)
    until(lambda: has_ignored(started["after"]["pid"]))
    result = act("stubborn", "restart", url, timeout=20.0, stop_timeout=0.5, force=True)
    assert result["killed"] is True
    assert result["after"]["pid"] not in (0, result["before"]["pid"])
    assert "killed after it ignored the stop" in result["say"][0]


def test_a_crash_loop_is_sick_and_can_be_held(url: str) -> None:
    seen = look("loop", url)
    assert seen["health"] in ("sick", "unknown")
    until(lambda: look("loop", url)["state"] == "backoff")
    until(lambda: look("loop", url)["service"]["restarts"] >= 1)
    held = act("loop", "hold", url)
    assert held["after"]["state"] == "stopped"
    time.sleep(1.5)
    assert look("loop", url)["state"] == "stopped"


def test_a_start_that_was_asked_for_and_gave_up_is_no_restart_of_the_manager(url: str) -> None:
    with pytest.raises(StepError, match="did not start"):
        act("given-up", "start", url, timeout=20.0)
    seen = look("given-up", url)
    assert seen["service"]["start_limit_hit"] is True
    assert seen["service"]["restarts"] == 0
    assert seen["service"]["exit_code"] == 1


def test_an_exit_code_and_a_killing_signal_are_told(url: str) -> None:
    until(lambda: look("exits", url)["service"]["exit_code"] == 7)
    pid = act("plain", "start", url)["after"]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: look("plain", url)["state"] != "running")
    seen = look("plain", url)
    assert (seen["health"], seen["state"], seen["service"]["signal"]) == ("sick", "failed", "SIGKILL")
    assert seen["actions"] == ["start"]


def test_a_suspended_program_is_sick_and_goes_on_after_sigcont(url: str) -> None:
    pid = act("plain", "restart", url)["after"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    until(lambda: look("plain", url)["health"] == "sick")
    act("plain", "signal", url, signal="CONT")
    until(lambda: look("plain", url)["health"] == "well")


def test_a_running_program_with_autorestart_cannot_be_held(url: str) -> None:
    act("again", "start", url)
    with pytest.raises(StepError, match="cannot hold"):
        act("again", "hold", url)


def test_a_start_may_be_awaited_until_running_or_spawned(url: str) -> None:
    spawned = act("slow", "start", url, wait_for="spawned")
    assert spawned["settled"] is False
    act("slow", "stop", url)
    running = act("slow", "start", url)
    assert running["settled"] is True
    assert running["seconds"] >= 1.9


def test_an_unknown_program_is_unknown_and_not_acted_upon(url: str) -> None:
    assert look("nobody", url)["health"] == "unknown"
    with pytest.raises(StepError, match="has no service named nobody"):
        act("nobody", "restart", url)


@pytest.mark.parametrize("name", ["plain:*", "*", "", "a b", "../x", "plain\n", "\x1b[31m"])
def test_a_name_that_may_mean_others_is_refused(url: str, name: str) -> None:
    with pytest.raises(StepError, match="not the name of one"):
        act(name, "restart", url)


def test_a_manager_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    gone = f"unix://{tmp_path}/none.sock"
    assert look("plain", gone)["health"] == "unknown"
    with pytest.raises(StepError, match="nothing was changed"):
        act("plain", "restart", gone)


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.0 401 Unauthorized\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n<html>", None])
def test_a_manager_that_answers_nonsense_or_drips_is_unknown_in_time(tmp_path: Path, answer: bytes | None) -> None:
    path = str(tmp_path / "x.sock")
    with answering(path, answer):
        begun = time.monotonic()
        seen = look("plain", "unix://" + path, probe_timeout=0.6)
        assert time.monotonic() - begun < 10
    assert (seen["health"], seen["service"]["reachable"]) == ("unknown", False)


def play(folder: Path, *tasks: dict[str, t.Any]) -> subprocess.CompletedProcess[str]:
    """Run tasks on this machine with the default view."""
    (folder / "play.json").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "connection": "local", "tasks": [*tasks]}]))
    env = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": next(iter(collection.__path__)).split("/ansible_collections/")[0],
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "ANSIBLE_CONFIG": str(folder / "none.cfg"),
    }
    program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
    words = [program, "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}", str(folder / "play.json")]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_role_refuses_a_manager_that_it_has_no_folder_for_and_lists_the_others(tmp_path: Path) -> None:
    given = {"service_manager_manager": "unheard-of", "service_manager_name": "plain"}
    done = play(tmp_path, {"include_role": {"name": "somabrain.incident_response.service_manager"}, "vars": given})
    assert done.returncode == 2
    assert f"manager must be one of {', '.join(sorted(MANAGERS))}, not unheard-of" in done.stdout


def test_the_role_restarts_in_one_task_of_one_action_plugin(url: str, tmp_path: Path) -> None:
    call = {"name": "somabrain.incident_response.service_manager", "tasks_from": "{{ service_manager_manager }}/restart.yml"}
    given = {
        "service_manager_manager": "supervisor",
        "service_manager_name": "plain",
        "service_manager_supervisor_url": url,
        "service_manager_wait_for": "spawned",
    }
    before = act("plain", "start", url)["after"]["pid"]
    keep = {"copy": {"content": "{{ service_manager_result | to_json }}", "dest": str(tmp_path / "result")}}
    done = play(tmp_path, {"include_role": call, "vars": given}, keep)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("TASK [") == 3
    result = json.loads((tmp_path / "result").read_text())
    assert (result["before"]["pid"], result["changed"]) == (before, True)
    assert look("plain", url)["identity"] == result["identity"]


def test_log_lines_come_escaped(url: str) -> None:
    act("stubborn", "restart", url, force=True, stop_timeout=0.3, timeout=20.0)
    until(lambda: look("stubborn", url, log_lines=1)["log"] == ["ready"])
    assert look("plain", url, log_lines=0)["log"] == []


def test_why_a_program_did_not_start_is_read_from_that_start_alone(url: str) -> None:
    conf = Path(url.removeprefix("unix://")).parent / "api.json"
    conf.write_text('{"a":')
    # supervisor knows the second of a start.
    time.sleep(1.1)
    with pytest.raises(StepError, match="it did not start: .*JSONDecodeError"):
        act("broken", "start", url, timeout=8.0)
    seen = last_attempt(options("broken", url))
    assert (seen["cause"]["code"], seen["paths_changed"]) == ("exception", [])
    time.sleep(1.1)
    conf.write_text("{}")
    assert last_attempt(options("broken", url))["paths_changed"] == [str(conf)]
