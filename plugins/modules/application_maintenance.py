#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switch an application's own maintenance mode, if it has an endpoint for that."""

from __future__ import annotations

DOCUMENTATION = r"""
module: application_maintenance
short_description: Switch an application's own maintenance mode, if it has an endpoint for that
version_added: "0.1.0"
description:
  - >-
    Posts C({"enabled": true}) or C({"enabled": false}) to O(url). Only a 2xx answer that is not an HTML page
    counts; a 404 means that there is no such endpoint.
  - It never fails, because the load balancer is what keeps clients out. The application's answer is reported.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Sends nothing, and says what it would send.
  diff_mode:
    support: none
    description: The application's previous mode is not known.
options:
  url:
    description: The endpoint. Redirects are not followed.
    type: str
    required: true
  enabled:
    description: Whether maintenance mode should be on.
    type: bool
    required: true
  token_file:
    description: File on the target with a bearer token, readable by its owner only; empty for none.
    type: path
    default: ""
  timeout:
    description: Seconds for all of it.
    type: float
    default: 5.0
  ca_file:
    description: File with the certificates of authorities that are trusted; empty for those of the system.
    type: path
    default: ""
  validate_certs:
    description: Whether the certificate has to be valid.
    type: bool
    default: true
  stage:
    description: Stage of the run that this act belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.traffic_shift
"""

EXAMPLES = r"""
- name: Switch on the API's maintenance mode, if it has one
  somabrain.incident_response.application_maintenance:
    url: http://127.0.0.1:9696/admin/maintenance
    token_file: /etc/somabrain/admin_token
    enabled: true
"""

RETURN = r"""
answered:
  description: Whether the application accepted it.
  returned: success
  type: bool
status:
  description: The status of its answer, 0 for none.
  returned: success
  type: int
stage:
  description: Stage of the run that this result belongs to.
  returned: always
  type: str
  sample: act
say:
  description: Sentences for the person on call.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.application_maintenance import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
