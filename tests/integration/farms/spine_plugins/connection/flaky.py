# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local connection that is lost from its command number FLAKY_AT on (counted in the file FLAKY_COUNT)."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: flaky
short_description: Lost after some commands
description: For tests only.
author: SomaBrain incident response contributors (@somabrain)
extends_documentation_fragment:
  - connection_pipelining
"""


class Connection(Local):  # type: ignore[misc]
    transport = "flaky"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        with open(os.environ["FLAKY_COUNT"], "a+") as file:
            file.write("x")
            file.seek(0)
            count = len(file.read())
        if count >= int(os.environ["FLAKY_AT"]):
            raise AnsibleConnectionFailure("the line is dead")
        return t.cast("tuple[int, bytes, bytes]", super().exec_command(cmd, in_data=in_data, sudoable=sudoable))
