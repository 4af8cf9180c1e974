# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Step of ``redis_health_info``: the look of ``health_info`` at one Redis. Changes nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import Params, Result
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.options import LOOK_SPEC
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import address_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REDIS_OPTIONS
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps import health_info

ARGUMENT_SPEC: dict[str, t.Any] = dict(LOOK_SPEC, **REDIS_OPTIONS, files_timeout={"type": "float", "default": 60.0})


def run(params: Params, check: bool) -> Result:
    """Return the look with health, state, identity, actions, facts, findings, and how the wait went."""
    return told(health_info.run(as_health_info(params), check))


def as_health_info(params: Params) -> Params:
    """Return the options of the same look for ``health_info``: one check of the kind redis."""
    options = {name: params[name] for name in REDIS_OPTIONS}
    one = dict(options, kind="redis", name="redis %s" % address_of(params), answer_timeout=params["probe_timeout"])
    return health_info.of_one(one, params, params["files_timeout"])


def told(result: Result) -> Result:
    """Return the result of that ``health_info`` with the keys of this module."""
    return health_info.one_told(result, "Redis")
