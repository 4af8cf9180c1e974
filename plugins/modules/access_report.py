#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what an access check found."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_report
short_description: Report what an access check found, one line per item
version_added: "0.1.0"
description:
  - Combines the results of M(somabrain.incident_response.access_check) and M(somabrain.incident_response.health_info) and says for
    each item whether it is ready and what to do if it is not. It runs on the controller and changes nothing.
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
options:
  parts:
    description: Registered results, including those of tasks that failed or found their host unreachable; C(what) names such a part.
    type: list
    elements: dict
    required: true
  remedies:
    description: The remedies whose needs were looked at.
    type: list
    elements: str
    default: []
  stage:
    description: The stage that the on-call view shows.
    type: str
    choices: [assess, verify]
    default: assess
"""

EXAMPLES = r"""
- name: Tell what is missing
  somabrain.incident_response.access_report:
    parts: "{{ [looked | combine({'what': 'target'})] }}"
  register: report
  failed_when: not report.ok
"""

RETURN = r"""
ok:
  description: Whether there are items and every one is ready.
  type: bool
  returned: always
items:
  description: All items, each with name, ok and text.
  type: list
  elements: dict
  returned: always
problems:
  description: The items that are not ready, as text.
  type: list
  elements: str
  returned: always
stage:
  description: The requested stage.
  type: str
  returned: always
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.access_report import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
