# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The setting of the benchmarks: Redis under a supervisor, an ssh server on loopback with its own keys, and the programs of both sides.

Everything lives in one directory under /tmp, on free ports of loopback, and is ended by the process that started it.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("tests/integration", "roles/drill/files", "playbooks/collections")]

from farms.redis import BIN, Farm, Redis  # noqa: E402
from measure import say  # noqa: E402
from somabrain_drill.ports import free_port  # noqa: E402

PLAYBOOK = str(BIN / "ansible-playbook")
PYINFRA = ROOT / ".cache/bench-pyinfra/bin/pyinfra"
PRIVILEGES = Path("/run/sshd")
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Skipped(Exception):
    """This machine lacks what the row needs; the text says what."""


class SlowFarm(Farm):
    """A farm whose servers take a second to be ready."""

    def add(self, name: str, command: str, startsecs: int) -> None:
        super().add(name, f"/bin/sh -c 'sleep 1; exec {command}'", startsecs)


def run(words: t.Sequence[str], *, env: t.Mapping[str, str] | None = None, cwd: Path = ROOT, ok: t.Collection[int] = (0,)) -> str:
    """Run a program to its end and return what it printed; raises RuntimeError with its last output if it failed."""
    full = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    done = subprocess.run(words, cwd=cwd, env=full, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode not in ok:
        raise RuntimeError(f"{' '.join(map(str, words))[:200]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


class World:
    """The directory of one benchmark run, and the processes started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.chmod(0o755)
        self.stack = contextlib.ExitStack()
        (folder / "default.cfg").write_text("[defaults]\n")
        self._count = 0

    def farm(self, kind: type[Farm] = Farm) -> Farm:
        folder = self.folder / kind.__name__
        folder.mkdir(mode=0o755)
        farm = kind(folder)
        self.stack.callback(farm.stop)
        return farm

    def file(self, content: t.Any) -> str:
        """Write *content* as JSON to a new file and return its path."""
        self._count += 1
        path = self.folder / f"file-{self._count}.json"
        path.write_text(json.dumps(content))
        return str(path)

    def default_environment(self, ssh: Ssh | None = None) -> dict[str, str]:
        """Return the environment of a peer: Ansible with its defaults, without this project's configuration."""
        env = {"ANSIBLE_CONFIG": str(self.folder / "default.cfg")}
        return {**env, **(ssh.environment if ssh else {})}

    def ssh(self) -> Ssh:
        """Start a private ssh server; raises Skipped if sshd is not installed."""
        ssh = Ssh(self.folder)
        self.stack.callback(ssh.stop)
        return ssh

    def endpoints(self) -> int:
        """Start the server whose answers take 50 ms; return its port."""
        server = subprocess.Popen([sys.executable, str(HERE / "endpoints.py")], stdout=subprocess.PIPE, text=True)
        self.stack.callback(server.wait, 10)
        self.stack.callback(server.terminate)
        assert server.stdout is not None
        return int(server.stdout.readline())


class Ssh:
    """An sshd on loopback for the user who runs this, with host and user keys of its own."""

    def __init__(self, folder: Path) -> None:
        if SSHD is None or shutil.which("ssh-keygen") is None:
            raise Skipped("no sshd is installed (openssh-server)")
        self.folder, self.port, self.user = folder / "ssh", free_port(), getpass.getuser()
        for name in ("cp", "home"):
            (self.folder / name).mkdir(mode=0o700, parents=True)
        for name in ("host", "user"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)])
        shutil.copy(self.folder / "user.pub", self.folder / "authorized_keys")
        host_key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        (self.folder / "known_hosts").write_text(f"bench {host_key}\n[127.0.0.1]:{self.port} {host_key}\n")
        (self.folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            # A home of its own: what this user's shell does at its start is no part of any figure.
            f"PermitRootLogin prohibit-password\nMaxStartups 200\nPrintMotd no\nSetEnv HOME={self.folder}/home\n"
        )
        self.environment = {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp")}
        self._start()

    def _start(self) -> None:
        # As root, sshd refuses to start without this folder; its package makes it when the machine starts.
        self._made = os.geteuid() == 0 and not PRIVILEGES.exists()
        if self._made:
            PRIVILEGES.mkdir(mode=0o755)
        self._server = subprocess.Popen([str(SSHD), "-D", "-f", str(self.folder / "sshd_config")], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end and self._server.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        self.stop()
        raise Skipped("sshd does not start for this user")

    def variables(self) -> dict[str, t.Any]:
        """Return the connection variables of one host; every host has a connection of its own."""
        words = f"-o UserKnownHostsFile={self.folder}/known_hosts -o HostKeyAlias=bench -o HostName=127.0.0.1"
        return {
            "ansible_connection": "ssh", "ansible_port": self.port, "ansible_user": self.user, "ansible_ssh_common_args": words,
            "ansible_ssh_private_key_file": str(self.folder / "user"), "ansible_python_interpreter": sys.executable,
        }  # fmt: skip

    def forget(self) -> None:
        """End the connections that are kept open, so that the next one is cold."""
        for path in (self.folder / "cp").iterdir():
            subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "bench"], capture_output=True, check=False)

    def stop(self) -> None:
        self.forget()
        self._server.terminate()
        self._server.wait(10)
        if self._made:
            PRIVILEGES.rmdir()


@functools.cache
def pyinfra() -> str:
    """Return the program pyinfra, installed on first use in an environment of its own; raises Skipped if it cannot be installed."""
    if not PYINFRA.exists():
        say("  installing pyinfra")
        try:
            run([sys.executable, "-m", "venv", str(PYINFRA.parents[1])])
            run([str(PYINFRA.with_name("pip")), "install", "--quiet", "--disable-pip-version-check", "pyinfra==3.*"])
        except RuntimeError as error:
            shutil.rmtree(PYINFRA.parents[1], ignore_errors=True)
            raise Skipped(f"pyinfra cannot be installed: {str(error)[-200:]}") from None
    return str(PYINFRA)


def control_words(redis: Redis, verb: str) -> list[str]:
    """Return the command that a person would type for this Redis."""
    config = redis.farm.folder / "ctl.conf"
    config.write_text(f"[supervisorctl]\nserverurl={redis.farm.url}\n")
    return [str(BIN / "supervisorctl"), "-c", str(config), verb, redis.name]
