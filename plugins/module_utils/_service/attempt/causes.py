# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a line of a failed start means in every technology: error numbers and their words, exceptions, SQLSTATE, systemd's own codes."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.translated import translations_of

# (cause, pattern of a line); the first that matches a line decides about it.
Table = t.Sequence[t.Tuple[str, t.Pattern[str]]]

# Cause by the words of an error number, as the C library has them.
WORDS: t.Mapping[str, str] = {
    "Address already in use": "port_in_use",
    "No space left on device": "no_space",
    "Disk quota exceeded": "no_space",
    "Read-only file system": "read_only",
    "Permission denied": "permission",
    "Operation not permitted": "permission",
    "Too many open files": "too_many_files",
    "Cannot allocate memory": "no_memory",
    "Resource temporarily unavailable": "no_process",
    "Input/output error": "io_error",
    "Cannot assign requested address": "no_address",
    "Exec format error": "not_executable",
    "No such file or directory": "missing",
    "Not a directory": "missing",
    "Connection refused": "dependency",
    "No route to host": "dependency",
    "Name or service not known": "dependency",
}
NUMBERS: t.Mapping[int, str] = {
    1: "permission", 2: "missing", 5: "io_error", 8: "not_executable", 11: "no_process", 12: "no_memory", 13: "permission", 20: "missing",
    24: "too_many_files", 28: "no_space", 30: "read_only", 98: "port_in_use", 99: "no_address", 111: "dependency", 113: "dependency",
    122: "no_space",
}  # fmt: skip
NAMES: t.Mapping[str, str] = {
    "EADDRINUSE": "port_in_use", "ENOSPC": "no_space", "EDQUOT": "no_space", "EROFS": "read_only", "EACCES": "permission",
    "EPERM": "permission", "EMFILE": "too_many_files", "ENFILE": "too_many_files", "ENOMEM": "no_memory", "EAGAIN": "no_process",
    "EIO": "io_error", "EADDRNOTAVAIL": "no_address", "ENOENT": "missing", "ENOEXEC": "not_executable", "ECONNREFUSED": "dependency",
}  # fmt: skip
# SQLSTATE, which PostgreSQL writes whatever the language: as %e in the prefix of a line, in a csvlog and in a jsonlog.
SQLSTATES: t.Mapping[str, str] = {
    "53100": "no_space", "53200": "no_memory", "53000": "no_memory", "42501": "permission", "58P01": "missing", "58030": "io_error",
    "F0000": "configuration", "F0001": "already_running", "42704": "configuration", "22023": "configuration", "42601": "configuration",
    "XX001": "corrupt", "XX002": "corrupt", "55P02": "configuration",
}  # fmt: skip
# The thirteenth field of a csvlog; before it may be a port or a process id of five digits.
_CSV = r'^\d{4}-\d\d-\d\d [^,]*(?:,(?:"(?:[^"]|"")*"|[^,"]*)){11},(?P<c>[0-9A-Z]{5}),'
_SQLSTATE = re.compile(r'"state_code":"(?P<j>[0-9A-Z]{5})"|' + _CSV + r"|\b(?P<p>(?:58P|F00|XX0)[0-9A-Z]{2})\b")
_NUMBER = re.compile(r"(?:\b[Ee]rrno[ =:]*|\bos error |\(code[ =:]|\berror code )(\d{1,3})\b")
_NAME = re.compile(r"\b(%s)\b" % "|".join(NAMES))
# The last line of a traceback of Python; a panic of Go or Rust; an exception of Java, Ruby or Node.
EXCEPTION = re.compile(
    r"^(?:[\w-]+\s*\|\s*)?(?P<name>(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*(?:Error|Exception|Exit|Interrupt)|ImproperlyConfigured))\b"
    r"|^panic: |panicked at |^Exception in thread |^Caused by: |^Uncaught \w+"
)
NOT_FOUND = re.compile(r": (?:command )?not found$|can't find command|Unable to locate executable|no such file to load")
NOT_RUN = re.compile(r"is not executable|can't execute|couldn't exec|unknown error making dispatchers")
SYSTEMD: Table = (
    ("start_limit", re.compile(r"Start request repeated too quickly|start-limit-hit")),
    ("dependency", re.compile(r"Dependency failed for ")),
    ("condition", re.compile(r"was skipped because (?:of an unmet|all trigger) condition|Condition check resulted in ")),
    ("timeout", re.compile(r"[Ss]tart operation timed out|start(?:-pre)? operation timed out")),
    ("oom", re.compile(r"oom-kill|killed by the OOM killer")),
    ("out_of_memory", re.compile(r"MemoryError\b")),
)
# Exit codes that systemd gives when it could not even begin the program.
STEPS: t.Mapping[int, tuple[str, str]] = {
    200: ("missing", "its working directory"), 202: ("resources", "file descriptors"), 203: ("not_executable", "its program"),
    205: ("resources", "a resource limit"), 209: ("resources", "standard output"), 216: ("missing", "its group"),
    217: ("missing", "its user"), 222: ("resources", "standard error"), 226: ("resources", "its namespaces"),
    233: ("resources", "its runtime directory"), 238: ("resources", "its state directory"), 240: ("resources", "its logs directory"),
    243: ("missing", "its credentials"),
}  # fmt: skip


def of_line(line: str, table: Table = ()) -> str:
    """Return the cause that *line* names, "" for none: the technology's own table first, then what holds everywhere."""
    for code, pattern in (*table, *SYSTEMD):
        if pattern.search(line):
            return code
    return _by_errno(line) or _by_sqlstate(line) or _by_program(line)


def _by_errno(line: str) -> str:
    lower = line.lower()
    for words, code in WORDS.items():
        if words.lower() in lower:
            return code
    name, numbered = _NAME.search(line), _NUMBER.search(line)
    if name:
        return NAMES[name.group(1)]
    return NUMBERS.get(int(numbered.group(1)), "") if numbered else ""


def _by_sqlstate(line: str) -> str:
    for found in _SQLSTATE.finditer(line):
        code = SQLSTATES.get(found.group("j") or found.group("c") or found.group("p"))
        if code:
            return code
    return ""


def _by_program(line: str) -> str:
    if NOT_FOUND.search(line):
        return "missing"
    if NOT_RUN.search(line):
        return "not_executable"
    return "exception" if EXCEPTION.search(line) else ""


def translated_of(line: str) -> str:
    """Return the cause whose words *line* has in another language, by the catalogues of this machine; "" for none."""
    for words, code in WORDS.items():
        if any(one in line for one in translations_of("libc", words)):
            return code
    return ""
