#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""End the sessions of PostgreSQL that block others."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_unblock
short_description: End the sessions of PostgreSQL that block others
version_added: "0.1.0"
description:
  - Finds the sessions at the root of lock waits longer than O(limit_seconds). Cancels a running statement; where that does not help
    within O(grace), and where the session is idle in a transaction, terminates the session.
  - The statement that sends a signal checks again that pid, start of session and start of statement are the same, and that the session
    still blocks others. A session that moved on stays untouched.
  - Ends only client sessions, never those of superusers, replication roles, backups, migrations, C(CREATE INDEX CONCURRENTLY),
    walsenders, autovacuum or other server processes. Prepared transactions are reported, never rolled back.
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
    description: Says which sessions it would cancel or terminate.
  diff_mode:
    support: full
    description: Shows who was at the root of waits before and after; in check mode, who would be.
options:
  sessions:
    description: End at most these, as M(somabrain.incident_response.postgresql_locks_info) returned them; all roots by default.
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
    description: End at most so many; those with the longest wait behind them come first.
    type: int
    default: 3
  grace:
    description: Seconds to wait for the effect of a cancel, and then of a termination.
    type: float
    default: 5.0
  timeout:
    description: Longest duration of all of it in seconds.
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
- name: End sessions that block others for more than a minute
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
    - The result for each root, in C(done). V(cancelled), V(terminated), V(moved_on) (left alone because it changed or no longer blocks
      others), V(refused) by the server with C(error), V(still_blocking), V(left) for those beyond O(most); in check mode
      V(would_cancel), V(would_terminate). The rest is as in the facts of M(somabrain.incident_response.postgresql_locks_info).
    - C(cancelled_first) is true for one that was cancelled before it was terminated.
  type: list
  elements: dict
  returned: success
off_limits:
  description: The remaining roots of long waits that are off limits, each with C(why).
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
  description: SQLSTATE of the error that stopped it.
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
  description: The stage as given.
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
