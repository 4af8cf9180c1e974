# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of a Compose service: images by their id; a pin is a Compose file that names the image by its id."""

from __future__ import annotations

import json
import os
import re
import shlex
import typing as t
import urllib.parse

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import identity
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import project as compose_project
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.docker import Docker, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import compose as manager_compose
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock, epoch_of

# Label by which an image declares its schema migrations.
LABEL = "org.somabrain.release.migrations"
# What can be the name or the id of an image.
WORD = re.compile(r"[A-Za-z0-9][\w.:@/-]{0,255}\Z", re.ASCII)
PIN_FILE = "compose.release.yml"
# Recognises our own files, so its wording stays.
HEAD = "# Written by somabrain.incident_response. Compose runs these images by their id; take a line out to go by its tag again.\n"


def load_release(options: t.Mapping[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the facts of ``_release.blank``; *options* has ``pin_file``, ``ids`` and ``words`` beside the service.

    With ``read_project`` the facts have ``project``, too: {src, problem, differs, command} of a container that would be recreated.
    """
    clock = Clock(deadline)
    docker = Docker(str(options.get("docker_socket") or ""))
    try:
        seen = manager_compose.find(docker, dict(options, name=options["service"]), clock)
        image = _image(docker, seen["Image"], clock)
        reference = str(seen["Config"]["Image"])
        labels = seen["Config"].get("Labels") or {}
        pin_file = pin_file_of(options, labels)
        pin = pinned(pin_file, options["service"])
        selected = _id(_image(docker, pin or reference, clock))
        named = {word: _id(_image(docker, word, clock)) for word in options.get("words", [])}
        asked = dict.fromkeys([seen["Image"], *named.values(), *options.get("ids", [])])
        known = {one: _known(docker, one, clock) for one in asked if one}
        project = _project(options, seen, image, pin_file, clock) if options.get("read_project") else {}
        left = _left(options, seen, pin_file, pin, clock)
    except manager_compose.NotOne as error:
        return _not_one(options, error)
    except Unreachable as error:
        return identity.blank(reachable=False, detail="Docker does not answer: " + one_line(error, 160))
    except ValueError as error:
        return identity.blank(reachable=False, detail=one_line(error, 160))
    said = ((image or {}).get("Config") or {}).get("Labels") or {}
    return identity.blank(
        running=seen["Image"], selected=selected, names=_names(image), migrations=str(said.get(LABEL) or ""), known=known, named=named,
        pinned=bool(pin), reference=one_line(reference, 200), project=project, **left,
    )  # fmt: skip


def _not_one(options: t.Mapping[str, t.Any], error: manager_compose.NotOne) -> dict[str, t.Any]:
    """Return facts without a release; the look at the service says what is here instead."""
    why = "it has no container" if error.exists is False else str(error)
    return identity.blank(reachable=False, detail="%s: %s" % (one_line(options["service"], 60), why))


def _left(options: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any], pin_file: str, pin: str, clock: Clock) -> dict[str, t.Any]:
    """Return {left}: what Compose would start without the file of pins; {} where that cannot be seen."""
    labels, socket = seen["Config"].get("Labels") or {}, str(options.get("docker_socket") or "")
    project = compose_project.project_of(options, labels, pin_file)
    if not pin or is_named(pin_file, project.src, options.get("project_files") or ()):
        return {"left": []}
    try:
        read = compose_project.prove(project, socket, labels, "", clock)
    except compose_project.Unreadable:
        return {}
    default = "%s-%s" % (labels.get(compose_project.LABEL + "project"), options["service"])
    reference = str(read["service"].get("image") or default)
    image = _id(_image(Docker(socket), reference, clock))
    return {"left": [] if image == pin else [left_of(pin_file, project.files, reference, pin, image)]}


def is_named(pin_file: str, src: str, project_files: t.Sequence[str]) -> bool:
    """Return whether deployments name the file of pins: as a file of the project, or by COMPOSE_FILE in its environment file."""
    try:
        with open(os.path.join(src, ".env"), encoding="utf-8", errors="replace") as file:
            lines = [line.partition("=")[2] for line in file.read(1 << 16).splitlines() if line.strip().startswith("COMPOSE_FILE=")]
    except OSError:
        lines = []
    listed = [one for line in lines[-1:] for one in line.strip().strip("\"'").split(":")]
    return os.path.realpath(pin_file) in {os.path.realpath(os.path.join(src, str(one))) for one in [*project_files, *listed] if one}


def left_of(pin_file: str, files: t.Sequence[str], reference: str, pin: str, image: str) -> dict[str, str]:
    """Return what is left while only the file of pins names the release that runs: *reference* means *image* now, "" for none here."""
    text = "docker compose up without --file %s starts %s (%s): correct its image in %s, then delete that file"
    what = "release %s" % identity.short(image) if image else "another release"
    is_tag = "@" not in reference and not reference.startswith("sha256:")
    told = text % (one_line(pin_file, 120), what, one_line(reference, 100), one_line(", ".join(files), 120))
    command = shlex.join(["docker", "tag", pin, reference]) if is_tag else ""
    return {"what": "pinned_release", "text": told + (", or let its tag mean the good image again" if is_tag else ""), "command": command}


def pin_file_of(options: t.Mapping[str, t.Any], labels: t.Mapping[str, t.Any]) -> str:
    """Return the path of the file of pins: the given one, or its usual name in the directory of the project."""
    src = str(options.get("project_src") or "") or str(labels.get(compose_project.LABEL + "project.working_dir") or "")
    return str(options.get("pin_file") or "") or (os.path.join(src, PIN_FILE) if src else "")


def _project(options: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any], image: t.Any, pin_file: str, clock: Clock) -> dict[str, t.Any]:
    """Return whether the container could be recreated, and in what it would differ beside its image."""
    nothing: dict[str, t.Any] = {"src": "", "problem": "", "differs": [], "changed": [], "hash": "", "command": ""}
    if options.get("replica"):
        text = "Compose recreates all containers of a service: scale it to one first (scale-traffic.yml), and name no replica"
        return {**nothing, "problem": text}
    labels, socket = seen["Config"].get("Labels") or {}, str(options.get("docker_socket") or "")
    project = compose_project.project_of(options, labels, pin_file)
    try:
        read = compose_project.prove(project, socket, labels, pin_file, clock)
        differs = compose_project.differences(project, socket, seen, image, read, pin_file, clock)
    except compose_project.Unreadable as error:
        return {**nothing, "src": project.src, "problem": str(error)}
    strange = differs and project.made_in and os.path.realpath(project.src) != os.path.realpath(project.made_in)
    text = "it was made in %s, and %s would give it other settings (%s): correct project_src (rollback_project_src)"
    problem = text % (one_line(project.made_in, 80), one_line(project.src, 80), ", ".join(differs)) if strange else ""
    return {
        "src": project.src, "problem": problem, "differs": differs,
        "changed": compose_project.changed_since(project, epoch_of(str(seen.get("Created") or ""))),
        "hash": compose_project.fingerprint(read), "command": compose_project.command_of(project, labels, pin_file),
    }  # fmt: skip


def _image(docker: Docker, word: str, clock: Clock) -> t.Any:
    """Return what the engine knows about the image that a word means, None for none."""
    if not WORD.match(word):
        return None
    return docker.read("/images/%s/json" % urllib.parse.quote(word, safe="/:@"), max(0.3, clock.left))


def _id(image: t.Any) -> str:
    return str((image or {}).get("Id") or "")


def _names(image: t.Any) -> list[str]:
    found = [*((image or {}).get("RepoTags") or []), *((image or {}).get("RepoDigests") or [])]
    return sorted(one_line(name, 200) for name in found)


def _known(docker: Docker, release: str, clock: Clock) -> dict[str, t.Any]:
    image = _image(docker, release, clock)
    there = _id(image) == release
    # The id is made from the content, so an image found by its id is intact.
    return {"there": there, "intact": there or None, "names": _names(image), "detail": "" if there else "this engine has no such image"}


def pinned(path: str, service: str) -> str:
    """Return the image that the pin file names for a service, "" for none."""
    entry = read_pins(path).get("services", {}).get(service) or {}
    return str(entry.get("image") or "") if isinstance(entry, dict) else ""


def read_pins(path: str) -> dict[str, t.Any]:
    """Return the content of our pin file, {} for none. Raises ValueError for a file that we did not write."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(1 << 20)
    except OSError:
        return {}
    found = json.loads(text[len(HEAD) :]) if text.startswith(HEAD) else None
    if not isinstance(found, dict) or not isinstance(found.get("services"), dict):
        raise ValueError("%s is not a file of pins" % path)
    return found


def pins_with(path: str, service: str, release: str) -> str:
    """Return the text of the pin file that also names this image for this service. Raises ValueError as ``read_pins`` does."""
    services = dict(read_pins(path).get("services", {}), **{service: {"image": release, "pull_policy": "never"}})
    return HEAD + json.dumps({"services": services}, indent=2, sort_keys=True) + "\n"


def by_hand(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    """Return the commands that put back the image from before the plan."""
    return "%s && %s" % (_pinned_again(plan["release"], plan["current"], _pins(plan, named)), plan["compose"])


def select_by_hand(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    """Return the command that pins for the next container what it would have been made of before the plan."""
    return _pinned_again(plan["release"], plan["selected"], _pins(plan, named))


def _pins(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    return str(named["pin_file"] or "%s/%s" % (plan["project_src"], PIN_FILE))


def _pinned_again(now: str, then: str, pins: str) -> str:
    return shlex.join(["sed", "-i", "s/%s/%s/" % (now, then), pins])
