# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services under a real systemd in a container; each step is piped to the container's Python as it is to a target."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import typing as t
import uuid

import pytest
from farms.waiting import ignores_term, until

from ansible_collections.somabrain.incident_response.plugins.plugin_utils._runner import piped_script, result_between_marks

IMAGE = os.environ.get("SOMABRAIN_SYSTEMD_IMAGE", "somabrain-test-systemd")
FLAGS = (
    "--cap-add=SYS_ADMIN --cap-add=SYS_PTRACE --security-opt=seccomp=unconfined --security-opt=apparmor=unconfined --cgroupns=host"
    " --volume=/sys/fs/cgroup:/sys/fs/cgroup:rw --tmpfs=/run --tmpfs=/run/lock --env=container=docker"
)
PACKAGE = "ansible_collections.somabrain.incident_response.plugins.module_utils._steps."
UNITS = {
    "plain": "ExecStart=/bin/sleep 600",
    "again": "ExecStart=/bin/sleep 600\nRestart=always\nRestartSec=100ms",
    "stubborn": "ExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 0.2; done'\nTimeoutStopSec=2\nKillMode=mixed",
    "limit": "ExecStart=/bin/false\nRestart=always\nRestartSec=100ms",
    "loop": "ExecStart=/bin/false\nRestart=always\nRestartSec=20",
    "broken": "ExecStart=/usr/bin/python3 -c 'import json; json.load(open(\"/opt/api.json\")); import time; time.sleep(60)'\n"
    "Restart=always\nRestartSec=100ms",
    "taken": "ExecStart=/usr/bin/python3 -m http.server 18999 --bind 127.0.0.1",
    "slow": 'Type=notify\nNotifyAccess=all\nExecStart=/bin/sh -c "sleep 12; systemd-notify --ready; exec sleep 600"\nTimeoutStartSec=8',
    "wrapper": "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true",
    "greedy": "ExecStart=/usr/bin/python3 -c 'a=bytearray(300000000); import time; time.sleep(60)'\nMemoryMax=30M\nMemorySwapMax=0",
}


def docker(*words: str, given: str = "", timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], input=given, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def container() -> t.Iterator[str]:
    if not shutil.which("docker") or docker("image", "inspect", IMAGE).returncode:
        pytest.skip(f"no Docker engine with the image {IMAGE} (systemd as process 1, python3); SOMABRAIN_SYSTEMD_IMAGE names another")
    name = f"somabrain-service-{uuid.uuid4().hex[:8]}"
    label = "--label=somabrain-test-run=" + os.environ.get("SOMABRAIN_TEST_RUN", "by-hand")
    started = docker("run", "--detach", "--rm", f"--name={name}", label, *FLAGS.split(), IMAGE, "/lib/systemd/systemd")
    if started.returncode:
        pytest.skip(f"no container with systemd can be had: {started.stderr.strip()[-160:]}")
    try:
        _boot(name)
        yield name
    finally:
        docker("rm", "--force", name)


def _boot(name: str) -> None:
    end = time.monotonic() + 90
    while docker("exec", name, "systemctl", "is-system-running").stdout.strip() not in ("running", "degraded"):
        if time.monotonic() > end:
            pytest.skip("systemd did not come up in a container within 90 s")
        time.sleep(0.3)
    for unit, text in UNITS.items():
        docker("exec", "-i", name, "tee", f"/etc/systemd/system/{unit}.service", given=f"[Service]\n{text}\n")
    docker("exec", name, "systemctl", "daemon-reload")


def piped(container: str, step: str, params: dict[str, t.Any], check: bool) -> dict[str, t.Any]:
    script = piped_script(PACKAGE + step, params, check)
    done = docker("exec", "-i", container, "/usr/bin/python3", "-I", "-S", "-c", "import sys;exec(sys.stdin.read())", given=script)
    result = result_between_marks(done.stdout)
    assert result is not None, done.stderr
    return result


def options(name: str) -> dict[str, t.Any]:
    return {
        "manager": "systemd",
        "scope": "system",
        "supervisor_url": "",
        "supervisor_username": None,
        "supervisor_password": None,
        "name": name,
    }


def look(container: str, name: str, **more: t.Any) -> dict[str, t.Any]:
    patience = {"passes": 1, "window": 0.0, "timeout": 0.0, "wait_timeout": 0.0, "interval": 0.1, "probe_timeout": 3.0, "stage": "assess"}
    return piped(container, "service_info", {**options(name), **patience, "restarts_before": None, "log_lines": 0, **more}, False)


