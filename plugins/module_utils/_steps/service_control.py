# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step: one act on one service through its manager, bounded in time, graceful unless ``force``.

A start waits only until the manager reports it; the look afterwards decides whether the service is well.
"""

from __future__ import annotations

import contextlib
import signal
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.attempt.read import last
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.sentence import sentence
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import (
    Clock,
    ServiceState,
    family_of,
    identity_of,
    is_gone,
    not_one,
    process_facts,
    send_to,
)

ACTIONS = ("start", "stop", "restart", "signal", "reset_failed", "hold", "release", "extend_start_timeout")
SIGNALS = ("HUP", "CONT", "TERM", "INT", "QUIT", "USR1", "USR2", "KILL")

ARGUMENT_SPEC: dict[str, t.Any] = {
    **ask.SERVICE_SPEC,
    "name": {"type": "str", "required": True},
    "action": {"type": "str", "choices": list(ACTIONS), "required": True},
    "signal": {"type": "str", "choices": list(SIGNALS)},
    "timeout": {"type": "float", "default": 15.0},
    "stop_timeout": {"type": "float"},
    "start_timeout": {"type": "float"},
    "wait_for": {"type": "str", "choices": ["running", "spawned"], "default": "running"},
    "force": {"type": "bool", "default": False},
    "only": {"type": "dict", "default": {}},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}

DONE = {
    "start": "started",
    "stop": "stopped",
    "restart": "restarted",
    "signal": "signalled",
    "reset_failed": "reset",
    "hold": "held",
    "release": "released",
}
RUNS = ("running", "starting", "unhealthy")
# Reserved for SIGKILL to work and the manager to notice, after a stop that used up its time.
GRACE = 0.8


class _Act:
    """One act in progress: its options, its clock, and what it reports at the end."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.clock = Clock(params["timeout"])
        self.manager = ask.manager_of(params)
        self.killed = False
        self.note = ""
        self.before = self.look()

    def look(self) -> ServiceState:
        return self.manager.load_state(self.params, max(0.3, self.clock.left))


def run(params: Params, check: bool) -> Result:
    """Do the act. Returns before, after, changed, seconds, identity; raises StepError with before and after if it failed."""
    _judge_options(params)
    act = _Act(params)
    _judge_before(act.before, params["stage"])
    if check or not wanted(act.before, params):
        return _result(act, act.before, changed=check and wanted(act.before, params), rehearsed=check)
    try:
        HANDLERS[params["action"]](act)
    except StepError as error:
        raise StepError(str(error), **{**_evidence(act, act.look()), **error.data}) from None
    return _result(act, act.look(), changed=True, rehearsed=False)


def _judge_options(params: Params) -> None:
    acts_elsewhere = ask.trait(params["manager"], "ACTS_ELSEWHERE")
    if acts_elsewhere:
        raise StepError(acts_elsewhere)
    if params["action"] == "signal" and not params["signal"]:
        raise StepError("action=signal needs signal, one of %s" % ", ".join(SIGNALS))
    if params["action"] == "signal" and params["signal"] == "KILL" and not params["force"]:
        raise StepError("SIGKILL loses unwritten data; set force=true to accept that")
    if params["action"] == "extend_start_timeout" and not params["start_timeout"]:
        raise StepError("action=extend_start_timeout needs start_timeout (seconds)")


def _judge_before(before: ServiceState, stage: str) -> None:
    if not before["reachable"]:
        raise StepError("nothing was changed: %s" % before["detail"], before=before, reachable=False, stage=stage)
    missing = not_one(before)
    if missing:
        raise StepError("nothing was changed: %s; correct name (and scope or project)" % missing, before=before, stage=stage)


def wanted(before: ServiceState, params: Params) -> bool:
    """Return whether the act would change anything and is meant for the present process."""
    if before["pid"] and not _is_meant(before, params["only"]):
        return False
    by_state = {
        "start": before["state"] != "running",
        "stop": before["state"] not in ("stopped", "failed"),
        "reset_failed": ask.trait(before["manager"], "RESETS_FAILED") and (before["state"] == "failed" or bool(before["start_limit_hit"])),
        "hold": not before["held"],
        "release": bool(before["drop_ins"]),
        "extend_start_timeout": before["start_timeout"] is not None and before["start_timeout"] < float(params["start_timeout"] or 0),
    }
    return bool(by_state.get(params["action"], True))


def _is_meant(before: ServiceState, only: t.Mapping[str, t.Any]) -> bool:
    identity = identity_of(before)
    return all(identity.get(name) == value for name, value in only.items())


def _start(act: _Act) -> None:
    if act.before["state"] not in RUNS:
        act.manager.start(act.params, max(0.5, act.clock.left))
    _await_start(act)


def _await_start(act: _Act) -> None:
    """Wait until the manager reports running (or, for ``spawned``, a process exists), or the time is over."""
    seen: dict[str, t.Any] = {}
    enough = ("running",) if act.params["wait_for"] == "running" else RUNS

    def decided() -> bool:
        seen.update(act.look())
        return bool(seen["state"] in enough and seen["pid"]) or (seen["state"] in ("failed", "stopped") and act.clock.passed > GRACE)

    service_state.wait_for(decided, act.clock)
    if seen["state"] not in RUNS:
        raise StepError("it did not start: %s; %s" % (sentence(seen), _why(act)), started=False)
    if seen["state"] not in enough:
        act.note = "still %s after %.0f s" % (seen["state"], act.clock.passed)


def _why(act: _Act) -> str:
    """Return what the start that failed left behind."""
    cause = last(act.params, deadline=max(1.0, act.clock.left))["cause"]
    return cause["text"] if cause else "neither its log nor its manager says why"


