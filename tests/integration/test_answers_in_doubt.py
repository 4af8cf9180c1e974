# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service that is well while our URL says otherwise: a stream, TLS, no body, a late answer, a proxy. Real sockets, in process."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from somabrain_drill.ports import free_port

from ansible_collections.somabrain.incident_response.plugins.module_utils._checks import look as checks_look
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client, together
from ansible_collections.somabrain.incident_response.plugins.module_utils._service import state as service_state
from ansible_collections.somabrain.incident_response.plugins.module_utils._service.manager import ask

Speak = t.Callable[[socket.socket, int], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def serving(speak: Speak, context: ssl.SSLContext | None = None) -> t.Iterator[int]:
    """Serve each connection by *speak*, which is told the number of the connection; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def handle(connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            speaking = context.wrap_socket(connection, server_side=True) if context else connection
            speaking.recv(65536)
            speak(speaking, number)

    def serve() -> None:
        with contextlib.suppress(OSError):
            for number in range(1000):
                threading.Thread(target=handle, args=(listener.accept()[0], number), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def says(answer: bytes, after: float = 0.0) -> Speak:
    def speak(connection: socket.socket, _number: int) -> None:
        time.sleep(after)
        connection.sendall(answer)

    return speak


def streams(connection: socket.socket, _number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while True:
        connection.sendall(b"data: x\n\n")
        time.sleep(0.05)


def hangs(connection: socket.socket, _number: int) -> None:
    time.sleep(60)


def every_other(connection: socket.socket, number: int) -> None:
    time.sleep(0 if number % 2 else 60)
    connection.sendall(OK)


def closes_once(connection: socket.socket, number: int) -> None:
    if number:
        connection.sendall(OK)


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    """Look at this process as at a service that its manager calls running, and that began an hour ago."""
    running = {"exists": True, "state": "running", "pid": os.getpid(), **service_state.process_facts(os.getpid())}
    seen = service_state.blank("supervisor", "api", **{**running, "started_at": time.time() - 3600})
    monkeypatch.setattr(ask, "load_service", lambda *_given: dict(seen))
    monkeypatch.setattr(ask, "logs_of", lambda *_given: b"")

    def look(port: int, **more: t.Any) -> dict[str, t.Any]:
        check = {
            "kind": "application", "manager": "supervisor", "service": "api", "url": f"http://127.0.0.1:{port}/health", "profile": "none",
            "answer_timeout": 0.4, "ask_again": 1.5, "stateless": ["api"], **more,
        }  # fmt: skip
        return checks_look.run_checks(checks_look.validated([check], 10.0), "target")[0]

    return look


WAYS: dict[str, tuple[Speak, str, bool]] = {
    "it answers": (says(OK), "up", False),
    "it answers 204": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "up", False),
    "it answers after an interim answer": (says(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK), "up", False),
    "it answers 304": (says(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "redirect", False),
    "it streams": (streams, "bad_input", False),
    "it answers late": (says(OK, after=0.9), "slow", False),
    "it answers every other time": (every_other, "unsteady", False),
    "it closed one connection": (closes_once, "unsteady", False),
    "it hangs": (hangs, "hung", True),
    "it closes every connection": (says(b""), "unresponsive", True),
    "it answers 503": (says(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), "erroring", True),
}


@pytest.mark.parametrize(("speak", "state", "restarts"), WAYS.values(), ids=list(WAYS))
def test_only_what_stays_bad_when_it_is_doubted_is_restarted(look: t.Any, speak: Speak, state: str, restarts: bool) -> None:
    with serving(speak) as port:
        seen = look(port)
    assert (seen["state"], "restart" in seen["actions"]) == (state, restarts), seen["findings"]


def test_a_stream_that_once_was_an_answer_is_a_hang(look: t.Any) -> None:
    with serving(streams) as port:
        answered = {"service": "api", "url": f"http://127.0.0.1:{port}/health", "profile": "none"}
        seen = look(port, known={"answered": answered})
    assert (seen["state"], "restart" in seen["actions"]) == ("hung", True)


def test_tls_under_an_http_url_is_wrong_input(look: t.Any, tmp_path: Path) -> None:
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "key", "-out", "cert"]
    if subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True, check=False).returncode:
        pytest.skip("no openssl is installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with serving(says(OK), context) as port:
        seen = look(port)
        assert look(port, url=f"https://localhost:{port}/health")["state"] == "tls"
        assert look(port, url=f"https://localhost:{port}/health", ca_file=str(tmp_path / "cert"))["state"] == "up"
    assert (seen["state"], seen["actions"], "write https://" in seen["findings"][0]["text"]) == ("bad_input", [], True), seen["findings"]


PROXIES: dict[str, tuple[Speak | None, Speak, str, bool]] = {
    "the proxy is down": (None, says(OK), "proxy_fails", False),
    "the proxy hangs": (hangs, says(OK), "proxy_fails", False),
    "the proxy finds it nowhere": (says(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"), says(OK), "proxy_fails", False),
    "the proxy says what the service says": (
        says(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"), says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "erroring", True),
    "both hang": (hangs, hangs, "hung", True),
}  # fmt: skip


@pytest.mark.parametrize(("proxy", "service", "state", "restarts"), PROXIES.values(), ids=list(PROXIES))
def test_what_a_proxy_says_is_not_the_services_own_word(
    look: t.Any, monkeypatch: pytest.MonkeyPatch, proxy: Speak | None, service: Speak, state: str, restarts: bool
) -> None:
    with contextlib.ExitStack() as stack:
        own = stack.enter_context(serving(service))
        front = stack.enter_context(serving(proxy)) if proxy else free_port()
        known = ask.load_service({}, 1.0)
        published = [{"by": "docker", "address": "0.0.0.0", "port": own, "inside": 8000}]  # noqa: S104 - as Docker reports it
        monkeypatch.setattr(ask, "load_service", lambda *_given: dict(known, fronts=published))
        seen = look(front, behind_proxy=True)
    assert (seen["state"], "restart" in seen["actions"]) == (state, restarts), seen["findings"]


def test_an_answer_that_does_not_end_is_no_silence_whichever_way_it_is_asked() -> None:
    with serving(streams) as port, serving(hangs) as silent:
        urls = [f"http://127.0.0.1:{one}/" for one in (port, silent)]
        alone = [client.ask(url, 0.4).error for url in urls]
        assert alone == [one.error for one in together.ask_together([client.Request(url, 0.4) for url in urls])] == ["endless", "timeout"]
