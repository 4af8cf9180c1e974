#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Select the release that the next start of a service takes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_pin
short_description: Select the release that the next start of a service uses
version_added: "0.1.0"
description:
  - Under V(systemd) and V(supervisor) a release is a directory named by its content (see M(somabrain.incident_response.release_add)). The
    module first reads the directory and proves that its content matches its name, then replaces the link O(current) atomically.
  - Under V(compose) a release is an image, identified by its id. A separate Compose file names that id, so that no tag decides; nothing is
    pulled. Compose must be able to read the project first.
  - The module starts and stops nothing. For a cluster, the role service_manager changes the template of the workload instead.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.service
attributes:
  check_mode:
    support: full
    description: Proves that the release exists, and reports what it would do.
  diff_mode:
    support: full
    description: The release selected before and the one selected now.
options:
  release:
    description: The release, by the SHA-256 of its content or the id of its image.
    type: str
    required: true
  releases_dir:
    description: Directory on the target that holds the releases.
    type: path
    default: ""
  current:
    description: The link that selects one of them. Anything but a link in its place is refused.
    type: path
    default: ""
  pin_file:
    description: The pin file for Compose; empty for C(compose.release.yml) in O(project_src). A file that we did not write is refused.
    type: path
    default: ""
  project_src:
    description: Directory of the Compose project on the target; empty for the one that the container was created from.
    type: path
    default: ""
  project_files:
    description:
      - Compose files of the project, relative to its directory. Empty for those that the container was created from, according to its
        labels, or otherwise those that Compose finds by itself.
    type: list
    elements: str
    default: []
  env_files:
    description: Environment files of the project, relative to its directory; empty for those that the container was created with.
    type: list
    elements: str
    default: []
  container:
    description: The name of a container of a workload; not used by this module.
    type: str
    default: ""
  project_hash:
    description:
      - For Compose, what RV(ignore:facts.project.hash) of a check of kind C(release) said of the settings that a new container would get.
        If the project files say something else by now, nothing is changed. Empty to compare nothing.
    type: str
    default: ""
  expected:
    description:
      - For a link or an image, the release that the next start would have taken when the plan was made. If it would take another one by
        now, nothing is changed. Empty to compare nothing.
    type: str
    default: ""
  stage:
    description: Stage of the run that this act belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.release_add
"""

EXAMPLES = r"""
- name: Select a release of the API
  somabrain.incident_response.release_pin:
    manager: systemd
    name: somabrain-api
    releases_dir: /srv/somabrain/releases
    current: /srv/somabrain/current
    release: 4f1c8a0de1f4a8f7c0d1c1f2a3f6b5f5a0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5
"""

RETURN = r"""
before:
  description: The release that was selected before, or empty.
  returned: success
  type: str
after:
  description: The release that is selected now.
  returned: success
  type: str
src:
  description: Under V(compose), the directory of the project.
  returned: success
  type: str
env_files:
  description: Under V(compose), the environment files of the project.
  returned: success
  type: list
  elements: str
files:
  description: Under V(compose), all Compose files of the project including the pin file; name them to Compose from now on.
  returned: success
  type: list
  elements: str
  sample: [compose.yaml, compose.release.yml]
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.release_pin import ARGUMENT_SPEC, run

if __name__ == "__main__":
    main(ARGUMENT_SPEC, run)
