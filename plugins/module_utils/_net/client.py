# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request with one total deadline and a cap in bytes; follows no redirects and trusts no answer.

``ask`` never raises for a sick world; it returns an ``Answer``. Proxies of the environment are not used.
"""

from __future__ import annotations

import functools
import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
import typing as t
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.secret import load_secret
from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

MAX_BYTES = 1024 * 1024
# Addresses of cloud metadata services that are not link-local.
METADATA = frozenset(ipaddress.ip_address(text) for text in ("100.100.100.200", "fd00:ec2::254", "168.63.129.16"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")
_HEADER = re.compile(r"[\x20-\x7e]{0,8192}")


@dataclass(frozen=True)
class Answer:
    """What came back.

    ``error`` is "" or one of ``bad_url``, ``forbidden_address``, ``resolve``, ``refused``, ``unreachable``,
    ``connect_timeout``, ``timeout``, ``endless`` (it answered, and its body did not end), ``tls``, ``garbage``, ``closed``; ``detail`` is a
    short escaped sentence.
    ``location`` is the origin that a redirect points to, without path or query. ``seconds`` is wall time.
    """

    status: int = 0
    body: bytes = b""
    truncated: bool = False
    content_type: str = ""
    location: str = ""
    seconds: float = 0.0
    error: str = ""
    detail: str = ""


class Failed(Exception):
    """The request ended with this class of error; caught by ``ask``."""

    def __init__(self, error: str, detail: object = "") -> None:
        super().__init__(error)
        self.error, self.detail = error, one_line(detail, 120)


class Clock:
    """Seconds left of one total deadline."""

    def __init__(self, deadline: float) -> None:
        self.begun = time.monotonic()
        self.end = self.begun + deadline

    def left(self) -> float:
        left = self.end - time.monotonic()
        if left <= 0:
            raise socket.timeout("deadline is over")
        return left

    def spent(self) -> float:
        return round(time.monotonic() - self.begun, 4)


class _Reader(io.RawIOBase):
    """Reads a socket; every read gets only the rest of the total deadline, so a server cannot stall by dripping bytes."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self._sock, self._clock = sock, clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        self._sock.settimeout(self._clock.left())
        return self._sock.recv_into(buffer)


class _Source:
    """The one method of a socket that HTTPResponse uses."""

    def __init__(self, reader: io.BufferedIOBase) -> None:
        self._reader = reader

    def makefile(self, mode: str) -> io.BufferedIOBase:
        return self._reader


@dataclass(frozen=True)
class Request:
    """What is asked, within how many seconds, and how much of the answer's body is read."""

    url: str
    deadline: float
    method: str = "GET"
    body: bytes | None = None
    headers: t.Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = MAX_BYTES
    ca_file: str = ""
    validate_certs: bool = True


def ask(url: str, deadline: float, **options: t.Any) -> Answer:
    """Send one request (*options* are those of Request) and return its Answer within *deadline* seconds (see ``resolve``, though)."""
    request, clock = Request(url, deadline, **options), Clock(deadline)
    try:
        parts = parse_url(request.url)
        sock = _connect(parts, clock)
        with sock:
            if parts.scheme == "https":
                sock = _secure(sock, parts, clock, request.ca_file, request.validate_certs)
            with sock:
                sock.settimeout(clock.left())
                sock.sendall(message(parts, request))
                return _receive(io.BufferedReader(_Reader(sock, clock), 65536), clock, request)
    except Exception as error:  # anything that a hostile server makes the standard library raise is a finding
        return failed_answer(error, clock)


def ask_at(path: str, url: str, deadline: float, **options: t.Any) -> Answer:
    """As ``ask``, over the unix socket at *path*; of *url* only what follows its host is asked for."""
    request, clock = Request(url, deadline, **options), Clock(deadline)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(clock.left())
            sock.connect(path)
            sock.sendall(message(parse_url(url), request))
            return _receive(io.BufferedReader(_Reader(sock, clock), 65536), clock, request)
    except Exception as error:  # as above
        return failed_answer(error, clock)


def failed_answer(error: Exception, clock: Clock, connecting: bool = False) -> Answer:
    """Return the Answer of a request that ended with *error*, perhaps while it was still *connecting*."""
    if isinstance(error, Failed):
        return Answer(error=error.error, detail=error.detail, seconds=clock.spent())
    told = _connect_class(error) if connecting and isinstance(error, OSError) else _class_of(error)
    return Answer(error=told, detail=one_line(error, 120), seconds=clock.spent())


@functools.lru_cache(maxsize=4096)
def parse_url(url: str) -> SplitResult:
    """Return the parts of an http(s) *url*; raises Failed("bad_url") for other schemes, credentials or control characters."""
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", url):
        raise Failed("bad_url", "the URL is empty, too long, or holds spaces or characters outside ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Failed("bad_url", error) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Failed("bad_url", "only http:// and https:// URLs with a host are supported")
    if parts.username is not None or parts.password is not None:
        raise Failed("bad_url", "the URL holds credentials; put them in a token file")
    return parts


def origin_of(url: str) -> str:
    """Return scheme, host and port of *url* as escaped text, "relative" where there is none."""
    try:
        parts = urlsplit(url)
        return one_line(f"{parts.scheme or 'http'}://{parts.netloc.rpartition('@')[2]}", 100) if parts.netloc else "relative"
    except ValueError:
        return "unreadable"


def _class_of(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "timeout" if "timed out" in str(error) else "tls"
    if isinstance(error, socket.timeout):
        return "timeout"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected, http.client.IncompleteRead)):
        return "closed"
    return "unreachable" if isinstance(error, OSError) else "garbage"


