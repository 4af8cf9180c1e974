# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL's own log says of its last start and of its configuration. Reads text, judges nothing."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line, redact
from ansible_collections.somabrain.incident_response.plugins.module_utils._postgresql.english import in_english
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.log import last_of_each, since_last
from ansible_collections.somabrain.incident_response.plugins.module_utils._system.written import SLACK, since_time

STARTED, READY = "LOG:  starting PostgreSQL", "database system is ready to accept"
SHUT = "database system is shut down"
# Kind -> what PostgreSQL writes in English; ``english`` translates other languages back.
LINES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("no_wal", re.compile(r"could not locate a valid checkpoint record|could not locate required checkpoint record")),
    ("no_wal", re.compile(r"could not find redo location|WAL ends before|requested WAL segment \S+ has already been removed")),
    ("no_wal", re.compile(r"invalid (?:primary )?checkpoint (?:record|link)")),
    ("bad_control", re.compile(r"incorrect checksum in control file|database files are incompatible")),
    ("bad_control", re.compile(r"could not (?:open|read) file .global/pg_control")),
    ("no_space", re.compile(r"No space left on device|Disk quota exceeded")),
    ("limit", re.compile(r"Too many open files|Read-only file system|File too large")),
    ("permission", re.compile(r"has (?:invalid permissions|wrong ownership)|Permission denied")),
    ("configuration", re.compile(r"could not load \S*pg_hba.conf|configuration file .* contains errors|invalid value for parameter")),
    ("configuration", re.compile(r"unrecognized configuration parameter|syntax error in file|invalid authentication method")),
    ("port_in_use", re.compile(r"Address already in use|could not create any TCP/IP sockets|could not bind |is already in use")),
    ("still_in_use", re.compile(r"pre-existing shared memory block|lock file .* (?:already exists|is empty)|Is another postmaster")),
    ("no_memory", re.compile(r"could not map anonymous shared memory|Cannot allocate memory")),
    ("library", re.compile(r"FATAL:.*could not (?:access file|load library)")),
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
# A file with settings that it may not read, or that is not there.
_UNREAD = re.compile(r'could not open (?:configuration file|configuration directory|file) "(?P<file>[^"]+\.conf[^"]*)": .*')
LAST_LINES = 8
# Only a start ends so.
_EARLY = re.compile(
    r"^.*FATAL:  (?:could not (?:access file|load library)|configuration file .* contains errors|lock file |could not load .*pg_hba"
    r"|could not (?:create any|create lock file|map anonymous|open log file|load server certificate)|data directory |pre-existing shared"
    r"|private key file |could not locate ).*$", re.M
)  # fmt: skip
_FATAL = re.compile(r"\b(?:FATAL|PANIC):  ")
_CLIENTS = re.compile(
    r"authentication|pg_hba.conf entry|(?:database|role) .* does not exist|too many (?:clients|connections)|connection slots|terminating "
    r"|the database system is |connection to client|canceling |unsupported frontend|permission denied for|startup packet"
)
_REDO = re.compile(r"redo in progress, elapsed time: (?P<seconds>[0-9.]+) s, current LSN: (?P<lsn>[0-9A-F]+/[0-9A-F]+)")


def read_log(text: str) -> dict[str, t.Any]:
    """Return {lines: {kind: last line}, fatal, started, ready, redo: [[seconds, lsn]], fault} of what the last start wrote.

    ``fatal`` is the line with which a start failed, "" for none. ``fault`` is the first fault of the configuration that a failed start
    reported, in the form of ``config_fault``.
    """
    last = _last_attempt(text)
    told = [line for line in last.splitlines() if not _is_quoted(line)]
    lines = last_of_each(told, LINES)
    redo = [[float(found.group("seconds")), found.group("lsn")] for found in _REDO.finditer(last)]
    fault = config_fault(last, lambda path: []) if "configuration" in lines else {}
    ready = READY in last
    fatal = "" if ready else _fatal(told)
    return {"lines": lines, "fatal": fatal, "started": STARTED in text, "ready": ready, "redo": redo[-2:], "fault": fault}


def last_of(texts: t.Sequence[t.Tuple[float, str]], said: str, began: t.Optional[float], locale: str) -> dict[str, t.Any]:
    """Return what ``read_log`` finds of the last start in all places, with {text_there, at, written_at}: when it was, at the latest. Pure.

    *texts* are (time of writing, end) of log files; *said* is what the manager kept of its output. *began* is when its manager last
    started it, None for unknown: what is older is about another start.
    """
    current = [one for one in texts if began is None or one[0] >= began - SLACK]
    found = [(at, read_log(in_english(_since(text, began), locale))) for at, text in sorted(current, key=lambda one: -one[0])]
    if said:
        found.append((began or 0.0, read_log(in_english(said, locale))))
    at, one = _chosen([(at, one) for at, one in found if one["started"] or one["fatal"] or one["lines"]], began)
    return dict(one, text_there=bool(texts or said), at=_ended_at(began, at), written_at=at)


def _chosen(places: t.Sequence[t.Tuple[float, dict[str, t.Any]]], began: t.Optional[float]) -> t.Tuple[float, dict[str, t.Any]]:
    """Return (time, what was read) of the last start. *places*: what each says, the file written last first.

    Before its log files are open, and where they cannot be opened, a server writes why to its output.
    """
    failed = next((one for one in places if one[1]["fatal"]), None)
    if failed and (began is not None or not places[0][1]["ready"]):
        return failed
    return places[0] if places else (0.0, read_log(""))


def _ended_at(began: t.Optional[float], written_at: float) -> float:
    """Return when the attempt was, at the latest: some managers know whole seconds only."""
    if not began:
        return written_at
    return min(began + SLACK, written_at) if written_at else began + SLACK


def _since(text: str, began: t.Optional[float]) -> str:
    timed = since_time(text, began) if began else None
    return text if timed is None else timed


def _last_attempt(text: str) -> str:
    """Return what the last start wrote. A start that fails early says neither that it starts nor that it is ready, only that it is over."""
    ended = text.rstrip().rpartition("\n")[2].find(SHUT) >= 0
    before = text.rstrip().rpartition("\n")[0] if ended else text
    own = text[before.rfind(SHUT) :].partition("\n")[2] if SHUT in before else text
    last = since_last(own, STARTED)
    # After a crash nothing says that the run before is over.
    after = last[last.rfind(READY) :].partition("\n")[2] if READY in last else ""
    early = [found.start() for found in _EARLY.finditer(after)]
    return after[early[0] :] if early else last


def _fatal(lines: t.Sequence[str]) -> str:
    """Return the last line that ended a start, among the last lines; a message to a client is none."""
    found = [line for line in lines[-LAST_LINES:] if _FATAL.search(line) and not _CLIENTS.search(line)]
    return one_line(redact(found[-1][:400]), 200) if found else ""


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
    unread = _UNREAD.search(text)
    if unread:
        return _fault(unread.group("file"), 0, unread.group())
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
