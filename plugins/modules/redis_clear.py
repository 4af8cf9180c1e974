#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove exactly the keys confirmed as corrupt, or put them back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_clear
short_description: Remove exactly the keys confirmed as corrupt, or put them back
version_added: "0.1.0"
description:
  - Removes the keys of a list whose values have not changed since the list was made, by C(UNLINK).
  - For each batch it pauses writers, watches the keys and keeps their values on disk; then it removes the whole batch or nothing.
  - With O(state=put_back) it restores the kept values; a key that exists again stays as it is.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: Reports how many keys would be removed or put back.
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
    description: Number of the database of the list.
    type: int
    default: 0
  list_file:
    description: The list written by M(somabrain.incident_response.redis_confirm).
    type: path
    default: ""
  list_sha256:
    description: Its sha256; any other list is refused.
    type: str
    default: ""
  kept_file:
    description: File for the removed values, in a private directory. Must not exist yet.
    type: path
    required: true
  redis_run_id:
    description: The C(run_id) of the checked Redis; any other is refused.
    type: str
    default: ""
  pause_ms:
    description: Longest pause of writers for each batch of 100 keys, in milliseconds.
    type: int
    default: 2000
  timeout:
    description: Seconds that the whole step may take.
    type: float
    default: 120.0
  stage:
    description: The stage of the remediation.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_rescue
"""

EXAMPLES = r"""
- name: Put the removed keys back
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
  description: How many keys of the list stay, because their value changed.
  type: int
  returned: success
gone:
  description: How many keys of the list no longer exist.
  type: int
  returned: success
restored:
  description: How many keys were put back.
  type: int
  returned: success
there:
  description: How many keys were not put back, because they exist again.
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_clear import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
