#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List what the remedies of a host need."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_needs
short_description: List what the remedies of a host need, from the variables of their roles
version_added: "0.1.0"
description:
  - A remedy is meant for a host that is in the group of its playbook; where the inventory has no such group, for a host with variables of
    its role.
  - It runs on the controller, and changes nothing; whether collections that are needed are there is judged at once.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    description: Nothing is changed.
"""

EXAMPLES = r"""
- name: List what the remedies need
  somabrain.incident_response.access_needs:
  register: needs
"""

RETURN = r"""
roles:
  description: The remedies that are meant for the host.
  type: list
  elements: str
  returned: success
tools:
  description: Programs on the host; C(a|b) means that either is enough.
  type: list
  elements: str
  returned: success
root_for:
  description: Why a remedy has to become root on the host.
  type: list
  elements: str
  returned: success
rooms:
  description: Directories that must have room, each with C(path), C(variable) and C(beside), the data that has to fit.
  type: list
  elements: dict
  returned: success
reserves:
  description: Files that may be deleted on a full disk, each with C(path) and C(variable).
  type: list
  elements: dict
  returned: success
checks:
  description: Checks, as M(somabrain.incident_response.health_info) takes them, that each use one credential.
  type: list
  elements: dict
  returned: success
items:
  description: What was judged at once, as M(somabrain.incident_response.access_report) takes it.
  type: list
  elements: dict
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """Fail: all of the work is the action plugin's, on the controller."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.fail_json(msg="this module is an action plugin and cannot be shipped to a host")


if __name__ == "__main__":
    main()
