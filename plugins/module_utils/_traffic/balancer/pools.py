# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool of any load balancer: its options, a look at it, and changes of it."""

from __future__ import annotations

import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer.balancers import BALANCERS
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.pool import BalancerState, Change, blank

# The options that name a pool, common to the check kind `balancer` and to the modules that change and measure.
BALANCER_SPEC: dict[str, t.Any] = {
    "balancer": {"type": "str", "choices": [*sorted(BALANCERS), ""], "required": True},
    "pool": {"type": "str", "required": True},
}
# No balancer at all: then only replicas can be scaled, and what balances them finds them by itself.
NONE = ""
WITHOUT = "traffic_scaling_balancer is empty, which is for traffic_scaling_replicas without slots: name the balancer, haproxy or nginx"
for _one in BALANCERS.values():
    BALANCER_SPEC.update(_one.OPTIONS)


def load_pool(options: t.Mapping[str, t.Any], deadline: float) -> BalancerState:
    """Return the state of the pool that *options* name, within *deadline* seconds; raises StepError only for an unknown balancer."""
    if options.get("balancer") == NONE:
        return blank(NONE, str(options.get("pool")), detail=WITHOUT)
    return t.cast(BalancerState, _balancer_of(options).load(options, deadline))


def shift_pool(options: t.Mapping[str, t.Any], change: Change, deadline: float) -> list[str]:
    """Do *change* and return warnings; raises StepError with the answer of the balancer."""
    return t.cast("list[str]", _balancer_of(options).shift(options, change, deadline))


def max_weight(options: t.Mapping[str, t.Any]) -> int:
    """Return the largest weight that the balancer accepts."""
    return 0 if options.get("balancer") == NONE else int(_balancer_of(options).MAX_WEIGHT)


def _balancer_of(options: t.Mapping[str, t.Any]) -> t.Any:
    known = BALANCERS.get(str(options.get("balancer")))
    if known is None:
        raise StepError("balancer must be one of %s, not %s" % (", ".join(sorted(BALANCERS)), one_line(options.get("balancer"), 40)))
    return known
