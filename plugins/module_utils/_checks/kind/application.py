# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check of kind ``application``: a stateless service that answers HTTP, with everything that says why it does not.

One look asks its manager, its own health endpoint, what it stands on, its memory over some seconds, and the end of its log; where it
answers, a memory is written and recalled. What is made of it is in ``_checks/application/judge.py``.
"""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application import options as application_options
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.judge import judge_application
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.application.load import load_application
from ansible_collections.somabrain.incident_response.plugins.module_utils._checks.kind import round_trip
from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Health
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.state import Clock

OPTIONS = application_options.OPTIONS


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Look at all of it within *deadline* seconds. Only what is well by all else gets a memory to keep."""
    clock = Clock(deadline)
    raw = load_application(options, deadline)
    if options["round_trip"] and raw["http"] and judge_application(raw, options).state == "up":
        ready = {name: rule.get("default") for name, rule in round_trip.OPTIONS.items()}
        asked = dict(ready, url=_base_of(options["url"]), token_file=options["token_file"], **options["round_trip"])
        raw["round_trip"] = {"raw": round_trip.load(asked, max(0.5, clock.left)), "options": asked}
    return raw


def _base_of(url: str) -> str:
    scheme, dummy, rest = url.partition("://")
    return "%s://%s" % (scheme, rest.partition("/")[0])


def judge(raw: dict[str, t.Any], options: dict[str, t.Any]) -> Health:
    """Judge as ``judge_application`` does."""
    return judge_application(raw, options)
