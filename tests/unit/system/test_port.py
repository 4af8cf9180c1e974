# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a port comes from the kernel: process, program, user and address; a family of its own is no stranger."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from ansible_collections.somabrain.incident_response.plugins.module_utils._system import port


def test_the_holder_of_a_port_is_named_and_is_no_stranger_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        (holder,) = port.holders_of(number)
        assert (holder["pid"], holder["address"], holder["program"]) == (
            os.getpid(),
            "127.0.0.1",
            os.path.basename(os.path.realpath(sys.executable)),
        )
        assert port.stranger_on(number, "127.0.0.1", [os.getpid()]) == {}
        assert port.stranger_on(number, "127.0.0.1", [os.getppid()]) == {}, "a child of the service is the service"
        assert port.stranger_on(number, "", [2**22 + 1]) == holder
        assert port.stranger_on(number, "127.0.0.2", []) == {}, "another address is not in its way"
        assert port.holder_text(holder, number).startswith(f"port {number} is held by python")
    assert port.holders_of(number) == []


ADDRESSES = {
    "0100007F": "127.0.0.1",
    "00000000": "0.0.0.0",  # noqa: S104
    "00000000000000000000000001000000": "::1",
    "0000000000000000FFFF00000100007F": "127.0.0.1",
}


@pytest.mark.skipif(sys.byteorder != "little", reason="the kernel shows words in the byte order of the machine")
@pytest.mark.parametrize(("shown", "address"), ADDRESSES.items(), ids=list(ADDRESSES))
def test_an_address_of_the_kernel_is_read(shown: str, address: str) -> None:
    assert port.address_of(shown) == address


MEETS = [("0.0.0.0", "127.0.0.1", True), ("127.0.0.1", "127.0.0.1", True), ("127.0.0.2", "127.0.0.1", False), ("::1", "", True)]  # noqa: S104


@pytest.mark.parametrize(("bound", "wanted", "is_met"), MEETS)
def test_a_socket_is_in_the_way_at_the_same_or_at_any_address(bound: str, wanted: str, is_met: bool) -> None:
    assert port.meets(bound, wanted) is is_met


PORTS = {
    "bind 127.0.0.1:6379: Address already in use": 6379,
    "[Errno 98] error while attempting to bind on address ('127.0.0.1', 9696): address already in use": 9696,
    "Error: listen EADDRINUSE: address already in use :::9696": 9696,
    "Is another postmaster already running on port 5432?": 5432,
    "Address already in use": 0,
}


@pytest.mark.parametrize(("line", "number"), PORTS.items())
def test_the_port_that_a_line_names_is_read(line: str, number: int) -> None:
    assert port.port_in(line) == number


def test_a_holder_that_cannot_be_seen_is_said_to_be_one() -> None:
    text = port.holder_text({"pid": 0, "program": "", "user": "redis"}, 6379)
    assert text == "port 6379 is held by a process of user redis that cannot be seen from here"
