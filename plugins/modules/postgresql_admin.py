#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take one small act beside a PostgreSQL cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_admin
short_description: Remove one cause that keeps a PostgreSQL cluster from starting, or keep copies for that
version_added: "0.1.0"
description:
  - Carries out exactly one act of a short list. None can touch a row, a WAL file or a running server.
  - Each act checks its target again, and stops where that has changed.
  - Anything moved or replaced is copied first and can be put back.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Looks, and says what it would do.
  diff_mode:
    support: none
    description: The sentences say what it does.
options:
  action:
    description:
      - V(end_orphans) ends backends that outlived their postmaster with SIGTERM, and waits for them. It never kills them.
      - V(move_pid_aside) renames a lock file that names an unrelated process (proven by start time, program and working directory, while
        no process of this cluster runs); V(put_pid_back) reverses that.
      - V(keep_config) keeps copies of O(files), the configuration just verified; V(restore_config) replaces the first of O(files) with its
        copy and keeps the broken file beside it; V(put_config_back) reverses that.
      - V(fix_access) gives the files of a cluster that is down to O(os_user), none that lies behind a link or has a second name;
        V(put_access_back) reverses that, by O(record) or O(access).
      - V(copy) keeps a cold copy of the data directory with the digest of every file.
    type: str
    choices: [end_orphans, move_pid_aside, put_pid_back, keep_config, restore_config, put_config_back, fix_access, put_access_back, copy]
    required: true
  data_dir:
    description: Data directory of the cluster.
    type: path
    default: ""
  rescue_dir:
    description: Directory for copies.
    type: path
    default: ""
  run_id:
    description: Run that the act belongs to; part of the names of kept files.
    type: str
    default: ""
  files:
    description: Configuration files.
    type: list
    elements: path
    default: []
  os_user:
    description: User that PostgreSQL runs as, empty for the owner of the data directory.
    type: str
    default: ""
  access:
    description: Files with C(path), C(owner), C(group) and C(mode) as they were, where there is no O(record).
    type: list
    elements: dict
    default: []
  record:
    description: File with the same, as O(action=fix_access) wrote it.
    type: path
    default: ""
  loaded_at:
    description: When the server last loaded its configuration, in seconds since 1970. A file changed since then is not kept as proven.
    type: float
    default: 0.0
  timeout:
    description: Seconds for the act.
    type: float
    default: 30.0
  stage:
    description: Stage of the run that this act belongs to.
    type: str
    choices: [assess, act, verify, undo]
    default: act
seealso:
  - module: somabrain.incident_response.postgresql_health_info
"""

EXAMPLES = r"""
- name: End the backends without a postmaster
  somabrain.incident_response.postgresql_admin:
    action: end_orphans
    data_dir: /var/lib/postgresql/15/main
"""

RETURN = r"""
changed:
  description: Whether anything changed, or in check mode would change.
  type: bool
  returned: always
action:
  description: The act.
  type: str
  returned: always
run_id:
  description: O(run_id) as it was given.
  type: str
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
text:
  description: What happened to the copy.
  type: str
  returned: for O(action=copy)
path:
  description: Where the copy is, empty for none.
  type: str
  returned: for O(action=copy)
files:
  description: How the first files that were changed had been.
  type: list
  elements: dict
  returned: for O(action=fix_access)
count:
  description: The number of files changed.
  type: int
  returned: for O(action=fix_access) and O(action=put_access_back)
record:
  description: The file that says how all of them had been, empty for none.
  type: str
  returned: for O(action=fix_access)
aside:
  description: The new name of the lock file.
  type: str
  returned: for O(action=move_pid_aside)
broken:
  description: Where the replaced configuration is kept.
  type: str
  returned: for O(action=restore_config)
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_admin import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
