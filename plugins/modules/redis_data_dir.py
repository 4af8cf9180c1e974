#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the data directory of Redis back to its user, or put owner and mode back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_data_dir
short_description: Give the data directory of Redis back to its user, or put owner and mode back
version_added: "0.1.0"
description:
  - Opens the directory without following a link anywhere in its path, and changes owner and mode of what it opened.
  - Refuses a directory that holds what belongs to another user, and a path that another user than root or O(uid) can change.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Says what it would set, and changes nothing.
  diff_mode:
    support: none
    description: RV(before) and RV(after) say it.
options:
  path:
    description: The data directory.
    type: path
    required: true
  uid:
    description: The user of Redis as a number; V(-1) leaves the owner as it is.
    type: int
    default: -1
  mode:
    description: The mode in octal; empty adds all rights of the owner.
    type: str
    default: ""
  stage:
    description: The stage of the remediation. With V(undo), it does not matter whose files are in it.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_health_info
"""

EXAMPLES = r"""
- name: Give the data directory back to Redis
  somabrain.incident_response.redis_data_dir:
    path: /var/lib/redis
    uid: 110
"""

RETURN = r"""
before:
  description: Owner and mode before.
  type: dict
  returned: success
  sample: {owner: 0, mode: "0755"}
after:
  description: Owner and mode after; in check mode, as they would be.
  type: dict
  returned: success
  sample: {owner: 110, mode: "0755"}
stage:
  description: The requested stage.
  type: str
  returned: success
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_data_dir import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
