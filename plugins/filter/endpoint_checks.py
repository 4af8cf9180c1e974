# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns a short list of endpoints into http checks."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: endpoint_checks
short_description: Turn a list of endpoints into http checks
version_added: "0.1.0"
description:
  - Makes one http check for M(somabrain.incident_response.health_info) of each endpoint, so that a partial outage is named.
author:
  - SomaBrain incident response contributors (@somabrain)
positional: base_url, defaults
options:
  _input:
    description: Paths, whole URLs, or dictionaries with C(path) or C(url) and any other option of an http check.
    type: list
    elements: raw
    required: true
  base_url:
    description: What paths are appended to.
    type: str
    default: ""
  defaults:
    description: Options for every endpoint that has no such option of its own.
    type: dict
    default: {}
"""

EXAMPLES = r"""
# Two checks, named "endpoint /health" and "endpoint /metrics"
checks: "{{ ['/health', {'path': '/metrics', 'max_latency_ms': 500}]
         | somabrain.incident_response.endpoint_checks('http://127.0.0.1:9696', {'timeout': 5}) }}"
"""

RETURN = r"""
_value:
  description: The checks.
  type: list
  elements: dict
"""


def endpoint_checks(endpoints: t.Any, base_url: str = "", defaults: t.Optional[t.Mapping[str, t.Any]] = None) -> list[dict[str, t.Any]]:
    """Return one http check for each endpoint; raises AnsibleFilterError that names an endpoint it cannot read."""
    if not isinstance(endpoints, (list, tuple)):
        raise AnsibleFilterError("the endpoints are not a list: write them as ['/health', '/metrics']")
    return [_check(endpoint, base_url, dict(defaults or {})) for endpoint in endpoints]


def _check(endpoint: t.Any, base_url: str, defaults: dict[str, t.Any]) -> dict[str, t.Any]:
    options = dict(endpoint) if isinstance(endpoint, t.Mapping) else {"url" if "://" in str(endpoint) else "path": str(endpoint)}
    path, url = str(options.pop("path", "")), str(options.get("url") or "")
    if not url and not (path and base_url):
        raise AnsibleFilterError(f"the endpoint {endpoint!r} has no url, and no path with a base URL to append it to")
    method = str(options.get("method", "GET"))
    name = f"endpoint {'' if method == 'GET' else method + ' '}{path or url.partition('?')[0]}"
    made = {"name": name, "kind": "http", "url": url or f"{base_url.rstrip('/')}/{path.lstrip('/')}"}
    return {**defaults, **made, **options}


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"endpoint_checks": endpoint_checks}
