#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse with a reason code."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_refuse
short_description: Refuse with a reason code
version_added: "0.1.0"
description:
  - Fails with a reason as data, so that the run ends V(refused) and names what would unblock it and the next command.
  - It runs on the controller only and needs no connection.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: It fails in check mode too, because the real run would.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  code:
    description: Stable code of the reason, one of those in C(docs/reasons.md). Required unless O(refusal) is given.
    type: str
  case:
    description: A more exact wording of the code, one of the cases in C(docs/reasons.md).
    type: str
    default: ""
  values:
    description: What fills the placeholders of that wording.
    type: dict
    default: {}
  refusal:
    description: An entry of a remedy's refusals, a code or a mapping of C(code), C(case) and C(values), instead of O(code).
    type: raw
  text:
    description: What is wrong, where neither the case nor the meaning of the code says it.
    type: str
    default: ""
  unblock:
    description: What would unblock it, for a remedy whose sentence is not in the catalogue.
    type: str
    default: ""
  next_command:
    description: The next command, where the one of the code does not fit.
    type: str
    default: ""
  details:
    description: Further words, shown after the text.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Refuse where no file may go
  somabrain.incident_response.remediation_refuse:
    code: no_room
    text: the disk is full and no file may be removed
"""

RETURN = r"""
reasons:
  description: The reason with its code, text, unblock and next_command.
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
            "code": {"type": "str"},
            "case": {"type": "str", "default": ""},
            "values": {"type": "dict", "default": {}},
            "refusal": {"type": "raw"},
            "text": {"type": "str", "default": ""},
            "unblock": {"type": "str", "default": ""},
            "next_command": {"type": "str", "default": ""},
            "details": {"type": "list", "elements": "str", "default": []},
        },
        required_one_of=[("code", "refusal")],
        mutually_exclusive=[("code", "refusal")],
        supports_check_mode=True,
    )
    module.fail_json(msg="this module is an action plugin and cannot be shipped to a host")


if __name__ == "__main__":
    main()
