#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sum up several runs of one playbook."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_summary
short_description: Sum up several runs of one playbook
version_added: "0.2.0"
description:
  - Collects the outcomes that a playbook noted host by host, and shows one table with component, outcome and next command.
  - Fails unless every component that was expected ended green, so that the worst decides the exit code.
  - With O(before) it only says whether a component may follow its stores, and gives its outcome if it may not.
  - It runs on the controller only and needs no connection; use it with C(run_once), except with O(before).
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: It only sums up.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  expected:
    description: The components, each with the hosts on which it was to be recovered. The limit of the run applies.
    type: list
    elements: dict
    required: true
    suboptions:
      component:
        description: Name of the component.
        type: str
        required: true
      hosts:
        description: Pattern of its hosts.
        type: str
        required: true
  before:
    description: A component that is to follow those of O(expected).
    type: str
    default: ""
  several:
    description: Whether to say nothing unless there are several targets; the statistics are then called C(traffic), not C(recover_all).
    type: bool
    default: false
  fact:
    description: Name of the fact in which each host has the list of its outcomes.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show how all of it ended
  somabrain.incident_response.remediation_summary:
    fact: ended
    expected:
      - {component: redis, hosts: redis}
      - {component: somabrain, hosts: somabrain_api}
  run_once: true
"""

RETURN = r"""
summary:
  description: The worst outcome, whether all are green, and each component with its outcome, the reason and the next commands.
  returned: without before
  type: dict
  sample: {outcome: recovered, green: true, components: []}
proceed:
  description: Whether the component may follow.
  returned: with before
  type: bool
  sample: true
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Fail: all of the work is the action plugin's, on the controller."""
    module = AnsibleModule(
        argument_spec={
            "expected": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"component": {"type": "str", "required": True}, "hosts": {"type": "str", "required": True}},
            },
            "before": {"type": "str", "default": ""},
            "several": {"type": "bool", "default": False},
            "fact": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="this module is an action plugin and cannot be shipped to a host")


if __name__ == "__main__":
    main()
