#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at one Redis and tell which of fourteen states it is in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_health_info
short_description: Tell the state of a Redis, its health and the acts that it allows
version_added: "0.1.0"
description:
  - Asks Redis by its own protocol and, on the target, looks at its process, disk, log and, when it is down, at its data files.
  - The state is one of V(up), V(auth), V(loading), V(busy_script), V(misconf_rdb), V(misconf_aof), V(oom), V(readonly_replica), V(hung),
    V(down_clean), V(down_crash_loop), V(down_bad_file), V(up_but_empty), V(up_but_wrong), or empty where it cannot be told.
  - Changes nothing. Whether writes are accepted is asked by a C(SET) with C(XX) on a name that cannot exist.
  - Data files are judged read-only and in place; links that lead out of the data directory are never followed.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.look
  - somabrain.incident_response.look.place
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: It only looks, so it does the same in check mode.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
options:
  data_dir:
    description: Data directory on the target. Redis itself tells it while it answers, else O(config_file) does.
    type: str
    default: ""
  config_file:
    description: Configuration file of Redis on the target; says where the data are when Redis is down.
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
    description: The command that starts Redis, to recognise one that deletes its data first. By default what O(service) runs.
    type: str
    default: ""
  reload_from:
    description: Copies of the data that were kept before a start and are not loaded yet.
    type: list
    elements: str
    default: []
  service:
    description:
      - The service that runs Redis, as the options C(manager), C(name), C(scope) and C(supervisor_url) of
        M(somabrain.incident_response.service_info); or its state, as that module returns it.
      - It is asked when Redis is silent.
    type: dict
    default: {}
  judge_files:
    description: When to judge the data files; with V(auto) when Redis is down.
    type: str
    choices: [auto, always, never]
    default: auto
  files_timeout:
    description: Seconds that judging the data files may take. Files that were not judged in time allow no start.
    type: float
    default: 60.0
  write_probe:
    description: Whether to ask by a C(SET) that never writes whether writes are accepted.
    type: bool
    default: true
  expected_role:
    description: The role that this Redis has to have.
    type: str
    choices: [any, master, replica]
    default: any
  expected_replicas:
    description: How many replicas have to be online.
    type: int
    default: 0
  expected_identity:
    description: What has to be seen again of RV(identity), such as C(run_id) or C(role); C(restarts) limits the service's restart count.
    type: dict
    default: {}
  last_known_keys:
    description: Number of keys at the last proven look; V(-1) where unknown. V(0) says that being empty is right.
    type: int
    default: -1
  empty_below_share:
    description: Below this share of O(last_known_keys) Redis counts as emptied.
    type: float
    default: 0.5
  known_keys:
    description: Keys whose answer is known. They are only read.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: Name of the key.
        type: str
        required: true
      sha256:
        description: Digest of its value; for other types than strings, of what C(DUMP) returns without its last ten bytes.
        type: str
        default: ""
      exists:
        description: Whether it has to be there.
        type: bool
        default: true
      db:
        description: Number of its database.
        type: int
        default: 0
  max_latency_ms:
    description: Milliseconds that C(PING) may take; V(0) allows any time.
    type: float
    default: 0.0
  maxmemory_limit:
    description: Bytes up to which C(maxmemory) may be raised; V(0) allows no raising.
    type: int
    default: 0
  sentinels:
    description:
      - The Sentinels that watch over this Redis. Most of them have to answer and to agree that it is the master; else no act is allowed.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name or address of a Sentinel, as seen from where Redis is looked at.
        type: str
        default: 127.0.0.1
      port:
        description: Its port.
        type: int
        default: 26379
      username:
        description: User name, where it has users of its own.
        type: str
        default: ""
      password_file:
        description: Path of a file that holds its password; none where empty.
        type: str
        default: ""
  sentinel_master:
    description: The name that the Sentinels have for the master.
    type: str
    default: mymaster
  sentinel_known_as:
    description: C(ADDRESS:PORT) by which the Sentinels know this Redis, where that is none of its host's own (containers, NAT).
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
  description: What was observed, each with name, state, text and data.
  type: list
  elements: dict
  returned: always
identity:
  description: What tells this process from its successor, C(run_id), C(pid), C(start_time), C(role), C(port), C(tcp).
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
    - What else was seen, C(keys), C(persistence) with what a kill would lose, C(disk), C(files), C(log), C(process) and memory.
    - While loading also C(loading_eta_seconds) and C(loaded_perc). C(identity_mismatch) is true when another Redis answers than expected.
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
  description: Whether all that is needed is time, as while loading.
  type: bool
  returned: always
checks:
  description: The same look in the shape of M(somabrain.incident_response.health_info).
  type: list
  elements: dict
  returned: always
stage:
  description: The stage that was asked for.
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
