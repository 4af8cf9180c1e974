# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options by which a Redis is reached (REACH in module_utils/_redis_options.py)."""

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
    description: Path of its unix socket; used instead of O(host) and O(port) where given.
    type: str
    default: ""
  username:
    description: User name, where Redis has users of its own.
    type: str
    default: ""
  password:
    description: Password. O(password_file) keeps it out of the inventory.
    type: str
    default: ""
  password_file:
    description: Path of a file that holds the password, on the host from which Redis is asked.
    type: str
    default: ""
"""
