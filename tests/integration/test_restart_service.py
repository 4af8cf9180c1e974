# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's API, broken in each way that its kind breaks: restarted where that helps, refused by name where it does not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
import typing as t
import urllib.request
from pathlib import Path

import pytest
from farms.practice import Practice, practising
from farms.warmly import PLAYBOOK
from somabrain_drill.ports import free_port
from somabrain_drill.target import start_ticks, until
from somabrain_lab.supervisor import Supervisor

pytestmark = [
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
    pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), reason="PostgreSQL is not installed"),
    pytest.mark.skipif(not PLAYBOOK.exists(), reason="no ansible-playbook beside this Python"),
]
# Tests follow each other faster than a person would call; the budget has a test of its own.
PLENTY = {"remediation_budget": {"attempts": 50, "within_seconds": 900}}


class Api:
    """The API of a lab, its neighbours, and the faults that it may have."""

    def __init__(self, practice: Practice) -> None:
        self.practice = practice
        self.supervisor = Supervisor(practice.lab)
        self.faults = practice.lab / "api_faults.json"

    def pid(self, name: str = "api") -> int:
        return int(self.supervisor.programs()[name]["pid"])

    def process(self, name: str = "api") -> tuple[int, int]:
        return self.pid(name), start_ticks(self.pid(name))

    def neighbours(self) -> list[tuple[int, int]]:
        return [self.process(name) for name in ("ltm", "postgres", "redis")]

    def fault(self, lasting: bool = False, **words: t.Any) -> None:
        """Give the API a fault: of this process, or of every one where *lasting*."""
        self.faults.write_text(json.dumps({**words, **({} if lasting else {"pid": self.pid()})}))

    @contextlib.contextmanager
    def without(self, name: str) -> t.Iterator[None]:
        self.supervisor.call.stopProcess(name)
        try:
            yield
        finally:
            self.supervisor.start(name)

    def restart(self, *words: str, name: str = "somabrain", **variables: t.Any) -> dict[str, t.Any]:
        return self.practice.run("restart-service", *words, **{"service_restart_name": name, **PLENTY, **variables})


@pytest.fixture(scope="module")
def practice() -> t.Iterator[Practice]:
    with practising() as one:
        yield one


@pytest.fixture
def api(practice: Practice) -> t.Iterator[Api]:
    one = Api(practice)
    until(lambda: is_up(one), 20, "the lab is not up")
    neighbours = one.neighbours()
    yield one
    one.faults.unlink(missing_ok=True)
    with contextlib.suppress(ProcessLookupError):
        os.kill(one.pid(), signal.SIGCONT)
    one.supervisor.start("api")
    # What a test stopped itself is another process; all else is the same.
    assert len(set(neighbours) & set(one.neighbours())) >= 2


def is_up(api: Api) -> bool:
    """Whether the API runs and answers, so that what follows begins with a sound one."""
    port = api.practice.ports["api"]
    return api.supervisor.running() == {"api", "ltm", "postgres", "redis"} and answers(port, "/health")


def first_reason(outcome: t.Mapping[str, t.Any]) -> str:
    return str(outcome["reasons"][0]["code"])


def test_a_well_api_is_left_alone(api: Api) -> None:
    before = api.process()
    outcome = api.restart()
    assert (outcome["outcome"], outcome["code"], api.process()) == ("nothing_to_do", 0, before)


def test_a_suspended_api_goes_on_as_the_same_process(api: Api) -> None:
    before = api.process()
    os.kill(api.pid(), signal.SIGSTOP)
    outcome = api.restart()
    assert (outcome["outcome"], outcome["code"], outcome["before"]["state"]) == ("recovered", 0, "suspended")
    assert (api.process(), outcome["loss"]["count"], outcome["loss"]["text"]) == (before, 0, "")


