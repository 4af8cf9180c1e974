#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at one Redis and report which of fourteen states it is in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_health_info
short_description: Report the state of a Redis, its health and the acts that it allows
version_added: "0.1.0"
description:
  - Queries Redis by its own protocol and checks its process, disk and log on the target, and its data files when it is down.
  - The state is one of V(up), V(auth), V(loading), V(busy_script), V(misconf_rdb), V(misconf_aof), V(oom), V(readonly_replica), V(hung),
    V(down_clean), V(down_crash_loop), V(down_bad_file), V(up_but_empty), V(up_but_wrong),
    V(down_start_fails), V(port_taken), V(no_mount), V(doubtful_dir), V(doubtful_settings),
    V(down_would_evict), V(start_empties), V(replicas_unseen), V(would_follow), V(owned_elsewhere),
    V(failing_over), V(failed_over), or empty if unknown.
  - Changes nothing. Tests whether Redis accepts writes with a C(SET) with C(XX) on a name that cannot exist.
  - Checks data files read-only and in place, and never follows links out of the data directory.
  - Looks at the O(replicas) while Redis is down. One that holds more than its data files allows no start before that is dealt with.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.look
  - somabrain.incident_response.look.place
  - somabrain.incident_response.redis
  - somabrain.incident_response.redis.replicas
attributes:
  check_mode:
    support: full
    description: It only looks, so it does the same in check mode.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
options:
  data_dir:
    description: Data directory on the target. By default the one that Redis reports, else the one in O(config_file).
    type: str
    default: ""
  config_file:
    description: Configuration file of Redis on the target; names the data directory when Redis is down.
    type: str
    default: ""
  log_file:
    description: Log file of Redis on the target.
    type: str
    default: ""
  pid_file:
    description: Pid file of Redis on the target.
    type: str
    default: ""
  start_command:
    description: The command that starts Redis, to detect one that deletes its data first. By default the command that O(service) runs.
    type: str
    default: ""
  reload_from:
    description: Copies of the data that were kept before a start but are not loaded yet.
    type: list
    elements: str
    default: []
  service:
    description:
      - The service that runs Redis, as the options C(manager), C(name), C(scope) and C(supervisor_url) of
        M(somabrain.incident_response.service_info); or its state, as that module returns it.
      - Queried when Redis does not answer.
    type: dict
    default: {}
  judge_files:
    description: When to check the data files; V(auto) checks them when Redis is down.
    type: str
    choices: [auto, always, never]
    default: auto
  files_timeout:
    description: Time limit for checking the data files, in seconds. Files that are not checked in time allow no start.
    type: float
    default: 60.0
  write_probe:
    description: Whether to test with a C(SET) that never writes whether Redis accepts writes.
    type: bool
    default: true
  expected_role:
    description: The role that this Redis must have.
    type: str
    choices: [any, master, replica]
    default: any
  expected_replicas:
    description: How many replicas must be online.
    type: int
    default: 0
  expected_identity:
    description: Parts of RV(identity) that must not change, such as C(run_id) or C(role); C(restarts) limits the restarts of the service.
    type: dict
    default: {}
  last_known_keys:
    description: Number of keys at the last proven look; V(-1) if unknown. V(0) means that empty is right.
    type: int
    default: -1
  last_known:
    description:
      - What else is known of the last proven look, C(mount) for the mount point of its data directory, C(at) for when it was.
      - C(bytes) is the size of its append-only file then. What commands removed beyond them is not missing, and what Redis wrote in one
        piece after C(at) is what it had.
    type: dict
    default: {}
  empty_below_share:
    description: With less than this share of O(last_known_keys), Redis counts as emptied.
    type: float
    default: 0.5
  excused_keys:
    description: Places, from 1, of entries of O(known_keys) whose loss a person approved in this run; their answers do not count.
    type: list
    elements: int
    default: []
  known_keys:
    description: Keys with known values. They are only read.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: Name of the key.
        type: str
        required: true
      sha256:
        description: SHA-256 of its value; for types other than strings, of what C(DUMP) returns without the last ten bytes.
        type: str
        default: ""
      exists:
        description: Whether the key must exist.
        type: bool
        default: true
      db:
        description: Database of the key.
        type: int
        default: 0
  max_latency_ms:
    description: Milliseconds that C(PING) may take; V(0) sets no limit.
    type: float
    default: 0.0
  maxmemory_limit:
    description: Bytes up to which C(maxmemory) may be raised; V(0) forbids raising it.
    type: int
    default: 0
  sentinels:
    description:
      - The Sentinels of this Redis. A majority must answer and agree that it is the master; otherwise no act is allowed.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name or address of a Sentinel, as seen from the host that checks Redis.
        type: str
        default: 127.0.0.1
      port:
        description: Port of the Sentinel.
        type: int
        default: 26379
      username:
        description: User name, if the Sentinel has ACL users.
        type: str
        default: ""
      password_file:
        description: File that holds its password; empty for none.
        type: str
        default: ""
  sentinel_master:
    description: The name that the Sentinels have for the master.
    type: str
    default: mymaster
  sentinel_known_as:
    description: C(ADDRESS:PORT) by which the Sentinels know this Redis, if the host itself does not have it (containers, NAT).
    type: str
    default: ""
seealso:
  - module: somabrain.incident_response.redis_rescue
  - module: somabrain.incident_response.redis_admin
"""

EXAMPLES = r"""
- name: Look at Redis
  somabrain.incident_response.redis_health_info:
    socket: /run/redis/redis.sock
    config_file: /etc/redis/redis.conf
    service: {manager: systemd, name: redis-server}
  register: looked

- name: Wait for three passes over five seconds
  somabrain.incident_response.redis_health_info:
    host: 127.0.0.1
    password_file: /etc/somabrain/redis_password
    passes: 3
    window: 5
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
  description: One of the fourteen states, or empty.
  type: str
  returned: always
  sample: hung
findings:
  description: The observations, each with name, state, text and data.
  type: list
  elements: dict
  returned: always
identity:
  description: What distinguishes this process from its successor, C(run_id), C(pid), C(start_time), C(role), C(port), C(tcp).
  type: dict
  returned: always
actions:
  description: The acts that the state allows, in order of preference; an empty list allows none.
  type: list
  elements: str
  returned: always
  sample: [continue, rescue, restart]
facts:
  description:
    - Other facts, C(keys), C(persistence) with what a kill would lose, C(disk), C(files), C(log), C(process) and memory.
    - While loading also C(loading_eta_seconds) and C(loaded_perc). C(identity_mismatch) is true when another Redis answers than expected.
  type: dict
  returned: always
subject:
  description: What was checked.
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
  description: Number of looks.
  type: int
  returned: always
seconds:
  description: How long the task took.
  type: float
  returned: always
on_its_way:
  description: Whether it only needs time, as while loading.
  type: bool
  returned: always
checks:
  description: The same look in the shape of M(somabrain.incident_response.health_info).
  type: list
  elements: dict
  returned: always
stage:
  description: The requested stage.
  type: str
  returned: always
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_health_info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
