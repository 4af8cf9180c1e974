#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at one PostgreSQL cluster and tell which state it is in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_health_info
short_description: Return the state of a PostgreSQL cluster, its health and the acts that it allows
version_added: "0.1.0"
description:
  - Knocks in PostgreSQL's own protocol, runs all queries in one session of psql and, on the target, reads processes, lock file, disks and,
    when the login fails, control file, WAL, modes, configuration and log.
  - The state is one of V(accepting), V(standby), V(rejecting), V(crash_recovery), V(recovery_stuck), V(hung), V(lock_file_gone), V(auth),
    V(no_database), V(read_only), V(too_many_connections), V(blocked), V(archiver_failing), V(wal_filling), V(wraparound), V(prepared),
    V(audit_gap), V(standby_lagging), V(wrong_role), V(up_corrupt), V(slow), V(down_clean), V(down_crashed), V(down_orphans),
    V(pid_stale), V(pid_in_doubt), V(down_disk_full), V(down_permission), V(down_bad_config), V(down_no_wal), V(down_bad_control),
    V(down_panic), V(down_data_missing), V(tablespace_missing), V(down_restoring), V(down_start_fails), V(owned_elsewhere), V(port_taken),
    V(misnamed),
    V(down_not_ours), or empty where it is unknown.
  - The processes themselves (program, working directory, start time) show what runs, never the lock file or a wrapper unit alone.
  - Changes nothing. The session is read-only. No literal of a query and no value of a row is returned.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.look
  - somabrain.incident_response.look.place
  - somabrain.incident_response.postgresql
attributes:
  check_mode:
    support: full
    description: It only looks, so it does the same in check mode.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
options:
  data_dir:
    description: Data directory on the target. By default what the server reports, else C(data_directory) in O(config_file).
    type: str
    default: ""
  config_file:
    description: Configuration file on the target; by default C(postgresql.conf) in the data directory.
    type: str
    default: ""
  log_file:
    description: Log file on the target; of a pattern the newest file is read. By default the output that the service manager kept.
    type: str
    default: ""
  bin_dir:
    description: Directory with the programs of this cluster's version; by default the usual places of distributions.
    type: str
    default: ""
  service:
    description:
      - The service that runs the server, as the options C(manager), C(name), C(scope) and C(supervisor_url) of
        M(somabrain.incident_response.service_info); or its state, as that module returns it.
      - On Debian it is C(postgresql@15-main). The wrapper C(postgresql) is always active; a look reports it as a wrapper.
    type: dict
    default: {}
  former_owners:
    description: Managers, such as C(Patroni), that no longer run this cluster although their files are still there.
    type: list
    elements: str
    default: []
  facts_timeout:
    description: Seconds for the queries and everything else, in addition to O(probe_timeout).
    type: float
    default: 10.0
  expected_identity:
    description: Required values of RV(identity), such as C(system_identifier).
    type: dict
    default: {}
  known_identifier:
    description: System identifier seen at the last proven look. Another one is another cluster, unless O(expected_identity) pins it.
    type: str
    default: ""
  app_user:
    description: Role that the application logs in as. By default every role that may write to a table of O(database) counts as it.
    type: str
    default: ""
  expected_role:
    description: Required role of this server.
    type: str
    choices: [any, primary, standby]
    default: any
  pages_proven:
    description: >-
      By database, the time in seconds since the epoch at which all its pages were proven good. Checksum failures counted before are past.
    type: dict
    default: {}
  known_answers:
    description: Queries whose answer is known. Only whether it is right is returned; the answer does not leave the server.
    type: list
    elements: dict
    default: []
    suboptions:
      query:
        description: A C(SELECT); the first column of its rows counts, as text, one line for each row.
        type: str
        required: true
      database:
        description: Database to query; by default O(database).
        type: str
        default: ""
      expect:
        description: The answer.
        type: str
        default: ""
      sha256:
        description: The digest of the answer, instead of O(known_answers[].expect).
        type: str
        default: ""
  audit:
    description: A table that always gets new rows. Where given, no row in the last minutes is sick.
    type: dict
    suboptions:
      table:
        description: Its name, with the schema where needed.
        type: str
        required: true
      column:
        description: The column with the time of a row.
        type: str
        required: true
      database:
        description: Its database; by default O(database).
        type: str
        default: ""
      within_minutes:
        description: Expect at least one row within so many minutes.
        type: float
        default: 60.0
  max_connections_share:
    description: Share of the connections (without the reserved ones) that may be used.
    type: float
    default: 0.9
  max_query_seconds:
    description: Seconds after which a running statement, or a session idle in a transaction, causes a warning.
    type: float
    default: 300.0
  max_idle_seconds:
    description: Seconds after which an idle session is listed.
    type: float
    default: 3600.0
  max_block_seconds:
    description: Seconds that a session may wait for a lock.
    type: float
    default: 60.0
  max_prepared_seconds:
    description: Seconds that a prepared transaction may exist.
    type: float
    default: 3600.0
  max_lag_seconds:
    description: Seconds that a standby may be behind.
    type: float
    default: 30.0
  max_archive_seconds:
    description: Seconds that WAL may wait without a file being archived; a sixth of that while ten or more wait.
    type: float
    default: 90.0
  max_slot_bytes:
    description: Bytes of WAL that an unused replication slot may keep without a warning.
    type: int
    default: 10737418240
  max_disk_share:
    description: Share of the disks of data, WAL and tablespaces that may be used.
    type: float
    default: 0.9
  max_xid_age:
    description: Age in transactions that a database may reach; PostgreSQL stops writes at 2146 million.
    type: int
    default: 1600000000
  min_cache_hit_share:
    description: Least share of reads from the cache; less causes a warning.
    type: float
    default: 0.9
  max_redo_still_seconds:
    description: Seconds after which a replay of WAL that does not advance counts as stuck.
    type: float
    default: 120.0
  max_latency_ms:
    description: Milliseconds that the answer to a knock may take; V(0) allows any time.
    type: float
    default: 0.0
