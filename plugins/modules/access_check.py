#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that a host can be worked on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_check
short_description: Prove before an incident that we can work on a host and the keeper has space
version_added: "0.1.0"
description:
  - Checks whether the tools that remedies need are installed, whether root access works, and whether files with secrets are private.
  - Creates the keeper's state directory (mode 0700) and a reserve file in it if O(state_dir) is set, so that a full disk does not
    stop the recovery of a full disk. It changes nothing else.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    description: The items report what would be created.
options:
  tools:
    description: Programs that must be installed; V(a|b) means that either is enough.
    type: list
    elements: str
    default: []
  expect_root:
    description: Whether this task runs with become and must be root.
    type: bool
    default: false
  root_for:
    description: Why remedies have to be root on this host; this task must then run as root, as they will.
    type: list
    elements: str
    default: []
  rooms:
    description: Directories for copies, each with C(path), C(variable) and C(beside), the data that has to fit twice.
    type: list
    elements: dict
    default: []
  reserves:
    description: Files that may be deleted on a full disk, each with C(path) and C(variable).
    type: list
    elements: dict
    default: []
  secret_files:
    description: Files on this host that hold secrets; they must be readable and private.
    type: list
    elements: path
    default: []
  state_dir:
    description: The keeper's state directory. Empty if this host is not the keeper.
    type: path
    default: ""
  reserve_bytes:
    description: Size of the file C(reserve) in O(state_dir).
    type: int
    default: 16777216
  stage:
    description: The stage that the on-call view shows.
    type: str
    choices: [assess, verify]
    default: assess
"""

EXAMPLES = r"""
- name: Look whether Redis could be recovered here
  somabrain.incident_response.access_check:
    tools: [redis-cli, redis-check-rdb, redis-check-aof, "supervisorctl|systemctl"]
"""

RETURN = r"""
items:
  description: What was checked, each with name, ok and text.
  type: list
  elements: dict
  returned: always
stage:
  description: The requested stage.
  type: str
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.access_check import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
