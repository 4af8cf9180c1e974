# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a Docker Compose project, through the Docker Engine API: containers are found by their Compose labels.

Docker's own stop sends SIGKILL after a grace period, so a graceful stop here is the container's stop signal and our own
wait. Sent through the API, that signal also keeps the restart policy from bringing the container back (measured with 20.10).
"""

from __future__ import annotations

import re
import signal
import typing as t
import urllib.parse

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import holds
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.docker import (
    ANSWER_BYTES,
    Docker,
    Unreachable,
    demultiplexed,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.replicas import parse_all
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.state import number_of, parse, process_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock, Options, ServiceState
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import LOG_BYTES, last_lines

MANAGER = "compose"
OWN_CHECKS = True
RECREATES = True
HAS_PROJECT = True
PROGRAM = "docker"
PROJECT_PROGRAM = "docker compose"
BORROWS: t.Mapping[str, t.Tuple[str, int, int]] = {"recreate": ("community.docker", 3, 6), "scale": ("community.docker", 3, 6)}
RELEASED_AS = "images"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}\Z")
SILENT = "Docker does not answer: %s; correct service_manager_docker_socket, or start Docker"
LABEL = "com.docker.compose."
# Modes of a container that has no network by name; the last two are Podman's.
OWN_WAYS = ("container", "host", "none", "slirp4netns", "pasta")
# Why a name means several containers.
LEFT_OVER = "left_over"
# Used only while nothing runs, so Docker's own stop never reaches its SIGKILL.
LONG = 3600
HANDLER_SECONDS = 1.0
SAID_LINES = 400


class NotOne(Exception):
    """The name does not mean exactly one container; ``exists`` is False for none, None for several; ``result`` says why these are."""

    def __init__(self, text: str, exists: t.Optional[bool], result: str = "") -> None:
        super().__init__(text)
        self.exists, self.result = exists, result


def check_name(name: str) -> None:
    """Raise StepError unless *name* can only mean one service."""
    if not NAME.match(name):
        raise StepError("'%s' is not the name of one service of a Compose project" % one_line(name, 60))


def project_of(options: Options) -> str:
    """Return the name of the project; without it the service could belong to another project."""
    project = str(options.get("project") or "")
    if not PROJECT.match(project):
        raise StepError("manager=compose needs project, the name of the Compose project, not %s" % (one_line(project, 60) or "nothing"))
    return project


def load_state(options: Options, deadline: float) -> ServiceState:
    """Ask Docker for everything it knows; an engine that does not answer gives state unknown, as do several replicas.

    With ``wanted_replicas`` the state covers all of them together.
    """
    check_name(options["name"])
    project_of(options)
    docker, clock = _docker(options), Clock(deadline)
    try:
        if options.get("wanted_replicas") is not None:
            return parse_all(options["name"], project_of(options), find_all(docker, options, clock))
        seen = find(docker, options, clock)
        image = docker.read("/images/%s/json" % seen["Image"], clock.left)
        state = parse(options["name"], _with_ports(docker, seen, clock), image or {}, holds.read(options, seen["Id"]))
        state["barred"] = outside(seen) or ("" if state["pid"] else _barred(docker, seen, clock))
        return dict(state, gone=gone(state, seen)) if state["pid"] else state
    except NotOne as error:
        return service_state.blank(MANAGER, options["name"], exists=error.exists, detail=str(error), result=error.result)
    except Unreachable as error:
        return _unreachable(options, str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _unreachable(options, "got no Docker Engine answer (%s)" % type(error).__name__)


def gone(state: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any]) -> str:
    """Return which file or folder of this machine a running container has mounted that is not there any more, "" for none."""
    # Only where its process is seen are the paths those of this machine.
    if state["start_time_ticks"] is None:
        return ""
    sources = [str(one.get("Source") or "") for one in seen.get("Mounts") or [] if one.get("Type") == "bind"]
    return next((told for told in (service_state.gone_of(path, "mount") for path in sources if path) if told), "")


def _with_ports(docker: Docker, seen: dict[str, t.Any], clock: Clock) -> dict[str, t.Any]:
    """Return *seen* with the published ports of the container whose network it shares, where it has none of its own."""
    mode = str(seen["HostConfig"].get("NetworkMode") or "")
    lends = docker.read("/containers/%s/json" % mode.partition(":")[2], clock.left) if mode.startswith("container:") else None
    return dict(seen, NetworkSettings=lends["NetworkSettings"]) if lends else seen


def outside(seen: t.Mapping[str, t.Any]) -> str:
    """Return why nobody reaches a container, started again or not: it was disconnected from every network; "" if it was not."""
    mode = str(seen["HostConfig"].get("NetworkMode") or "").partition(":")[0]
    if (seen.get("NetworkSettings") or {}).get("Networks") or mode in OWN_WAYS:
        return ""
    text = "it is in no network any more, and no start changes that: docker compose up -d --force-recreate --no-deps %s makes a new one"
    return text % str(seen["Config"]["Labels"].get(LABEL + "service"))


def _barred(docker: Docker, seen: t.Mapping[str, t.Any], clock: Clock) -> str:
    """Return why Docker could not start a stopped container (one of its networks is gone), "" if it could."""
    attached = (seen.get("NetworkSettings") or {}).get("Networks") or {}
    ids = {str(name): str(one.get("NetworkID") or "") for name, one in attached.items() if one}
    gone = sorted(name for name, network in ids.items() if network and docker.read("/networks/" + network, clock.left) is None)
    if not gone:
        return ""
    text = "its network %s no longer exists: docker compose up -d --no-deps %s recreates both"
    return text % (one_line(", ".join(gone), 80), seen["Config"]["Labels"].get(LABEL + "service"))


def _unreachable(options: Options, why: str) -> ServiceState:
    return service_state.blank(MANAGER, options["name"], reachable=False, detail=SILENT % one_line(why, 160))


def _docker(options: Options) -> Docker:
    return Docker(str(options.get("docker_socket") or ""))


def find_all(docker: Docker, options: Options, clock: Clock) -> list[dict[str, t.Any]]:
    """Return what Docker knows about every container of the service; raises NotOne for none, or Unreachable."""
    wanted = {"project": project_of(options), "service": options["name"], "oneoff": "False"}
    listed = docker.containers(["%s%s=%s" % (LABEL, key, value) for key, value in wanted.items()], clock.left)
    seen = [docker.read("/containers/%s/json" % one["Id"], clock.left) for one in listed]
    there = [dict(one) for one in seen if one is not None]
    if not there:
        raise NotOne(_who_is_there(docker, options, clock), False)
    return there


def find(docker: Docker, options: Options, clock: Clock) -> dict[str, t.Any]:
    """Return what Docker knows about the one container that is meant; raises NotOne, or Unreachable."""
    wanted = {"project": project_of(options), "service": options["name"], "oneoff": "False"}
    if options.get("replica"):
        wanted["container-number"] = str(options["replica"])
    listed = docker.containers(["%s%s=%s" % (LABEL, key, value) for key, value in wanted.items()], clock.left)
    if not listed:
        raise NotOne(_who_is_there(docker, options, clock), False)
    left = left_over(listed)
    if left:
        raise NotOne(left, None, LEFT_OVER)
    if len(listed) > 1:
        raise NotOne("it has %d containers (%s); set replica to the number of one" % (len(listed), _names(listed)), None)
    seen = docker.read("/containers/%s/json" % listed[0]["Id"], clock.left)
    if seen is None:
        raise NotOne("its container disappeared during the look; look again", False)
    return dict(seen)


def left_over(listed: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return which of the containers *listed* an interrupted recreate left and how to end that, "" if each has a number of its own.

    Compose itself fails on them, and leaves less than there was.
    """
    numbers = [str(one["Labels"].get(LABEL + "container-number")) for one in listed]
    twice = [one for one, number in zip(listed, numbers) if numbers.count(number) > 1]
    if not twice:
        return ""
    shown = ", ".join("%s is %s" % (_name_of(one), one_line(one.get("State"), 20)) for one in twice)
    text = "a recreate that was interrupted left %d containers with the same number (%s): %s"
    return text % (len(twice), shown, _end_of(twice))


