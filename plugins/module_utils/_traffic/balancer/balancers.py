# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load balancers by name; a piped step gets this file with only the balancer that its options name.

A new one is one file beside this one and one line here. It has ``OPTIONS`` (its own options, named ``<name>_...``), ``MAX_WEIGHT``,
``load(options, deadline) -> BalancerState``, which never raises for a sick world, and ``shift(options, change, deadline) -> warnings``,
which believes no answer unseen and raises StepError with what the balancer said.
"""

from __future__ import annotations

import types

from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import haproxy, nginx

BALANCERS: dict[str, types.ModuleType] = {
    "haproxy": haproxy,
    "nginx": nginx,
}
