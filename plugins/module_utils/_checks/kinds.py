# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of checks by name, and nothing else: a piped step gets this file rewritten with only the kinds that it is asked for."""

from __future__ import annotations

import types

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import (
    application,
    balancer,
    clock,
    configuration,
    cpu,
    data_reconciliation,
    disk,
    http_endpoint,
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
    "http": http_endpoint,
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
