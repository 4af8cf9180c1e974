# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the words of service managers are read, and what health follows."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import service
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask, managers, supervisor, systemd
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.service_control import _resume_family, _said, wanted

UNIT = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "MainPID": "7", "Restart": "always", "StartLimitBurst": "5"}


def state(**known: t.Any) -> dict[str, t.Any]:
    return service_state.blank("systemd", "x.service", **{"exists": True, **known})


@pytest.mark.parametrize(
    ("seen", "health", "actions"),
    [
        ({"state": "running"}, "well", ()),
        ({"state": "running", "process_state": "T"}, "sick", ()),
        ({"state": "starting"}, "unknown", ("wait",)),
        ({"state": "stopping"}, "unknown", ("wait",)),
        ({"state": "stopped"}, "sick", ("start",)),
        ({"state": "failed"}, "sick", ("start",)),
        ({"state": "failed", "start_limit_hit": True}, "sick", ("reset_failed", "start")),
        ({"state": "backoff"}, "sick", ("hold",)),
        ({"state": "unknown"}, "unknown", ()),
        ({"state": "stopped", "exists": False}, "unknown", ("start",)),
        ({"state": "unknown", "reachable": False}, "unknown", ()),
    ],
)
def test_each_state_has_one_health_and_its_acts(seen: dict[str, t.Any], health: str, actions: tuple[str, ...]) -> None:
    judged = service.judge(state(**seen), {})
    assert (judged.health.value, judged.actions) == (health, actions)


@pytest.mark.parametrize(
    ("before", "now", "health"), [(None, 9, "well"), (2, 2, "well"), (2, 3, "sick"), (2, None, "well"), (3, 0, "well")]
)
def test_restarts_since_an_earlier_look_make_a_running_service_sick(before: int | None, now: int | None, health: str) -> None:
    assert service.judge(state(state="running", restarts=now), {"restarts_before": before}).health.value == health


@pytest.mark.parametrize(
    ("shown", "word"),
    [
        ({}, "running"),
        ({"ActiveState": "reloading"}, "running"),
        ({"SubState": "exited"}, "unknown"),
        ({"ActiveState": "activating", "SubState": "start"}, "starting"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "backoff"),
        ({"ActiveState": "activating", "SubState": "auto-restart-queued"}, "backoff"),
        ({"ActiveState": "deactivating", "SubState": "stop-sigterm"}, "stopping"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "stopped"),
        ({"ActiveState": "failed", "SubState": "failed"}, "failed"),
        ({"ActiveState": "maintenance"}, "unknown"),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "unknown"),
    ],
)
def test_words_of_systemd(shown: dict[str, str], word: str) -> None:
    assert systemd.parse("x.service", {**UNIT, **shown})["state"] == word


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"Result": "start-limit-hit", "ActiveState": "failed"}, True),
        ({"Result": "exit-code", "ActiveState": "failed", "NRestarts": "5"}, True),
        ({"Result": "exit-code", "ActiveState": "failed", "NRestarts": "1"}, False),
        ({"Result": "exit-code", "ActiveState": "failed", "NRestarts": "5", "Restart": "no"}, False),
        ({"NRestarts": "50"}, False),
    ],
)
def test_a_start_limit_is_recognised_though_systemd_gives_the_last_failure_as_result(shown: dict[str, str], expected: bool) -> None:
    assert systemd.parse("x.service", {**UNIT, **shown})["start_limit_hit"] is expected