def act(container: str, name: str, action: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    given = {"action": action, "signal": None, "timeout": 20.0, "stop_timeout": None, "start_timeout": None, "wait_for": "running"}
    return piped(container, "service_control", {**options(name), **given, "force": False, "only": {}, "stage": "act", **more}, check)


def seen_as(container: str, name: str, state: str, patience: float = 30.0) -> dict[str, t.Any]:
    end = time.monotonic() + patience
    while True:
        seen = look(container, name)
        if seen["state"] == state or time.monotonic() > end:
            return seen
        time.sleep(0.2)


def test_start_restart_and_stop_go_through_and_do_nothing_twice(container: str) -> None:
    started = act(container, "plain", "start")
    assert (started["changed"], started["after"]["state"]) == (True, "running")
    assert act(container, "plain", "start")["changed"] is False
    restarted = act(container, "plain", "restart")
    assert restarted["identity"] != started["identity"]
    assert look(container, "plain")["health"] == "well"
    assert act(container, "plain", "stop")["after"]["state"] == "stopped"
    assert act(container, "plain", "stop")["changed"] is False
    assert look(container, "plain")["service"]["drop_ins"] == []


def test_check_mode_changes_nothing(container: str) -> None:
    before = act(container, "plain", "start")["identity"]
    for action in ("restart", "stop", "hold"):
        assert act(container, "plain", action, check=True)["changed"] is True
    assert look(container, "plain")["identity"] == before
    assert look(container, "plain")["service"]["drop_ins"] == []


def test_what_ignores_the_stop_is_killed_by_nobody_until_force_is_said(container: str) -> None:
    pid = act(container, "stubborn", "start")["after"]["pid"]
    until(lambda: ignores_term(docker("exec", container, "cat", f"/proc/{pid}/status").stdout))
    refused = act(container, "stubborn", "stop", timeout=1.0)
    assert (refused["failed"], refused["stopped"], refused["pid"]) == (True, False, pid)
    # Its own TimeoutStopSec of 2 s would have killed it by now.
    time.sleep(2.5)
    assert look(container, "stubborn")["service"]["pid"] == pid
    killed = act(container, "stubborn", "stop", timeout=20.0, stop_timeout=0.5, force=True)
    assert (killed["killed"], killed["after"]["pid"]) == (True, 0)
    assert act(container, "stubborn", "restart", timeout=20.0, stop_timeout=0.5, force=True)["after"]["drop_ins"] == []


def test_a_tripped_start_limit_is_recognised_and_reset_once(container: str) -> None:
    act(container, "limit", "start", timeout=20.0)
    seen = seen_as(container, "limit", "failed")
    assert (seen["state"], seen["service"]["start_limit_hit"], seen["service"]["exit_code"]) == ("failed", True, 1)
    assert seen["actions"] == ["reset_failed", "start"]
    assert act(container, "limit", "reset_failed")["after"]["state"] == "stopped"
    assert act(container, "limit", "reset_failed")["changed"] is False


def test_a_crash_loop_is_held_and_released(container: str) -> None:
    docker("exec", container, "systemctl", "start", "--no-block", "loop")
    assert seen_as(container, "loop", "backoff")["health"] == "sick"
    held = act(container, "loop", "hold")
    assert held["after"]["held"] is True
    assert seen_as(container, "loop", "stopped")["service"]["autorestart"] == "no"
    released = act(container, "loop", "release")
    assert (released["after"]["held"], released["after"]["autorestart"]) == (False, "always")
    assert act(container, "loop", "release")["changed"] is False


def test_a_unit_that_restarts_by_itself_counts_it_and_stays_stopped_when_stopped(container: str) -> None:
    pid = act(container, "again", "start")["after"]["pid"]
    act(container, "again", "signal", signal="KILL", force=True)
    until(lambda: look(container, "again")["service"]["pid"] not in (0, pid))
    seen = look(container, "again", restarts_before=0)
    assert seen["service"]["pid"] not in (0, pid)
    assert (seen["health"], seen["service"]["restarts"]) == ("sick", 1)
    act(container, "again", "stop")
    time.sleep(0.5)
    assert look(container, "again")["state"] == "stopped"


def test_a_start_under_way_gets_more_time(container: str) -> None:
    started = act(container, "slow", "start", timeout=1.0)
    assert (started.get("failed"), started["settled"], started["after"]["state"]) == (None, False, "starting")
    assert act(container, "slow", "extend_start_timeout", start_timeout=60.0)["after"]["start_timeout"] == 60.0
    assert seen_as(container, "slow", "running")["health"] == "well"
    assert act(container, "slow", "extend_start_timeout", start_timeout=30.0)["changed"] is False


def test_without_more_time_systemd_ends_a_slow_start(container: str) -> None:
    act(container, "slow", "stop")
    act(container, "slow", "release")
    act(container, "slow", "start", timeout=1.0)
    seen = seen_as(container, "slow", "failed")
    assert (seen["state"], seen["service"]["result"]) == ("failed", "timeout")


def test_a_wrapper_that_is_active_without_a_process_is_unknown(container: str) -> None:
    docker("exec", container, "systemctl", "start", "wrapper")
    seen = look(container, "wrapper")
    assert (seen["health"], seen["state"]) == ("unknown", "unknown")


def test_a_unit_killed_for_lack_of_memory_is_told(container: str) -> None:
    docker("exec", container, "systemctl", "start", "--no-block", "greedy")
    seen = seen_as(container, "greedy", "failed")
    if docker("exec", container, "test", "-e", "/sys/fs/cgroup/cgroup.controllers").returncode:
        # With control groups of version 1 systemd sees a SIGKILL from nowhere; that is not "no".
        assert seen["service"]["oom_killed"] is None
    else:
        assert seen["service"]["oom_killed"] is True


def test_log_lines_are_there(container: str) -> None:
    assert any("plain" in line for line in look(container, "plain", log_lines=5)["log"])


@pytest.mark.parametrize("name", ["--all", "*", "a/b", "plain.service; reboot", ""])
def test_a_name_that_may_mean_others_is_refused(container: str, name: str) -> None:
    assert "not the name of one" in act(container, name, "restart")["msg"]


def test_an_unknown_unit_is_unknown_and_not_acted_upon(container: str) -> None:
    assert look(container, "nobody")["health"] == "unknown"
    assert "has no service named" in act(container, "nobody", "restart")["msg"]


def look_as_api(container: str, service: str, url: str = "", **more: t.Any) -> dict[str, t.Any]:
    """Look as the role service_restart does: once, or until well for as long as ``timeout`` says."""
    patience = {"passes": 1, "window": 0.0, "timeout": 0.0, "wait_timeout": 0.0, "interval": 0.1, "probe_timeout": 3.0, "stage": "assess"}
    given = {key: more.pop(key) for key in ("timeout",) if key in more}
    api = {"name": "application", "kind": "application", "manager": "systemd", "service": service, "url": url, "profile": "none", **more}
    options = {**patience, **given, "checks": [api], "subject": "application", "secrets": [], "pack": False, "stands_on": "target"}
    return piped(container, "health_info", options, False)


def test_a_unit_at_its_start_limit_is_started_once_when_its_reason_is_mended(container: str) -> None:
    docker("exec", "-i", container, "tee", "/opt/api.json", given='{"a":\n')
    docker("exec", container, "systemctl", "start", "broken")
    seen_as(container, "broken", "failed")
    begun = time.monotonic()
    found = look_as_api(container, "broken", timeout=60.0)
    assert time.monotonic() - begun < 15, "nothing starts it, so there is nothing to wait for"
    assert (found["state"], found["actions"]) == ("bad_config", [])
    assert "json.decoder.JSONDecodeError: Expecting value" in found["checks"][0]["findings"][0]["text"]
    assert look_as_api(container, "broken", mended=True)["actions"] == ["reset_failed", "start"], "a person's word is enough"
    # As a person would who keeps a good copy: its time of change is old.
    docker("exec", container, "sh", "-c", "echo '{}' > /opt/good.json; touch -d 2020-01-01 /opt/good.json; mv /opt/good.json /opt/api.json")
    found = look_as_api(container, "broken")
    assert (found["state"], found["actions"]) == ("start_limit", ["reset_failed", "start"])
    assert "changed since: /opt/api.json" in found["checks"][0]["findings"][0]["text"]
    act(container, "broken", "reset_failed")
    assert act(container, "broken", "start")["after"]["state"] == "running"


def test_a_port_that_a_stranger_holds_is_named_before_any_start(container: str) -> None:
    docker("exec", "--detach", container, "python3", "-m", "http.server", "18999", "--bind", "127.0.0.1")
    pids = "".join(["pgrep", " -f ", "'http.server 18999'"])
    until(lambda: docker("exec", container, "sh", "-c", "grep -q 0100007F:4A37 /proc/net/tcp").returncode == 0)
    found = look_as_api(container, "taken", "http://127.0.0.1:18999/")
    assert (found["state"], found["actions"]) == ("port_taken", [])
    stranger = docker("exec", container, "sh", "-c", pids + " | head -1").stdout.strip()
    assert f"(pid {stranger}, user root)" in found["checks"][0]["findings"][0]["text"]
    failed = act(container, "taken", "start", timeout=6.0)
    if failed.get("failed"):
        assert "Address already in use" in failed["msg"]
