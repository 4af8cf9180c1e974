# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A threaded HTTP/1.1 server of JSON: an application is a function from Request to Reply."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import typing as t
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import practice

MAX_BODY = 8 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """One request; ``headers`` have lower-case names, ``body`` is capped at MAX_BODY bytes."""

    method: str
    path: str
    headers: t.Mapping[str, str]
    body: bytes = b""

    def json(self) -> t.Any:
        """Return the body as JSON, or None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Reply:
    """One answer. Text in ``data`` is sent as it is, anything else as JSON."""

    data: t.Any
    status: int = 200
    headers: t.Mapping[str, str] = field(default_factory=dict)
    spaced: bool = False

    def encoded(self) -> tuple[str, bytes]:
        """Return content type and bytes."""
        if isinstance(self.data, str):
            return "text/plain; version=0.0.4; charset=utf-8", self.data.encode()
        # FastAPI answers without spaces, Django with them.
        separators = (", ", ": ") if self.spaced else (",", ":")
        return "application/json", json.dumps(self.data, separators=separators, default=str).encode()


Application = t.Callable[[Request], Reply]


def handler_of(application: Application) -> type[BaseHTTPRequestHandler]:
    """Return the request handler class that serves *application*."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave in one segment; otherwise Nagle and delayed ACK cost 40 ms each time.
        wbufsize = 64 * 1024
        disable_nagle_algorithm = True
        timeout = 60

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > MAX_BODY:
                self.close_connection = True
                self.send(Reply({"detail": "body too large"}, 413))
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = urllib.parse.urlsplit(self.path).path
            self.send(application(Request(self.command, path, headers, self.rfile.read(length))))

        def send(self, reply: Reply) -> None:
            kind, body = reply.encoded()
            self.send_response(reply.status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: t.Any) -> None:
            """Log nothing per request; the applications log what matters."""

    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        setattr(Handler, "do_" + method, Handler.answer)
    return Handler


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(port: int, application: Application) -> None:
    """Serve *application* on loopback for ever."""
    Server(("127.0.0.1", port), handler_of(application)).serve_forever()


def serve_by_worker(port: int, make: t.Callable[[], Application]) -> None:
    """Serve on loopback by a worker under a master, as gunicorn does: a worker that dies is replaced, one that hangs is not."""
    # The handler is bound by the worker, which makes its own application: connections do not survive a fork.
    server = Server(("127.0.0.1", port), BaseHTTPRequestHandler)
    master, workers = os.getpid(), t.cast("list[int]", [])

    def end(*_signal: t.Any) -> None:
        end_worker(workers[-1])
        os._exit(0)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)
    while True:
        pid = os.fork()
        if not pid:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            practice.MASTER.append(master)
            threading.Thread(target=leave_with, args=(master,), daemon=True).start()
            server.RequestHandlerClass = handler_of(make())
            server.serve_forever()
        workers.append(pid)
        os.waitpid(pid, 0)
        # A worker that cannot even start must not eat the machine.
        time.sleep(0.2)


def end_worker(pid: int) -> None:
    """End a worker, hung or not."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def leave_with(master: int) -> None:
    """End this worker soon after its master."""
    while os.getppid() == master:
        time.sleep(0.2)
    os._exit(1)
