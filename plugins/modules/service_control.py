#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One bounded act on one service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_control
short_description: One bounded act on one service
version_added: "0.1.0"
description:
  - Starts, stops, restarts or signals one service under supervisor, systemd or Docker Compose, or keeps its manager from restarting it
    for a while.
  - Returns within O(timeout) plus one second, whatever happens. Unless O(force) is set, it does not send SIGKILL, nor does the
    manager.
  - A start waits only until the manager reports the service as running; use M(somabrain.incident_response.health_info) to see whether the
    service is well.
  - With C(autorestart), supervisor restarts a stopped program at once; supervisor's own stop then ends that new process, which has not
    served a request yet.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.service
attributes:
  check_mode:
    support: full
    description: Looks and reports what it would do.
  diff_mode:
    support: full
    description: The state of the service before and after.
options:
  action:
    description:
      - V(start) and V(stop) do nothing if the service is already in that state; V(restart) stops and starts it.
      - V(signal) sends O(signal).
      - V(reset_failed) resets failures and the start limit of a systemd unit.
      - V(hold) keeps the manager from starting the service automatically until V(release). Under V(systemd) it is a runtime drop-in, which
        the next boot removes. Under V(compose) it saves the restart policy in O(holds_dir) and removes it from the container, until
        V(release) or until the container is recreated. supervisor can hold only a stopped program.
      - V(extend_start_timeout) gives a systemd unit O(start_timeout) seconds to become ready; this includes a start in progress.
    type: str
    choices: [start, stop, restart, signal, reset_failed, hold, release, extend_start_timeout]
    required: true
  signal:
    description: The signal of O(action=signal); V(KILL) needs O(force).
    type: str
    choices: [HUP, CONT, TERM, INT, QUIT, USR1, USR2, KILL]
  timeout:
    description: Seconds for the whole act.
    type: float
    default: 15.0
  stop_timeout:
    description: Seconds for the service to stop; by default all of O(timeout), or two thirds of it for a restart.
    type: float
  start_timeout:
    description: Seconds that O(action=extend_start_timeout) grants.
    type: float
  wait_for:
    description: Whether a start waits until the manager reports running, or only until a process exists.
    type: str
    choices: [running, spawned]
    default: running
  force:
    description: Whether to kill a service that does not stop in time. Data that it has not written is then lost.
    type: bool
    default: false
  only:
    description:
      - The process to act on, with keys of C(identity) such as V(pid) and V(start_time_ticks).
      - If another process runs by now, the module leaves it alone. Empty means any process.
    type: dict
    default: {}
  stage:
    description: Stage of the run that this act belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.service_info
"""

EXAMPLES = r"""
- name: Restart the API
  somabrain.incident_response.service_control:
    manager: supervisor
    name: api
    action: restart
    supervisor_url: unix:///run/supervisor.sock

- name: Restart the API of a Compose project; other services stay untouched
  somabrain.incident_response.service_control:
    manager: compose
    project: somabrain
    name: somabrain
    action: restart
    timeout: 60

- name: Give Redis ten minutes to load its data
  somabrain.incident_response.service_control:
    manager: systemd
    name: redis-server
    action: extend_start_timeout
    start_timeout: 600
"""

RETURN = r"""
before:
  description: What the manager reported about the service before the act.
  returned: always
  type: dict
  sample: {manager: supervisor, name: api, state: running, pid: 4711}
after:
  description: What the manager reported after the act.
  returned: always
  type: dict
  sample: {manager: supervisor, name: api, state: running, pid: 4812}
identity:
  description: Process id and start time in clock ticks after the act, and the container if it has one; empty if no process runs.
  returned: success
  type: dict
  sample: {pid: 4812, start_time_ticks: 90911}
settled:
  description: Whether the manager reported running in time after a start; V(false) means still starting.
  returned: success
  type: bool
  sample: true
killed:
  description: Whether SIGKILL was sent.
  returned: always
  type: bool
  sample: false
stopped:
  description: V(false) when the service did not stop in time and was not killed.
  returned: when it did not stop
  type: bool
  sample: false
pid:
  description: The process that did not stop.
  returned: when it did not stop
  type: int
  sample: 4711
seconds:
  description: How long the act took.
  returned: always
  type: float
  sample: 0.31
stage:
  description: Stage of the run that this result belongs to.
  returned: always
  type: str
  sample: act
say:
  description: Sentences for the person on call.
  returned: success
  type: list
  elements: str
  sample: [api restarted under supervisor in 0.3 s (pid 4812)]
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.service_control import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
