# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a line is, in each format, and the same error as one error whatever differs in it."""

from __future__ import annotations

import collections
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.groups import Groups
from ansible_collections.somabrain.incident_response.plugins.module_utils._logs.lines import WIDE, key_of, kind_of, masked, raised

PSYCOPG = b"psycopg.OperationalError: connection failed"


@pytest.mark.parametrize(
    ("line", "level", "error", "ran_out"),
    [
        (b"2026-12-01 03:04:05,678 - somabrain - ERROR - recall failed", "error", True, ""),
        (b"ERROR:somabrain.api:recall failed", "error", True, ""),
        (b"2026-12-01 03:04:05 INFO no errors: error=0", "info", False, ""),
        (b"2026-12-01 03:04:05 WARNING worker: caught an Exception", "warning", True, ""),
        (b"[2026-12-01 03:04:05 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)", "critical", True, ""),
        (b'{"level":"error","ts":1796094245,"msg":"x"}', "error", True, ""),
        (b'{"severity": "CRITICAL", "message": "x"}', "critical", True, ""),
        (b'{"level":50,"msg":"x"}', "error", True, ""),
        (b'{"level":30,"msg":"an error page was shown"}', "", True, ""),
        (b'{"level":"info","error":null}', "info", False, ""),
        (b"level=error ts=2026-12-01T03:04:05Z msg=x", "error", True, ""),
        (b'level=warn msg="retrying" err="timeout"', "warning", False, ""),
        (b"2026-12-01 03:04:05.678 UTC [12] FATAL:  sorry, too many clients already", "fatal", True, "connections"),
        (b'2026-12-01 03:04:05 UTC [12] ERROR:  relation "x" does not exist', "error", True, ""),
        (b"2026-12-01 03:04:05 UTC [12] LOG:  could not receive data: error", "info", False, ""),
        (b"2026-12-01 03:04:05 UTC [12] PANIC:  could not write to file: No space left on device", "panic", True, "disk"),
        (b"7:M 01 Dec 2026 03:04:05.678 # Can't save in background: fork: Cannot allocate memory", "warning", False, "memory"),
        (b"7:M 01 Dec 2026 03:04:05.678 # Error accepting a client connection: Too many open files", "warning", False, "files"),
        (b"7:M 01 Dec 2026 03:04:05.678 * DB saved on disk", "info", False, ""),
        (b"2026/12/01 03:04:05 [error] 7#7: *1 connect() failed", "error", True, ""),
        (b"2026/12/01 03:04:05 [alert] 7#7: accept4() failed (24: Too many open files)", "critical", True, "files"),
        (b"Dec  1 03:04:05 host kernel: Out of memory: Killed process 4711 (python)", "", False, "memory"),
        (b"Dec  1 03:04:05 host kernel: watchdog: BUG: soft lockup - CPU#1 stuck for 22s!", "", False, "cpu"),
        (b"redis.exceptions.ConnectionError: Error 111 connecting", "exception", True, ""),
        (b"sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached", "exception", True, "connections"),
        (b"KeyboardInterrupt", "exception", True, ""),
        (b"Traceback (most recent call last):", "exception", True, ""),
        (b"GET /errors 200", "", False, ""),
        (b"OSError: [Errno 24] Too many open files", "exception", True, "files"),
    ],
)
def test_what_a_line_is(line: bytes, level: str, error: bool, ran_out: str) -> None:
    assert kind_of(key_of(line)) == (level, error, ran_out)
    # Lines without one of the words are never looked at, so that whatever counts has one.
    assert not (error or ran_out) or any(word in line for word in WIDE)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"2026-12-01 03:04:05,678 - ERROR - tenant 17: timeout after 3000 ms", b"<time> - ERROR - tenant <n>: timeout after <n> ms"),
        (b"2026-12-01T03:04:05.678+01:00 ERROR x", b"<time> ERROR x"),
        (b"Dec  1 03:04:05 host api[77]: ERROR x", b"<time> host api[<n>]: ERROR x"),
        (b"7:M 01 Dec 2026 03:04:05.678 # Error x", b"<n>:M <time> # Error x"),
        (b"[01/Dec/2026:03:04:05 +0000] ERROR", b"[<time>] ERROR"),
        (b"ERROR 10.1.2.3:5432 refused", b"ERROR <address> refused"),
        (b"ERROR fe80::1ff:fe23:4567:890a refused", b"ERROR <address> refused"),
        (b"ERROR mail to ops-team@example.com failed", b"ERROR mail to <address> failed"),
        (b"ERROR id 550e8400-e29b-41d4-a716-446655440000", b"ERROR id <id>"),
        (b"ERROR request 9f86d081884c7d65 at 0x7ffd3c1a", b"ERROR request <id> at <id>"),
        (b"ERROR deadbeef facade", b"ERROR deadbeef facade"),
        (b'ERROR:  relation "users" does not exist', b"ERROR: relation <value> does not exist"),
        (b"ERROR can't open 'a b.txt'", b"ERROR can't open <value>"),
        (b"ERROR /var/lib/x/17/data.42", b"ERROR /var/lib/x/<n>/data.<n>"),
        (b"ERROR -5 +3.25 1,024", b"ERROR <n> <n> <n>"),
        (b'{"level":"error","ts":1.5,"msg":"tenant 7 \\"x\\" is gone","trace":"abc"}', b"error tenant <n> <value> is gone"),
        (b'level=error ts=2026-12-01T03:04:05Z msg="tenant 7" err="timeout 3s"', b"error tenant <n> timeout <n>s"),
    ],
)
def test_what_differs_each_time_is_masked(line: bytes, wanted: bytes) -> None:
    assert masked(line) == wanted


