# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options to reach a repository of pgBackRest (REPO_SPEC in _postgresql/restore/pgbackrest.py)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  stanza:
    description: Name of the stanza.
    type: str
    required: true
  pgbackrest:
    description: The pgbackrest program.
    type: path
    default: pgbackrest
  pgbackrest_config:
    description: Configuration file of pgBackRest; empty for the default one.
    type: path
    default: ""
  repo:
    description: Number of the repository; 0 lets pgBackRest choose.
    type: int
    default: 0
"""

    # What decides a restore to a time (RESTORE_OPTIONS in module_utils/_postgresql/restore/load.py).
    RESTORE = r"""
options:
  target:
    description: Time to restore to, as RFC 3339 with a zone, for example V(2026-11-25T10:05:00Z).
    type: str
    default: ""
  label:
    description: Backup to use; empty for the newest one completed before the target.
    type: str
    default: ""
  data_dir:
    description: Data directory of the live database; empty to query it.
    type: path
    default: ""
"""

    # Where to restore to, and what must hold there.
    PROOF = r"""
options:
  bin_dir:
    description: Directory of the PostgreSQL server programs; empty to find them.
    type: path
    default: ""
  side_dir:
    description: Directory for restored data, outside every data directory. A swap needs it on the filesystem of the data.
    type: path
    required: true
  system_identifier:
    description: Required system identifier of the database and its backup; empty for that of the live database.
    type: str
    default: ""
  known_answers:
    description: Queries whose answers are known, each with C(name), C(query) and C(expect). What a query returns is never shown.
    type: list
    elements: dict
    default: []
  space_factor:
    description: Required free space, as a multiple of the restored size.
    type: float
    default: 1.2
"""
