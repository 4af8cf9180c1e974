# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identifies an SQL statement without its data: its shape, and a short hash that is the same wherever the statement runs.

Pure and linear. Anything that may be data is left out: where it is unclear how a text continues (it was cut, or a backslash precedes a
quote), all the rest of it.
"""

from __future__ import annotations

import hashlib
import re
import typing as t

from ansible_collections.somabrain.incident_response.plugins.module_utils._base.text import one_line

# No more of a statement is read; the server itself cuts at track_activity_query_size, usually 1024.
LONGEST = 16384
_TOKEN = re.compile(
    r"(?P<line>--[^\n]*)"
    r"|(?P<block>/\*)"
    r"|(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*(?:'|\\?\Z))"
    r"|(?P<string>(?:[uU]&|[bBxXnN])?'(?:[^']|'')*(?:'|\Z))"
    r"|(?P<dollar>\$(?P<tag>[A-Za-z_\u0080-\uffff][\w]*|)\$)"
    r"|(?P<quoted>(?:[uU]&)?\"(?:[^\"]|\"\")*(?:\"|\Z))"
    r"|(?P<word>[^\W\d][\w$]*)"
    r"|(?P<number>\$\d+|(?:\d|\.\d)[\w.]*(?:(?<=[eE])[+-]?\d+)?)"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_PLAIN_NAME = re.compile(r'"[^\W\d]\w{0,62}"\Z')
_LIST = re.compile(r"[-+]?\?(?:\s*,\s*[-+]?\?)+")
_ROWS = re.compile(r"\(\s*\?\s*\)(?:\s*,\s*\(\s*\?\s*\))+")
_SETTING = re.compile(r"(?is)\A(\s*set\s+(?:local\s+|session\s+)?[\w.\"]+\s*(?:=|\bto\b)).*")


class Fingerprint(t.NamedTuple):
    """``short`` is a hash of twelve hexadecimal digits, ``text`` the statement with ? for all of its data, fit for a terminal."""

    short: str
    text: str


def fingerprint(statement: str, limit: int = 160) -> Fingerprint:
    """Return the fingerprint of *statement*; both parts are empty for an empty statement."""
    shape = _shape(statement[:LONGEST])
    if not shape:
        return Fingerprint("", "")
    return Fingerprint(hashlib.sha256(shape.lower().encode("utf-8", "replace")).hexdigest()[:12], one_line(shape, limit))


def _shape(statement: str) -> str:
    text = re.sub(r"\s+", " ", "".join(_parts(statement))).strip().rstrip("; ")
    text = _ROWS.sub("(?)", _LIST.sub("?", text))
    return _SETTING.sub(r"\1 ?", text)


def _parts(statement: str) -> t.Iterator[str]:
    """Yield the statement piece by piece, ? for each literal."""
    at = 0
    while at < len(statement):
        found = t.cast("re.Match[str]", _TOKEN.match(statement, at))
        at, kind, text = found.end(), str(found.lastgroup), found.group()
        if kind == "dollar" or found.group("dollar"):
            end = statement.find(text, at)
            at = len(statement) if end < 0 else end + len(text)
            yield "?"
        elif kind == "block":
            at = _after_comment(statement, at)
            yield " "
        elif kind == "string" and "\\'" in text:
            # Whether the backslash escapes depends on a setting of that session.
            yield "?"
            return
        else:
            yield _kept(kind, text)


def _kept(kind: str, text: str) -> str:
    if kind in ("escaped", "string", "number"):
        return "?"
    if kind in ("line", "space"):
        return " "
    return '"?"' if kind == "quoted" and not _PLAIN_NAME.match(text) else text


def _after_comment(statement: str, at: int) -> int:
    """Return where the comment ends whose text begins at *at*; comments of PostgreSQL nest."""
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(statement, at):
        depth += 1 if mark.group() == "/*" else -1
        if not depth:
            return mark.end()
    return len(statement)