def _end_of(twice: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return what ends the doubt between containers of one number. A plain ``docker rm`` takes away only one that does not run."""
    idle = [one for one in twice if str(one.get("State")) not in ("running", "paused", "restarting")]
    if len(twice) - len(idle) > 1:
        return "stop the one that is not meant with docker stop, and remove it with docker rm"
    if len(idle) == len(twice):
        # The new one is created before the old one is stopped, and was never started.
        idle = ([one for one in twice if one.get("State") == "created"] or idle)[:1]
    return "docker rm %s" % " ".join(map(_name_of, idle))


def _name_of(container: t.Mapping[str, t.Any]) -> str:
    return one_line(str(container["Names"][0]).lstrip("/"), 80)


def _names(listed: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    names = sorted("%s is number %s" % (str(one["Names"][0]).lstrip("/"), one["Labels"].get(LABEL + "container-number")) for one in listed)
    return one_line(", ".join(names), 120)


def _who_is_there(docker: Docker, options: Options, clock: Clock) -> str:
    """Return a sentence about what is here instead: a container of that name, the services of the project, or the projects."""
    there = [one["Labels"] for one in docker.containers([LABEL + "project"], clock.left)]
    project, name = project_of(options), one_line(options["name"], 60)
    meant = _named_so(docker.read("/containers/%s/json" % urllib.parse.quote(str(options["name"]), safe=""), clock.left), name)
    services = sorted({str(one.get(LABEL + "service")) for one in there if one.get(LABEL + "project") == project})
    fix = meant or "if it was removed: docker compose up -d --no-deps %s" % name
    if services:
        return "project %s has no container for it (%s); its services with containers: %s" % (
            project,
            fix,
            one_line(", ".join(services), 120),
        )
    projects = one_line(", ".join(sorted({str(one.get(LABEL + "project")) for one in there})), 120)
    return "project %s has no containers here (%s); projects that have: %s" % (project, fix, projects or "none")


def _named_so(seen: t.Any, name: str) -> str:
    """Return what a container that is called *name* itself is, "" for none."""
    if not seen:
        return ""
    labels = (seen.get("Config") or {}).get("Labels") or {}
    if not labels.get(LABEL + "service"):
        return "container %s belongs to no Compose project, so this manager cannot act on it" % name
    whose = (one_line(labels[LABEL + "service"], 60), one_line(labels.get(LABEL + "project"), 60))
    return "container %s is that of service %s of project %s" % (name, *whose)


def _must_find(options: Options, clock: Clock) -> tuple[Docker, dict[str, t.Any]]:
    docker = _docker(options)
    try:
        return docker, find(docker, options, clock)
    except NotOne as error:
        raise StepError("%s: %s" % (one_line(options["name"], 60), error)) from None
    except Unreachable as error:
        raise StepError("Docker does not answer (%s); set docker_socket, or start Docker" % one_line(error, 140), reachable=False) from None


def start(options: Options, deadline: float) -> None:
    """Start the container, or unpause a paused one; does not wait."""
    clock = Clock(deadline)
    docker, seen = _must_find(options, clock)
    verb = "unpause" if seen["State"]["Paused"] else "start"
    docker.act("/containers/%s/%s" % (seen["Id"], verb), clock.left)


def stop(options: Options, deadline: float) -> bool:
    """Stop gracefully and return within *deadline* seconds whether it has stopped. Never kills."""
    clock = Clock(deadline)
    docker, seen = _must_find(options, clock)
    place = "/containers/" + seen["Id"]
    if seen["State"]["Restarting"]:
        docker.act("%s/stop?t=%d" % (place, LONG), clock.left)
    elif seen["State"]["Running"]:
        name = str(seen["Config"].get("StopSignal") or "SIGTERM")
        _await_handler(seen, number_of(name), clock)
        docker.act("%s/kill?signal=%s" % (place, urllib.parse.quote(name)), clock.left)
    return service_state.wait_for(lambda: not _runs(docker, place, clock), clock, 0.05)


def _await_handler(seen: t.Mapping[str, t.Any], number: int, clock: Clock) -> None:
    """Give a new process a moment to install its stop signal handler: process 1 of a container never gets the signal before."""
    pid = int(seen["State"]["Pid"] or 0)
    if number and process_of(pid, str(seen["Id"])):
        service_state.wait_for(lambda: _listens(pid, number), Clock(min(HANDLER_SECONDS, clock.left / 4)))


def _listens(pid: int, number: int) -> bool:
    """Return whether a process catches the signal, or blocks it to fetch it itself as an init does; True when it is gone."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
            masks = dict(line.split(":", 1) for line in file.read(65536).splitlines() if line.startswith(("SigCgt", "SigBlk")))
        return any(int(mask, 16) >> (number - 1) & 1 for mask in masks.values())
    except (OSError, ValueError):
        return True


def _runs(docker: Docker, place: str, clock: Clock) -> bool:
    try:
        seen = docker.read(place + "/json", max(clock.left, 0.5))
    except Unreachable:
        return True
    return bool(seen and seen["State"]["Running"])


def kill(options: Options, identity: t.Mapping[str, t.Any], deadline: float) -> bool:
    """Send SIGKILL through the API, so that no restart policy starts a successor; False when that very process is gone."""
    clock = Clock(deadline)
    docker, seen = _must_find(options, clock)
    if seen["Id"][:12] != identity.get("container") or seen["State"]["Pid"] != identity.get("pid"):
        return False
    docker.act("/containers/%s/kill?signal=SIGKILL" % seen["Id"], clock.left)
    return True


def send_signal(options: Options, name: str, deadline: float) -> None:
    """Send a signal (``HUP``, ``CONT``, ...) to process 1 of the container.

    Directly if possible: Docker takes the stop signal, and any signal if the image names none, as a request to stop.
    """
    clock = Clock(deadline)
    docker, seen = _must_find(options, clock)
    identity = service_state.identity_of(parse(options["name"], seen, {}, {}))
    try:
        if identity and identity["start_time_ticks"] is not None and service_state.send_to(identity, getattr(signal, "SIG" + name)):
            return
    except StepError:
        pass
    docker.act("/containers/%s/kill?signal=SIG%s" % (seen["Id"], name), clock.left)


def reset_failed(options: Options, deadline: float) -> str:
    """Docker starts a container however often it failed."""
    return "Docker has no start limit to reset"


def hold(options: Options, deadline: float) -> str:
    """Remove the restart policy until ``release``, after noting the old one on disk. Ends a restart loop."""
    clock = Clock(deadline)
    docker, seen = _must_find(options, clock)
    place = "/containers/" + seen["Id"]
    holds.write(options, seen["Id"], seen["HostConfig"]["RestartPolicy"])
    docker.act(place + "/update", clock.left, {"RestartPolicy": {"Name": "no"}})
    if seen["State"]["Restarting"]:
        docker.act("%s/stop?t=%d" % (place, LONG), clock.left)
    return "Docker will not start it automatically until it is released or recreated"


def release(options: Options, deadline: float) -> str:
    """Restore the restart policy that ``hold`` noted."""
    clock = Clock(deadline)
    docker, seen = _must_find(options, clock)
    policy = holds.read(options, seen["Id"])
    if policy:
        docker.act("/containers/%s/update" % seen["Id"], clock.left, {"RestartPolicy": policy})
        holds.remove(options)
    return "restart policy %s is in force again" % policy["Name"] if policy else "no hold of ours was in force"


def extend_start_timeout(options: Options, seconds: float, deadline: float) -> str:
    """Docker never stops a container for starting slowly."""
    return "Docker has no start timeout"


def logs_tail(options: Options, lines: int, deadline: float) -> bytes:
    """Return the last lines that the container wrote, b"" where the log driver keeps none."""
    clock = Clock(deadline)
    docker = _docker(options)
    try:
        seen = find(docker, options, clock)
        raw = _log(docker, seen["Id"], max(1, lines), clock)
    except (NotOne, Unreachable):
        return b""
    text = raw if seen["Config"].get("Tty") else demultiplexed(raw)
    return last_lines(text[-LOG_BYTES:], lines)


def last_start(options: Options, deadline: float) -> dict[str, t.Any]:
    """Return {began, invocation} of the container's last start."""
    try:
        seen = find(_docker(options), options, Clock(deadline))
        return {"began": service_state.epoch_of(str(seen["State"].get("StartedAt") or "")), "invocation": str(seen["Id"])}
    except (NotOne, Unreachable, KeyError, TypeError, AttributeError):
        return {}


def said_since(options: Options, start: t.Mapping[str, t.Any], deadline: float) -> list[dict[str, str]]:
    """Return what the container wrote since *start*, and why the engine could not start it."""
    clock, docker = Clock(deadline), _docker(options)
    try:
        seen = find(docker, options, clock)
        raw = _log(docker, seen["Id"], SAID_LINES, clock, float(start.get("began") or 0))
        text = (raw if seen["Config"].get("Tty") else demultiplexed(raw)).decode("utf-8", "replace")
        refused = str(seen["State"].get("Error") or "")
    except (NotOne, Unreachable, KeyError, TypeError, AttributeError):
        return []
    lines = [{"from": "container", "text": line} for line in text.splitlines()]
    return lines + [{"from": "Docker", "text": line} for line in refused.splitlines()]


def _log(docker: Docker, container: str, lines: int, clock: Clock, since: float = 0) -> bytes:
    """Return the raw tail of a log, with fewer lines if they are too long."""
    while True:
        path = "/containers/%s/logs?stdout=true&stderr=true&since=%.3f&tail=%d" % (container, since, lines)
        answer = docker.ask("GET", path, clock.left, limit=ANSWER_BYTES)
        if not answer.truncated or lines == 1:
            return answer.body if answer.status == 200 else b""
        lines //= 2


def evidence_of(options: Options) -> list[dict[str, t.Any]]:
    """Return what a run keeps before it acts: the container's log, which a recreation deletes."""
    compose = ["docker", "--host", str(options["docker_socket"]), "compose", "--project-name", str(options["project"])]
    argv = [*compose, "logs", "--no-color", "--timestamps", "--tail=5000", "--", str(options["name"])]
    return [{"name": "service.log", "kind": "command", "argv": argv}]
