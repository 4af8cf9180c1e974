#!/usr/bin/python
# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and try every set of data that a damaged or emptied Redis could go on with."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_candidates
short_description: Find and try every set of data that a damaged or emptied Redis could go on with
version_added: "0.1.0"
description:
  - Copies the data directory with digests, judges the copy, and makes every set of data that can be made from it.
    These are the files as they are, the files up to the damage, the files without the damaged regions, the files in order where their
    manifest is lost, the dump, the dump with its checksum mended, what still reads in a dump, and the files without a command that
    emptied the server.
  - Adds backups, earlier rescue copies, replicas and the living server itself.
  - Loads each in a side instance of its own (a unix socket, no port, no replication, no module), counts it, asks known answers, compares
    all of them key by key, and saves each as one checked RDB.
  - Says what each would lose, which is the best, and whether that is so certain that no person has to choose.
  - Nothing is written to the data directory or to any server. A replica is only read.
author:
  - SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - somabrain.incident_response.attributes
  - somabrain.incident_response.redis
attributes:
  check_mode:
    support: full
    description: Judges the places and writes nothing; then there are no candidates.
  diff_mode:
    support: none
    description: Only files in the work directory are made.
options:
  data_dir:
    description: Data directory of Redis. May be empty only where O(alive) is set and its files cannot be seen.
    type: str
    default: ""
  settings:
    description: Words of redis.conf that say what a start would load (appendonly, appenddirname, appendfilename, dbfilename).
    type: dict
    default: {}
  work_dir:
    description:
      - Directory for the copy and the candidates, which needs room for about three times the data. Made with mode 0700.
      - Rescue copies that M(somabrain.incident_response.redis_rescue) left there are candidates too.
    type: path
    required: true
  run_id:
    description: Name of the run's own directory in O(work_dir).
    type: str
    required: true
  timeout:
    description: Seconds that all of it may take.
    type: float
    default: 1800.0
  redis_server:
    description: The C(redis-server) program for side instances; found by itself where empty.
    type: str
    default: ""
  alive:
    description: Whether the server lives; then its keys are a candidate too, read key by key, and its files may change meanwhile.
    type: bool
    default: false
  backups:
    description: RDB files to try, on this host; a C(*) stands for many.
    type: list
    elements: str
    default: []
  replicas:
    description: Replicas to read from. One without a password of its own gets that of the server.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Its address.
        type: str
        default: 127.0.0.1
      port:
        description: Its port.
        type: int
        default: 6379
      socket:
        description: Its unix socket, instead of host and port.
        type: str
        default: ""
      username:
        description: ACL user.
        type: str
        default: ""
      password:
        description: Password; better give O(replicas[].password_file).
        type: str
        default: ""
      password_file:
        description: File on the target that holds the password.
        type: str
        default: ""
  known_keys:
    description: Answers that are known, asked of each candidate.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: The key.
        type: str
        required: true
      sha256:
        description: Digest of its value.
        type: str
        default: ""
      exists:
        description: Whether it has to be there.
        type: bool
        default: true
      db:
        description: Its database.
        type: int
        default: 0
  last_known_keys:
    description: How many keys Redis had when it was last seen well, V(-1) where nobody knows.
    type: int
    default: -1
  empty_below_share:
    description: A candidate with less than this share of the keys is no cure.
    type: float
    default: 0.5
  accept_loss:
    description: The loss that needs no person.
    type: dict
    default: {}
    suboptions:
      tail_bytes:
        description: So many bytes at the cut end of the last file.
        type: int
        default: 0
      share:
        description: This share of all keys, where the loss is exactly known.
        type: float
        default: 0.0
  stage:
    description: The stage of a remediation that this belongs to.
    type: str
    choices: [assess, act, undo]
    default: act
seealso:
  - module: somabrain.incident_response.redis_rescue
  - module: somabrain.incident_response.redis_health_info
"""

EXAMPLES = r"""
- name: See what the data of a damaged Redis can be recovered to
  somabrain.incident_response.redis_candidates:
    data_dir: /var/lib/redis
    settings: {appendonly: "yes"}
    work_dir: /srv/rescue/redis
    run_id: 2026-11-24-incident
    backups: ["/srv/backup/redis/*.rdb"]
    replicas:
      - {host: 10.0.0.7, port: 6379, password_file: /etc/redis/replica.secret}
  register: found

- name: Read them
  ansible.builtin.debug:
    var: found.table
"""

RETURN = r"""
copy:
  description: The copy of the data directory; empty where there was none to copy.
  type: dict
  returned: success
  contains:
    path: {description: Where it is., type: str}
    count: {description: How many files it has., type: int}
    bytes: {description: Their size., type: int}
    sha256: {description: One digest for all of them; the manifest beside the copy has that of each., type: str}
    consistent: {description: Whether no file changed meanwhile., type: bool}
verdict:
  description: What the judgement of the copied files says, as in M(somabrain.incident_response.redis_health_info).
  type: str
  returned: success
judged:
  description: The verdict of each file.
  type: list
  elements: dict
  returned: success
candidates:
  description: What was tried, best first, those that do not load last.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: "One of as_is, cut, salvage, rebuilt_manifest, dump, repaired_dump, before_flush, live, backup_1...", type: str}
    path: {description: The candidate as one RDB., type: str}
    sha256: {description: Its digest., type: str}
    bytes: {description: Its size., type: int}
    keys: {description: How many keys it holds., type: int}
    expires: {description: How many of these expire by themselves., type: int}
    last_write: {description: When it was last written (seconds since 1970)., type: float}
    loss: {description: "What would be lost with it: count (none for an unknown number), unit, exact.", type: dict}
    superset: {description: Whether it holds all lasting keys and values of every other., type: bool}
    risk: {description: What may be wrong with it., type: str}
    proof: {description: What it was checked by., type: str}
    error: {description: "Why it does not load, empty where it does.", type: str}
    seconds: {description: How long it took to try., type: float}
    lineage: {description: "One of files, server, older.", type: str}
    dropped: {description: Commands or entries that could not be kept., type: int}
    dropped_bytes: {description: Bytes that could not be kept., type: int}
    detail: {description: What was done to the files., type: str}
    known_wrong: {description: How many known answers are wrong in it., type: int}
choice:
  description: The recommended candidate.
  type: dict
  returned: success
  contains:
    name: {description: Its name., type: str}
    superset: {description: Whether it holds all that any other holds., type: bool}
    certain: {description: Whether nothing is lost with it., type: bool}
    by: {description: "One of policy (no person has to choose), person.", type: str}
    loss: {description: What would be lost., type: dict}
    why: {description: Why it is so., type: str}
plans:
  description: One plan for each candidate that loads, as M(somabrain.incident_response.remediation_guard) takes them.
  type: list
  elements: dict
  returned: success
table:
  description: The candidates as lines of at most 100 columns.
  type: list
  elements: str
  returned: success
notes:
  description: What was ruled out from the start.
  type: list
  elements: str
  returned: success
seconds:
  description: How long all of it took.
  type: float
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
from ansible_collections.somabrain.incident_response.plugins.module_utils._steps.redis_candidates import ARGUMENT_SPEC, run


def main() -> None:
    run_module(ARGUMENT_SPEC, run)


if __name__ == "__main__":
    main()
