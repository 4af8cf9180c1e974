#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a service as its manager sees it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_info
short_description: Look at a service as its manager sees it
version_added: "0.1.0"
description:
  - Returns whether a service under supervisor, systemd, Docker Compose or Kubernetes is well, sick or unknown, with what its manager
    knows about it.
  - If the manager does not answer, the result is unknown, never a failure. A running service can still be broken inside; other checks find
    that.
  - With O(timeout), waits for the service to be well. Looks from the target unless O(look_from=controller), and at a cluster from the
    controller unless O(look_from=target).
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.look
  - somabrain.incident_response.look.place
  - somabrain.incident_response.service
attributes:
  check_mode:
    support: full
    description: The module only looks.
  diff_mode:
    support: none
    description: Nothing is changed, so there is no difference to show.
options:
  restarts_before:
    description: Count of automatic restarts at an earlier look; if it has grown since, the service is sick.
    type: int
  wanted_replicas:
    description:
      - How many pods or containers the service should have; any other number is sick.
      - Under Compose, look at all containers of the service together.
    type: int
  wanted:
    description: With V(stopped), a stopped service is well and a running one is sick; use it to wait until a stop is complete.
    type: str
    choices: [running, stopped]
    default: running
  log_lines:
    description: How many of the last log lines to return.
    type: int
    default: 0
seealso:
  - module: somabrain.incident_response.service_control
"""

EXAMPLES = r"""
- name: Look at Redis
  somabrain.incident_response.service_info:
    manager: systemd
    name: redis-server
    log_lines: 20
  register: redis_service

- name: Wait until the API has run for five seconds without a restart
  somabrain.incident_response.service_info:
    manager: supervisor
    name: api
    supervisor_url: unix:///run/supervisor.sock
    window: 5
    passes: 3
    timeout: 30
"""

RETURN = r"""
health:
  description: V(well), V(sick) or V(unknown).
  returned: always
  type: str
  sample: sick
state:
  description:
    - V(running), V(starting), V(stopping), V(backoff) (between two automatic restarts), V(stopped), V(failed) or V(unknown).
    - Under Compose also V(paused), and V(unhealthy) if the container's own healthcheck fails.
  returned: always
  type: str
  sample: failed
identity:
  description: >-
    Process id and start time in clock ticks, and the container if it has one; together they distinguish this process from a later one.
    Empty if no process runs.
  returned: always
  type: dict
  sample: {pid: 4711, start_time_ticks: 90211}
actions:
  description: Acts that this state allows.
  returned: always
  type: list
  elements: str
  sample: [start]
facts:
  description: The main facts of RV(service).
  returned: always
  type: dict
  sample: {restarts: 3, exit_code: 1, signal: "", oom_killed: false, start_limit_hit: true}
findings:
  description: What was found, each with name, state, text and data.
  returned: always
  type: list
  elements: dict
  sample: []
service:
  description: What the manager reports; V(null) for what it does not report.
  returned: always
  type: dict
  sample: {manager: systemd, name: redis-server.service, state: failed, pid: 0, restarts: 4, exit_code: 1, start_limit_hit: true}
log:
  description: The last log lines, escaped for a terminal.
  returned: always
  type: list
  elements: str
  sample: []
on_its_way:
  description: Whether the service is starting or stopping, so that waiting makes sense.
  returned: always
  type: bool
  sample: false
proven:
  description: Whether the required number of consecutive looks was well.
  returned: always
  type: bool
  sample: false
passes:
  description: How many consecutive looks were well at the end.
  returned: always
  type: int
  sample: 0
looks:
  description: Number of looks.
  returned: always
  type: int
  sample: 1
seconds:
  description: How long the module took.
  returned: always
  type: float
  sample: 0.01
stage:
  description: Stage of the run that this result belongs to.
  returned: always
  type: str
  sample: assess
say:
  description: Sentences for the person on call.
  returned: always
  type: list
  elements: str
  sample: [redis-server.service is failed under systemd (exit code 1, start limit reached)]
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.service_info import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
