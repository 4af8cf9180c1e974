# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis that lies: whatever it answers there is a judgement, never a traceback, and nothing it says can move a terminal."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.connection import Connection, RespError, address_of, encode
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.facts import number, parse_info, share
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.judge import STATES, judge_redis
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.load import load_redis

FIELDS = (
    "run_id", "role", "process_id", "tcp_port", "db0", "db1", "aof_enabled", "aof_last_write_status", "aof_last_bgrewrite_status",
    "rdb_last_bgsave_status", "rdb_changes_since_last_save", "used_memory", "maxmemory", "maxmemory_policy", "total_system_memory",
    "mem_not_counted_for_evict", "errorstat_OOM", "connected_slaves", "slave0", "master_host", "master_port", "master_link_status",
    "master_sync_in_progress", "loading", "loading_eta_seconds", "loading_loaded_perc", "redis_version",
)  # fmt: skip
HOSTILE = (
    "", "-1", "1", "nan", "inf", "-inf", "1e999", "9" * 4400, "-" + "9" * 30, "0x10", "٣", "1_000", "keys=" + "9" * 4400 + ",", "keys=-3,",
    "\x1b[2J\x1b[1;1Hwell", "a\rb", "\u202egnp.txt", "\x00", "ip=\x1b]0;x\x07,port=-1,state=online", "slave", "master", "{{ 7*7 }}",
    "yes", "ok", "A" * 4000, "allkeys-lru", "volatile-lru", "99999999999999999999", "\ud800",
)  # fmt: skip
values = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.integers().map(str), st.floats().map(str))
infos = st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=8)), values, max_size=30)
texts = infos.map(lambda fields: "\r\n".join(f"{name}:{value}" for name, value in fields.items()))
replies: st.SearchStrategy[t.Any] = st.recursive(
    st.one_of(
        st.integers().map(lambda count: b":%d\r\n" % count),
        st.binary(max_size=60).map(lambda data: b"$%d\r\n%s\r\n" % (len(data), data)),
        st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"-ERR \x1b[2J\r\n", b"-\r\n", b"+\r\n", b"+PONG\r\n", b"-LOADING x\r\n"]),
        texts.map(lambda text: encode([text.encode("utf-8", "replace")])[4:]),
        st.binary(max_size=30),
    ),
    lambda inner: st.lists(inner, max_size=4).map(lambda parts: b"*%d\r\n%s" % (len(parts), b"".join(parts))),
    max_leaves=12,
)


def look(info: str = "role:master\r\nrun_id:a", **given: t.Any) -> dict[str, t.Any]:
    """A look at a Redis that answers PONG and *info*, changed by what is given."""
    seen: dict[str, t.Any] = {
        "error": "", "text": "", "connected": True, "auth": "", "ping": "PONG", "ping_seconds": 0.001, "role": [], "write": "accepted",
        "known": [], "stands_on": "target", "service": {}, "process": {}, "settings": {}, "data_dir": "/data", "disk": {},
        "dump_bytes": None, "log": {}, "files": None, "config": {}, "info": parse_info(info),
    }  # fmt: skip
    return dict(seen, **given)


def assert_told(health: t.Any) -> None:
    """What was judged has a state of ours, can be written down, and its sentences are plain lines of bounded length."""
    assert health.state in (*STATES, "")
    assert health.findings
    written = json.dumps(health.as_dict())
    assert len(written) < 100_000
    for finding in health.findings:
        assert finding.text.isprintable()
        assert len(finding.text) < 1000


@given(text=texts, ping=st.sampled_from(["PONG", "LOADING x", "MISCONF x", "MASTERDOWN x", "BUSY", "\x1b[2J", "OOM x"]))
def test_no_info_breaks_the_judgement(text: str, ping: str) -> None:
    assert_told(judge_redis(look(text, ping=ping), {"last_known_keys": 100, "expected_replicas": 1, "maxmemory_limit": 2**40}))


@given(role=st.lists(st.one_of(values, st.none(), st.integers(), st.lists(values, max_size=2)), max_size=3), write=values)
def test_no_other_answer_breaks_the_judgement(role: list[t.Any], write: str) -> None:
    assert_told(judge_redis(look(role=role, write=one_line(write)), {}))


@pytest.mark.parametrize(
    ("value", "found"),
    [("7", 7), (None, None), ("nan", None), (math.inf, None), ("9" * 5000, None), (2**63, None), (-(2**62), -(2**62)), ([], None)],
)
def test_a_number_is_one_that_redis_can_mean(value: t.Any, found: t.Any) -> None:
    assert number(value) == found


@pytest.mark.parametrize(("value", "found"), [("12.5", 12.5), ("nan", None), ("inf", None), ("-1", None), ("1e999", None), (None, None)])
def test_a_share_is_one_of_a_hundred(value: t.Any, found: t.Any) -> None:
    assert share(value) == found


def serve(server: socket.socket, answers: t.Sequence[bytes]) -> None:
    """Answer each conversation with *answers*, one for each command that may come, and be silent after."""
    while True:
        try:
            peer, dummy = server.accept()
        except OSError:
            return
        with peer:
            peer.settimeout(0.2)
            for answer in answers:
                try:
                    if not peer.recv(65536):
                        break
                    peer.sendall(answer)
                except OSError:
                    break


@settings(max_examples=60)
@given(answers=st.lists(replies, max_size=5), first=st.booleans())
def test_no_reply_breaks_the_look(answers: list[bytes], first: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server, [b"+PONG\r\n" if first else b"", *answers]), daemon=True)
        thread.start()
        options = {"port": server.getsockname()[1], "stands_on": "controller", "known_keys": [{"key": "k", "sha256": "0"}]}
        begun = time.monotonic()
        assert_told(judge_redis(load_redis(options, 0.15, 0.2), options))
        assert time.monotonic() - begun < 2
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@settings(max_examples=100)
@given(answer=replies)
@example(answer=b"\xc2\xa0")
def test_a_reply_is_a_value_or_a_resp_error(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        connection = Connection.__new__(Connection)
        vars(connection).update(end=time.monotonic() + 1, max_bytes=4096, address=address_of({}), _buffer=bytearray(), _socket=ours)
        said = ""
        try:
            connection.receive()
        except RespError as error:
            said = str(error)
        assert said.isprintable()


def test_a_tls_alert_is_told_as_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server, [b"\x15\x03\x01\x00\x02\x02\x46"]), daemon=True).start()
        options = {"port": server.getsockname()[1], "stands_on": "controller"}
        health = judge_redis(load_redis(options, 1.0, 1.0), options)
    assert health.health.value == "unknown"
    assert health.actions == ()
    assert "TLS" in health.findings[0].text
    assert "plain port" in health.findings[0].text


def test_a_redis_with_tls_is_told_as_tls(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    made = ["-keyout", "k.pem", "-out", "c.pem", "-days", "2", "-subj", "/CN=x"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made], cwd=tmp_path, check=True, capture_output=True, timeout=60
    )
    pems = ["--tls-cert-file", "c.pem", "--tls-key-file", "k.pem", "--tls-ca-cert-file", "c.pem"]
    words = ["redis-server", "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "", *pems]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        try:
            options = {"port": port, "stands_on": "controller"}
            end = time.monotonic() + 10
            while (health := judge_redis(load_redis(options, 1.0, 1.0), options)).findings[0].text.startswith("connection refused"):
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            server.terminate()
    assert health.health.value == "unknown"
    assert "TLS" in health.findings[0].text
