# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx wrote into its error logs about requests that a server did not answer: open-source nginx counts them nowhere else.

The servers do not count them either, and the client gets a 502 or 504, or another server's answer. A log of a level above ``error`` has
none of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

Mark = t.Dict[str, t.Any]
# At most so many bytes of each log are read for one sample.
MOST = 16 << 20
# One attempt that failed, with the server that it was for; a pool without any live server has its own name there.
_FAILED = re.compile(rb' \[(?:error|crit|alert)\] \d+#\d+: \*\d+ .*? upstream: "[a-z]+://(unix:[^:"]+|[^/"]+)')


def marks_of(paths: t.Iterable[str]) -> list[Mark]:
    """Return where each log ends now, as {path, inode, size}; a log that cannot be read is left out."""
    found = []
    for path in dict.fromkeys(paths):
        with contextlib.suppress(OSError):
            there = os.stat(path)
            found.append({"path": path, "inode": there.st_ino, "size": there.st_size})
    return found


def failed_since(marks: t.Iterable[Mark]) -> dict[str, int]:
    """Return how many attempts failed since *marks*, by the address that nginx tried; a log that was rotated goes on in its new file."""
    found: dict[str, int] = {}
    for mark in marks:
        for path, start in _parts(mark):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                file.seek(start)
                for address in _FAILED.findall(file.read(MOST)):
                    name = address.decode("utf-8", "replace")
                    found[name] = found.get(name, 0) + 1
    return found


def _parts(mark: Mark) -> list[tuple[str, int]]:
    """Return the files that hold what was added to a log, each with where that begins."""
    with contextlib.suppress(OSError, KeyError):
        there = os.stat(mark["path"])
        if there.st_ino == mark["inode"]:
            # One that was emptied in place begins again.
            return [(mark["path"], mark["size"] if there.st_size >= mark["size"] else 0)]
    return [*((path, mark["size"]) for path in _rotated(mark)), (mark["path"], 0)]


def _rotated(mark: Mark) -> list[str]:
    for path in (mark["path"] + ".1", mark["path"] + ".old"):
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == mark["inode"]:
                return [path]
    return []


def of_server(failed: t.Mapping[str, int], address: str) -> int:
    """Return those of the server line with *address*, by its port where it is a name."""
    if address in failed or address.startswith("unix:"):
        return failed.get(address, 0)
    host, _colon, port = address.rpartition(":")
    if not host or not port.isdigit():
        host, port = address, "80"
    if re.fullmatch(r"[0-9.]+|\[.*\]", host):
        return failed.get("%s:%s" % (host, port), 0)
    return sum(number for at, number in failed.items() if at.rpartition(":")[2] == port)
