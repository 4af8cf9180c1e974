# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine with systemd and an sshd of its own, in a container: an API and its memory as units, and runs of restart-service on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
import urllib.request
import uuid
from pathlib import Path

from farms.compose import IMAGE, docker
from farms.practice import ROOT
from farms.waiting import until
from farms.warmly import PLAYBOOK, run_ansible
from somabrain_drill.ports import free_port

HERE = Path(__file__).parent
FLAGS = (
    "--cap-add=SYS_ADMIN --cap-add=SYS_PTRACE --security-opt=seccomp=unconfined --security-opt=apparmor=unconfined --cgroupns=host"
    " --volume=/sys/fs/cgroup:/sys/fs/cgroup:rw --tmpfs=/run --tmpfs=/run/lock --env=container=docker --add-host=memory:127.0.0.1"
)
UNIT = """[Unit]
After=network.target
[Service]
ExecStart=/usr/bin/python3 -B /srv/boxed_api.py {word}
{more}
[Install]
WantedBy=multi-user.target
"""
START_SECONDS = 2
LEDGER = "/var/lib/somabrain/incident_response"
# Runs follow each other faster than a person would call; the budget has a test of its own elsewhere.
PLENTY = {"remediation_budget": {"attempts": 50, "within_seconds": 900}}
PACKAGE = "ansible_collections/somabrain/incident_response"
LOOK = (
    "import json, sys; sys.path.insert(0, '/opt');"
    "from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look;"
    "print(json.dumps(look.run_checks(look.validated([json.loads(sys.argv[1])], 15.0), 'target')[0]))"
)
COUNT = (
    "import sqlite3, sys; ledger = sqlite3.connect(sys.argv[1]);"
    "print(ledger.execute('select count(*) from journal where kind=?', sys.argv[2:]).fetchone()[0])"
)


def why_not() -> str:
    """Return why this machine has no such machine to offer, "" where it has."""
    if not shutil.which("docker") or docker("image", "inspect", IMAGE).returncode:
        return f"no Docker engine with the image {IMAGE}; SOMABRAIN_SYSTEMD_IMAGE names another"
    if not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        return "no ssh is installed (openssh-client)"
    return "" if docker("run", "--rm", IMAGE, "test", "-x", "/usr/sbin/sshd").returncode == 0 else f"the image {IMAGE} has no sshd"


