#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put one checked RDB into the data directory of a stopped Redis, or put the old files back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_install
short_description: Put one checked RDB into the data directory of a stopped Redis, or put the old files back
version_added: "0.1.0"
description:
  - Puts an RDB where the settings of a stopped Redis make it load - as its dump, as the head of its append-only file, or as base,
    incremental file and manifest of a multi-part one.
  - Renames the old files into C(before-RUN_ID) in the data directory, where they stay. A single rename switches from old to new, so
    that Redis finds a complete set whenever it starts. After a crash, the same call finishes the work and O(state=put_back) undoes it.
  - With O(state=put_back), puts the old files back and keeps what Redis wrote since beside them.
  - Refuses while a process runs in the directory or has one of its files open.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
attributes:
  check_mode:
    support: full
    description: Checks files and processes, and writes nothing.
  diff_mode:
    support: full
    description: Shows the files that are replaced and the file that replaces them.
options:
  data_dir:
    description: Data directory of Redis.
    type: path
    required: true
  settings:
    description:
      - Settings of Redis that decide what it loads, V(appendonly), V(appenddirname), V(appendfilename) and V(dbfilename).
      - V(multi_part) says whether the append-only file has several parts, if neither V(appenddirname) nor its directory shows that.
    type: dict
    default: {}
  run_id:
    description: ID of the run; part of the name of the directory with the old files.
    type: str
    required: true
  rdb:
    description: The file that Redis shall load. Required with O(state=installed).
    type: path
    default: ""
  sha256:
    description: Digest of the file when it was checked. Required with O(state=installed).
    type: str
    default: ""
  state:
    description: Whether to install the file or to put the old files back.
    type: str
    choices: [installed, put_back]
    default: installed
  timeout:
    description: Time limit for writing the file, in seconds. When it is exceeded, nothing has changed.
    type: float
    default: 900.0
  stage:
    description: The stage of the remediation that this task belongs to.
    type: str
    choices: [act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_rescue
  - module: somabrain.incident_response.redis_health_info
"""

EXAMPLES = r"""
- name: Make the stopped Redis load the rescue copy
  somabrain.incident_response.redis_install:
    data_dir: /var/lib/redis
    settings: {appendonly: "yes", appenddirname: appendonlydir}
    rdb: /srv/rescue/redis/redis-0b46fa1f-20261123T192312Z.rdb
    sha256: 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
    run_id: 20261123T192312Z-7f3a

- name: Put the old files back
  somabrain.incident_response.redis_install:
    data_dir: /var/lib/redis
    settings: {appendonly: "yes", appenddirname: appendonlydir}
    run_id: 20261123T192312Z-7f3a
    state: put_back
"""

RETURN = r"""
before_dir:
  description: The directory with the old files.
  type: str
  returned: success
  sample: /var/lib/redis/before-20261123T192312Z-7f3a
layout:
  description: Layout of what Redis loads, V(rdb), V(aof) or V(multi_part).
  type: str
  returned: success
moved:
  description: The old files, relative to the data directory; empty if nothing changed.
  type: list
  elements: str
  returned: success
installed:
  description: The file that Redis will load, relative to the data directory; empty after a put-back.
  type: list
  elements: str
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_install import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
