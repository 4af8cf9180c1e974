# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy says, also where it is no HAProxy that says it, and what is made of it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic import pool
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.balancer import haproxy
from ansible_collections.somabrain.incident_response.plugins.module_utils._traffic.haproxy.words import parse_table, rights_of

# As HAProxy 2.6.12 says them, without the columns that nobody reads.
ROW = "7 api 1 api1 {address} {up} {admin} 100 100 5 6 3 {health} 6 0 0 0 - {port} - 0 0 - - 0"
STATES = (
    "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change"
    " srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn"
    " srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n" + ROW
)
STAT = (
    "# pxname,svname,scur,econ,eresp,status,bck,hrsp_2xx,hrsp_5xx,check_status,last_chk,check_rise,check_fall,\n"
    'api,api1,2,0,0,UP,0,90,3,L7OK,"up, ""well"", thanks",2,3,\napi,BACKEND,2,0,0,UP,0,90,3,,,,,\n'
)
SAID = {
    "show info": "Version: 2.6.12\nPid: 7\nStart_time_sec: 5",
    "show stat": STAT,
    "show servers state": STATES.format(address="10.0.0.1", port=9696, up=2, admin=0, health=4),
    "show map": "0x55 api 120",
    "show cli level": "admin",
}


class Saying:
    """A unix socket that says to each command what it is given for it."""

    def __init__(self, said: t.Mapping[str, str | bytes]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="says-", dir="/tmp"))
        self.path, self.said = str(self.folder / "admin.sock"), said
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _peer = self.socket.accept()
                with link, contextlib.suppress(OSError):
                    asked = link.recv(4096).decode()
                    told = next((told for words, told in self.said.items() if asked.startswith(words)), "Unknown command")
                    link.sendall(told if isinstance(told, bytes) else told.encode() + b"\n\n")

    def __enter__(self) -> Saying:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def seen(said: t.Mapping[str, str | bytes], **given: t.Any) -> dict[str, t.Any]:
    with Saying({**SAID, **said}) as saying:
        usual = {name: rule["default"] for name, rule in haproxy.OPTIONS.items()}
        options = {**usual, "haproxy_address": saying.path, "haproxy_state_dir": str(saying.folder), "pool": "api", **given}
        return haproxy.load(options, 5.0)


def test_what_it_says_is_one_pool() -> None:
    state = seen({})
    assert (state["reachable"], state["pool"], state["rights"], state["maintenance"]["retry_after"]) == (True, "api", "all", 120)
    one = state["servers"][0]
    assert (one["address"], one["requests"], one["errors"], one["passed"], one["fall"]) == ("10.0.0.1:9696", 93, 3, True, 3)


def test_what_a_check_or_an_agent_said_with_commas_moves_no_column() -> None:
    row = parse_table(STAT, ",")[0]
    assert (row["last_chk"], row["check_rise"], row["check_fall"]) == ('up, "well", thanks', "2", "3")


@pytest.mark.parametrize(
    ("up", "health", "passed"), [(2, 2, False), (2, 3, True), (1, 3, True), (1, 2, False), (0, 3, False)],
    ids=["let in and not asked yet", "asked", "asked, and slowly started", "slowly started, and not asked yet", "down"],
)  # fmt: skip
def test_a_server_has_passed_once_it_was_asked_since_it_was_let_in(up: int, health: int, passed: bool) -> None:
    told = STATES.format(address="10.0.0.1", port=1, up=up, admin=0, health=health)
    assert seen({"show servers state": told})["servers"][0]["passed"] is passed


def test_an_address_with_colons_has_brackets_and_is_told_to_haproxy_without_them() -> None:
    assert seen({"show servers state": STATES.format(address="fd00::2", port=9696, up=2, admin=0, health=4)})["servers"][0]["address"] == (
        "[fd00::2]:9696"
    )
    for text, told in (("[FD00:0::2]:80", "[fd00::2]:80"), ("10.0.0.1:80", "10.0.0.1:80"), ("fd00::2:80", ""), ("[10.0.0.1]:80", "")):
        assert pool.address_of(text) == told


def test_what_may_be_changed_is_told_by_the_level_of_the_socket() -> None:
    assert [rights_of(level) for level in ("admin\n", "operator", "user", "Unknown command", "")] == ["all", "maintenance", "none", "", ""]


@pytest.mark.parametrize(
    "said",
    [
        {"show info": "<html>\x00"},
        {"show info": ""},
        {"show info": SAID["show info"].replace("7", "x")},
        {"show info": SAID["show info"].replace("5", "soon")},
        {"show info": b"\xff\xfe\x00"},
        {"show stat": "# pxname\napi"},
        {"show stat": "garbage"},
        {"show servers state": "2\n# be_id"},
        {"show servers state": "1\n# be_id be_name srv_id srv_name\n7 api 1 api1"},
        {"show servers state": STATES.format(address="10.0.0.1", port=1, up="x", admin=0, health=4)},
        {"show servers state": "1\n"},
    ],
)
def test_what_is_no_haproxy_is_away_and_says_why(said: dict[str, str | bytes]) -> None:
    state = seen(said)
    assert not state["reachable"]
    assert "HAProxy at /tmp/says-" in state["detail"]


GARBAGE = st.binary(max_size=200) | st.sampled_from(
    [
        b"",
        b"\n" * 50,
        b"# ",
        b"# pxname,svname\n" + b'"' * 9,
        b"1\n# ",
        b"x" * 200_000,
        b"# pxname,svname\napi," + b"y" * 140_000,
        b"Pid: \xff",
    ]
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SAID)), GARBAGE)
def test_no_answer_whatever_it_is_breaks_the_look(words: str, answer: bytes) -> None:
    state = seen({words: answer})
    # The level of the socket and its map may be unknown; without tables nothing is known of the pool.
    assert state["reachable"] or state["detail"]
    assert not state["reachable"] or words == "show cli level" or not state["pool"] or state["servers"]


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:", ":80", "nowhere", "", "/" + "x" * 200, "/none/admin.sock"])
def test_an_address_that_is_none_is_away_and_says_why(address: str) -> None:
    state = seen({}, haproxy_address=address)
    assert not state["reachable"]
    assert state["detail"]


def test_a_file_of_what_was_set_that_somebody_spoiled_is_read_as_far_as_it_can_be() -> None:
    with Saying(SAID) as saying:
        usual = {name: rule["default"] for name, rule in haproxy.OPTIONS.items()}
        options = {**usual, "haproxy_address": saying.path, "haproxy_state_dir": str(saying.folder), "pool": "api"}
        Path(saying.folder, "api.json").write_text('{"identity": {}, "servers": {"api1": "gone", "api2": {"weight": 1}}}')
        assert haproxy.load(options, 5.0)["kept"]["servers"] == {"api2": {"weight": 1}}
