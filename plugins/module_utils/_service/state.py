# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all service managers share: the shape of a service's state, waiting, and signals that hit only the intended process.

A state is a plain dict with the keys of ``blank``. Nothing here knows a technology.
"""

from __future__ import annotations

import calendar
import os
import re
import signal
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import processes

Options = t.Mapping[str, t.Any]
ServiceState = t.Dict[str, t.Any]

POLL = 0.03
# The kinds of a cluster workload, and their names in the API.
WORKLOADS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}
COMMAND_BYTES = 16 * 1024
SECRET = re.compile(r"(?i)pass|pw|secret|token|auth|key|cred")


class Clock:
    """A total deadline in seconds from now; ``left`` never goes below zero."""

    def __init__(self, seconds: float) -> None:
        self.begun = time.monotonic()
        self.end = self.begun + max(0.0, seconds)

    @property
    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())

    @property
    def passed(self) -> float:
        return time.monotonic() - self.begun


def blank(manager: str, name: str, **known: t.Any) -> ServiceState:
    """Return a state in which only the given values are known.

    ``state`` is running, starting, unhealthy, paused, stopping, backoff, stopped, failed or unknown; times are epoch seconds,
    timeouts seconds. None means that the manager does not say; for ``exists``, that the name does not mean exactly one service. ``barred``
    says why the manager would not start it again, "" if it would; ``gone`` what its start needs and is not there any more, and ``unread``
    what the manager has not read yet of its own files, "" for nothing; ``directory`` and ``user`` are those of its next start, ``mounts``
    the paths that have to be mounted for it, and ``reads`` the files that its manager reads for its next start; ``variables`` those of its
    environment that say where a PostgreSQL is; ``lived`` is how long the last process lived, if none runs now, and ``last_began_at`` and
    ``last_ended_at`` when that was. ``control_group`` is how the path of its control group ends, and ``fronts`` are the ports at which
    something else accepts connections for it: {by, address, port, inside}, ``inside`` its own port behind that one.
    """
    state: ServiceState = {
        "manager": manager, "name": name, "reachable": True, "exists": None, "state": "unknown", "pid": 0,
        "started_at": None, "start_time_ticks": None, "process_state": "", "restarts": None, "exit_code": None, "signal": "",
        "oom_killed": None, "start_limit_hit": None, "autorestart": None, "held": False, "drop_ins": [],
        "start_timeout": None, "stop_timeout": None, "start_command": "", "variables": {},
        "directory": "", "user": "", "mounts": [], "reads": [],
        "result": "", "detail": "", "barred": "", "gone": "", "unread": "", "lived": None, "last_began_at": None, "last_ended_at": None,
        "container": "", "image": {}, "workload": {}, "control_group": "", "fronts": [],
    }  # fmt: skip
    state.update(known)
    return state


def command_text(command: t.Any, variables: t.Optional[t.Mapping[str, str]] = None) -> str:
    """Return the start command with its *variables* filled in, but those that may be secret, and without its secrets; bounded."""

    def value(found: t.Match[str]) -> str:
        name = found[1] or found[2]
        return found[0] if SECRET.search(name) else (variables or {}).get(name, found[0])

    return redact(re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, str(command or "")[:COMMAND_BYTES]))


def gone_of(path: str, what: str) -> str:
    """Return that *path*, the program or the directory of a service, is not there any more; "" where it is, or cannot be seen."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "its %s %s is not there any more, so it would not start again" % (what, one_line(path, 120))
    except (OSError, ValueError):
        pass
    return ""


