# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a log line is: its level, whether it is an error, what ran out, and the error without what differs each time. Pure functions.

``key_of`` is cheap and runs on whole batches; everything else runs once for each different key, so it may be thorough.
"""

from __future__ import annotations

import re
import typing as t

# The runbook's own words: grep -E "(ERROR|FATAL|Exception)".
RAW = (b"ERROR", b"FATAL", b"Exception")
# Words of errors in all formats that we read; a line with none of them is never looked at.
ERRORS = (
    *RAW, b"CRITICAL", b"PANIC", b"EMERG", b"ALERT", b"SEVERE", b"rror", b"fatal", b"panic", b"critical", b"Traceback (most",
    b"During handling of",
    b"direct cause of the following", b"KeyboardInterrupt", b"SystemExit", b"Timeout:", b'"level":50', b'"level":60', b" # ",
)  # fmt: skip
# What ran out, by the words that say so.
EXHAUSTION: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("memory", (b"ut of memory", b"annot allocate memory", b"MemoryError", b"OOM", b"oom-kill", b"oom_reaper", b"Killed process", b"ENOMEM",
                b"used memory >", b"OutOfMemory", b"bad_alloc")),
    ("disk", (b"o space left", b"quota exceeded", b"ead-only file system", b"ENOSPC", b"DiskFull", b"disk full", b"Disk full")),
    ("files", (b"oo many open files", b"EMFILE", b"ENFILE", b"file descriptors")),
    ("connections", (b"oo many clients", b"oo many connections", b"connection slots", b"clients reached", b"QueuePool", b"pool exhausted",
                     b"onnection pool", b"EADDRNOTAVAIL", b"Cannot assign requested address")),
    ("cpu", (b"soft lockup", b"blocked for more than", b"cpu throttl", b"CPU throttl", b"Resource temporarily unavailable", b"fork: retry",
             b"an't start new thread")),
)  # fmt: skip
WIDE = tuple(dict.fromkeys((*ERRORS, *(word for _what, words in EXHAUSTION for word in words))))

BAD = ("error", "critical", "fatal", "panic", "exception")
_SAME = {
    "err": "error", "severe": "error", "eror": "error", "crit": "critical", "alert": "critical", "emerg": "critical",
    "emergency": "critical",
    "warn": "warning", "dbg": "debug", "inf": "info", "information": "info", "log": "info", "notice": "info", "trace": "debug",
    "fine": "debug",
}  # fmt: skip
_KNOWN = frozenset(_SAME) | frozenset((*BAD, "warning", "info", "debug"))
_LEVEL_FIELD = re.compile(
    rb"(?i)(?:\"(?:log\.)?(?:level|severity|lvl|levelname|loglevel)\"\s*:\s*\"|\b(?:level|severity|lvl|loglevel)=\"?)([a-z]{3,11})"
)
_POSTGRESQL = re.compile(rb"\b(DEBUG0|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC):  ")
_REDIS = re.compile(rb"\b0+:[MSCX] 0+ [A-Z][a-z]{2} 0{4} [0:.]+ ([.*#-]) ")
_REDIS_LEVELS = {b".": "debug", b"-": "info", b"*": "info", b"#": "warning"}
_PLAIN = re.compile(
    rb"\b(TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|CRITICAL|CRIT|FATAL|PANIC|EMERG|ALERT|SEVERE)\b"
    rb"|\[(debug|info|notice|warn|warning|error|crit|critical|alert|emerg|fatal)\]|(?:^|[\s\]|])(warning|error|fatal|panic|critical):\s"
)
# The last line of a traceback: a dotted name that says what it is, and maybe a message.
_RAISED = re.compile(
    rb"^(?:[A-Za-z_][A-Za-z0-9_]*\.)*"
    rb"[A-Za-z_][A-Za-z0-9_]*(?:Error|Exception|Exit|Interrupt|Timeout|Warning|Expired|NotFound|DoesNotExist|Group|Iteration|Failure|Refused)(?::|$)"
)
_SUSPECT = re.compile(rb"(?:[Ee]rror|[Ee]xception|fatal|panic|critical)\b(?!\s*[=:]\s*(?:0\b|none|null|false|\"\"))|Exception|Error\b")

_DIGITS = bytes(48 if chr(code).isdigit() and code < 128 else code for code in range(256))
_MONTHS = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_HOUR = rb"[0:]{5,8}(?:[.,]0+)?"
_ZONE = rb"(?: ?(?:Z|[+-]00:?00|UTC|GMT|CES?T)\b)?"
_TIME = re.compile(
    rb"0{4}[-/]00[-/]00[T ]" + _HOUR + _ZONE + rb"|0{1,2}[ /]" + _MONTHS + rb"[ /]0{4}[ :]" + _HOUR + _ZONE
    + rb"|\b" + _MONTHS + rb" +0{1,2} " + _HOUR + rb"|\b00:00:00(?:[.,]0+)?"
)  # fmt: skip
_UUID = re.compile(rb"(?i)\b[0a-f]{8}-[0a-f]{4}-[0a-f]{4}-[0a-f]{4}-[0a-f]{12}\b")
_ADDRESS = re.compile(
    rb"(?<![0.])0{1,3}(?:\.0{1,3}){3}(?![.0])(?::0{1,5}\b)?|(?i:(?<![\w:])(?:[0a-f]{0,4}:){2,7}[0a-f]{1,4}(?![\w:]))"
    rb"|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
)
_HEX = re.compile(rb"(?i)\b0x[0a-f]+\b|(?<![\w])(?=[0a-f]*0)(?=[0a-f]*[a-f])[0a-f]{7,}(?![\w])|\b[0a-f]{32,}\b")
_QUOTED = re.compile(rb"\"(?:[^\"\\\n]|\\.){0,4000}\"|(?<![\w'])'(?:[^'\\\n]|\\.){0,4000}'(?!\w)|`[^`\n]{1,4000}`")
_NUMBER = re.compile(rb"(?:(?<![\w])[+-])?0+(?:[.,]0+)*")
_SPACE = re.compile(rb"[ \t\r\x0b\x0c]+")
_FIELD = {
    name: re.compile(rb"(?:\"" + name + rb"\"\s*:\s*|\b" + name + rb"=)\"((?:[^\"\\]|\\.)*)\"") for name in
    (b"message", b"msg", b"event", b"error", b"err", b"exception", b"exc_info", b"detail")
}  # fmt: skip
# What of a line is masked: two errors seldom differ only further on.
LONGEST = 2000


class Kind(t.NamedTuple):
    """What the lines of one key are: their level ("" for none that we know), whether they are errors, and what ran out ("")."""

    level: str
    error: bool
    ran_out: str


def key_of(lines: bytes) -> bytes:
    """Return *lines* with each digit as 0: what differs only in numbers becomes the same, at the speed of memory."""
    if b'"level":' in lines:
        lines = lines.replace(b'"level":50', b'"level":"error"').replace(b'"level":60', b'"level":"fatal"')
    return lines.translate(_DIGITS)


def kind_of(key: bytes) -> Kind:
    """Return what a line is, given its key (or itself with its digits as 0)."""
    level = level_of(key)
    ran_out = next((what for what, words in EXHAUSTION if any(word in key for word in words)), "")
    # What the runbook ranks is an error here too, whatever level the line gives itself.
    error = level in BAD or any(word in key for word in RAW) or (not level and _SUSPECT.search(key[:LONGEST]) is not None)
    return Kind(level, error, ran_out)


def level_of(key: bytes) -> str:
    """Return the level that a line gives itself, in one of our words, "" where it gives none."""
    head = key[:LONGEST]
    if b"=" in head or b":" in head:
        for pattern in (_LEVEL_FIELD, _POSTGRESQL):
            found = pattern.search(head)
            if found and _named(found.group(1)) in _KNOWN:
                return _named(found.group(1))
        found = _REDIS.search(head)
        if found:
            return _REDIS_LEVELS[found.group(1)]
    found = _PLAIN.search(head)
    if found:
        return _named(found.group(1) or found.group(2) or found.group(3))
    return "exception" if raised(head) or b"Traceback (most recent" in head else ""


def _named(word: bytes) -> str:
    name = word.rstrip(b"0").decode("ascii", "replace").lower()
    return _SAME.get(name, name)


def raised(line: bytes) -> str:
    """Return the name of the exception where *line* is the last line of a traceback, "" where it is none."""
    found = _RAISED.match(line[:400])
    return found.group(0).rstrip(b":").decode("ascii", "replace") if found else ""


def masked(line: bytes) -> bytes:
    """Return *line* without what differs each time: times, ids, addresses, numbers and quoted values are placeholders."""
    text = _said(key_of(line[:LONGEST]))
    text = _TIME.sub(b"<time>", text)
    text = _UUID.sub(b"<id>", text)
    text = _QUOTED.sub(b"<value>", text)
    text = _ADDRESS.sub(b"<address>", text)
    text = _HEX.sub(b"<id>", text)
    text = _NUMBER.sub(b"<n>", text)
    return _SPACE.sub(b" ", text).strip()


def _said(key: bytes) -> bytes:
    """Return level and message of a line of JSON or logfmt, which has them in fields; any other line as it is."""
    level = _LEVEL_FIELD.search(key)
    parts = [found.group(1) for found in (pattern.search(key) for pattern in _FIELD.values()) if found and found.group(1)]
    structured = key.lstrip()[:1] == b"{" or level or b"msg=" in key
    if not structured or not parts:
        return key
    words = ([level.group(1)] if level else []) + parts[:2]
    return b" ".join(words).replace(b"\\n", b" ").replace(b'\\"', b'"')
