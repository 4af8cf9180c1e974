#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a directory a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_add
short_description: Turn a directory into a release, named by its content
version_added: "0.1.0"
description:
  - Copies a directory on the target into the releases directory, under the SHA-256 of its contents. The copy appears complete or not at
    all, and is proven identical.
  - The id covers paths, contents, executable bits and link targets, but not owners, times and C(__pycache__).
  - Everything keeps the owner, group and mode that it has in O(src). Where only root may give a file away, or a release of that content
    exists with other ones, the result says so.
  - Does not select the release; see M(somabrain.incident_response.release_pin). A file C(release.json) in it with
    C({"migrations":"reversible"}) declares that older releases can run with the schema of this one.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Reports the id that the release would have.
  diff_mode:
    support: none
    description: A release is added as a whole.
options:
  src:
    description: The directory on the target to copy; it is not changed.
    type: path
    required: true
  releases_dir:
    description: Directory on the target that holds the releases; created if missing.
    type: path
    required: true
  leave_out:
    description:
      - What lies directly in O(src) under one of these names is not part of the release. A working copy of git has a C(.git) of its own
        on each host, so with it no two hosts would have the same release.
      - Empty to copy it too, for a program that asks git about itself.
    type: list
    elements: str
    default: [.git]
  stage:
    description: Stage of the run that this act belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.release_pin
"""

EXAMPLES = r"""
- name: Turn the unpacked directory into a release
  somabrain.incident_response.release_add:
    src: /srv/somabrain/incoming
    releases_dir: /srv/somabrain/releases
  register: added
"""

RETURN = r"""
release:
  description: The id of the release.
  returned: success
  type: str
path:
  description: Directory of the release.
  returned: success
  type: str
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.release_add import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
