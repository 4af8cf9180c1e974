# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Knocks at a PostgreSQL server in its own protocol: does it accept connections, reject them, or stay silent.

It uses no credentials: a request for a password already proves that the server accepts connections.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import Failed, connect

Options = t.Mapping[str, t.Any]

# Where client libraries look for a socket without a host: the default of distributions, then that of PostgreSQL itself.
SOCKET_DIRS = ("/var/run/postgresql", "/tmp")  # noqa: S108 - nothing is written there
_MAX_REPLY = 65536


def knock(options: Options, deadline: float) -> dict[str, t.Any]:
    """Return ``{error, detail, sqlstate, message, accepting, seconds}``; *deadline* in seconds is total. Never raises.

    *options*: host (a name, an address, a socket directory, "" for the usual one), port, user, database, tls.
    """
    begun = time.monotonic()
    raw: dict[str, t.Any] = {"error": "", "detail": "", "sqlstate": "", "message": "", "accepting": False}
    try:
        with _connected(options, deadline) as sock:
            sock.settimeout(max(0.01, begun + deadline - time.monotonic()))
            sock.sendall(startup_packet(options))
            raw.update(_reply(_Messages(sock, begun + deadline)))
            with contextlib.suppress(OSError):
                sock.sendall(b"X\x00\x00\x00\x04")
    except Failed as failed:
        raw.update(error=failed.error, detail=failed.detail)
    except socket.timeout:
        raw.update(error="timeout")
    except (OSError, EOFError) as error:
        raw.update(error="closed", detail=one_line(error, 80))
    except ValueError as error:
        raw.update(error="garbage", detail=one_line(error, 80))
    raw["seconds"] = time.monotonic() - begun
    return raw


def place_of(options: Options) -> str:
    """Return the host to knock at: the given one, else the first usual socket directory with a socket for the port."""
    if options["host"]:
        return str(options["host"])
    there = [folder for folder in SOCKET_DIRS if os.path.exists(os.path.join(folder, ".s.PGSQL.%s" % options["port"]))]
    return there[0] if there else SOCKET_DIRS[0]


def address_of(options: Options) -> str:
    """Return the address as text for messages."""
    place = place_of(options)
    return one_line("%s port %s" % (place, options["port"]) if place.startswith("/") else "%s:%s" % (place, options["port"]), 80)


def _connected(options: Options, deadline: float) -> socket.socket:
    place = place_of(options)
    if not place.startswith("/"):
        sock = connect(place, options["port"], deadline)
        return _with_tls(sock, deadline) if options["tls"] else sock
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(deadline)
    try:
        sock.connect(os.path.join(place, f".s.PGSQL.{options['port']}"))
    except OSError as error:
        sock.close()
        # The Unix socket of a stopped server with a full queue returns EAGAIN at once.
        refused = {
            FileNotFoundError: "no_socket", ConnectionRefusedError: "refused", socket.timeout: "connect_timeout",
            BlockingIOError: "connect_timeout",
        }  # fmt: skip
        raise Failed(refused.get(type(error), "unreachable"), error) from None
    return sock


def _with_tls(sock: socket.socket, deadline: float) -> socket.socket:
    import ssl  # only here: a probe without TLS need not load it

    sock.settimeout(deadline)
    sock.sendall(struct.pack("!ii", 8, 80877103))
    if sock.recv(1) != b"S":
        sock.close()
        raise Failed("tls", "the server does not offer TLS")
    # The wire probe sends no secret; a login verifies certificates by the rules of the client library.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock)


def startup_packet(options: Options) -> bytes:
    """Return the first message of a client."""
    pairs = ("user", options["user"], "database", options["database"], "application_name", "somabrain-health")
    body = struct.pack("!i", 196608) + b"".join(word.replace("\0", "").encode() + b"\0" for word in pairs) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


class _Messages:
    """Reads protocol messages of a socket until the absolute *end* (monotonic seconds)."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock, self._end, self._got = sock, end, 0

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            left = self._end - time.monotonic()
            if left <= 0:
                raise socket.timeout("deadline is over")
            self._sock.settimeout(left)
            more = self._sock.recv(count - len(data))
            if not more:
                raise EOFError("closed in the middle of a message" if data else "closed without an answer")
            data += more
        return data

    def next(self) -> tuple[bytes, bytes]:
        """Return (type, body); ValueError for anything but a PostgreSQL message, EOFError, socket.timeout."""
        kind = self._exactly(1)
        if kind not in b"RESKZNv":
            raise ValueError(f"its answer begins with {kind!r}")
        length = struct.unpack("!i", self._exactly(4))[0]
        self._got += length
        if length < 4 or self._got > _MAX_REPLY:
            raise ValueError("a message of an impossible length")
        return kind, self._exactly(length - 4)


def with_detail(message: str, detail: str) -> str:
    """Return a message in one line; its detail where that says that files are missing."""
    more = " (%s)" % one_line(redact(detail), 100) if detail.rstrip(".").endswith("is missing") else ""
    return one_line(redact(message), 120) + more


def _reply(messages: _Messages) -> dict[str, t.Any]:
    while True:
        kind, body = messages.next()
        if kind == b"E":
            fields = {part[:1]: part[1:].decode("utf-8", "backslashreplace") for part in body.split(b"\0") if part}
            return {"sqlstate": one_line(fields.get(b"C", ""), 5), "message": with_detail(fields.get(b"M", ""), fields.get(b"D", ""))}
        # A request for a password ends the probe; "authentication ok" may still be followed by an error.
        if (kind == b"R" and body[:4] != b"\0\0\0\0") or kind == b"Z":
            return {"accepting": True}
