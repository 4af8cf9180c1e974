#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Confirm that keys which fail an integrity check are corrupt and have no good copy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_confirm
short_description: Confirm that keys which fail an integrity check are corrupt and have no good copy
version_added: "0.1.0"
description:
  - The check must fail twice, O(again_after) seconds apart, and again on a side instance loaded from the rescue copy.
  - Each backup is checked in its own side instance, each replica directly. If one has a good value of a failing key or cannot be read,
    nothing is confirmed and the step fails with the reason.
  - Writes the list of failing keys, with digests of their values, to a private file. Removes nothing.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
  - somabrain.incident_response.redis.scope
attributes:
  check_mode:
    support: full
    description: Reports what would be checked.
  diff_mode:
    support: none
    description: Writes one file of its own.
options:
  rescue:
    description: The rescue copy of this Redis, made by M(somabrain.incident_response.redis_rescue).
    type: path
    required: true
  work_dir:
    description: Private directory with room for a copy of the largest of these files. Created with mode 0700.
    type: path
    required: true
  run_id:
    description: Name of this run's directory in it.
    type: str
    required: true
  redis_run_id:
    description: The C(run_id) of the checked Redis; any other is refused.
    type: str
    default: ""
  again_after:
    description: Seconds between the two looks.
    type: float
    default: 30.0
  backups:
    description: Paths or patterns of RDB files on this host that may have good values.
    type: list
    elements: str
    default: []
  replicas:
    description: Replicas that may have good values.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name or address of the replica.
        type: str
        default: 127.0.0.1
      port:
        description: Its port.
        type: int
        default: 6379
      socket:
        description: Its unix socket, instead of host and port.
        type: str
        default: ""
      username:
        description: User name, if it has users.
        type: str
        default: ""
      password_file:
        description: File with its password, if it has one.
        type: str
        default: ""
  ask_own_replicas:
    description: Whether to check connected replicas too, with the credentials of this Redis.
    type: bool
    default: true
  redis_server:
    description: The C(redis-server) program for side instances; empty finds it automatically.
    type: str
    default: ""
  data_dir:
    description: Data directory of Redis; side instances run as its owner.
    type: str
    default: ""
  max_failing:
    description: If more keys than this fail, nothing is confirmed.
    type: int
    default: 100000
  tolerance:
    description: How much the number of failing keys may differ when the plan is applied; V(0.0) binds the plan to exactly these keys.
    type: float
    default: 0.0
  timeout:
    description: Seconds that the whole step may take.
    type: float
    default: 600.0
  stage:
    description: The stage of the remediation.
    type: str
    choices: [assess, act]
    default: act
seealso:
  - module: somabrain.incident_response.redis_rescue
"""

EXAMPLES = r"""
- name: Confirm that the failing keys are corrupt
  somabrain.incident_response.redis_confirm:
    name: features-are-json
    pattern: "soma:feature:*"
    check: {json: true}
    rescue: "{{ rescued.path }}"
    work_dir: /srv/rescue/redis
    run_id: "20261123T192312Z-0b46fa"
    backups: [/srv/backup/redis/*.rdb]
  register: confirmed
"""

RETURN = r"""
confirmed:
  description: Whether corruption is confirmed. If not, the step fails with C(reasons).
  type: bool
  returned: success
list:
  description: The file of the failing keys; C(path), C(sha256), C(keys).
  type: dict
  returned: success
witnesses:
  description: What each copy has; C(name), C(bad), C(good), C(gone), C(unread), C(error), C(damaged).
  type: list
  elements: dict
  returned: success
plans:
  description: The plan to remove them, as M(somabrain.incident_response.remediation_guard) takes it.
  type: list
  elements: dict
  returned: success
table:
  description: What each copy has, as lines.
  type: list
  elements: str
  returned: success
seconds:
  description: How long it took.
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_confirm import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
