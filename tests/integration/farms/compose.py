# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Compose project on a real Docker Engine, for the tests of its manager: services of every fate."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
import uuid
from pathlib import Path

import yaml

from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import service_control, service_info

IMAGE = os.environ.get("SOMABRAIN_SYSTEMD_IMAGE", "somabrain-test-systemd")
SOCKET = "unix:///var/run/docker.sock"
# Ends when it is asked to, and says so: after a SIGKILL that line is missing.
POLITE = (
    "import signal,sys,time\n"
    "signal.signal(15, lambda *a: (print('ended in good order', flush=True), sys.exit(0)))\n"
    "signal.signal(1, lambda *a: print('read its configuration', flush=True))\n"
    "print('ready', flush=True)\n"
    "while True: time.sleep(0.2)"
)
# Docker hears of a lack of memory by an event that it asks for once the process has begun: one that ends in that moment is not told of.
GREEDY = "import time; time.sleep(1); a = bytearray(300_000_000)"
STUBBORN = "import signal,time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
CHECKED = {"test": ["CMD", "test", "-e", "/tmp/well"], "interval": "1s", "timeout": "2s", "retries": 2, "start_period": "20s"}
REDIS = ["redis-server", "--port", "0", "--unixsocket", "/tmp/redis.sock", "--save", ""]


def services() -> dict[str, dict[str, t.Any]]:
    """Return the services of the project: what differs from a plain container that says nothing to the network."""
    alive = {"test": ["CMD", "redis-cli", "-s", "/tmp/redis.sock", "ping"], "interval": "1s", "timeout": "2s", "retries": 5}
    return {
        "redis": {"command": REDIS, "restart": "unless-stopped", "healthcheck": alive},
        "api": {"command": ["python3", "-c", POLITE], "restart": "always", "depends_on": {"redis": {"condition": "service_healthy"}}},
        "plain": {"command": ["python3", "-c", POLITE]},
        "unless": {"command": ["python3", "-c", POLITE], "restart": "unless-stopped"},
        "stubborn": {"command": ["python3", "-c", STUBBORN], "stop_grace_period": "1s", "restart": "always"},
        "loop": {"command": ["false"], "restart": "always"},
        "given-up": {"command": ["sh", "-c", "exit 7"], "restart": "on-failure:2"},
        "greedy": {"command": ["python3", "-c", GREEDY], "mem_limit": "30m", "memswap_limit": "30m"},
        "checked": {"command": ["sleep", "600"], "healthcheck": CHECKED, "init": True},
        "two": {"command": ["python3", "-c", POLITE], "deploy": {"replicas": 2}},
        "terminal": {"command": ["sh", "-c", "echo seen; sleep 600"], "tty": True, "stop_signal": "SIGKILL"},
    }


class Project:
    """One Compose project in a directory of its own; ``end`` removes its containers and its network, and nothing else.

    With ``alone`` its services say nothing to any network.
    """

    def __init__(self, home: Path, given: dict[str, dict[str, t.Any]], alone: bool = True) -> None:
        self.home, self.name, self.given, self.alone = home, f"sbt{uuid.uuid4().hex[:8]}", given, alone
        self.holds = home / "holds"
        self.write()

    def write(self) -> None:
        label = {"somabrain-test-run": os.environ.get("SOMABRAIN_TEST_RUN", "by-hand")}
        base = {"image": IMAGE, "stop_signal": "SIGTERM", "labels": label, "pull_policy": "never"}
        base.update({"network_mode": "none"} if self.alone else {})
        (self.home / "compose.yml").write_text(yaml.safe_dump({"services": {name: {**base, **more} for name, more in self.given.items()}}))

    def compose(self, *words: str) -> subprocess.CompletedProcess[str]:
        return docker("compose", "--project-directory", str(self.home), "--project-name", self.name, *words, timeout=180)

    def containers(self) -> dict[str, str]:
        """Return the container id of every service that has one container."""
        listed = docker(
            "ps", "--all", "--no-trunc", f"--filter=label=com.docker.compose.project={self.name}",
            '--format={{.Label "com.docker.compose.service"}} {{.ID}}',
        )  # fmt: skip
        return dict(t.cast("tuple[str, str]", line.split()) for line in listed.stdout.splitlines())

    def named(self, service: str) -> str:
        return f"{self.name}-{service}-1"

    def end(self) -> None:
        ids = docker("ps", "--all", "--quiet", f"--filter=label=com.docker.compose.project={self.name}").stdout.split()
        if ids:
            docker("rm", "--force", *ids)
        if not self.alone:
            docker("network", "rm", f"{self.name}_default")

    def options(self, name: str) -> dict[str, t.Any]:
        blank = {"scope": "system", "supervisor_url": "", "supervisor_username": None, "supervisor_password": None, "replica": None}
        ours = {"manager": "compose", "project": self.name, "docker_socket": SOCKET, "holds_dir": str(self.holds)}
        return {**blank, **ours, "name": name}

    def look(self, name: str, **more: t.Any) -> dict[str, t.Any]:
        patience = {"passes": 1, "window": 0.0, "timeout": 0.0, "wait_timeout": 0.0, "interval": 0.1, "probe_timeout": 5.0}
        return service_info.run(
            {**self.options(name), **patience, "stage": "assess", "restarts_before": None, "log_lines": 0, **more}, False
        )

    def act(self, name: str, action: str, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        given = {"action": action, "signal": None, "timeout": 20.0, "stop_timeout": None, "start_timeout": None, "wait_for": "running"}
        return service_control.run({**self.options(name), **given, "force": False, "only": {}, "stage": "act", **more}, check)


def docker(*words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout, check=False)


def inspected(container: str) -> dict[str, t.Any]:
    return dict(json.loads(docker("inspect", container).stdout)[0])


def why_not() -> str:
    """Return why this machine has no Compose project to offer, "" where it has."""
    if not shutil.which("docker") or docker("image", "inspect", IMAGE).returncode:
        return f"no Docker engine with the image {IMAGE}; SOMABRAIN_SYSTEMD_IMAGE names another"
    return "docker compose is not installed" if docker("compose", "version").returncode else ""
