# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small RESP2 client: one connection, one total deadline, caps on what a reply may cost.

An error reply of the server is a value (ErrorReply); everything else that goes wrong is a RespError
whose ``kind`` is refused, no_socket, timeout, unreachable, closed, tls, garbage or too_large.
"""

from __future__ import annotations

import errno
import functools
import ipaddress
import socket
import threading
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.secret import load_secret
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.step import StepError
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

Reply = t.Any
Word = t.Union[str, bytes, int, float]

MAX_BYTES = 4 * 1024 * 1024
MAX_ITEMS = 100_000
MAX_DEPTH = 8
# How a TLS server begins the alert by which it refuses plain text.
_TLS_ALERT = b"\x15\x03"
_GONE = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN}
# A socket file without a listener refuses; a missing path never had a listener.
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


class RespError(Exception):
    """The conversation failed. ``kind`` is one word; ``connected``: whether the peer had accepted the connection."""

    def __init__(self, kind: str, text: str, connected: bool = False) -> None:
        super().__init__(text)
        self.kind = kind
        self.connected = connected


class ErrorReply(str):
    """An error reply of the server, without its leading dash."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """The first word: NOAUTH, LOADING, BUSY, MISCONF, ..."""
        return self.partition(" ")[0]


@dataclass(frozen=True)
class Address:
    """Where a server is: a unix socket path, or host and port."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""

    def __str__(self) -> str:
        return self.path or "%s:%d" % (self.host, self.port)


def address_of(options: t.Mapping[str, t.Any]) -> Address:
    """Return the address that options ``host``, ``port`` and ``socket`` name."""
    return Address(str(options.get("host") or "127.0.0.1"), int(options.get("port") or 6379), str(options.get("socket") or ""))


def password_of(options: t.Mapping[str, t.Any]) -> str:
    """Return the password from ``password`` or ``password_file``, "" for none. Raises StepError for an unreadable file."""
    if options.get("password"):
        return str(options["password"])
    path = options.get("password_file")
    if not path:
        return ""
    content, problem = load_secret(str(path))
    try:
        if not problem:
            return content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        problem = "it is not text"
    raise StepError("cannot use the Redis password file %s: %s; set password_file" % (one_line(path), problem))


