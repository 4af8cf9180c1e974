#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the keys of a kept copy into a running Redis."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_reload
short_description: Load the keys of a kept copy into a running Redis
version_added: "0.1.0"
description:
  - Loads a copy made by M(somabrain.incident_response.redis_copy) in a side instance, and sends each key from there with its time to
    live.
  - Leaves every key alone that the running Redis already has, so that newer writes stay. Running it again loads only what is missing.
  - Waits for a Redis that was just started.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: Reports what it would load, without checking anything.
  diff_mode:
    support: none
    description: Does not show keys.
options:
  copies:
    description: The copies, newest first.
    type: list
    elements: path
    required: true
  settings:
    description:
      - The settings of Redis that decide which files hold the data, V(appendonly), V(appenddirname), V(appendfilename) and V(dbfilename).
    type: dict
    default: {}
  redis_server:
    description: The C(redis-server) program that loads the copy. If empty, the one found on the host.
    type: str
    default: ""
  timeout:
    description: Time limit for the whole task, in seconds.
    type: float
    default: 1800.0
  stage:
    description: The stage of the remediation that this task belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_copy
"""

EXAMPLES = r"""
- name: Load the keys that the start deleted
  somabrain.incident_response.redis_reload:
    socket: /run/redis/redis.sock
    copies: [/srv/rescue/redis/20261123T192312Z-7f3a/kept]
    settings: {appendonly: "no", dbfilename: dump.rdb}
"""

RETURN = r"""
keys:
  description: Number of keys in the copies.
  type: int
  returned: success
copied:
  description: Number of keys that were loaded.
  type: int
  returned: success
there:
  description: Number of keys that the running Redis already had.
  type: int
  returned: success
gone:
  description: Number of keys that had expired.
  type: int
  returned: success
failed:
  description: Number of keys that Redis refused. More than 0 fails the task.
  type: int
  returned: success
seconds:
  description: How long the task took.
  type: float
  returned: success
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_reload import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
