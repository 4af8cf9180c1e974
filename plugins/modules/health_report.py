#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give one verdict over many hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_report
short_description: Give one verdict over what health_info saw on many hosts, and record it
version_added: "0.1.0"
description:
  - Turns the results of M(somabrain.incident_response.health_info) on many hosts into one verdict, V(well), V(sick) or V(unknown).
  - A host that was unreachable or could not be checked is V(unknown), never left out.
  - Where no check of any host was of a service, no host is V(well). A host on which only the machine was looked at is named.
  - Writes a JSON report and a text file for the Prometheus node exporter on the controller, each replaced as a whole.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: It gives the verdict but writes no files.
  diff_mode:
    support: none
    description: The files hold times, so they always differ.
options:
  hosts:
    description: The result of M(somabrain.incident_response.health_info) by host name; an empty result counts as no answer.
    type: dict
    required: true
  notes:
    description: Why what was known before could not be read, by host name; an empty text means that it could.
    type: dict
    default: {}
  report_file:
    description: File on the controller for the whole report as JSON, mode 0600. Empty for none. Its directory must exist.
    type: path
    default: ""
  textfile:
    description: File on the controller in the text format of Prometheus, mode 0644. Empty for none. Its directory must exist.
    type: path
    default: ""
  stage:
    description: The stage that the on-call view shows.
    type: str
    choices: [assess, verify]
    default: verify
"""

EXAMPLES = r"""
- name: Give the verdict over two hosts
  somabrain.incident_response.health_report:
    hosts:
      api1: "{{ hostvars['api1'].looked }}"
      api2: "{{ hostvars['api2'].looked }}"
    textfile: /var/lib/prometheus/node-exporter/somabrain_health.prom
  run_once: true
"""

RETURN = r"""
health:
  description: The worst health of all hosts.
  type: str
  returned: always
  sample: well
verdicts:
  description: The health of each host.
  type: dict
  returned: always
report:
  description: The JSON file without its checks, so schema, verified_at, health, and for each host health, reason, seconds, endpoints.
  type: dict
  returned: always
sick:
  description: For each host that has any, the kinds of its checks that are sick.
  type: dict
  returned: always
kinds:
  description: The kinds of all checks that were made.
  type: list
  elements: str
  returned: always
next_commands:
  description: The command of the playbook that acts on what is sick, where one does; set by the action plugin.
  type: list
  elements: str
  returned: when a check is sick that a playbook acts on
files:
  description: The files that were written, or would have been.
  type: list
  elements: str
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.health_report import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
