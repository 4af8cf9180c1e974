# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that share a thread are answered like one that has a thread of its own."""

from __future__ import annotations

import dataclasses
import http.client
import socket
import threading
import time

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._net import client as net_http
from ansible_collections.somabrain.incident_response.plugins.module_utils._net import together

HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: application/json; charset=utf-8\r\n"


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH:  2 \r\n\r\nno", True),
        (HEAD + b"Content-Length: 2\r\n\r\n{} and more", False),
        (HEAD + b"Content-Length: 20\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", False),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", False),
        (HEAD + b"Content-Length: -2\r\n\r\n{}", False),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 12\r\n\r\n2\r\n{}\r\n0\r\n\r\n", False),
        (HEAD + b"\r\n{}", False),
        (HEAD + b"X: folded\r\n Content-Length: 2\r\n\r\n{}", False),
        (HEAD + b"X\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"\x1b[31m\r\n\r\n", False),
        (b"", False),
    ],
)
def test_only_the_plainest_answer_is_read_without_the_standard_library_and_to_the_same_end(data: bytes, plain: bool) -> None:
    request, clock = net_http.Request("http://127.0.0.1/", 1.0), net_http.Clock(1.0)
    read = together._plain_answer(data, clock, request)
    assert (read is not None) is plain
    try:
        wanted = net_http.read_answer(data, clock, request)
    except (net_http.Failed, http.client.HTTPException, ValueError):
        assert read is None
        return
    if read is not None:
        assert dataclasses.replace(read, seconds=0.0) == dataclasses.replace(wanted, seconds=0.0)


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("http://127.0.0.1:9696/health", True),
        ("http://[::1]:9696/health", True),
        ("http://localhost:9696/health", False),
        ("http://api.example/health", False),
        ("https://127.0.0.1/health", False),
        # Nothing is sent to these, so nothing can be waited for.
        ("ftp://127.0.0.1/", True),
        ("http://user:word@127.0.0.1/", True),
    ],
)
def test_what_may_wait_outside_of_a_socket_keeps_a_thread_of_its_own(url: str, fits: bool) -> None:
    assert together.fits(url) is fits


def test_each_request_has_its_own_deadline_and_none_holds_up_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as good, socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))

        def serve() -> None:
            for _turn in range(40):
                connection, _peer = good.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

        threading.Thread(target=serve, daemon=True).start()
        urls = [f"http://127.0.0.1:{server.getsockname()[1]}/" for server in (silent, good, closed)]
        requests = [net_http.Request(urls[0], 0.7), *[net_http.Request(urls[1], 20.0)] * 40, net_http.Request(urls[2], 20.0)]
        requests += [net_http.Request("http://169.254.169.254/", 20.0), net_http.Request(urls[1], 20.0, headers={"X": "a\r\nb"})]
        begun = time.monotonic()
        answers = together.ask_together(requests)
        assert time.monotonic() - begun < 15
    assert [answer.error for answer in answers] == ["timeout", *[""] * 40, "refused", "forbidden_address", "bad_url"]
    assert {answer.body for answer in answers[1:41]} == {b"{}"}
    assert answers[0].seconds >= 0.7


def test_no_request_is_no_answer() -> None:
    assert together.ask_together([]) == []
