#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a configuration in git back to what a commit had, or take that back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: configuration_return
short_description: Restore a configuration in git to an earlier commit, or undo that
version_added: "0.1.0"
description:
  - Restores the folder O(path) of a git working copy to its content at O(commit), as a new commit on the branch. History is not rewritten,
    so the next C(pull --ff-only) fails visibly instead of bringing the bad configuration back.
  - Before anything changes, every file that will change is copied to O(rescue_dir), and uncommitted changes are saved there as a patch that
    is proven to reproduce the same files. If the only differences are uncommitted changes, they are removed and no commit is made.
  - Only files below O(path) that differ are written, each by one rename, with their owner and mode unchanged. Ignored files, empty folders
    and changes elsewhere stay untouched.
  - The module does exactly what was approved. It refuses if the branch or the uncommitted changes have changed since, if no branch is
    checked out, or if a git operation is unfinished.
  - git runs as the owner of the working copy; it runs no hook, filter or other program that the repository names.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Refuses in the same cases, and shows what would change; writes nothing.
  diff_mode:
    support: full
    description: Shows the changes in the files, without secrets, up to 20000 characters.
options:
  repository:
    description: Path of the working copy.
    type: path
    required: true
  path:
    description: The folder inside it that holds the configuration; V(.) for the whole working copy.
    type: str
    default: "."
  user:
    description: The owner of the working copy; git runs as this user. Empty for the owner of its directory.
    type: str
    default: ""
  commit:
    description: Full hash of the commit that has the wanted configuration. Required with O(action=return).
    type: str
    default: ""
  expected_head:
    description: Full hash of the branch's commit when the return was approved; any other is refused.
    type: str
    default: ""
  expected_drift:
    description: The C(drift_sha256) of the uncommitted changes when the return was approved, empty for none; any other is refused.
    type: str
    default: ""
  rights:
    description:
      - Owner, group and mode (numbers) of files by name, as they were recorded with O(commit), for files that come back where nothing
        lies now. Without an entry such a file gets those of the same file under its present name, else those that all files beside it
        share, else those of its folder.
    type: dict
    default: {}
  rescue_dir:
    description: Private directory (mode 0700) of this return, outside of the repository, for the copies and the patch.
    type: path
    required: true
  run_id:
    description: The run that this belongs to, for the commit message.
    type: str
    required: true
  action:
    description: Whether to return to the commit, or to restore, byte for byte, what was there before.
    type: str
    choices: [return, back]
    default: return
  timeout:
    description: Seconds that the whole act may take. At the timeout, the same call finishes or undoes what it has begun.
    type: float
    default: 120.0
  stage:
    description: The stage of a remediation that this belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.health_info
"""

EXAMPLES = r"""
- name: Restore the configuration of the verified commit
  somabrain.incident_response.configuration_return:
    repository: /srv/somabrain
    path: config
    commit: 3f786850e387550fdab836ed7e6dc881de23001b
    expected_head: 89e6c98d92887913cadf06b2adb97f26cde4849b
    rescue_dir: /srv/rescue/somabrain/20261123T192312Z-0b46fa
    run_id: 20261123T192312Z-0b46fa

- name: Undo the return
  somabrain.incident_response.configuration_return:
    action: back
    repository: /srv/somabrain
    path: config
    rescue_dir: /srv/rescue/somabrain/20261123T192312Z-0b46fa
    run_id: 20261123T192312Z-0b46fa
    stage: undo
"""

RETURN = r"""
before:
  description: C(commit) of the branch and C(drift_sha256) of the uncommitted changes before it.
  type: dict
  returned: success
after:
  description: C(commit) of the branch now.
  type: dict
  returned: success
patch:
  description: The file with the uncommitted changes, or empty.
  type: str
  returned: success
files:
  description: Names of the files that differ, at most 100.
  type: list
  elements: str
  returned: success
stage:
  description: Stage of the run that this result belongs to.
  type: str
  returned: success
say:
  description: Sentences for the person on call.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import main as run_module
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.configuration_return import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
