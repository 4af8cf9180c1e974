#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that the newest backup restores and answers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_proof
short_description: Prove that the newest backup restores and answers
version_added: "0.1.0"
description:
  - Restores the newest backup of a stanza to the end of its WAL in a fresh directory, starts a side instance on it, checks its
    known answers, has C(pg_amcheck) check it where that is installed, and removes all of it again.
  - Neither needs nor touches the live database. Finds a missing WAL segment by its own count and by where the recovery ended.
  - Returns the form of M(somabrain.incident_response.health_info), one check for each thing it proves; refuses without enough space.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.postgresql
  - somabrain.incident_response.pgbackrest
  - somabrain.incident_response.pgbackrest.proof
attributes:
  check_mode:
    support: full
    description: Only looks, and restores nothing.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  max_age:
    description: Oldest acceptable age of the newest backup in seconds.
    type: float
    default: 93600.0
  amcheck:
    description: Whether C(pg_amcheck) reads every table and index.
    type: bool
    default: true
  timeout:
    description: Longest duration of all of it in seconds.
    type: float
    default: 3600.0
seealso:
  - module: somabrain.incident_response.pgbackrest_info
  - module: somabrain.incident_response.postgresql_restore
"""

EXAMPLES = r"""
- name: Does last night's backup restore?
  somabrain.incident_response.backup_proof:
    stanza: main
    side_dir: /srv/side
    known_answers:
      - {name: policies, query: SELECT count(*) > 0 FROM constitution_versions, expect: "true"}
"""

RETURN = r"""
health:
  description: V(well), V(sick) or V(unknown), the worst of the checks.
  type: str
  returned: success
checks:
  description: "One check for each thing: C(backup age), C(backup wal), C(backup restore), the answers and C(backup amcheck)."
  type: list
  elements: dict
  returned: success
proven:
  description: Whether all of them are well.
  type: bool
  returned: success
facts:
  description: The backup and its WAL.
  type: dict
  returned: success
state:
  description: Empty.
  type: str
  returned: success
subject:
  description: Empty.
  type: str
  returned: success
passes:
  description: How many looks were made, always one.
  type: int
  returned: success
looks:
  description: How many looks were made, always one.
  type: int
  returned: success
findings:
  description: Empty; see RV(checks).
  type: list
  elements: dict
  returned: success
actions:
  description: Empty.
  type: list
  elements: str
  returned: success
identity:
  description: Empty.
  type: dict
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
stage:
  description: V(verify).
  type: str
  returned: success
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.backup_proof import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
