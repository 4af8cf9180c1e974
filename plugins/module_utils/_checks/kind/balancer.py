# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check kind ``balancer``: one pool of a load balancer, judged by a goal.

States: open, ready, maintenance, set, restored are well; short, other, no_server_up, clients_kept_out, reverted sick; held and an
unreachable balancer unknown.

C(balancer): one pool of a load balancer. Takes the options in C(target) of M(somabrain.incident_response.traffic_shift) and C(goal)
(look; ready: whether it can be changed from here; maintenance_on, maintenance_off, set, restore). With C(usual) a look is sick, too, where
the main servers take less than usual, although others answer. The further options of a goal are for the role traffic_scaling.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._health.verdict import Finding, Health, State
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import pools
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.judge import judge_traffic, seen

HOST_ONLY = True
CLASS = "balancer"
OPTIONS: dict[str, t.Any] = {
    **pools.BALANCER_SPEC,
    "goal": {"type": "str", "choices": ["look", "ready", "maintenance_on", "maintenance_off", "set", "restore"], "default": "look"},
    # Whether a look is sick, too, where the main servers take less than usual, although others answer.
    "usual": {"type": "bool", "default": False},
    "main": {"type": "list", "elements": "str", "default": []},
    "spare": {"type": "list", "elements": "str", "default": []},
    "overflow": {"type": "str", "default": ""},
    # Judged here, so that a wrong value is refused by name.
    "wanted": {"type": "raw", "default": {}},
    "steps": {"type": "raw", "default": [10, 25, 50, 100]},
    # How long the change lasts, in seconds; 0: it has no end.
    "lasts": {"type": "float", "default": 3600.0},
    # How each step is watched: gates, baseline, minimum, sample_window, hold_timeout.
    "watch": {"type": "dict", "default": {}},
    "retry_after": {"type": "int", "default": 30},
    "reason": {"type": "str", "default": ""},
    # Why the caches behind the servers are cold, empty if they are not; and why to ignore that.
    "cold": {"type": "str", "default": ""},
    "skip_warm_up": {"type": "str", "default": ""},
    "warm_up_share": {"type": "int", "default": 10},
    # Whether nobody asked for it: what reconcile.yml ends.
    "by_itself": {"type": "bool", "default": False},
    # How the run left the servers that it set for a time: anything else is somebody else's doing.
    "expected": {"type": "dict", "default": {}},
    # Why a restoration stopped at a step, neither good nor bad.
    "held": {"type": "str", "default": ""},
    # A file with which a person stops restorations.
    "abort_file": {"type": "path", "default": ""},
}


def load(options: dict[str, t.Any], deadline: float) -> dict[str, t.Any]:
    """Return the state of the pool within *deadline* seconds."""
    return dict(pools.load_pool(options, deadline), aborted=bool(options["abort_file"]) and os.path.exists(options["abort_file"]))


def judge(raw: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> Health:
    """Judge the pool for the goal; the acts and their plan are in ``facts.plan``."""
    verdict = judge_traffic(raw, options, pools.max_weight(options))
    findings = [Finding("traffic", State(verdict.health), verdict.text)]
    if raw["pool"] and verdict.health != "well":
        findings.append(Finding("pool", State.WELL, seen(raw)))
    facts = dict(raw, plan=dict(verdict.plan), skip_warm_up=options["skip_warm_up"] if options["cold"] else "")
    return Health(tuple(findings), verdict.word, identity=raw["identity"], actions=verdict.actions, facts=facts)
