# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ssh server of the drill's own on loopback, with keys of its own, whose connections can be cut."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import typing as t
from pathlib import Path

from .errors import DrillError
from .target import until

CONFIG = """ListenAddress 127.0.0.1
HostKey {0}/host
AuthorizedKeysFile {0}/id.pub
PidFile {0}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
"""


def program() -> t.Optional[str]:
    """Return the path of sshd, None where none is installed."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Sshd:
    """The server; its keys stay the same when it is started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        folder.mkdir(mode=0o700)
        for name in ("host", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        (folder / "config").write_text(CONFIG.format(folder))
        host_key = " ".join((folder / "host.pub").read_text().split()[:2])
        (folder / "known").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        self.process: t.Optional[subprocess.Popen[bytes]] = None
        self.start()

    def start(self) -> None:
        if os.geteuid() == 0:
            # Where it gives up its privileges; the service makes it when it starts.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        words = [str(program()), "-D", "-f", str(self.folder / "config"), "-p", str(self.port), "-E", str(self.folder / "log")]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
        until(self._listens, 10, f"sshd does not listen: see {self.folder}/log")

    def _listens(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise DrillError(f"sshd ended: {(self.folder / 'log').read_text()[-200:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    @property
    def variables(self) -> dict[str, t.Any]:
        """What makes Ansible come to this host over this server."""
        options = f"-o UserKnownHostsFile={self.folder}/known -o IdentitiesOnly=yes"
        return {
            "ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": self.port, "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.folder / "id"), "ansible_ssh_common_args": options,
        }  # fmt: skip

    def cut(self) -> None:
        """Kill the server and every connection that it carries; what was started over them goes on."""
        if self.process is None:
            return
        for pid in [*sessions(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None


def sessions(pid: int) -> list[int]:
    """Return the pids of the sshd processes below *pid*."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip().startswith("sshd"):
                found += [*sessions(int(child)), int(child)]
    return found
