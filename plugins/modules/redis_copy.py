#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copy a data directory of Redis, with a digest of each file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_copy
short_description: Copy a data directory of Redis, with a digest of each file
version_added: "0.1.0"
description:
  - Copies all files of a data directory with their owners, modes and times, reads the copy back, and writes a manifest with
    the sha256 of each file beside it, as C(DEST.manifest.json).
  - Refuses links, files of several owners, a directory that changes during the copy, and a lack of room; then it leaves nothing behind.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Says what it would copy, and writes nothing.
  diff_mode:
    support: none
    description: Creates a new directory only.
options:
  data_dir:
    description: The directory to copy. It is only read.
    type: path
    required: true
  dest:
    description: Path of the copy. A complete copy of the same data that is already there is used.
    type: path
    required: true
  live:
    description: Whether files may change during the copy. Then C(consistent) reports whether they did.
    type: bool
    default: false
  timeout:
    description: Time limit for the whole task, in seconds.
    type: float
    default: 900.0
  stage:
    description: The stage of the remediation that this task belongs to.
    type: str
    choices: [assess, act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_reload
  - module: somabrain.incident_response.redis_install
"""

EXAMPLES = r"""
- name: Keep the data before Redis starts
  somabrain.incident_response.redis_copy:
    data_dir: /var/lib/redis
    dest: /srv/rescue/redis/20261123T192312Z-7f3a/kept
"""

RETURN = r"""
path:
  description: The copy.
  type: str
  returned: success
bytes:
  description: Total size of the files.
  type: int
  returned: success
files:
  description: Number of files.
  type: int
  returned: success
sha256:
  description: One digest of all files.
  type: str
  returned: success
consistent:
  description: Whether nothing changed during the copy.
  type: bool
  returned: success
skipped:
  description: What was left out because it is not Redis data.
  type: list
  elements: str
  returned: success
seconds:
  description: How long the task took.
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_copy import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
