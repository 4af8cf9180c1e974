# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Compose project whose API is released: images by their id, under a tag that moves with each deployment."""

from __future__ import annotations

import json
import typing as t
import uuid
from pathlib import Path

from farms import playing
from farms.compose import IMAGE, POLITE, REDIS, SOCKET, Project, docker, inspected

TENANT = {"redis": {"command": REDIS, "restart": "unless-stopped"}}
CHECK = ["CMD", "test", "-e", "/tmp/well"]
GOOD = f"open('/tmp/well', 'w').close()\n{POLITE}"
BAD: dict[str, str] = {
    "unhealthy": POLITE,
    "ends at once": "raise SystemExit(3)",
    "stubborn": "import signal,time; signal.signal(15, signal.SIG_IGN); time.sleep(600)",
}


class Shop:
    """A project whose service `api` runs what the tag means, with a healthcheck that only a good release passes."""

    def __init__(self, home: Path) -> None:
        self.tag = f"somabrain-release-{uuid.uuid4().hex[:8]}:live"
        check = {"test": CHECK, "interval": "1s", "timeout": "2s", "retries": 2, "start_period": "1s"}
        self.project = Project(home, {**TENANT, "api": {"image": self.tag, "restart": "always", "healthcheck": check}})
        # Deployed as in production: with a second file and an environment file, which Compose finds only where it is told.
        (home / "production.yml").write_text(json.dumps({"services": {"api": {"environment": {"MODE": "${MODE:-none}"}}}}))
        (home / "production.env").write_text("MODE=production\n")
        self.files = ["-f", str(home / "compose.yml"), "-f", str(home / "production.yml"), "--env-file", str(home / "production.env")]
        self.images: list[str] = []
        self.good = self.release(GOOD)
        self.outcome_file = home / "outcome.json"

    def release(self, program: str) -> str:
        """Build a release and let the tag mean it; return its id."""
        made = docker("create", IMAGE).stdout.strip()
        words = json.dumps(["python3", "-c", program])
        built = docker("commit", "--change", f"CMD {words}", made, self.tag)
        docker("rm", made)
        assert built.returncode == 0, built.stderr
        self.images.append(built.stdout.strip())
        return self.images[-1]

    def deploy(self, program: str) -> str:
        """Deploy as a person does: build under the same tag, and let Compose take it up."""
        release = self.release(program)
        (self.project.home / "compose.release.yml").unlink(missing_ok=True)
        done = self.project.compose(*self.files, "up", "--detach", "api")
        assert done.returncode == 0, done.stderr
        assert self.runs() == release
        return release

    def runs(self) -> str:
        return str(inspected(self.project.named("api"))["Image"])

    def mode(self) -> str:
        """Return what the container's environment got from the second file and the environment file."""
        return next((one for one in inspected(self.project.named("api"))["Config"]["Env"] if one.startswith("MODE=")), "")

    def run(self, name: str, *words: str, **more: t.Any) -> dict[str, t.Any]:
        given = {
            "service_restart_manager": "compose",
            "service_restart_service": "api",
            "service_restart_url": "",
            "service_restart_round_trip": "",
            "service_restart_working_memory": False,
            "service_restart_start_seconds": 10,
            "service_restart_memory_seconds": 0,
            "service_restart_stop_timeout": 2,
            "service_manager_project": self.project.name,
            "service_manager_docker_socket": SOCKET,
            "rollback_hosts": "all",
            "record_release_hosts": "all",
            "remediation_state_dir": str(self.project.home / "state"),
            "remediation_budget": {"attempts": 50, "within_seconds": 900},
            **more,
        }
        return playing.run_playbook(self.project.home, name, given, *words)

    def begin(self) -> None:
        """Start the good release, and record it."""
        done = self.project.compose(*self.files, "up", "--detach")
        assert done.returncode == 0, done.stderr
        recorded = self.run("record-release")
        assert (recorded["outcome"], recorded["code"]) == ("nothing_to_do", 0), recorded

    def end(self) -> None:
        self.project.end()
        for image in self.images:
            docker("rmi", "--force", image)