def test_the_files_of_a_unit_count_once_systemd_has_read_them_and_ours_never() -> None:
    ours = "/etc/systemd/system/x.service.d/90-somabrain-hold.conf"
    shown = {"EnvironmentFiles": "/etc/x.env (ignore_errors=no)", "FragmentPath": "/etc/x.service", "DropInPaths": f"{ours} /etc/own.conf"}
    assert systemd.parse("x.service", {**UNIT, **shown})["reads"] == ["/etc/x.env", "/etc/x.service", "/etc/own.conf"]
    assert systemd.parse("x.service", {**UNIT, **shown, "NeedDaemonReload": "yes"})["reads"] == ["/etc/x.env"]


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ({}, ""),
        ({"CanStart": "yes", "CanStop": "yes", "Type": "notify"}, ""),
        ({"LoadState": "masked"}, "systemctl unmask x.service"),
        ({"LoadState": "bad-setting"}, "cannot load its unit file (bad-setting)"),
        ({"Type": "oneshot"}, "no process to keep up"),
        ({"CanStart": "no"}, "manual start"),
        ({"CanStop": "no"}, "manual start or stop"),
        ({"LoadState": "not-found"}, ""),
        ({"FreezerState": "frozen"}, "systemctl thaw x.service"),
        ({"FreezerState": "running"}, ""),
        ({"FragmentPath": "/run/systemd/transient/x.service"}, "transient unit (systemd-run)"),
        ({"FragmentPath": "/run/systemd/transient/x.service", "ActiveState": "failed", "Result": "exit-code"}, ""),
        ({"FragmentPath": "/run/systemd/transient/x.service", "ActiveState": "failed", "Result": "start-limit-hit"}, "transient unit"),
    ],
)
def test_what_systemd_would_not_start_again_is_told_before_it_is_stopped(shown: dict[str, str], told: str) -> None:
    barred = systemd.parse("x.service", {**UNIT, **shown})["barred"]
    assert told in barred
    assert bool(told) == bool(barred)


@pytest.mark.parametrize(("began", "ended", "lived"), [("1000000", "9500000", 8.5), ("9500000", "1000000", None), ("0", "5", None)])
def test_how_long_the_last_process_of_a_unit_lived(began: str, ended: str, lived: float | None) -> None:
    shown = {"ExecMainStartTimestampMonotonic": began, "ExecMainExitTimestampMonotonic": ended}
    assert systemd.parse("x.service", {**UNIT, **shown})["lived"] == lived


def test_a_program_that_supervisor_does_not_know_is_told_with_those_that_it_has() -> None:
    told = supervisor._who_is_there([{"group": "web", "name": "web_1"}, {"group": "api", "name": "api"}])
    assert told == "it has api, web:web_1"
    assert supervisor._who_is_there([]) == "it has no programs"


@pytest.mark.parametrize("name", ["api@", "api@.service"])
def test_a_template_of_units_is_no_unit(name: str) -> None:
    with pytest.raises(StepError, match="name one instance: api@NAME"):
        systemd.check_name(name)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("1", "3", (3, "")),
        ("2", "9", (None, "SIGKILL")),
        ("3", "11", (None, "SIGSEGV")),
        ("2", "99", (None, "signal 99")),
        ("0", "0", (None, "")),
    ],
)
def test_how_the_last_process_of_a_unit_ended(code: str, status: str, expected: tuple[int | None, str]) -> None:
    ended = systemd.ending({"ExecMainCode": code, "ExecMainStatus": status})
    assert (ended["exit_code"], ended["signal"]) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1min 30s", 90.0), ("infinity", None), ("500ms", 0.5), ("1h 2min 3.5s", 3723.5), ("0", None), ("", None), ("1month", 2629800.0)],
)
def test_time_spans_of_systemd(text: str, seconds: float | None) -> None:
    assert systemd.seconds_of(text) == seconds


LOG = """2026-10-16 14:00:00,1 INFO spawned: 'api' with pid 10
2026-10-16 14:00:01,1 WARN exited: api (exit status 3; not expected)
2026-10-16 14:00:02,1 INFO spawned: 'api' with pid 11
2026-10-16 14:00:03,1 INFO spawned: 'api-two' with pid 12
2026-10-16 14:00:04,1 WARN exited: api (terminated by SIGSEGV; not expected)
2026-10-16 14:00:05,1 INFO spawned: 'api' with pid 13
"""


STARTED_BY_PEOPLE = """2026-10-16 14:00:00,1 INFO spawned: 'api' with pid 10
2026-10-16 14:10:00,1 WARN stopped: api (terminated by SIGTERM)
2026-10-16 14:10:00,2 INFO spawned: 'api' with pid 11
2026-10-16 14:20:00,1 WARN exited: api (exit status 1; not expected)
2026-10-16 14:25:00,1 INFO spawned: 'api' with pid 12
2026-10-16 14:25:01,1 WARN exited: api (exit status 1; not expected)
2026-10-16 14:25:02,1 INFO spawned: 'api' with pid 13
2026-10-16 14:25:03,1 WARN exited: api (exit status 1; not expected)
2026-10-16 14:25:03,2 INFO gave up: api entered FATAL state, too many start retries too quickly
2026-10-16 14:25:04,1 INFO spawned: 'api' with pid 14
"""


