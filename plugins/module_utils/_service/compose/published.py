# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which container of this machine has a TCP port of it: then the store on that port is the container's, and not that of a unit beside it.

A container that does not run still has the port if it was the last that served there. The loader never raises.
"""

from __future__ import annotations

import shlex
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.docker import SOCKET, Docker, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import epoch_of

SECONDS = 1.0
# A machine with more containers than this is asked about the first ones.
MOST = 50
Told = t.Mapping[str, t.Any]


def load_container_on(port: int, written_at: float, socket: str = SOCKET) -> dict[str, t.Any]:
    """Return {name, project, service, running, command} of the container that has *port*, {} for none or where Docker cannot be asked.

    *written_at* is when the machine's own data were last written, 0 for none: what served later has the port.
    """
    end = time.monotonic() + SECONDS
    try:
        engine = Docker(socket)
        listed = engine.read("/containers/json?all=true", SECONDS)
        seen = [engine.read("/containers/%s/json" % one["Id"], max(0.05, end - time.monotonic())) for one in (listed or [])[:MOST]]
        return judge_containers([one for one in seen if one], port, written_at)
    except (Unreachable, StepError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def judge_containers(seen: t.Sequence[Told], port: int, written_at: float) -> dict[str, t.Any]:
    """Return what ``load_container_on`` does, of what Docker says of each container."""
    mine = [one for one in seen if _publishes(one, port)]
    last = max(mine, key=lambda one: (bool(one["State"]["Running"]), _ended_at(one)), default=None)
    if last is None or not (last["State"]["Running"] or _ended_at(last) > written_at):
        return {}
    labels = last["Config"].get("Labels") or {}
    name = str(last["Name"]).lstrip("/")
    return {
        "name": one_line(name, 80),
        "project": one_line(labels.get("com.docker.compose.project") or "", 80),
        "service": one_line(labels.get("com.docker.compose.service") or "", 80),
        "running": bool(last["State"]["Running"]),
        "command": "docker %s %s" % ("restart" if last["State"]["Running"] else "start", shlex.quote(name)),
    }


def sentence(found: Told, port: int) -> str:
    """Say which container has the port, and what that means for the machine's own unit."""
    whose = "container %s" % found["name"] + (" of the Compose project %s" % found["project"] if found["project"] else "")
    has = "has port %d" % port if found["running"] else "had port %d last and does not run" % port
    return "%s %s, so the unit and the data directory of this machine are not those of this store" % (whose, has)


def _publishes(one: Told, port: int) -> bool:
    # Of a range of ports only the one that a running container got is its own.
    got = (one.get("NetworkSettings") or {}).get("Ports") if one["State"]["Running"] else None
    bound = (got or one["HostConfig"].get("PortBindings") or {}).items()
    places = [place for inner, several in bound if inner.endswith("/tcp") for place in several or []]
    return _in_our_network(one, port) or any(str(place.get("HostPort")) == str(port) for place in places)


def _in_our_network(one: Told, port: int) -> bool:
    """Return whether a container without a network of its own names the port: its image, its command, or its environment."""
    if one["HostConfig"].get("NetworkMode") != "host":
        return False
    given = [one.get("Path"), *(one.get("Args") or []), *(one["Config"].get("Env") or [])]
    words = {str(word).rpartition("=")[2].rpartition(":")[2] for word in given}
    return "%d/tcp" % port in (one["Config"].get("ExposedPorts") or {}) or str(port) in words


def _ended_at(one: Told) -> float:
    """Return when a container last ended; 0 for one that never ran."""
    return max(0.0, epoch_of(str(one["State"].get("FinishedAt") or "")) or 0.0)
