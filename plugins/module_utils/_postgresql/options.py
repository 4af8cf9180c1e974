# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that all looks at PostgreSQL share: where its files are, what to expect of it, which limits apply.

``psql`` has the options that say how to reach it.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import CONNECT_SPEC

PLACES: dict[str, t.Any] = {
    "data_dir": {"type": "str", "default": ""},
    "config_file": {"type": "str", "default": ""},
    "log_file": {"type": "str", "default": ""},
    "bin_dir": {"type": "str", "default": ""},
    "service": {"type": "dict", "default": {}},
    "former_owners": {"type": "list", "elements": "str", "default": []},
}

EXPECTATIONS: dict[str, t.Any] = {
    "expected_identity": {"type": "dict", "default": {}},
    "known_identifier": {"type": "str", "default": ""},
    "app_user": {"type": "str", "default": ""},
    "expected_role": {"type": "str", "choices": ["any", "primary", "standby"], "default": "any"},
    "pages_proven": {"type": "dict", "default": {}},
    "known_answers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "query": {"type": "str", "required": True},
            "database": {"type": "str", "default": ""},
            "expect": {"type": "str", "default": ""},
            "sha256": {"type": "str", "default": ""},
        },
    },
    "audit": {
        "type": "dict",
        "default": {},
        "options": {
            "table": {"type": "str", "required": True},
            "column": {"type": "str", "required": True},
            "database": {"type": "str", "default": ""},
            "within_minutes": {"type": "float", "default": 60.0},
        },
    },
}

# The thresholds that SomaBrain's operators use; seconds, bytes and shares.
LIMITS: dict[str, t.Any] = {
    "max_connections_share": {"type": "float", "default": 0.9},
    "max_query_seconds": {"type": "float", "default": 300.0},
    "max_idle_seconds": {"type": "float", "default": 3600.0},
    "max_block_seconds": {"type": "float", "default": 60.0},
    "max_prepared_seconds": {"type": "float", "default": 3600.0},
    "max_lag_seconds": {"type": "float", "default": 30.0},
    "max_archive_seconds": {"type": "float", "default": 90.0},
    "max_slot_bytes": {"type": "int", "default": 10 * 2**30},
    "max_disk_share": {"type": "float", "default": 0.9},
    "max_xid_age": {"type": "int", "default": 1_600_000_000},
    "min_cache_hit_share": {"type": "float", "default": 0.9},
    "max_redo_still_seconds": {"type": "float", "default": 120.0},
    "max_latency_ms": {"type": "float", "default": 0.0},
}

PG_OPTIONS: dict[str, t.Any] = dict(PLACES, **EXPECTATIONS, **LIMITS)


def with_defaults(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return *options* with the default of every option of PostgreSQL that is not given (or given as null)."""
    spec = dict(CONNECT_SPEC, **PG_OPTIONS)
    filled = {name: rule.get("default") for name, rule in spec.items()}
    filled.update({name: value for name, value in options.items() if value is not None})
    filled["known_answers"] = [_filled(one, "known_answers") for one in filled["known_answers"]]
    filled["audit"] = _filled(filled["audit"], "audit") if filled["audit"] else {}
    return filled


def _filled(given: t.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    rules = EXPECTATIONS[name]["options"]
    return {key: rule.get("default") if given.get(key) is None else given[key] for key, rule in rules.items()}
