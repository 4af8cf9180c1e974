# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the same tests again and again, each time in a fork of a process that has loaded everything but the code under test.

To load pytest, Ansible and Hypothesis takes longer than most tests of one module; mutation testing does it thousands of times.

Usage: warm_tests.py serve SOCKET TREE WORDS...    tests once, prints "ready", then answers on SOCKET until its standard input ends.
                                                   TREE: the folder whose code is loaded again each time; WORDS: for pytest.
       warm_tests.py ask SOCKET                    runs the tests and ends with their exit code.
Exit code of serve: that of the first run if it failed, since tests that fail anyway notice nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import typing as t


def serve(path: str, tree: str, words: list[str]) -> int:
    """Test once, then test in a fork for each caller until standard input ends."""
    with tempfile.NamedTemporaryFile("r") as names:
        code = wait(fork(words, tree, names.name), None)
        if code:
            return code
        preload(json.load(names))
    # What is loaded already is no code under test.
    words = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning", *words]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while listener in (ready := select.select([listener, sys.stdin], [], [])[0]):
            caller = listener.accept()[0]
            with caller, contextlib.suppress(ConnectionError):
                caller.sendall(b"%d" % wait(fork(words, tree), caller))
        assert sys.stdin in ready
    return 0


def fork(words: list[str], tree: str, names: str = "") -> int:
    """Return the process that runs the tests once; it writes what it loaded from outside of *tree* into the file *names*."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    if not names:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
    code = 1
    try:
        import pytest

        code = int(pytest.main(words))
        if names:
            with open(names, "w") as file:
                json.dump(outside(tree), file)
    finally:
        os._exit(code)


def outside(tree: str) -> list[str]:
    """Return the names of the loaded modules that are no code of *tree*."""
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    return sorted(name for name, file in files.items() if file and not os.path.realpath(file).startswith(os.path.realpath(tree) + os.sep))


def preload(names: list[str]) -> None:
    for name in names:
        # What only its own parent can load is loaded with that, or by each fork.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def wait(pid: int, caller: t.Optional[socket.socket]) -> int:
    """Return the exit code of *pid*, 1 for a signal. If its caller gives up, it is killed with all that it started."""
    while caller and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        # A caller says nothing; it can only go away.
        if select.select([caller], [], [], 0.01)[0]:
            os.killpg(pid, signal.SIGKILL)
            break
    return max(1, -code) if (code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) < 0 else code


def ask(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        return int(server.recv(16) or b"1")


if __name__ == "__main__":
    sys.exit(ask(sys.argv[2]) if sys.argv[1] == "ask" else serve(sys.argv[2], sys.argv[3], sys.argv[4:]))
