#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a restored copy with the live database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_compare
short_description: Compare a restored copy with the live database
version_added: "0.1.0"
description:
  - Compares tables by the hashes of primary keys and rows; returns only counts. Tables without a primary key are only counted.
  - Only reads the live database. Starts a side instance on the restored copy and stops it again.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.postgresql
attributes:
  check_mode:
    support: full
    description: Compares in check mode too, because it only reads live.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  folder:
    description: Directory that M(somabrain.incident_response.postgresql_restore) restored.
    type: path
    required: true
  tables:
    description: Tables to compare, as C(schema.table); empty for all.
    type: list
    elements: str
    default: []
  bin_dir:
    description: Directory of the PostgreSQL server programs; empty to find them.
    type: path
    default: ""
  timeout:
    description: Longest duration of all of it in seconds.
    type: float
    default: 600.0
seealso:
  - module: somabrain.incident_response.postgresql_restore
  - module: somabrain.incident_response.postgresql_cutover
"""

EXAMPLES = r"""
- name: What is missing?
  somabrain.incident_response.postgresql_compare:
    folder: "{{ restored.folder }}"
"""

RETURN = r"""
tables:
  description: "For each table: restored, live, missing, extra, changed (rows), exact, digest, note."
  type: list
  elements: dict
  returned: success
missing:
  description: Rows that are missing in live.
  type: int
  returned: success
extra:
  description: Rows that only live has.
  type: int
  returned: success
differing:
  description: Rows that differ.
  type: int
  returned: success
exact:
  description: Whether all rows that only live has, or has changed, are counted.
  type: bool
  returned: success
live_at:
  description: WAL position of live before the comparison (lsn, empty where unknown), and the transactions running then.
  type: dict
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_compare import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
