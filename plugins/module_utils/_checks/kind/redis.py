# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``redis``: looks as ``redis_health_info`` does.

Redis has ``answer_timeout`` seconds to answer; the rest of the check's timeout is for judging files when it is down.

C(redis): see M(somabrain.incident_response.redis_health_info).
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import judge_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.load import load_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.options import REDIS_OPTIONS

PLAYBOOK = "recover-redis.yml"
CLASS = "working_memory"
OPTIONS: dict[str, t.Any] = dict(REDIS_OPTIONS, answer_timeout={"type": "float", "default": 3.0})


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return what ``load_redis`` sees within *deadline* seconds in total."""
    return load_redis(options, min(float(options.get("answer_timeout") or 3.0), deadline), deadline - 0.1)


def judge(raw: dict[str, t.Any], options: dict[str, t.Any]) -> Health:
    """Judge as ``judge_redis`` does."""
    return judge_redis(raw, options)


def progress(state: str, facts: t.Mapping[str, t.Any]) -> str:
    """Return how far a long load is, "" for any other state."""
    if state != "loading" or facts.get("loading_eta_seconds") is None:
        return ""
    return "still loading: %.0f %%, about %s s left" % (facts["loaded_perc"], facts["loading_eta_seconds"])
