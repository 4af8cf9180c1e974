#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and try every set of data that a damaged or emptied Redis can be restored from."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_candidates
short_description: Find and try every set of data that a damaged or emptied Redis can be restored from
version_added: "0.1.0"
description:
  - Copies the data directory with digests, checks the copy, and makes every candidate that can be made from it.
    The candidates are the files as they are, the files up to the damage, the files without the damaged regions, the files in order when
    their manifest is lost, the dump, the dump repaired until its checksum matches, the readable part of a dump, and the files without
    the command that emptied the server.
  - Adds backups, earlier rescue copies, replicas and the running server itself.
  - Loads each candidate in a side instance (a unix socket, no port, no replication, no module), counts its keys, checks known answers,
    compares all candidates key by key, and saves each as one checked RDB.
  - Reports what each candidate would lose, which one is best, and whether that is certain enough to need no person to choose.
  - Writes nothing to the data directory or to any server. Replicas are only read.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
  - somabrain.incident_response.redis.replicas
attributes:
  check_mode:
    support: full
    description: Checks the directories and writes nothing. Returns no candidates.
  diff_mode:
    support: none
    description: Creates files in the work directory only.
options:
  data_dir:
    description: Data directory of Redis. May be empty only if O(alive) is set and the files cannot be reached.
    type: str
    default: ""
  settings:
    description: Settings of redis.conf that decide what Redis loads at start (appendonly, appenddirname, appendfilename, dbfilename).
    type: dict
    default: {}
  work_dir:
    description:
      - Directory for the copy and the candidates. Needs room for about three times the data. Created with mode 0700.
      - Rescue copies that M(somabrain.incident_response.redis_rescue) left there become candidates too.
    type: path
    required: true
  run_id:
    description: Name of the directory of this run in O(work_dir).
    type: str
    required: true
  timeout:
    description: Time limit for the whole task, in seconds.
    type: float
    default: 1800.0
  redis_server:
    description: The C(redis-server) program for side instances. If empty, the one found on the host.
    type: str
    default: ""
  alive:
    description: Whether the server is running. Then its keys are a candidate too, and its files may change during the copy.
    type: bool
    default: false
  unappended:
    description:
      - What the log of Redis proves to be missing from its append-only file, as the role's probe gives it, that is C(at), when a dump was
        saved that has it, and C(why); and C(unsaved), why a dump may lack the last changes.
    type: dict
    default: {}
  backups:
    description: RDB files on this host to try. A C(*) matches several.
    type: list
    elements: str
    default: []
  known_keys:
    description: Known answers to check in each candidate.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: The key.
        type: str
        required: true
      sha256:
        description: SHA-256 of its value.
        type: str
        default: ""
      exists:
        description: Whether the key must exist.
        type: bool
        default: true
      db:
        description: Database of the key.
        type: int
        default: 0
  last_known_keys:
    description: How many keys Redis had when it was last seen well, V(-1) if unknown.
    type: int
    default: -1
  last_known:
    description: What else is known of that look, C(at) for when it was and C(bytes) for the size of its append-only file then.
    type: dict
    default: {}
  empty_below_share:
    description: A candidate with less than this share of the known keys counts as empty.
    type: float
    default: 0.5
  accept_loss:
    description: The loss that needs no approval by a person.
    type: dict
    default: {}
    suboptions:
      tail_bytes:
        description: Bytes at the cut end of the last file.
        type: int
        default: 0
      share:
        description: Share of all keys, if the loss is known exactly.
        type: float
        default: 0.0
  stage:
    description: The stage of the remediation that this task belongs to.
    type: str
    choices: [assess, act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_rescue
  - module: somabrain.incident_response.redis_health_info
"""

EXAMPLES = r"""
- name: See which data a damaged Redis can be restored from
  somabrain.incident_response.redis_candidates:
    data_dir: /var/lib/redis
    settings: {appendonly: "yes"}
    work_dir: /srv/rescue/redis
    run_id: 2026-11-24-incident
    backups: ["/srv/backup/redis/*.rdb"]
    replicas:
      - {host: 10.0.0.7, port: 6379, password_file: /etc/redis/replica.secret}
  register: found

- name: Show the candidates
  ansible.builtin.debug:
    var: found.table
"""

RETURN = r"""
copy:
  description: The copy of the data directory; empty if there was nothing to copy.
  type: dict
  returned: success
  contains:
    path: {description: Path of the copy., type: str}
    count: {description: Number of files., type: int}
    bytes: {description: Total size of the files., type: int}
    sha256: {description: One digest of all files; the manifest beside the copy holds the digest of each., type: str}
    consistent: {description: Whether no file changed during the copy., type: bool}
verdict:
  description: The verdict on the copied files, as in M(somabrain.incident_response.redis_health_info).
  type: str
  returned: success
judged:
  description: The verdict of each file.
  type: list
  elements: dict
  returned: success
candidates:
  description: The candidates, best first; those that do not load come last.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: "One of as_is, cut, salvage, rebuilt_manifest, dump, repaired_dump, before_flush, live, backup_1...", type: str}
    path: {description: The candidate as one RDB., type: str}
    sha256: {description: Its digest., type: str}
    bytes: {description: Its size., type: int}
    keys: {description: How many keys it holds., type: int}
    expires: {description: How many of these keys have a time to live., type: int}
    last_write: {description: When it was last written (seconds since 1970)., type: float}
    loss: {description: "What would be lost with it: count (null if unknown), unit, exact.", type: dict}
    superset: {description: Whether it holds every lasting key and value of all other candidates., type: bool}
    risk: {description: What may be wrong with it., type: str}
    proof: {description: How it was checked., type: str}
    error: {description: "Why it does not load; empty if it loads.", type: str}
    seconds: {description: How long the trial took., type: float}
    lineage: {description: "One of files, server, older.", type: str}
    dropped: {description: Commands or entries that could not be kept., type: int}
    dropped_bytes: {description: Bytes that could not be kept., type: int}
    detail: {description: What was done to the files., type: str}
    known_wrong: {description: How many known answers are wrong in it., type: int}
    wrong_keys: {description: "The places, from 1, of the known answers that are wrong in it.", type: list}
choice:
  description: The recommended candidate.
  type: dict
  returned: success
  contains:
    name: {description: Its name., type: str}
    superset: {description: Whether it holds everything that any other candidate holds., type: bool}
    certain: {description: Whether nothing is lost with it., type: bool}
    by: {description: "One of policy (no person has to choose), person.", type: str}
    loss: {description: What would be lost., type: dict}
    why: {description: The reason for this choice., type: str}
plans:
  description: One plan for each candidate that loads, in the form that M(somabrain.incident_response.remediation_guard) takes.
  type: list
  elements: dict
  returned: success
table:
  description: The candidates as lines of at most 100 columns.
  type: list
  elements: str
  returned: success
notes:
  description: What was ruled out before any trial.
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_candidates import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
