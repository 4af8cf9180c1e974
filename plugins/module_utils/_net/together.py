# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any number of plain HTTP requests at once in one thread, each with its own total deadline and by the rules of ``_net.client``.

A thread for each costs several times the processor of the request itself. What may wait outside of a socket (a name to be
resolved) or needs TLS is not for here: see ``fits``.
"""

from __future__ import annotations

import collections
import errno
import functools
import http.client
import ipaddress
import math
import re
import selectors
import socket
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._net.client import (
    Answer,
    Clock,
    Failed,
    Request,
    endless,
    failed_answer,
    message,
    parse_url,
    read_answer,
    resolve,
)

# How many sockets are open at once.
MOST = 256
# What status line, header and the frames of chunks may take beside the body.
AROUND = 256 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)
_PLAIN = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [\x20-\x7e]*)?(?:\r\n[!#-'*-.0-9A-Z^-z|~]+:[ \t]*[\x20-\x7e\t]*)+")
_FIELD = re.compile(rb"\r\n([^:\r]+):[ \t]*([^\r]*?)[ \t]*(?=\r|\Z)")
_KIND = re.compile(rb"(?i)\r\ncontent-type:[ \t]*([^\r]*?)[ \t]*(?=\r|\Z)")
_NOT_PLAIN = {b"transfer-encoding", b"location"}
_BODILESS = re.compile(rb"HTTP/1\.\d (204|304)\b")


# A numeric address never resolves to another one.
_numeric = functools.lru_cache(maxsize=1024)(lambda host, port: resolve(host, port)[0])


def fits(url: str) -> bool:
    """Return whether *url* is plain HTTP to a numeric address, or one that is refused before anything is sent."""
    try:
        parts = parse_url(url)
        ipaddress.ip_address(str(parts.hostname).partition("%")[0])
    except Failed:
        return True
    except ValueError:
        return False
    return parts.scheme == "http"


def ask_together(requests: t.Sequence[Request]) -> list[Answer]:
    """Return the answers in the order of the *requests*; like ``ask`` it never raises for a sick world."""
    every = [_Exchange(request) for request in requests]
    waiting, next_end = collections.deque(every), math.inf
    live: set[_Exchange] = set()
    with selectors.DefaultSelector() as selector:
        while waiting or live:
            while waiting and len(live) < MOST:
                exchange = waiting.popleft()
                if exchange.step(selector, exchange.start):
                    live.add(exchange)
                    next_end = min(next_end, exchange.clock.end)
            for key, _events in selector.select(max(0.0, next_end - time.monotonic())) if live else ():
                if not key.data.step(selector, key.data.go_on):
                    live.discard(key.data)
            if time.monotonic() >= next_end:
                live = {exchange for exchange in live if exchange.step(selector, exchange.judge_time)}
                next_end = min((exchange.clock.end for exchange in live), default=math.inf)
    return [t.cast(Answer, exchange.answer) for exchange in every]


class _Exchange:
    """One request in flight: connecting while ``sock`` is not ``connected``, then sending ``unsent``, then reading into ``got``."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.clock = Clock(request.deadline)
        self.sock: t.Optional[socket.socket] = None
        self.connected = False
        self.unsent = b""
        self.got = bytearray()
        self.answer: t.Optional[Answer] = None

    def step(self, selector: selectors.BaseSelector, work: t.Callable[[selectors.BaseSelector], None]) -> bool:
        """Do *work* and return whether the request goes on; an exception becomes the answer and ends the connection."""
        try:
            work(selector)
        except BlockingIOError:
            return True
        except Exception as error:
            self.answer = failed_answer(error, self.clock, connecting=not self.connected)
        if self.answer is not None and self.sock is not None:
            if self.sock in selector.get_map():
                selector.unregister(self.sock)
            self.sock.close()
        return self.answer is None

    def start(self, selector: selectors.BaseSelector) -> None:
        self.clock = Clock(self.request.deadline)
        parts = parse_url(self.request.url)
        self.unsent = message(parts, self.request)
        family, kind, proto, _name, address = _numeric(str(parts.hostname), parts.port or 80)
        self.sock = socket.socket(family, kind, proto)
        self.sock.setblocking(False)
        code = self.sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, errno.errorcode.get(code, "cannot connect"))
        selector.register(self.sock, selectors.EVENT_WRITE, self)

    def go_on(self, selector: selectors.BaseSelector) -> None:
        sock = t.cast(socket.socket, self.sock)
        if not self.connected:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, errno.errorcode.get(code, "cannot connect"))
            self.connected = True
        if self.unsent:
            self.unsent = self.unsent[sock.send(self.unsent) :]
            if not self.unsent:
                selector.modify(sock, selectors.EVENT_READ, self)
            return
        data = sock.recv(65536)
        self.got += data
        if not data or self._is_whole():
            data = bytes(self.got)
            self.answer = _plain_answer(data, self.clock, self.request) or read_answer(data, self.clock, self.request)

    def judge_time(self, _selector: selectors.BaseSelector) -> None:
        try:
            self.clock.left()
        except socket.timeout:
            if b"\r\n\r\n" in self.got:
                raise endless(one_line(self.got[9:12].decode("latin-1"))) from None
            raise

    def _is_whole(self) -> bool:
        """Return whether enough was read to know the answer; a server that keeps the connection open is not waited for."""
        end = self.got.find(b"\r\n\r\n")
        most = self.request.max_bytes + 1
        if end < 0 or self.got.startswith((b"HTTP/1.1 100", b"HTTP/1.0 100")):
            if len(self.got) > AROUND:
                raise http.client.HTTPException("a header without an end")
            return False
        head, have = bytes(self.got[: end + 2]), len(self.got) - end - 4
        if self.request.method == "HEAD" or _BODILESS.match(head):
            return True
        if _CHUNKED.search(head):
            return self.got.endswith(b"\r\n0\r\n\r\n") or have > 8 * most + AROUND
        length = _LENGTH.search(head)
        return have >= (min(int(length.group(1)), most) if length else most)


def _plain_answer(data: bytes, clock: Clock, request: Request) -> t.Optional[Answer]:
    """Return the Answer for the simplest kind, a body of a declared length; None for any other, which the standard library reads."""
    head, _end, body = data.partition(b"\r\n\r\n")
    found = _PLAIN.fullmatch(head)
    fields = dict(_FIELD.findall(head.lower())) if found and len(head) < 4096 else {}
    length = fields.get(b"content-length", b"")
    if not found or request.method == "HEAD" or _BODILESS.match(head):
        return None
    if len(_FIELD.findall(head)) != len(fields) or fields.keys() & _NOT_PLAIN:
        return None
    if not length.isdigit() or not 0 < int(length) == len(body) <= request.max_bytes:
        return None
    kind = _KIND.search(head)
    content_type = one_line(kind.group(1).decode("latin-1") if kind else "", 60)
    return Answer(status=int(found.group(1)), body=body, content_type=content_type, seconds=clock.spent())
