#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read evidence on a target whose keeper is another host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: remediation_capture
short_description: Read evidence on a target whose keeper is another host
version_added: "0.1.0"
description:
  - Reads the ends of files and the output of commands, redacted and limited in size; the guard stores them on the keeper.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: The target is not changed, so there is no difference to show.
options:
  evidence:
    description: What to save before anything changes.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the file it is saved as.
        type: str
        required: true
      kind:
        description: Whether it is the end of a file or the output of a command.
        type: str
        choices: [file, command]
        required: true
      path:
        description: The file, for O(evidence[].kind=file).
        type: path
      argv:
        description: The command as a list, for O(evidence[].kind=command).
        type: list
        elements: str
      max_bytes:
        description: Maximum bytes to save, counted from the end.
        type: int
        default: 262144
      timeout:
        description: Seconds the command may take.
        type: float
        default: 5.0
      required:
        description: Whether the run may not act without it.
        type: bool
        default: false
  evidence_max_bytes:
    description: Maximum bytes to save in total.
    type: int
    default: 8388608
"""

EXAMPLES = r"""
- name: Capture the log
  somabrain.incident_response.remediation_capture:
    evidence:
      - {name: redis.log, kind: file, path: /var/log/redis/redis-server.log}
"""

RETURN = r"""
captured:
  description: The pieces of evidence, with their content in base64.
  returned: always
  type: list
  elements: dict
  sample: []

stage:
  description: Stage of the run this result belongs to.
  returned: always
  type: str
  sample: open
say:
  description: Sentences for the person on call.
  returned: always
  type: list
  elements: str
  sample: []
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.remediation_capture import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
