#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""See the machine of a host as triage wants it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: triage_host_info
short_description: See processes, recent changes, the ends of logs and metrics of a host in one look
version_added: "0.2.0"
description:
  - Reads the processes that use most, what changed lately, the last lines of each component's log, and what its metrics say.
  - Everything is read at once, within one deadline. What did not answer in time, or may not be read, is in RV(unseen).
  - It changes nothing and writes nothing. Secrets are redacted, lines are cut, and no more than a bound is read of anything.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    description: Nothing is changed.
options:
  checks:
    description:
      - The checks of this host, as M(somabrain.incident_response.health_info) takes them.
      - Their log files, managers, health endpoints, configuration files and releases say what to read.
    type: list
    elements: dict
    required: true
  logs:
    description: Further logs, each with V(name), and V(log_file) (a path or pattern) or V(manager) and V(service).
    type: list
    elements: dict
    default: []
  metrics_url:
    description: URL of the metrics of the API; empty for the usual path where its health endpoint is.
    type: str
    default: ""
  window_seconds:
    description: Seconds back from now of which changes are listed.
    type: int
    default: 7200
  log_lines:
    description: How many of the last lines of each log are returned.
    type: int
    default: 50
  processes:
    description: How many processes are returned.
    type: int
    default: 20
  metrics_window:
    description: Seconds between two samples of the metrics, whose difference is what happens now; 0 takes one sample.
    type: float
    default: 2.0
  timeout:
    description: Seconds for everything together.
    type: float
    default: 8.0
"""

EXAMPLES = r"""
- name: See the machine of a Redis
  somabrain.incident_response.triage_host_info:
    checks:
      - {name: redis, kind: redis, log_file: /var/log/redis/redis-server.log, service: {manager: systemd, name: redis-server}}
  register: seen
"""

RETURN = r"""
at:
  description: When the look began, in seconds since the epoch by the clock of the host.
  type: float
  returned: always
processes:
  description: The processes that use most of a processor, then of memory, each with pid, user, command, cpu_percent, memory_bytes, seconds.
  type: list
  elements: dict
  returned: always
clock:
  description:
    - The time of the host and its zone.
    - The action plugin adds ahead_seconds, how far it is ahead of the controller's, and within_seconds, how wrong that may be.
  type: dict
  returned: always
boot_at:
  description: When the machine was started, in seconds since the epoch; null if that is not seen.
  type: float
  returned: always
memory:
  description: total_bytes and available_bytes of the machine; empty where they are not seen.
  type: dict
  returned: always
load:
  description: The load of the last 1, 5 and 15 minutes, and the number of cores; empty where they are not seen.
  type: dict
  returned: always
asked:
  description: What each check looks at, by the options that say so, without credentials.
  type: list
  elements: dict
  returned: always
changes:
  description: >-
    What changed lately, the newest first, each with at, kind (V(package), V(unit), V(configuration), V(release) or V(reboot)), what,
    text and source.
  type: list
  elements: dict
  returned: always
logs:
  description: The last lines of each component, by its name, with lines, source, from and to (epoch seconds), cut and error.
  type: dict
  returned: always
metrics:
  description: >-
    What each endpoint says, by its name, with url, at, error, up, memory_bytes, and requests, errors, error_rate, latency_seconds,
    statuses and rates of the last over_seconds. Without a second sample over_seconds is null and they are those of since_start, counted
    since its process began. What it does not say is null.
  type: dict
  returned: always
unseen:
  description: What could not be seen, each with what and why.
  type: list
  elements: dict
  returned: always
seconds:
  description: How long the look took.
  type: float
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.triage_host_info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
