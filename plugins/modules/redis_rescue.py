#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy all keys of a running Redis to a checked file elsewhere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_rescue
short_description: Copy all keys of a running Redis to a checked file elsewhere
version_added: "0.1.0"
description:
  - Makes Redis send all of its keys from memory into one RDB file, with C(redis-cli --rdb), and checks that file.
  - Works even if Redis can no longer write to its own directory. Run it on the host that keeps the copy.
  - Checks the free space first. If anything fails, it leaves no partial file.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: Checks Redis and the free space, and writes nothing.
  diff_mode:
    support: none
    description: Creates a new file only.
options:
  dest_dir:
    description: Directory for the copy, on another file system if the one with the data may be full. Created with mode 0700.
    type: path
    required: true
  data_dir:
    description: Data directory of Redis, if Redis cannot report it.
    type: str
    default: ""
  run_id:
    description: Part of the file name. If empty, the run id that Redis reports.
    type: str
    default: ""
  timeout:
    description: Time limit for the whole task, in seconds.
    type: float
    default: 120.0
  force_diskless:
    description: Whether to set C(repl-diskless-sync) and its delay during the copy, so that Redis writes no file itself.
    type: bool
    default: true
  redis_cli:
    description: The C(redis-cli) program.
    type: str
    default: redis-cli
  stage:
    description: The stage of the remediation that this task belongs to.
    type: str
    choices: [assess, act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_health_info
"""

EXAMPLES = r"""
- name: Copy the data to another file system before anything else
  somabrain.incident_response.redis_rescue:
    socket: /run/redis/redis.sock
    dest_dir: /srv/rescue/redis
    timeout: 300
  register: rescued
"""

RETURN = r"""
path:
  description: Path of the copy.
  type: str
  returned: success
  sample: /srv/rescue/redis/redis-0b46fa1f-20261123T192312Z.rdb
bytes:
  description: Size of the copy.
  type: int
  returned: success
sha256:
  description: SHA-256 of the copy.
  type: str
  returned: success
keys:
  description: Number of keys in the copy; null if redis-check-rdb is not installed.
  type: int
  returned: success
keys_in_server:
  description: Number of keys in Redis just before the copy.
  type: int
  returned: success
proven:
  description: Whether the copy was checked and is valid.
  type: bool
  returned: success
proof:
  description: How the copy was checked, V(redis-check-rdb) or V(checksum).
  type: str
  returned: success
filesystem_differs:
  description: Whether the copy is on another file system than the data.
  type: bool
  returned: success
settings_changed:
  description: Redis settings that were changed during the copy, with the values they were set back to.
  type: dict
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_rescue import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
