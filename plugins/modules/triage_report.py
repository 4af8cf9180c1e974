#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what is wrong, how bad it is and what to run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: triage_report
short_description: Say what is wrong on many hosts, how bad it is, what it looks like and what to run
version_added: "0.2.0"
description:
  - Judges what the looks of the role P(somabrain.incident_response.triage#role) returned on all hosts. It runs on the controller.
  - A host that was unreachable or could not be looked at is V(unknown) and named, never left out.
  - Writes the report as JSON, Markdown and one HTML page, each replaced as a whole.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: It judges but writes no files.
  diff_mode:
    support: none
    description: The files hold times, so they always differ.
options:
  machines:
    description: The result of M(somabrain.incident_response.triage_host_info) by host name.
    type: dict
    default: {}
  checks:
    description: The result of M(somabrain.incident_response.health_info) by host name.
    type: dict
    default: {}
  ledgers:
    description: The result of M(somabrain.incident_response.remediation_history) by host name.
    type: dict
    default: {}
  verified:
    description: What was last verified, by host name, as M(somabrain.incident_response.remediation_history) returns it for one host.
    type: dict
    default: {}
  failed:
    description: What went wrong with the look itself, by host name, with its msg; empty where nothing did.
    type: dict
    default: {}
  services:
    description: What recover-all starts before the API, by host name, as in the variable C(recover_all_services).
    type: dict
    default: {}
  only_input:
    description: Whether to judge only the options below, before anything is looked at.
    type: bool
    default: false
  window_seconds:
    description: Seconds back from now of which changes were listed.
    type: int
    default: 7200
  rules_file:
    description: File with rules that add to those of the collection or replace them by their id; empty for none.
    type: path
    default: ""
  severity:
    description: Severity that a person decided on, over the one of the rules; empty for that of the rules.
    type: str
    choices: ["", P0, P1, P2, P3]
    default: ""
  severity_reason:
    description: Why a person decided on that severity; required with O(severity).
    type: str
    default: ""
  alert_at:
    description: When the alert came, as RFC 3339 with a zone; empty if not known.
    type: str
    default: ""
  report_file:
    description: File on the controller for the whole report as JSON, mode 0600. Empty for none. Its directory must exist.
    type: path
    default: ""
  markdown_file:
    description: File on the controller for the report as Markdown, mode 0600. Empty for none. Its directory must exist.
    type: path
    default: ""
  page_file:
    description: File on the controller for the report as one HTML page, mode 0600. Empty for none. Its directory must exist.
    type: path
    default: ""
  known:
    description: What only the controller knows, such as the groups of the inventory; set by the action plugin.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Report what is wrong on two hosts
  somabrain.incident_response.triage_report:
    checks:
      api1: "{{ hostvars['api1'].looked }}"
      api2: "{{ hostvars['api2'].looked }}"
    report_file: /tmp/triage.json
  run_once: true
"""

RETURN = r"""
verdict:
  description: The worst health of all components.
  type: str
  returned: unless O(only_input)
  sample: well
headline:
  description: What is broken, in one sentence.
  type: str
  returned: unless O(only_input)
report:
  description: The JSON file without logs and processes.
  type: dict
  returned: unless O(only_input)
next_commands:
  description: The commands that follow, in the order to run them.
  type: list
  elements: str
  returned: unless O(only_input)
files:
  description: The files that were written, or would have been.
  type: list
  elements: str
  returned: unless O(only_input)
table:
  description: The lines of the first screen.
  type: list
  elements: str
  returned: unless O(only_input)
whole:
  description: That the table is the answer, so that it is not cut to one screen.
  type: bool
  returned: unless O(only_input)
stage:
  description: The stage that the on-call view shows.
  type: str
  returned: always
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.triage_report import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
