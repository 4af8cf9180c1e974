#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report what no longer matches after a recovery."""

from __future__ import annotations

DOCUMENTATION = r"""
module: data_reconciliation_info
short_description: Report what no longer matches after a recovery
version_added: "0.1.0"
description:
  - Counts the rows of the outbox by status, the ids that only Redis or only the database has, and the longest gap in the audit trail.
  - Compares ids as hashes and returns only counts. Changes nothing.
  - M(somabrain.incident_response.health_info) offers the same as a check of kind C(data_reconciliation).
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.postgresql
attributes:
  check_mode:
    support: full
    description: Only looks.
  diff_mode:
    support: none
    description: Changes nothing.
options:
  outbox:
    description:
      - "The outbox: C(table) and C(column) of the status, the words for C(pending) and C(failed), C(max_pending) and C(max_failed)."
    type: dict
    default: {}
  audit:
    description:
      - "The audit trail: C(table) and C(column) of the time, C(hours) to look back, C(max_gap_minutes)."
    type: dict
    default: {}
  stores:
    description:
      - "Pairs of keys and rows: C(name), C(pattern) of keys, C(regex) with one capturing group for the id, C(query) for the ids."
      - Also C(max_only_redis) and C(max_only_database); a difference without a limit is only reported.
    type: list
    elements: dict
    default: []
  redis:
    description:
      - "How to reach Redis: C(host), C(port), C(socket), C(username), C(password_file), C(db)."
    type: dict
    default: {}
  timeout:
    description: Deadline for everything, in seconds.
    type: float
    default: 60.0
seealso:
  - module: somabrain.incident_response.health_info
  - module: somabrain.incident_response.postgresql_restore
"""

EXAMPLES = r"""
- name: Report what no longer matches
  somabrain.incident_response.data_reconciliation_info:
    database: somabrain
    outbox: {max_failed: 0}
    stores:
      - name: adaptation
        pattern: "adaptation:state:*"
        regex: "adaptation:state:(.+)"
        query: SELECT DISTINCT tenant_id FROM feedback_events
"""

RETURN = r"""
health:
  description: V(well), V(sick) when a limit is exceeded, V(unknown) when something could not be read.
  type: str
  returned: success
findings:
  description: One for each part.
  type: list
  elements: dict
  returned: success
facts:
  description: The counts, in C(outbox), C(audit) and C(stores).
  type: dict
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
say:
  description: Plain sentences for the person on call.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.data_reconciliation_info import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