def test_what_people_start_is_no_restart_by_supervisor() -> None:
    assert supervisor.log_facts(STARTED_BY_PEOPLE, "api")["restarts"] == 1


@pytest.mark.parametrize(
    ("name", "facts"),
    [("api", {"restarts": 2, "signal": "SIGSEGV"}), ("api-two", {"restarts": 0}), ("a.i", {"restarts": 0}), ("other", {"restarts": 0})],
)
def test_what_the_log_of_supervisord_tells(name: str, facts: dict[str, t.Any]) -> None:
    assert supervisor.log_facts(LOG, name) == facts


def test_restarts_count_from_the_last_stop_on_request() -> None:
    spawned, ended, stopped = (
        "2026-11-30 20:00:00,1 %s\n" % one
        for one in ("INFO spawned: 'api' with pid 1", "WARN exited: api (exit status 1; not expected)", "INFO stopped: api (exit status 0)")
    )
    logs = {
        spawned + ended + spawned: 1,
        spawned + stopped + spawned: 0,
        spawned + ended + spawned + stopped + spawned + ended + spawned: 1,
    }
    assert [supervisor.log_facts(log, "api")["restarts"] for log in [*logs, ""]] == [*logs.values(), 0]


def test_what_is_written_and_not_read_yet_is_told(tmp_path: Path) -> None:
    assert systemd.parse("x.service", {**UNIT, "NeedDaemonReload": "yes"})["unread"].endswith("systemctl daemon-reload")
    assert systemd.parse("x.service", {**UNIT, "NeedDaemonReload": "no"})["unread"] == ""
    (tmp_path / "s.conf").write_text("[program:api]\ncommand=/bin/new  --x ; a word\n[program:b]\ncommand=/b %(here)s\n")
    parser = supervisor.parsed(str(tmp_path / "s.conf"))
    goes_by = (("api", "/bin/old"), ("api", "/bin/new --x"), ("b", "/b /here"), ("c", "/c"))
    told = [supervisor.unread_of(parser, {"name": name, "group": name}, {"command": has}) for name, has in goes_by]
    assert [bool(one) for one in told] == [True, False, False, False]
    assert "supervisorctl update api" in told[0]


def test_what_the_next_start_needs_and_lacks_is_told(tmp_path: Path) -> None:
    assert service_state.gone_of(str(tmp_path), "directory") == ""
    assert "its program %s/x is not there any more" % tmp_path in service_state.gone_of(f"{tmp_path}/x", "program")
    shown = "ExecStart={ path=%s ; argv[]=x ; ignore_errors=no }"
    assert (systemd.gone(shown % "/bin/sh"), "/no/such" in systemd.gone(shown % "/no/such")) == ("", True)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["python3", "/usr/bin/supervisord", "-c", "/a.conf"], "/a.conf"),
        (["supervisord", "--configuration=/b.conf", "-n"], "/b.conf"),
        (["supervisord", "-c/c.conf"], "/c.conf"),
        (["supervisord", "--configuration", "/d.conf"], "/d.conf"),
    ],
)
def test_the_configuration_that_supervisord_was_started_with(words: list[str], path: str) -> None:
    assert supervisor.config_path(words) == path


@pytest.mark.parametrize("url", ["http://10.0.0.1:9001", "https://127.0.0.1", "unix://relative", "ftp://x", "", "http://"])
def test_an_address_elsewhere_is_refused(url: str) -> None:
    server = supervisor.Supervisor({"supervisor_url": url or "nonsense"})
    with pytest.raises(StepError, match="supervisor_url must be"):
        server.call("getPID", deadline=0.2)


@pytest.mark.parametrize("manager", ["", "docker", None, "\x1b[31m"])
def test_an_unknown_manager_is_named(manager: str | None) -> None:
    with pytest.raises(StepError, match="manager must be one of %s, not " % ", ".join(sorted(managers.MANAGERS))):
        ask.manager_of({"manager": manager, "name": "x"})


