#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a configuration in git back to what a commit had, or take that back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: configuration_return
short_description: Put a configuration in git back to what a commit had, or take that back
version_added: "0.1.0"
description:
  - Puts the folder O(path) of a git working copy back to what O(commit) had, as a new commit on the branch. Nothing of the history is
    rewritten, so that the next C(pull --ff-only) fails aloud instead of bringing the other configuration again.
  - Before anything changes, every file that will change is copied to O(rescue_dir), and what is not committed is written there as a patch
    that is proven to give the same files again. Where only such changes stand in the way, they are taken out and no commit is made.
  - Only files below O(path) that differ are written, each by one rename, with the owner and rights that they had. Ignored files, empty
    folders and changes elsewhere are left alone.
  - What was approved is what is done. It refuses where branch or uncommitted changes are others by now, where no branch is checked out, and
    where an operation of git was begun and not ended.
  - git runs as the owner of the working copy; no hook, filter or other program that the repository names is run.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Refuses as it would, and shows what would change; writes nothing.
  diff_mode:
    support: full
    description: Shows what changes in the files, without secrets, at most 20000 characters of it.
options:
  repository:
    description: Path of the working copy.
    type: path
    required: true
  path:
    description: The folder inside it that is the configuration; V(.) for all of it.
    type: str
    default: "."
  user:
    description: The owner of the working copy, whom git runs as. Empty for the owner of its directory.
    type: str
    default: ""
  commit:
    description: All digits of the commit that has the wanted configuration. Needed with O(action=return).
    type: str
    default: ""
  expected_head:
    description: All digits of the commit that the branch was at when the return was approved; another one is refused.
    type: str
    default: ""
  expected_drift:
    description: The C(drift_sha256) of the uncommitted changes when the return was approved, empty for none; others are refused.
    type: str
    default: ""
  rescue_dir:
    description: Private directory (mode 0700) of this return, outside of the repository, for the copies and the patch.
    type: path
    required: true
  run_id:
    description: The run that this belongs to, for the message of the commit.
    type: str
    required: true
  action:
    description: Whether to return to the commit, or to put back, to the byte, what was there before that.
    type: str
    choices: [return, back]
    default: return
  timeout:
    description: Seconds that all of it may take. What was begun then is ended by the same call, or taken back.
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
- name: Put the configuration back to the commit that was verified
  somabrain.incident_response.configuration_return:
    repository: /srv/somabrain
    path: config
    commit: 3f786850e387550fdab836ed7e6dc881de23001b
    expected_head: 89e6c98d92887913cadf06b2adb97f26cde4849b
    rescue_dir: /srv/rescue/somabrain/20261123T192312Z-0b46fa
    run_id: 20261123T192312Z-0b46fa

- name: Take that back
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
  description: The file with what was not committed, empty for nothing.
  type: str
  returned: success
files:
  description: Names of the files that differ, at most 100.
  type: list
  elements: str
  returned: success
stage:
  description: The stage that was asked for.
  type: str
  returned: success
say:
  description: Plain sentences for the person on call.
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
