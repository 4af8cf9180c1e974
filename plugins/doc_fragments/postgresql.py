# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options by which a PostgreSQL cluster is reached (CONNECT_SPEC in module_utils/_postgresql/psql.py)."""

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
    description: Role to log in as. C(pg_monitor) is enough to look.
    type: str
    default: postgres
  database:
    description: Database to log in to.
    type: str
    default: postgres
  password_file:
    description: Path of a file (mode 0600) with the password, on the host from which the server is asked. Empty for peer authentication.
    type: path
    default: ""
  tls:
    description: Whether only an encrypted connection will do.
    type: bool
    default: false
  os_user:
    description:
      - User of the machine that psql and the programs of the server run as where the task is root.
      - Peer authentication lets in whom it names.
    type: str
    default: postgres
  psql:
    description: Name or path of psql on the host from which the server is asked.
    type: path
    default: psql
"""

    # Who counts as a root of waits, and who is left alone (BLOCKED_SPEC in module_utils/_postgresql/blocked.py).
    BLOCKED = r"""
options:
  limit_seconds:
    description:
      - Seconds that somebody may wait for a lock. Only who holds up others for longer, in a transaction that is older than that, counts.
    type: float
    default: 30.0
  off_limits_users:
    description:
      - Patterns of roles whose sessions are left alone, beside superusers, roles that replicate, and those whose names tell of backup,
        replication or migration. Case does not matter.
    type: list
    elements: str
    default: []
  off_limits_applications:
    description:
      - Patterns of C(application_name) that are left alone, beside pgBackRest, pg_basebackup, pg_dump, barman, WAL-G, Alembic, Flyway,
        Liquibase and whatever names itself a migration. Case does not matter.
    type: list
    elements: str
    default: []
"""
