# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new container of a Compose service would be made of, read from the project files before one is made."""

from __future__ import annotations

import json
import os
import typing as t
from urllib.parse import quote

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import project
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.docker import SOCKET, Docker, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock

# The options that locate the files of a project, beside those of its service manager.
PROJECT_SPEC: dict[str, t.Any] = {
    "project_src": {"type": "str", "default": ""},
    "project_files": {"type": "list", "elements": "str", "default": []},
    "env_files": {"type": "list", "elements": "str", "default": []},
}
Fresh = t.Dict[str, t.Any]


def load(options: t.Mapping[str, t.Any], deadline: float) -> Fresh:
    """Return {unreadable, image, image_id, hash, name, ports} within *deadline* seconds; never raises for a missing project.

    unreadable: why Compose cannot read the files, "" if it can. image_id: "" if the image is not on this host. name: the fixed
    container name, "" for none. ports: {published port or range: how many containers it is enough for}.
    """
    if not options["project_src"]:
        return {"unreadable": "set service_manager_project_src: Compose needs the directory of its project files"}
    if not os.path.isdir(options["project_src"]):
        return {"unreadable": "service_manager_project_src is not a directory on this host: %s" % one_line(options["project_src"], 80)}
    clock = Clock(deadline)
    try:
        service = json.loads(_config(options, ["--format", "json", "--", options["service"]], clock))["services"][options["service"]]
        told = _config(options, ["--hash", options["service"]], clock).split()
        image = str(service.get("image") or "%s-%s" % (options["project"], options["service"]))
        there = Docker(options["docker_socket"] or SOCKET).read("/images/%s/json" % quote(image, safe=""), clock.left) or {}
    except (project.Unreadable, Unreachable) as error:
        return {"unreadable": one_line(error, 200)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"unreadable": "Compose shows no usable service %s (%s)" % (one_line(options["service"], 60), type(error).__name__)}
    return {
        "unreadable": "", "image": image, "image_id": str(there.get("Id") or ""), "hash": told[-1] if told else "",
        "name": str(service.get("container_name") or ""), "ports": ports_of(service.get("ports") or []),
    }  # fmt: skip


def _config(options: t.Mapping[str, t.Any], words: t.Sequence[str], clock: Clock) -> str:
    naming = project.named(options.get("project_files") or (), options.get("env_files") or (), options["project"])
    socket = options["docker_socket"] or SOCKET
    return project.ask(naming, ["config", *words], socket=socket, src=options["project_src"], clock=clock)


def ports_of(ports: t.Iterable[t.Mapping[str, t.Any]]) -> dict[str, int]:
    """Return each published host port or range with the number of containers that it is enough for."""
    found = {}
    for one in ports:
        first, _dash, last = str(one.get("published") or "").partition("-")
        if first.isdigit() and int(first):
            found["%s/%s" % (one["published"], one.get("protocol") or "tcp")] = max(1, int(last) - int(first) + 1) if last.isdigit() else 1
    return found
