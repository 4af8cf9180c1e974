# Copyright: (c) 2026, SomaBrain incident response contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Untrusted text made fit for a person's terminal, and secrets taken out of text.

Pure functions, linear in the length that they keep; they never raise.
"""

from __future__ import annotations

import hashlib
import os
import re
import typing as t

MARK = "[redacted]"
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_KEY = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|(?:api|access|private|secret|auth)[_-]?key"
    r"|token|requirepass|masterauth|credentials?)"
)
# What a system call, or this collection, says about a file after its name: no value of a key.
_PHRASES = (
    "the file ", "it has mode ", "it is a directory", "it is not text", "cannot be ", "could not be ", "not set", "not found", "[Errno ",
    "file not found", "does not exist", "is not ", "is missing",
)  # fmt: skip
_SAID = sorted({os.strerror(number) for number in range(1, 134)} | set(_PHRASES))
_VALUE = r"(?!" + "|".join(map(re.escape, _SAID)) + r")" + r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,;&}\"']+)"
_NO_SECRET = r"(?!failed|failure|error|required|called|token\b)"
# Credentials before the host of a URL: up to the last @ of its authority, or of a password that has a slash in it.
_USERINFO = r"(?<=://)(?:[^\s/\"']{1,500}|[^\s/@:\"'\[]{0,200}:(?!\d{0,5}[/?#\s\"'])[^\s\"'<>?#]{1,500})(?=@)"
_QUERY = r"(?i)(?<=[?&;])((?:[a-z0-9_.-]{0,40}[_.-])?(?:"
_QUERY_END = _KEY + r"|sig|signature|jwt|auth)=)[^\s&;#\"'<>]+"
_PATTERNS = (
    (r"(?i)\b((?:proxy-)?authorization\s*[:=]\s*)(?:bearer|basic|token)?\s*[^\s,;\"']+", r"\1"),
    (r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}", r"\1"),
    (r"(?i)(https?://hooks?\.[^\s/\"']+/)[^\s\"'<>]+", r"\1"),
    (r"(?i)(https?://[^\s/\"']+(?:/api)?/(?:services|webhooks?|hooks?|workflows)/)[^\s\"'<>]+", r"\1"),
    (_USERINFO, ""),
    (_QUERY + r"key|" + _QUERY_END, r"\1"),
    (r"(?i)\b((?:auth|hello\s+[23]\s+auth)\"?\s+\"?)" + _NO_SECRET + r"[^\s\"]+(?:\"?[ \t]+\"?[^\s\"]+)?", r"\1"),
    (r"(?i)(" + _KEY + r"[\"']?\s*[:=]\s*)" + _VALUE, r"\1"),
    (r"(?i)(" + _KEY + r"\s+)(?=[^\s]{0,200}[0-9+/=])[A-Za-z0-9+/=_.-]{16,}", r"\1"),
    (r"(?i)(\b(?:requirepass|masterauth)\s+)\S+", r"\1"),
    (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", ""),
    (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", ""),
)
_IN_URL = re.compile(_USERINFO)
_IN_QUERY = re.compile(_QUERY + _QUERY_END)
# Longest piece of a URL that is redacted before a line is cut.
_REACH = 1100
_SECRETS = tuple((re.compile(pattern), kept + MARK) for pattern, kept in _PATTERNS)


def one_line(text: object, limit: int = 160) -> str:
    """Return *text* as one line of at most *limit* characters that cannot move a cursor, forge a line or turn the reading order.

    Hidden characters become visible escapes (``\\x1b``, ``\\n``, ``\\u202e``); what was cut is shown by an ellipsis. Credentials of a URL
    are redacted first: half of them would no longer look like any.
    """
    raw = text.decode("utf-8", "backslashreplace") if isinstance(text, (bytes, bytearray)) else str(text)
    raw = without_url_secrets(raw[: limit + _REACH]) if "://" in raw else raw
    # Escapes only lengthen, so nothing beyond limit + 1 characters can be shown.
    kept = raw[: limit + 1]
    line = kept if kept.isprintable() else "".join(_visible(character) for character in kept)
    return line if len(line) <= limit else line[: max(limit - 1, 0)] + "…"


def _visible(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    # Control, format (bidi, zero width), surrogate, private and unassigned characters, separators, every space but the plain one.
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def file_name(name: object, limit: int = 100) -> str:
    """Return *name* as the name of a file in one directory, hidden by no dot and this name's alone; a plain name stays as it is."""
    raw = str(name)
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", raw).lstrip(".-")[:limit]
    if plain and plain == raw:
        return plain
    # Two names that differ only in what was replaced must not share a file.
    return "%s-%s" % (plain[: limit - 9] or "x", hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()[:8])


def redact(text: str) -> str:
    """Return *text* without bearer tokens, passwords, AUTH arguments, URL credentials, webhook paths and keys."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def in_url(text: str) -> bool:
    """Return whether *text* has credentials in a URL: before its host, or as a token in its query."""
    return "://" in text and (_IN_URL.search(text) is not None or _IN_QUERY.search(text) is not None)


def without_url_secrets(value: t.Any) -> t.Any:
    """Return plain data (texts, lists, mappings) with the credentials of every URL in it redacted; all else stays as it is."""
    if isinstance(value, str):
        return _IN_QUERY.sub(r"\1" + MARK, _IN_URL.sub(MARK, value)) if "://" in value else value
    if isinstance(value, dict):
        return {without_url_secrets(name): without_url_secrets(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_url_secrets(one) for one in value]
    return value


def counted(count: int, units: str) -> str:
    """Return a number with its unit, which is given in the plural."""
    if count != 1:
        return "%s %s" % (count, units)
    return "1 %s" % (
        units[:-3] + "y"
        if units.endswith("ies")
        else units[:-2]
        if units.endswith("indexes")
        else units[:-1]
        if units.endswith("s")
        else units
    )
