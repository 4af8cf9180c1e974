# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL's own log says of its last start and of its configuration. Reads text, judges nothing."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import last_of_each, since_last

STARTED, READY = "LOG:  starting PostgreSQL", "database system is ready to accept"
# Kind -> what PostgreSQL writes with English or C lc_messages; with others only the remaining checks see the cause.
LINES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("no_wal", re.compile(r"could not locate a valid checkpoint record|could not locate required checkpoint record")),
    ("no_wal", re.compile(r"could not find redo location|WAL ends before|requested WAL segment \S+ has already been removed")),
    ("no_wal", re.compile(r"invalid (?:primary )?checkpoint (?:record|link)")),
    ("bad_control", re.compile(r"incorrect checksum in control file|database files are incompatible")),
    ("bad_control", re.compile(r"could not (?:open|read) file .global/pg_control")),
    ("no_space", re.compile(r"No space left on device")),
    ("permission", re.compile(r"has (?:invalid permissions|wrong ownership)|Permission denied")),
    ("configuration", re.compile(r"could not load \S*pg_hba.conf|configuration file .* contains errors|invalid value for parameter")),
    ("configuration", re.compile(r"unrecognized configuration parameter|syntax error in file|invalid authentication method")),
    ("port_in_use", re.compile(r"Address already in use|could not create any TCP/IP sockets|is already in use")),
    ("still_in_use", re.compile(r"pre-existing shared memory block|lock file .* already exists|Is another postmaster")),
    ("no_memory", re.compile(r"could not map anonymous shared memory|Cannot allocate memory")),
    ("library", re.compile(r"could not (?:access file|load library)")),
    ("corrupt", re.compile(r"invalid page in block|page verification failed|could not read block|missing chunk number")),
    ("panic", re.compile(r"\bPANIC:")),
    ("archive", re.compile(r"archive command (?:failed|was terminated)|archiving write-ahead log file .* failed")),
)
# PostgreSQL reports an HBA line as "line N of configuration file", a setting as "in file ... line N".
_PLACES = (
    re.compile(r'line (?P<line>\d+) of configuration file "(?P<file>[^"]+)"'),
    re.compile(r'in file "(?P<file>[^"]+)" line (?P<line>\d+)'),
    re.compile(r'file "(?P<file>[^"]+)",? line (?P<line>\d+)'),
)
_PARAMETER = re.compile(r'(?:parameter|setting for) "(?P<name>[A-Za-z_.]+)"|for parameter "(?P<other>[A-Za-z_.]+)"')
_CONFIG_FILE = re.compile(r'configuration file "(?P<file>[^"]+)" contains errors')
_REDO = re.compile(r"redo in progress, elapsed time: (?P<seconds>[0-9.]+) s, current LSN: (?P<lsn>[0-9A-F]+/[0-9A-F]+)")


def read_log(text: str) -> dict[str, t.Any]:
    """Return {lines: {kind: last line}, started, ready, redo: [[seconds, lsn]], fault} of what was written since the last start.

    ``fault`` is the first fault of the configuration that a failed start reported, in the form of ``config_fault``.
    """
    last = since_last(text, STARTED)
    lines = last_of_each((line for line in last.splitlines() if not _is_quoted(line)), LINES)
    redo = [[float(found.group("seconds")), found.group("lsn")] for found in _REDO.finditer(last)]
    fault = config_fault(last, lambda path: []) if "configuration" in lines else {}
    return {"lines": lines, "started": STARTED in text, "ready": READY in last, "redo": redo[-2:], "fault": fault}


def _is_quoted(line: str) -> bool:
    """Return whether a line holds what a client sent."""
    return line.startswith("\t") or "STATEMENT:" in line


def config_fault(text: str, lines_of: t.Callable[[str], t.Sequence[str]]) -> dict[str, t.Any]:
    """Return {file, line, text} of the first fault of configuration in *text*, {} for none. *lines_of* reads a file."""
    for line in text.splitlines():
        place = next((found for found in (pattern.search(line) for pattern in _PLACES) if found), None)
        if place:
            return _fault(place.group("file"), int(place.group("line")), line)
    for line in text.splitlines():
        named, whole = _PARAMETER.search(line), _CONFIG_FILE.search(text)
        if named and whole:
            name = named.group("name") or named.group("other")
            return _fault(whole.group("file"), _line_of(name, lines_of(whole.group("file"))), line)
    found = _CONFIG_FILE.search(text)
    return _fault(found.group("file"), 0, found.group()) if found else {}


def _fault(file: str, line: int, text: str) -> dict[str, t.Any]:
    # The part of a line that PostgreSQL quotes may be a secret (primary_conninfo).
    said = re.sub(r"^.*?(?:LOG|FATAL|ERROR|WARNING|CONTEXT):\s*", "", text)
    return {"file": file, "line": line, "text": one_line(redact(said), 160)}


def _line_of(name: str, lines: t.Sequence[str]) -> int:
    """Return the number of the last line that sets *name*, 0 for none: the last one counts."""
    pattern = re.compile(r"\s*%s\b" % re.escape(name), re.I)
    return max((number for number, line in enumerate(lines, 1) if pattern.match(line)), default=0)
