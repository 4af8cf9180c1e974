#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether a service is rolled back, and to what."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback_plan
short_description: Decide whether to roll back a service, and to what
version_added: "0.1.0"
description:
  - Makes a decision from one look at an application, its releases, its configuration and its schema, and from the verified releases in
    the ledger. The module itself looks at nothing and changes nothing.
  - The README of the role rollback explains the values of RV(state).
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: The decision is the same.
  diff_mode:
    support: none
    description: Nothing is changed.
options:
  seen:
    description:
      - A result of M(somabrain.incident_response.health_info) with checks named C(application) and C(release), and, if they exist,
        C(configuration) and C(migrations).
    type: dict
    required: true
  verified:
    description: What the ledger holds as verified, by kind; releases are of kind C(release:ID).
    type: dict
    default: {}
  manager:
    description: The service manager that runs the application.
    type: str
    required: true
  release:
    description: The release that a person named, or empty.
    type: str
    default: ""
  what:
    description: What to roll back.
    type: str
    choices: [auto, application, configuration, both, database]
    default: auto
  beside:
    description: What other runs are doing on the host, each with C(component).
    type: list
    elements: dict
    default: []
  before:
    description: State of the application before an act, so that RV(facts) can report whether it is C(worse) now; or empty.
    type: str
    default: ""
  dependencies:
    description:
      - The dependencies of the application, as checks of M(somabrain.incident_response.health_info). With a database among them releases
        may have migrations, so the plan says that nobody looked at the schema.
    type: list
    elements: dict
    default: []
  purpose:
    description: Whether to decide about a rollback, to record what runs, or only to pass on what was seen after an act.
    type: str
    choices: [roll_back, record, prove]
    default: roll_back
"""

EXAMPLES = r"""
- name: Decide whether to roll back
  somabrain.incident_response.rollback_plan:
    seen: "{{ looked }}"
    verified: "{{ opened.run.last_verified }}"
    manager: systemd
  register: plan
"""

RETURN = r"""
health:
  description: V(well) if there is nothing to do, V(sick) if there is something to do or to refuse, V(unknown) otherwise.
  returned: always
  type: str
state:
  description: The decision in one word.
  returned: always
  type: str
  sample: to_roll_back
actions:
  description: The acts, in order.
  returned: always
  type: list
  elements: str
  sample: [configure, switch]
facts:
  description: Facts of the application, with C(plan), C(worse), and C(record), which may be recorded as verified.
  returned: always
  type: dict
checks:
  description: The checks of the look, and one more for the decision.
  returned: always
  type: list
  elements: dict
say:
  description: Sentences for the person on call.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.rollback_plan import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
