#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the keys of a pattern by a named integrity check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_integrity
short_description: Check the keys of a pattern by a named integrity check
version_added: "0.1.0"
description:
  - Looks at Redis itself first, and checks keys only if it is a healthy master. Changes nothing.
  - A key that cannot be read is V(unknown), never failing. No value is shown; only a few names of failing keys, each with a fixed reason.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
  - somabrain.incident_response.redis.scope
  - somabrain.incident_response.look
  - somabrain.incident_response.look.place
attributes:
  check_mode:
    support: full
    description: Only looks.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  data_dir:
    description: Data directory of Redis, if Redis cannot report it.
    type: str
    default: ""
  expected_identity:
    description: Expected fields of RV(identity), such as C(run_id) or C(role).
    type: dict
    default: {}
  scan_timeout:
    description: Seconds that checking all keys may take.
    type: float
    default: 60.0
  max_failing:
    description: With more failing keys than this the state is V(failing_many), which allows no act.
    type: int
    default: 100000
seealso:
  - module: somabrain.incident_response.redis_rescue
"""

EXAMPLES = r"""
- name: Check that all feature descriptions are JSON
  somabrain.incident_response.redis_integrity:
    name: features-are-json
    pattern: "soma:feature:*"
    check: {json: true, max_bytes: 65536}
  register: looked
"""

RETURN = r"""
health:
  description: V(well) if no lasting key fails, V(sick) if one does, V(unknown) if not all could be checked.
  type: str
  returned: success
state:
  description: V(passing), V(failing), V(failing_many), or the state of a Redis that is not well.
  type: str
  returned: success
identity:
  description: The Redis process that answered.
  type: dict
  returned: success
actions:
  description: The acts that the state allows.
  type: list
  elements: str
  returned: success
facts:
  description: What was seen of Redis; C(integrity) has name, db, pattern, looked, failing, expiring, unread, whole and samples.
  type: dict
  returned: success
findings:
  description: The reasons for the state.
  type: list
  elements: dict
  returned: success
checks:
  description: The same as one check, as M(somabrain.incident_response.health_info) gives it.
  type: list
  elements: dict
  returned: success
subject:
  description: The name of that check.
  type: str
  returned: success
proven:
  description: Whether enough consecutive looks were well.
  type: bool
  returned: success
passes:
  description: How many consecutive looks at the end were well.
  type: int
  returned: success
looks:
  description: How many looks were made.
  type: int
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_integrity import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
