# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restart-service over ssh on a machine with systemd: the kernel ends the API for its memory; the machine is restarted in the middle."""

from __future__ import annotations

import contextlib
import subprocess
import typing as t
import urllib.request

import pytest
from farms.compose import docker
from farms.practice import ROOT
from farms.systemd import Machine, a_machine, why_not
from farms.waiting import until

# The next run waits until an act of the dead one is surely over.
SHORT = {"restart": 25, "force": 25, "start": 25, "wait": 25, "other": 10}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Machine]:
    if why_not():
        pytest.skip(why_not())
    with a_machine(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture
def machine(whole: Machine) -> Machine:
    """The machine with a sound API, proven well once, so that the ledger knows what there was."""
    whole.settle()
    outcome = whole.restart(service_restart_memory_seconds=0)
    assert outcome["outcome"] == "nothing_to_do", outcome["screen"]
    return whole


def test_an_api_that_the_kernel_ends_for_its_memory_is_refused_and_stays_down(machine: Machine) -> None:
    if "WARNING: No memory limit support" in docker("info").stderr:
        pytest.skip("this kernel gives units no memory limit")
    neighbour = machine.process("boxed-memory")
    machine.say("eats")
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{machine.api}/health", timeout=20):
        pass
    until(lambda: machine.systemctl("is-active", "boxed-api") == "failed", 30, "the kernel does not end it")
    outcome = machine.restart()
    assert (outcome["outcome"], outcome["reasons"][0]["code"], outcome["code"] > 0) == ("refused", "out_of_memory", True), outcome["screen"]
    assert (outcome["acts"], machine.systemctl("is-active", "boxed-api")) == ([], "failed")
    assert machine.process("boxed-memory") == neighbour


ANSWERS = "/usr/bin/python3 -B /srv/answerer.py"
UNITS = {
    "idle": "/bin/sleep infinity",
    "plain": f"{ANSWERS} 7000", "workers": f"{ANSWERS} 7001 workers", "forks": f"{ANSWERS} 7002 forks",
    "elsewhere": f"{ANSWERS} 7010 elsewhere",
    "dragonfly": f"{ANSWERS} 7005 hangs", "keeps": f"{ANSWERS} 7006 holds /var/lib/keeps/0001.dat",
    "caches": f"{ANSWERS} 7007 sqlite /var/lib/keeps/cache.db", "taken": f"{ANSWERS} 7000",
}  # fmt: skip
WHOSE: dict[str, tuple[str, int, dict[str, t.Any], str, str, bool]] = {
    "its own": ("plain", 7000, {}, "up", "", False),
    "its worker's": ("workers", 7001, {}, "up", "", False),
    "its own, with no main process that systemd knows": ("forks", 7002, {}, "up", "", False),
    "given by a socket unit": ("given", 7004, {}, "up", "", False),
    "a stranger's": ("idle", 7000, {}, "not_its_port", "of plain.service", False),
    "a socket unit's of another": ("idle", 7004, {}, "not_its_port", "held by systemd (pid 1", False),
    "a proxy's, for one that listens": ("workers", 7000, {"behind_proxy": True}, "up", "", False),
    "a proxy's, for one that listens nowhere": ("idle", 7000, {"behind_proxy": True}, "not_its_port", "idle listens nowhere", False),
    "nobody's, and it listens elsewhere": ("elsewhere", 7010, {}, "bad_input", "elsewhere itself listens on 7011", False),
    "a store's that hangs": ("dragonfly", 7005, {}, "stateful", "stateful service", False),
    "a program's that hangs with data open": ("keeps", 7006, {}, "stateful", "/var/lib/keeps/0001.dat", False),
    "that program's, which a person knows": ("keeps", 7006, {"stateless": ["keeps"]}, "hung", "", True),
    "an API's that hangs with SQLite": ("caches", 7007, {}, "hung", "", True),
    "the port of one that did not start": ("taken", 7000, {}, "port_taken", "held by python3", False),
}  # fmt: skip


@pytest.fixture(scope="module")
def units(whole: Machine) -> Machine:
    """The machine with services that answer in every way."""
    whole.must("mkdir", "-p", "/var/lib/keeps")
    whole.write("/etc/systemd/system/given.socket", "[Socket]\nListenStream=127.0.0.1:7004\n")
    for name, command in UNITS.items():
        whole.unit(name, command, "Type=forking\nGuessMainPID=no" if name == "forks" else "")
    whole.write("/etc/systemd/system/given.service", f"[Service]\nExecStart={ANSWERS} 7004 activated\n")
    whole.systemctl("daemon-reload")
    whole.systemctl("start", "given.socket", "given.service")
    until(lambda: whole.look("caches", "http://127.0.0.1:7007/")["state"] == "hung", 30, "they do not start")
    return whole


@pytest.mark.parametrize(("unit", "number", "more", "state", "told", "restarts"), WHOSE.values(), ids=list(WHOSE))
def test_who_answers_is_who_is_meant(
    units: Machine, unit: str, number: int, more: dict[str, t.Any], state: str, told: str, restarts: bool
) -> None:
    seen = units.look(unit, f"http://127.0.0.1:{number}/", **more)
    assert (seen["state"], "restart" in seen["actions"]) == (state, restarts), seen
    assert told in seen["findings"][0]["text"], seen


def test_a_machine_that_is_restarted_in_the_middle_of_an_act_ends_red_and_the_next_run_ends_right(machine: Machine) -> None:
    tasks = [f"memory number {number} of before the restart" for number in range(20)]
    for task in tasks:
        assert machine.post("/remember", payload={"task": task, "content": task})["ok"] is True
    # It does not end when it is asked to, so the act is under way for a while.
    machine.say("stubborn")
    machine.say("hangs")
    begun, opened = machine.journal("begin"), machine.journal("open")
    (machine.home / "outcome.json").unlink()
    with (machine.home / "screen.log").open("w+") as screen:
        run = subprocess.Popen(machine.command(service_restart_deadlines=SHORT), cwd=ROOT, stdout=screen, stderr=subprocess.STDOUT)
        try:
            until(lambda: machine.journal("begin") > begun or run.poll() is not None, 90, "no act was begun")
            assert run.poll() is None
            docker("restart", "--time=2", machine.name)
            code = run.wait(240)
        finally:
            run.kill()
        screen.seek(0)
        first = machine.told(code, screen.read())
    # Whether the connection goes first or what it carried is a race of the shutdown; both are red.
    assert (first["outcome"] in ("unproven", "failed"), first["code"] > 0) == (True, True), first["screen"]
    until(machine.answers, 60, "the machine does not come up again")
    assert machine.journal("begin") == begun + 1
    second = machine.restart()
    assert (second["outcome"], second["code"]) in (("nothing_to_do", 0), ("recovered", 0)), second["screen"]
    assert machine.journal("open") == opened + 2
    assert [task for task in tasks if not machine.remembers(task)] == []
    # The chain of the journal is whole.
    shown = subprocess.run(machine.command("show-history"), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert shown.returncode == 0, shown.stdout
    assert second["run_id"] in shown.stdout