seealso:
  - module: somabrain.incident_response.health_info
"""

EXAMPLES = r"""
- name: Look at Debian's cluster by its socket
  somabrain.incident_response.postgresql_health_info:
    data_dir: /var/lib/postgresql/15/main
    config_file: /etc/postgresql/15/main/postgresql.conf
    log_file: /var/log/postgresql/postgresql-15-main.log
    service: {manager: systemd, name: postgresql@15-main}
  register: looked

- name: Wait until it gives the known answers
  somabrain.incident_response.postgresql_health_info:
    host: 127.0.0.1
    port: 15432
    user: soma
    database: somabrain
    password_file: /etc/somabrain/secrets/postgres_password
    expected_role: primary
    known_answers:
      - query: SELECT count(*) FROM constitution_versions WHERE is_active
        expect: "1"
    passes: 3
    window: 2
    timeout: 60
    stage: verify
"""

RETURN = r"""
health:
  description: Whether it is V(well), V(sick) or V(unknown).
  type: str
  returned: always
  sample: sick
state:
  description: One of the states above, or empty.
  type: str
  returned: always
  sample: crash_recovery
findings:
  description: What was observed, each with name, state, text and data. Those named C(warning) are well, and worth reading.
  type: list
  elements: dict
  returned: always
identity:
  description: What identifies this cluster and process, C(system_identifier), C(pid), C(start_time), C(role), C(port), C(data_dir).
  type: dict
  returned: always
actions:
  description: The acts that the state allows, in order; an empty list allows none.
  type: list
  elements: str
  returned: always
  sample: [move_pid_aside, start]
facts:
  description:
    - What else was seen. C(connection) is accepting, rejecting or silent. After a login C(connections), C(sessions),
      C(locks), C(prepared), C(replication), C(archiver), C(checksums), C(databases), C(xid_age), C(top_queries), C(audit) and
      C(known_answers).
    - C(process), C(orphans), C(lock_file), C(service), C(disks), and without a login C(control), C(wal), C(redo), C(access),
      C(config), C(contents) and C(log).
    - C(not_seen) names the queries without an answer, and why. C(identity_mismatch) is true for another cluster than expected.
  type: dict
  returned: always
subject:
  description: What was looked at.
  type: str
  returned: always
proven:
  description: Whether enough consecutive looks over the window were well.
  type: bool
  returned: always
passes:
  description: How many looks in a row were well at the end.
  type: int
  returned: always
looks:
  description: How many looks were taken.
  type: int
  returned: always
seconds:
  description: How long all of it took.
  type: float
  returned: always
on_its_way:
  description: Whether only time is needed, as while it replays its WAL.
  type: bool
  returned: always
checks:
  description: The same look in the form of M(somabrain.incident_response.health_info).
  type: list
  elements: dict
  returned: always
stage:
  description: The stage as given.
  type: str
  returned: always
table:
  description: Who blocks whom, and the statements that took the most time, as lines of a table.
  type: list
  elements: str
  returned: always
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.postgresql_health_info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
