# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-playbook: the first time the program itself, from then on a fork of one that has imported everything (warm.py).

SOMABRAIN_COLD=1 runs the program itself each time, as ``make prove`` does. A test that kills a run, or looks at its process, starts the
program itself.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
WARM = Path(__file__).with_name("warm.py")
# What ansible-core reads while it is imported; runs that agree on it may be forks of the same process.
READ_AT_IMPORT = ("ANSIBLE_", "PYTHON", "HOME", "LANG", "LC_", "PATH", "TMPDIR")
# Each holds some 90 MB.
MOST = 3


class Warm:
    """A process that has imported everything, and where to ask it."""

    def __init__(self, env: t.Mapping[str, str], cwd: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sb-warm-", dir="/tmp"))
        command = [sys.executable, "-P", str(WARM), str(self.folder / "door")]
        self.process = subprocess.Popen(command, env=dict(env), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n", f"{WARM} did not start"
        atexit.register(self.end)

    def end(self) -> None:
        atexit.unregister(self.end)
        with contextlib.suppress(OSError):
            self.process.communicate(timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self, argv: t.Sequence[str], env: t.Mapping[str, str], cwd: str, timeout: float, session: bool
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, socket.socket(socket.AF_UNIX) as asked:
            out, err = Path(folder, "out"), Path(folder, "err")
            asked.connect(str(self.folder / "door"))
            given = {"argv": list(argv), "env": dict(env), "cwd": cwd, "out": str(out), "err": str(err), "session": session}
            with asked.makefile("rw") as lines:
                print(json.dumps(given), file=lines, flush=True)
                pid = int(lines.readline())
                asked.settimeout(timeout)
                try:
                    code = int(lines.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(argv, timeout, out.read_bytes(), err.read_bytes()) from None
            return subprocess.CompletedProcess(list(argv), code, out.read_text(), err.read_text())


def config_of(env: t.Mapping[str, str], cwd: str) -> str:
    """Return the ansible.cfg that a run with this environment and directory reads, "" for none."""
    places = (env.get("ANSIBLE_CONFIG", ""), f"{cwd}/ansible.cfg", f"{env.get('HOME', '')}/.ansible.cfg", "/etc/ansible/ansible.cfg")
    return next((place for place in places if os.path.isfile(place)), "")


_warm: dict[tuple[t.Any, ...], Warm | None] = {}


def run_ansible(
    argv: t.Sequence[str], *, cwd: t.Any = None, env: t.Mapping[str, str] | None = None, timeout: float = 180, session: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run *argv*, whose first word is an ansible-playbook, and return how it ended and what it showed."""
    env, cwd = dict(os.environ if env is None else env), str(cwd or os.getcwd())
    key = (config_of(env, cwd), *sorted(pair for pair in env.items() if pair[0].startswith(READ_AT_IMPORT) and pair[0] != "ANSIBLE_CONFIG"))
    if argv[0] == str(PLAYBOOK) and "SOMABRAIN_COLD" not in env:
        if key in _warm:
            one = _warm.pop(key) or Warm(env, cwd)
            _warm[key] = one
            return one.run(argv, env, cwd, timeout, session)
        while len(_warm) >= MOST:
            oldest = _warm.pop(next(iter(_warm)))
            if oldest:
                oldest.end()
        _warm[key] = None
    return subprocess.run(
        list(argv), cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False, start_new_session=session
    )