class Machine:
    """The container, its units, and what Ansible needs to come to it; ``end`` removes it."""

    def __init__(self, home: Path) -> None:
        self.home, self.name = home, f"somabrain-machine-{uuid.uuid4().hex[:8]}"
        self.ssh, self.api = free_port(), free_port()
        # The name of a socket may not be long.
        self.sockets = tempfile.mkdtemp(prefix="sb-", dir="/tmp")
        label = "--label=somabrain-test-run=" + os.environ.get("SOMABRAIN_TEST_RUN", "by-hand")
        files = [f"--volume={HERE / 'boxed_api.py'}:/srv/boxed_api.py:ro"]
        files.append(f"--volume={HERE / 'answerer.py'}:/srv/answerer.py:ro")
        files.append(f"--volume={ROOT / 'plugins'}:/opt/{PACKAGE}/plugins:ro")
        files.append(f"--volume={ROOT / 'roles/lab/files/somabrain_lab'}:/srv/somabrain_lab:ro")
        ports = [f"--publish=127.0.0.1:{self.ssh}:22", f"--publish=127.0.0.1:{self.api}:9696"]
        done = docker("run", "--detach", f"--name={self.name}", label, *FLAGS.split(), *files, *ports, IMAGE, "/lib/systemd/systemd")
        assert done.returncode == 0, done.stderr

    def begin(self) -> None:
        """Wait until it is up, let us in by a key, and start its units."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.home / "id")], check=True)
        self.write("/root/.ssh/authorized_keys", (self.home / "id.pub").read_text())
        until(lambda: self.systemctl("is-system-running") in ("running", "degraded"), 90, "systemd does not come up")
        host_key = " ".join(self.must("cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
        (self.home / "known").write_text(f"[127.0.0.1]:{self.ssh} {host_key}\n")
        for word, more in (("memory", "Restart=always"), ("api", "MemoryMax=64M\nMemorySwapMax=0")):
            self.write(f"/etc/systemd/system/boxed-{word}.service", UNIT.format(word=word, more=more))
        self.must("mkdir", "-p", "/state")
        self.systemctl("daemon-reload")
        self.systemctl("enable", "--now", "boxed-memory", "boxed-api")
        until(self.answers, 30, "the API does not answer")

    def end(self) -> None:
        docker("rm", "--force", self.name)
        shutil.rmtree(self.sockets)

    def must(self, *words: str, given: str = "") -> str:
        command = ["docker", "exec", "-i", self.name, *words]
        return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=True).stdout

    def write(self, path: str, text: str) -> None:
        self.must("mkdir", "-p", "-m", "700", str(Path(path).parent)) if path.startswith("/root") else None
        self.must("tee", path, given=text)

    def systemctl(self, *words: str) -> str:
        return docker("exec", self.name, "systemctl", *words).stdout.strip()

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.api}/health", timeout=1) as told:
            return bool(told.status == 200)
        return False

    def post(self, path: str, **body: t.Any) -> dict[str, t.Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.api}{path}", json.dumps(body).encode(), {"X-Tenant-ID": "test"})
        with urllib.request.urlopen(request, timeout=5) as told:
            return dict(json.loads(told.read()))

    def remembers(self, task: str) -> bool:
        return any(one["task"] == task for one in self.post("/recall", query=task)["results"])

    def process(self, unit: str = "boxed-api") -> str:
        """Return what tells the unit's process from every other."""
        return self.systemctl("show", "--property=MainPID,ExecMainStartTimestampMonotonic", unit)

    def say(self, name: str) -> None:
        """Let the API that runs now do wrong what boxed_api.py says of *name*."""
        self.must("cp", "/state/process", f"/state/{name}")

    def unit(self, name: str, command: str, more: str = "", of_unit: str = "") -> None:
        """Make a unit of that name and start it, as far as it starts."""
        text = f"[Unit]\n{of_unit}\n[Service]\nExecStart={command}\n{more}\n"
        self.write(f"/etc/systemd/system/{name}.service", text)
        self.systemctl("daemon-reload")
        self.systemctl("start", name)

    def look(self, service: str, url: str, **more: t.Any) -> dict[str, t.Any]:
        """Return one look at a unit as an application, made on the machine."""
        check = {"kind": "application", "manager": "systemd", "service": service, "url": url, "profile": "none", "start_seconds": 0.5}
        told = self.must("python3", "-B", "-c", LOOK, json.dumps({**check, "answer_timeout": 1, **more}))
        return dict(json.loads(told))

    def settle(self) -> None:
        """Make the API sound, and wait until it is no longer young."""
        self.must("sh", "-c", "rm -f /state/hangs /state/eats /state/stubborn")
        if not self.answers():
            self.systemctl("reset-failed", "boxed-api")
            self.systemctl("kill", "--signal=SIGKILL", "boxed-api")
            self.systemctl("start", "boxed-api")
        until(self.answers, 30, "the API does not answer")
        time.sleep(START_SECONDS + 0.2)

    def journal(self, kind: str) -> int:
        """Return how many records of *kind* the machine's ledger has, 0 where that cannot be read now."""
        said = docker("exec", self.name, "python3", "-c", COUNT, f"{LEDGER}/ledger.sqlite", kind).stdout.strip()
        return int(said) if said.isdigit() else 0

    def command(self, playbook: str = "restart-service", **more: t.Any) -> list[str]:
        options = f"-o UserKnownHostsFile={self.home}/known -o IdentitiesOnly=yes -o ControlPath={self.sockets}/%C"
        given = {
            **PLENTY, "restart_service_hosts": "machine", "show_history_hosts": "machine", "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1", "ansible_port": self.ssh, "ansible_user": "root", "ansible_ssh_common_args": options,
            "ansible_ssh_private_key_file": str(self.home / "id"), "ansible_python_interpreter": "/usr/bin/python3",
            "service_restart_service": "boxed-api", "service_restart_ltm_url": "http://127.0.0.1:9595/health",
            "service_restart_start_seconds": START_SECONDS, "remediation_outcome_file": str(self.home / "outcome.json"), **more,
        }  # fmt: skip
        return [str(PLAYBOOK), f"playbooks/{playbook}.yml", "-i", "machine,", "-e", json.dumps(given)]

    def restart(self, **more: t.Any) -> dict[str, t.Any]:
        """Run the playbook on the machine and return its outcome, with exit code and screen."""
        (self.home / "outcome.json").unlink(missing_ok=True)
        done = run_ansible(self.command(**more), cwd=ROOT, timeout=240)
        return self.told(done.returncode, done.stdout + done.stderr)

    def told(self, code: int, screen: str) -> dict[str, t.Any]:
        outcome = self.home / "outcome.json"
        assert outcome.exists(), screen
        return {**json.loads(outcome.read_text()), "code": code, "screen": screen}


@contextlib.contextmanager
def a_machine(home: Path) -> t.Iterator[Machine]:
    machine = Machine(home)
    try:
        machine.begin()
        yield machine
    finally:
        machine.end()
