#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that SomaBrain remembers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_round_trip
short_description: Prove with a unique canary that SomaBrain remembers and recalls
version_added: "0.1.0"
description:
  - Writes a unique canary in its own tenant, recalls it, and deletes it again, also after a failure.
  - Well means that the long-term memory returned exactly this text with a sufficient score. An acknowledged write alone proves
    nothing, since SomaBrain acknowledges writes that it then loses.
  - It writes to the service, so use it for verification after a recovery, and in scheduled runs only as a deliberate choice.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.look.place
attributes:
  check_mode:
    support: full
    description: Writes nothing and therefore returns V(unknown).
  diff_mode:
    support: none
    description: The canary is not kept, so there is no difference to show.
options:
  url:
    description: Base URL of the API, without an endpoint's path.
    type: str
    required: true
  profile:
    description: Generation of the API. The names of the profiles of its health endpoint mean the same.
    type: str
    choices: [v1, v2, v1_health, v1_healthz, v2_health, v2_healthz, v2_readyz]
    default: v1
  token:
    description: Bearer token. Prefer O(token_file).
    type: str
    default: ""
  token_file:
    description: File with the bearer token, mode 0600, on the machine that the request comes from.
    type: path
    default: ""
  tenant:
    description: Tenant of the canary, sent as X-Tenant-ID.
    type: str
    default: somabrain-canary
  namespace:
    description: Namespace of the canary, where O(profile=v2).
    type: str
    default: canary
  min_score:
    description: Least score of the recalled canary. A unique text scores about 0.74 and noise 0.07 to 0.15.
    type: float
    default: 0.5
  require_ltm:
    description:
      - Whether the long-term memory must return the canary, not only the working memory, which a restart empties.
      - Set it to V(false) only where SomaBrain has no long-term memory.
      - This proves that the memory service answers; only a recall after an API restart would prove that it also stored the canary.
    type: bool
    default: true
  max_remember_ms:
    description: Longest allowed time for the write, in milliseconds; V(0) for no limit.
    type: float
    default: 0
  max_recall_ms:
    description: Longest allowed time for the recall, in milliseconds; V(0) for no limit.
    type: float
    default: 0
  delete_paths:
    description: Paths of the requests that delete the canary; those of the O(profile) by default.
    type: list
    elements: str
  ca_file:
    description: File with the certificates to trust instead of the system's.
    type: path
    default: ""
  validate_certs:
    description: Whether to verify the server's certificate.
    type: bool
    default: true
  timeout:
    description: Total deadline in seconds, of which the last quarter is reserved for cleaning up.
    type: float
    default: 10.0
  stage:
    description: The stage of a remediation that this look belongs to; the on-call view shows it.
    type: str
    choices: [open, assess, guard, act, verify, undo, close]
    default: verify
seealso:
  - module: somabrain.incident_response.health_info
"""

EXAMPLES = r"""
- name: Prove that memories are kept and found again
  somabrain.incident_response.memory_round_trip:
    url: http://127.0.0.1:9696
    token_file: /etc/somabrain/canary.token
    require_ltm: true
  register: remembered
  failed_when: remembered.health != 'well'
"""

RETURN = r"""
health:
  description: well, sick or unknown.
  type: str
  returned: always
  sample: well
state:
  description: V(proven), V(not_acknowledged), V(not_recalled), V(no_ltm), V(slow), V(auth), V(rate_limited), V(redirect), V(error),
    V(other_service), or the word for a connection that failed.
  type: str
  returned: always
litter:
  description:
    - Where the canary may still be, V(none), V(working_memory), V(long_term_memory) or V(unknown).
    - V(kept) where the service answers a deletion with an error. One canary then stays under a name of its own and is used again.
  type: str
  returned: always
facts:
  description: Milliseconds of remember and recall, the score, and whether the long-term memory returned the canary.
  type: dict
  returned: always
identity:
  description: Always empty; the API does not say which process answered.
  type: dict
  returned: always
actions:
  description: Always empty; which act helps is for the remedies to decide.
  type: list
  elements: str
  returned: always
subject:
  description: Name of the check.
  type: str
  returned: always
proven:
  description: Whether the round trip was well.
  type: bool
  returned: always
on_its_way:
  description: Whether nothing is sick, and what is unknown only has to be waited for.
  type: bool
  returned: always
passes:
  description: 1 when it was well, else 0.
  type: int
  returned: always
looks:
  description: 1, or 0 in check mode.
  type: int
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
checks:
  description: The one check, as M(somabrain.incident_response.health_info) returns it.
  type: list
  elements: dict
  returned: always
stage:
  description: The stage that was asked for.
  type: str
  returned: always
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: always
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.memory_round_trip import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
