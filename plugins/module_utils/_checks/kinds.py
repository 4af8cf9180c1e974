# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of checks by name; a piped step gets this file with no more than the kinds that it is asked for."""

from __future__ import annotations

import types
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import (
    application,
    balancer,
    clock,
    configuration,
    cpu,
    data_reconciliation,
    disk,
    http,
    memory,
    migrations,
    postgresql,
    postgresql_restore,
    redis,
    release,
    replicas,
    round_trip,
    service,
    slots,
    tcp,
)

KINDS: dict[str, types.ModuleType] = {
    "application": application,
    "balancer": balancer,
    "clock": clock,
    "configuration": configuration,
    "cpu": cpu,
    "data_reconciliation": data_reconciliation,
    "disk": disk,
    "http": http,
    "memory": memory,
    "migrations": migrations,
    "postgresql": postgresql,
    "postgresql_restore": postgresql_restore,
    "redis": redis,
    "release": release,
    "replicas": replicas,
    "round_trip": round_trip,
    "service": service,
    "slots": slots,
    "tcp": tcp,
}


def kinds_of(checks: t.Iterable[t.Mapping[str, t.Any]]) -> set[str]:
    """Return the kinds that *checks* need, those of what an application stands on included."""
    found: set[str] = set()
    for check in checks:
        below = [*(check.get("dependencies") or []), check.get("long_term_memory") or {}] if check["kind"] == "application" else []
        found |= {str(check["kind"]), *(str(one["kind"]) for one in below if one.get("kind") in KINDS)}
    return found
