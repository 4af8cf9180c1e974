#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a PostgreSQL to a time beside the live one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_restore
short_description: Restore a PostgreSQL to a time beside the live one
version_added: "0.1.0"
description:
  - Restores a backup and replays its WAL to a time in a fresh directory, starts a side instance on it that listens on a private socket
    only and archives nothing, compares it with the live database, and stops it again.
  - Refuses before it creates anything where target, stanza, label, system identifier, role, free space or WAL are not right.
  - Writes a commit to the live database and has its WAL archived, so that the target can be reached; nothing else there changes.
  - Reuses a restore of the same backup to the same time by an earlier run; removes others after O(keep_seconds).
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.postgresql
  - somabrain.incident_response.pgbackrest
  - somabrain.incident_response.pgbackrest.restore
  - somabrain.incident_response.pgbackrest.proof
attributes:
  check_mode:
    support: full
    description: Says what it would restore.
  diff_mode:
    support: none
    description: Restored data are not text.
options:
  state:
    description:
      - V(restored) restores, inspects and plans.
      - V(promoted) ends the recovery of the restored data, so that they can replace the live data.
      - V(absent) removes O(folder).
    type: str
    choices: [restored, promoted, absent]
    default: restored
  mode:
    description: The plan that you want; empty for all possible ones.
    type: str
    choices: ["", insert_missing, swap]
    default: ""
  tables:
    description: Tables to compare, as C(schema.table); empty for all. Rows are only put back into named tables.
    type: list
    elements: str
    default: []
  tolerance:
    description: How much the counts of the plans may change until they are applied; below 1 a share, else a number.
    type: float
    default: 0.0
  folder:
    description: Directory of an earlier restore, for O(state=promoted) and O(state=absent).
    type: path
    default: ""
  run_id:
    description: Id of the run that this belongs to.
    type: str
    default: ""
  keep_seconds:
    description: How long to keep a restore for a cut-over.
    type: float
    default: 86400.0
  archive_timeout:
    description: Seconds for the live database to archive its newest WAL.
    type: float
    default: 60.0
  timeout:
    description: Longest duration of all of it in seconds.
    type: float
    default: 1800.0
  stage:
    description: The stage of a remediation that this belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.postgresql_compare
  - module: somabrain.incident_response.postgresql_cutover
  - module: somabrain.incident_response.pgbackrest_info
"""

EXAMPLES = r"""
- name: Restore to the minute before the mistake
  somabrain.incident_response.postgresql_restore:
    stanza: main
    target: "2026-11-25T10:05:00Z"
    side_dir: /var/lib/postgresql/side
    tables: [public.outbox_events]
  register: restored
"""

RETURN = r"""
folder:
  description: Where it was restored.
  type: str
  returned: success
backup:
  description: The backup that it used.
  type: dict
  returned: success
stop:
  description: "Where recovery stopped: lsn, last_commit, timeline, and the transaction before which it stopped."
  type: dict
  returned: success
answers:
  description: "The known answers: name, right, text."
  type: list
  elements: dict
  returned: success
tables:
  description: "For each table: restored, live, missing, extra, changed (rows), exact, digest, note."
  type: list
  elements: dict
  returned: success
plans:
  description: The possible plans, in the form for M(somabrain.incident_response.remediation_guard).
  type: list
  elements: dict
  returned: success
removed:
  description: Restores of earlier runs that it removed.
  type: list
  elements: str
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
table:
  description: The comparison as lines of a table.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_restore import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
