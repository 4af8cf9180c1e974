# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose project like SomaBrain's (API, long-term memory, Redis, a neighbour), and runs of restart-service on it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import typing as t
import urllib.request
from pathlib import Path

from farms.compose import Project, docker, inspected
from farms.practice import ROOT
from farms.waiting import until
from farms.warmly import PLAYBOOK, run_ansible
from somabrain_drill.ports import free_port

HERE = Path(__file__).parent
TENANT = "test"
START_SECONDS = 2
# Runs follow each other faster than a person would call; the budget has a test of its own elsewhere.
PLENTY = {"remediation_budget": {"attempts": 50, "within_seconds": 900}}
READY = {"interval": "1s", "timeout": "2s", "retries": 10, "start_period": "5s"}


def services(home: Path, ports: dict[str, int]) -> dict[str, dict[str, t.Any]]:
    """Return the project: an API with what it stands on, a neighbour, and a store whose name does not tell."""
    alive = {"test": ["CMD", "redis-cli", "ping"], **READY}
    redis = {"command": ["redis-server", "--save", "", "--protected-mode", "no"], "restart": "unless-stopped", "healthcheck": alive}
    files = [f"{HERE / 'boxed_api.py'}:/srv/boxed_api.py:ro", f"{ROOT / 'roles/lab/files/somabrain_lab'}:/srv/somabrain_lab:ro"]

    def python(word: str, port: int) -> dict[str, t.Any]:
        asks = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/health', timeout=2)"
        (home / word).mkdir(exist_ok=True)
        return {
            "command": ["python3", "-B", "/srv/boxed_api.py", word], "volumes": [*files, f"{home / word}:/state"],
            "ports": [f"127.0.0.1:{ports[word]}:{port}"], "restart": "unless-stopped",
            "healthcheck": {"test": ["CMD", "python3", "-c", asks], **READY},
        }  # fmt: skip

    stands_on = {name: {"condition": "service_healthy"} for name in ("redis", "memory")}
    return {
        "redis": {**redis, "ports": [f"127.0.0.1:{ports['redis']}:6379"]},
        "cache": redis,
        "memory": python("memory", 9595),
        "api": {**python("api", 9696), "depends_on": stands_on, "mem_limit": "64m", "memswap_limit": "64m"},
        "neighbour": {"command": ["sleep", "600"], "init": True, "restart": "always"},
    }


class Boxed:
    """The project, its API, and the runs of the playbook on it."""

    def __init__(self, home: Path) -> None:
        self.home, self.state = home, home / "api"
        self.ports = {name: free_port() for name in ("redis", "memory", "api")}
        self.project = Project(home, services(home, self.ports), alone=False)
        # What a test broke itself.
        self.touched = {"api"}

    def url(self, name: str = "api") -> str:
        return f"http://127.0.0.1:{self.ports[name]}/health"

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url(), timeout=1) as told:
            return bool(told.status == 200)
        return False

    def post(self, path: str, **body: t.Any) -> dict[str, t.Any]:
        request = urllib.request.Request(self.url().replace("/health", path), json.dumps(body).encode(), {"X-Tenant-ID": TENANT})
        with urllib.request.urlopen(request, timeout=5) as told:
            return dict(json.loads(told.read()))

    def remembers(self, task: str) -> bool:
        """Return whether a memory that was acknowledged is recalled."""
        return any(one["task"] == task for one in self.post("/recall", query=task)["results"])

    def look(self) -> dict[str, t.Any]:
        return dict(inspected(self.project.named("api"))["State"])

    def neighbours(self) -> dict[str, tuple[str, str, int]]:
        """Return container, start and process of every service that no test touched."""
        seen = {name: inspected(container) for name, container in self.project.containers().items() if name not in self.touched}
        return {name: (one["Id"], one["State"]["StartedAt"], one["State"]["Pid"]) for name, one in seen.items()}

    def say(self, name: str, process: bool = True) -> None:
        """Let the API do wrong what boxed_api.py says of *name*: the process of now, or each."""
        (self.state / name).write_text((self.state / "process").read_text() if process else "")

    def settle(self) -> None:
        """Wait until the API is no longer young: what is young is given time before it is judged."""
        until(lambda: time.time() - self.project.look("api")["service"]["started_at"] > START_SECONDS + 0.2, 10)

    def mend(self) -> None:
        for name in ("hangs", "eats", "broken", "exhausted", "stubborn"):
            (self.state / name).unlink(missing_ok=True)
        docker("unpause", self.project.named("api"))
        if pid := self.look()["Pid"]:
            os.kill(pid, signal.SIGCONT)
        if not self.answers():
            docker("restart", "--time=1", self.project.named("api"))
        until(self.answers, 20, "the API does not answer")

    def variables(self) -> dict[str, t.Any]:
        loopback = {"kind": "redis", "host": "127.0.0.1", "port": self.ports["redis"]}
        return {
            **PLENTY, "service_restart_manager": "compose", "service_restart_service": "api", "service_manager_project": self.project.name,
            "service_manager_holds_dir": str(self.project.holds), "service_restart_url": self.url(),
            "service_restart_dependencies": [{"name": "redis", **loopback}], "service_restart_ltm_url": self.url("memory"),
            "service_restart_start_seconds": START_SECONDS, "service_restart_memory_seconds": 0, "service_restart_answer_timeout": 2,
            "remediation_state_dir": str(self.home / "ledger"), "remediation_outcome_file": str(self.home / "outcome.json"),
        }  # fmt: skip

    def restart(self, *words: str, **more: t.Any) -> dict[str, t.Any]:
        """Run the playbook on this machine as its target and return its outcome, with the exit code as ``code``."""
        given = json.dumps({**self.variables(), "restart_service_hosts": "machine", "ansible_connection": "local", **more})
        outcome = self.home / "outcome.json"
        outcome.unlink(missing_ok=True)
        command = [str(PLAYBOOK), "playbooks/restart-service.yml", "-i", "machine,", "-e", given, *words]
        done = run_ansible(command, cwd=ROOT)
        assert outcome.exists(), done.stdout + done.stderr
        return {**json.loads(outcome.read_text()), "code": done.returncode, "screen": done.stdout}
