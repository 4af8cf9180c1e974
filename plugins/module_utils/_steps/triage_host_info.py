# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``triage_host_info``: the machine of a host as triage wants it, in one look within one deadline. Changes nothing."""

from __future__ import annotations

import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.look.changed import load_changes
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.look.logs import load_log
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.look.metrics import load_metrics
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.look.places import asked_of, places_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._triage.look.processes import (
    boot_at,
    load_averages,
    load_memory,
    load_top,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "checks": {"type": "list", "elements": "dict", "required": True},
    "logs": {"type": "list", "elements": "dict", "default": []},
    "metrics_url": {"type": "str", "default": ""},
    "window_seconds": {"type": "int", "default": 7200},
    "log_lines": {"type": "int", "default": 50},
    "processes": {"type": "int", "default": 20},
    "metrics_window": {"type": "float", "default": 2.0},
    "timeout": {"type": "float", "default": 8.0},
}
# What all parts have to leave for the answer itself, in seconds.
RESERVE = 0.5
Job = t.Tuple[str, str, t.Callable[[float], t.Any]]


def run(params: Params, check: bool) -> Result:
    """Return {changed: false, at, processes, clock, boot_at, memory, load, changes, asked, logs, metrics, unseen, seconds}.

    What did not come in time is unseen.
    """
    begun, now = time.monotonic(), time.time()
    places = places_of(params["checks"], params["logs"], params["metrics_url"])
    answers = together(_jobs(params, places, now), max(0.5, params["timeout"] - RESERVE))
    changes, unseen = answers.pop(("changes", ""), None) or ([], [])
    logs = {name: found for (kind, name), found in answers.items() if kind == "log" and found}
    metrics = {name: found for (kind, name), found in answers.items() if kind == "metrics" and found}
    late = [{"what": _told(kind, name), "why": "it did not answer in time"} for (kind, name), found in answers.items() if found is None]
    return {
        "changed": False,
        "at": round(now, 3),
        "processes": answers.get(("processes", "")) or [],
        "clock": {"now": now, "zone": time.strftime("%z", time.localtime(now))},
        "boot_at": boot_at(),
        "memory": load_memory(),
        "load": load_averages(),
        "asked": asked_of(params["checks"]),
        "changes": changes + _reboot(now - params["window_seconds"]),
        "logs": logs,
        "metrics": metrics,
        "unseen": [*unseen, *late, *_errors(logs, "log"), *_errors(metrics, "metrics")],
        "seconds": round(time.monotonic() - begun, 3),
    }


def _jobs(params: Params, places: t.Mapping[str, t.Any], now: float) -> list[Job]:
    since = now - params["window_seconds"]
    jobs: list[Job] = [
        ("processes", "", lambda deadline: load_top(params["processes"], deadline)),
        ("changes", "", lambda deadline: load_changes(places, since, deadline)),
    ]
    jobs += [("log", one["name"], _bound(load_log, one, params["log_lines"])) for one in places["logs"]]
    return jobs + [("metrics", one["name"], _bound(load_metrics, one, params["metrics_window"])) for one in places["metrics"]]


def _bound(load: t.Callable[..., t.Any], *given: t.Any) -> t.Callable[[float], t.Any]:
    return lambda deadline: load(*given, deadline)


def together(jobs: t.Sequence[Job], deadline: float) -> dict[tuple[str, str], t.Any]:
    """Return by (kind, name) what each job returns, None for one that is not done after *deadline* seconds or that raised."""
    answers: dict[tuple[str, str], t.Any] = {(kind, name): None for kind, name, _load in jobs}
    end = time.monotonic() + deadline

    def do(kind: str, name: str, load: t.Callable[[float], t.Any]) -> None:
        try:
            answers[kind, name] = load(max(0.1, end - time.monotonic()))
        except Exception as error:  # one part that fails must not take the others with it
            answers[kind, name] = {"error": one_line(error, 120), "lines": []} if kind in ("log", "metrics") else None

    threads = [threading.Thread(target=do, args=job, daemon=True) for job in jobs]
    for one in threads:
        one.start()
    for one in threads:
        one.join(max(0.0, end - time.monotonic()))
    # A thread that comes late must not change what is already being written.
    return dict(answers)


def _reboot(since: float) -> list[dict[str, t.Any]]:
    at = boot_at()
    text = "the machine was started"
    return [{"at": at, "kind": "reboot", "what": "machine", "text": text, "source": "/proc/uptime"}] if at and at >= since else []


def _errors(found: t.Mapping[str, t.Any], what: str) -> list[dict[str, str]]:
    return [{"what": _told(what, name), "why": str(one["error"])} for name, one in found.items() if one.get("error")]


def _told(kind: str, name: str) -> str:
    return ("%s of %s" % (kind, one_line(name, 60))) if name else kind
