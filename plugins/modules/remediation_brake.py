#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop a run over many hosts if too many of them are sick."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_brake
short_description: Stop a run over many hosts if too many of them are sick
version_added: "0.1.0"
description:
  - Fails with the reason V(storm_brake) if more than the given share of hosts is not well.
  - A common cause is then likely, and acting host by host makes it worse.
  - It runs on the controller only and needs no connection; use it with C(run_once) after a look at all hosts.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: It only judges.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  component:
    description: What was looked at.
    type: str
    required: true
  healths:
    description: Health by host (V(well), V(sick) or V(unknown)).
    type: dict
    required: true
  max_share:
    description: Largest share of hosts, from 0 to 1, that may be not well.
    type: float
    default: 0.5
  min_hosts:
    description: With fewer hosts than this the brake never stops.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Stop a storm
  somabrain.incident_response.remediation_brake:
    component: redis
    healths: {redis1: sick, redis2: well, redis3: well}
  run_once: true
"""

RETURN = r"""
reasons:
  description: Why the run is refused.
  returned: failure
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Fail: all of the work is the action plugin's, on the controller."""
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "required": True},
            "healths": {"type": "dict", "required": True},
            "max_share": {"type": "float", "default": 0.5},
            "min_hosts": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="this module is an action plugin and cannot be shipped to a host")


if __name__ == "__main__":
    main()
