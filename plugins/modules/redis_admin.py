#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take one act of a short list on a running Redis."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_admin
short_description: Take one act of a short list on a running Redis
version_added: "0.1.0"
description:
  - Kills a script that keeps Redis busy, saves, rewrites the append-only file, or sets C(maxmemory) within a limit.
  - Keeps an emptied Redis from saving over good files and from emptying its replicas, and pauses its writers.
  - No act removes a key or changes an eviction policy or a role.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: Reports what it would do and changes nothing.
  diff_mode:
    support: full
    description: Shows the values before and after.
options:
  action:
    description:
      - V(kill_script) kills a script or function; it fails with RV(code=UNKILLABLE) if the script has already written.
      - V(save) and V(rewrite_aof) wait for the result, after one that is already running.
      - V(set_maxmemory) lasts until Redis restarts.
      - V(isolate) sets C(save), C(auto-aof-rewrite-percentage) and C(repl-diskless-sync-delay) so that nothing is saved and no data
        is sent to replicas; V(release) sets them to O(settings). Both last until Redis restarts.
      - V(pause_writers) pauses every writing command for O(value) seconds or until V(resume_writers). Redis 6.2 or later.
      - V(persist) sets C(save) and C(appendonly) to O(settings), so that new data is kept again.
      - V(see_gone) fails unless nothing answers at that address any more.
      - V(see_up) fails with the reason of the last start as soon as O(service) has ended, and returns when Redis answers.
    type: str
    choices: [kill_script, save, rewrite_aof, set_maxmemory, isolate, release, pause_writers, resume_writers, persist, see_gone, see_up]
    required: true
  value:
    description:
      - Bytes for V(set_maxmemory); V(0) adds a quarter, or sets used memory plus 16 MiB, within O(max_bytes).
      - Seconds for V(pause_writers).
    type: int
    default: 0
  max_bytes:
    description: Limit of C(maxmemory) in bytes; four fifths of the machine's memory is a limit too.
    type: int
    default: 0
  settings:
    description: The settings in RV(before) of V(isolate), for V(release); those of its configuration, for V(persist).
    type: dict
    default: {}
  service:
    description: The service that runs Redis, as in M(somabrain.incident_response.redis_health_info), for V(see_up).
    type: dict
    default: {}
  log_file:
    description: The log file of Redis on the target, for V(see_up).
    type: str
    default: ""
  timeout:
    description: Seconds that the act may take.
    type: float
    default: 30.0
  stage:
    description: The stage of the remediation. With V(undo), O(value) is set regardless of O(max_bytes).
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_health_info
"""

EXAMPLES = r"""
- name: Give Redis more room, up to 2 GiB
  somabrain.incident_response.redis_admin:
    action: set_maxmemory
    max_bytes: 2147483648
  register: raised

- name: Put it back
  somabrain.incident_response.redis_admin:
    action: set_maxmemory
    value: "{{ raised.before.maxmemory }}"
    stage: undo
"""

RETURN = r"""
action:
  description: The requested act.
  type: str
  returned: success
before:
  description: The values before.
  type: dict
  returned: success
  sample: {maxmemory: 1073741824}
after:
  description: The values after; in check mode of V(set_maxmemory), as they would be.
  type: dict
  returned: success
  sample: {maxmemory: 2147483648}
code:
  description: First word of the error reply of Redis.
  type: str
  returned: when Redis refuses
  sample: UNKILLABLE
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_admin import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
