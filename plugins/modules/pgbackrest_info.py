#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what a repository of pgBackRest holds, and whether its WAL has gaps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbackrest_info
short_description: Show what a repository of pgBackRest holds, and whether its WAL has gaps
version_added: "0.1.0"
description:
  - Reads the backups of a stanza and counts the WAL segments since the newest one itself, along the timelines.
  - C(info), C(check) and C(verify) of pgBackRest 2.45 do not notice a missing segment; C(verify) also exits with 0 when it finds
    errors, so its text is read.
  - Changes nothing.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.pgbackrest
attributes:
  check_mode:
    support: full
    description: Only looks.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  os_user:
    description: System user that owns the database and its backups, where we are root.
    type: str
    default: postgres
  segment_bytes:
    description: Size of a WAL segment of the cluster.
    type: int
    default: 16777216
  verify:
    description: Whether pgBackRest also reads and checks every file of the repository; that takes long.
    type: bool
    default: false
  timeout:
    description: Longest duration of all of it in seconds.
    type: float
    default: 30.0
seealso:
  - module: somabrain.incident_response.postgresql_restore
  - module: somabrain.incident_response.pgbackrest_backup
"""

EXAMPLES = r"""
- name: What is there to restore from?
  somabrain.incident_response.pgbackrest_info:
    stanza: main
  register: backups
"""

RETURN = r"""
state:
  description: V(ok), V(no_stanza), V(no_backup) or V(repository_unusable).
  type: str
  returned: success
error:
  description: Error of pgBackRest, empty for none.
  type: str
  returned: success
locked:
  description: Whether a backup is running.
  type: bool
  returned: success
backups:
  description: "All backups, the oldest first: label, type, error, start, stop, wal_start, wal_stop, bytes, system_identifier."
  type: list
  elements: dict
  returned: success
newest:
  description: The newest backup without an error.
  type: dict
  returned: success
age_seconds:
  description: Its age.
  type: float
  returned: success
wal:
  description: "The WAL since that backup: whole, missing (the first ones), lost, checked, last, last_at, timeline."
  type: dict
  returned: success
problems:
  description: What is wrong, one sentence each.
  type: list
  elements: str
  returned: success
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.pgbackrest_info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
