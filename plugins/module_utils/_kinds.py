# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of checks by name; a piped step gets this file with no more than the kinds that it is asked for."""

from __future__ import annotations

import types
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils import (
    _check_application,
    _check_balancer,
    _check_clock,
    _check_configuration,
    _check_cpu,
    _check_data_reconciliation,
    _check_disk,
    _check_http,
    _check_memory,
    _check_migrations,
    _check_postgresql,
    _check_postgresql_restore,
    _check_redis,
    _check_release,
    _check_replicas,
    _check_round_trip,
    _check_service,
    _check_slots,
    _check_tcp,
)

KINDS: dict[str, types.ModuleType] = {
    "application": _check_application,
    "balancer": _check_balancer,
    "clock": _check_clock,
    "configuration": _check_configuration,
    "cpu": _check_cpu,
    "data_reconciliation": _check_data_reconciliation,
    "disk": _check_disk,
    "http": _check_http,
    "memory": _check_memory,
    "migrations": _check_migrations,
    "postgresql": _check_postgresql,
    "postgresql_restore": _check_postgresql_restore,
    "redis": _check_redis,
    "release": _check_release,
    "replicas": _check_replicas,
    "round_trip": _check_round_trip,
    "service": _check_service,
    "slots": _check_slots,
    "tcp": _check_tcp,
}


def kinds_of(checks: t.Iterable[t.Mapping[str, t.Any]]) -> set[str]:
    """Return the kinds that *checks* need, those of what an application stands on included."""
    found: set[str] = set()
    for check in checks:
        below = [*(check.get("dependencies") or []), check.get("long_term_memory") or {}] if check["kind"] == "application" else []
        found |= {str(check["kind"]), *(str(one["kind"]) for one in below if one.get("kind") in KINDS)}
    return found
