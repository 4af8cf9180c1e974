#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set weights, states and addresses in a load balancer's pool, and turn maintenance on or off."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_shift
short_description: Set weights, states and addresses in a load balancer's pool, and turn maintenance on or off
version_added: "0.1.0"
description:
  - Reads every answer of the balancer and verifies each change; on a failure, rolls the change back.
  - Weights are raised before others are lowered. Clients are kept out before weights change, and admitted after that.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.balancer
attributes:
  check_mode:
    support: full
    description: Looks at the pool, and reports what it would set.
  diff_mode:
    support: full
    description: Weights, states and maintenance before and after.
options:
  servers:
    description:
      - Name of a server to C(weight), C(admin) (V(ready), V(drain) or V(maint)) and C(address) (IP:PORT). Others stay as they are.
      - A server gets a new address while it is out. nginx cannot change addresses at run time, and refuses.
    type: dict
    default: {}
  maintenance:
    description: C(on), and with it C(retry_after) in seconds. Without this option maintenance stays as it is.
    type: dict
  stands:
    description: How this run left the pool last, as it returned RV(stands). What somebody else changed since then is not overruled.
    type: dict
    default: {}
  others:
    description: What to do where somebody else changed something, V(refuse) the whole change, or V(leave) what they changed as it is.
    type: str
    choices: [refuse, leave]
    default: refuse
  timeout:
    description: Maximum seconds for a change.
    type: float
    default: 10.0
  until:
    description:
      - What to wait for afterwards.
      - V(up) waits until each server in O(servers) passed a health check since it was admitted; if one does not come up, all of them are
        rolled back, and the task fails.
      - V(idle) waits until none of them has a session; sessions that stay are a warning, not a failure.
    type: str
    choices: [set, up, idle]
    default: set
  wait:
    description: Maximum seconds of that wait.
    type: float
    default: 30.0
  stage:
    description: Stage of the run that this act belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.traffic_gate_info
"""

EXAMPLES = r"""
- name: Give a tenth of the requests to one server
  somabrain.incident_response.traffic_shift:
    target: {balancer: haproxy, pool: somabrain}
    servers:
      api1: {weight: 1, admin: ready}
      spare: {weight: 9}
"""

RETURN = r"""
before:
  description: Pool, servers (name, address, weight, admin) and maintenance before.
  returned: success
  type: dict
after:
  description: The same afterwards.
  returned: success
  type: dict
stands:
  description: How the pool stands afterwards (identity of the balancer, servers, maintenance), for the next change.
  returned: success
  type: dict
left_alone:
  description: Servers, and V(maintenance), that somebody else changed and that were left as they are.
  returned: success
  type: list
  elements: str
doubts:
  description:
    - Sentences on what somebody else changed and was left alone, on what a reload of the balancer would lose, and on sessions that did
      not end.
  returned: success
  type: list
  elements: str
stage:
  description: Stage of the run that this result belongs to.
  returned: always
  type: str
  sample: act
say:
  description: Sentences for the person on call.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.traffic_shift import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
