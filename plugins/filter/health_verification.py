# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the role health_verification: module_utils/_checks/derived.py for YAML, which decides nothing itself."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import plain
from ansible_collections.somabrain.incident_response.plugins.plugin_utils._late import Late

if t.TYPE_CHECKING:
    from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import derived
else:
    derived = Late("_checks.derived")


def remedies(wanted: t.Any, groups: t.Mapping[str, t.Any], host: str, variables: t.Sequence[str]) -> list[str]:
    return derived.remedies_of(plain(wanted), plain(dict(groups)), str(host), plain(variables))


def with_derived(own: t.Any, checks: t.Any) -> list[t.Any]:
    return derived.with_derived(plain(own), plain(checks))


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"health_verification_remedies": remedies, "health_verification_with_derived": with_derived}
