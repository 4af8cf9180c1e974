# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams rows out of one PostgreSQL and into another through psql, without keeping them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.psql import SqlError, Where, message_of, session_of
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.program import end_all, started

BYTES_AT_A_TIME = 256 * 1024
# One text for one value, whatever format each server is configured to use.
SAME_TEXT = "SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex';\n"
SAME_TEXT += "SET lc_monetary = 'C'; SET timezone = 'UTC';\n"


class _Words:
    """The last output of a process, read in a thread so that the process never blocks on us."""

    def __init__(self, stream: t.IO[bytes]) -> None:
        self._kept = b""
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: t.IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for chunk in iter(lambda: os.read(stream.fileno(), 65536), b""):
                self._kept = (self._kept + chunk)[-65536:]

    def text(self) -> str:
        self._thread.join(2)
        return self._kept.decode("utf-8", "backslashreplace")


def _timer(process: subprocess.Popen[bytes], end: float) -> threading.Timer:
    timer = threading.Timer(max(0.05, end - time.monotonic()), end_all, (process,))
    timer.daemon = True
    timer.start()
    return timer


@contextlib.contextmanager
def copied_out(where: Where, query: str, end: float) -> t.Iterator[t.Iterator[bytes]]:
    """Yield the lines, in the text form of COPY, of *query* in a read-only session until the monotonic *end*. Raises SqlError."""
    words, settings = session_of(where, max(0.1, end - time.monotonic()), writes=False)
    script = SAME_TEXT + "COPY (%s) TO STDOUT;\n" % query.strip().rstrip(";")
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(_opened([*words, "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"], settings))
        stack.callback(_closed, process)
        told = _Words(t.cast("t.IO[bytes]", process.stderr))
        timer = _timer(process, end)
        stack.callback(timer.cancel)
        _written(process, script.encode("utf-8", "surrogateescape"))
        t.cast("t.IO[bytes]", process.stdin).close()
        yield iter(t.cast("t.IO[bytes]", process.stdout))
        _judge_end(process, told, end)


class Session:
    """One psql session that gets statements and the rows of a COPY piece by piece. Its answers are read at the end."""

    def __init__(self, process: subprocess.Popen[bytes], told: _Words, out: _Words, end: float) -> None:
        self._process, self._told, self._out, self._end = process, told, out, end

    def say(self, sql: str) -> None:
        """Send statements or commands of psql. Raises SqlError where the session is over."""
        self.rows([sql.encode("utf-8", "surrogateescape") + b"\n"])

    def rows(self, lines: t.Iterable[bytes]) -> None:
        """Send lines as they are. Raises SqlError where the session is over."""
        held: list[bytes] = []
        size = 0
        for line in lines:
            held.append(line)
            size += len(line)
            if size >= BYTES_AT_A_TIME:
                self._send(b"".join(held))
                held, size = [], 0
        self._send(b"".join(held))

    def _send(self, data: bytes) -> None:
        try:
            _written(self._process, data)
        except OSError:
            raise SqlError("", message_of(self._told.text()) or "the session ended early") from None

    def finish(self) -> list[str]:
        """End the session; return the lines of its answers. Raises SqlError for any error on the way: then nothing was committed."""
        with contextlib.suppress(OSError):
            t.cast("t.IO[bytes]", self._process.stdin).close()
        _judge_end(self._process, self._told, self._end)
        return self._out.text().splitlines()


@contextlib.contextmanager
def session(where: Where, end: float) -> t.Iterator[Session]:
    """Yield a writing session that stops at its first error and ends at the monotonic *end*. Raises SqlError."""
    words, settings = session_of(where, max(0.1, end - time.monotonic()), writes=True)
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(_opened([*words, "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"], settings))
        stack.callback(_closed, process)
        told, out = (_Words(t.cast("t.IO[bytes]", stream)) for stream in (process.stderr, process.stdout))
        timer = _timer(process, end)
        stack.callback(timer.cancel)
        yield Session(process, told, out, end)


def _opened(words: t.Sequence[str], settings: t.Mapping[str, t.Any]) -> t.ContextManager[subprocess.Popen[bytes]]:
    try:
        return started(words, stdin=subprocess.PIPE, **settings)
    except (OSError, KeyError, subprocess.SubprocessError) as error:
        raise SqlError("", "psql cannot be run: %s" % error) from None


def _written(process: subprocess.Popen[bytes], data: bytes) -> None:
    stream = t.cast("t.IO[bytes]", process.stdin)
    stream.write(data)
    stream.flush()


def _closed(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        end_all(process)
    for stream in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):
            t.cast("t.IO[bytes]", stream).close()


def _judge_end(process: subprocess.Popen[bytes], told: _Words, end: float) -> None:
    try:
        process.wait(max(0.5, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise SqlError("57014", "no answer in time") from None
    if process.returncode:
        late = time.monotonic() >= end
        text = message_of(_error_in(told.text()))
        raise SqlError("57014" if late else _sqlstate(told.text()), "no answer in time" if late else text or "psql ended early")


def _error_in(text: str) -> str:
    lines = [line for line in text.splitlines() if "ERROR:" in line or "FATAL:" in line]
    return (lines or text.splitlines() or [""])[0]


def _sqlstate(text: str) -> str:
    word = _error_in(text).partition("ERROR:")[2].strip()[:5]
    return word if word.isalnum() and len(word) == 5 else ""
