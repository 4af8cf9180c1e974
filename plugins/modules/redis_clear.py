#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove exactly the keys that were confirmed as corrupt, or put them back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_clear
short_description: Remove exactly the keys that were confirmed as corrupt, or put them back
version_added: "0.1.0"
description:
  - Removes the keys of a list that still have the value they had when the list was made, by C(UNLINK).
  - For each batch writers are paused, the keys are watched and their values kept on disk; all of the batch goes, or none of it.
  - With O(state=put_back) what was kept is restored; a key that is there again is left as it is.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: Says how many keys would be removed or put back.
  diff_mode:
    support: none
    description: Values are never shown.
options:
  state:
    description: Whether to remove the keys or to put them back.
    type: str
    choices: [cleared, put_back]
    default: cleared
  db:
    description: Number of the database that the list is of.
    type: int
    default: 0
  list_file:
    description: The list that M(somabrain.incident_response.redis_confirm) has written.
    type: path
    default: ""
  list_sha256:
    description: Its sha256; another list is refused.
    type: str
    default: ""
  kept_file:
    description: File for the values of what is removed, in a private directory. Must not exist yet.
    type: path
    required: true
  redis_run_id:
    description: The C(run_id) of the Redis that was looked at; another one is refused.
    type: str
    default: ""
  pause_ms:
    description: Most milliseconds that writers are paused for each batch of 100 keys.
    type: int
    default: 2000
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 120.0
  stage:
    description: The stage of a remediation that this belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_rescue
"""

EXAMPLES = r"""
- name: Put back what was removed
  somabrain.incident_response.redis_clear:
    state: put_back
    kept_file: /srv/rescue/redis/20261123T192312Z-0b46fa/removed.jsonl
"""

RETURN = r"""
removed:
  description: How many keys were removed.
  type: int
  returned: success
left:
  description: How many keys of the list were left, since they have another value now.
  type: int
  returned: success
gone:
  description: How many keys of the list were not there any more.
  type: int
  returned: success
restored:
  description: How many keys were put back.
  type: int
  returned: success
there:
  description: How many keys were not put back, since they are there again.
  type: int
  returned: success
kept_file:
  description: The file with the values.
  type: str
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_clear import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
