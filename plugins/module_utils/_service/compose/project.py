# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recreated container of a Compose project would be made from: the files of the present one, read by Compose itself.

A project is more than its directory: the present container may come from other files and environment files. Compose labels
each container with the files it used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import differs
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._system import program

LABEL = "com.docker.compose."
# Compose takes the first one that exists; base and override need not match in name.
BASES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = ("compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml")

Labels = t.Mapping[str, t.Any]
Named = t.Mapping[str, t.Any]


class Project(t.NamedTuple):
    """Directory, files and environment files of a project, as absolute paths; ``made_in`` is the directory that the container names."""

    src: str
    files: tuple[str, ...]
    env_files: tuple[str, ...]
    made_in: str


class Unreadable(Exception):
    """Compose could not recreate the container. The text is one line."""


def default_files(folder: str) -> list[str]:
    """Return the names of the files that Compose finds in the directory of a project, [] for none."""
    base, over = ([name for name in names if os.path.isfile(os.path.join(folder, name))][:1] for names in (BASES, OVERRIDES))
    return base + over if base else []


def project_of(given: Named, labels: Labels, pin: str) -> Project:
    """Return the project that *given* (project_src, project_files, env_files) means, else the one that the container's *labels* name.

    The file of pins, *pin*, is left out: its content is what will change.
    """
    made_in = str(labels.get(LABEL + "project.working_dir") or "")
    src = str(given.get("project_src") or "") or made_in
    is_same = bool(made_in) and os.path.realpath(src) == os.path.realpath(made_in)
    files = _within(src, given.get("project_files") or ()) or (_listed(labels, "project.config_files", made_in) if is_same else ())
    files = files or _within(src, default_files(src))
    env_files = _within(src, given.get("env_files") or ()) or (_listed(labels, "project.environment_file", made_in) if is_same else ())
    return Project(src, tuple(one for one in files if not _is_same(one, pin)), env_files, made_in)


def _within(src: str, names: t.Sequence[str]) -> tuple[str, ...]:
    return tuple(os.path.join(src, str(name)) for name in names)


def _listed(labels: Labels, name: str, made_in: str) -> tuple[str, ...]:
    return _within(made_in, [one for one in str(labels.get(LABEL + name) or "").split(",") if one])


def _is_same(one: str, other: str) -> bool:
    return bool(other) and os.path.realpath(one) == os.path.realpath(other)


def prove(project: Project, socket: str, labels: Labels, pin: str, clock: Clock) -> dict[str, t.Any]:
    """Return {service, model}: what Compose reads for the container's service, and of the whole project.

    Raises Unreadable if it could not recreate the container.
    """
    why = _lacking(project)
    if why:
        raise Unreadable(why)
    name, service = str(labels.get(LABEL + "project") or ""), str(labels.get(LABEL + "service") or "")
    files = project.files + ((pin,) if os.path.isfile(pin) else ())
    told = _compose(project._replace(files=files), socket, name, ["config", "--format", "json", "--", service], clock)
    try:
        model = dict(json.loads(told))
        return {"service": dict(model["services"][service]), "model": model}
    except (ValueError, KeyError, TypeError):
        raise Unreadable("the project files have no service %s: %s" % (one_line(service, 60), _shown(project.files))) from None


def _lacking(project: Project) -> str:
    if not project.src or not os.path.isdir(project.src):
        return "the directory of the Compose project is unknown or missing (%s): set project_src (rollback_project_src)" % (
            project.src or "none"
        )
    if not project.files:
        return "%s has no file that Compose would find; name the files in project_files" % one_line(project.src, 80)
    gone = [one for one in project.files + project.env_files if not os.path.isfile(one)]
    return "a file that the container was made from no longer exists: %s" % _shown(gone) if gone else ""


def _shown(files: t.Sequence[str]) -> str:
    return one_line(", ".join(files), 160)


def ask(naming: t.Sequence[str], words: t.Sequence[str], *, socket: str, src: str, clock: Clock) -> str:
    """Return what ``docker compose`` prints for *words* in the directory *src*; *naming* selects the project. Raises Unreadable."""
    # Project files contain environment variables, so they are read with the environment that an act would have.
    done = program.run(
        ["docker", "--host", socket, "compose", *naming, *words], max(1.0, clock.left), env=dict(os.environ, LC_ALL="C"), cwd=src
    )
    if not done.ok:
        raise Unreadable("Compose cannot read the project: %s" % one_line(_why(done), 160))
    return done.out