@pytest.mark.parametrize(
    ("action", "before", "expected"),
    [
        ("start", {"state": "running"}, False),
        ("start", {"state": "starting"}, True),
        ("stop", {"state": "failed"}, False),
        ("stop", {"state": "backoff"}, True),
        ("restart", {"state": "running"}, True),
        ("hold", {"held": True}, False),
        ("release", {"drop_ins": ["start"]}, True),
        ("release", {}, False),
        ("reset_failed", {"state": "running"}, False),
        ("reset_failed", {"state": "failed"}, True),
        ("extend_start_timeout", {"start_timeout": None}, False),
        ("extend_start_timeout", {"start_timeout": 90.0}, True),
        ("extend_start_timeout", {"start_timeout": 900.0}, False),
    ],
)
def test_an_act_is_wanted_only_where_it_changes_something(action: str, before: dict[str, t.Any], expected: bool) -> None:
    assert wanted(state(**before), {"action": action, "start_timeout": 600.0, "only": {}}) is expected


def test_an_act_that_a_manager_needs_not_is_told_as_that() -> None:
    before = service_state.blank("supervisor", "api", exists=True, state="failed")
    act = types.SimpleNamespace(params={"action": "reset_failed"}, before=before, note="")
    assert _said(t.cast(t.Any, act), before, False, False) == "api: nothing to reset under supervisor, where a start is enough"


def test_a_signal_goes_to_the_process_that_was_meant_and_to_no_other() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        ticks = service_state.process_facts(child.pid)["start_time_ticks"]
        assert service_state.send_to({"pid": child.pid, "start_time_ticks": ticks + 1}, signal.SIGKILL) is False
        assert child.poll() is None
        assert service_state.send_to({"pid": child.pid, "start_time_ticks": ticks}, signal.SIGKILL) is True
        assert child.wait(5) == -signal.SIGKILL
        assert service_state.is_gone({"pid": child.pid, "start_time_ticks": ticks})
    finally:
        child.kill()


def test_the_start_command_of_a_unit_is_read_with_what_runs_before_it_and_without_secrets() -> None:
    lines = [
        "Id=redis.service",
        "ExecStart={ path=/bin/sh ; argv[]=/bin/sh -c rm -f /data/dump.rdb; redis-server --requirepass hunter2secret ; ignore_errors=no ;"
        " start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }",
        "ExecStartPre={ path=/bin/mkdir ; argv[]=/bin/mkdir -p /run/redis ; ignore_errors=yes ; start_time=[n/a] }",
        "ExecStartPre={ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no ; start_time=[n/a] }",
    ]
    text = systemd.start_command("\n".join(lines))
    assert text.splitlines()[:2] == ["/bin/mkdir -p /run/redis", "/bin/true"]
    assert "rm -f /data/dump.rdb; redis-server" in text
    assert "hunter2secret" not in text
    assert systemd.start_command("Id=x") == ""
    several = (
        "ExecStart={ path=/bin/sh ; argv[]=/bin/sh -c set -e\nrm -f /data/dump.rdb\nexec redis-server ; ignore_errors=no ; pid=0 }\nId=x\n"
    )
    assert systemd.start_command(several) == "/bin/sh -c set -e\nrm -f /data/dump.rdb\nexec redis-server"


def test_every_manager_has_a_folder_of_task_files_with_the_same_names() -> None:
    tasks = Path(__file__).resolve().parents[3] / "roles/service_manager/tasks"
    names = {manager: sorted(path.name for path in (tasks / manager).glob("*.yml")) for manager in managers.MANAGERS}
    assert len(names["systemd"]) == 14
    assert {manager: found == names["systemd"] for manager, found in names.items()} == dict.fromkeys(managers.MANAGERS, True)


def test_a_sigcont_reaches_the_suspended_workers_of_a_service() -> None:
    """A manager signals its own process only; one that was suspended with its workers would go on without them."""
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True, start_new_session=True) as master:
        try:
            assert master.stdout is not None
            worker = int(master.stdout.readline())
            os.kill(worker, signal.SIGSTOP)
            deadline = time.monotonic() + 5
            while service_state.process_facts(worker)["process_state"] != "T" and time.monotonic() < deadline:
                time.sleep(0.01)
            identity = {"pid": master.pid, "start_time_ticks": service_state.process_facts(master.pid)["start_time_ticks"]}
            assert _resume_family(identity) == [worker]
            assert service_state.process_facts(worker)["process_state"] != "T"
            # Nothing is signalled that runs, and nothing on another machine.
            assert _resume_family(identity) == []
            assert _resume_family({"pid": master.pid, "start_time_ticks": None}) == []
        finally:
            os.killpg(master.pid, signal.SIGKILL)
