#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse a run before any host is touched."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_preflight
short_description: Refuse a run before any host is touched
version_added: "0.1.0"
description:
  - Fails if no host matches, if ansible-core is too old, or if free text contains template markers.
  - Also fails if the name of a variable given with C(-e) is almost one of the collection's, or if it has no value.
  - It runs on the controller only and needs no connection; put it into a first play on C(all,localhost) with C(run_once).
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
  hosts:
    description: The host pattern of the following play.
    type: str
    required: true
  component:
    description:
      - What the following play remedies; omit if it remedies nothing.
      - The outcome file of each host says V(failed) until its run is opened, so that no one mistakes an earlier outcome for this one.
    type: str
    default: ""
  several:
    description:
      - Whether the playbook is about several components and ends with M(somabrain.incident_response.remediation_summary).
      - The outcome file says V(failed) until that table is made.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Refuse early
  hosts: all,localhost
  gather_facts: false
  tasks:
    - name: Refuse what cannot work
      somabrain.incident_response.remediation_preflight:
        hosts: redis
      run_once: true
"""

RETURN = r"""
several:
  description: Whether a table of several components has to follow.
  returned: success
  type: bool
hosts:
  description: The hosts that match.
  returned: success
  type: list
  elements: str
  sample: [lab]
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
            "hosts": {"type": "str", "required": True},
            "component": {"type": "str", "default": ""},
            "several": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    module.fail_json(msg="this module is an action plugin and cannot be shipped to a host")


if __name__ == "__main__":
    main()
