# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a log of PostgreSQL into one form: a csvlog or jsonlog as lines, and messages about a start in English, whatever lc_messages says.

The translations come from the message catalogues that wrote the log, which are on the same machine.
"""

from __future__ import annotations

import csv
import functools
import json
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._system.translated import translations_of

CATALOGUE = "postgres-*"
MOST_LINES = 600
MESSAGES = (
    "starting %s",
    "database system is ready to accept connections",
    "database system is ready to accept read-only connections",
    "database system is shut down",
    'could not access file "%s": %m',
    'could not load library "%s": %s',
    "could not load %s",
    "could not load pg_hba.conf",
    'line %d of configuration file "%s"',
    'configuration file "%s" contains errors',
    'unrecognized configuration parameter "%s" in file "%s" line %d',
    'syntax error in file "%s" line %d, near token "%s"',
    'syntax error in file "%s" line %d, near end of line',
    'invalid value for parameter "%s": "%s"',
    'could not bind %s address "%s": %m',
    "could not create any TCP/IP sockets",
    "could not create any Unix-domain sockets",
    'could not create lock file "%s": %m',
    'lock file "%s" already exists',
    'lock file "%s" is empty',
    "pre-existing shared memory block (key %lu, ID %lu) is still in use",
    "could not map anonymous shared memory: %m",
    'data directory "%s" has wrong ownership',
    'data directory "%s" has invalid permissions',
    "could not locate a valid checkpoint record",
    "could not find redo location referenced by checkpoint record",
    "incorrect checksum in control file",
    "database files are incompatible with server",
    'could not load server certificate file "%s": %s',
    'could not open log file "%s": %m',
    'could not write to file "%s": %m',
    'could not open file "%s": %m',
    "archive command failed with exit code %d",
)
ERRORS = ("No space left on device", "Permission denied", "No such file or directory", "Cannot allocate memory", "Address already in use")
SEVERITIES = ("FATAL", "PANIC", "CONTEXT", "LOG")
_VALUE = re.compile(r"%(?:(?P<at>\d+)\$)?[-+ #0]*\d*(?:\.\d+)?(?:hh?|ll?|z)?(?P<kind>[sduxXcm])")
_CSV = re.compile(r'^\d{4}-\d\d-\d\d [\d:.]+ [^ ,]+,(?:"[^"]*")?,(?:"[^"]*")?,\d*,', re.M)


def in_english(text: str, locale: str) -> str:
    """Return *text* with each of MESSAGES in English; *locale* is lc_messages ("" for unknown: then only what is English is read)."""
    lines, language = as_lines(text), re.split("[.@]", locale)[0]
    if not language or language in ("C", "POSIX") or language.startswith("en"):
        return lines
    folders = "/usr/share/locale/%s/LC_MESSAGES"
    for one in (language, language.partition("_")[0]):
        known = _known(folders % one)
        if known:
            return "\n".join(_line(line, known, folders % one) for line in lines.splitlines()[-MOST_LINES:])
    return lines


def as_lines(text: str) -> str:
    """Return a csvlog or jsonlog as the lines of a plain log; any other text as it is."""
    if '"error_severity":' in text:
        return "\n".join(_of_json(line) for line in text.splitlines())
    if _CSV.search(text):
        return "\n".join(_of_csv(text))
    return text


def _of_json(line: str) -> str:
    try:
        one = json.loads(line)
    except ValueError:
        return line
    if not isinstance(one, dict) or "message" not in one:
        return line
    told = "%s [%s] %s:  %s" % (one.get("timestamp", ""), one.get("pid", ""), one.get("error_severity", "LOG"), _flat(one["message"]))
    context = one.get("context")
    return told + ("\nCONTEXT:  " + _flat(context) if context else "")


def _of_csv(text: str) -> t.Iterator[str]:
    # The tail of a file may begin in the middle of a row.
    begin = _CSV.search(text)
    try:
        for row in csv.reader(text[begin.start() if begin else 0 :].splitlines()):
            if len(row) > 13:
                yield "%s [%s] %s:  %s" % (row[0], row[3], row[11], _flat(row[13]))
                if len(row) > 18 and row[18]:
                    yield "CONTEXT:  " + _flat(row[18])
    except csv.Error:
        return


def _flat(text: t.Any) -> str:
    return " ".join(str(text).splitlines())


@functools.lru_cache(maxsize=4)
def _known(folder: str) -> t.Tuple[t.Tuple[t.Pattern[str], str, t.Tuple[int, ...]], ...]:
    """Return (pattern of a translation, message, places of its values in the message) of everything that is translated here."""
    found = []
    for message in MESSAGES:
        for translated in translations_of(CATALOGUE, message, folder):
            words: list[str] = []
            order: list[int] = []
            at = 0
            for value in _VALUE.finditer(translated):
                words += [re.escape(translated[at : value.start()]), r"(\d+)" if value.group("kind") == "d" else "(.*?)"]
                order.append(int(value.group("at") or len(order) + 1) - 1)
                at = value.end()
            pattern = "".join([*words, re.escape(translated[at:])])
            found.append((re.compile("(?<=:  )" + pattern + r"\s*$"), message, tuple(order)))
    return tuple(found)


def _line(line: str, known: t.Sequence[t.Tuple[t.Pattern[str], str, t.Sequence[int]]], folder: str) -> str:
    for pattern, message, order in known:
        match = pattern.search(line)
        if match:
            values = dict(zip(order, match.groups()))
            parts = iter(range(len(order)))
            english = _VALUE.sub(lambda value, parts=parts, values=values: values.get(next(parts), ""), message)  # type: ignore[misc]
            line = line[: match.start()] + english
            break
    return _severity(_error(line, folder), folder)


def _error(line: str, folder: str) -> str:
    for words in ERRORS:
        for translated in translations_of("libc", words, folder):
            line = line.replace(translated, words)
    return line


def _severity(line: str, folder: str) -> str:
    for word in SEVERITIES:
        for translated in translations_of(CATALOGUE, word, folder):
            line = line.replace(" %s:  " % translated, " %s:  " % word)
    return line
