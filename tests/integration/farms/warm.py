# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ansible-playbook that has imported everything already and forks for each run, so a run costs half the processor time.

``python warm.py SOCKET`` prints "ready", then serves until its standard input closes. A request is one line of JSON: ``argv``, ``env``,
``cwd``, ``out`` and ``err`` (files), ``session``. The answers are two lines: the pid of the run, then its exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import shutil
import signal
import socket
import sys
import tempfile
import traceback
import typing as t

CORE = (
    "action.include_vars", "action.set_fact", "action.command", "action.copy", "action.debug", "action.fail", "action.assert",
    "action.validate_argument_spec", "action.add_host", "action.normal", "action.set_stats", "action.gather_facts", "become.sudo",
    "cache.memory", "callback.default", "connection.local", "filter.core", "filter.mathstuff", "filter.urls", "filter.urlsplit",
    "filter.encryption", "inventory.advanced_host_list", "inventory.auto", "inventory.host_list", "inventory.ini", "inventory.script",
    "inventory.toml", "inventory.yaml", "lookup.config", "lookup.env", "lookup.file", "lookup.first_found", "lookup.pipe", "shell.sh",
    "strategy.linear", "test.core", "test.files", "test.mathstuff", "test.uri", "vars.host_group_vars",
)  # fmt: skip
COLLECTION = "ansible_collections.somabrain.incident_response.plugins.action"


def warm() -> None:
    """Import what a run imports; what an ansible-core does not have is left for the run."""
    importlib.import_module("ansible.cli.playbook")
    for name in CORE:
        with contextlib.suppress(Exception):
            importlib.import_module(f"ansible.plugins.{name}")
    finder = importlib.import_module("ansible.utils.collection_loader._collection_finder")._AnsibleCollectionFinder
    constants = importlib.import_module("ansible.constants")
    with contextlib.suppress(Exception):
        importlib.import_module("ansible.plugins.loader")._configure_collection_loader(constants.COLLECTIONS_PATHS)
        for module in pkgutil.iter_modules(importlib.import_module(COLLECTION).__path__):
            importlib.import_module(f"{COLLECTION}.{module.name}")
    # Each run installs its own; the modules stay.
    finder._remove()


def run(given: t.Mapping[str, t.Any]) -> int:
    """Be one ansible-playbook in this process."""
    if given["session"]:
        os.setsid()
    for number, place in ((1, given["out"]), (2, given["err"])):
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(given["env"])
    os.chdir(given["cwd"])
    sys.argv = list(given["argv"])
    # The temporary folder of the process that forked is not this one's to remove.
    atexit._clear()
    constants: t.Any = importlib.import_module("ansible.constants")
    constants.DEFAULT_LOCAL_TMP = tempfile.mkdtemp(prefix="ansible-local-", dir=os.path.dirname(constants.DEFAULT_LOCAL_TMP))
    atexit.register(shutil.rmtree, constants.DEFAULT_LOCAL_TMP, ignore_errors=True)
    code = 0
    try:
        importlib.import_module("ansible.cli.playbook").main(sys.argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code & 255


def serve(asked: socket.socket) -> None:
    """Answer one request; this process is its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with asked.makefile("rw") as lines:
        given = json.loads(lines.readline())
        pid = os.fork()
        if not pid:
            asked.detach()
            os._exit(run(given))
        print(pid, file=lines, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=lines, flush=True)


def main() -> None:
    warm()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(sys.argv[1])
        door.listen()
        print("ready", flush=True)
        nothing = os.open(os.devnull, os.O_RDONLY)
        while sys.stdin not in (ready := select.select([door, sys.stdin], [], [])[0]):
            assert ready
            asked = door.accept()[0]
            if not os.fork():
                door.close()
                os.dup2(nothing, 0)
                serve(asked)
                os._exit(0)
            asked.close()
    shutil.rmtree(os.path.dirname(sys.argv[1]), ignore_errors=True)


if __name__ == "__main__":
    main()
