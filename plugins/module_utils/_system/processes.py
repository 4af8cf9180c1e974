# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are running: the controller's own fingerprint, and whether a run still has a live process."""

from __future__ import annotations

import hashlib
import os
import typing as t

MARK = "somabrain-run="


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(65536)
    except OSError:
        return b""


def start_ticks(pid: int) -> t.Optional[int]:
    """Return the start time of a process in clock ticks since boot, None when there is no such process (or only a zombie)."""
    fields = _read("/proc/%d/stat" % pid).rpartition(b")")[2].split()
    return None if len(fields) < 20 or fields[0] == b"Z" else int(fields[19])


def parent_of(pid: int) -> int:
    """Return the parent's pid, 0 when the process is gone."""
    fields = _read("/proc/%d/stat" % pid).rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def machine() -> dict[str, str]:
    """Return what identifies this machine and pid namespace (containers share boot_id)."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return {"boot_id": _read("/proc/sys/kernel/random/boot_id").decode().strip(), "pid_namespace": namespace, "node": os.uname().nodename}


def fingerprint(pid: int) -> dict[str, t.Any]:
    """Return the identity of the controller process *pid* on this machine."""
    return dict(machine(), pid=pid, start_ticks=start_ticks(pid), command=_command_of(pid), group=os.getpgid(pid))


def is_orphan() -> bool:
    """Return whether the controller of this worker is gone: a worker has its controller's command line."""
    return _command_of(os.getppid()) != _command_of(os.getpid())


def pids() -> list[int]:
    """Return all process ids, [] where /proc cannot be read."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def in_group(mark: str) -> list[int]:
    """Return the processes in the control group whose path ends with *mark*, or goes on below it; in none where *mark* is empty."""
    wanted = "/" + mark.strip("/")
    return [pid for pid in pids() if any((path + "/").find(wanted + "/") >= 0 for path in groups_of(pid))] if len(wanted) > 1 else []


def groups_of(pid: int) -> list[str]:
    """Return the paths of the control groups of a process, [] where they are not seen."""
    lines = _read("/proc/%d/cgroup" % pid).decode("utf-8", "replace").splitlines()
    return list(dict.fromkeys(line.split(":", 2)[2] for line in lines if line.count(":") >= 2))


def marked(run_id: str) -> list[int]:
    """Return the processes here with the mark of a run on their command line or in their environment."""
    mark = (MARK + run_id).encode()
    found = []
    for pid in pids():
        if pid != os.getpid() and (mark in _read("/proc/%d/cmdline" % pid) or mark in _read("/proc/%d/environ" % pid)):
            found.append(pid)
    return found


def provably_dead(holder: t.Mapping[str, t.Any], here: t.Mapping[str, t.Any]) -> bool:
    """Return whether the controller *holder* ran on this machine (*here*: `fingerprint`) and is gone with all of its workers.

    False also when it cannot be known.
    """
    return controller_gone(holder, here) and not any(_may_be_orphan(pid, holder) for pid in pids() if pid != here.get("pid"))


def controller_gone(holder: t.Mapping[str, t.Any], here: t.Mapping[str, t.Any]) -> bool:
    """Return whether the controller *holder* ran on this machine and is gone; a worker of it may live on."""
    return _was_here(holder, here) and (holder.get("start_ticks") is None or start_ticks(int(holder["pid"])) != holder["start_ticks"])


def is_alive(holder: t.Mapping[str, t.Any], here: t.Mapping[str, t.Any]) -> bool:
    """Return whether the controller *holder* runs on this machine (*here*: `machine`) and is alive; False when it cannot be known."""
    ticks = holder.get("start_ticks")
    return _was_here(holder, here) and ticks is not None and start_ticks(int(holder["pid"])) == ticks


def _was_here(holder: t.Mapping[str, t.Any], here: t.Mapping[str, t.Any]) -> bool:
    return bool(holder.get("boot_id")) and all(holder.get(key) == here.get(key) for key in ("boot_id", "pid_namespace", "node"))


def _command_of(pid: int) -> str:
    return hashlib.sha256(_read("/proc/%d/cmdline" % pid)).hexdigest()[:16]


def _may_be_orphan(pid: int, holder: t.Mapping[str, t.Any]) -> bool:
    """Return whether *pid* looks like a worker that outlived the controller *holder*.

    Killing ansible-playbook leaves its worker alive and acting, with the same command line. From ansible-core 2.19 on it
    writes to /dev/null, before that it is in the process group of the dead controller; workers of a living
    controller have a parent with that command line.
    """
    command = str(holder.get("command"))
    if start_ticks(pid) is None or _command_of(pid) != command or _command_of(parent_of(pid)) == command:
        return False
    try:
        return os.getpgid(pid) == holder.get("group") or os.readlink("/proc/%d/fd/1" % pid) == os.devnull
    except OSError:
        return False