def _stop(act: _Act) -> None:
    _stop_within(act, act.params["stop_timeout"] or act.clock.left)
    # With automatic restarts the manager starts a successor after a kill.
    if act.killed and not act.manager.stop(act.params, max(GRACE, act.clock.left)):
        raise StepError("its manager started a successor at once, and that does not stop either; use action=hold first", stopped=False)


def _stop_within(act: _Act, seconds: float) -> None:
    """Stop gracefully within *seconds*; then kill, if that is allowed, or raise."""
    identity = identity_of(act.before)
    patience = min(seconds, max(0.0, act.clock.left - (GRACE if act.params["force"] else 0.0)))
    if act.manager.stop(act.params, patience):
        return
    if not act.params["force"]:
        raise StepError(
            "%s (pid %s) did not stop within %.0f s and was not killed; find out why, or set force=true to accept losing unwritten data"
            % (one_line(act.before["name"], 60), act.before["pid"], patience),
            stopped=False, pid=act.before["pid"],
        )  # fmt: skip
    _kill(act, identity)


def _kill(act: _Act, identity: t.Mapping[str, t.Any]) -> None:
    """SIGKILL to exactly that process, and wait until its manager has seen the end."""
    pid = act.before["pid"]
    act.killed = bool(identity) and act.manager.kill(act.params, identity, max(GRACE, act.clock.left))
    if not service_state.wait_for(lambda: is_gone(identity) and act.look()["pid"] != pid, Clock(max(GRACE, act.clock.left))):
        raise StepError("process %s does not even end by SIGKILL (waiting for the kernel: a disk, a mount?)" % pid, stopped=False, pid=pid)


def _restart(act: _Act) -> None:
    if act.before["state"] not in ("stopped", "failed"):
        _stop_within(act, act.params["stop_timeout"] or act.clock.left * 2 / 3)
    act.manager.start(act.params, max(0.5, act.clock.left))
    _await_start(act)


def _signal(act: _Act) -> None:
    name = act.params["signal"]
    identity = identity_of(act.before)
    if not identity:
        raise StepError("no process of %s is there to be signalled" % one_line(act.before["name"], 60))
    if name == "KILL":
        act.killed = act.manager.kill(act.params, identity, max(0.5, act.clock.left))
    else:
        act.manager.send_signal(act.params, name, max(0.5, act.clock.left))
    more = _resume_family(identity) if name == "CONT" else []
    also = " and to %s, which it started" % ", ".join(map(str, more)) if more else ""
    act.note = "SIG%s sent to pid %s%s" % (name, identity["pid"], also)


def _resume_family(identity: t.Mapping[str, t.Any]) -> list[int]:
    """Resume the suspended processes that the service's own one started, and return their pids; a manager resumes its own one only."""
    if identity.get("start_time_ticks") is None:
        return []
    resumed = []
    for one in family_of(int(identity["pid"])):
        if process_facts(one["pid"]).get("process_state") == "T":
            with contextlib.suppress(StepError):
                resumed += [int(one["pid"])] if send_to(one, signal.SIGCONT) else []
    return resumed


def _reset_failed(act: _Act) -> None:
    act.note = act.manager.reset_failed(act.params, max(0.5, act.clock.left))


def _hold(act: _Act) -> None:
    act.note = act.manager.hold(act.params, max(0.5, act.clock.left))


def _release(act: _Act) -> None:
    act.note = act.manager.release(act.params, max(0.5, act.clock.left))


def _extend(act: _Act) -> None:
    act.note = act.manager.extend_start_timeout(act.params, float(act.params["start_timeout"]), max(0.5, act.clock.left))


HANDLERS: t.Mapping[str, t.Callable[[_Act], None]] = {
    "start": _start, "stop": _stop, "restart": _restart, "signal": _signal, "reset_failed": _reset_failed, "hold": _hold,
    "release": _release, "extend_start_timeout": _extend,
}  # fmt: skip


def _evidence(act: _Act, after: ServiceState) -> Result:
    return {"before": act.before, "after": after, "killed": act.killed, "seconds": round(act.clock.passed, 3), "stage": act.params["stage"]}


def _result(act: _Act, after: ServiceState, *, changed: bool, rehearsed: bool) -> Result:
    settled = act.params["action"] not in ("start", "restart") or after["state"] == "running"
    return {
        **_evidence(act, after),
        "changed": changed,
        "identity": identity_of(after),
        "settled": settled,
        "say": [_said(act, after, changed, rehearsed)],
        "diff": {"before": _shown(act.before), "after": _shown(after)},
    }


def _said(act: _Act, after: ServiceState, changed: bool, rehearsed: bool) -> str:
    name, action = one_line(act.before["name"], 60), act.params["action"]
    if not changed and action == "reset_failed" and after["state"] == "failed":
        return "%s: nothing to reset under %s, where a start is enough" % (name, act.before["manager"])
    if not changed and action == "reset_failed":
        return "%s: no failed start to reset" % name
    if not changed:
        return "nothing to do: " + sentence(after)
    if rehearsed:
        words = "send SIG%s to" % act.params["signal"] if action == "signal" else action.replace("_", " ")
        return "would %s %s under %s" % (words, name, act.before["manager"])
    if act.note and action not in ("start", "restart"):
        return "%s: %s" % (name, act.note)
    pids = " (pid %s)" % after["pid"] if after["pid"] else ""
    ended = ", killed after it ignored the stop" if act.killed else ""
    return "%s %s under %s in %.1f s%s%s%s" % (
        name, DONE[action], act.before["manager"], act.clock.passed, pids, ended, ", " + act.note if act.note else "",
    )  # fmt: skip


def _shown(state: ServiceState) -> dict[str, t.Any]:
    return {key: state[key] for key in ("state", "pid", "held", "start_timeout")}
