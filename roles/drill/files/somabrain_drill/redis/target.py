# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Redis that a drill breaks, and how to talk to it."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import (
    Connection,
    ErrorReply,
    RespError,
    address_of,
    log_in,
    password_of,
)

from .. import target


@dataclasses.dataclass(frozen=True)
class Target(target.Target):
    """One Redis of one inventory host."""

    address: str = "127.0.0.1"
    socket: str = ""
    username: str = ""
    password_file: str = ""

    @property
    def copies(self) -> int:
        """A write that it takes is acknowledged."""
        return 0

    def connect(self, seconds: float) -> Connection:
        """Return a conversation of at most *seconds* that is logged in. Raises RespError."""
        options = {"host": self.address, "port": self.port, "socket": self.socket}
        connection = Connection(address_of(options), seconds)
        try:
            log_in(connection, self.username, password_of({"password_file": self.password_file}))
        except (RespError, StepError):
            connection.close()
            raise
        return connection

    def ask(self, *words: t.Any, seconds: float = 5.0) -> t.Any:
        with self.connect(seconds) as connection:
            return connection.ask(*words)

    def answers(self) -> bool:
        """Return whether it answers PING with PONG within a second."""
        with contextlib.suppress(RespError):
            return bool(self.ask("PING", seconds=1) == "PONG")
        return False


def refused(reply: t.Any) -> bool:
    return isinstance(reply, ErrorReply)


def of_lab(folder: Path, described: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the Redis of the lab in *folder*; *described* is what its lab.json says."""
    secret = folder / "secrets" / "redis_password"
    return {
        "port": int(described["ports"]["redis"]),
        "data_dir": folder / "redis",
        "config_file": folder / "etc/redis.conf",
        "log_file": folder / "logs/redis.log",
        "service": {"manager": "supervisor", "name": "redis", "supervisor_url": f"unix://{folder}/supervisor.sock", "scope": "system"},
        "password_file": str(secret) if secret.exists() else "",
    }
