# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a running nginx: its master, its workers and their age, and a reload that counts only when new workers serve."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import counted, one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.processes import parent_of, pids, start_ticks

_MASTER, _WORKER, _LEAVING = b"nginx: master process", b"nginx: worker process", b"is shutting down"
# The start of a process has a resolution of 10 ms, the time of a file that of the kernel.
_BLUR = 0.02
_PAUSE = 0.02
# Seconds that a reload waits for the old workers, which may have long requests to finish.
_FAREWELL = 1.0


class Away(Exception):
    """nginx is not running, or did not do what it was asked; the text says which."""


class Master(t.NamedTuple):
    """A running master: its pid, and its start in ticks, which together identify it."""

    pid: int
    ticks: int

    def identity(self) -> dict[str, t.Any]:
        return {"pid": self.pid, "started_at": self.ticks / float(os.sysconf("SC_CLK_TCK"))}


def master_of(pid_file: str) -> Master:
    """Return the master that the pid file names; raises Away without one."""
    try:
        with open(pid_file, encoding="ascii") as file:
            text = file.read(32).strip()
    except (OSError, ValueError) as error:
        why = one_line(getattr(error, "strerror", "") or error, 60)
        raise Away("nginx is not running: %s: %s" % (one_line(pid_file, 80), why)) from None
    pid = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
    ticks = start_ticks(pid) if pid else None
    if ticks is None or not _title(pid).startswith(_MASTER):
        raise Away("nginx is not running: the process in %s is not an nginx master" % one_line(pid_file, 80))
    return Master(pid, ticks)


def _title(pid: int) -> bytes:
    with contextlib.suppress(OSError), open("/proc/%d/cmdline" % pid, "rb") as file:
        return file.read(4096).rstrip(b"\0")
    return b""


def workers_of(master: Master) -> tuple[list[int], list[int]]:
    """Return the pids of the workers that take requests, and of those that only finish old ones."""
    titles = {pid: _title(pid) for pid in pids() if parent_of(pid) == master.pid}
    working = [pid for pid, title in titles.items() if title.startswith(_WORKER)]
    leaving = [pid for pid in working if _LEAVING in titles[pid]]
    return [pid for pid in working if pid not in leaving], leaving


def loaded_at(workers: t.Iterable[int]) -> float:
    """Return the wall time at which the oldest worker started, when its configuration was loaded; 0 without a worker."""
    since_boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = [found for found in map(start_ticks, workers) if found is not None]
    return min(ticks) / float(os.sysconf("SC_CLK_TCK")) + since_boot if ticks else 0.0


def is_newer(path: str, moment: float) -> bool:
    """Return whether the file was changed after *moment*. Raises OSError."""
    return os.stat(path).st_mtime > moment + _BLUR


class Log:
    """What is added to an error log from now on; a missing log yields nothing."""

    def __init__(self, path: str) -> None:
        self._path, self._from = path, 0
        with contextlib.suppress(OSError):
            self._from = os.stat(path).st_size

    def failure(self, pid: int) -> str:
        """Return the first line with which process *pid* reports that it gave up, "" for none."""
        with contextlib.suppress(OSError), open(self._path, "rb") as file:
            file.seek(self._from)
            lines = file.read(1 << 20).decode("utf-8", "replace").split("\n")
            found = [line for line in lines[:-1] if re.search(r"\[emerg\] %d#" % pid, line)]
            return one_line(re.sub(r"^.*?\] \d+#\d+: ", "", found[0]), 160) if found else ""
        return ""


def reload(master: Master, log: Log, clock: Clock) -> list[str]:
    """Reload the configuration without losing a request; returns warnings. Raises Away if nginx keeps the old one."""
    before, _leaving = workers_of(master)
    _signal(master)
    while True:
        failure = log.failure(master.pid)
        working, _leaving = workers_of(master)
        if working and not set(working) & set(before):
            return _see_off(master, before, clock)
        if failure:
            raise Away("nginx rejected it: %s" % failure)
        if start_ticks(master.pid) != master.ticks:
            raise Away("nginx ended during the reload")
        try:
            time.sleep(min(_PAUSE, clock.left()))
        except OSError:
            # It may still load what is about to be rolled back.
            raise Away("nginx did not start new workers within the deadline of %.0f s" % clock.spent()) from None


def ask_again(master: Master) -> None:
    """Reload an nginx that may still be loading what was rolled back."""
    with contextlib.suppress(Away):
        _signal(master)


def _signal(master: Master) -> None:
    if start_ticks(master.pid) != master.ticks:
        raise Away("nginx ended or restarted in between")
    try:
        os.kill(master.pid, signal.SIGHUP)
    except OSError as error:
        raise Away("cannot signal nginx to reload: %s" % one_line(error.strerror or error, 60)) from None


def _see_off(master: Master, before: t.Sequence[int], clock: Clock) -> list[str]:
    """Wait a moment for the old workers; returns a warning if some still have requests to finish."""
    end = min(time.monotonic() + _FAREWELL, clock.end)
    left = set(before)
    while left and time.monotonic() < end:
        time.sleep(_PAUSE)
        left = set(before) & {pid for kind in workers_of(master) for pid in kind}
    return ["%s of nginx still finish requests with the old weights" % counted(len(left), "workers")] if left else []
