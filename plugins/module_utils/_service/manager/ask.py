# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One service, addressed by its manager and name, whichever manager that is."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.managers import MANAGERS
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import WORKLOADS, Options, ServiceState


class Manager(t.Protocol):
    """What a service manager can do. Deadlines are seconds from now; acts raise StepError, ``load_state`` only for a bad name.

    ``options`` has ``name`` and the options of ``SERVICE_SPEC``; ``hold`` and the like return a sentence on what they did.

    ``RELEASED_AS``: what its releases are: directories, images or pods. A manager may have further attributes, which ``trait`` reads,
    so that no other file decides by a manager's name; without one, the usual answer holds:

    - ``evidence_of(options)``: what a run keeps before it acts. Usually nothing: the caller names the log file.
    - ``restart_command(options)``: the command by which a person restarts the service. Usually a sentence that says so.
    - ``last_start(options, deadline)``: {began, invocation, files} of its last start: when it began (epoch seconds, None if unknown), the
      manager's own name for it, and the files that the process writes its output to. Usually nothing is known.
    - ``said_since(options, start, deadline)``: [{from, text}], what the service wrote and its manager said of it since ``start``, without
      those files. Usually the last lines of its output.
    - ``ANYWHERE``: it can be asked from anywhere, not only where the service runs.
    - ``ACTS_ELSEWHERE``: why ``service_control`` does not act on it.
    - ``ALLOWED``: the acts that each state of a service allows, where they are not the usual ones.
    - ``OWN_CHECKS``: it checks the health of its services itself, which delays the word "running".
    - ``RECREATES``: it recreates a service with all that it needs, so what prevents a start does not prevent that.
    - ``HAS_PROJECT``: a project's files say what a new replica would be made of.
    - ``PROGRAM``: the program by which it is asked.
    - ``PROJECT_PROGRAM``: the program, with its plugin, that reads a project's files before another release is started.
    - ``ROOT_ONLY``: in its scope "system" only root starts and stops.
    - ``BORROWS``: the collection, with its oldest version that will do, whose modules restart, recreate or scale a service.
    - ``MAKES_FOLDERS``: it may make folders for a service when it starts it.
    - ``FORGETS_AT_BOOT``: what it says of the last end of a service is of this boot; without any, the service has not run since.
    - ``RESETS_FAILED``: a failed service has to be reset before it starts again.
    """

    MANAGER: str
    RELEASED_AS: str

    def check_name(self, name: str) -> None: ...
    def load_state(self, options: Options, deadline: float) -> ServiceState: ...
    def start(self, options: Options, deadline: float) -> None: ...
    def stop(self, options: Options, deadline: float) -> bool: ...
    def kill(self, options: Options, identity: t.Mapping[str, t.Any], deadline: float) -> bool: ...
    def send_signal(self, options: Options, name: str, deadline: float) -> None: ...
    def reset_failed(self, options: Options, deadline: float) -> str: ...
    def hold(self, options: Options, deadline: float) -> str: ...
    def release(self, options: Options, deadline: float) -> str: ...
    def extend_start_timeout(self, options: Options, seconds: float, deadline: float) -> str: ...
    def logs_tail(self, options: Options, lines: int, deadline: float) -> bytes: ...


SAID_LINES = 100
# The options by which a service is named, common to looking and acting. `manager_of` refuses an unknown manager, so that a new one
# changes no documentation.
SERVICE_SPEC: t.Mapping[str, t.Any] = {
    "manager": {"type": "str", "required": True},
    "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
    "supervisor_url": {"type": "str", "default": "unix:///var/run/supervisor.sock"},
    "supervisor_username": {"type": "str"},
    "supervisor_password": {"type": "str", "no_log": True},
    "project": {"type": "str"},
    "replica": {"type": "int"},
    "docker_socket": {"type": "str", "default": "unix:///var/run/docker.sock"},
    "namespace": {"type": "str"},
    "workload_kind": {"type": "str", "choices": sorted(WORKLOADS), "default": "Deployment"},
    "context": {"type": "str"},
    "kubeconfig": {"type": "path"},
    "holds_dir": {"type": "str", "default": "/var/lib/somabrain/incident_response/holds"},
}

# The same for a check, whose options are judged before anything is looked at.
CHECK_SPEC: t.Mapping[str, t.Any] = {**SERVICE_SPEC, "manager": {"type": "str", "choices": sorted(MANAGERS), "required": True}}


def manager_of(options: Options) -> Manager:
    """Return the manager that *options* names; raises StepError for an unknown manager or a name that it would misread."""
    known = MANAGERS.get(str(options.get("manager")))
    if known is None:
        raise StepError("manager must be one of %s, not %s" % (", ".join(sorted(MANAGERS)), one_line(options.get("manager"), 40)))
    known.check_name(str(options.get("name") or ""))
    return t.cast(Manager, known)


def trait(manager: t.Any, name: str) -> t.Any:
    """Return what a manager says of itself by the attribute *name*; None where it says nothing, or is not known."""
    return getattr(MANAGERS.get(str(manager)), name, None)


def evidence_of(named: Options) -> list[dict[str, t.Any]]:
    """Return what a run keeps of a service before it acts, [] for a manager that is unknown or has nothing to keep."""
    own = trait(named["manager"], "evidence_of")
    return list(own(named)) if own else []


def restart_command(named: Options) -> str:
    """Return the command by which a person restarts a service; where its manager names none, what to do in words."""
    own = trait(named["manager"], "restart_command")
    return str(own(named)) if own else "restart %s under %s" % (named["name"], named["manager"])


def last_start(named: Options, deadline: float) -> dict[str, t.Any]:
    """Return {began, invocation, files} of the last start of a service; see ``Manager``."""
    own = trait(named.get("manager"), "last_start")
    return {"began": None, "invocation": "", "files": [], **(own(_filled(named), deadline) if own else {})}


def said_since(named: Options, start: t.Mapping[str, t.Any], deadline: float) -> list[dict[str, str]]:
    """Return [{from, text}]: the lines that the service wrote and its manager said of it since *start*; see ``Manager``."""
    if not named.get("manager"):
        return []
    own, filled = trait(named["manager"], "said_since"), _filled(named)
    if own:
        return list(own(filled, start, deadline))
    text = manager_of(filled).logs_tail(filled, SAID_LINES, deadline).decode("utf-8", "replace")
    return [{"from": "its output", "text": line} for line in text.splitlines()]


def load_service(named: Options, deadline: float) -> dict[str, t.Any]:
    """Return the state of the service that *named* means, {} if it names no manager. Raises StepError for a bad name."""
    if not named.get("manager"):
        return {}
    filled = _filled(named)
    return dict(manager_of(filled).load_state(filled, deadline))


def logs_of(named: Options, lines: int, deadline: float) -> bytes:
    """Return the last lines of output that the manager kept, b"" for none. Raises StepError for a bad name."""
    filled = _filled(named)
    return manager_of(filled).logs_tail(filled, lines, deadline) if named.get("manager") else b""


def _filled(named: Options) -> dict[str, t.Any]:
    return dict({name: rule.get("default") for name, rule in SERVICE_SPEC.items()}, **named)
