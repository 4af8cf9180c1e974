#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the outcome of a run and release its lease."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_close
short_description: Record the outcome of a run and release its lease
version_added: "0.1.0"
description:
  - Judges one explicit outcome, appends it to the journal, saves it as a file and releases the lease.
  - The action plugin publishes the outcome with C(set_stats) and writes C(remediation_outcome_file).
  - It never fails by itself, so that the outcome is published before the job turns red.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.spine
  - somabrain.incident_response.spine.keeper
attributes:
  check_mode:
    support: full
    description: The outcome is judged and shown, nothing is written on the keeper.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  budget:
    description: The attempt budget; its time limits which attempts count.
    type: dict
    default: {}
    suboptions:
      attempts:
        description: How often the same act may be tried.
        type: int
        default: 2
      recoveries:
        description: How often the same act may recover it before that is flapping; by default as often as O(budget.attempts), at least 3.
        type: int
      within_seconds:
        description: Within how many seconds.
        type: float
        default: 900.0
  verdict:
    description: The guard's verdict.
    type: dict
    default: {}
  before:
    description: What was seen before.
    type: dict
    default: {}
  after:
    description: What was seen after; empty if nothing was verified.
    type: dict
    default: {}
  last:
    description: The last look of the run, whether or not it verified anything; its C(facts.left) is part of what is left.
    type: dict
    default: {}
  left:
    description:
      - What the remedy leaves held, paused, stopped or turned off (what, text, command); omit where the remedy says nothing about it.
      - The open obligations of the ledger on this component are added.
    type: list
    elements: raw
  failure:
    description: The first task that failed (task, msg, reasons).
    type: dict
    default: {}
  undo_ok:
    description: Whether everything that was begun was put back.
    type: bool
    default: false
  undo:
    description: How a person undoes this run's acts.
    type: str
    default: ""
  loss:
    description:
      - What was lost (count, unit, exact, text, approved, known_before, present_after, witness, suspected); empty where the remedy cannot
        say.
      - Unknown unless I(loss.witness), a sentence, says what proves it. Without one there is no 0, and no count is exact.
      - A count that is smaller than known_before less present_after is raised to that, and is not exact.
      - With I(loss.suspected=false), a witness and a text, a loss that is not known is one that nothing speaks for; the run is recovered,
        and its text is shown.
      - If approved is omitted, it is whether this run had a plan approved; more than that plan's count is not approved.
    type: dict
    default: {}
  harmless:
    description: Acts that cannot lose data, each with the sentence that says why; a run that began no others lost nothing.
    type: dict
    default: {}
  verified:
    description: States to store as last verified if the run ends well, by kind.
    type: dict
    default: {}
  proof:
    description: Sentences that say what was proven.
    type: list
    elements: str
    default: []
  annotations:
    description: Free text entered by people; set by the action plugin.
    type: dict
    default: {}
  not_reached:
    description: Why the keeper is unreachable; set by the action plugin, which then judges the outcome on the controller.
    type: str
    default: ""
  next:
    description: The next command after a run that failed; names of playbooks in braces become commands in the form of this run.
    type: str
    default: "{history}"
  ladder:
    description: Whom to page after how many attempts.
    type: list
    elements: dict
    default: []
    suboptions:
      after_attempts:
        description: Number of attempts from which this rung applies.
        type: int
        required: true
      page:
        description: Whom to page.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Close the run
  somabrain.incident_response.remediation_close:
    state_dir: /var/lib/somabrain/incident_response
    run: "{{ opened.run }}"
    verdict: "{{ guarded.verdict }}"
    after: "{{ probe }}"
"""

RETURN = r"""
outcome:
  description: The whole run as data; the same as in the outcome file.
  returned: always
  type: dict
  sample: {outcome: recovered, green: true, seconds: 1.4}
red:
  description: Why the run is red, in one line for logs that show nothing else; empty for a green one.
  returned: through the action plugin
  type: str
  sample: ""
stage:
  description: Stage of the run this result belongs to.
  returned: always
  type: str
  sample: close
say:
  description: Sentences for the person on call.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.remediation_close import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
