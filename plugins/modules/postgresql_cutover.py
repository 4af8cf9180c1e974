#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move a restored copy into the live database, or back out of it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_cutover
short_description: Move a restored copy into the live database, or back out of it
version_added: "0.1.0"
description:
  - With O(mode=insert_missing) it inserts the rows that the live tables lack in one transaction; existing rows stay. It checks the
    counts before the commit; sequences only go forward.
  - With O(mode=swap) the restored directory replaces that of a stopped server, by renames that a journal lists first. The old
    directory is kept, and so is the configuration.
  - O(state=put_back) reverses either, even after the controller or the host died at any point.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.postgresql
attributes:
  check_mode:
    support: full
    description: Says what it would do.
  diff_mode:
    support: none
    description: Rows are never shown.
options:
  mode:
    description: By rows, or by directories.
    type: str
    choices: [insert_missing, swap]
    required: true
  state:
    description: Whether to do it or to reverse it.
    type: str
    choices: [done, put_back]
    default: done
  folder:
    description: Directory that M(somabrain.incident_response.postgresql_restore) restored; a swap needs it promoted.
    type: path
    required: true
  tables:
    description: Tables whose missing rows to insert; tables with triggers need O(fire_triggers).
    type: list
    elements: str
    default: []
  expected:
    description: How many rows each table lacked when the plan was approved; any other number is refused.
    type: dict
    default: {}
  tolerance:
    description: How much these may differ; below 1 a share, else a number.
    type: float
    default: 0.0
  fire_triggers:
    description: Whether triggers of the tables may fire for the inserted rows.
    type: bool
    default: false
  kept_file:
    description: File for the hashes of the inserted rows, in a private directory; needed to reverse the insert.
    type: path
    default: ""
  data_dir:
    description: Data directory of the stopped server.
    type: path
    default: ""
  bin_dir:
    description: Directory of the PostgreSQL server programs; empty to find them.
    type: path
    default: ""
  run_id:
    description: Id of the run that this belongs to; part of the name of the kept directory.
    type: str
    required: true
  about:
    description: What the journal of a swap keeps for a later run that finishes it, such as the approved loss.
    type: dict
    default: {}
  compared_at:
    description:
      - C(live_at) of M(somabrain.incident_response.postgresql_compare), made before the server was stopped.
      - The rows it committed from then until its stop, according to its WAL, are added to the loss of O(about).
    type: dict
    default: {}
  timeout:
    description: Longest duration of all of it in seconds.
    type: float
    default: 600.0
  stage:
    description: The stage of a remediation that this belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.postgresql_restore
  - module: somabrain.incident_response.postgresql_compare
"""

EXAMPLES = r"""
- name: Put the missing rows back
  somabrain.incident_response.postgresql_cutover:
    mode: insert_missing
    folder: "{{ restored.folder }}"
    tables: [public.outbox_events]
    kept_file: /var/lib/postgresql/side/kept/now.jsonl
    run_id: now
"""

RETURN = r"""
inserted:
  description: How many rows were inserted.
  type: int
  returned: success
removed:
  description: How many of them were deleted again.
  type: int
  returned: success
left:
  description: How many were not, because they changed or disappeared since.
  type: int
  returned: success
tables:
  description: The comparison, with inserted.
  type: list
  elements: dict
  returned: success
moved:
  description: How many renames were done.
  type: int
  returned: success
before_dir:
  description: Where the old data directory is kept.
  type: str
  returned: success
since:
  description: When the swap began, in seconds since the epoch.
  type: float
  returned: success
loss:
  description: The loss of O(about), with the rows written after the comparison; then it is an upper bound.
  type: dict
  returned: success
kept_file:
  description: The file with the hashes.
  type: str
  returned: success
run_id:
  description: O(run_id) as it was given.
  type: str
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
stage:
  description: The stage as given.
  type: str
  returned: success
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_cutover import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
