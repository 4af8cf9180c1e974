#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at who waits for whom in PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_locks_info
short_description: Look at who waits for whom in PostgreSQL
version_added: "0.1.0"
description:
  - Draws the lock waits as a tree and names the sessions at its root, which block others and wait for none.
  - Changes nothing.
  - A role with C(pg_monitor) is enough. Shows statements by their shape and a hash of it, without their data.
  - Before PostgreSQL 14 a wait counts from the start of its statement.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.postgresql
  - somabrain.incident_response.postgresql.blocked
  - somabrain.incident_response.look
  - somabrain.incident_response.look.place
attributes:
  check_mode:
    support: full
    description: Only looks.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  expected_identity:
    description: Pins of identity, C(system_identifier) for example; any other cluster sets C(identity_mismatch).
    type: dict
    default: {}
seealso:
  - module: somabrain.incident_response.postgresql_unblock
"""

EXAMPLES = r"""
- name: Find the blocking sessions
  somabrain.incident_response.postgresql_locks_info:
    user: somabrain_monitor
    password_file: /etc/somabrain/secrets/monitor_password
    host: 127.0.0.1
  register: locks

- name: Show the tree
  ansible.builtin.debug:
    var: locks.table
"""

RETURN = r"""
health:
  description: V(well) where no session waits longer than the limit, V(sick) where one does, V(unknown) where we cannot see that.
  type: str
  returned: success
state:
  description:
    - V(free), V(blocked) (by sessions that a run may end), V(blocked_off_limits) (only by sessions that it may not), V(queueing) (behind
      many short transactions), V(in_circle) (for each other), V(auth) (login rejected), or empty.
  type: str
  returned: success
identity:
  description: C(system_identifier) and C(role) of the cluster, and C(start_time) of its server.
  type: dict
  returned: success
actions:
  description: V(unblock) where a run may end a session.
  type: list
  elements: str
  returned: success
facts:
  description:
    - C(waiting) (a number), C(longest_wait_seconds), C(limit_seconds), C(roots), C(targets) (the roots that block others for too long and
      may be ended, in the form that M(somabrain.incident_response.postgresql_unblock) takes), C(circles).
    - A root has pid (V(0) for a prepared transaction), C(gid), C(backend_start), C(query_start), C(state), C(user), C(database),
      C(application), C(backend_type), C(age_seconds) of its transaction, C(blocked) (the pids that wait behind it, however far),
      C(blocked_count), C(longest_wait_seconds), C(fingerprint), C(query) (without data), C(action) (V(cancel), V(terminate) or V(none)),
      C(why).
  type: dict
  returned: success
findings:
  description: What was found, in sentences.
  type: list
  elements: dict
  returned: success
table:
  description: The waits as a tree.
  type: list
  elements: str
  returned: success
  sample:
    - "4711 api of app, idle in transaction 312 s: blocks 2, longest 301 s"
    - "  c79e5c56fb0e: update t set v=? where id=?"
    - "  terminate: it is idle in a transaction, where a cancel has no effect"
    - "  `- 4712 api waits 301 s"
    - "    `- 4713 worker waits 12 s"
subject:
  description: What was looked at.
  type: str
  returned: success
proven:
  description: Whether enough looks in a row were well.
  type: bool
  returned: success
passes:
  description: Looks in a row that were well.
  type: int
  returned: success
looks:
  description: All looks.
  type: int
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
checks:
  description: The look as the one check of a health report.
  type: list
  elements: dict
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_locks_info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
