# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service managers by name; a piped step gets this file with only the managers that its options name.

A new manager is one file beside this one, one line here, and one folder in roles/service_manager.
"""

from __future__ import annotations

import types
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import (
    compose,
    kubernetes,
    supervisor,
    systemd,
)

MANAGERS: dict[str, types.ModuleType] = {
    "compose": compose,
    "kubernetes": kubernetes,
    "supervisor": supervisor,
    "systemd": systemd,
}


def named_in(options: t.Any) -> set[str]:
    """Return the managers that *options* name at any depth; all of them for an unknown name, whose refusal lists them."""
    if isinstance(options, (list, tuple)):
        return set().union(*(named_in(one) for one in options))
    if not isinstance(options, dict):
        return set()
    given = str(options.get("manager") or "")
    own = {given} if given in MANAGERS else set(MANAGERS) if given else set()
    return own.union(*(named_in(one) for one in options.values()))
