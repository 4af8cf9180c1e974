# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of a Compose service: images of its engine by their id; a pin is a file for Compose that names the image by its id."""

from __future__ import annotations

import json
import os
import re
import typing as t
import urllib.parse

from ansible_collections.somabrain.incident_response.plugins.module_utils import _release, _service_compose
from ansible_collections.somabrain.incident_response.plugins.module_utils._docker import Docker, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._text import one_line

# What the builder of an image may say of the schema changes that it brings.
LABEL = "org.somabrain.release.migrations"
# What can be the name or the id of an image.
WORD = re.compile(r"[A-Za-z0-9][\w.:@/-]{0,255}\Z", re.ASCII)
HEAD = "# Written by somabrain.incident_response. Compose runs these images by their id; take a line out to go by its tag again.\n"


def load_release(options: t.Mapping[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the facts of ``_release.blank``; *options* has ``pin_file``, ``ids`` and ``words`` beside the service."""
    clock = Clock(deadline)
    docker = Docker(str(options.get("docker_socket") or ""))
    try:
        seen = _service_compose.find(docker, dict(options, name=options["service"]), clock)
        image = _image(docker, seen["Image"], clock)
        reference = str(seen["Config"]["Image"])
        pin = pinned(str(options.get("pin_file") or ""), options["service"])
        selected = _id(_image(docker, pin or reference, clock))
        named = {word: _id(_image(docker, word, clock)) for word in options.get("words", [])}
        asked = dict.fromkeys([seen["Image"], *named.values(), *options.get("ids", [])])
        known = {one: _known(docker, one, clock) for one in asked if one}
    except _service_compose.NotOne as error:
        return _release.blank(reachable=False, detail="%s: %s" % (one_line(options["service"], 60), error))
    except Unreachable as error:
        return _release.blank(reachable=False, detail="Docker cannot be asked: " + one_line(error, 160))
    except ValueError as error:
        return _release.blank(reachable=False, detail=one_line(error, 160))
    labels = ((image or {}).get("Config") or {}).get("Labels") or {}
    return _release.blank(
        running=seen["Image"], selected=selected, names=_names(image), migrations=str(labels.get(LABEL) or ""), known=known, named=named,
        pinned=bool(pin), reference=one_line(reference, 200),
    )  # fmt: skip


def _image(docker: Docker, word: str, clock: Clock) -> t.Any:
    """Return what the engine tells of the image that a word means, None for none."""
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
    # An engine finds an image by its id only as long as that is what it holds.
    return {"there": there, "intact": there or None, "names": _names(image), "detail": "" if there else "this engine has no such image"}


def pinned(path: str, service: str) -> str:
    """Return the image that the pin file names for a service, "" for none."""
    entry = read_pins(path).get("services", {}).get(service) or {}
    return str(entry.get("image") or "") if isinstance(entry, dict) else ""


def read_pins(path: str) -> dict[str, t.Any]:
    """Return what a pin file of ours says, {} where there is none. Raises ValueError for a file that somebody else wrote."""
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


def default_files(folder: str) -> list[str]:
    """Return the files that Compose finds by itself in the directory of a project, by their names, [] where it would find none."""
    for base in ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"):
        if os.path.isfile(os.path.join(folder, base)):
            stem = base.partition(".")[0]
            over = ["%s.override.%s" % (stem, ending) for ending in ("yaml", "yml")]
            return [base, *[name for name in over if os.path.isfile(os.path.join(folder, name))][:1]]
    return []
