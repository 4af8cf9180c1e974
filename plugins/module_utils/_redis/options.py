# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that everything about Redis shares: how to reach it, where its files are, what to expect of it."""

from __future__ import annotations

import typing as t

REACH: dict[str, t.Any] = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "default": 6379},
    "socket": {"type": "str", "default": ""},
    "username": {"type": "str", "default": ""},
    "password": {"type": "str", "no_log": True, "default": ""},
    "password_file": {"type": "str", "no_log": False, "default": ""},
}

PLACES: dict[str, t.Any] = {
    "data_dir": {"type": "str", "default": ""},
    "config_file": {"type": "str", "default": ""},
    "log_file": {"type": "str", "default": ""},
    "pid_file": {"type": "str", "default": ""},
    "start_command": {"type": "str", "default": ""},
    "reload_from": {"type": "list", "elements": "str", "default": []},
    "service": {"type": "dict", "default": {}},
    "replicas": {"type": "list", "elements": "dict", "default": [], "options": REACH},
    "judge_files": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "write_probe": {"type": "bool", "default": True},
}

EXPECTATIONS: dict[str, t.Any] = {
    "expected_role": {"type": "str", "choices": ["any", "master", "replica"], "default": "any"},
    "expected_replicas": {"type": "int", "default": 0},
    "expected_identity": {"type": "dict", "default": {}},
    "last_known_keys": {"type": "int", "default": -1, "no_log": False},
    "last_known": {"type": "dict", "default": {}},
    "empty_below_share": {"type": "float", "default": 0.5},
    "excused_keys": {"type": "list", "elements": "int", "default": [], "no_log": False},
    "known_keys": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "no_log": False,
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "sha256": {"type": "str", "default": ""},
            "exists": {"type": "bool", "default": True},
            "db": {"type": "int", "default": 0},
        },
    },
    "max_latency_ms": {"type": "float", "default": 0.0},
    "maxmemory_limit": {"type": "int", "default": 0},
}

SENTINELS: dict[str, t.Any] = {
    "sentinels": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "host": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "default": 26379},
            "username": {"type": "str", "default": ""},
            "password_file": {"type": "str", "default": "", "no_log": False},
        },
    },
    "sentinel_master": {"type": "str", "default": "mymaster"},
    "sentinel_known_as": {"type": "str", "default": ""},
}

REDIS_OPTIONS: dict[str, t.Any] = dict(REACH, **PLACES, **EXPECTATIONS, **SENTINELS)


def with_defaults(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return *options* with the default of every Redis option that is not given (or given as null)."""
    filled = {name: spec.get("default") for name, spec in REDIS_OPTIONS.items()}
    filled.update({name: value for name, value in options.items() if value is not None})
    return filled
