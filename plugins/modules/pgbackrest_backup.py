#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a backup now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbackrest_backup
short_description: Make a backup now
version_added: "0.1.0"
description:
  - Makes a backup with an immediate checkpoint. Expires no older backup, whatever the retention says.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.pgbackrest
attributes:
  check_mode:
    support: full
    description: Says that it would make one.
  diff_mode:
    support: none
    description: A backup is not text.
options:
  os_user:
    description: System user that owns the database and its backups, where we are root.
    type: str
    default: postgres
  type:
    description: Kind of the backup.
    type: str
    choices: [full, diff, incr]
    default: full
  timeout:
    description: Longest duration of all of it in seconds.
    type: float
    default: 3600.0
  stage:
    description: The stage of a remediation that this belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.pgbackrest_info
"""

EXAMPLES = r"""
- name: Make a full backup
  somabrain.incident_response.pgbackrest_backup:
    stanza: main
"""

RETURN = r"""
label:
  description: Its label.
  type: str
  returned: success
bytes:
  description: Size of the database.
  type: int
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.pgbackrest_backup import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
