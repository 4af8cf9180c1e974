#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the runs of a keeper and verify their chain."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_history
short_description: Show the runs of a keeper and verify their chain
version_added: "0.1.0"
description:
  - Lists the runs, leases and open obligations of one ledger, verifies the hash chain of its journal and exports it.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.spine.keeper
attributes:
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  limit:
    description: Maximum number of runs to list.
    type: int
    default: 20
  run_id:
    description: Show only this run, with its steps.
    type: str
    default: ""
  export:
    description: Return the whole journal.
    type: bool
    default: false
  export_to:
    description: Where the controller writes the journal as JSON lines; only the action plugin uses it.
    type: str
    default: ""
  quiet:
    description: Show nothing to the person on call.
    type: bool
    default: false
  verified_of:
    description: Return only what was last verified on this host, by its component; empty for the history.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show the last runs
  somabrain.incident_response.remediation_history:
    state_dir: /var/lib/somabrain/incident_response
"""

RETURN = r"""
verified:
  description: What was last verified on a host, by component and kind.
  returned: with O(verified_of)
  type: dict
  sample: {redis: {redis: {keys: 242}}}
runs:
  description: The runs, newest first, each with its C(remedy), the C(acts) that it began and the C(codes) of its refusal.
  returned: without O(verified_of)
  type: list
  elements: dict
  sample: []
leases:
  description: The leases currently held.
  returned: always
  type: list
  elements: dict
  sample: []
owed:
  description: Things begun and not yet ended.
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
flags:
  description: The text of the freeze file and of the kill switch of this keeper, null where there is none.
  returned: without O(verified_of)
  type: dict
  sample: {freeze: null, kill: null}
chain:
  description: Whether the chain is intact, where it breaks, how long it is, and the hash of its head.
  returned: always
  type: dict
  sample: {whole: true, broken_at: null, records: 12, head: "..."}
journal:
  description: All records with their hashes.
  returned: when O(export=true)
  type: list
  elements: dict
  sample: []
steps:
  description: The records of one run.
  returned: when O(run_id) is set
  type: list
  elements: dict
  sample: []

stage:
  description: Stage of the run this result belongs to.
  returned: always
  type: str
  sample: assess
say:
  description: Sentences for the person on call.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.remediation_history import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
