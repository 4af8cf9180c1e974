# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the end of a log: the newest file, its last lines, and the last line of each kind since the last start. Never raises."""

from __future__ import annotations

import glob
import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact

LOG_BYTES = 256 * 1024
# A kind of line and its pattern; a kind may have several patterns.
Kinds = t.Sequence[t.Tuple[str, t.Pattern[str]]]


def newest(pattern: str) -> str:
    """Return the file that *pattern* matches and that was written last, "" for none."""
    return max(glob.glob(pattern), key=written_at, default="") if pattern else ""


def written_at(path: str) -> float:
    """Return when a file was last written, 0.0 where that cannot be seen."""
    try:
        return os.stat(path).st_mtime
    except (OSError, ValueError):
        return 0.0


def changed_at(path: str) -> float:
    """Return when a file, or what lies at its path, last changed, 0.0 where that cannot be seen. Nobody can set this time back."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return 0.0
    # The time of writing is kept by `cp -p` and `mv`, and any user may set it.
    return max(facts.st_mtime, facts.st_ctime)


def tail_of(path: str, limit: int = LOG_BYTES) -> bytes:
    """Return the last *limit* bytes of a regular file, b"" where it cannot be read."""
    try:
        # Opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return b""
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(max(0, facts.st_size - limit))
            return file.read(limit)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def last_lines(data: bytes, lines: int) -> bytes:
    """Return the last *lines* lines of *data*."""
    return b"".join(data.splitlines(keepends=True)[-lines:]) if lines > 0 else b""


def since_last(text: str, started: str) -> str:
    """Return *text* from the last *started* on; all of it without one."""
    at = text.rfind(started)
    return text[at:] if at >= 0 else text


def last_of_each(lines: t.Iterable[str], kinds: Kinds) -> dict[str, str]:
    """Return the last line of each kind, as one line without secrets."""
    found: dict[str, str] = {}
    for line in lines:
        for kind, pattern in kinds:
            if pattern.search(line):
                found[kind] = one_line(redact(line[:400]), 200)
    return found
