# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options by which a repository of pgBackRest is reached (REPO_SPEC in _postgresql/restore/pgbackrest.py)."""

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
    description: Its configuration file; empty for the usual one.
    type: path
    default: ""
  repo:
    description: Number of the repository; 0 for whichever pgBackRest chooses.
    type: int
    default: 0
"""

    # What a restore to a time is decided by (RESTORE_OPTIONS in module_utils/_postgresql/restore/load.py).
    RESTORE = r"""
options:
  target:
    description: Time to restore to, as RFC 3339 with a zone, for example V(2026-11-25T10:05:00Z).
    type: str
    default: ""
  label:
    description: Backup to begin with; empty for the newest that was complete before the target.
    type: str
    default: ""
  data_dir:
    description: Data directory of the live database; empty to ask it.
    type: path
    default: ""
"""

    # Where it is restored to, and what has to hold there.
    PROOF = r"""
options:
  bin_dir:
    description: Directory of the programs of the PostgreSQL server; empty to find them.
    type: path
    default: ""
  side_dir:
    description: Directory for what is restored, outside of every data directory. To swap, on the filesystem of the data.
    type: path
    required: true
  system_identifier:
    description: The system identifier that the database and its backup have to have; empty for that of the live database.
    type: str
    default: ""
  known_answers:
    description: Queries whose answers are known, each with C(name), C(query) and C(expect). What a query returns is never shown.
    type: list
    elements: dict
    default: []
  space_factor:
    description: Free space that is needed, as a multiple of what the restored database takes.
    type: float
    default: 1.2
"""
