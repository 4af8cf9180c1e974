#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy all keys of a living Redis to a checked file elsewhere."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_rescue
short_description: Copy all keys of a living Redis to a checked file elsewhere
version_added: "0.1.0"
description:
  - Has Redis send all of its keys from memory, by C(redis-cli --rdb), into one RDB file, and checks that file.
  - It works where Redis cannot write to its own directory any more. Run it on the host that keeps the copy.
  - Space is looked at first; when anything fails, no half file is left.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: Looks at Redis and at the space, and writes nothing.
  diff_mode:
    support: none
    description: Only a new file is made.
options:
  dest_dir:
    description: Directory for the copy, on another file system than the data where that one may be full. Made with mode 0700.
    type: path
    required: true
  data_dir:
    description: Data directory of Redis, where it cannot tell it itself.
    type: str
    default: ""
  run_id:
    description: Becomes part of the file's name; Redis' own run id where empty.
    type: str
    default: ""
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 120.0
  force_diskless:
    description: Whether C(repl-diskless-sync) and its delay may be set for the time of the copy, so that Redis needs no file of its own.
    type: bool
    default: true
  redis_cli:
    description: The C(redis-cli) program.
    type: str
    default: redis-cli
  stage:
    description: The stage of a remediation that this belongs to.
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
  description: The copy.
  type: str
  returned: success
  sample: /srv/rescue/redis/redis-0b46fa1f-20261123T192312Z.rdb
bytes:
  description: Its size.
  type: int
  returned: success
sha256:
  description: Its digest.
  type: str
  returned: success
keys:
  description: How many keys it holds; none where redis-check-rdb is not installed.
  type: int
  returned: success
keys_in_server:
  description: How many keys Redis had just before.
  type: int
  returned: success
proven:
  description: Whether the copy was checked and found whole.
  type: bool
  returned: success
proof:
  description: What it was checked by, V(redis-check-rdb) or V(checksum).
  type: str
  returned: success
filesystem_differs:
  description: Whether the copy lies on another file system than the data.
  type: bool
  returned: success
settings_changed:
  description: Settings of Redis that were changed for the time of the copy, with the values that were put back.
  type: dict
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_rescue import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
