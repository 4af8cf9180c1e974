# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role service_manager: module_utils/_service for YAML, which decides nothing itself."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._service.compose import project as compose_project
else:
    compose_project = Late("_service.compose.project")


def compose(project: str, files: t.Sequence[str], env_files: t.Sequence[str], docker_socket: str) -> list[str]:
    return ["docker", "--host", str(docker_socket), "compose", *compose_project.named(plain(files), plain(env_files), str(project))]


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"service_manager_compose": compose}
