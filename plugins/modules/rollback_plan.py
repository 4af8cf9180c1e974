#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether a service is rolled back, and to what."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback_plan
short_description: Decide whether a service is rolled back, and to what
version_added: "0.1.0"
description:
  - Turns one look at an application, its releases, its configuration and its schema, with what the ledger saw pass verification, into a
    decision. Looks at nothing and changes nothing itself.
  - The words of its RV(state) are those of the role rollback.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: It decides the same.
  diff_mode:
    support: none
    description: Nothing is changed.
options:
  seen:
    description:
      - A result of M(somabrain.incident_response.health_info) with checks named C(application) and C(release), and, where there are such
        things, C(configuration) and C(migrations).
    type: dict
    required: true
  verified:
    description: What the ledger has as verified, by kind; releases are of kind C(release:ID).
    type: dict
    default: {}
  manager:
    description: Who runs the application.
    type: str
    required: true
  release:
    description: The release that a person named; empty for none.
    type: str
    default: ""
  what:
    description: What goes back.
    type: str
    choices: [auto, application, configuration, both, database]
    default: auto
  beside:
    description: What else goes on on the host, each with C(component).
    type: list
    elements: dict
    default: []
  before:
    description: State of the application before an act, for RV(facts) to say whether it is C(worse) now; empty for none.
    type: str
    default: ""
  purpose:
    description: Whether to go back, to record what runs, or only to hand on what was seen after an act.
    type: str
    choices: [roll_back, record, prove]
    default: roll_back
"""

EXAMPLES = r"""
- name: Decide what follows from it
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
  description: The word for what was decided.
  returned: always
  type: str
  sample: to_roll_back
actions:
  description: The acts in their order.
  returned: always
  type: list
  elements: str
  sample: [configure, switch]
facts:
  description: Facts of the application, with C(plan), C(worse), and C(record), which is what may be kept as verified.
  returned: always
  type: dict
checks:
  description: The checks of the look, and one for the decision.
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