SICK: dict[str, tuple[dict[str, t.Any], str]] = {
    "hung": ({"hang": True}, "hung"),
    "an answer of another kind": ({"paths": ["/health"], "status": 200, "body": "<html>fine</html>"}, "wrong_body"),
    "server errors": ({"paths": ["/health"], "status": 500, "body": "no"}, "erroring"),
    "green, but forgetful": ({"paths": ["/recall"], "status": 200, "body": {"results": [], "wm": [], "memory": []}}, "not_remembering"),
}


@pytest.mark.parametrize(("fault", "state"), SICK.values(), ids=list(SICK))
def test_a_sick_api_is_rehearsed_then_replaced_and_says_what_a_restart_takes(api: Api, fault: dict[str, t.Any], state: str) -> None:
    if state == "wrong_body":
        # Only what is known to have answered in its format is to blame for another one; else our URL or profile may be wrong.
        assert api.restart()["outcome"] == "nothing_to_do"
    api.fault(**fault)
    before, neighbours = api.process(), api.neighbours()
    if state == "hung":
        assert (api.restart("--check")["outcome"], api.process()) == ("rehearsed", before)
    outcome = api.restart()
    assert (outcome["outcome"], outcome["code"], outcome["before"]["state"]) == ("recovered", 0, state), outcome
    assert (outcome["loss"]["count"], api.process() == before, api.neighbours()) == (0, False, neighbours)
    assert "working memory" in outcome["loss"]["text"]


