#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the lease of a target and save evidence."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_open
short_description: Take the lease of a target and save evidence
version_added: "0.1.0"
description:
  - Opens one run on (host, component) in the keeper's ledger and saves the evidence before anything changes.
  - The lease of a provably dead run is taken over; any other lease makes this run refuse.
  - The action plugin sets the options for run id, operator and controller.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.spine.keeper
attributes:
  check_mode:
    support: full
    description: The ledger is read, nothing is written.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  host:
    description: The target as the inventory names it.
    type: str
    required: true
  component:
    description: What is remedied there.
    type: str
    required: true
  remedy:
    description: The role that does it.
    type: str
    required: true
  run_id:
    description: Id of the run; set by the action plugin.
    type: str
    default: ""
  owner:
    description: Who is acting; set by the action plugin.
    type: str
    default: ""
  controller:
    description: Fingerprint of the controller process; set by the action plugin.
    type: dict
    default: {}
  lease_seconds:
    description: Seconds the lease lasts without a sign of life.
    type: float
    default: 120.0
  takeover:
    description: Take the lease from a run that is not provably dead.
    type: bool
    default: false
  dead_runs:
    description: Ids of runs whose controller is provably gone; set by the action plugin.
    type: list
    elements: str
    default: []
  keeper_is_target:
    description: Whether the keeper is the target, so that evidence can be read here.
    type: bool
    default: true
  verify_seconds:
    description: Seconds that verification may take; the lease outlives an act and its verification.
    type: float
    default: 60.0

  evidence:
    description: What to save before anything changes.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the file it is saved as.
        type: str
        required: true
      kind:
        description: Whether it is the end of a file or the output of a command.
        type: str
        choices: [file, command]
        required: true
      path:
        description: The file, for O(evidence[].kind=file).
        type: path
      argv:
        description: The command as a list, for O(evidence[].kind=command).
        type: list
        elements: str
      max_bytes:
        description: Maximum bytes to save, counted from the end.
        type: int
        default: 262144
      timeout:
        description: Seconds the command may take.
        type: float
        default: 5.0
      required:
        description: Whether the run may not act without it.
        type: bool
        default: false
  evidence_max_bytes:
    description: Maximum bytes to save in total.
    type: int
    default: 8388608
"""

EXAMPLES = r"""
- name: Open a run
  somabrain.incident_response.remediation_open:
    state_dir: /var/lib/somabrain/incident_response
    host: "{{ inventory_hostname }}"
    component: redis
    remedy: redis_recovery
  register: opened
"""

RETURN = r"""
run:
  description: The run with its id, fencing token, evidence and what is known about the component.
  returned: always
  type: dict
  sample: {}

stage:
  description: Stage of the run this result belongs to.
  returned: always
  type: str
  sample: open
say:
  description: Sentences for the person on call.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.remediation_open import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
