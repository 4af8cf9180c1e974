# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kinds of checks say of themselves, so that no other file has to know a kind by its name."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kinds import KINDS


def trait(kind: t.Any, name: str) -> t.Any:
    """Return what a kind says of itself by the attribute *name*; None where it says nothing, or is not known."""
    return getattr(KINDS.get(kind), name, None)


def kinds_of(checks: t.Iterable[t.Mapping[str, t.Any]]) -> set[str]:
    """Return the kinds that *checks* need, those of what an application stands on included."""
    found: set[str] = set()
    for check in checks:
        found |= {str(check["kind"]), *(str(one["kind"]) for one in _below(check) if one.get("kind") in KINDS)}
    return found


def _below(check: t.Mapping[str, t.Any]) -> t.Iterator[t.Mapping[str, t.Any]]:
    for option in trait(check["kind"], "BELOW") or ():
        held = check.get(option) or []
        yield from [held] if isinstance(held, dict) else held
