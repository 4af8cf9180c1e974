# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``release_pin``: make the next start of a service use this release, even if its names move. Starts nothing."""

from __future__ import annotations

import os
import secrets
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import compose as release_compose
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import directory, releases
from ansible_collections.somabrain.incident_response.plugins.module_utils._release.identity import short
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import project as compose_project
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose.docker import Docker, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import compose as manager_compose
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import manager_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.evidence import sync_directory, write_durably
from ansible_collections.somabrain.incident_response.plugins.module_utils._spine.reasons import reason

# Seconds that Docker and Compose have to answer what a container would be made from.
PROVE_SECONDS = 20.0
ARGUMENT_SPEC: dict[str, t.Any] = {
    **releases.RELEASE_SPEC,
    "name": {"type": "str", "required": True},
    "release": {"type": "str", "required": True},
    "project_hash": {"type": "str", "default": ""},
    "expected": {"type": "str", "default": ""},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed, before, after, src, files, env_files, diff, stage, say}; ``before`` and ``after`` are ids, "" for none selected.

    Raises StepError before any change if the release is missing, does not match its id, or cannot be selected.
    """
    try:
        pin = {"images": _pin_image, "directories": _pin_directory}.get(manager_of(params).RELEASED_AS)
        if pin is None:
            raise StepError("a %s is pinned by a change of its object, see the role service_manager" % params["workload_kind"])
        found = pin(params, check)
    except (OSError, ValueError, compose_project.Unreadable) as error:
        raise _refused("release_not_pinned", str(error)) from None
    text = "%s release %s" % (
        ("would select" if check else "selected") if found["changed"] else "already selected:",
        short(params["release"]),
    )
    blank: dict[str, t.Any] = {"src": "", "files": [], "env_files": []}
    return {**blank, **found, "after": params["release"], "stage": params["stage"], "say": ["%s: %s" % (params["name"], text)]}


def _refused(code: str, text: str) -> StepError:
    return StepError("%s: %s" % (code, one_line(text, 300)), reasons=[reason(code, text)])


def _pin_directory(params: Params, check: bool) -> dict[str, t.Any]:
    base, link, release = os.path.realpath(params["releases_dir"]), params["current"], params["release"]
    if not (params["releases_dir"] and link):
        raise StepError("set releases_dir to the directory of releases and current to the link that selects one")
    before = directory.selected_by(link, base)[0]
    if os.path.lexists(link) and not os.path.islink(link):
        raise ValueError("%s is not a link; a link selects the release" % link)
    if params["expected"] not in ("", before) and before != release:
        text = "%s selects %s by now, not %s: somebody has deployed since this run looked; run again to have that judged"
        raise _refused("release_not_pinned", text % (one_line(link, 80), short(before) or "no release", short(params["expected"])))
    _prove_directory(base, release)
    if before == release:
        return {"changed": False, "before": before}
    if not check:
        _replace_link(link, os.path.relpath(os.path.join(base, release), os.path.realpath(os.path.dirname(link))))
    return {"changed": True, "before": before, "diff": {"before": before + "\n", "after": release + "\n"}}


def _prove_directory(base: str, release: str) -> None:
    found = directory.look_at(base, release, Clock(float("inf")))
    if not found["intact"]:
        raise _refused("release_altered" if found["there"] else "release_missing", found["detail"])


def _replace_link(link: str, target: str) -> None:
    """Point *link* to *target* atomically and durably."""
    folder = os.path.dirname(link)
    half = os.path.join(folder, ".%s.%s" % (os.path.basename(link), secrets.token_hex(6)))
    os.symlink(target, half)
    try:
        os.replace(half, link)
    except BaseException:
        os.unlink(half)
        raise
    sync_directory(folder)


def _pin_image(params: Params, check: bool) -> dict[str, t.Any]:
    release, clock = params["release"], Clock(PROVE_SECONDS)
    project, labels, path = _project_of(params, clock)
    _prove_expected(params, path, clock)
    before, text = release_compose.pinned(path, params["name"]), release_compose.pins_with(path, params["name"], release)
    read = compose_project.prove(project, params["docker_socket"], labels, path, clock)
    if params["project_hash"] not in ("", compose_project.fingerprint(read)):
        raise _refused("approval_stale", "the settings in the project files have changed since the plan was made: %s" % project.src)
    if before != release and not check:
        write_durably(path, text.encode())
        # Anyone who runs Compose here must be able to read it.
        os.chmod(path, 0o644)
    # In check mode the file may not exist yet, and Compose would not find it.
    files = [*project.files] + ([] if check and not os.path.isfile(path) else [path])
    made_of = {"src": project.src, "files": files, "env_files": [*project.env_files]}
    return {"changed": before != release, "before": before, **made_of, "diff": {"before": before + "\n", "after": release + "\n"}}


def _prove_expected(params: Params, path: str, clock: Clock) -> None:
    """Refuse if the next container would be made of another image than when the plan was made."""
    if not params["expected"]:
        return
    named = dict(params, service=params["name"], pin_file=path, project_src=params["project_src"])
    now = str(release_compose.load_release(named, clock.left).get("selected") or "")
    if now not in ("", params["expected"], params["release"]):
        text = "its image is %s by now, not %s: somebody has deployed since this run looked; run again to have that judged"
        raise _refused("release_not_pinned", text % (short(now), short(params["expected"])))


def _project_of(params: Params, clock: Clock) -> tuple[compose_project.Project, dict[str, t.Any], str]:
    """Return (the project, the labels of the service's container, the path of the file of pins). Raises StepError for a missing image."""
    docker, release = Docker(params["docker_socket"]), params["release"]
    try:
        image = docker.read("/images/%s/json" % release, clock.left)
        labels = _labels(docker, params, clock)
    except Unreachable as error:
        raise StepError("Docker does not answer: %s" % one_line(error, 140)) from None
    if (image or {}).get("Id") != release:
        raise _refused("release_missing", "this engine has no image %s" % release)
    path = release_compose.pin_file_of(params, labels)
    return compose_project.project_of(params, labels, path), labels, path


def _labels(docker: Docker, params: Params, clock: Clock) -> dict[str, t.Any]:
    """Return the labels of a container of the service; if none is left, those that name the service."""
    try:
        seen = manager_compose.find_all(docker, params, clock)[0]
        return dict(seen["Config"].get("Labels") or {})
    except manager_compose.NotOne:
        return {compose_project.LABEL + key: value for key, value in (("project", params["project"]), ("service", params["name"]))}
