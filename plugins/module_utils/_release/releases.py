# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How releases are looked at, by what they are: the manager that runs them says that (``RELEASED_AS``)."""

from __future__ import annotations

import types
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._release import compose, directory, kubernetes
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager.ask import SERVICE_SPEC, trait

RELEASES: dict[str, types.ModuleType] = {
    "directories": directory,
    "images": compose,
    "pods": kubernetes,
}

# The options by which the releases of a service are named, common to looking and pinning.
RELEASE_SPEC: dict[str, t.Any] = {
    **SERVICE_SPEC,
    "releases_dir": {"type": "path", "default": ""},
    "current": {"type": "path", "default": ""},
    "pin_file": {"type": "path", "default": ""},
    "project_src": {"type": "path", "default": ""},
    "project_files": {"type": "list", "elements": "str", "default": []},
    "env_files": {"type": "list", "elements": "str", "default": []},
    "container": {"type": "str", "default": ""},
}


def load_release(options: t.Mapping[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the facts of a service's release within *deadline* seconds. Raises StepError for a bad name only."""
    found: dict[str, t.Any] = _known_to(options["manager"]).load_release(options, deadline)
    return found


def by_hand(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    """Return the commands that put back the release from before *plan*; *named* has the manager and what its commands name."""
    return str(_known_to(named["manager"]).by_hand(plan, named))


def select_by_hand(plan: t.Mapping[str, t.Any], named: t.Mapping[str, t.Any]) -> str:
    """Return the command that selects again what the next start would have taken before *plan*."""
    return str(_known_to(named["manager"]).select_by_hand(plan, named))


def are_pods(manager: t.Any) -> bool:
    """Return whether a release of this manager is an image that a cluster rolls out to pods."""
    return bool(trait(manager, "RELEASED_AS") == "pods")


def next_of(manager: t.Any) -> str:
    """Return what takes the release that is selected: a container that is only started again keeps its image."""
    return "the next container" if trait(manager, "RELEASED_AS") == "images" else "the next start"


def _known_to(manager: t.Any) -> types.ModuleType:
    return RELEASES[str(trait(manager, "RELEASED_AS"))]