def resolve(host: str, port: int) -> list[t.Any]:
    """Return the addresses of *host*; the caller's thread is abandoned if the resolver hangs beyond the deadline."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failed("resolve", f"{host}: {error}") from None
    for entry in found:
        if is_forbidden(str(entry[4][0])):
            raise Failed("forbidden_address", f"{host} is a link-local or metadata address")
    return found


@functools.lru_cache(maxsize=1024)
def is_forbidden(address: str) -> bool:
    """Return whether the numeric *address* is link-local or a metadata service, also inside an IPv4-in-IPv6 notation."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner: t.Any = ip
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or ip
        if ip in _NAT64 or int(ip) >> 32 == 0:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return any(one.is_link_local or one in METADATA for one in (ip, inner))


def _connect(parts: SplitResult, clock: Clock) -> socket.socket:
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return connect(str(parts.hostname), port, clock.left())


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """Return a connected TCP socket, or raise Failed (``refused``, ``connect_timeout``, ``unreachable``, ...) within *deadline* seconds."""
    clock = Clock(deadline)
    addresses = resolve(host, port)
    failure = Failed("unreachable", "no address")
    for index, (family, kind, proto, _name, address) in enumerate(addresses):
        sock = socket.socket(family, kind, proto)
        try:
            # A silent address must not use up the time of the next one.
            sock.settimeout(clock.left() / (len(addresses) - index))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = Failed(_connect_class(error), error)
    raise failure


def _connect_class(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return "connect_timeout" if isinstance(error, socket.timeout) else "unreachable"


@functools.lru_cache(maxsize=16)
def _context(ca_file: str, validate_certs: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or None)
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _secure(sock: socket.socket, parts: SplitResult, clock: Clock, ca_file: str, validate_certs: bool) -> socket.socket:
    try:
        context = _context(ca_file, validate_certs)
    except (OSError, ssl.SSLError) as error:
        raise Failed("tls", f"cannot read ca_file: {error}") from None
    sock.settimeout(clock.left())
    return context.wrap_socket(sock, server_hostname=parts.hostname)


def speaks_tls(url: str, deadline: float) -> bool:
    """Return whether the place of *url* takes a TLS handshake, whatever its certificate: an http:// URL is wrong there."""
    clock = Clock(deadline)
    try:
        parts = parse_url(url)
        with _connect(parts, clock) as sock, _secure(sock, parts, clock, "", False):
            return True
    except Exception:  # as above
        return False


def message(parts: SplitResult, request: Request) -> bytes:
    """Return *request* as it is sent; raises Failed where a header or the method holds what HTTP does not allow."""
    method, body = request.method, request.body
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    headers = {"Host": parts.netloc, "Accept": "*/*", "User-Agent": "somabrain-incident-response", "Connection": "close"}
    headers.update(request.headers)
    if body is not None:
        headers.update({"Content-Length": str(len(body)), "Content-Type": "application/json"})
    if any(not _HEADER.fullmatch(value) for value in headers.values()) or not re.fullmatch(r"[A-Z]{1,16}", method):
        raise Failed("bad_url", "a header value or the method holds characters that HTTP does not allow")
    lines = [f"{method} {target} HTTP/1.1"] + [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + (body or b"")


def read_answer(data: bytes, clock: Clock, request: Request) -> Answer:
    """Return the Answer that *data*, all that a server sent, holds; raises what reading it from the server would raise."""
    return _receive(io.BytesIO(data), clock, request)


class _Response(http.client.HTTPResponse):
    """The standard library skips only the interim answer 100; a server may send others (103) before its answer."""

    def _read_status(self) -> tuple[str, int, str]:
        read: t.Callable[[], tuple[str, int, str]] = super()._read_status  # type: ignore[misc]
        found = read()
        while 101 < found[1] < 200:
            while self.fp.readline(65537).strip():
                pass
            found = read()
        return found


def endless(status: object) -> Failed:
    """Return the error of an answer with that *status* whose body did not end in time: it is no silence, and may be a stream."""
    return Failed("endless", f"status {status}")


def _receive(reader: io.BufferedIOBase, clock: Clock, request: Request) -> Answer:
    response = _Response(t.cast(t.Any, _Source(reader)), method=request.method)
    max_bytes = request.max_bytes
    with response:
        response.begin()
        try:
            body = response.read(max_bytes + 1)
        except socket.timeout:
            raise endless(response.status) from None
        location = response.getheader("Location")
        # read(n) returns quietly what a server sent that closed too early.
        short = response.length if len(body) <= max_bytes else 0
        if short:
            raise Failed("closed", f"the server closed the connection {short} bytes before the end of its body")
        return Answer(
            status=response.status,
            body=body[:max_bytes],
            truncated=len(body) > max_bytes,
            content_type=one_line(response.getheader("Content-Type") or "", 60),
            location=origin_of(location) if location is not None else "",
            seconds=clock.spent(),
        )


def read_secret(path: str) -> tuple[str, str]:
    """Return (secret, problem) of a one-line secret file: the problem is set when there is no usable secret."""
    content, problem = load_secret(path)
    if problem or not content.isascii():
        return "", problem or "the file is not plain ASCII"
    secret = content[:16384].decode("ascii").strip()
    return (secret, "") if _TOKEN.fullmatch(secret) else ("", "the file does not hold one single word")
