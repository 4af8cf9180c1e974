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
  - The last look at token, freeze and budget before one act.
  - Writes the intent down, so that a later run knows that this one may have acted.
  - Fails, with the reasons as data, when the act may not begin.
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
    description: Nothing of the target is changed, so there is no difference to show.
options:
  action:
    description: The act that begins now, a word such as V(restart).
    type: str
    required: true
  purpose:
    description:
      - Whether this acts, puts back, or writes down that something is done. Putting back is not held up by budget or freeze.
      - With V(part) the act that was begun goes on with a part that has a deadline of its own; it counts as no further attempt.
      - With V(done) nothing begins and nothing holds it up; O(settles) ends what the act had owed.
    type: str
    choices: [act, part, undo, done]
    default: act
  deadline:
    description: Seconds after which the act is surely over; the lease outlives it.
    type: float
    default: 30.0
  holds:
    description:
      - Seconds after which nothing goes on any more should the run die at once, where that is sooner than O(deadline).
      - For a part that leaves nothing half done and that another run need not sit out.
    type: float
  owes:
    description: Something with an end that this act begins, for reconcile to find when the run dies.
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
          - What it has parts of, and how each was before. Each is owed by itself, as C(kind/PART), and may end apart from the others.
          - A part that has an end already goes back to how it was before that one.
        type: dict
        default: {}
      seconds:
        description: Seconds until its end; left out for a protection of data, which never expires.
        type: float
      told:
        description: What is said of its end, before the time of it, such as V(maintenance ends); empty for nothing.
        type: str
        default: ""
  settles:
    description: The kinds of obligation that this act ends.
    type: list
    elements: str
    default: []
  revives:
    description: What earlier acts of this run ended by O(settles) is owed again, with the end that it had. For an act that puts back.
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
  description: Stage of the run that this result belongs to.
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
