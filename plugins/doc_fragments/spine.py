# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the steps of the spine share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  run:
    description: The run as M(somabrain.incident_response.remediation_open) returned it.
    type: dict
    default: {}
"""

    # Where the ledger is; a module without a run names only this part.
    KEEPER = r"""
options:
  state_dir:
    description: The keeper's private directory.
    type: path
    required: true
"""

    LIMITS = r"""
options:
  budget:
    description: How often the same act may be tried on one target in a given time.
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
  freeze_windows:
    description: Times during which nothing is changed.
    type: list
    elements: dict
    default: []
    suboptions:
      start:
        description: Start, RFC 3339 with a time zone.
        type: str
        required: true
      end:
        description: End, RFC 3339 with a time zone.
        type: str
        required: true
      reason:
        description: Why.
        type: str
        default: ""
  freeze_override:
    description: A reason to act despite a freeze.
    type: str
    default: ""
  kill_files:
    description: More kill switch files on the keeper.
    type: list
    elements: path
    default: []
  killed:
    description: Text of a kill switch on the controller; set by the action plugin.
    type: str
    default: ""
"""
