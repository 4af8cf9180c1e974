# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that hold one secret: read by this one function, and only while no one else can read them. Never raises."""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

BYTES = 65536
# Options of checks and steps whose value is the path of such a file.
OPTIONS = ("password_file", "token_file")


def load_secret(path: str) -> tuple[bytes, str]:
    """Return (what the file holds, problem): a file that is missing, unreadable or open to others gives nothing but the problem."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            problem = _judge(path, found.st_mode)
            return (b"", problem) if problem else (file.read(BYTES), "")
    except (OSError, ValueError) as error:
        return b"", _why(error)


def problem_of(path: str) -> str:
    """Return why a secret file cannot be used, "" where it can."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        return _why(error)
    unreadable = "" if os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids) else "the file cannot be read"
    return _judge(path, found.st_mode) or unreadable


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    return "the file cannot be read (%s)" % one_line(getattr(error, "strerror", None) or "not a path", 80)


def _judge(path: str, mode: int) -> str:
    """Return what is wrong with the mode of a secret file: pipes and terminals are no files that others find later."""
    if stat.S_ISDIR(mode):
        return "it is a directory"
    if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
        return "it has mode %04o, so others can read it: chmod 600 %s" % (stat.S_IMODE(mode), one_line(path, 200))
    return ""


def problems_in(options: t.Any) -> list[str]:
    """Return a sentence for each secret file that *options* name, at any depth, and that cannot be used."""
    judged = [(name, path, problem_of(path)) for name, path in _named_in(options)]
    return ["%s %s: %s" % (name, one_line(path, 200), problem) for name, path, problem in judged if problem]


def _named_in(options: t.Any) -> t.Iterator[tuple[str, str]]:
    if isinstance(options, t.Mapping):
        for name, value in options.items():
            if str(name).endswith(OPTIONS) and isinstance(value, str) and value:
                yield str(name), value
            else:
                yield from _named_in(value)
    elif isinstance(options, (list, tuple)):
        for one in options:
            yield from _named_in(one)
