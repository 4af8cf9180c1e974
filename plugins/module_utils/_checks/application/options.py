# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the check kind ``application``, and those of its HTTP part."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import http
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import ask

# What a log says of a configuration that a service cannot start with.
BAD_CONFIG = (
    r"ImproperlyConfigured",
    r"ValidationError.*[Ss]ettings|[Ss]ettings.*ValidationError",
    r"(?i)(invalid|bad|broken|malformed|missing|unknown) (configuration|config|setting|environment variable)",
    r"(?i)(configuration|environment variable|setting)s? .{0,80}(is |are )?(missing|invalid|required|not set|malformed)",
    r"(yaml|toml|configparser)\S*\.\w*Error",
    r"KeyError: '[A-Z][A-Z0-9_]+'",
)
# What the HTTP part takes over as it is.
HTTP = ("url", "profile", "token_file", "tenant", "gates", "ignore_gates", "max_latency_ms", "ca_file", "validate_certs")
OPTIONS: dict[str, t.Any] = {
    **ask.SERVICE_SPEC,
    "service": {"type": "str", "required": True},
    "url": {"type": "str", "default": ""},
    **{name: http.OPTIONS[name] for name in HTTP if name != "url"},
    # A check of kind round_trip without its url; {} where nothing is to be written.
    "round_trip": {"type": "dict", "default": {}},
    # Checks of what it stands on, and of what keeps its memories for good.
    "dependencies": {"type": "list", "elements": "dict", "default": []},
    "long_term_memory": {"type": "dict", "default": {}},
    "stateful": {"type": "list", "elements": "str", "default": []},
    "behind_proxy": {"type": "bool", "default": False},
    "answer_timeout": {"type": "float", "default": 3.0},
    "start_seconds": {"type": "float", "default": 30.0},
    "loop_restarts": {"type": "int", "default": 3},
    "budget_seconds": {"type": "float", "default": 900.0},
    "memory_seconds": {"type": "float", "default": 0.0},
    "memory_samples": {"type": "int", "default": 6},
    "memory_limit": {"type": "int", "default": 0},
    "memory_horizon": {"type": "float", "default": 1800.0},
    "min_growth_bytes": {"type": "int", "default": 16777216},
    "log_lines": {"type": "int", "default": 20},
    "bad_config": {"type": "list", "elements": "str", "default": list(BAD_CONFIG)},
    # What was known when it was last well (restarts, oom_kills, samples, at), and the process before a restart.
    "known": {"type": "dict", "default": {}},
    "old_identity": {"type": "dict", "default": {}},
}


def http_options(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the options of the check kind ``http`` that the options of an application mean."""
    ready = {name: rule.get("default") for name, rule in http.OPTIONS.items()}
    return dict(ready, stands_on=options.get("stands_on"), **{name: options[name] for name in HTTP})
