#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether a run may act."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_guard
short_description: Decide whether a run may act
version_added: "0.1.0"
description:
  - Saves what was seen, judges state, evidence, freeze, budget and approval, and records the decision in the journal.
  - Every refusal has a stable code, says what would unblock it, and names the next command.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.spine
  - somabrain.incident_response.spine.keeper
  - somabrain.incident_response.spine.limits
attributes:
  check_mode:
    support: full
    description: The decision is made and shown, nothing is written.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  before:
    description: What the probe saw before.
    type: dict
    default: {}
  captured:
    description: Evidence that was captured on a target with another keeper.
    type: list
    elements: dict
    default: []
  refusals:
    description: States that this remedy refuses by name, each with a code of C(docs/reasons.md) or with C(code), C(case) and C(values).
    type: dict
    default: {}
  expected_loss:
    description: What acting may lose, as a sentence; empty for nothing. A loss needs an approval.
    type: str
    default: ""
  plans:
    description:
      - The options if each of them may lose data, the recommended one first; one of them must be approved.
      - Each gets its own token, bound to host, component, identity, state, acts, the names of all plans and to C(binds).
      - Not together with O(expected_loss), which is a single plan bound to its sentence.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The plan's name; RV(verdict) names it as C(plan) when it is approved.
        type: str
        required: true
      text:
        description: What would be done, as a sentence. It is shown but not bound if O(plans[].binds) or O(plans[].counts) is set.
        type: str
        required: true
      loss:
        description: What would be lost.
        type: dict
        default: {}
        suboptions:
          count:
            description: How many; omit if unknown.
            type: int
          unit:
            description: Unit of the count.
            type: str
            default: ""
          exact:
            description: Whether they were counted; otherwise it is an estimate.
            type: bool
            default: false
          margin:
            description: By how much an estimate may come out larger when the plan is applied, and still be approved.
            type: int
            default: 0
          witness:
            description: What proves the count, as in a loss; it is shown and binds nothing.
            type: str
            default: ""
      binds:
        description: Plain data that must be the same when the plan is applied, such as hashes of files or the id of a server's run.
        type: dict
        default: {}
      counts:
        description: Numbers by name that may change within O(plans[].tolerance) between plan and apply; so may the count of the loss.
        type: dict
        default: {}
      tolerance:
        description: By how much they may change; a share of each if below 1, a number from 1 on.
        type: float
        default: 0.0
  accepted:
    description:
      - The name of the one of O(plans) that preset limits allow without a person; it is recorded like an approved one.
      - A later run can then report its loss if this one dies first.
    type: str
    default: ""
  approval:
    description: The token of an approved plan.
    type: str
    default: ""
  approval_seconds:
    description: Seconds for which a new token is valid.
    type: int
    default: 900
  without_evidence:
    description: A reason to act without evidence.
    type: str
    default: ""
  lease_seconds:
    description: Seconds the lease lasts without a sign of life.
    type: float
    default: 120.0
  must_proceed:
    description: Fail, with the reasons as data, if this run may not act; for a guard in the middle of acting.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: May this run act
  somabrain.incident_response.remediation_guard:
    state_dir: /var/lib/somabrain/incident_response
    run: "{{ opened.run }}"
    before: "{{ probe }}"
  register: guarded

- name: Let a person choose what may be lost
  somabrain.incident_response.remediation_guard:
    state_dir: /var/lib/somabrain/incident_response
    run: "{{ opened.run }}"
    before: "{{ probe }}"
    plans:
      - name: salvage
        text: load the salvaged file, 9998 keys
        loss: {count: 2, unit: keys, exact: true}
        binds: {sha256: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef}
    must_proceed: true
  register: chosen
"""

RETURN = r"""
verdict:
  description:
    - Whether to proceed, the reasons against it, the acts that the state allows, the approval used and the name of its plan.
    - A reason that asks for an approval has C(plans), each with name, text, loss, token, expires (seconds since the epoch), next_command.
  returned: always
  type: dict
  sample: {proceed: true, reasons: [], actions: [start], approved: "", plan: ""}
before:
  description: What the probe saw, as it was given.
  returned: always
  type: dict
  sample: {}

run:
  description: The run with its id, fencing token, evidence and what is known about the component.
  returned: always
  type: dict
  sample: {}

stage:
  description: Stage of the run this result belongs to.
  returned: always
  type: str
  sample: guard
say:
  description: Sentences for the person on call.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.remediation_guard import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
