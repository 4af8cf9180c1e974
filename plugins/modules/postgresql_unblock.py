#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End the sessions of PostgreSQL that hold up others."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_unblock
short_description: End the sessions of PostgreSQL that hold up others
version_added: "0.1.0"
description:
  - Looks who is at the root of waits for a lock that last longer than O(limit_seconds). A statement that runs is cancelled;
    where that does not help within O(grace), and for a session that is idle in a transaction, the session is terminated.
  - Each signal is sent by a statement that looks again whether pid, start of the session and start of its statement are the same, and
    whether it is still in somebody's way. Who went on meanwhile is left alone.
  - Only sessions of clients are ended, never those of superusers, roles that replicate, backups, migrations, the builders of an index
    C(CONCURRENTLY), walsenders, autovacuum or other processes of the server. Prepared transactions are told, never rolled back.
  - No committed work is lost. The uncommitted work of a cancelled or terminated transaction is rolled back.
  - A role with C(pg_monitor) and C(pg_signal_backend) is enough.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.postgresql
  - somabrain.incident_response.postgresql.blocked
attributes:
  check_mode:
    support: full
    description: Says whom it would cancel or terminate.
  diff_mode:
    support: full
    description: Shows who was at the root of waits before and after; in check mode, who would be.
options:
  sessions:
    description: End at most these, as M(somabrain.incident_response.postgresql_locks_info) told them; all roots where it is not given.
    type: list
    elements: dict
    suboptions:
      pid:
        description: Its process id.
        type: int
        required: true
      backend_start:
        description: When the session began.
        type: str
        required: true
      query_start:
        description: When its statement began.
        type: str
        required: true
  run_id:
    description: Id of the run that this belongs to.
    type: str
    default: ""
  most:
    description: End at most so many, those first behind which somebody waits longest.
    type: int
    default: 3
  grace:
    description: Seconds that a cancel, and then a termination, has to help.
    type: float
    default: 5.0
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 60.0
  stage:
    description: The stage of a remediation that this belongs to.
    type: str
    choices: [act]
    default: act
seealso:
  - module: somabrain.incident_response.postgresql_locks_info
"""

EXAMPLES = r"""
- name: End who holds up others for more than a minute
  somabrain.incident_response.postgresql_unblock:
    host: 127.0.0.1
    user: somabrain_operator
    password_file: /etc/somabrain/secrets/operator_password
    limit_seconds: 60
    off_limits_applications: [billing-*]
"""

RETURN = r"""
sessions:
  description:
    - What came of each root, in C(done). V(cancelled), V(terminated), V(moved_on) (it was left alone since it was not the same any more, or
      in nobody's way), V(refused) by the server with C(error), V(still_blocking), V(left) for those beyond O(most); in check mode
      V(would_cancel), V(would_terminate). The rest is as in the facts of M(somabrain.incident_response.postgresql_locks_info).
    - C(cancelled_first) is true for one that was cancelled before it was terminated.
  type: list
  elements: dict
  returned: success
off_limits:
  description: The roots of long waits that may not be ended and are still there, each with C(why).
  type: list
  elements: dict
  returned: success
before:
  description: Who was at the root of waits.
  type: list
  elements: str
  returned: success
after:
  description: Who is; in check mode, who would be.
  type: list
  elements: str
  returned: success
sqlstate:
  description: What kept it from looking or acting.
  type: str
  returned: on failure
run_id:
  description: O(run_id) as it was given.
  type: str
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
stage:
  description: The stage that was asked for.
  type: str
  returned: success
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: success
  sample:
    - "cancelled the statement of pid 4711 (api, app, active) c79e5c56fb0e, which blocks 2 for 61 s: its client sees SQLSTATE 57014"
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_unblock import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
