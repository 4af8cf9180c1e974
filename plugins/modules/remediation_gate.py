#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin one act under the fencing token."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_gate
short_description: Begin one act under the fencing token
version_added: "0.1.0"
description:
  - Checks token, freeze and budget once more before one act.
  - Records the intent, so that a later run knows that this one may have acted.
  - Fails, with the reasons as data, if the act may not begin.
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
    description: The gate is judged and the act named, nothing is written.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  action:
    description: The act that begins now, a word such as V(restart).
    type: str
    required: true
  purpose:
    description:
      - Whether this acts, undoes, or records that something is done. Budget and freeze do not stop an undo.
      - With V(part) the act continues with a part that has its own deadline; it does not count as another attempt.
      - With V(done) nothing begins and nothing stops it; O(settles) ends what the act had owed.
    type: str
    choices: [act, part, undo, done]
    default: act
  deadline:
    description: Seconds after which the act is certainly over; the lease outlives it.
    type: float
    default: 30.0
  holds:
    description:
      - Seconds after which nothing is still running if the run dies now, if that is sooner than O(deadline).
      - For a part that leaves nothing half done, so that another run need not wait for it.
    type: float
  owes:
    description: Something that must be ended later and that this act begins; reconcile finds it if the run dies.
    type: dict
    suboptions:
      kind:
        description: What it is.
        type: str
        required: true
      body:
        description: What is needed to end it.
        type: dict
        default: {}
      parts:
        description:
          - Its parts, and how each was before. Each is recorded separately, as C(kind/PART), and may end separately.
          - A part that already has an end returns to how it was before that.
        type: dict
        default: {}
      seconds:
        description: Seconds until its end; omit for a protection of data, which never expires.
        type: float
      notice:
        description: Words to show before the time of its end, such as V(maintenance ends); empty shows nothing.
        type: str
        default: ""
      text:
        description: A sentence that says what is held, paused or stopped until then, for C(left) of the outcome.
        type: str
        default: ""
      command:
        description: The command that ends it; C({ansible}) and C({reconcile}) begin one for this host and inventory.
        type: str
        default: ""
  settles:
    description: The kinds of obligation that this act ends.
    type: list
    elements: str
    default: []
  revives:
    description: Restore what earlier acts of this run ended by O(settles), with its former end. For an undo.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Begin the restart
  somabrain.incident_response.remediation_gate:
    state_dir: /var/lib/somabrain/incident_response
    run: "{{ opened.run }}"
    action: restart
    deadline: 30
"""

RETURN = r"""
gate:
  description: What was begun.
  returned: success
  type: dict
  sample: {action: restart, purpose: act, begun_at: 1790000000.0, deadline: 30.0}
reasons:
  description: Why the act may not begin.
  returned: failure
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.remediation_gate import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
