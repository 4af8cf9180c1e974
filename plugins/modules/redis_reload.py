#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the keys of a kept copy into a living Redis."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_reload
short_description: Load the keys of a kept copy into a living Redis
version_added: "0.1.0"
description:
  - Loads a copy made by M(somabrain.incident_response.redis_copy) in a Redis of its own, and sends each key from there, with its
    time to live.
  - A key that the living Redis has already is left as it is, so that what was written since stays. Doing it again loads only what
    is missing.
  - Waits for a Redis that has just been started.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: Says what it would load, and looks at nothing.
  diff_mode:
    support: none
    description: Keys are not shown.
options:
  copies:
    description: The copies, the newest first.
    type: list
    elements: path
    required: true
  settings:
    description:
      - The settings of Redis that say which files hold the data, V(appendonly), V(appenddirname), V(appendfilename) and V(dbfilename).
    type: dict
    default: {}
  redis_server:
    description: The C(redis-server) program that loads the copy; one that is found on the host where empty.
    type: str
    default: ""
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 1800.0
  stage:
    description: The stage of a remediation that this belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_copy
"""

EXAMPLES = r"""
- name: Load what the start deleted
  somabrain.incident_response.redis_reload:
    socket: /run/redis/redis.sock
    copies: [/srv/rescue/redis/20261123T192312Z-7f3a/kept]
    settings: {appendonly: "no", dbfilename: dump.rdb}
"""

RETURN = r"""
keys:
  description: How many keys the copies hold.
  type: int
  returned: success
copied:
  description: How many of them were loaded.
  type: int
  returned: success
there:
  description: How many of them the living Redis had already.
  type: int
  returned: success
gone:
  description: How many of them had expired.
  type: int
  returned: success
failed:
  description: How many of them Redis refused; more than 0 fails the task.
  type: int
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
stage:
  description: The stage that was asked for.
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
