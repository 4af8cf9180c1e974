#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out what of a PostgreSQL cluster is damaged."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_integrity
short_description: Find out which tables and indexes are damaged, and rebuild damaged indexes
version_added: "0.1.0"
description:
  - Checks every table and index of the named databases with C(pg_amcheck), and names what is damaged. Only reads.
  - With O(action=reindex) rebuilds damaged indexes from their tables, after a copy of their files. Never touches tables.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.postgresql
attributes:
  check_mode:
    support: full
    description: Checks as always, and says which indexes it would rebuild.
  diff_mode:
    support: none
    description: The sentences say what it does.
options:
  action:
    description: Whether to check, or to rebuild the indexes in O(damaged).
    type: str
    choices: [check, reindex]
    default: check
  databases:
    description: Databases to check; by default O(database). Each needs the extension C(amcheck).
    type: list
    elements: str
    default: []
  damaged:
    description: RV(damaged) of an earlier check.
    type: list
    elements: dict
    default: []
  bin_dir:
    description: Directory with C(pg_amcheck); by default the usual places.
    type: str
    default: ""
  dest_dir:
    description: Directory for the copies of index files.
    type: path
    default: ""
  run_id:
    description: The run that this belongs to; it is returned.
    type: str
    default: ""
  timeout:
    description: Longest duration of all of it in seconds. Anything not checked in time is unknown.
    type: float
    default: 900.0
  stage:
    description: Stage of the run that this belongs to.
    type: str
    choices: [assess, act, verify]
    default: act
seealso:
  - module: somabrain.incident_response.postgresql_health_info
"""

EXAMPLES = r"""
- name: Check for damage
  somabrain.incident_response.postgresql_integrity:
    databases: [somabrain]
  register: looked
"""

RETURN = r"""
verdict:
  description: V(none), V(index) where only indexes are damaged, V(heap), or V(unknown) where the check failed.
  type: str
  returned: always
damaged:
  description: What is damaged, each with kind, name, database and blocks.
  type: list
  elements: dict
  returned: always
text:
  description: The same as a sentence.
  type: str
  returned: always
code:
  description: The reason to refuse with where no index explains the damage, V(data_missing) or V(data_damaged).
  type: str
  returned: always
plan:
  description: The plan to approve, in the form for M(somabrain.incident_response.remediation_guard); empty unless only indexes are damaged.
  type: dict
  returned: always
proven:
  description: By database, the server's time at which a check began that found nothing.
  type: dict
  returned: always
unchecked:
  description: How many indexes of these databases no amcheck can check (GIN, GiST, hash and others).
  type: int
  returned: always
run_id:
  description: The run as given.
  type: str
  returned: always
kept:
  description: The copies made, each with path, copy and sha256.
  type: list
  elements: dict
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
stage:
  description: The stage as given.
  type: str
  returned: always
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_integrity import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