STUBBORN = """
import http.server, os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        while os.path.exists(sys.argv[2]) and open(sys.argv[2]).read() == str(os.getpid()):
            time.sleep(0.1)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def stubborn(api: Api) -> t.Iterator[tuple[int, Path]]:
    """A service of another kind that answers plain HTTP and never ends when it is asked to; while the file has its pid it hangs."""
    port, lab = free_port(), api.practice.lab
    script, hangs, config = lab / "stubborn.py", lab / "hangs", lab / "etc/supervisord.conf"
    script.write_text(STUBBORN)
    kept = config.read_text()
    program = f"command={sys.executable} {script} {port} {hangs}\nstopwaitsecs=1"
    config.write_text(f"{kept}\n[program:stubborn]\n{program}\nstartsecs=1\nstdout_logfile={lab}/logs/stubborn.out\n")
    api.supervisor.adopt()
    until(lambda: "stubborn" in api.supervisor.running(), 10, "it does not start")
    yield port, hangs
    config.write_text(kept)
    api.supervisor.adopt()


def test_any_service_that_does_not_end_is_ended_by_force_behind_a_gate_of_its_own(api: Api, stubborn: tuple[int, Path]) -> None:
    port, hangs = stubborn
    until(lambda: answers(port), 10, "it does not answer")
    before = api.process("stubborn")
    hangs.write_text(str(before[0]))
    outcome = api.restart(
        name="stubborn", service_restart_url=f"http://127.0.0.1:{port}/", service_restart_profile="none", service_restart_round_trip="",
        service_restart_working_memory=False, service_restart_ignore_gates=[], service_restart_stop_timeout=2,
        service_restart_start_seconds=0,
    )  # fmt: skip
    assert (outcome["outcome"], outcome["before"]["state"], api.process("stubborn") == before) == ("recovered", "hung", False), outcome
    assert [one["action"] for one in outcome["acts"]] == ["restart", "force"], outcome


def answers(port: int, path: str = "/") -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as told:
        return bool(told.status == 200)
    return False


def test_what_no_restart_cures_is_refused_and_stays_as_it_is(api: Api) -> None:
    before = api.process()
    api.fault(lasting=True, paths=["/health"], delay_seconds=1.5)
    slow = api.restart()
    api.faults.unlink()
    assert (slow["outcome"], slow["before"]["state"], first_reason(slow)) == ("refused", "slow", "state_not_handled")
    for name, code in (("no-such-program", "no_such_service"), ("redis", "stateful_service"), ("postgres", "stateful_service")):
        outcome = api.restart(name=name)
        assert (outcome["outcome"], first_reason(outcome), outcome["code"] > 0) == ("refused", code, True), outcome
    assert "recover-database.yml" in json.dumps(outcome["reasons"])
    assert api.process() == before


def test_what_it_stands_on_comes_first_and_the_next_command_is_the_one_that_recovers_it(api: Api) -> None:
    before = api.process()
    with api.without("redis"):
        outcome = api.restart()
    assert (outcome["outcome"], first_reason(outcome), api.process()) == ("refused", "dependency_down", before)
    assert "recover-redis.yml" in outcome["reasons"][0]["next_command"]


def test_without_the_long_term_memory_a_restart_needs_an_approval_and_its_loss_is_unknown(api: Api) -> None:
    with api.without("ltm"):
        api.fault(hang=True)
        before = api.process()
        asked = api.restart()
        assert (asked["outcome"], first_reason(asked), api.process()) == ("refused", "approval_needed", before), asked
        token = asked["reasons"][0]["plans"][0]["token"]
        outcome = api.restart(remediation_approval=token)
    assert api.process() != before
    assert (outcome["outcome"], outcome["loss"]["count"], outcome["loss"]["approved"]) == ("recovered_with_loss", None, True), outcome
    assert outcome["acts"][0]["action"] == "restart"


@pytest.fixture
def endless(api: Api) -> t.Iterator[None]:
    """supervisord starts the API again for as long as the test runs, and counts no start as a success, however slow this machine is.

    With its own limits it would give up after four ends within a second, and never where Python needs longer than that to end.
    """
    config = api.practice.lab / "etc/supervisord.conf"
    kept = config.read_text()
    head, program = kept.split("[program:api]\n")
    config.write_text(f"{head}[program:api]\nstartretries=1000\n{program.replace('startsecs=1', 'startsecs=60', 1)}")
    api.supervisor.adopt()
    until(lambda: answers(api.practice.ports["api"], "/health"), 20, "the API does not answer")
    yield
    config.write_text(kept)
    api.supervisor.adopt()


@pytest.mark.usefixtures("endless")
def test_an_api_that_ends_as_soon_as_it_starts_is_refused_and_not_started_once_more(api: Api, practice: Practice) -> None:
    config, log = practice.lab / "etc/standin.json", practice.lab / "logs/api.out"
    kept, begun = config.read_text(), log.stat().st_size
    try:
        config.write_text("{")
        os.kill(api.pid(), signal.SIGKILL)
        until(lambda: log.read_bytes()[begun:].count(b"Traceback") >= 3, 60, "it does not loop")
        outcome = api.restart()
    finally:
        config.write_text(kept)
    assert (outcome["outcome"], first_reason(outcome)) == ("refused", "config_broken"), outcome
    assert "JSONDecodeError" in outcome["reasons"][0]["text"]
    # In between two ends it looks as if it were on its way.
    assert {act["action"] for act in outcome["acts"]} <= {"wait"}


def test_a_stopped_api_is_started_and_one_that_flaps_is_not_started_again(api: Api) -> None:
    # One that began with its long-term memory.
    api.supervisor.call.stopProcess("api")
    api.supervisor.start("api")
    api.supervisor.call.stopProcess("api")
    outcome = api.restart()
    assert (outcome["outcome"], outcome["before"]["state"]) == ("recovered", "stopped"), outcome
    assert (outcome["loss"]["count"], outcome["loss"]["exact"]) == (0, True)
    # While it was away, memories may have been acknowledged that only the dead process had.
    # What starts within ten seconds of each other counts as started together.
    begun = api.supervisor.programs()["api"]["start"]
    until(lambda: time.time() > begun + 12, 20, "the clock stands still")
    with api.without("ltm"):
        pass
    api.supervisor.call.stopProcess("api")
    outcome = api.restart()
    assert (outcome["outcome"], outcome["loss"]["count"], outcome["loss"]["approved"]) == ("recovered_with_loss", None, False), outcome
    api.supervisor.call.stopProcess("api")
    outcome = api.restart(remediation_budget={"attempts": 1, "recoveries": 1, "within_seconds": 900})
    assert (outcome["outcome"], first_reason(outcome)) == ("refused", "flapping"), outcome