def _why(done: program.Ran) -> str:
    """Return why Compose printed nothing usable; a program that is missing is named with what brings it."""
    if done.rc == program.NOT_FOUND:
        return "the command docker is missing on this host: install it, with its compose plugin"
    if "is not a docker command" in done.err or "unknown command: docker compose" in done.err:
        return "docker has no compose plugin on this host: install the package docker-compose-plugin"
    lines = [line for line in done.err.splitlines() if line.strip() and "level=warning" not in line]
    return "no answer in time" if done.timed_out else redact(lines[-1] if lines else "exit code %d" % done.rc)


def named(files: t.Sequence[str], env_files: t.Sequence[str], name: str) -> list[str]:
    """Return the arguments that select files, environment files and name of a project; anything not given is left out."""
    words = [word for option, many in (("--file", files), ("--env-file", env_files)) for one in many for word in (option, one)]
    return (["--project-name", name] if name else []) + words


def _compose(project: Project, socket: str, name: str, words: t.Sequence[str], clock: Clock) -> str:
    return ask(_naming(project, name), words, socket=socket, src=project.src, clock=clock)


def _naming(project: Project, name: str) -> list[str]:
    """Return the arguments that select the project and its files."""
    return ["--project-directory", project.src, *named(project.files, project.env_files, name)]


def command_of(project: Project, labels: Labels, pin: str) -> str:
    """Return the command that recreates the container from the image that the file of pins names."""
    service = str(labels.get(LABEL + "service") or "")
    naming = _naming(project._replace(files=(*project.files, pin)), str(labels.get(LABEL + "project") or ""))
    return shlex.join(["docker", "compose", *naming, "up", "--detach", "--no-deps", "--", service])


def fingerprint(read: Named) -> str:
    """Return one digest of all settings that a new container would get, beside its image."""
    service = {key: value for key, value in read["service"].items() if key not in ("image", "pull_policy")}
    kept = {key: read["model"].get(key) for key in ("volumes", "networks", "configs", "secrets")}
    return hashlib.sha256(json.dumps([service, kept], sort_keys=True).encode()).hexdigest()


def differences(project: Project, socket: str, seen: t.Mapping[str, t.Any], image: t.Any, read: Named, pin: str, clock: Clock) -> list[str]:
    """Return in what a recreated container would differ from the one that was *seen*, beside its image: never a value that may be secret.

    Raises Unreadable.
    """
    labels = seen["Config"].get("Labels") or {}
    found = differs.changes(differs.Wanted(read["service"], read["model"], (image or {}).get("Config") or {}), seen)
    if _hash_of(project, socket, labels, pin, clock) in ("", labels.get(LABEL + "config-hash")):
        return [one.text for one in differs.names_changed(found)]
    if found or not _is_comparable(project, socket, seen, labels, clock):
        return [one.text for one in found]
    return ["settings that cannot be compared one by one"]


def _is_comparable(project: Project, socket: str, seen: t.Mapping[str, t.Any], labels: Labels, clock: Clock) -> bool:
    """Return whether another hash means other settings: another Compose, or another image, makes another one of the same."""
    if _compose(project, socket, "", ["version", "--short"], clock).strip() != labels.get(LABEL + "version"):
        return False
    read = prove(project, socket, labels, "", clock)
    return bool(read["service"].get("image") == seen["Config"].get("Image"))


def changed_since(project: Project, made: t.Optional[float]) -> list[str]:
    """Return the files of the project that were changed after the moment *made*; what was put there with an old time counts, too."""
    found = []
    for name in project.files + project.env_files:
        with contextlib.suppress(OSError):
            facts = os.stat(name)
            if made and max(facts.st_mtime, facts.st_ctime) > made:
                found.append(name)
    return found


def _hash_of(project: Project, socket: str, labels: Labels, pin: str, clock: Clock) -> str:
    """Return Compose's hash of the service's settings, "" for none; the file of pins counts if the container was made with it."""
    service, name = (str(labels.get(LABEL + key) or "") for key in ("service", "project"))
    was_pinned = any(_is_same(one, pin) for one in _listed(labels, "project.config_files", project.made_in))
    files = project.files + ((pin,) if was_pinned and os.path.isfile(pin) else ())
    words = _compose(project._replace(files=files), socket, name, ["--profile", "*", "config", "--hash", service], clock).split()
    return words[-1] if words else ""
