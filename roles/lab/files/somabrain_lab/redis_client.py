# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Just enough of the Redis protocol: one command, or a few, over one fresh connection."""

from __future__ import annotations

import socket
import typing as t


class RedisRefused(Exception):
    """Redis answered with an error reply."""


class RedisClient:
    """Talks to one Redis; *timeout* is in seconds. Raises OSError or RedisRefused."""

    def __init__(self, port: int, password: str = "", timeout: float = 0.5) -> None:
        self.port, self.password, self.timeout = port, password, timeout

    def __call__(self, *words: t.Any) -> t.Any:
        """Return the reply to one command."""
        return self.pipeline([words])[0]

    def pipeline(self, commands: t.Sequence[t.Sequence[t.Any]]) -> list[t.Any]:
        """Return the replies to several commands, sent at once."""
        login = [("AUTH", self.password)] if self.password else []
        with socket.create_connection(("127.0.0.1", self.port), self.timeout) as link:
            link.sendall(b"".join(packed(command) for command in [*login, *commands]))
            with link.makefile("rb") as stream:
                return [read_reply(stream) for _command in [*login, *commands]][len(login) :]


def packed(words: t.Sequence[t.Any]) -> bytes:
    """Return a command as an array of bulk strings."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def read_reply(stream: t.BinaryIO) -> t.Any:
    """Return the next reply: str, int, None or list; raises RedisRefused for an error reply."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("Redis closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RedisRefused(rest.decode(errors="replace"))
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2].decode(errors="replace")
    if kind == b"*":
        return [read_reply(stream) for _item in range(int(rest))]
    return rest.decode(errors="replace")
