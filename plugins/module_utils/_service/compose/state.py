# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's facts about a container as the state of a service."""

from __future__ import annotations

import re
import signal
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import ServiceState

Told = t.Mapping[str, t.Any]
WORDS = {"restarting": "backoff", "paused": "paused", "created": "stopped", "dead": "failed", "removing": "stopping"}
OF_HEALTH = {"starting": "starting", "unhealthy": "unhealthy"}
# What Docker waits after the stop signal if the container names no time of its own.
STOP_SECONDS = 10.0


def parse(name: str, seen: Told, image: Told, noted: Told) -> ServiceState:
    """Turn Docker's facts about a container and its image, and what a hold of ours *noted*, into a state."""
    state, config, word = seen["State"], seen["Config"], state_word(seen)
    policy = seen["HostConfig"]["RestartPolicy"]
    pid, container = int(state["Pid"] or 0), str(seen["Id"])
    told = service_state.blank(
        "compose", name, exists=True, state=word, pid=pid, container=container[:12], restarts=int(seen["RestartCount"]),
        started_at=service_state.epoch_of(str(state["StartedAt"])) if pid else None, oom_killed=bool(state["OOMKilled"]),
        autorestart=policy["Name"] or "no", held=(policy["Name"] or "no") == "no", drop_ins=["hold"] if noted else [],
        start_limit_hit=word == "failed" and 0 < int(policy.get("MaximumRetryCount") or 0) <= int(seen["RestartCount"]),
        stop_timeout=float(config["StopTimeout"]) if config.get("StopTimeout") is not None else STOP_SECONDS,
        start_command=service_state.command_text(" ".join([str(seen.get("Path") or ""), *map(str, seen.get("Args") or [])])),
        image=image_of(seen, image), result=str(state["Status"]), detail=_detail(state), lived=_lived(state),
        last_began_at=service_state.epoch_of(str(state["StartedAt"])),
        last_ended_at=service_state.epoch_of(str(state.get("FinishedAt") or "")), control_group=container if pid else "",
        fronts=fronts_of(seen), **ending(state),
    )  # fmt: skip
    told.update(process_of(pid, container) if pid else {})
    return told


def state_word(seen: Told) -> str:
    """Return our word for the status of a container and its healthcheck."""
    state = seen["State"]
    if state["Status"] == "running":
        return OF_HEALTH.get(_health(state), "running")
    if state["Status"] == "exited":
        wished = 128 + number_of(str(seen["Config"].get("StopSignal") or "SIGTERM"))
        return "stopped" if state["ExitCode"] in (0, wished) else "failed"
    return WORDS.get(str(state["Status"]), "unknown")


def _health(state: Told) -> str:
    return str((state.get("Health") or {}).get("Status") or "")


def number_of(name: str) -> int:
    """Return the number of a signal as an image names it (``SIGTERM``, ``TERM``, ``15``, ``SIGRTMIN+3``), 0 for none."""
    found = re.match(r"(?:(\d{1,2})|(?:SIG)?([A-Z0-9]+)(?:\+(\d{1,2}))?)\Z", name.upper())
    if not found:
        return 0
    return int(found[1] or getattr(signal, "SIG" + str(found[2]), 0)) + int(found[3] or 0)


def ending(state: Told) -> dict[str, t.Any]:
    """Return how the last process ended: {exit_code, signal}, {} while it runs; Docker reports a signal as 128 plus its number."""
    code = int(state["ExitCode"])
    if state["Pid"] or state["Status"] == "created":
        return {}
    if not 128 < code <= 128 + 64:
        return {"exit_code": code, "signal": ""}
    try:
        return {"exit_code": None, "signal": signal.Signals(code - 128).name}
    except ValueError:
        return {"exit_code": None, "signal": "signal %d" % (code - 128)}


def _lived(state: Told) -> t.Optional[float]:
    began, ended = (service_state.epoch_of(str(state.get(word) or "")) for word in ("StartedAt", "FinishedAt"))
    return round(ended - began, 2) if began and ended and ended > began and not state["Pid"] else None


def process_of(pid: int, container: str) -> dict[str, t.Any]:
    """Return the facts of process 1 if the pid means the container's process on this host too, else {}."""
    try:
        with open("/proc/%d/cgroup" % pid, "rb") as file:
            ours = container.encode() in file.read(65536)
    except OSError:
        return {}
    return service_state.process_facts(pid) if ours else {}


def fronts_of(seen: Told) -> list[dict[str, t.Any]]:
    """Return the published ports at which Docker accepts TCP connections for a container: {by, address, port, inside}."""
    published = (seen.get("NetworkSettings") or {}).get("Ports") or {}
    pairs = [(str(inside), one) for inside, bound in published.items() for one in bound or []]
    return [
        {"by": "docker", "address": str(one.get("HostIp") or "0.0.0.0"), "port": int(one["HostPort"]), "inside": int(inside.split("/")[0])}
        for inside, one in pairs if inside.endswith("/tcp") and str(one.get("HostPort") or "").isdigit()
    ]  # fmt: skip


def image_of(seen: Told, image: Told) -> dict[str, t.Any]:
    """Return name, id and digests of the image; an image that was never in a registry has no digest."""
    return {"name": one_line(seen["Config"].get("Image"), 200), "id": seen["Image"], "digests": list(image.get("RepoDigests") or [])}


def _detail(state: Told) -> str:
    word, log = _health(state), (state.get("Health") or {}).get("Log") or []
    if word in ("", "none"):
        return one_line(redact(str(state.get("Error") or state["Status"])), 160)
    output = redact(str(log[-1].get("Output") or "").strip()) if log and word != "healthy" else ""
    return one_line("its healthcheck reports %s%s" % (word, ": " + output if output else ""), 160)