@given(st.one_of(st.binary(max_size=400), st.text(alphabet="0a'\"`:.-@ {}", max_size=300).map(str.encode)))
def test_no_line_breaks_it(line: bytes) -> None:
    one = line.replace(b"\n", b" ")
    kind = kind_of(key_of(one))
    assert kind.level == kind.level.lower()
    assert b"\n" not in masked(one)
    # Lines of one key have one masked text.
    assert masked(key_of(one)) == masked(one)


@pytest.mark.parametrize(
    "text", [b"0" * 200000, b"'" * 200000, b'"a' * 100000, b"a:" * 100000, b"a@" * 100000, b"0-" * 100000, b"\xff" * 200000]
)
def test_a_hostile_line_takes_no_longer_than_another(text: bytes) -> None:
    assert len(masked(text)) < 5000
    kind_of(key_of(text))


def counted_in(text: bytes, batches: int = 1) -> Groups:
    groups = Groups()
    # As a scan gives them: only lines with one of the words.
    lines = [line for line in text.split(b"\n") if any(word in line for word in WIDE)]
    size = -(-len(lines) // batches) or 1
    for number in range(batches):
        some = lines[number * size : (number + 1) * size]
        if some:
            groups.add(0, number, some, b"\n".join(some))
    groups.close()
    return groups


def rows(groups: Groups) -> dict[bytes, int]:
    return {name: group.count for name, group in groups.groups.items()}


TRACEBACK = b"""Traceback (most recent call last):
  File "/app/x.py", line 17, in recall
    raise ValueError("an error of Exception")
%s"""


@pytest.mark.parametrize("batches", [1, 2, 3, 50])
@pytest.mark.parametrize("prefix", [b"", b"2026-12-01T03:04:05.678000+00:00 host api[77]: "], ids=["bare", "journal"])
def test_a_traceback_is_one_error_named_by_its_exception(batches: int, prefix: bytes) -> None:
    text = (TRACEBACK % PSYCOPG + b"\nINFO ok\n" + TRACEBACK % b"app.NoAnswer: why") + b"\nERROR other"
    lines = b"\n".join(prefix + line for line in text.split(b"\n"))
    start = masked(prefix) + b" " if prefix else b""
    found = rows(counted_in(lines, batches))
    assert found == {
        start + b"psycopg.OperationalError: connection failed": 1, start + TRACEBACK.partition(b"\n")[0]: 1, start + b"ERROR other": 1,
    }  # fmt: skip


def test_the_time_of_docker_is_no_part_of_a_line() -> None:
    groups = Groups()
    text = b"2026-12-01T03:04:05.123456789Z ERROR 1 a\n2026-12-01T03:04:06.123456789Z ERROR 2 a"
    whole = (TRACEBACK % PSYCOPG).split(b"\n")
    lines = [*text.split(b"\n"), *(b"2026-12-01T03:04:07.0Z " + line for line in whole if line[:1] != b" ")]
    assert groups.add(0, 0, lines, b"\n".join(lines), stamped=True) == [*text.split(b"\n"), b"2026-12-01T03:04:07.0Z " + PSYCOPG]
    assert rows(groups) == {b"ERROR <n> a": 2, PSYCOPG: 1}
    assert groups.first[0].line == b"ERROR 1 a"
    assert groups.first[0].before.startswith(b"2026-12-01T03:04:05")


def test_a_chain_of_tracebacks_is_one_error() -> None:
    text = (
        TRACEBACK % b"KeyError: 'x'" + b"\n\nDuring handling of the above exception, another exception occurred:\n\n" + TRACEBACK % PSYCOPG
    )
    assert rows(counted_in(text)) == {PSYCOPG: 1}


def test_a_traceback_at_the_very_end_counts() -> None:
    assert rows(counted_in(b"Traceback (most recent call last):")) == {b"Traceback (most recent call last):": 1}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (PSYCOPG, "psycopg.OperationalError"),
        (b"KeyError: 'x'", "KeyError"),
        (b"SystemExit", "SystemExit"),
        (b"ERROR: x", ""),
        (b"Error in x", ""),
    ],
)
def test_the_name_of_what_was_raised(line: bytes, name: str) -> None:
    assert raised(line) == name


def test_more_errors_than_fit_are_told_of() -> None:
    groups = Groups(groups=10)
    for number in range(100):
        # Letters differ, so that each is another error.
        name = bytes([97 + number // 10, 97 + number % 10])
        lines = [b"ERROR often"] * 5 + [b"ERROR " + name]
        groups.add(0, number, lines, b"\n".join(lines))
    assert groups.groups[b"ERROR often"].count == 500
    kept = sum(group.count for group in groups.groups.values())
    assert (kept + groups.lost, groups.errors, groups.most) == (600, 600, 1)
    assert len(groups.groups) <= 10


@given(
    st.lists(st.sampled_from([b"ERROR a 1", b"ERROR a 2", b"FATAL b", b"INFO an error", b"PSError: x"]), min_size=1, max_size=40),
    st.integers(1, 9),
)
def test_counts_do_not_depend_on_the_batches(lines: list[bytes], batches: int) -> None:
    wanted = collections.Counter(masked(line) for line in lines if kind_of(key_of(line)).error)
    groups = counted_in(b"\n".join(lines), batches)
    assert rows(groups) == dict(wanted)
    first = t.cast("dict[bytes, bytes]", {name: group.first.line for name, group in groups.groups.items()})
    assert first == {masked(line): line for line in reversed(lines) if kind_of(key_of(line)).error}
