# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads one Redis data file in place: RESP framing of an append-only file, checksum and structure of an RDB.

Bounded in memory and time, never writes. An append-only file has no checksum, so framing is all it can prove.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
import subprocess
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.crc64 import Crc64
from ansible_collections.somabrain.incident_response.plugins.module_utils._redis.files.names import is_rdb

CHUNK = 1024 * 1024
# Where the server comes from that will load the files; its tools know what it can load.
PREFERRED: list[str] = []
SMALL = 64 * 1024
RDB_EOF_BYTES = 9  # the opcode and eight bytes of checksum
# The start of a command: the number of its words, the first of them a name.
NEXT_COMMAND = re.compile(rb"\*[1-9]\d{0,6}\r\n\$[1-9]\d{0,2}\r\n[A-Za-z.|_-]+\r\n")
_KEYS = re.compile(rb"\[info\] (\d+) keys read")


class OutOfTime(Exception):
    """The deadline passed before the file was judged."""


@dataclass(frozen=True)
class Scan:
    """How far a file is good. ``problem`` is "", ``cut`` (it only ends too early) or ``bad``; offsets are bytes from its start."""

    good_to: int
    commands: int
    problem: str = ""
    failed_at: int = 0
    detail: str = ""


class _Cut(Exception):
    pass


class _Bad(Exception):
    pass


def scan_resp(file: t.BinaryIO, size: int, end: float, start: int = 0, most: t.Optional[int] = None) -> Scan:
    """Follow the commands of an append-only file from *start*; stop after *most* of them. *end* is a monotonic time. Raises OutOfTime."""
    position = good = start
    commands, open_transaction = 0, False
    walk = _walked(file, size, end, start)
    try:
        while most is None or commands < most:
            at, length, name, dummy = next(walk)
            position = at + length
            commands += 1
            open_transaction = name == b"multi" or (open_transaction and name != b"exec")
            if not open_transaction:
                good = position
    except StopIteration:
        pass
    except _Cut:
        return Scan(good, commands, "cut", position, "ends in the middle of a command")
    except _Bad as error:
        return Scan(good, commands, "bad", position, str(error))
    if open_transaction and most is None:
        return Scan(good, commands, "cut", position, "ends inside a transaction")
    return Scan(good, commands, "", position)


def commands_of(file: t.BinaryIO, size: int, end: float, start: int = 0) -> t.Iterator[tuple[int, int, bytes, t.Optional[float]]]:
    """Yield (offset, length in bytes, lower-case name, time of a timestamp note) of each whole command from *start* to the first bad one.

    The name of a timestamp note is ``#``. *end* is a monotonic time. Raises OutOfTime.
    """
    try:
        yield from _walked(file, size, end, start)
    except (_Cut, _Bad):
        return


def _walked(file: t.BinaryIO, size: int, end: float, start: int) -> t.Iterator[tuple[int, int, bytes, t.Optional[float]]]:
    position = start
    file.seek(position)
    for count in itertools.count():
        if position >= size:
            return
        if count % 4096 == 0 and time.monotonic() > end:
            raise OutOfTime
        name, length, note = _command(file, size - position)
        yield position, length, name, note
        position += length


def _command(file: t.BinaryIO, left: int) -> tuple[bytes, int, t.Optional[float]]:
    """Read one command (or timestamp note); return its lower-case name when short, its length in bytes, the note's time."""
    line = file.readline(SMALL)
    if line[:1] == b"#" and line.endswith(b"\n"):
        note = line[4:-2] if line[:4] == b"#TS:" else b""
        return b"#", len(line), float(note) if note.isdigit() and len(note) < 14 else None
    count = _number(line, b"*", left)
    length, name = len(line), b""
    if count < 1:
        raise _Bad("a command without arguments")
    for index in range(count):
        head = file.readline(SMALL)
        wanted = _number(head, b"$", left - length)
        length += len(head) + wanted + 2
        if length > left:
            raise _Cut
        if wanted > SMALL:
            file.seek(wanted, os.SEEK_CUR)
            word = file.read(2)
        else:
            word = file.read(wanted + 2)
        if word[-2:] != b"\r\n":
            raise _Bad("an argument does not end where its length says")
        if index == 0:
            name = word[:-2].lower()
    if not name or name.translate(None, b"abcdefghijklmnopqrstuvwxyz0123456789._-|"):
        raise _Bad("an invalid command name")
    return name, length, None


def _number(line: bytes, mark: bytes, left: int) -> int:
    if not line.endswith(b"\r\n"):
        # Only the end of the file may cut a line.
        if len(line) >= left and (not line or line[:1] == mark) and line[1:].rstrip(b"\r").isdigit() | (len(line) < 2):
            raise _Cut
        raise _Bad("a length is missing")
    if line[:1] != mark or not line[1:-2].isdigit() or len(line) > 14:
        raise _Bad("a length is not a number" if line[:1] == mark else "found %r instead of %r" % (line[:1], mark))
    return int(line[1:-2])


def goes_on_after(file: t.BinaryIO, size: int, failed_at: int, end: float) -> bool:
    """Return whether good commands follow the one at *failed_at*: then the damage is in the middle and not a cut tail.

    Without this, a damaged length that swallows the rest of the file looks like a cut. Values that contain RESP
    count as damage, which is the safe side.
    """
    position = failed_at + 1
    while position < size:
        if time.monotonic() > end:
            raise OutOfTime
        file.seek(position)
        chunk = file.read(CHUNK)
        for match in NEXT_COMMAND.finditer(chunk):
            if scan_resp(file, size, end, position + match.start(), most=1).problem == "":
                return True
        # The overlap keeps the head of a command that spans two chunks.
        position += len(chunk) if len(chunk) < CHUNK else CHUNK - 256
    return False


