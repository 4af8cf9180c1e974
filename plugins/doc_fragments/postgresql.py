# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options to reach a PostgreSQL cluster (CONNECT_SPEC in module_utils/_postgresql/psql.py)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  host:
    description:
      - Name or address of the server, or the directory of its socket; empty means the usual directory of sockets.
    type: str
    default: ""
  port:
    description: Its port, which also names its socket.
    type: int
    default: 5432
  user:
    description: Role to log in as. C(pg_monitor) is enough for a look.
    type: str
    default: postgres
  database:
    description: Database to log in to.
    type: str
    default: postgres
  password_file:
    description: Path of a file (mode 0600) with the password, on the host that connects. Empty for peer authentication.
    type: path
    default: ""
  tls:
    description: Whether to require an encrypted connection.
    type: bool
    default: false
  os_user:
    description:
      - System user that psql and the server programs run as where the task is root.
      - Peer authentication accepts this user.
    type: str
    default: postgres
  psql:
    description: Name or path of psql on the host that connects.
    type: path
    default: psql
"""

    # Which sessions count as a root of waits, and which are off limits (BLOCKED_SPEC in module_utils/_postgresql/blocked.py).
    BLOCKED = r"""
options:
  limit_seconds:
    description:
      - Seconds that a session may wait for a lock. Only sessions that block others for longer, in a transaction older than that, count.
    type: float
    default: 30.0
  off_limits_users:
    description:
      - Patterns of roles whose sessions are off limits, besides superusers, replication roles, and roles named for backup, replication or
        migration. Case does not matter.
    type: list
    elements: str
    default: []
  off_limits_applications:
    description:
      - Patterns of C(application_name) that are off limits, besides pgBackRest, pg_basebackup, pg_dump, barman, WAL-G, Alembic, Flyway,
        Liquibase and any other name with C(migrat). Case does not matter.
    type: list
    elements: str
    default: []
"""
