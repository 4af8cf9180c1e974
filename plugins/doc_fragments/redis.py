# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options by which a Redis is reached (REACH in module_utils/_redis/options.py)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  host:
    description: Name or address of the Redis server.
    type: str
    default: 127.0.0.1
  port:
    description: Its port.
    type: int
    default: 6379
  socket:
    description: Path of its unix socket; replaces O(host) and O(port).
    type: str
    default: ""
  username:
    description: User name, if Redis has users.
    type: str
    default: ""
  password:
    description: Password. O(password_file) keeps it out of the inventory.
    type: str
    default: ""
  password_file:
    description: Path of a file with the password, on the host that connects to Redis.
    type: str
    default: ""
"""

    # Its replicas, reached by the same options (REACH).
    REPLICAS = r"""
options:
  replicas:
    description: Replicas of this Redis, which may hold more than its data files. One without a password uses the one of the server.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Address of the replica.
        type: str
        default: 127.0.0.1
      port:
        description: Port of the replica.
        type: int
        default: 6379
      socket:
        description: Unix socket of the replica, instead of host and port.
        type: str
        default: ""
      username:
        description: ACL user.
        type: str
        default: ""
      password:
        description: Password. Prefer O(replicas[].password_file).
        type: str
        default: ""
      password_file:
        description: File on the target that holds the password.
        type: str
        default: ""
"""

    # A named check of keys (SCOPE_SPEC in module_utils/_redis/integrity.py).
    SCOPE = r"""
options:
  name:
    description: Name of the check in reports and plans.
    type: str
    required: true
  pattern:
    description: Keys to check, as C(SCAN MATCH) takes it. Must begin with two plain characters.
    type: str
    required: true
  db:
    description: Number of the database.
    type: int
    default: 0
  check:
    description:
      - What a good value is; every given rule must hold. Keys that expire by themselves are not checked.
      - O(check.json), O(check.regex) and bytes are for strings, O(check.fields) and the digest for hashes, items for all others.
    type: dict
    required: true
    suboptions:
      type:
        description: The type of the value; empty for any.
        type: str
        choices: ["", string, list, set, zset, hash, stream]
        default: ""
      json:
        description: Whether the value is JSON.
        type: bool
        default: false
      regex:
        description: A Python regular expression that must be found in the value, which may then be at most 64 KiB.
        type: str
        default: ""
      min_bytes:
        description: Least length in bytes.
        type: int
        default: -1
      max_bytes:
        description: Most length in bytes.
        type: int
        default: -1
      min_items:
        description: Least number of items.
        type: int
        default: -1
      max_items:
        description: Most number of items.
        type: int
        default: -1
      fields:
        description: Fields that the hash must have.
        type: list
        elements: str
        default: []
      digest_field:
        description: Field with the sha256, in hexadecimal, of the field O(check.digest_of).
        type: str
        default: ""
      digest_of:
        description: Field that O(check.digest_field) is the digest of.
        type: str
        default: ""
"""