def _lines_of(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(COMMAND_BYTES).splitlines()
    except (OSError, ValueError):
        return []


def values_in(path: str, name: str) -> list[str]:
    """Return the words of every line ``name=words`` of a unit file."""
    return [word for line in _lines_of(path) if line.strip().startswith(name + "=") for word in line.partition("=")[2].split()]


def variables_in(path: str) -> dict[str, str]:
    """Return the variables that a file of NAME=value lines sets, {} where it cannot be read."""
    found = [re.match(r"\s*(?:export\s+)?([A-Za-z_]\w*)=(.*)", line) for line in _lines_of(path)]
    return {one[1]: one[2].strip().strip("\"'") for one in found if one}


def process_facts(pid: int) -> dict[str, t.Any]:
    """Return ``start_time_ticks``, ``started_at`` and ``process_state`` (R, S, D, T, Z, ...) of *pid*, {} when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
        ticks = int(fields[19])
        return {
            "start_time_ticks": ticks,
            "started_at": round(boot_time() + ticks / os.sysconf("SC_CLK_TCK"), 2),
            "process_state": fields[0].decode(),
        }
    except (OSError, IndexError, ValueError):
        return {}


def after_boot(microseconds: float) -> t.Optional[float]:
    """Return so many microseconds of the monotonic clock as epoch seconds, None for none."""
    return round(boot_time() + microseconds / 1e6, 2) if microseconds > 0 else None


def boot_time() -> float:
    """Return when the machine booted, in seconds since 1970."""
    with open("/proc/stat", "rb") as file:
        for line in file:
            if line.startswith(b"btime "):
                return float(line.split()[1])
    return 0.0


def epoch_of(text: str) -> t.Optional[float]:
    """Return the seconds since the epoch of a time such as 2026-10-16T14:00:00.123456789Z, None for anything else."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?Z\Z", text)
    if not found or text.startswith("0001"):
        return None
    return round(calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")) + float(found[2] or 0), 2)


def identity_of(state: ServiceState) -> dict[str, t.Any]:
    """Return what distinguishes this process from a later one with the same pid; {} if no process runs."""
    workload = state.get("workload")
    if workload:
        ready = {pod["name"]: [pod["uid"], pod["restarts"]] for pod in workload["pods"] if pod["ready"] and not pod["leaves"]}
        return {"workload": workload["uid"], "pods": ready}
    if not state["pid"]:
        return {}
    identity = {"pid": state["pid"], "start_time_ticks": state["start_time_ticks"]}
    # In another pid namespace than the manager's, the only start time is the one that the manager reports.
    told = {"started_at": state["started_at"]} if identity["start_time_ticks"] is None else {}
    return {**identity, **told, "container": state["container"]} if state.get("container") else identity


def not_one(state: t.Mapping[str, t.Any]) -> str:
    """Return why the name does not mean exactly one service, "" if it does."""
    if state.get("exists"):
        return ""
    name = one_line(state["name"], 60)
    if state.get("exists") is None:
        return "%s: %s" % (name, state["detail"])
    return "%s has no service named %s%s" % (state["manager"], name, "; " + one_line(state["detail"], 160) if state["detail"] else "")


def is_gone(identity: t.Mapping[str, t.Any]) -> bool:
    """Return whether the process of *identity* has ended (a zombie has)."""
    if not identity:
        return True
    facts = process_facts(int(identity["pid"]))
    return not facts or facts["start_time_ticks"] != identity["start_time_ticks"] or facts["process_state"] == "Z"


def send_to(identity: t.Mapping[str, t.Any], number: int) -> bool:
    """Send a signal to exactly the process of *identity*; False when that process is gone.

    Raises StepError where the signal is not permitted.
    """
    pid = int(identity["pid"])
    opener = getattr(os, "pidfd_open", None)
    try:
        # The descriptor pins the process between check and signal, so a reused pid is never hit.
        handle = -1 if opener is None else opener(pid)
        try:
            if is_gone(identity):
                return False
            if handle >= 0:
                signal.pidfd_send_signal(handle, number)  # type: ignore[attr-defined,unused-ignore]  # novm - only where pidfd_open is
            else:
                os.kill(pid, number)
        finally:
            if handle >= 0:
                os.close(handle)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise StepError("no permission to signal process %d; set become: true for this task" % pid) from None
    return True


def family_of(pid: int) -> list[dict[str, t.Any]]:
    """Return the identities of all other processes of the process group that *pid* leads, and of its descendants; [] for none.

    A group outlives its leader, and keeps its number while it does.
    """
    found: dict[int, tuple[int, int, int]] = {}
    for other in processes.pids() if pid > 1 else []:
        words = _stat_of(other)
        if len(words) > 19 and words[0] != b"Z":
            found[other] = (int(words[1]), int(words[2]), int(words[19]))
    members = {pid}
    while True:
        more = {one for one, (parent, group, _ticks) in found.items() if parent in members or group == pid} - members
        if not more:
            break
        members |= more
    return [{"pid": one, "start_time_ticks": found[one][2]} for one in sorted(members - {pid}) if one in found]


def _stat_of(pid: int) -> list[bytes]:
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read(4096).rpartition(b")")[2].split()
    except OSError:
        return []


def kill_process(options: Options, identity: t.Mapping[str, t.Any], deadline: float) -> bool:
    """Send SIGKILL to exactly the process of *identity*: the ``kill`` of managers that have none of their own."""
    return send_to(identity, signal.SIGKILL)


def wait_for(done: t.Callable[[], bool], clock: Clock, pause: float = POLL) -> bool:
    """Poll until *done* or the clock has run out; the last answer counts."""
    while not done():
        if not clock.left:
            return False
        time.sleep(min(pause, clock.left))
    return True