class Connection:
    """One conversation under one deadline (seconds from now, total). Use it as a context manager. Raises RespError."""

    def __init__(self, address: Address, deadline: float, max_bytes: int = MAX_BYTES) -> None:
        self.end = time.monotonic() + deadline
        self.max_bytes = max_bytes
        self.address = address
        self._buffer = bytearray()
        self._budget = 0
        self._items = 0
        self._socket = self._connect()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, *words: Word) -> Reply:
        """Send one command and return its reply: str, int, None, list, bytes for what is not text, or ErrorReply."""
        return self.ask_all([words])[0]

    def ask_all(self, commands: t.Sequence[t.Sequence[Word]]) -> list[Reply]:
        """Send all *commands* at once and return their replies in order."""
        self.send(commands)
        return [self.receive() for dummy in commands]

    def send(self, commands: t.Sequence[t.Sequence[Word]]) -> None:
        data = memoryview(b"".join(encode(words) for words in commands))
        while data:
            data = data[self._guard(functools.partial(self._socket.send, data)) :]

    def receive(self) -> Reply:
        self._budget, self._items = self.max_bytes, MAX_ITEMS
        return self._reply(0)

    def greet(self, context: t.Any) -> None:
        """Go through the TLS greeting of *context* (an SSLContext). Raises RespError, of kind tls where the server refuses it in TLS."""
        try:
            self._guard(lambda: context.wrap_socket(self._socket, do_handshake_on_connect=True, server_hostname=None).close())
        except RespError as error:
            raise RespError("tls", "it speaks TLS", True) if "ALERT" in str(error).upper() else error from None

    def _connect(self) -> socket.socket:
        # localhost may mean ::1 first while the server listens on 127.0.0.1 only: the first that accepts counts.
        failure = RespError("unreachable", "no address")
        for family, target in [(socket.AF_UNIX, self.address.path)] if self.address.path else self._resolved():
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(self._left(False))
                sock.connect(target)
                return sock
            except (OSError, RespError) as error:
                sock.close()
                failure = error if isinstance(error, RespError) else _as_resp_error(error, False)
        raise failure

    def _resolved(self) -> list[tuple[t.Any, t.Any]]:
        # A name lookup cannot be interrupted, so it runs in a thread that may outlive us.
        found: list[t.Any] = []

        def look_up() -> None:
            try:
                found.extend(socket.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                found.append(error)

        if _is_numeric(self.address.host):
            look_up()
        else:
            thread = threading.Thread(target=look_up, daemon=True)
            thread.start()
            thread.join(self._left(False))
        if not found:
            raise RespError("timeout", "the name lookup did not end in time")
        if isinstance(found[0], Exception):
            raise RespError("unreachable", one_line("cannot look up %s" % self.address.host))
        return [(one[0], one[4]) for one in found]

    def _left(self, connected: bool = True) -> float:
        left = self.end - time.monotonic()
        if left <= 0:
            raise RespError("timeout", "no answer in time", connected)
        return left

    def _guard(self, work: t.Callable[[], t.Any]) -> t.Any:
        try:
            self._socket.settimeout(self._left())
            return work()
        except OSError as error:
            raise _as_resp_error(error, True) from None

    def _more(self) -> None:
        chunk = self._guard(lambda: self._socket.recv(65536))
        if not chunk:
            raise RespError("closed", "the server closed the connection", True)
        self._buffer += chunk

    def _line(self) -> bytes:
        start = 0
        while True:
            end = self._buffer.find(b"\r\n", start)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                return line
            if self._buffer[:2] == _TLS_ALERT:
                raise RespError("tls", "it speaks TLS", True)
            if self._buffer and self._buffer[0] not in b"+-:$*" + _TLS_ALERT[:1] or len(self._buffer) > 65536:
                raise RespError("garbage", "no Redis: it says %s" % one_line(bytes(self._buffer[:60]), 60), True)
            start = max(0, len(self._buffer) - 1)
            self._more()

    def _exact(self, size: int) -> bytes:
        while len(self._buffer) < size + 2:
            self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[: size + 2]
        return data

    def _reply(self, depth: int) -> Reply:
        line = self._line()
        kind, rest = line[:1], line[1:]
        self._items -= 1
        self._spend(len(line))
        if depth > MAX_DEPTH or self._items < 0:
            raise RespError("too_large", "the reply is nested too deep or too long", True)
        if kind == b"+":
            return _text(rest)
        if kind == b"-":
            return ErrorReply(rest.decode("utf-8", "backslashreplace"))
        if kind not in (b":", b"$", b"*"):
            raise RespError("garbage", "no Redis: it says %s" % one_line(line[:60], 60), True)
        return self._counted(kind, self._number(rest), depth)

    def _counted(self, kind: bytes, count: int, depth: int) -> Reply:
        if kind == b":":
            return count
        if count < 0:
            return None
        if kind == b"*":
            if count > self._items:
                raise RespError("too_large", "the reply has more than %d parts" % MAX_ITEMS, True)
            return [self._reply(depth + 1) for dummy in range(count)]
        self._spend(count)
        return _text(self._exact(count))

    def _number(self, digits: bytes) -> int:
        try:
            return int(digits)
        except ValueError:
            raise RespError("garbage", "no Redis: a length reads %s" % one_line(digits[:40], 40), True) from None

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise RespError("too_large", "the reply is larger than %d bytes" % self.max_bytes, True)


def log_in(connection: Connection, username: str, password: str) -> t.Optional[ErrorReply]:
    """Send AUTH where there is a password; return the server's refusal or None. Raises RespError."""
    if not password:
        return None
    reply = connection.ask("AUTH", *([username] if username else []), password)
    return reply if isinstance(reply, ErrorReply) else None


def speaks_tls(address: Address, deadline: float) -> bool:
    """Return whether what listens at *address* answers a TLS greeting within *deadline* seconds; sends nothing else."""
    import ssl  # rarely needed, and slow to import

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # No secret is sent and no answer believed: who it is does not matter here.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with Connection(address, deadline) as connection:
            connection.greet(context)
    except RespError as error:
        return error.kind == "tls"
    return True


def encode(words: t.Sequence[Word]) -> bytes:
    """Return one command as RESP."""
    parts = [word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogateescape") for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _text(data: bytes) -> t.Union[str, bytes]:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _as_resp_error(error: OSError, connected: bool) -> RespError:
    if isinstance(error, socket.timeout) or error.errno in (errno.EAGAIN, errno.ETIMEDOUT):
        return RespError("timeout", "no answer in time", connected)
    if error.errno == errno.ECONNREFUSED:
        return RespError("refused", "connection refused", connected)
    if error.errno in _ABSENT:
        return RespError("no_socket", "no such socket", connected)
    if error.errno in _GONE:
        return RespError("closed", "the server closed the connection", connected)
    return RespError("unreachable", one_line(error.strerror or error), connected)


def ask_all(asked: t.Sequence[t.Any], ask: t.Callable[[t.Any], t.Any], seconds: float) -> list[t.Any]:
    """Return what *ask* says of each, all asked at once, in their order; None for one that has not answered after *seconds* in total."""
    found: dict[int, t.Any] = {}
    end = time.monotonic() + seconds

    def note(index: int, one: t.Any) -> None:
        found[index] = ask(one)

    threads = [threading.Thread(target=note, args=each, daemon=True) for each in enumerate(asked)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [found.get(index) for index in range(len(asked))]
