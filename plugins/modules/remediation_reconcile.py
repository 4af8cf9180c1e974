#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Close what dead runs left open."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_reconcile
short_description: Close what dead runs left open
version_added: "0.1.0"
description:
  - Takes the leases of provably dead runs, closes these runs as abandoned, and lists what must still be ended.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.spine.keeper
attributes:
  check_mode:
    support: full
    description: It judges and shows, but writes nothing.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  host:
    description: The target whose leftovers are looked at.
    type: str
    required: true
  run_id:
    description: Who reconciles, for the journal.
    type: str
    default: ""
  dead_runs:
    description: Ids of runs whose controller is provably gone; set by the action plugin.
    type: list
    elements: str
    default: []
  settled:
    description: Ids of obligations that were ended.
    type: list
    elements: int
    default: []
  prolonged:
    description: Ids of obligations that could not be ended yet; they are prolonged by O(prolong_seconds).
    type: list
    elements: int
    default: []
  prolong_seconds:
    description: Seconds by which O(prolonged) are prolonged.
    type: float
    default: 600.0
  killed:
    description: What the kill switch on the controller says; the action plugin sets it.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Close what dead runs left open
  somabrain.incident_response.remediation_reconcile:
    state_dir: /var/lib/somabrain/incident_response
    host: "{{ inventory_hostname }}"
"""

RETURN = r"""
abandoned:
  description: Leases that were taken from dead runs.
  returned: always
  type: list
  elements: dict
  sample: []
held:
  description: Leases still held, each with the reason.
  returned: always
  type: list
  elements: dict
  sample: []
due:
  description: Obligations that are due, each with C(ended_by), which is C(service_manager), the role that ends it, or empty for a person.
  returned: always
  type: list
  elements: dict
  sample: []
owed:
  description: Obligations that are not due.
  returned: always
  type: list
  elements: dict
  sample: []
left:
  description: The same as a person reads them, each with the command that ends it (what, text, command).
  returned: always
  type: list
  elements: dict
  sample: []

stage:
  description: Stage of the run this result belongs to.
  returned: always
  type: str
  sample: act
say:
  description: Sentences for the person on call.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.remediation_reconcile import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
