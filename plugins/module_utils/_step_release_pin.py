# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``release_pin``: what the next start of a service takes is this release, whatever its names come to mean. Starts nothing."""

from __future__ import annotations

import os
import secrets
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils import (
    _release_compose,
    _release_directory,
    _releases,
)
from ansible_collections.somabrain.incident_response.plugins.module_utils._docker import Docker, Unreachable
from ansible_collections.somabrain.incident_response.plugins.module_utils._evidence import sync_directory, write_durably
from ansible_collections.somabrain.incident_response.plugins.module_utils._reasons import reason
from ansible_collections.somabrain.incident_response.plugins.module_utils._release import short
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import Clock
from ansible_collections.somabrain.incident_response.plugins.module_utils._step import Params, Result, StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._text import one_line

ARGUMENT_SPEC: dict[str, t.Any] = {
    **_releases.RELEASE_SPEC,
    "name": {"type": "str", "required": True},
    "release": {"type": "str", "required": True},
    "project_src": {"type": "path", "default": ""},
    "project_files": {"type": "list", "elements": "str", "default": []},
    "stage": {"type": "str", "choices": ["act", "undo"], "default": "act"},
}


def run(params: Params, check: bool) -> Result:
    """Return {changed, before, after, files, diff, stage, say}; ``before`` and ``after`` are ids, "" where none was selected.

    Raises StepError before anything is changed where the release is not there, is not what its id says, or cannot be selected.
    """
    try:
        pin = {"compose": _pin_image, "supervisor": _pin_directory, "systemd": _pin_directory}.get(params["manager"])
        if pin is None:
            raise StepError("a %s is pinned by a change of its object, see the role service_manager" % params["workload_kind"])
        found = pin(params, check)
    except (OSError, ValueError) as error:
        raise _refused("release_not_pinned", str(error)) from None
    told = "%s release %s" % (
        ("would select" if check else "selected") if found["changed"] else "selected already:",
        short(params["release"]),
    )
    return dict({"files": []}, **found, after=params["release"], stage=params["stage"], say=["%s: %s" % (params["name"], told)])


def _refused(code: str, text: str) -> StepError:
    return StepError("%s: %s" % (code, one_line(text, 300)), reasons=[reason(code, text)])


def _pin_directory(params: Params, check: bool) -> dict[str, t.Any]:
    base, link, release = os.path.realpath(params["releases_dir"]), params["current"], params["release"]
    if not (params["releases_dir"] and link):
        raise StepError("releases_dir and current have to name where releases are and which link selects one")
    before = _release_directory.selected_by(link, base)[0]
    if os.path.lexists(link) and not os.path.islink(link):
        raise ValueError("%s is no link; a release is selected by a link" % link)
    _prove_directory(base, release)
    if before == release:
        return {"changed": False, "before": before}
    if not check:
        _replace_link(link, os.path.relpath(os.path.join(base, release), os.path.realpath(os.path.dirname(link))))
    return {"changed": True, "before": before, "diff": {"before": before + "\n", "after": release + "\n"}}


def _prove_directory(base: str, release: str) -> None:
    found = _release_directory.look_at(base, release, Clock(float("inf")))
    if not found["intact"]:
        raise _refused("release_altered" if found["there"] else "release_missing", found["detail"])


def _replace_link(link: str, target: str) -> None:
    """Let *link* point to *target* from one moment to the next, and survive a crash right after."""
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
    source, release = params["project_src"], params["release"]
    path = params["pin_file"] or os.path.join(source, "compose.release.yml")
    if not source or not os.path.isdir(source):
        raise StepError("project_src has to be the directory of the Compose project on the target")
    files = [*(params["project_files"] or _release_compose.default_files(source))]
    if not files:
        raise StepError("%s has no file that Compose finds by itself; name them in project_files" % one_line(source, 80))
    try:
        image = Docker(params["docker_socket"]).read("/images/%s/json" % release, 10)
    except Unreachable as error:
        raise StepError("Docker cannot be asked: %s" % one_line(error, 140)) from None
    if (image or {}).get("Id") != release:
        raise _refused("release_missing", "this engine has no image %s" % release)
    before, text = _release_compose.pinned(path, params["name"]), _release_compose.pins_with(path, params["name"], release)
    if before != release and not check:
        write_durably(path, text.encode())
        # Whoever runs Compose here reads it, as its other files.
        os.chmod(path, 0o644)
    # In a rehearsal the file may not be there yet, and Compose would not find it.
    named = [] if check and not os.path.isfile(path) else [os.path.relpath(path, source)]
    files = [one for one in files if os.path.join(source, one) != path] + named
    return {"changed": before != release, "before": before, "files": files, "diff": {"before": before + "\n", "after": release + "\n"}}