def tool(name: str) -> str:
    """Return the path of one of Redis' own tools (*name* without its prefix, such as check-rdb), "" if none is installed."""
    return next(tools(name), "")


def tools(name: str) -> t.Iterator[str]:
    """Yield the paths of a tool by the names that Redis and Valkey give it."""
    folders = ":".join([*PREFERRED, os.environ.get("PATH", ""), "/usr/bin:/usr/local/bin:/opt/redis/bin:/opt/valkey/bin"])
    for prefix in ("redis-", "valkey-"):
        found = shutil.which(prefix + name, path=folders)
        if found:
            yield found


def run_tool(argv: t.Sequence[str], descriptor: int, end: float) -> tuple[int, bytes]:
    """Run a checker on an open file; return its exit code and the end of its output. Raises OutOfTime.

    The file is passed by descriptor, so that the checker reads what we opened, whatever happens to its name.
    """
    path = "/dev/fd/%d" % descriptor
    try:
        done = subprocess.run(
            [*argv, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=max(0.1, end - time.monotonic()),
            pass_fds=(descriptor,),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OutOfTime from None
    except OSError:
        return 127, b""
    return done.returncode, done.stdout[-SMALL:]


def scan_rdb(file: t.BinaryIO, size: int, end: float) -> dict[str, t.Any]:
    """Return {verdict, proof, detail, keys} of one RDB. Proof is redis-check-rdb, checksum, or framing. Raises OutOfTime."""
    file.seek(0)
    head = file.read(9)
    if size == 0:
        return _rdb("damaged", "framing", "zero bytes")
    if not is_rdb(head):
        return _rdb("damaged", "framing", "does not start with an RDB header")
    seen: list[dict[str, t.Any]] = []
    for checker in tools("check-rdb"):
        code, output = run_tool([checker], file.fileno(), end)
        # A tool that does not know the format says nothing about the file.
        if code != 127 and b"[offset" in output and not (head[:6] == b"VALKEY" and b"Wrong signature" in output):
            seen.append(_by_checker(code, output))
            if seen[-1]["verdict"] != "unjudged":
                return seen[-1]
    found = _by_checksum(file, size, end)
    if found["verdict"] == "valid" and tool("check-rdb"):
        # It is sound, and every tool here, so the server beside it, is too old or another one.
        text = "written by another or newer server (format %s) than the one installed here, which cannot load it; it is not damaged"
        return dict(found, verdict="newer", detail=text % head.decode("ascii", "replace"))
    return seen[0] if seen else found


def _by_checker(code: int, output: bytes) -> dict[str, t.Any]:
    keys = _KEYS.search(output)
    if code == 0 and keys:
        return _rdb("valid", "redis-check-rdb", "", int(keys.group(1)))
    if b"Can't handle RDB format version" in output:
        return _rdb("unjudged", "redis-check-rdb", "written by a newer Redis than this redis-check-rdb")
    why = re.search(rb"\[offset \d+\] (?!Checking)(?!AUX)[^\n]{1,120}(?=\n\[additional|\n\[info|\Z)", output)
    return _rdb("damaged", "redis-check-rdb", why.group(0).decode("utf-8", "replace") if why else "redis-check-rdb exited with %d" % code)


def _by_checksum(file: t.BinaryIO, size: int, end: float) -> dict[str, t.Any]:
    file.seek(max(0, size - RDB_EOF_BYTES))
    tail = file.read(RDB_EOF_BYTES)
    if tail[:1] != b"\xff" or size < 9 + RDB_EOF_BYTES:
        return _rdb("damaged", "framing", "has no end marker")
    stored = int.from_bytes(tail[1:], "little")
    if not stored:
        return _rdb("unjudged", "framing", "was written without a checksum and redis-check-rdb is not installed")
    file.seek(0)
    if crc64_of(file, size - 8, end) != stored:
        return _rdb("damaged", "checksum", "checksum does not match")
    return _rdb("valid", "checksum", "")


def _rdb(verdict: str, proof: str, detail: str, keys: t.Optional[int] = None) -> dict[str, t.Any]:
    return {"verdict": verdict, "proof": proof, "detail": detail, "keys": keys}


def chunks(file: t.BinaryIO, start: int, stop: int) -> t.Iterator[bytes]:
    """Yield the bytes of *file* from *start* to *stop*, as far as it has them."""
    file.seek(start)
    while start < stop:
        chunk = file.read(min(CHUNK, stop - start))
        if not chunk:
            return
        yield chunk
        start += len(chunk)


def crc64_of(file: t.BinaryIO, count: int, end: float) -> int:
    """Return the checksum of the next *count* bytes of *file*. *end* is a monotonic time. Raises OutOfTime."""
    crc = Crc64()
    while count > 0:
        if time.monotonic() > end:
            raise OutOfTime
        chunk = file.read(min(CHUNK, count))
        if not chunk:
            break
        count -= len(chunk)
        crc.add(chunk)
    return crc.value()


def sha256_of(file: t.BinaryIO, end: float) -> str:
    """Return the sha256 of all of *file*. *end* is a monotonic time. Raises OutOfTime."""
    file.seek(0)
    digest = hashlib.sha256()
    for chunk in iter(lambda: file.read(CHUNK), b""):
        if time.monotonic() > end:
            raise OutOfTime
        digest.update(chunk)
    return digest.hexdigest()
